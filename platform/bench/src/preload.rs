//! Verifications that are already there before the load begins.
//!
//! The seam to the platform's store: everything else in this crate knows the platform by its HTTP
//! interface and command line only.

use std::path::Path;

use crate::api::Tenant;

/// Why a store cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum PreloadError {
    /// This build does not know the platform's store.
    #[error("this build cannot fill a store: the store is not wired in yet")]
    NotWired,
}

/// Fills the data folder with finished verifications of `tenants` tenants, spread evenly, and returns up
/// to 64 of these tenants for the load to run as. No server may be running on the folder.
///
/// The tenants are on the plan `unlimited`. Addresses are those of [`crate::number::e164`] below
/// [`crate::number::FIRST_OF_LOAD`], so that no call of the load meets one again.
///
/// # Errors
/// [`PreloadError`].
pub fn preload(_data: &Path, _tenants: u32, _verifications: u64) -> Result<Vec<Tenant>, PreloadError> {
    Err(PreloadError::NotWired)
}
