//! What an operator says about the mail server, and whether it can be meant.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, TlsParameters};

/// How the connection to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain at first, then upgraded before anything is said: port 587. A server that does not
    /// offer the upgrade is refused, so nobody in between can talk us out of it.
    StartTls,
    /// TLS from the first byte: port 465.
    Tls,
    /// None: for a relay on this machine, and tests.
    None,
}

/// A password. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How to reach the mail server, and who the mail is from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's name, which its certificate must bear, or its IP address.
    pub host: String,
    /// Usually 587 for [`Tls::StartTls`] and 465 for [`Tls::Tls`].
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Who we are to the server; `None` where it does not ask.
    pub username: Option<String>,
    /// Goes with `username`.
    pub password: Option<Password>,
    /// The sender: `codes@example.com` or `Acme <codes@example.com>`. Each message shows its own
    /// brand as the name; the name given here is for messages whose brand is empty.
    pub from: String,
    /// Certificates in PEM to trust besides the system's: a private authority, or one server.
    pub extra_root_certificate_pem: Option<Vec<u8>>,
    /// Longest wait for any one answer of the server. More than zero.
    ///
    /// RFC 5321 (4.5.3.2) has minutes, for mail that may wait; a person is waiting for this one.
    pub timeout: Duration,
}

impl Settings {
    /// What suits most servers, for the fields that have a usual value.
    ///
    /// ```
    /// use wotp_channel_email::{Settings, Tls};
    ///
    /// let settings = Settings {
    ///     username: Some("acme".into()),
    ///     password: Some(String::from("correct horse").into()),
    ///     ..Settings::new("smtp.example.com", "Acme <codes@example.com>")
    /// };
    /// assert_eq!((settings.port, settings.tls), (587, Tls::StartTls));
    /// assert!(!format!("{settings:?}").contains("horse"));
    /// ```
    pub fn new(host: impl Into<String>, from: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 587,
            tls: Tls::StartTls,
            username: None,
            password: None,
            from: from.into(),
            extra_root_certificate_pem: None,
            timeout: Duration::from_secs(10),
        }
    }

    pub(crate) fn sender(&self) -> Result<Mailbox, SettingsError> {
        let sender: Mailbox = self.from.parse().map_err(|_| SettingsError::From)?;
        // The domain also names us to the server and ends the message ids: all of it is ASCII.
        if AsRef::<str>::as_ref(&sender.email).is_ascii() { Ok(sender) } else { Err(SettingsError::From) }
    }

    pub(crate) fn credentials(&self) -> Result<Option<(&str, &Password)>, SettingsError> {
        match (&self.username, &self.password) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) if self.tls == Tls::None && !self.is_this_machine() => {
                Err(SettingsError::PasswordInClear)
            }
            (Some(username), Some(password)) => Ok(Some((username, password))),
            _ => Err(SettingsError::HalfCredentials),
        }
    }

    pub(crate) fn tls_parameters(&self) -> Result<TlsParameters, SettingsError> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.extra_root_certificate_pem {
            // lettre takes a text without any certificate for zero certificates.
            if !pem.windows(MARK.len()).any(|window| window == MARK) {
                return Err(SettingsError::Certificate);
            }
            builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(|_| SettingsError::Certificate)?);
        }
        builder.build().map_err(|_| SettingsError::Certificate)
    }

    fn is_this_machine(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

const MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why settings cannot be meant. Says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The host is empty.
    #[error("the mail server's `host` is empty; write its name, as in `smtp.example.com`")]
    Host,
    /// The sender is no address.
    #[error("`from` is not a sender; write `codes@example.com` or `Acme <codes@example.com>`, the address in ASCII")]
    From,
    /// Only one of the two is there.
    #[error("`username` and the password go together; give both, or neither")]
    HalfCredentials,
    /// Anybody on the way could read the password.
    #[error("the password would travel in clear; set `tls` to `starttls` or `tls`")]
    PasswordInClear,
    /// The text holds no certificate that can be read.
    #[error("the extra root certificate cannot be read; it is PEM, between `-----BEGIN CERTIFICATE-----` and its end")]
    Certificate,
    /// Zero.
    #[error("the `timeout` is zero; 10 seconds suit most servers")]
    Timeout,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Email;

    fn refusal(settings: Settings) -> SettingsError {
        Email::new(settings).map(|_| ()).unwrap_err()
    }

    fn good() -> Settings {
        Settings::new("smtp.example.com", "Acme <codes@example.com>")
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        assert_eq!(refusal(Settings { host: " ".into(), ..good() }), SettingsError::Host);
        assert_eq!(refusal(Settings { timeout: Duration::ZERO, ..good() }), SettingsError::Timeout);
        for from in ["", "Acme", "a@b@c", "Acme <codes@example.com>\r\nBcc: eve@example.org", "jörg@example.com"] {
            assert_eq!(refusal(Settings { from: from.into(), ..good() }), SettingsError::From, "{from:?}");
        }
        for pem in ["", "not pem", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"] {
            let settings = Settings { extra_root_certificate_pem: Some(pem.into()), ..good() };
            assert_eq!(refusal(settings), SettingsError::Certificate, "{pem:?}");
        }
    }

    #[test]
    fn a_user_name_comes_with_a_password() {
        let name = Settings { username: Some("acme".into()), ..good() };
        assert_eq!(refusal(name), SettingsError::HalfCredentials);
        let password = Settings { password: Some(String::from("secret").into()), ..good() };
        assert_eq!(refusal(password), SettingsError::HalfCredentials);
    }

    #[test]
    fn a_password_never_travels_in_clear_beyond_this_machine() {
        let with = |host: &str| Settings {
            username: Some("acme".into()),
            password: Some(String::from("secret").into()),
            tls: Tls::None,
            host: host.into(),
            ..good()
        };
        assert_eq!(refusal(with("smtp.example.com")), SettingsError::PasswordInClear);
        assert!(Email::new(with("localhost")).is_ok());
        assert!(Email::new(with("::1")).is_ok());
    }

    #[test]
    fn a_password_is_not_shown() {
        let settings = Settings { password: Some(String::from("hunter2").into()), ..good() };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
