//! The channels that the configuration switches on.

use std::sync::Arc;

use wotp_channel_console::{Console, Output};
use wotp_channel_email::Email;
#[cfg(not(feature = "plugins"))]
use wotp_core::domain::vault::Vault;
use wotp_core::ports::Channel;
#[cfg(not(feature = "plugins"))]
use wotp_core::ports::{NoPlugins, PluginHost};

#[cfg(feature = "plugins")]
use super::plugins::plugins;
use super::{WiringError, secret_file};
use crate::config::{self, Config, ConsoleOutput};
use crate::data_folder::DataFolder;

/// The channel that prints.
pub const CONSOLE: &str = Console::NAME;

/// The channels that are switched on, in the order they are tried when nobody says another.
///
/// # Errors
/// [`WiringError::Console`], [`WiringError::Email`], [`WiringError::Plugin`], [`WiringError::Plugins`],
/// [`WiringError::File`].
pub async fn channels(config: &Config, folder: &DataFolder) -> Result<Vec<Arc<dyn Channel>>, WiringError> {
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    if let Some(settings) = &config.channels.email {
        let email = Email::new(email(settings, folder)?).map_err(|error| WiringError::Email(error.into()))?;
        channels.push(Arc::new(email));
    }
    channels.extend(plugins(config, folder).await?);
    let console = &config.channels.console;
    if console.enabled {
        let output = match console.output {
            ConsoleOutput::Stdout => Output::Stdout,
            ConsoleOutput::Nowhere => Output::Nowhere,
        };
        channels.push(Arc::new(Console::new(output).map_err(WiringError::Console)?));
    }
    Ok(channels)
}

/// None: this program was built without what they run in.
#[cfg(not(feature = "plugins"))]
async fn plugins(config: &Config, _: &DataFolder) -> Result<Vec<Arc<dyn Channel>>, WiringError> {
    match config.channels.plugins.is_empty() {
        true => Ok(Vec::new()),
        false => Err(WiringError::Plugins("this program was built without the feature `plugins`".into())),
    }
}

/// Runs the plugins that operators install.
#[cfg(feature = "plugins")]
pub use super::plugins::workshop as plugin_host;

/// None runs: this program was built without what they run in.
#[cfg(not(feature = "plugins"))]
pub fn plugin_host(_: &Config, _: &DataFolder, _: &Vault) -> Result<Arc<dyn PluginHost>, WiringError> {
    Ok(Arc::new(NoPlugins))
}

fn email(settings: &config::Email, folder: &DataFolder) -> Result<wotp_channel_email::Settings, WiringError> {
    let password = match settings.password_file.as_str() {
        "" => None,
        name => Some(secret_file(folder, "channels.email.password_file", name)?.to_string().into()),
    };
    let certificate = match settings.certificate_file.as_str() {
        "" => None,
        name => {
            let file = folder.resolve(name);
            let key = "channels.email.certificate_file".into();
            Some(std::fs::read(&file).map_err(|source| WiringError::File { key, file, source })?)
        }
    };
    Ok(wotp_channel_email::Settings {
        port: settings.port,
        tls: match settings.tls {
            config::Tls::Tls => wotp_channel_email::Tls::Tls,
            config::Tls::Starttls => wotp_channel_email::Tls::StartTls,
            config::Tls::None => wotp_channel_email::Tls::None,
        },
        username: Some(settings.username.clone()).filter(|name| !name.is_empty()),
        password,
        extra_root_certificate_pem: certificate,
        ..wotp_channel_email::Settings::new(&settings.host, &settings.from)
    })
}
