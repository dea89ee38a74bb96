//! What ended since a backup was made stays ended when it comes back.
//!
//! A backup knows nothing of what happened after it. Brought back as it is, it would bring back API
//! keys that were revoked because somebody had stolen them, and codes that were used already or lie
//! in somebody's mailbox.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use tokio::task::JoinSet;
use wotp_core::app::{Refusal, commit_alone};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::ApiKey;
use wotp_core::domain::audit::{AuditEntry, By, Deed, by_target};
use wotp_core::domain::id::ApiKeyId;
use wotp_core::domain::vault::Vault;
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::{Change, Filter, ReplaceError, Store, StoreError};

use crate::system::OsEntropy;
use crate::wiring::embedded::{self, OpenError};

/// Verifications that are called off at once, as many as the store commits together, about; keys that are looked at.
const BATCH: usize = 256;
/// What two moments differ in at least, in a record.
const MOMENT: SignedDuration = SignedDuration::from_micros(1);

/// The backup while it is made fit to take its place. Nobody else has it open.
pub(super) struct Staged<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) vault: &'a Vault,
    pub(super) now: Timestamp,
}

impl Staged<'_> {
    /// Makes changes, and tells of them in the audit log.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::Taken`], [`Refusal::Store`].
    pub(super) async fn commit(&self, deeds: &[Deed], changes: Vec<Change>) -> Result<(), Refusal> {
        commit_alone(self.store, self.vault, &OsEntropy, self.now, &By::command_line(), deeds, changes).await
    }
}

/// What became of the keys that a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Revoked {
    /// Revoked since the backup, and so revoked again.
    pub(super) revoked: usize,
    /// Not in the database that is replaced, so nothing is known of them.
    pub(super) unknown: usize,
}

/// The keys of the database that goes.
pub(super) struct Keys {
    pub(super) kept: Vec<ApiKey>,
    /// Those that its audit log tells of. One that is not kept was over for so long that it was forgotten.
    pub(super) told_of: HashSet<ApiKeyId>,
}

impl Keys {
    /// # Errors
    /// [`OpenError`], when not all of them can be read.
    pub(super) fn of(database: &Path) -> Result<Self, OpenError> {
        let begin = by_target(ApiKeyId::PREFIX);
        let told_of = embedded::salvage_values::<AuditEntry>(database, &begin)?;
        let id = |target: Vec<u8>| std::str::from_utf8(&target).ok()?.parse().ok();
        Ok(Self { kept: embedded::salvage_keys(database)?, told_of: told_of.into_iter().filter_map(id).collect() })
    }
}

/// Revokes the keys that are over in `replaced`, or were for so long that they were forgotten.
///
/// # Errors
/// [`Refusal::Store`].
pub(super) async fn revoke_again(staged: &Staged<'_>, replaced: &Keys) -> Result<Revoked, Refusal> {
    let Staged { store, now, .. } = *staged;
    let ended = |key: &ApiKey| key.over_at().filter(|_| key.is_over(now));
    let ended: HashMap<_, _> = replaced.kept.iter().map(|key| ((key.tenant, key.id), ended(key))).collect();
    let mut count = Revoked::default();
    for tenant in store.tenants().await? {
        let door = store.tenant(tenant.id);
        let mut after = None;
        loop {
            let page = door.keys(after, BATCH).await?;
            after = page.items.last().map(|key| key.id);
            for mut key in page.items {
                let at = match ended.get(&(key.tenant, key.id)) {
                    Some(at) => *at,
                    None if replaced.told_of.contains(&key.id) => Some(now),
                    None => {
                        count.unknown += 1;
                        None
                    }
                };
                let Some(at) = at.filter(|_| !key.is_over(now)) else { continue };
                // Not later than now, or it would work until then: clocks have been set back.
                key.revoked_at = Some(now.min(at));
                let deed = Deed::of(key.tenant, "api_key.revoke", key.id);
                let deed = deed.before(json!({ "revoked_at": null }));
                let deed = deed.after(json!({ "revoked_at": key.revoked_at, "restored": true }));
                staged.commit(&[deed], vec![Change::ReplaceKey(Box::new(key))]).await?;
                count.revoked += 1;
            }
            if !page.more {
                break;
            }
        }
    }
    Ok(count)
}

/// Calls off every verification that is pending; says how many. They stay counted: that their codes
/// went out is as likely as not.
///
/// # Errors
/// [`Refusal::Store`].
pub(super) async fn cancel_pending(store: &Arc<dyn Store>, now: Timestamp) -> Result<usize, Refusal> {
    let filter = Filter { status: Some(Status::Pending), ..Filter::default() };
    let mut canceled = 0;
    for tenant in store.tenants().await? {
        let mut after = None;
        loop {
            let page = store.tenant(tenant.id).verifications(&filter, after, BATCH).await?;
            after = page.items.last().map(|verification| verification.id);
            canceled += page.items.len();
            // At once, so that the store commits many together instead of flushing for each.
            let mut batch = JoinSet::new();
            for verification in page.items {
                batch.spawn(cancel(Arc::clone(store), verification, now));
            }
            while let Some(done) = batch.join_next().await {
                done.map_err(|panic| StoreError::Unavailable(panic.into()))??;
            }
            if !page.more {
                break;
            }
        }
    }
    Ok(canceled)
}

async fn cancel(store: Arc<dyn Store>, mut verification: Verification, now: Timestamp) -> Result<(), Refusal> {
    // While it was open, at the latest: called off later it would end as expired, or as one whose
    // code never got out, which is not known, and would give its use back.
    let open = verification.expires_at.saturating_sub(MOMENT).unwrap_or(Timestamp::MIN);
    let moment = now.min(open);
    // Whoever held its delivery at the backup does not come back.
    verification.dispatch.release(moment);
    verification.cancel(moment);
    store.tenant(verification.tenant).replace(&mut verification, false).await.map_err(replaced_by_nobody)
}

fn replaced_by_nobody(error: ReplaceError) -> Refusal {
    match error {
        ReplaceError::Conflict => Refusal::Conflict,
        ReplaceError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus, Turn};
    use wotp_core::domain::mode::Mode;
    use wotp_core::domain::quota::{Resource, Window};
    use wotp_core::testing::builders::{
        a_service, a_stored_key, a_tenant, a_verification, admission, noon, seconds, vault,
    };

    use super::*;
    use crate::wiring::embedded::{OpenOptions, SqliteStore};

    fn a_store() -> (TempDir, Arc<dyn Store>) {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap();
        (folder, Arc::new(store))
    }

    #[tokio::test]
    async fn whatever_is_pending_is_called_off_and_stays_counted() {
        let (_folder, store) = a_store();
        let tenant = a_tenant();
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        let door = store.tenant(tenant.id);
        // More than are called off at once; a worker holds the delivery of each.
        for number in 0..300 {
            let to = format!("+12025550{:03}", 100 + number % 100);
            door.admit(admission(a_verification(tenant.id, &to, noon()))).await.unwrap();
        }
        let mut approved = a_verification(tenant.id, "+12025550100", noon());
        door.admit(admission(approved.clone())).await.unwrap();
        assert!(approved.check(|_| true, seconds(1)));
        door.replace(&mut approved, false).await.unwrap();
        let window = Window::day(noon());
        let used = door.usage(Resource::Verifications, &[window]).await.unwrap();

        // Long after their codes stopped working.
        assert_eq!(cancel_pending(&store, seconds(86_400)).await.unwrap(), 300);
        let mut all = door.verifications(&Filter::default(), None, 1000).await.unwrap().items;
        all.retain(|verification| verification.id != approved.id);
        assert_eq!(all.len(), 300);
        for verification in all {
            assert_eq!((verification.status, verification.code), (Status::Canceled, None));
            assert!(verification.ended_at < Some(verification.expires_at));
            assert_eq!(verification.dispatch.turn, Turn::Settled);
            let delivery = &verification.dispatch.deliveries[0];
            assert_eq!((delivery.status, delivery.reason), (DeliveryStatus::Failed, Some(DeliveryFailure::Canceled)));
        }
        assert_eq!(door.find_verification(approved.id).await.unwrap().unwrap().status, Status::Approved);
        assert_eq!(door.usage(Resource::Verifications, &[window]).await.unwrap(), used);
        assert_eq!(cancel_pending(&store, seconds(86_400)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn keys_are_revoked_as_they_were_and_never_later_than_now() {
        let (_folder, store) = a_store();
        let tenant = a_tenant();
        let keys: Vec<_> = (0..7).map(|_| a_stored_key(tenant.id, Mode::Live)).collect();
        store.create_tenant(&tenant, &a_service(&tenant), &keys).await.unwrap();
        let mut replaced: Vec<ApiKey> = keys.iter().map(|(key, _)| key.clone()).collect();
        let now = seconds(100);
        replaced[0].revoked_at = Some(seconds(50));
        replaced[1].revoked_at = Some(seconds(500));
        // The backup knows better when this one was.
        let mut known = replaced[2].clone();
        known.revoked_at = Some(seconds(10));
        store.commit(vec![Change::ReplaceKey(Box::new(known))]).await.unwrap();
        replaced[2].revoked_at = Some(seconds(20));
        // Rotated since.
        replaced[3].expires_at = Some(seconds(60));
        // Made before the backup, and the replaced database is older than it.
        replaced.remove(6);
        // Revoked since, and so long ago that it was forgotten.
        let told_of = HashSet::from([replaced.remove(5).id, keys[4].0.id]);

        let replaced = Keys { kept: replaced, told_of };
        let done = revoke_again(&Staged { store: &*store, vault: vault(), now }, &replaced).await.unwrap();
        assert_eq!(done, Revoked { revoked: 4, unknown: 1 });
        let stored = store.tenant(tenant.id).keys(None, 9).await.unwrap().items;
        let revoked_at = |number: usize| stored.iter().find(|key| key.id == keys[number].0.id).unwrap().revoked_at;
        let expected = [Some(seconds(50)), Some(now), Some(seconds(10)), Some(seconds(60)), None, Some(now), None];
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(revoked_at), expected);
    }
}
