//! Nodes over MongoDB and Redis: what they do against a bare server on the same MongoDB, and what a second
//! one changes.

use crate::confine::Share;
use crate::load::{Bound, LoadError};
use crate::report::{Figure, Goal, Measured, Section, Spread};
use crate::scenario;
use crate::shared::{EXACT, Node, StubFolder};
use crate::stand::{Side, progress};
use wotp_test_servers::Redis;

use super::{
    EARLY, Suite, SuiteError, check_latency, clean, early, failures, handover_latency, measured, micros, middle,
    note_failures, ratios, start_latency, whole,
};

/// What each of two nodes without a store may use: what is left is for the driver and Redis.
const CORES: f64 = 0.5;

/// What MongoDB's process pays for each.
fn mongod(run: &Measured) -> f64 {
    run.beside_cpu_micros.get("mongod").copied().unwrap_or(f64::NAN)
}

fn redis(run: &Measured) -> f64 {
    run.beside_cpu_micros.get("redis").copied().unwrap_or(f64::NAN)
}

impl Suite {
    pub(super) async fn shared(&mut self) -> Result<Section, SuiteError> {
        let callers = self.plan.reference();
        progress("shared: starting MongoDB, Redis and a node");
        let shared = self.stand.shared(self.plan.shared_tenants)?;
        let exact = self.stand.tenants(&shared, self.plan.shared_tenants, EXACT)?;
        let (bare, node) = (self.stand.bare_node(&shared).await?, self.stand.node(&shared, 0).await?);
        let mut section = Section::new(
            "shared",
            &format!("A node over MongoDB and Redis at {callers} callers, against a bare server on the same MongoDB"),
            &[
                "tenants",
                "",
                "per second",
                "of bare (min–max)",
                "mongod CPU",
                "of bare's (min–max)",
                "node CPU",
                "redis CPU",
                "driver CPU",
                "start p50",
                "p99",
                "check p50",
                "p99",
                "handover p50",
                "p99",
                "early",
                "failed",
            ],
        );
        section.notes.extend([
            "bare: one conditional findOneAndUpdate and one insert for each call, majority".to_owned(),
            "uses are lent to the node in pieces of at most 4,096 and counted in its tally; a plan's limits are \
             looked at for each piece, and for each call only near a limit"
                .to_owned(),
            "exact: other tenants, on a plan that sells overage and includes one use: each further use is counted \
             in the counts of the day and of the month, as near a limit, and none is lent"
                .to_owned(),
            EARLY.to_owned(),
        ]);
        let everybody = shared.tenants.len();
        let all = |node: &Node| node.side(&shared.tenants, everybody);
        progress("warming up");
        self.starts(&all(&bare), "bare mongo", callers, 0).await?;
        self.starts(&all(&node), "node start", callers, 0).await?;
        let (mut stored, before) = (0, shared.servers.stored_bytes()?);
        for tenants in [1, everybody] {
            let (bare, ours) = (bare.side(&shared.tenants, tenants), node.side(&shared.tenants, tenants));
            let (mut bares, mut starts, mut cycles) = (Vec::new(), Vec::new(), Vec::new());
            for round in 1..=self.plan.rounds {
                bares.push(self.starts(&bare, "bare mongo", callers, round).await?);
                starts.push(self.starts(&ours, "node start", callers, round).await?);
                let bound = Bound::For(self.plan.time());
                cycles.push(self.cycles(&ours, node.mode, callers, round, bound).await?);
            }
            stored += starts.iter().chain(&cycles).map(|run: &Measured| run.done).sum::<u64>();
            let number = tenants.to_string();
            for (name, runs) in [("bare", &bares), ("start", &starts), ("life cycle", &cycles)] {
                costs(&mut section, &number, name, runs, &bares);
            }
            let who = if tenants == 1 { "one hot tenant".to_owned() } else { format!("{tenants} tenants") };
            section.figures.extend([
                Figure::new(
                    &format!("starts over MongoDB at {callers} callers, {who}, of the bare server's"),
                    Goal::AtLeast(1.5),
                    ratios(&starts, &bares, |run| run.per_second),
                    "",
                    clean(&starts) && clean(&bares),
                ),
                Figure::new(
                    &format!("mongod's CPU of a life cycle, {who}, of a bare request's"),
                    Goal::AtMost(2.5),
                    ratios(&cycles, &bares, mongod),
                    "",
                    clean(&cycles) && clean(&bares),
                ),
            ]);
            section.runs.extend(bares.into_iter().chain(starts).chain(cycles));
        }
        let after = shared.servers.stored_bytes()?;
        let (bare, ours) = (all(&bare), node.side(&exact, everybody));
        // So that what is included is used up.
        self.starts(&ours, "exact node start", callers, 0).await?;
        let (mut bares, mut starts) = (Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            bares.push(self.starts(&bare, "bare mongo", callers, round).await?);
            starts.push(self.starts(&ours, "exact node start", callers, round).await?);
        }
        for (name, runs) in [("bare", &bares), ("start", &starts)] {
            costs(&mut section, &format!("{everybody}, exact"), name, runs, &bares);
        }
        section.runs.extend(bares.into_iter().chain(starts));
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / stored as f64;
        section.notes.push(format!(
            "a verification takes {:.0} bytes of MongoDB's disk, and {:.0} of its indexes (mean of {stored})",
            each(after.0, before.0),
            each(after.1, before.1)
        ));
        note_failures(&mut section);
        Ok(section)
    }

    pub(super) async fn nodes(&mut self) -> Result<Section, SuiteError> {
        let callers = self.plan.reference();
        progress("nodes: starting MongoDB, Redis and a node");
        let shared = self.stand.shared(self.plan.shared_tenants)?;
        let mut section = Section::new(
            "nodes",
            &format!("Two nodes against one, at {callers} callers in all"),
            &[
                "",
                "nodes",
                "per second",
                "two / one (min–max)",
                "node CPU",
                "mongod CPU",
                "redis CPU",
                "start p50",
                "p99",
                "failed",
            ],
        );
        let first = self.stand.node(&shared, 0).await?;
        let side = |node: &Node| node.side(&shared.tenants, shared.tenants.len());
        self.starts(&side(&first), "one node", callers, 0).await?;
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            one.push(self.starts(&side(&first), "one node", callers, round).await?);
            let second = self.stand.node(&shared, 1).await?;
            self.starts_of_both((&side(&first), &side(&second)), "two nodes", callers, 0).await?;
            two.push(self.starts_of_both((&side(&first), &side(&second)), "two nodes", callers, round).await?);
            second.stop().await;
        }
        let ratio = ratios(&two, &one, |run| run.per_second);
        rows(&mut section, "over MongoDB", [&one, &two], ratio);
        section.figures.push(Figure::new(
            &format!("starts of two nodes at {callers} callers, of one node's"),
            Goal::AtLeast(1.0),
            ratio,
            "",
            failures(&one) + failures(&two) == 0,
        ));
        section.runs.extend(one.into_iter().chain(two));
        drop((first, shared));
        self.stubs(&mut section).await?;
        note_failures(&mut section);
        Ok(section)
    }

    /// Two nodes against one where no store is waited for, each with half a core.
    async fn stubs(&self, section: &mut Section) -> Result<(), SuiteError> {
        let callers = self.plan.reference();
        let shares = Share::of(CORES, "a").and_then(|a| Ok((a, Share::of(CORES, "b")?)));
        let (name, goal) = ("starts of two nodes without a store, of one node's", Goal::AtLeast(1.8));
        let shares = match shares {
            Ok(shares) => shares,
            Err(error) => {
                let why = "two nodes with the store stubbed out were not measured: a share of the processor for each";
                section.notes.push(format!("{why} needs root and the kernel's control groups ({error})"));
                section.figures.push(Figure::not_measured(name, goal, ""));
                return Ok(());
            }
        };
        let redis = Redis::start();
        let (first, second) = (self.stand.stub_node(&redis, 0).await?, self.stand.stub_node(&redis, 1).await?);
        shares.0.take(first.0.target.pid).and_then(|()| shares.1.take(second.0.target.pid))?;
        let side = |(node, folder): &(Node, StubFolder)| node.side(std::slice::from_ref(&folder.tenant), 1);
        let both = (&side(&first), &side(&second));
        self.starts_of_both(both, "two stub nodes", callers, 0).await?;
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            one.push(self.starts(both.0, "one stub node", callers, round).await?);
            two.push(self.starts_of_both(both, "two stub nodes", 2 * callers, round).await?);
        }
        let ratio = ratios(&two, &one, |run| run.per_second);
        rows(section, "without a store", [&one, &two], ratio);
        section.notes.push(format!(
            "without a store: {CORES} cores and {callers} callers for each node, each with a store in memory of its \
             own; the two share only the Redis server, and in it no tenants, buckets or streams"
        ));
        section.figures.push(Figure::new(name, goal, ratio, "", failures(&one) + failures(&two) == 0));
        section.runs.extend(one.into_iter().chain(two));
        // Nodes first: a share with somebody in it stays.
        drop((first, second));
        drop(shares);
        Ok(())
    }

    /// Starts on two nodes at once, half of the callers on each.
    async fn starts_of_both(
        &self,
        (first, second): (&Side, &Side),
        subject: &str,
        callers: usize,
        round: usize,
    ) -> Result<Measured, SuiteError> {
        let bound = Bound::For(self.plan.time());
        let (a, b) = (self.callers(first, callers.div_ceil(2)), self.callers(second, callers / 2));
        let outcome: Result<_, LoadError> =
            tokio::try_join!(scenario::starts(&a, bound), scenario::starts(&b, bound)).map(|(a, b)| a.and(b));
        measured(subject, callers, round, outcome)
    }
}

/// A row of what calls over MongoDB cost.
fn costs(section: &mut Section, tenants: &str, name: &str, runs: &[Measured], bares: &[Measured]) {
    section.table.row([
        tenants.to_owned(),
        name.to_owned(),
        whole(runs, |run| run.per_second),
        ratios(runs, bares, |run| run.per_second).show(2),
        micros(middle(runs, mongod)),
        ratios(runs, bares, mongod).show(2),
        micros(middle(runs, |run| run.server_cpu_micros)),
        micros(middle(runs, redis)),
        micros(middle(runs, |run| run.driver_cpu_micros)),
        micros(middle(runs, |run| start_latency(run, |s| s.p50_micros))),
        micros(middle(runs, |run| start_latency(run, |s| s.p99_micros))),
        micros(middle(runs, |run| check_latency(run, |s| s.p50_micros))),
        micros(middle(runs, |run| check_latency(run, |s| s.p99_micros))),
        micros(middle(runs, |run| handover_latency(run, |s| s.p50_micros))),
        micros(middle(runs, |run| handover_latency(run, |s| s.p99_micros))),
        early(runs).to_string(),
        failures(runs).to_string(),
    ]);
}

fn rows(section: &mut Section, name: &str, runs: [&[Measured]; 2], ratio: Spread) {
    for (nodes, runs) in (1..).zip(runs) {
        section.table.row([
            name.to_owned(),
            nodes.to_string(),
            whole(runs, |run| run.per_second),
            if nodes == 1 { String::new() } else { ratio.show(2) },
            micros(middle(runs, |run| run.server_cpu_micros)),
            micros(middle(runs, mongod)),
            micros(middle(runs, redis)),
            micros(middle(runs, |run| start_latency(run, |s| s.p50_micros))),
            micros(middle(runs, |run| start_latency(run, |s| s.p99_micros))),
            failures(runs).to_string(),
        ]);
    }
}
