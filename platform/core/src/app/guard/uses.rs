//! How much of each cap is used: counted here at once, told to the others every few seconds.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;

use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::guard::{Rule, Span, UseCount};
use crate::domain::id::{CountId, ServiceId, TenantId};
use crate::ports::{Change, EntityList, IndexKey, Owner};

/// How long the counts of other nodes are gone by.
const FRESH: SignedDuration = SignedDuration::from_secs(2);
/// Counts beyond which those that are over or told are dropped at once, and not at the next telling.
const COUNTS_MAX: usize = 100_000;
/// Counts that are told in one commit.
const TOLD_AT_ONCE: usize = 100;
/// Counts that are read at once.
const READ_AT_ONCE: usize = 8;

/// What one cap counts of one thing, in one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// The rule whose cap it is.
    pub(super) rule: Rule,
    /// What is counted.
    pub(super) mark: CountId,
    /// In which span.
    pub(super) span: Span,
    /// How much is allowed.
    pub(super) limit: u64,
    /// How much this use is.
    pub(super) weight: u64,
}

/// What was counted, and by whom it can be given back.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<Use>);

#[derive(Debug)]
struct Count {
    tenant: TenantId,
    service: ServiceId,
    ends: Timestamp,
    own: u64,
    others: u64,
    read_at: Timestamp,
    untold: bool,
}

#[derive(Default)]
pub(super) struct Uses {
    node: OnceLock<CountId>,
    counts: Mutex<HashMap<(CountId, Timestamp), Count>>,
}

impl Uses {
    fn counts(&self) -> MutexGuard<'_, HashMap<(CountId, Timestamp), Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Who this process is to others that count.
    fn counting_node(&self) -> CountId {
        *self.guard.uses.node.get_or_init(|| CountId::new(self.now(), &*self.ports.entropy))
    }

    /// Counts all of these uses, or none when one of them is beyond its cap; says which are. With `anyway` they
    /// are counted all the same.
    pub(super) async fn take_uses(
        &self,
        (tenant, service): (TenantId, ServiceId),
        uses: Vec<Use>,
        anyway: bool,
    ) -> Result<(Taken, Vec<Use>), Refusal> {
        let now = self.now();
        let stale: Vec<Use> = {
            let counts = self.guard.uses.counts();
            let fresh = |one: &Use| {
                let count = counts.get(&(one.mark, one.span.starts));
                count.is_some_and(|count| now.duration_since(count.read_at).abs() < FRESH)
            };
            uses.iter().filter(|one| !fresh(one)).copied().collect()
        };
        let read = stream::iter(stale).map(|one| self.read_use(tenant, one)).buffer_unordered(READ_AT_ONCE);
        let read: Vec<(Use, u64, u64)> = read.try_collect().await?;
        let mut counts = self.guard.uses.counts();
        if counts.len() > COUNTS_MAX {
            counts.retain(|_, count| count.untold && count.ends > now);
        }
        for (one, own, others) in read {
            let new = Count { tenant, service, ends: one.span.ends, own, others, read_at: now, untold: false };
            let count = counts.entry((one.mark, one.span.starts)).or_insert(new);
            count.others = others;
            count.read_at = now;
        }
        let used = |one: &Use| counts.get(&(one.mark, one.span.starts)).map_or(0, |count| count.own + count.others);
        let beyond: Vec<Use> = uses.iter().filter(|one| used(one) + one.weight > one.limit).copied().collect();
        if !beyond.is_empty() && !anyway {
            return Ok((Taken::default(), beyond));
        }
        for one in &uses {
            if let Some(count) = counts.get_mut(&(one.mark, one.span.starts)) {
                count.own = count.own.saturating_add(one.weight);
                count.untold = true;
            }
        }
        Ok((Taken(uses), beyond))
    }

    /// Takes back what was counted for something that did not happen.
    pub(super) fn give_uses_back(&self, taken: &Taken) {
        let mut counts = self.guard.uses.counts();
        for one in &taken.0 {
            if let Some(count) = counts.get_mut(&(one.mark, one.span.starts)) {
                count.own = count.own.saturating_sub(one.weight);
                count.untold = true;
            }
        }
    }

    /// What is counted of a use: by this node, for when it has forgotten that, and by the others.
    async fn read_use(&self, tenant: TenantId, one: Use) -> Result<(Use, u64, u64), Refusal> {
        let by = IndexKey::new(UseCount::SPAN, UseCount::span(one.mark, one.span.starts));
        let list = EntityList { by: Some(by), ..EntityList::of(Owner::Tenant(tenant)) };
        let (mut own, mut others) = (0u64, 0u64);
        let here = self.counting_node();
        for count in self.list::<UseCount>(&list).await? {
            let sum = if count.node == here { &mut own } else { &mut others };
            *sum = sum.saturating_add(count.used);
        }
        Ok((one, own, others))
    }

    pub(super) async fn tell_uses(&self) -> Result<(), Refusal> {
        let now = self.now();
        let node = self.counting_node();
        let untold: Vec<UseCount> = {
            let mut counts = self.guard.uses.counts();
            counts.retain(|_, count| count.ends > now);
            let untold = counts.iter_mut().filter(|(_, count)| count.untold);
            untold
                .map(|((mark, starts), count)| {
                    count.untold = false;
                    UseCount {
                        tenant: count.tenant,
                        service: count.service,
                        mark: *mark,
                        node,
                        starts: *starts,
                        ends: count.ends,
                        used: count.own,
                    }
                })
                .collect()
        };
        let mut told = Ok(());
        for counts in untold.chunks(TOLD_AT_ONCE) {
            let changes = counts.iter().map(Change::put).collect();
            if let Err(error) = self.ports.store.commit(changes).await {
                let mut known = self.guard.uses.counts();
                for count in counts {
                    if let Some(count) = known.get_mut(&(count.mark, count.starts)) {
                        count.untold = true;
                    }
                }
                told = Err(error.into());
            }
        }
        told
    }
}
