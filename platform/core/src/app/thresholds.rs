//! Thresholds: tenants are told when a part of a quota is used up.
//!
//! It is decided at the fold, so that no start does anything for it: what was counted is committed together
//! with the news of it, so whoever takes the news of the use that reached a threshold finds it counted, on
//! whichever nodes that was. Verifications have news of their start; messages are looked at once they got out
//! or failed. What was told is marked in the commit that takes the news: of those who race, one tells.

use std::collections::BTreeMap;

use futures_util::future::try_join;
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};

use super::fold::Told;
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::event::{Fact, QuotaData};
use crate::domain::id::TenantId;
use crate::domain::mode::Mode;
use crate::domain::news::{News, What};
use crate::domain::quota::{Resource, Window};
use crate::domain::quota_marks::QuotaMarks;
use crate::ports::{Change, CommitError, Owner, StoreError};

/// Tenants that are looked at at once.
const AT_ONCE: usize = 16;

/// What was used by what news tell of: of each tenant each resource in each day, and a moment of it.
#[derive(Debug, Default)]
pub(super) struct Uses(BTreeMap<TenantId, BTreeMap<(Resource, Timestamp), Timestamp>>);

impl Uses {
    /// Notes what was counted for what the news are of.
    pub(super) fn note(&mut self, news: &News) {
        let resource = match (news, news.mode()) {
            (News::Verification(_), Mode::Live) => Resource::Verifications,
            (News::Verification(_), Mode::Test) => Resource::TestVerifications,
            (News::Message(_), Mode::Live) => Resource::Messages,
            (News::Message(_), Mode::Test) => Resource::TestMessages,
        };
        let tells = match news {
            News::Verification(_) => news.happenings().iter().any(|happening| happening.what == What::Started),
            News::Message(_) => true,
        };
        if tells {
            self.add(news.tenant(), resource, news.created_at());
        }
    }

    fn add(&mut self, tenant: TenantId, resource: Resource, at: Timestamp) {
        self.0.entry(tenant).or_default().insert((resource, Window::day(at).starts), at);
    }
}

/// What tenants are to be told.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Which part of a quota was used up, of each the lower part first.
    pub(super) told: Vec<Told>,
    /// The changes that note it, to be made together with the events.
    pub(super) marks: Vec<Change>,
}

impl App {
    /// Which parts of quotas these uses used up that nobody was told of. Of a tenant that is gone, or whose
    /// plan is, nobody is.
    pub(super) async fn thresholds(&self, uses: Uses, now: Timestamp) -> Result<Reached, Refusal> {
        let looks = uses.0.into_iter().map(|(tenant, uses)| async move {
            let reached = match self.thresholds_of(tenant, uses).await {
                // What cannot be read of one tenant keeps nobody's events waiting.
                Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%tenant, error, "it is not known what a tenant was told of its quotas; it is told nothing");
                    None
                }
                reached => reached?,
            };
            Ok::<_, Refusal>(reached.map(|(data, mark)| (tenant, data, mark)))
        });
        let all: Vec<_> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let mut reached = Reached::default();
        for (tenant, data, mark) in all.into_iter().flatten() {
            let told = |data| Told { tenant, service: None, at: now, fact: Fact::QuotaThreshold(data) };
            reached.told.extend(data.into_iter().map(told));
            reached.marks.push(mark);
        }
        Ok(reached)
    }

    /// Tells a tenant which parts of its quotas are used up now, by another plan or other limits: with those
    /// perhaps nothing more is admitted, of which there would be news.
    pub(super) async fn look_at_quotas(&self, tenant: TenantId) -> Result<(), Refusal> {
        if !self.listens(tenant).await? {
            return Ok(());
        }
        self.in_turn(move || async move {
            let now = self.now();
            let mut uses = Uses::default();
            Resource::ALL.into_iter().for_each(|resource| uses.add(tenant, resource, now));
            let reached = self.thresholds(uses, now).await?;
            let mut changes = reached.marks;
            changes.extend(self.events(reached.told, now).iter().map(Change::insert));
            if changes.is_empty() {
                return Ok(());
            }
            match self.ports.store.commit(changes).await {
                Ok(()) => {
                    self.webhooks.bell().ring();
                    Ok(())
                }
                // A fold told something meanwhile.
                Err(CommitError::Changed | CommitError::Taken { .. }) => Err(Refusal::Conflict),
                Err(CommitError::Store(error)) => Err(error.into()),
            }
        })
        .await
    }

    async fn thresholds_of(
        &self,
        tenant: TenantId,
        uses: BTreeMap<(Resource, Timestamp), Timestamp>,
    ) -> Result<Option<(Vec<QuotaData>, Change)>, Refusal> {
        let door = self.ports.store.tenant(tenant);
        let marks = self.find::<QuotaMarks>(Owner::Tenant(tenant), tenant.to_bytes());
        let (found, mut known) = try_join(door.find_tenant().map_err(Refusal::from), marks).await?;
        let Some(found) = found else { return Ok(None) };
        let Ok(plan) = self.plan_of(&found) else { return Ok(None) };
        let quotas = uses.into_iter().map(|((resource, _), at)| plan.quota(resource, at, found.period_anchor));
        let mut new = QuotaMarks::new(tenant);
        let marks = known.as_mut().map_or(&mut new, |known| &mut known.entity);
        let mut reached = Vec::new();
        for quota in quotas {
            // Most tenants have no limit, or were told all there is to tell: nothing is read for those.
            if !marks.is_open(&quota) {
                continue;
            }
            let used = door.usage(quota.resource, &quota.allowances.map(|allowance| allowance.window)).await?;
            if let [day, month] = used[..] {
                reached.extend(marks.reach(&quota, [day.used, month.used]));
            }
        }
        if reached.is_empty() {
            return Ok(None);
        }
        let mark = known.as_ref().map_or_else(|| Change::insert(&new), Change::replace);
        Ok(Some((reached, mark)))
    }
}
