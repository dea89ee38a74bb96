//! What is printed and written: tables, figures with their targets, and the JSON file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::load::{Latencies, Run, Summary};
use crate::process::Memory;
use crate::queue::Doorbell;

/// One run, in numbers that do not depend on how long it went on.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// What ran: `bare`, `start`, `own_code`, `wrong_code`, `test_key`, …
    pub subject: String,
    /// Callers at once, or connections of an open loop; 0 where there is no bound.
    pub callers: usize,
    /// Which repetition, from 1.
    pub round: usize,
    /// From the first call to the last reply (and the last delivery, for starts).
    pub wall_seconds: f64,
    /// Calls or life cycles that did what they should.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
    /// Why the first of those did not.
    pub first_failure: Option<String>,
    /// Checks that came before the delivery.
    pub early: u64,
    /// `done` per second of wall time.
    pub per_second: f64,
    /// CPU time of the server for each, in microseconds.
    pub server_cpu_micros: f64,
    /// CPU time of servers beside it for each, by their names, in microseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub beside_cpu_micros: BTreeMap<&'static str, f64>,
    /// CPU time of the driver for each, in microseconds.
    pub driver_cpu_micros: f64,
    /// Memory of the server at the end.
    pub memory: Memory,
    /// Latency of starts.
    pub start: Option<Summary>,
    /// From due to sent, in an open loop: what of the latency is the driver's own doing.
    pub late: Option<Summary>,
    /// Latency of checks.
    pub check: Option<Summary>,
    /// Latency of other calls: logins, queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Summary>,
    /// From accepted to handed over, or from an event to the request that tells of it.
    pub handover: Option<Summary>,
    /// What only runs of a queue have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doorbell: Option<Doorbell>,
}

impl Measured {
    /// Whether so many checks came before their delivery that the run says nothing about whole life cycles:
    /// a check that ends a verification saves what its delivery would have cost.
    pub fn is_mostly_early(&self) -> bool {
        self.early * 200 > self.done
    }

    /// Nothing yet, of something that took `wall`.
    pub fn nothing(subject: &str, callers: usize, round: usize, wall: Duration) -> Self {
        Self {
            subject: subject.to_owned(),
            callers,
            round,
            wall_seconds: wall.as_secs_f64(),
            done: 0,
            failed: 0,
            first_failure: None,
            early: 0,
            per_second: 0.0,
            server_cpu_micros: 0.0,
            beside_cpu_micros: BTreeMap::new(),
            driver_cpu_micros: 0.0,
            memory: Memory { resident_bytes: 0, peak_bytes: 0 },
            start: None,
            late: None,
            check: None,
            answer: None,
            handover: None,
            doorbell: None,
        }
    }

    /// Calls one after another, of which only their latency is known.
    pub fn of_answers(subject: &str, round: usize, wall: Duration, latencies: &Latencies) -> Self {
        let answer = latencies.summary();
        let done = answer.map_or(0, |summary| summary.count);
        let per_second = done as f64 / wall.as_secs_f64();
        Self { answer, done, per_second, ..Self::nothing(subject, 1, round, wall) }
    }

    /// The numbers of `run`.
    pub fn new(subject: &str, callers: usize, round: usize, run: &Run) -> Self {
        let done = run.tally.done as f64;
        Self {
            subject: subject.to_owned(),
            callers,
            round,
            wall_seconds: run.wall.as_secs_f64(),
            done: run.tally.done,
            failed: run.tally.failed,
            first_failure: run.tally.first_failure.as_ref().map(chain),
            early: run.tally.early,
            per_second: done / run.wall.as_secs_f64(),
            server_cpu_micros: run.server_cpu.as_secs_f64() * 1e6 / done,
            beside_cpu_micros: run
                .beside_cpu
                .iter()
                .map(|(name, cpu)| (*name, cpu.as_secs_f64() * 1e6 / done))
                .collect(),
            driver_cpu_micros: run.driver_cpu.as_secs_f64() * 1e6 / done,
            memory: run.memory,
            start: run.tally.start.summary(),
            late: run.tally.late.summary(),
            check: run.tally.check.summary(),
            answer: run.tally.answer.summary(),
            handover: run.tally.handover.summary(),
            doorbell: None,
        }
    }
}

/// An error with all its sources, outermost first.
pub fn chain(error: &impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        // Writing to a string does not fail.
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}

/// Repetitions of one number: the middle one stands for it, the others say how far to trust it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two middle ones.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of `values`; `None` where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, min, max })
    }

    /// What there is of nothing: no number.
    pub const NOTHING: Self = Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };

    /// `0.64 (0.61–0.70)`.
    pub fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.min, self.max)
    }
}

/// What the figure is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Good when no less.
    AtLeast(f64),
    /// Good when no more.
    AtMost(f64),
    /// Good when neither less than the first nor more than the second.
    Within(f64, f64),
}

/// A number that the project has promised.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it says.
    pub name: String,
    /// What was promised.
    pub goal: Goal,
    /// What was measured; no number where it could not be.
    pub measured: Spread,
    /// The unit of both; empty for a ratio.
    pub unit: &'static str,
    /// Whether the promise was kept, by runs that were clean.
    pub ok: bool,
}

impl Figure {
    /// The figure, judged by its median. `clean` is whether the runs behind it did what they stand for: a
    /// server that refuses is fast.
    pub fn new(name: &str, goal: Goal, measured: Spread, unit: &'static str, clean: bool) -> Self {
        let kept = match goal {
            Goal::AtLeast(least) => measured.median >= least,
            Goal::AtMost(most) => measured.median <= most,
            Goal::Within(least, most) => (least..=most).contains(&measured.median),
        };
        Self { name: name.to_owned(), goal, measured, unit, ok: kept && clean }
    }

    /// A figure that could not be measured here, and so is not reached.
    pub fn not_measured(name: &str, goal: Goal, unit: &'static str) -> Self {
        Self::new(name, goal, Spread::NOTHING, unit, false)
    }
}

/// One part of the report.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub title: String,
    /// What a reader must know about how it was measured.
    pub notes: Vec<String>,
    /// Promises.
    pub figures: Vec<Figure>,
    /// Every run behind it.
    pub runs: Vec<Measured>,
    /// What is printed; the file has [`Section::runs`] instead.
    #[serde(skip)]
    pub table: Table,
}

impl Section {
    /// A section with nothing in it yet.
    pub fn new(name: &'static str, title: &str, columns: &[&'static str]) -> Self {
        Self {
            name,
            title: title.to_owned(),
            notes: Vec::new(),
            figures: Vec::new(),
            runs: Vec::new(),
            table: Table::new(columns),
        }
    }

    /// As it is printed.
    pub fn show(&self) -> String {
        let mut text = format!("\n{}\n", self.title);
        text.push_str(&self.table.show());
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }
}

/// Promises and what became of them, as they are printed.
pub fn show_figures<'a>(figures: impl Iterator<Item = &'a Figure>) -> String {
    let mut table = Table::new(&["figure", "target", "measured (min–max)", ""]);
    for figure in figures {
        let goal = match figure.goal {
            Goal::AtLeast(goal) => format!("≥ {goal}"),
            Goal::AtMost(goal) => format!("≤ {goal}"),
            Goal::Within(least, most) => format!("{least}–{most}"),
        };
        let unit = figure.unit;
        let measured = match figure.measured.median {
            median if median.is_nan() => "not measured".to_owned(),
            _ => format!("{} {unit}", figure.measured.show(2)).trim_end().to_owned(),
        };
        let verdict = if figure.ok { "ok" } else { "missed" };
        table.row([figure.name.clone(), format!("{goal} {unit}").trim_end().to_owned(), measured, verdict.to_owned()]);
    }
    format!("\nFigures to reach\n{}", table.show())
}

/// Rows under a head, in columns as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row; the first cell is a name, the others are right-aligned.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// As it is printed.
    pub fn show(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (nth, row) in self.rows.iter().enumerate() {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(line, " {cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
            if nth == 0 {
                let rule = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
                let _ = writeln!(text, "  {}", "─".repeat(rule));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_told_by_its_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
        assert_eq!(spread.show(1), "2.0 (1.0–3.0)");
    }

    #[test]
    fn a_promise_kept_by_refusing_calls_is_missed() {
        let spread = Spread::of([0.7]).unwrap();
        assert!(Figure::new("a", Goal::AtLeast(0.6), spread, "", true).ok);
        assert!(!Figure::new("a", Goal::AtLeast(0.6), spread, "", false).ok);
        assert!(!Figure::new("a", Goal::AtMost(0.6), spread, "", true).ok);
    }

    #[test]
    fn what_is_to_be_alike_may_be_neither_less_nor_more() {
        let goal = Goal::Within(0.9, 1.1);
        let ok = |ratio| Figure::new("a", goal, Spread::of([ratio]).unwrap(), "", true).ok;
        assert_eq!([0.89, 0.9, 1.1, 1.11].map(ok), [false, true, true, false]);
        let figure = Figure::new("a", goal, Spread::of([1.0]).unwrap(), "", true);
        assert!(show_figures(std::iter::once(&figure)).contains("0.9–1.1"));
    }

    #[test]
    fn a_promise_that_was_not_measured_is_missed_and_said_so() {
        for goal in [Goal::AtLeast(0.0), Goal::AtMost(f64::MAX)] {
            let figure = Figure::not_measured("a", goal, "ms");
            assert!(!figure.ok);
            let text = show_figures(std::iter::once(&figure));
            assert!(text.contains("not measured  missed") && !text.contains("NaN"), "{text}");
        }
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["callers", "p99"]);
        table.row(["1".to_owned(), "10 µs".to_owned()]);
        table.row(["256".to_owned(), "9 µs".to_owned()]);
        let text = table.show();
        let ends: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
