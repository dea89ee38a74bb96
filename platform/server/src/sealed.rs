//! Whether the master keys at hand are those that a store was sealed with.
//!
//! A store keeps a check value of each key that was used on it, from which nothing about the key can
//! be learnt. So a node that has another key is told before it seals anything, even where there is
//! nothing sealed yet to try its key on.

use std::collections::BTreeMap;

use wotp_core::domain::vault::{Purpose, Vault, VaultError};
use wotp_core::ports::{Filter, Store, StoreError};

/// Tenants that are looked at: one is enough to tell, if it has an address that is not erased yet.
const TENANTS: usize = 100;
/// Of each, verifications.
const VERIFICATIONS: usize = 20;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Nothing is sealed yet, or everything was erased.
    Nothing,
    /// The keys are the same.
    Opens,
    /// They are not.
    Closed(Mismatch),
}

/// In what the keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The store was written with a key that is not at hand.
    #[error("the store was written with master key number {0} too, which is not in the key file")]
    Lacking(u8),
    /// A key of the same number is another one.
    #[error("master key number {0} is another one than the store was written with")]
    Other(u8),
    /// What the store holds does not open.
    #[error(transparent)]
    Sample(VaultError),
}

/// Why it could not be told, or is not so.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The keys differ.
    #[error("the master key is not the one that this store was written with")]
    Closed(#[source] Mismatch),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Compares the keys with what the store knows of them.
///
/// # Errors
/// [`StoreError`].
pub async fn compare(store: &dyn Store, vault: &Vault) -> Result<Seal, StoreError> {
    let kept = store.key_checks().await?;
    // Written before check values were kept.
    if kept.is_empty() { sample(store, vault).await } else { Ok(differ(&kept, vault)) }
}

/// Compares the keys, and has the store remember those that it does not know yet.
///
/// # Errors
/// [`SealError`].
pub async fn agree(store: &dyn Store, vault: &Vault) -> Result<(), SealError> {
    if let Seal::Closed(mismatch) = compare(store, vault).await? {
        return Err(SealError::Closed(mismatch));
    }
    let kept = store.key_checks().await?;
    for (key, check) in vault.checks() {
        // Another node may be first, with another key.
        if !kept.contains_key(&key) && store.keep_key_check(key, check).await? != check {
            return Err(SealError::Closed(Mismatch::Other(key)));
        }
    }
    Ok(())
}

fn differ(kept: &BTreeMap<u8, [u8; 32]>, vault: &Vault) -> Seal {
    let own = vault.checks();
    let mismatch = kept.iter().find_map(|(key, check)| match own.get(key) {
        None => Some(Mismatch::Lacking(*key)),
        Some(own) => (own != check).then_some(Mismatch::Other(*key)),
    });
    mismatch.map_or(Seal::Opens, Seal::Closed)
}

/// Tries the keys on the newest address that the store holds.
async fn sample(store: &dyn Store, vault: &Vault) -> Result<Seal, StoreError> {
    for tenant in store.tenants().await?.into_iter().rev().take(TENANTS) {
        let page = store.tenant(tenant.id).verifications(&Filter::default(), None, VERIFICATIONS).await?;
        for verification in page.items {
            if let Some(address) = &verification.address {
                let opened = vault.open(Purpose::Address, &verification.id.to_bytes(), &address.sealed);
                return Ok(opened.map_or_else(|error| Seal::Closed(Mismatch::Sample(error)), |_| Seal::Opens));
            }
        }
    }
    Ok(Seal::Nothing)
}
