//! Codes by email, over SMTP with TLS.
//!
//! One message is one SMTP transaction on a kept connection; `sent` means that the server answered
//! the message itself with 2xx. Each message is plain text with an HTML twin that fetches nothing.
//!
//! What a failure means is decided in `fault.rs`, by the step at which it happened: until the
//! message is handed over a broken connection means "later", after that "it may have got out".
//!
//! ```no_run
//! # async fn example(outgoing: &wotp_core::ports::Outgoing) -> Result<(), Box<dyn std::error::Error>> {
//! use wotp_channel_email::{Email, Settings};
//! use wotp_core::ports::Channel;
//!
//! let email = Email::new(Settings::new("smtp.example.com", "Acme <codes@example.com>"))?;
//! email.probe().await?;
//! email.send(outgoing).await?;
//! # Ok(())
//! # }
//! ```
//!
//! NIST SP 800-63B-4 does not count email among the out-of-band authenticators: a code by email
//! proves that a person reads that mailbox, and no more.

mod fault;
mod letter;
mod session;
mod settings;

use std::fmt;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::response::Response;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};

pub use settings::{Password, Settings, SettingsError, Tls};

use session::{Server, Sessions};

/// Sends email through one SMTP server.
pub struct Email {
    settings: Settings,
    sender: Mailbox,
    sessions: Sessions,
}

impl Email {
    /// What tenants call it.
    pub const NAME: &str = "email";

    /// A channel with these settings. Connects when there is something to send, and needs a tokio
    /// runtime then.
    ///
    /// # Errors
    /// [`SettingsError`], which says what would be right.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        if settings.host.trim().is_empty() {
            return Err(SettingsError::Host);
        }
        if settings.timeout.is_zero() {
            return Err(SettingsError::Timeout);
        }
        let sender = settings.sender()?;
        let credentials = settings.credentials()?;
        let sessions = Sessions::new(Server {
            host: settings.host.clone(),
            port: settings.port,
            tls: settings.tls,
            tls_parameters: settings.tls_parameters()?,
            credentials: credentials
                .map(|(name, password)| Credentials::new(name.to_owned(), password.as_str().to_owned())),
            hello: sender.email.domain().to_owned(),
            timeout: settings.timeout,
        });
        Ok(Self { settings, sender, sessions })
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[async_trait]
impl Channel for Email {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Email]
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        let message = letter::write(&self.sender, outgoing).map_err(|_| SendError::Refused {
            reason: DeliveryFailure::InvalidRecipient,
            detail: "no mail can be written to this address".to_owned(),
        })?;
        match self.sessions.deliver(message.envelope(), &message.formatted()).await {
            Ok(answer) => {
                Ok(Acknowledged { provider_id: queue_id(&answer), reached: DeliveryStatus::Sent, cost: None })
            }
            Err(fault) => Err(fault.verdict(outgoing)),
        }
    }

    async fn probe(&self) -> Result<(), String> {
        self.sessions.try_out().await.map_err(|fault| fault.advice(&self.settings))
    }
}

/// The name that the server gave the message, where its answer holds one: what its operator looks
/// for in the log.
///
/// Postfix says `queued as 4F2A1C`, Exim `OK id=1abc-2def-3g`, Amazon SES `Ok 0102018f…`.
fn queue_id(answer: &Response) -> Option<String> {
    let words: Vec<&str> = answer.message().flat_map(str::split_whitespace).collect();
    let named = words.iter().find_map(|word| word.strip_prefix("id="));
    let queued = words.windows(3).find(|three| three[..2] == ["queued", "as"]).map(|three| three[2]);
    let after_ok = match words[..] {
        [ok, id] if ok.eq_ignore_ascii_case("ok") && id.len() >= 16 => Some(id),
        _ => None,
    };
    let id = named.or(queued).or(after_ok)?.trim_end_matches(['.', ',', ';']);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!id.is_empty() && id.len() <= 128 && id.chars().all(plain)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_id_is_found_where_servers_put_it() {
        let id = |answer: &str| queue_id(&answer.parse().unwrap());
        assert_eq!(id("250 2.0.0 Ok: queued as 4F2A1C\r\n").as_deref(), Some("4F2A1C"));
        assert_eq!(id("250 OK id=1tEz0B-0004Xz-2k\r\n").as_deref(), Some("1tEz0B-0004Xz-2k"));
        let ses = "250 Ok 0102018f0a1b2c3d-11111111-2222-3333-4444-555555555555-000000\r\n";
        assert_eq!(id(ses).as_deref(), Some("0102018f0a1b2c3d-11111111-2222-3333-4444-555555555555-000000"));
        for none in ["250 OK\r\n", "250 2.0.0 Ok: queued as <ada@example.com>\r\n", "250 queued as\r\n"] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
