use std::sync::Arc;

use super::super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::access_token::{Claims, SHOWN_BEFORE, SigningKey};
use crate::ports::{Change, CommitError, EntityList, Owner};

/// How often the next key is made that others make at the same moment.
const TRIES: usize = 4;

/// The public half of a key that access tokens are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What tokens call it.
    pub kid: String,
    /// Its 32 bytes, base64url.
    pub public: String,
}

impl App {
    /// The public halves of all keys whose tokens may hold, or will be signed within a day.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn public_keys(&self) -> Result<Vec<PublicKey>, Refusal> {
        self.current_key().await?;
        let (keys, now) = (self.signing_keys().await?, self.now());
        let shown = keys.iter().filter(|key| key.holds(now));
        Ok(shown.map(|key| PublicKey { kid: key.kid.clone(), public: key.public.clone() }).collect())
    }

    /// A token that says this.
    pub(super) async fn sign(&self, claims: &Claims) -> Result<String, Refusal> {
        let key = self.current_key().await?;
        let seed = key.seed(&self.ports.vault)?;
        Ok(self.ports.tokens.sign(claims, &key.kid, &seed))
    }

    /// The key of this name, if what it signed may hold. One that another node made a moment ago is looked
    /// for in the store.
    pub(super) async fn signing_key(&self, kid: &str) -> Result<Option<SigningKey>, Refusal> {
        let now = self.now();
        let named = |keys: &[SigningKey]| keys.iter().find(|key| key.kid == kid && key.holds(now)).cloned();
        if let Some(key) = named(&self.signing_keys().await?) {
            return Ok(Some(key));
        }
        // Only for what looks like a name of ours: a flood of made-up names costs one look each at most.
        let Ok(id) = u128::from_str_radix(kid, 16) else { return Ok(None) };
        let found = self.find::<SigningKey>(Owner::Platform, id.to_be_bytes()).await?;
        Ok(found.map(|stored| stored.entity).and_then(|key| named(&[key])))
    }

    /// The key that signs now. Makes it when there is none, and the next one a day before its time, so that
    /// whoever keeps a copy of the key set has it before it is used.
    async fn current_key(&self) -> Result<SigningKey, Refusal> {
        for _ in 0..TRIES {
            let (keys, now) = (self.signing_keys().await?, self.now());
            let current = keys.iter().filter(|key| key.signs(now)).max_by_key(|key| key.turn);
            let last = keys.iter().max_by_key(|key| key.turn);
            let from = match (current, last) {
                (Some(current), Some(last)) => {
                    let shown_from = last.signs_until.saturating_sub(SHOWN_BEFORE).unwrap_or(Timestamp::MIN);
                    if now < shown_from {
                        return Ok(current.clone());
                    }
                    last.signs_until
                }
                _ => now,
            };
            let signs_for = self.ports.people.signing_key_life;
            let public = |seed: &[u8; 32]| self.ports.tokens.public_half(seed);
            let key = SigningKey::draw(last, from, signs_for, public, &self.ports.vault, &*self.ports.entropy);
            match self.ports.store.commit(vec![Change::insert(&key)]).await {
                Ok(()) => {
                    tracing::info!(kid = key.kid, from = %key.signs_from, "there is another key for access tokens")
                }
                Err(CommitError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.signing_keys.forget(|_| true);
        }
        Err(Refusal::Conflict)
    }

    async fn signing_keys(&self) -> Result<Arc<Vec<SigningKey>>, Refusal> {
        let now = self.now();
        if let Some(keys) = self.signing_keys.find(&(), now) {
            return Ok(keys);
        }
        let keys = self.list_readable::<SigningKey>(&EntityList::of(Owner::Platform)).await?;
        let keys = Arc::new(keys.things.into_iter().map(|stored| stored.entity).collect::<Vec<_>>());
        self.signing_keys.keep((), Arc::clone(&keys), now);
        Ok(keys)
    }
}
