//! What endpoints that hang do to those that answer.

use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::progress;
use crate::webhooks::{self, ALL, ALL_HANGING, EVENTS_PER_SECOND, Half};

use super::values::{failures, handover_latency, micros, middle, note_failures, ratios};
use super::{Suite, SuiteError};

/// A run is so many times as long as others: an event a tick is few of them.
const TIMES: u32 = 5;

impl Suite {
    pub(super) async fn webhooks(&mut self) -> Result<Section, SuiteError> {
        let mut section = Section::new(
            "webhooks",
            &format!("From an event to its request, {ALL} endpoints, {EVENTS_PER_SECOND} events a second to 50 each"),
            &["", "p50", "p95", "p99", "max", "p99 of all answering (min–max)", "requests", "missing"],
        );
        let (mut all, mut healthy) = (Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            progress(&format!("webhooks: round {round} of {}", self.plan.rounds));
            let folder = self.stand.folder()?;
            let [answering, beside] = webhooks::measure(folder.path(), self.plan.time() * TIMES).await?;
            all.push(measured("all answer", round, answering));
            healthy.push(measured("some hang: the others", round, beside));
        }
        let p99 = |run: &Measured| handover_latency(run, |s| s.p99_micros);
        let ratio = ratios(&healthy, &all, p99);
        for (name, runs) in [("all answer".to_owned(), &all), (format!("{ALL_HANGING} hang: the others"), &healthy)] {
            let first = std::ptr::eq(runs, &raw const all);
            section.table.row([
                name,
                micros(middle(runs, |run| handover_latency(run, |s| s.p50_micros))),
                micros(middle(runs, |run| handover_latency(run, |s| s.p95_micros))),
                micros(middle(runs, p99)),
                micros(middle(runs, |run| handover_latency(run, |s| s.max_micros))),
                if first { String::new() } else { ratio.show(2) },
                runs.iter().map(|run| run.done).sum::<u64>().to_string(),
                failures(runs).to_string(),
            ]);
        }
        section.figures.push(Figure::new(
            &format!("p99 from event to request with {ALL_HANGING} of {ALL} endpoints hanging, of without"),
            Goal::AtMost(2.0),
            ratio,
            "",
            failures(&all) + failures(&healthy) == 0,
        ));
        section.runs.extend(all.into_iter().chain(healthy));
        note_failures(&mut section);
        Ok(section)
    }
}

fn measured(subject: &str, round: usize, half: Half) -> Measured {
    let done = half.latency.map_or(0, |summary| summary.count);
    Measured {
        handover: half.latency,
        done,
        failed: half.missing,
        per_second: done as f64 / half.wall.as_secs_f64(),
        ..Measured::nothing(subject, 0, round, half.wall)
    }
}
