//! What logins do to starts, and whether answers tell who has an account.

use std::time::Duration;

use tokio::time::Instant;

use crate::hashing::Hashing;
use crate::load::Bound;
use crate::people::{self, Person, Question, Store, Town};
use crate::report::{Figure, Goal, Measured, Section};
use crate::scenario;
use crate::stand::progress;

use super::values::{
    answer_latency, clean, failures, measured, micros, middle, note_failures, ratios, start_latency, whole,
};
use super::{Suite, SuiteError};

/// People who log in at once.
const CALLERS: usize = 8;
/// People who have an account, and log in by turns: so many that nobody of them comes to have as many sessions as a
/// person may have, from which on each login ends one.
const PEOPLE: usize = 128;
/// Starts a second beside them: well below what a node does.
const PER_SECOND: f64 = 200.0;
/// A run is so many times as long as others: a 99th percentile takes many starts.
const TIMES: u32 = 6;
/// Pairs that are asked for in a round.
const PAIRS: usize = 40;

impl Suite {
    pub(super) async fn logins(&mut self) -> Result<Section, SuiteError> {
        let rate = self.plan.rate.unwrap_or(PER_SECOND);
        let mut section = Section::new(
            "logins",
            &format!(
                "{rate:.0} starts a second, open loop, alone and beside {CALLERS} people who log in without pause"
            ),
            &[
                "store",
                "",
                "start p50",
                "p95",
                "p99",
                "max",
                "p99 beside / alone (min–max)",
                "sent late p99",
                "logins/s",
                "login p50",
                "p99",
                "node CPU",
                "failed",
            ],
        );
        section.notes.push(format!(
            "logins: argon2id with the default parameters, no second factor, by turns of {PEOPLE} people, each \
                 from a client never seen before; each is a session and a line in the platform's audit chain; as much \
                 hashing: a process of its own that hashes for as many callers, as a node does, and asks nothing of \
                 it: what the processor alone costs"
        ));
        for store in Store::ALL {
            progress(&format!("logins: signing {PEOPLE} people up over {}", store.name()));
            let town = self.stand.town(store, PEOPLE).await?;
            self.beside_logins(&town, rate, 0).await?;
            let (mut alone, mut beside, mut logins) = (Vec::new(), Vec::new(), Vec::new());
            let mut hashing = Vec::new();
            for round in 1..=self.plan.rounds {
                alone.push(self.at_moderate_rate(&town, "start at rate", rate, round).await?);
                let (starts, people) = self.beside_logins(&town, rate, round).await?;
                beside.push(starts);
                logins.push(people);
                let _hashing = Hashing::start(CALLERS)?;
                hashing.push(self.at_moderate_rate(&town, "start at rate beside hashing", rate, round).await?);
            }
            let p99 = |run: &Measured| start_latency(run, |s| s.p99_micros);
            let (ratio, by_hashing) = (ratios(&beside, &alone, p99), ratios(&hashing, &alone, p99));
            let rows = [
                ("alone", &alone, None),
                ("beside logins", &beside, Some(&ratio)),
                ("beside as much hashing", &hashing, Some(&by_hashing)),
            ];
            for (name, runs, ratio) in rows {
                let with = name == "beside logins";
                let late = |run: &Measured| run.late.map_or(f64::NAN, |s| s.p99_micros as f64);
                section.table.row([
                    store.name().to_owned(),
                    name.to_owned(),
                    micros(middle(runs, |run| start_latency(run, |s| s.p50_micros))),
                    micros(middle(runs, |run| start_latency(run, |s| s.p95_micros))),
                    micros(middle(runs, p99)),
                    micros(middle(runs, |run| start_latency(run, |s| s.max_micros))),
                    ratio.map_or_else(String::new, |ratio| ratio.show(2)),
                    micros(middle(runs, late)),
                    if with { whole(&logins, |run| run.per_second) } else { String::new() },
                    if with {
                        micros(middle(&logins, |run| answer_latency(run, |s| s.p50_micros)))
                    } else {
                        String::new()
                    },
                    if with {
                        micros(middle(&logins, |run| answer_latency(run, |s| s.p99_micros)))
                    } else {
                        String::new()
                    },
                    micros(middle(runs, |run| run.server_cpu_micros)),
                    (failures(runs) + if with { failures(&logins) } else { 0 }).to_string(),
                ]);
            }
            section.figures.push(Figure::new(
                &format!("p99 of starts beside {CALLERS} people who log in, over {}, of that alone", store.name()),
                Goal::AtMost(2.0),
                ratio,
                "",
                clean(&alone) && clean(&beside) && clean(&logins),
            ));
            section.runs.extend(alone.into_iter().chain(beside).chain(logins).chain(hashing));
        }
        note_failures(&mut section);
        Ok(section)
    }

    pub(super) async fn answers(&mut self) -> Result<Section, SuiteError> {
        let mut section = Section::new(
            "answers",
            "How long an answer takes to who has an account and to who has none",
            &["store", "", "with p50", "p95", "without p50", "p95", "p50 with / without (min–max)"],
        );
        section.notes.push(format!(
            "{PAIRS} of each a round, by turns, over one connection, nothing else going on; each address is written \
             to once, since the next code would have to wait"
        ));
        for store in Store::ALL {
            // Each is guessed at a few times, and written to once: an address that was has to wait.
            let people = 2 * PAIRS * self.plan.rounds;
            progress(&format!("answers: signing {people} people up over {}", store.name()));
            let town = self.stand.town(store, people).await?;
            let mut strangers = (0..).map(Person::stranger);
            for question in Question::ALL {
                let (mut with, mut without) = (Vec::new(), Vec::new());
                for round in 1..=self.plan.rounds {
                    let of_round = match question {
                        Question::LogIn | Question::SignUp => 2 * (round - 1),
                        Question::Reset => 2 * (round - 1) + 1,
                    };
                    let known = town.people.iter().skip(of_round * PAIRS).take(PAIRS);
                    let began = Instant::now();
                    let pairs = known.zip(strangers.by_ref());
                    let took = people::answers(town.side.target.address, question, pairs).await?;
                    let subject = |who: &str| format!("{}, {who}, {}", question.name(), store.name());
                    with.push(Measured::of_answers(&subject("with an account"), round, began.elapsed(), &took.known));
                    without.push(Measured::of_answers(&subject("without"), round, began.elapsed(), &took.unknown));
                }
                let ratio = ratios(&with, &without, |run| answer_latency(run, |s| s.p50_micros));
                section.table.row([
                    store.name().to_owned(),
                    question.name().to_owned(),
                    micros(middle(&with, |run| answer_latency(run, |s| s.p50_micros))),
                    micros(middle(&with, |run| answer_latency(run, |s| s.p95_micros))),
                    micros(middle(&without, |run| answer_latency(run, |s| s.p50_micros))),
                    micros(middle(&without, |run| answer_latency(run, |s| s.p95_micros))),
                    ratio.show(3),
                ]);
                section.figures.push(Figure::new(
                    &format!("{}, over {}: with an account, of without", question.name(), store.name()),
                    Goal::Within(0.9, 1.1),
                    ratio,
                    "",
                    true,
                ));
                section.runs.extend(with.into_iter().chain(without));
            }
        }
        Ok(section)
    }

    async fn at_moderate_rate(
        &self,
        town: &Town,
        subject: &str,
        rate: f64,
        round: usize,
    ) -> Result<Measured, SuiteError> {
        let callers = self.callers(&town.side, CALLERS);
        let outcome = scenario::starts_at_rate(&callers, rate, self.login_time()).await;
        measured(subject, 0, round, outcome)
    }

    /// Starts, and the logins beside them.
    async fn beside_logins(&self, town: &Town, rate: f64, round: usize) -> Result<(Measured, Measured), SuiteError> {
        let bound = Bound::For(self.login_time());
        let (starts, logins) = tokio::join!(
            self.at_moderate_rate(town, "start at rate beside logins", rate, round),
            people::log_ins(town.side.target, &town.people, CALLERS, bound)
        );
        Ok((starts?, measured("login", CALLERS, round, logins)?))
    }

    fn login_time(&self) -> Duration {
        self.plan.time() * TIMES
    }
}
