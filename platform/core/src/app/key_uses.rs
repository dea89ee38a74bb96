//! When keys were last used, without a write for each use.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;

use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::api_key::ApiKey;
use crate::domain::id::{ApiKeyId, TenantId};
use crate::domain::key_use::KeyUse;
use crate::ports::Change;

/// Written in one commit.
const BATCH: usize = 500;
/// How long a key is remembered that is not used any more.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(2);
const MINUTE_SECONDS: i64 = 60;

/// The latest use of each key that this node saw.
#[derive(Default)]
pub(super) struct KeyUses(Mutex<HashMap<ApiKeyId, Seen>>);

struct Seen {
    tenant: TenantId,
    minute: Timestamp,
    written: bool,
}

impl KeyUses {
    /// Costs no more than a look into memory.
    pub(super) fn note(&self, key: &ApiKey, now: Timestamp) {
        let second = now.as_second();
        let minute = Timestamp::from_second(second.saturating_sub(second.rem_euclid(MINUTE_SECONDS))).unwrap_or(now);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(key.id).or_insert(Seen { tenant: key.tenant, minute, written: false });
        if seen.minute < minute {
            (seen.minute, seen.written) = (minute, false);
        }
    }

    fn unwritten(&self) -> Vec<KeyUse> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unwritten = seen.iter().filter(|(_, seen)| !seen.written);
        unwritten.map(|(key, seen)| KeyUse { key: *key, tenant: seen.tenant, at: seen.minute }).collect()
    }

    fn written(&self, uses: &[KeyUse]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for used in uses {
            if let Some(seen) = seen.get_mut(&used.key)
                && seen.minute == used.at
            {
                seen.written = true;
            }
        }
    }

    fn forget(&self, now: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| !seen.written || now.duration_since(seen.minute) < REMEMBERED);
    }
}

impl App {
    /// Writes down when keys were last used, and says how many it were: once a minute, and when a node
    /// stops. What a node saw that is killed is lost, at most a minute of it.
    ///
    /// Nodes do not look at each other's: where two of them saw a key, what is written may be a minute
    /// earlier than its last use.
    ///
    /// # Errors
    /// [`Refusal::Store`]. What was not written is written the next time.
    pub async fn keep_key_uses(&self) -> Result<usize, Refusal> {
        let uses = self.key_uses.unwritten();
        for batch in uses.chunks(BATCH) {
            self.ports.store.commit(batch.iter().map(Change::put).collect()).await?;
            self.key_uses.written(batch);
        }
        self.key_uses.forget(self.now());
        Ok(uses.len())
    }
}
