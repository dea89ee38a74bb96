//! Whether the master key at hand is the one that a store was sealed with.

use wotp_core::domain::vault::{Purpose, Vault, VaultError};
use wotp_core::ports::{Filter, Store, StoreError};

/// Tenants that are looked at: one is enough to tell, if it has an address that is not erased yet.
const TENANTS: usize = 100;
/// Of each, verifications.
const VERIFICATIONS: usize = 20;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// Nothing is sealed yet, or everything was erased.
    Nothing,
    /// It opens.
    Opens,
    /// It does not.
    Closed(VaultError),
}

/// Tries the keys on the newest address that the store holds.
pub(super) async fn try_keys(store: &dyn Store, vault: &Vault) -> Result<Seal, StoreError> {
    for tenant in store.tenants().await?.into_iter().rev().take(TENANTS) {
        let page = store.tenant(tenant.id).verifications(&Filter::default(), None, VERIFICATIONS).await?;
        for verification in page.items {
            if let Some(address) = &verification.address {
                let opened = vault.open(Purpose::Address, &verification.id.to_bytes(), &address.sealed);
                return Ok(opened.map_or_else(Seal::Closed, |_| Seal::Opens));
            }
        }
    }
    Ok(Seal::Nothing)
}
