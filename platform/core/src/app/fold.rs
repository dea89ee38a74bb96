//! Folding: what happened to verifications and messages becomes events and is counted in rollups, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::try_join;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;

use super::thresholds::Uses;
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::erasure::Erasure;
use crate::domain::event::{Event, Fact};
use crate::domain::id::{EventId, ServiceId, TenantId};
use crate::domain::news::News;
use crate::domain::rollup::{self, Rollup};
use crate::ports::{Change, CommitError, Entity as _, NewsKey, Owner, StoreError};

/// Rollups that are read at once.
const AT_ONCE: usize = 32;

/// What a tenant is told, before it is an event.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) tenant: TenantId,
    /// At which service; none where it is about the tenant.
    pub(super) service: Option<ServiceId>,
    pub(super) at: Timestamp,
    pub(super) fact: Fact,
}

/// What a fold did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// News that were taken: each is one change of a verification or a message.
    pub taken: usize,
    /// Events that they became.
    pub events: usize,
    /// Whether there may be more.
    pub more: bool,
    /// Whether there were news that were not as they were read: another node was first. Where none folds, something
    /// is wrong with them.
    pub lost: bool,
}

impl App {
    /// Takes at most `limit` news, tells their tenants of them, and of quotas that are used up, by events where
    /// anybody listens, and counts them in rollups: all of it in one step, or nothing. So whatever crashes, and
    /// however many nodes fold at once, each is counted once and told of by one event.
    ///
    /// # Errors
    /// [`Refusal::Store`]. Nothing was folded then, or it is not known: the next fold takes what is left.
    pub async fn fold(&self, limit: usize) -> Result<Folded, Refusal> {
        let news = self.ports.store.news(limit).await?;
        if news.is_empty() {
            return Ok(Folded::default());
        }
        let now = self.now();
        let mut folded = Folded { taken: news.len(), events: 0, more: news.len() >= limit, lost: false };
        let mut changes: Vec<Change> = news.iter().map(|(key, _)| Change::TakeNews(Box::new(*key))).collect();
        let (mut counted, mut uses) = (BTreeMap::new(), Uses::default());
        let mut told = Vec::new();
        let tenants = self.tenants_of(&news).await?;
        for (_, news) in &news {
            let Some(listens) = tenants.get(&news.tenant()) else { continue };
            rollup::count(news, &mut counted);
            if !listens {
                continue;
            }
            let (tenant, service) = (news.tenant(), Some(news.service()));
            told.extend(news.facts().map(|(at, fact)| Told { tenant, service, at, fact }));
            uses.note(news);
        }
        let rollups = Rollup::of(counted).into_iter().map(|rollup| self.added(rollup, now));
        let rollups = stream::iter(rollups).buffered(AT_ONCE).try_collect::<Vec<_>>();
        // Beside each other: a fold is not to take longer for what it looks at besides.
        let (rollups, reached) = try_join(rollups, self.thresholds(uses, now)).await?;
        told.extend(reached.told);
        changes.extend(reached.marks);
        let events = self.events(told, now);
        folded.events = events.len();
        changes.extend(events.iter().map(Change::insert));
        changes.extend(rollups.into_iter().flatten());
        match self.ports.store.commit(changes).await {
            Ok(()) => {
                if folded.events > 0 {
                    self.webhooks.bell().ring();
                }
                Ok(folded)
            }
            // Another node folds too, and was first.
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(Folded { lost: true, ..Folded::default() }),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// The events of what tenants are told, in this order.
    pub(super) fn events(&self, told: Vec<Told>, now: Timestamp) -> Vec<Event> {
        let moment = self.folds.next(now);
        let events = told.into_iter().map(|Told { tenant, service, at, fact }| {
            let event = Event::new(tenant, service, &fact, moment, &*self.ports.entropy);
            Event { at, ..event }
        });
        let mut events: Vec<Event> = events.collect();
        // They are read in the order of their ids, which is to be that in which they happened.
        let mut ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        ids.sort_unstable_by_key(|id| id.to_bytes());
        events.iter_mut().zip(ids).for_each(|(event, id)| event.id = id);
        events
    }

    /// The tenants in the news, and whether they listen; without those that are being erased, or are gone: nothing
    /// is made of their news any more.
    ///
    /// Read after the news were. What is folded of a tenant whose erasure had not begun by then is erased with
    /// the rest: its news go in the same commit, from where the erasure takes them too, so that of a fold and an
    /// erasure that race for them one is made after the other.
    async fn tenants_of(&self, news: &[(NewsKey, News)]) -> Result<BTreeMap<TenantId, bool>, Refusal> {
        let tenants: BTreeSet<TenantId> = news.iter().map(|(_, news)| news.tenant()).collect();
        let look = |tenant: TenantId| async move {
            let begun = match self.find::<Erasure>(Owner::Platform, tenant.to_bytes()).await {
                Ok(erasure) => erasure.is_some_and(|erasure| erasure.has_begun()),
                // Deleted in any case; and nobody's events wait for what cannot be read of one tenant.
                Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%tenant, error, "an erasure cannot be read; nothing is made of the tenant's news");
                    true
                }
                Err(error) => return Err(error),
            };
            if begun {
                return Ok(None);
            }
            Ok(Some((tenant, self.listens(tenant).await?)))
        };
        let tenants = stream::iter(tenants).map(look).buffer_unordered(AT_ONCE);
        tenants.try_filter_map(|tenant| async move { Ok(tenant) }).try_collect().await
    }

    /// The change by which a rollup counts more; none where it would have been deleted by now.
    async fn added(&self, new: Rollup, now: Timestamp) -> Result<Option<Change>, Refusal> {
        if new.kept_until() <= now {
            return Ok(None);
        }
        let known = match self.find::<Rollup>(Owner::Tenant(new.tenant), new.id()).await {
            Ok(known) => known,
            // One bucket that cannot be read is not worth everybody's events.
            Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(tenant = %new.tenant, error, "a bucket of analytics cannot be read; it is not counted up");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(match known {
            Some(mut known) => {
                known.add(&new);
                Change::replace(&known)
            }
            None => Change::insert(&new),
        }))
    }

    /// Deletes at most `limit` rollups that were kept long enough, and says how many.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn retire_rollups(&self, limit: usize) -> Result<usize, Refusal> {
        let due = self.due::<Rollup>(limit).await?;
        if due.is_empty() {
            return Ok(0);
        }
        match self.ports.store.commit(due.iter().map(Change::delete).collect()).await {
            Ok(()) => Ok(due.len()),
            // Another node was first.
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(0),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

/// The moments that events have in their ids: one after another, so that what is folded later has a later
/// id, however short a fold takes.
#[derive(Debug, Default)]
pub(super) struct Folds(AtomicI64);

impl Folds {
    /// `now`, or the first millisecond after the last one.
    fn next(&self, now: Timestamp) -> Timestamp {
        let now_ms = now.as_millisecond();
        let next = |last: i64| now_ms.max(last.saturating_add(1));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let ahead = next(last.unwrap_or_default()).saturating_sub(now_ms);
        now.saturating_add(SignedDuration::from_millis(ahead)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::noon;

    #[test]
    fn what_is_folded_within_one_millisecond_has_one_moment_after_another() {
        let folds = Folds::default();
        let moments = [folds.next(noon()), folds.next(noon()), folds.next(noon())];
        assert!(moments[0] == noon() && moments.is_sorted_by(|one, next| one < next), "{moments:?}");
    }
}
