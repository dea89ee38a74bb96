//! How much of each cap is used: counted here at once, told to the others every two seconds, and read from them as
//! often. Exact on one node; of a burst on several, up to as many times a cap as there are nodes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::SignedDuration;

use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::guard::{Rule, Span, UseCount};
use crate::domain::id::{CountId, ServiceId, TenantId};
use crate::ports::{Change, Entity as _, IndexKey, Owner, Stored, TenantAccount};

/// How long the counts of other nodes are gone by.
const FRESH: SignedDuration = SignedDuration::from_secs(2);
/// Counts beyond which those that are over or told are dropped at once, and not at the next telling.
const COUNTS_MAX: usize = 100_000;
/// Counts that are told in one commit.
const TOLD_AT_ONCE: usize = 100;

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

impl Use {
    fn key(&self) -> (CountId, Timestamp) {
        (self.mark, self.span.starts)
    }
}

/// What was counted, and can be given back.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<Use>);

impl Taken {
    /// With what was counted besides.
    pub(super) fn and(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Whether others know of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The store has it as it is here.
    Yes,
    /// It is on its way there.
    UnderWay,
    /// More was counted since.
    No,
}

#[derive(Debug)]
struct Count {
    tenant: TenantId,
    service: ServiceId,
    ends: Timestamp,
    own: u64,
    others: u64,
    read_at: Timestamp,
    told: Told,
}

/// What is counted, by mark and the begin of the span.
#[derive(Default)]
struct Counts {
    known: HashMap<(CountId, Timestamp), Count>,
    /// How many there are before room is made the next time.
    room_at: usize,
}

impl Counts {
    /// Drops what is over, and what the store has as it is here. What is still on its way there stays: what is
    /// read in its place would be less, and would then be told over it.
    fn make_room(&mut self, now: Timestamp) {
        if self.known.len() <= self.room_at.max(COUNTS_MAX) {
            return;
        }
        self.known.retain(|_, count| count.told != Told::Yes && count.ends > now);
        // What could not go now cannot go at the next start either: not all of it is walked for each.
        self.room_at = self.known.len().saturating_mul(2);
    }

    fn used(&self, one: &Use) -> u64 {
        self.known.get(&one.key()).map_or(0, |count| count.own.saturating_add(count.others))
    }

    fn add(&mut self, one: &Use) {
        if let Some(count) = self.known.get_mut(&one.key()) {
            count.own = count.own.saturating_add(one.weight);
            count.told = Told::No;
        }
    }

    fn take_back(&mut self, one: &Use) {
        if let Some(count) = self.known.get_mut(&one.key()) {
            count.own = count.own.saturating_sub(one.weight);
            count.told = Told::No;
        }
    }

    /// What others do not know yet, of spans that are not over.
    fn begin_telling(&mut self, node: CountId, now: Timestamp) -> Vec<UseCount> {
        self.known.retain(|_, count| count.ends > now);
        let untold = self.known.iter_mut().filter(|(_, count)| count.told != Told::Yes);
        let telling = untold.map(|((mark, starts), count)| {
            count.told = Told::UnderWay;
            UseCount {
                tenant: count.tenant,
                service: count.service,
                mark: *mark,
                node,
                starts: *starts,
                ends: count.ends,
                used: count.own,
            }
        });
        telling.collect()
    }

    /// Notes whether these were told; what was counted meanwhile is not.
    fn end_telling(&mut self, counts: &[UseCount], told: bool) {
        for count in counts {
            if let Some(known) = self.known.get_mut(&(count.mark, count.starts))
                && known.told == Told::UnderWay
            {
                known.told = if told { Told::Yes } else { Told::No };
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Uses {
    node: OnceLock<CountId>,
    counts: Mutex<Counts>,
}

impl Uses {
    fn counts(&self) -> MutexGuard<'_, Counts> {
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
                let count = counts.known.get(&one.key());
                // Where nobody else counts, what was read once stays as it was.
                count.is_some_and(|count| self.ports.alone || now.duration_since(count.read_at).abs() < FRESH)
            };
            uses.iter().filter(|one| !fresh(one)).copied().collect()
        };
        let read = self.read_uses(tenant, &stale).await?;
        let mut counts = self.guard.uses.counts();
        counts.make_room(now);
        for (one, (own, others)) in stale.iter().zip(read) {
            let new = Count { tenant, service, ends: one.span.ends, own, others, read_at: now, told: Told::Yes };
            let count = counts.known.entry(one.key()).or_insert(new);
            count.others = others;
            count.read_at = now;
        }
        let beyond: Vec<Use> =
            uses.iter().filter(|one| counts.used(one).saturating_add(one.weight) > one.limit).copied().collect();
        if !beyond.is_empty() && !anyway {
            return Ok((Taken::default(), beyond));
        }
        uses.iter().for_each(|one| counts.add(one));
        Ok((Taken(uses), beyond))
    }

    /// Counts one answer that a number of the tenant's gives somebody by itself; says whether it is within so many of the
    /// day (UTC). One node keeps the number, so this is exact but for what the last one did not tell any more.
    pub(in crate::app) async fn take_reply(
        &self,
        from: TenantAccount,
        what: &str,
        to: &Address,
        limit: u64,
    ) -> Result<bool, Refusal> {
        let value = [&from.connection.to_bytes(), what.as_bytes(), b"\0", to.as_str().as_bytes()].concat();
        let mark = CountId::from_bytes(self.ports.vault.mark(from.tenant, "reply", &value));
        let one = Use { rule: Rule::CapAddress, mark, span: Span::day(self.now()), limit, weight: 1 };
        // It is no service's.
        let at = (from.tenant, ServiceId::from_bytes(from.connection.to_bytes()));
        Ok(self.take_uses(at, vec![one], false).await?.1.is_empty())
    }

    /// Takes back what was counted for something that did not happen.
    pub(super) fn give_uses_back(&self, taken: &Taken) {
        let mut counts = self.guard.uses.counts();
        taken.0.iter().for_each(|one| counts.take_back(one));
    }

    /// What is counted of each use, all of it read at once: by this node, for when it has forgotten that, and by
    /// the others.
    async fn read_uses(&self, tenant: TenantId, uses: &[Use]) -> Result<Vec<(u64, u64)>, Refusal> {
        if uses.is_empty() {
            return Ok(Vec::new());
        }
        let key = |one: &Use| IndexKey::new(UseCount::SPAN, UseCount::span(one.mark, one.span.starts));
        let keys = uses.iter().map(key).collect();
        let rows = self.ports.store.find_listed(UseCount::KIND, Owner::Tenant(tenant), keys).await?;
        let here = self.counting_node();
        let mut read: HashMap<(CountId, Timestamp), (u64, u64)> = HashMap::new();
        for row in rows {
            let count = Stored::<UseCount>::read(row)?;
            let (own, others) = read.entry((count.mark, count.starts)).or_default();
            let sum = if count.node == here { own } else { others };
            *sum = sum.saturating_add(count.used);
        }
        Ok(uses.iter().map(|one| read.get(&one.key()).copied().unwrap_or_default()).collect())
    }

    pub(super) async fn tell_uses(&self) -> Result<(), Refusal> {
        let untold = self.guard.uses.counts().begin_telling(self.counting_node(), self.now());
        let mut told = Ok(());
        for counts in untold.chunks(TOLD_AT_ONCE) {
            let made = self.ports.store.commit(counts.iter().map(Change::put).collect()).await;
            self.guard.uses.counts().end_telling(counts, made.is_ok());
            if let Err(error) = made {
                told = Err(error.into());
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{a_tenant, noon};

    fn one(n: usize) -> Use {
        let mut mark = [0; 16];
        mark[8..].copy_from_slice(&n.to_be_bytes());
        let mark = CountId::from_bytes(mark);
        Use { rule: Rule::CapAddress, mark, span: Span::day(noon()), limit: 1, weight: 5 }
    }

    #[test]
    fn what_is_being_told_is_not_dropped_to_make_room() {
        let (mut counts, tenant, node) = (Counts::default(), a_tenant().id, CountId::from_bytes([1; 16]));
        for n in 0..=COUNTS_MAX {
            let service = ServiceId::from_bytes([1; 16]);
            let (ends, told) = (one(n).span.ends, Told::Yes);
            let count = Count { tenant, service, ends, own: 0, others: 0, read_at: noon(), told };
            counts.known.insert(one(n).key(), count);
        }
        counts.add(&one(7));
        counts.add(&one(8));
        let telling = counts.begin_telling(node, noon());
        assert_eq!(telling.len(), 2);
        counts.add(&one(8));
        counts.make_room(noon());
        assert_eq!((counts.known.len(), counts.used(&one(7)), counts.used(&one(8))), (2, 5, 10));
        // It did not get there: it is told again, and so is what was counted meanwhile.
        counts.end_telling(&telling, false);
        let mut again: Vec<u64> = counts.begin_telling(node, noon()).iter().map(|count| count.used).collect();
        again.sort_unstable();
        assert_eq!(again, [5, 10]);
        counts.end_telling(&telling, true);
        assert_eq!(counts.begin_telling(node, noon()), []);
    }
}
