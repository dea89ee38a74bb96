//! Keys, read: one, a page of them, and those that were kept long enough.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::api_key::{ApiKey, KEPT, KeyState};
use crate::domain::id::{ApiKeyId, TenantId};
use crate::domain::key_use::KeyUse;
use crate::ports::{Change, Entity as _, Owner, StoreError};

/// Keys that are read at once where a page holds but some of them.
const READ: usize = 200;
/// Keys that one page looks at, at most: one that matches few ends early, and says where it goes on.
const LOOKED_AT_MAX: usize = 5000;
/// What is waited for in the store at one moment goes there together.
const AT_ONCE: usize = 64;
/// Keys that one commit deletes: few, since verifications wait for what it waits for.
const FORGOTTEN_AT_ONCE: usize = 50;

/// A key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// What is kept of it.
    pub key: ApiKey,
    /// The minute of its last use; none when it was not used yet.
    pub last_used_at: Option<Timestamp>,
}

/// Which keys are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyList {
    /// Only those that stand so.
    pub state: Option<KeyState>,
    /// Those that are older than this one.
    pub after: Option<ApiKeyId>,
    /// At most so many.
    pub limit: usize,
}

/// Some keys, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// Those that match: fewer than asked for, or none, where many do not.
    pub keys: Vec<KeyInfo>,
    /// The end of this page, for the next; none where there are no more.
    pub next: Option<ApiKeyId>,
}

impl App {
    /// A page of a tenant's keys, newest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the tenant; [`Refusal::Store`].
    pub async fn list_keys(&self, tenant: TenantId, list: KeyList) -> Result<KeyPage, Refusal> {
        let door = self.ports.store.tenant(tenant);
        door.find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
        let (keys, next) = match list.state {
            // However many are over: these are few, and found by themselves.
            Some(KeyState::Working) => {
                let mut keys = door.working_keys(self.now()).await?;
                keys.retain(|key| list.after.is_none_or(|after| key.id < after));
                let more = keys.len() > list.limit;
                keys.truncate(list.limit);
                let next = keys.last().map(|key| key.id).filter(|_| more);
                (keys, next)
            }
            _ => self.walk_keys(tenant, list).await?,
        };
        Ok(KeyPage { keys: self.infos(keys).await?, next })
    }

    async fn walk_keys(&self, tenant: TenantId, list: KeyList) -> Result<(Vec<ApiKey>, Option<ApiKeyId>), Refusal> {
        let (door, now) = (self.ports.store.tenant(tenant), self.now());
        let read = if list.state.is_none() { list.limit.saturating_add(1) } else { READ };
        let (mut keys, mut last, mut looked_at) = (Vec::new(), list.after, 0);
        loop {
            let page = door.keys(last, read).await?;
            looked_at += page.items.len();
            for key in page.items {
                let id = key.id;
                if list.state.is_none_or(|state| key.state(now) == state) {
                    // There is one more than is asked for: it begins the next page.
                    if keys.len() == list.limit {
                        return Ok((keys, last));
                    }
                    keys.push(key);
                }
                last = Some(id);
            }
            if !page.more || looked_at >= LOOKED_AT_MAX {
                return Ok((keys, last.filter(|_| page.more)));
            }
        }
    }

    /// How many keys of a tenant work.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn count_working_keys(&self, tenant: TenantId) -> Result<usize, Refusal> {
        Ok(self.ports.store.tenant(tenant).working_keys(self.now()).await?.len())
    }

    /// A key.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_key(&self, tenant: TenantId, id: ApiKeyId) -> Result<KeyInfo, Refusal> {
        let key = self.key(&*self.ports.store.tenant(tenant), id).await?;
        self.info(key).await
    }

    async fn infos(&self, keys: Vec<ApiKey>) -> Result<Vec<KeyInfo>, Refusal> {
        let infos = keys.into_iter().map(|key| self.info(key));
        stream::iter(infos).buffered(AT_ONCE).try_collect().await
    }

    async fn info(&self, key: ApiKey) -> Result<KeyInfo, Refusal> {
        let used = match self.find::<KeyUse>(Owner::Tenant(key.tenant), key.id.to_bytes()).await {
            Ok(used) => used,
            Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(key = %key.id, error, "when a key was last used cannot be read; it is shown as not used");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(KeyInfo { last_used_at: used.map(|used| used.at), key })
    }

    /// Deletes keys that were over for as long as they are kept, and what is known of their use; at most `limit`.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn forget_keys(&self, limit: usize) -> Result<usize, Refusal> {
        let before = self.now().saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        let over = self.ports.store.keys_over(before, limit).await?;
        let deletions = over.into_iter().map(|key| self.deletion(key));
        let deletions: Vec<Vec<Change>> = stream::iter(deletions).buffered(AT_ONCE).try_collect().await?;
        let mut forgotten = 0;
        for batch in deletions.chunks(FORGOTTEN_AT_ONCE) {
            if self.is_made(batch.concat()).await? {
                forgotten += batch.len();
                continue;
            }
            // Another node was first with some of them: those that are left.
            for one in batch {
                forgotten += usize::from(self.is_made(one.clone()).await?);
            }
        }
        Ok(forgotten)
    }

    async fn deletion(&self, key: ApiKey) -> Result<Vec<Change>, Refusal> {
        let used = self.ports.store.find_entity(KeyUse::KIND, Owner::Tenant(key.tenant), key.id.to_bytes()).await;
        let mut changes = vec![Change::DeleteKey(Box::new(key))];
        match used {
            Ok(used) => changes.extend(used.map(Change::Delete)),
            // It stays until its tenant is erased. The key is not to stay too, before all that are over after it.
            Err(StoreError::Damaged(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(changes)
    }
}
