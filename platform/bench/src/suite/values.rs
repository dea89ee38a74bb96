//! Values of several runs, and how they are written.

use super::SuiteError;
use crate::load::{LoadError, Run, Summary};
use crate::report::{Measured, Section, Spread};
use crate::stand::progress;

pub(super) fn measured(
    subject: &str,
    callers: usize,
    round: usize,
    outcome: Result<Run, LoadError>,
) -> Result<Measured, SuiteError> {
    let run = outcome.map_err(|source| SuiteError::Load { subject: subject.to_owned(), source })?;
    let measured = Measured::new(subject, callers, round, &run);
    progress(&format!(
        "{subject}, {callers} callers, round {round}: {:.0}/s at {:.0} µs of server CPU, {} failed",
        measured.per_second, measured.server_cpu_micros, measured.failed
    ));
    Ok(measured)
}

/// Says why the first call failed, if one did.
pub fn note_failures(section: &mut Section) {
    if let Some(first) = section.runs.iter().find_map(|run| run.first_failure.clone()) {
        section.notes.push(format!("calls failed; the first: {first}"));
    }
}

/// Failed calls of all runs.
pub fn failures(runs: &[Measured]) -> u64 {
    runs.iter().map(|run| run.failed).sum()
}

/// Checks of all runs that came before their delivery.
pub(super) fn early(runs: &[Measured]) -> u64 {
    runs.iter().map(|run| run.early).sum()
}

/// Whether all runs did what they stand for.
pub(super) fn clean(runs: &[Measured]) -> bool {
    failures(runs) == 0 && !runs.iter().any(Measured::is_mostly_early)
}

/// Of `values`; not a number where there are none.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    Spread::of(values).unwrap_or(Spread::NOTHING)
}

/// Within each round, so that both halves of a ratio come from neighbouring moments.
pub(super) fn ratios(ours: &[Measured], bare: &[Measured], value: impl Fn(&Measured) -> f64) -> Spread {
    spread(ours.iter().zip(bare).map(|(ours, bare)| value(ours) / value(bare)))
}

/// The middle of a number of each run.
pub fn middle(runs: &[Measured], value: impl Fn(&Measured) -> f64) -> f64 {
    spread(runs.iter().map(value)).median
}

/// A percentile of starts.
pub fn start_latency(run: &Measured, value: fn(Summary) -> u64) -> f64 {
    run.start.map_or(f64::NAN, |summary| value(summary) as f64)
}

pub(super) fn check_latency(run: &Measured, value: fn(Summary) -> u64) -> f64 {
    run.check.map_or(f64::NAN, |summary| value(summary) as f64)
}

/// A percentile of other calls.
pub(super) fn answer_latency(run: &Measured, value: fn(Summary) -> u64) -> f64 {
    run.answer.map_or(f64::NAN, |summary| value(summary) as f64)
}

/// A percentile from accepted to handed over.
pub fn handover_latency(run: &Measured, value: fn(Summary) -> u64) -> f64 {
    run.handover.map_or(f64::NAN, |summary| value(summary) as f64)
}

pub(super) fn whole(runs: &[Measured], value: impl Fn(&Measured) -> f64) -> String {
    format!("{:.0}", middle(runs, value))
}

/// As it is printed.
pub fn micros(value: f64) -> String {
    match value {
        value if value.is_nan() => "–".to_owned(),
        value if value < 10_000.0 => format!("{value:.0} µs"),
        value => format!("{:.1} ms", value / 1e3),
    }
}

pub(super) fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}
