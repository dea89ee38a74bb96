//! The channels that the configuration switches on.

use std::sync::Arc;

use wotp_channel_console::{Console, Output};
use wotp_channel_email::Email;
use wotp_core::ports::Channel;
use zeroize::Zeroizing;

use super::WiringError;
use crate::config::{self, Config, ConsoleOutput};
use crate::data_folder::DataFolder;

/// The channel that prints.
pub const CONSOLE: &str = Console::NAME;

/// The channels that are switched on, in the order they are tried when nobody says another.
///
/// # Errors
/// [`WiringError::Console`], [`WiringError::Email`], [`WiringError::File`].
pub fn channels(config: &Config, folder: &DataFolder) -> Result<Vec<Arc<dyn Channel>>, WiringError> {
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    if let Some(settings) = &config.channels.email {
        let email = Email::new(email(settings, folder)?).map_err(|error| WiringError::Email(error.into()))?;
        channels.push(Arc::new(email));
    }
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

fn email(settings: &config::Email, folder: &DataFolder) -> Result<wotp_channel_email::Settings, WiringError> {
    let read = |key: &'static str, name: &str| {
        let file = folder.resolve(name);
        std::fs::read(&file).map_err(|source| WiringError::File { key, file, source })
    };
    let password = match settings.password_file.as_str() {
        "" => None,
        name => {
            let bytes = Zeroizing::new(read("channels.email.password_file", name)?);
            // Editors end a file with a newline; no password does.
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
            Some(text.into())
        }
    };
    let certificate = match settings.certificate_file.as_str() {
        "" => None,
        name => Some(read("channels.email.certificate_file", name)?),
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
