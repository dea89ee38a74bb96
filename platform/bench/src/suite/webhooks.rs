//! What endpoints that hang do to those that answer.

use std::path::Path;

use wotp_server::config::Config;

use crate::people::Store;
use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::progress;
use crate::webhooks::{self, ALL, ALL_HANGING, EVENTS_PER_SECOND, Span};

use super::values::{failures, handover_latency, micros, middle, note_failures, ratios};
use super::{Suite, SuiteError};

/// A run is so many times as long as others: an event a tick is few of them.
const TIMES: u32 = 10;

impl Suite {
    pub(super) async fn webhooks(&mut self) -> Result<Section, SuiteError> {
        let time = self.plan.time() * TIMES;
        let mut section = Section::new(
            "webhooks",
            &format!(
                "From an event to its request at endpoints that never hang, {ALL} endpoints, {EVENTS_PER_SECOND} \
                 events a second to 50 each, {:.0} s each",
                time.as_secs_f64()
            ),
            &["store", "", "p50", "p95", "p99", "max", "p99 of all answering (min–max)", "requests", "missing", "hung"],
        );
        section.notes.push("hung: requests that came to endpoints that hang; most of them at once".to_owned());
        for store in Store::ALL {
            let mut rounds = Vec::with_capacity(self.plan.rounds);
            for round in 1..=self.plan.rounds {
                progress(&format!("webhooks over {}: round {round} of {}", store.name(), self.plan.rounds));
                rounds.push(self.webhooks_once(store).await?);
            }
            let runs = |nth: usize| -> Vec<Measured> {
                (1..).zip(&rounds).map(|(round, spans)| measured(store, NAMES[nth], round, spans[nth])).collect()
            };
            let p99 = |run: &Measured| handover_latency(run, |s| s.p99_micros);
            let answering = runs(0);
            for (nth, name) in NAMES.into_iter().enumerate() {
                let of_span = runs(nth);
                let ratio = ratios(&of_span, &answering, p99);
                let (hung, at_once) = rounds.iter().fold((0, 0), |(hung, at_once), spans| {
                    (hung + spans[nth].hung, at_once.max(spans[nth].hung_at_once))
                });
                section.table.row([
                    store.name().to_owned(),
                    name.to_owned(),
                    micros(middle(&of_span, |run| handover_latency(run, |s| s.p50_micros))),
                    micros(middle(&of_span, |run| handover_latency(run, |s| s.p95_micros))),
                    micros(middle(&of_span, p99)),
                    micros(middle(&of_span, |run| handover_latency(run, |s| s.max_micros))),
                    if nth == 0 { String::new() } else { ratio.show(2) },
                    of_span.iter().map(|run| run.done).sum::<u64>().to_string(),
                    failures(&of_span).to_string(),
                    if nth == 0 { String::new() } else { format!("{hung}; {at_once}") },
                ]);
                if nth > 0 {
                    let really_hung = rounds.iter().all(|spans| spans[nth].hung_at_once > 0);
                    section.figures.push(Figure::new(
                        &format!("p99 from event to request, {ALL_HANGING} of {ALL} hang: {name}, {}", store.name()),
                        Goal::AtMost(2.0),
                        ratio,
                        "",
                        really_hung && failures(&answering) + failures(&of_span) == 0,
                    ));
                }
                section.runs.extend(of_span);
            }
        }
        note_failures(&mut section);
        Ok(section)
    }

    /// All three spans, on a fresh installation.
    async fn webhooks_once(&self, store: Store) -> Result<[Span; 3], SuiteError> {
        let time = self.plan.time() * TIMES;
        let measure = async |folder: &Path, config| webhooks::measure(folder, config, time).await;
        let folder = self.stand.folder()?;
        let mut config = Config::default();
        match store {
            Store::Sqlite => Ok(measure(folder.path(), config).await?),
            Store::MongoDb => {
                let shared = self.stand.shared(0)?;
                config.store.url = shared.servers.store_url();
                config.queue.url = shared.servers.queue_url();
                Ok(measure(folder.path(), config).await?)
            }
        }
    }
}

/// Of each span.
const NAMES: [&str; 3] = ["all answer", "as some begin to hang", "once those are known"];

fn measured(store: Store, name: &str, round: usize, span: Span) -> Measured {
    let done = span.latency.map_or(0, |summary| summary.count);
    let subject = format!("webhooks over {}, {name}", store.name());
    Measured {
        handover: span.latency,
        done,
        failed: span.missing,
        per_second: done as f64 / span.wall.as_secs_f64(),
        ..Measured::nothing(&subject, 0, round, span.wall)
    }
}
