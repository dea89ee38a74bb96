//! What plugins that misbehave do to tenants that have nothing to do with them.

use std::time::Duration;

use crate::plugins::{Attack, Fared, PluginsError, Siege, While};
use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::progress;

use super::values::{failures, handover_latency, megabytes, micros, middle, note_failures, ratios};
use super::{Suite, SuiteError};

/// A run is so many times as long as others: its 99th percentile is of few messages a second.
const TIMES: u32 = 5;
/// All of them together are run so many times as long.
const TIMES_ALL: u32 = 20;
/// What each attack takes: computing, memory, time, and nothing but a crash.
const ALONE: [&str; 4] = ["endless_loop", "memory_bomb", "slow_server", "trap"];
/// Messages a second for one plugin that misbehaves: more than it takes at once.
const PER_SECOND: f64 = 50.0;
/// The same for each, where all do.
const PER_SECOND_EACH: f64 = 5.0;

/// Beside what tenants are, and for how long.
#[derive(Clone, Copy)]
struct Besides<'a> {
    name: &'a str,
    attack: Attack<'a>,
    per_second: f64,
    time: Duration,
    rounds: usize,
}

impl Suite {
    pub(super) async fn hostile(&mut self) -> Result<Section, SuiteError> {
        let mut section = Section::new(
            "hostile",
            &format!(
                "From accepted to handed over for tenants beside plugins that misbehave, {} starts a second through each \
                 channel",
                crate::plugins::STARTS_PER_SECOND
            ),
            &[
                "beside",
                "through",
                "p50",
                "p95",
                "p99",
                "max",
                "p99 of alone (min–max)",
                "messages",
                "failed",
                "for the plugin",
                "cores",
                "memory",
            ],
        );
        let components = self.plan.components()?;
        progress("hostile: installing");
        let mut siege = Siege::laid(&self.stand, &components).await?;
        let (installed, refused) = siege.counts();
        section.notes.push(format!(
            "{installed} plugins that misbehave are installed, and {refused} are not taken. alone: right before, in the \
             same server, with nothing left of the last attack. The plugin `sms` behaves, and its provider takes 20 to 50 \
             ms to answer. all: those that are not taken are installed again and again, and a callback that computes \
             without an end is called again and again. A figure over a while in which less than nine tenths of the \
             attack were made is missed"
        ));
        let time = self.plan.time() * TIMES;
        // The first deliveries of a server pay for what later ones find.
        siege.endured(Attack::None, PER_SECOND, self.plan.time()).await?;
        for name in ALONE {
            let one =
                Besides { name, attack: Attack::One(name), per_second: PER_SECOND, time, rounds: self.plan.rounds };
            self.besides(&mut section, &mut siege, &one).await?;
        }
        let all = format!("all {installed}");
        let time = self.plan.time() * TIMES_ALL;
        let together = Besides { name: &all, attack: Attack::All, per_second: PER_SECOND_EACH, time, rounds: 1 };
        let endured = self.besides(&mut section, &mut siege, &together).await?;
        let callbacks: u64 = endured.iter().map(|one| one.callbacks).sum();
        let refusals: u64 = endured.iter().map(|one| one.refusals).sum();
        section.notes.push(format!(
            "all: {callbacks} callbacks found an endless loop, {refusals} components were refused again"
        ));
        let stands = siege.stands().await && callbacks > 0 && (refusals > 0 || refused == 0);
        section.figures.push(Figure::new(
            &format!(
                "plugins that misbehave, run or refused together for {:.0} s, and the server stands",
                time.as_secs_f64()
            ),
            Goal::AtLeast(25.0),
            super::values::spread([if stands { (installed + refused) as f64 } else { 0.0 }]),
            "",
            stands,
        ));
        note_failures(&mut section);
        Ok(section)
    }

    async fn besides(
        &self,
        section: &mut Section,
        siege: &mut Siege,
        of: &Besides<'_>,
    ) -> Result<Vec<While>, PluginsError> {
        let Besides { name, attack, per_second, time, rounds } = *of;
        let (mut alone, mut besides): (Vec<While>, Vec<While>) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            progress(&format!("hostile: {name}, round {round} of {rounds}"));
            // As long as what it is held against, but for the long one.
            alone.push(siege.endured(Attack::None, per_second, time.min(self.plan.time() * TIMES)).await?);
            besides.push(siege.endured(attack, per_second, time).await?);
        }
        // Of each of the two channels.
        for nth in 0..2 {
            let through = alone[0].fared[nth].through;
            let runs = |whiles: &[While], beside: &str| -> Vec<Measured> {
                let run = |(round, one): (usize, &While)| {
                    measured(&format!("{through} beside {beside}"), round, one, &one.fared[nth])
                };
                (1..).zip(whiles).map(run).collect()
            };
            let (before, beside) = (runs(&alone, "nobody"), runs(&besides, name));
            let p99 = |run: &Measured| handover_latency(run, |s| s.p99_micros);
            let ratio = ratios(&beside, &before, p99);
            for (who, runs, whiles) in [("nobody", &before, &alone), (name, &beside, &besides)] {
                section.table.row([
                    who.to_owned(),
                    through.to_owned(),
                    micros(middle(runs, |run| handover_latency(run, |s| s.p50_micros))),
                    micros(middle(runs, |run| handover_latency(run, |s| s.p95_micros))),
                    micros(middle(runs, p99)),
                    micros(middle(runs, |run| handover_latency(run, |s| s.max_micros))),
                    if who == name { ratio.show(2) } else { String::new() },
                    runs.iter().map(|run| run.done).sum::<u64>().to_string(),
                    failures(runs).to_string(),
                    whiles.iter().map(|one| one.messages).sum::<u64>().to_string(),
                    format!("{:.2}", super::values::spread(whiles.iter().map(|one| one.cores)).median),
                    megabytes(middle(runs, |run| run.memory.resident_bytes as f64)),
                ]);
            }
            progress(&format!("hostile: p99 through {through} beside {name}: {} of alone", ratio.show(2)));
            section.figures.push(Figure::new(
                &format!("p99 from accepted to handed over through `{through}` beside {name}, of alone"),
                Goal::AtMost(2.0),
                ratio,
                "",
                failures(&before) + failures(&beside) == 0 && besides.iter().all(While::was_attacked),
            ));
            section.runs.extend(before.into_iter().chain(beside));
        }
        Ok(besides)
    }
}

fn measured(subject: &str, round: usize, of: &While, fared: &Fared) -> Measured {
    Measured {
        handover: fared.handover,
        done: fared.done,
        failed: fared.failed,
        first_failure: fared.first_failure.clone(),
        memory: of.memory,
        ..Measured::nothing(subject, 0, round, of.wall)
    }
}
