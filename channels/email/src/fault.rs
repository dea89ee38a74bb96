//! What went wrong with the server, at which step, and what that means.

use std::error::Error as _;
use std::io;

use jiff::SignedDuration;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Outgoing, SendError, redacted};

use crate::settings::{Settings, Tls};

/// After "not now" from the server. Greylisting asks for minutes, which a code does not have.
const BUSY: SignedDuration = SignedDuration::from_secs(30);
/// After a connection that did not come about: often a restart, or one dead machine of several.
const AWAY: SignedDuration = SignedDuration::from_secs(5);

/// The steps of a session, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// TCP, TLS, greeting, EHLO.
    Connect,
    /// AUTH.
    Login,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, before anything of the message.
    Data,
    /// The message itself, up to the server's answer to it.
    Message,
}

impl Step {
    fn noun(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Login => "logging in",
            Self::Sender => "naming the sender",
            Self::Recipient => "naming the recipient",
            Self::Data => "offering the message",
            Self::Message => "handing over the message",
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The server answered with 4xx or 5xx, and these words of its own.
    Reply(u16, String),
    /// No connection, or it broke off.
    Broken(String),
    /// Nothing came in time.
    Silent,
    /// A connection, but no trusted TLS on it.
    Untrusted(String),
    /// The server cannot do what the settings or this address ask for.
    Lacking(String),
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) step: Step,
    pub(crate) cause: Cause,
}

impl Fault {
    pub(crate) fn silent(step: Step) -> Self {
        Self { step, cause: Cause::Silent }
    }

    pub(crate) fn lacking(step: Step, what: &str) -> Self {
        Self { step, cause: Cause::Lacking(what.to_owned()) }
    }

    pub(crate) fn of(step: Step, error: &lettre::transport::smtp::Error) -> Self {
        let cause = if let Some(code) = error.status() {
            Cause::Reply(code.into(), error.source().map(ToString::to_string).unwrap_or_default())
        } else if let Some(io) = io_error(error) {
            match io.kind() {
                io::ErrorKind::TimedOut => Cause::Silent,
                // What the TLS library objects to comes as "invalid data".
                io::ErrorKind::InvalidData => Cause::Untrusted(io.to_string()),
                _ => Cause::Broken(io.to_string()),
            }
        } else if error.is_client() {
            Cause::Lacking(error.source().map(ToString::to_string).unwrap_or_default())
        } else if error.is_response() {
            // lettre's words quote the answer at length, so they are left out.
            Cause::Broken("the answer broke off or is not SMTP".to_owned())
        } else {
            Cause::Broken(error.to_string())
        };
        Self { step, cause }
    }

    /// Whether a parked connection turned out to be closed: nothing was said on it, so a fresh one
    /// may simply be tried. Servers close idle connections, with 421 or without a word.
    pub(crate) fn is_stale_connection(&self) -> bool {
        self.step == Step::Sender && matches!(self.cause, Cause::Broken(_) | Cause::Reply(421, _))
    }

    /// Whether the session goes on after it: the no was to this message, not to us.
    pub(crate) fn leaves_session(&self) -> bool {
        let about_message = matches!(self.step, Step::Recipient | Step::Data | Step::Message);
        let answered = match self.cause {
            Cause::Reply(code, _) => code != 421,
            Cause::Lacking(_) => true,
            Cause::Broken(_) | Cause::Silent | Cause::Untrusted(_) => false,
        };
        about_message && answered
    }

    /// What it means for this message.
    pub(crate) fn verdict(&self, outgoing: &Outgoing) -> SendError {
        let detail = self.detail(outgoing);
        let refused = |reason| SendError::Refused { reason, detail: detail.clone() };
        match &self.cause {
            Cause::Untrusted(_) => refused(DeliveryFailure::Misconfigured),
            Cause::Lacking(_) if self.step == Step::Recipient => refused(DeliveryFailure::Rejected),
            Cause::Lacking(_) => refused(DeliveryFailure::Misconfigured),
            Cause::Broken(_) | Cause::Silent if self.step == Step::Message => SendError::Unknown { detail },
            Cause::Broken(_) | Cause::Silent => SendError::Later { after: AWAY, detail },
            Cause::Reply(code, _) if (400..500).contains(code) => SendError::Later { after: BUSY, detail },
            Cause::Reply(code, text) => refused(self.refusal(*code, text)),
        }
    }

    /// RFC 5321 gives 5xx codes little meaning of their own; RFC 3463's enhanced codes say more,
    /// where the server sends them. `5.7.x` is policy, whatever the basic code: "550 5.7.1 relaying
    /// denied" says nothing about the address.
    fn refusal(&self, code: u16, text: &str) -> DeliveryFailure {
        let enhanced = enhanced_code(text);
        match (self.step, code, enhanced) {
            (Step::Login, _, _) | (_, 530 | 534 | 535 | 538, _) => DeliveryFailure::Misconfigured,
            // Bad *sender's* address.
            (_, _, Some((1, 7 | 8))) => DeliveryFailure::Rejected,
            (Step::Recipient | Step::Message, _, Some((1, _))) => DeliveryFailure::InvalidRecipient,
            (Step::Recipient, 550 | 551 | 553, None) => DeliveryFailure::InvalidRecipient,
            (Step::Recipient, 550 | 551 | 553, Some((subject, _))) if subject != 7 => DeliveryFailure::InvalidRecipient,
            _ => DeliveryFailure::Rejected,
        }
    }

    fn detail(&self, outgoing: &Outgoing) -> String {
        let step = self.step.noun();
        match &self.cause {
            Cause::Reply(code, text) => {
                format!("{step}, the mail server answered {code} {}", redacted(text, outgoing)).trim_end().to_owned()
            }
            Cause::Broken(how) => format!("{step}, the connection failed: {}", redacted(how, outgoing)),
            Cause::Silent => format!("{step}, the mail server did not answer in time"),
            Cause::Untrusted(why) => format!("{step}, TLS failed: {}", redacted(why, outgoing)),
            Cause::Lacking(what) => format!("{step}: {}", redacted(what, outgoing)),
        }
    }

    /// For the operator: what is wrong, and what to do. Nothing but connecting and logging in was
    /// tried, so the server's words are about us.
    pub(crate) fn advice(&self, settings: &Settings) -> String {
        let Settings { host, port, tls, timeout, .. } = settings;
        let server = format!("{host}:{port}");
        match (&self.cause, self.step) {
            (Cause::Reply(code, text), Step::Login) if *code >= 500 => format!(
                "{server} refuses the user name or password ({code} {text}): check `username` and the password file; \
                 some providers want a password made for programs"
            ),
            (Cause::Reply(code, text), _) if *code >= 500 => {
                format!(
                    "{server} refuses us ({code} {text}): ask its operator whether it accepts mail from this machine"
                )
            }
            (Cause::Reply(code, text), _) => {
                format!("{server} asks to wait ({code} {text}): try again in a minute")
            }
            (Cause::Broken(how), _) => format!(
                "{server} cannot be reached ({how}): check `host` and `port`, and that a firewall lets this machine out"
            ),
            (Cause::Silent, _) => format!(
                "{server} did not answer within {} s: check `host` and `port`, whether a firewall swallows the \
                 connection, and whether `tls` fits the port (`tls` for 465, `starttls` for 587)",
                timeout.as_secs_f64()
            ),
            (Cause::Untrusted(why), _) if why.contains("certificate") => format!(
                "the certificate of {server} is not trusted ({why}): check that `host` is the name on it; \
                 for a private authority, give its certificate as an extra root"
            ),
            (Cause::Untrusted(why), _) if *tls == Tls::Tls => format!(
                "{server} does not speak TLS from the start ({why}): set `tls` to `starttls`, usually with port 587"
            ),
            (Cause::Untrusted(why), _) => format!("TLS with {server} failed ({why}): check `host`, `port` and `tls`"),
            (Cause::Lacking(what), Step::Login) => format!(
                "{server} offers no way to log in that we know ({what}): it may ask for TLS first, or for no user name at all"
            ),
            (Cause::Lacking(what), _) => format!(
                "{server} does not offer what the settings ask for ({what}): \
                 set `tls` to `tls`, usually with port 465, or use another port"
            ),
        }
    }
}

fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

/// Subject and detail of a permanent enhanced code, as in `5.1.1 unknown user`.
fn enhanced_code(text: &str) -> Option<(u16, u16)> {
    let mut parts = text.split_whitespace().next()?.strip_prefix("5.")?.split('.');
    let code = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wotp_core::domain::address::AddressKind;
    use wotp_core::testing::channel::{outgoing, tells_no_secret};

    fn reply(step: Step, code: u16, text: &str) -> SendError {
        Fault { step, cause: Cause::Reply(code, text.to_owned()) }.verdict(&outgoing(AddressKind::Email, 1))
    }

    fn reason(error: SendError) -> DeliveryFailure {
        match error {
            SendError::Refused { reason, .. } => reason,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_unknown_recipient_is_told_from_a_refused_message() {
        use DeliveryFailure::{InvalidRecipient, Misconfigured, Rejected};
        for (step, code, text, expected) in [
            (Step::Recipient, 550, "5.1.1 no such user", InvalidRecipient),
            (Step::Recipient, 550, "No such user here", InvalidRecipient),
            (Step::Recipient, 551, "User not local", InvalidRecipient),
            (Step::Recipient, 553, "5.1.3 bad address syntax", InvalidRecipient),
            (Step::Recipient, 550, "5.2.1 mailbox disabled", InvalidRecipient),
            (Step::Recipient, 554, "5.1.1 no such user", InvalidRecipient),
            (Step::Message, 550, "5.1.1 no such user", InvalidRecipient),
            (Step::Recipient, 550, "5.7.1 relaying denied", Rejected),
            (Step::Recipient, 554, "5.7.1 access denied", Rejected),
            (Step::Recipient, 552, "5.2.2 mailbox full", Rejected),
            (Step::Recipient, 553, "5.1.8 bad sender's system address", Rejected),
            (Step::Sender, 550, "sender not allowed", Rejected),
            (Step::Message, 550, "looks like spam", Rejected),
            (Step::Message, 554, "5.6.0 malformed", Rejected),
            (Step::Connect, 554, "no SMTP service here", Rejected),
            (Step::Login, 535, "5.7.8 authentication failed", Misconfigured),
            (Step::Login, 534, "5.7.9 mechanism too weak", Misconfigured),
            (Step::Sender, 530, "5.7.0 authentication required", Misconfigured),
        ] {
            assert_eq!(reason(reply(step, code, text)), expected, "{step:?} {code} {text}");
        }
    }

    #[test]
    fn not_now_is_later_at_every_step() {
        for step in [Step::Connect, Step::Login, Step::Sender, Step::Recipient, Step::Data, Step::Message] {
            let error = reply(step, 451, "4.7.1 greylisted");
            assert!(matches!(error, SendError::Later { after, .. } if after == BUSY), "{error}");
        }
    }

    #[test]
    fn a_broken_connection_is_later_until_the_message_is_handed_over() {
        let message = outgoing(AddressKind::Email, 1);
        for cause in [Cause::Silent, Cause::Broken("reset".to_owned())] {
            for step in [Step::Connect, Step::Login, Step::Sender, Step::Recipient, Step::Data] {
                let error = Fault { step, cause: cause.clone() }.verdict(&message);
                assert!(matches!(error, SendError::Later { after, .. } if after == AWAY), "{error}");
            }
            let error = Fault { step: Step::Message, cause }.verdict(&message);
            assert!(matches!(error, SendError::Unknown { .. }), "{error}");
        }
    }

    #[test]
    fn no_fault_tells_a_secret() {
        let message = outgoing(AddressKind::Email, 1);
        let echo = "5.1.1 <Ada.Lovelace1@Example.com>: ada.lovelace1 has no mailbox, 482913 refused";
        for cause in [
            Cause::Reply(550, echo.to_owned()),
            Cause::Broken(echo.to_owned()),
            Cause::Untrusted(echo.to_owned()),
            Cause::Lacking(echo.to_owned()),
        ] {
            tells_no_secret(&Fault { step: Step::Recipient, cause }.verdict(&message), &message);
        }
    }

    #[test]
    fn an_enhanced_code_is_read_only_where_there_is_one() {
        assert_eq!(enhanced_code("5.1.1 no such user"), Some((1, 1)));
        for none in ["", "no such user", "4.1.1 later", "5.1", "5.1.1.1 x", "5.x.1", "5.0.0.0.0"] {
            assert_eq!(enhanced_code(none), None, "{none}");
        }
    }
}
