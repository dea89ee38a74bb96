//! Sessions of WhatsApp: what they cost, how they come back, and how fast messages are through them.

use std::path::Path;
use std::time::Duration;

use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::progress;
use crate::whatsapp::{Back, Flapped, Linked, WhatsAppError};

use super::values::{failures, handover_latency, megabytes, micros, middle, note_failures, spread};
use super::{Suite, SuiteError};

/// Tenants, each of which has one session at first.
const TENANTS: usize = 50;
/// Messages a second over all of them.
const PER_SECOND: f64 = 50.0;
/// Callers that send through one session at once.
const CALLERS: usize = 32;
/// A run is so many times as long as others: a message a second through each session is few of them.
const TIMES: u32 = 10;
/// How long WhatsApp is away.
const AWAY: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(120)];
/// How long what was done last may have its aftermath.
const REST: Duration = Duration::from_secs(20);
/// Logins within a second that are no crowd: the server begins one every 20 ms.
const LOGINS_PER_SECOND: f64 = 60.0;
/// How long sessions are left alone while their processor time is measured.
const IDLE: Duration = Duration::from_secs(60);

impl Suite {
    pub(super) async fn whatsapp(&mut self) -> Result<Section, SuiteError> {
        Ok(self.sessions().await?)
    }

    async fn sessions(&mut self) -> Result<Section, WhatsAppError> {
        let programs = self.plan.whatsapp.clone().ok_or(WhatsAppError::NoPrograms)?;
        let quick = self.plan.sessions < TENANTS;
        let tenants = TENANTS.min(self.plan.sessions / 2);
        let shorter = |time: Duration| if quick { time / 20 } else { time };
        let mut section = Section::new(
            "whatsapp",
            &format!("Sessions of WhatsApp against the double of it, {} at most", self.plan.sessions),
            &["", "p50", "p95", "p99", "max", "a second", "CPU", "double's", "messages", "failed"],
        );
        section.notes.push(
            "latency: from when a call was due to when its message was decrypted at the double. CPU: of the server for each \
             message; the double, which plays everybody, has the same two cores. What numbers may send is lifted, and no \
             message waits by chance"
                .to_owned(),
        );
        progress("whatsapp: tenants");
        let mut linked = Linked::laid(&self.stand, &programs, tenants).await?;
        tokio::time::sleep(shorter(REST)).await;
        let base = linked.memory()?.resident_bytes;

        progress(&format!("whatsapp: linking {tenants} numbers"));
        linked.link(1).await?;
        let rate = PER_SECOND * tenants as f64 / TENANTS as f64;
        let count = (rate * (self.plan.time() * TIMES).as_secs_f64()) as usize;
        // The first messages of a session pay for what later ones find.
        linked.starts_at_rate(linked.people(tenants * 2), rate).await?;
        for (name, known) in [("people it never wrote to", false), ("people it has written to", true)] {
            let mut runs = Vec::new();
            for round in 1..=self.plan.rounds {
                progress(&format!("whatsapp: {name}, round {round} of {}", self.plan.rounds));
                let people = linked.people(count);
                if known {
                    linked.meet(&people).await?;
                }
                let run = linked.starts_at_rate(people, rate).await?;
                runs.push(Measured::new(&format!("to {name}"), tenants, round, &run));
            }
            row(&mut section, &format!("{rate:.0}/s over {tenants} sessions, to {name}"), &runs);
            let p99 = runs.iter().map(|run| handover_latency(run, |s| s.p99_micros) / 1e3);
            section.figures.push(Figure::new(
                &format!("accepted call to message at {rate:.0} a second over {tenants} sessions, to {name}, p99"),
                Goal::AtMost(150.0),
                spread(p99),
                "ms",
                failures(&runs) == 0,
            ));
            section.runs.extend(runs);
        }
        self.beside_flapping(&mut section, &linked, count, rate).await?;
        self.one_session(&mut section, &programs).await?;

        let each = self.plan.sessions / tenants;
        progress(&format!("whatsapp: linking {} numbers", (each - 1) * tenants));
        linked.link(each - 1).await?;
        tokio::time::sleep(shorter(REST)).await;
        let sessions = linked.sessions();
        let grown = |memory: u64| memory.saturating_sub(base) as f64 / sessions as f64 / 1e3;
        let linked_now = grown(linked.memory()?.resident_bytes);
        progress(&format!("whatsapp: {sessions} sessions at rest"));
        let idle = linked.idle(shorter(IDLE)).await? * 100.0;
        let mut backs: Vec<(String, Back)> = Vec::new();
        for away in AWAY.map(shorter) {
            let name = format!("WhatsApp was away for {} s", away.as_secs_f64());
            progress(&format!("whatsapp: {name}"));
            let back = linked.goes_away(away).await?;
            progress(&format!("whatsapp: {sessions} are back after {:.1} s", back.after.as_secs_f64()));
            backs.push((name, back));
        }
        tokio::time::sleep(shorter(REST)).await;
        let came_back = grown(linked.memory()?.resident_bytes);
        progress("whatsapp: the server starts again");
        let back = linked.restart().await?;
        backs.push(("the server was started again".to_owned(), back));
        tokio::time::sleep(shorter(REST)).await;
        let started = grown(linked.memory()?.resident_bytes);
        section.notes.push(format!(
            "{sessions} sessions beyond {} without one: {linked_now:.0} kB each once they were linked, {came_back:.0} kB once \
             they had come back, {started:.0} kB once the server had started again; at rest they take {idle:.2} % of a core",
            megabytes(base as f64)
        ));
        let most = linked_now.max(came_back).max(started);
        section.figures.push(Figure::new(
            &format!("memory of a session, of {sessions}, at its most"),
            Goal::AtMost(400.0),
            spread([most]),
            "kB",
            true,
        ));
        section.figures.push(Figure::new(
            &format!("processor time of {sessions} sessions at rest"),
            Goal::AtMost(2.0),
            spread([idle]),
            "% of a core",
            true,
        ));
        for (name, back) in backs {
            section.notes.push(format!(
                "{name}: {sessions} were in after {:.1} s, by {} logins, {} of them within a second at most",
                back.after.as_secs_f64(),
                back.logins,
                back.most_in_a_second
            ));
            section.figures.push(Figure::new(
                &format!("{sessions} sessions are in again once {name}"),
                Goal::AtMost(60.0),
                spread([back.after.as_secs_f64()]),
                "s",
                true,
            ));
            section.figures.push(Figure::new(
                &format!("logins within a second at most once {name}, of one for each session"),
                Goal::AtMost(LOGINS_PER_SECOND),
                spread([back.most_in_a_second as f64]),
                "",
                back.logins == sessions as u64,
            ));
        }
        note_failures(&mut section);
        Ok(section)
    }

    /// How fast messages are through half of the sessions while the other half come and go.
    async fn beside_flapping(
        &self,
        section: &mut Section,
        linked: &Linked,
        count: usize,
        rate: f64,
    ) -> Result<(), WhatsAppError> {
        let (mut runs, mut all_broke) = (Vec::new(), true);
        for round in 1..=self.plan.rounds {
            progress(&format!("whatsapp: while half of them come and go, round {round} of {}", self.plan.rounds));
            let Flapped { run, sessions, logins } = linked.starts_while_half_flap(linked.people(count), rate).await?;
            all_broke &= logins >= sessions as u64;
            section.notes.push(format!("{sessions} sessions that came and went were in again {logins} times"));
            runs.push(Measured::new("while half of the sessions come and go", sessions, round, &run));
        }
        row(section, &format!("{rate:.0}/s while half of the sessions come and go"), &runs);
        section.figures.push(Figure::new(
            &format!("accepted call to message at {rate:.0} a second, while half of the sessions come and go, p99"),
            Goal::AtMost(150.0),
            spread(runs.iter().map(|run| handover_latency(run, |s| s.p99_micros) / 1e3)),
            "ms",
            failures(&runs) == 0 && all_broke,
        ));
        section.runs.extend(runs);
        Ok(())
    }

    /// How much one session sends.
    async fn one_session(&self, section: &mut Section, programs: &Path) -> Result<(), WhatsAppError> {
        let mut linked = Linked::laid(&self.stand, programs, 1).await?;
        linked.link(1).await?;
        let count = (20.0 * (self.plan.time() * TIMES).as_secs_f64()) as usize;
        let (mut runs, mut rates) = (Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            progress(&format!("whatsapp: one session, round {round} of {}", self.plan.rounds));
            let people = linked.people(count);
            linked.meet(&people).await?;
            let (run, span) = linked.starts(people, CALLERS).await?;
            let per_second = (run.tally.done.saturating_sub(1)) as f64 / span.as_secs_f64();
            rates.push(per_second);
            runs.push(Measured { per_second, ..Measured::new("one session", CALLERS, round, &run) });
        }
        row(section, &format!("one session, {CALLERS} callers"), &runs);
        section.figures.push(Figure::new(
            "messages a second through one session, to people it has written to",
            Goal::AtLeast(20.0),
            spread(rates),
            "",
            failures(&runs) == 0,
        ));
        section.runs.extend(runs);
        Ok(())
    }
}

fn row(section: &mut Section, name: &str, runs: &[Measured]) {
    section.table.row([
        name.to_owned(),
        micros(middle(runs, |run| handover_latency(run, |s| s.p50_micros))),
        micros(middle(runs, |run| handover_latency(run, |s| s.p95_micros))),
        micros(middle(runs, |run| handover_latency(run, |s| s.p99_micros))),
        micros(middle(runs, |run| handover_latency(run, |s| s.max_micros))),
        format!("{:.0}", middle(runs, |run| run.per_second)),
        micros(middle(runs, |run| run.server_cpu_micros)),
        micros(middle(runs, |run| run.beside_cpu_micros.get("double").copied().unwrap_or(f64::NAN))),
        runs.iter().map(|run| run.done).sum::<u64>().to_string(),
        failures(runs).to_string(),
    ]);
}
