//! The identity providers that the configuration names.

use std::sync::Arc;

use wotp_core::ports::IdentityProvider;
use wotp_oidc::{OidcProvider, Settings};

use super::{WiringError, secret_file};
use crate::config::Config;
use crate::data_folder::DataFolder;

/// The providers, in the order in which the configuration names them.
///
/// # Errors
/// [`WiringError::File`], [`WiringError::IdentityProvider`].
pub fn identity_providers(config: &Config, folder: &DataFolder) -> Result<Vec<Arc<dyn IdentityProvider>>, WiringError> {
    let mut providers: Vec<Arc<dyn IdentityProvider>> = Vec::new();
    for named in &config.auth.oidc {
        let secret = secret_file(folder, "auth.oidc.client_secret_file", &named.client_secret_file)?;
        let display_name = if named.display_name.is_empty() { &named.name } else { &named.display_name };
        let provider = OidcProvider::new(Settings {
            name: named.name.clone(),
            display_name: display_name.clone(),
            issuer: named.issuer.clone(),
            client_id: named.client_id.clone(),
            client_secret: secret,
            redirect_uris: named.redirect_uris.clone(),
        });
        let provider = provider
            .map_err(|error| WiringError::IdentityProvider { name: named.name.clone(), source: error.into() })?;
        providers.push(Arc::new(provider));
    }
    Ok(providers)
}
