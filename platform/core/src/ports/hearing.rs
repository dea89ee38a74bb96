//! What providers tell later, by calling us.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Item;
use crate::domain::dispatch::Receipt;
use crate::domain::id::{DeliveryId, MessageId, TenantId, VerificationId};

/// Largest body of what somebody sends to a channel, in bytes: providers gather the news of many messages.
pub const HEARD_BODY_MAX: usize = 64 * 1024;
/// Bytes of a reference: which kind of item it is, and three ids.
const LENGTH: usize = 1 + 3 * 16;
const OF_A_VERIFICATION: u8 = b'v';
const OF_A_MESSAGE: u8 = b'm';

/// Names a delivery to a provider, so that what it tells later is found without looking for it. No secret: whoever
/// knows it can do nothing with it but have a channel tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Whose it is.
    pub tenant: TenantId,
    /// What is delivered.
    pub item: Item,
    /// Which of its deliveries.
    pub delivery: DeliveryId,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.item {
            Item::Verification(_) => OF_A_VERIFICATION,
            Item::Message(_) => OF_A_MESSAGE,
        };
        let bytes = [&[kind][..], &self.tenant.to_bytes(), &self.item.to_bytes(), &self.delivery.to_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// The text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it names no delivery")]
pub struct NoReference;

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoReference)?;
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| NoReference)?;
        let id = |at: usize| <[u8; 16]>::try_from(&bytes[at..at + 16]).expect("16 bytes are 16 bytes");
        let item = match bytes[0] {
            OF_A_VERIFICATION => Item::Verification(VerificationId::from_bytes(id(17))),
            OF_A_MESSAGE => Item::Message(MessageId::from_bytes(id(17))),
            _ => return Err(NoReference),
        };
        Ok(Self { tenant: TenantId::from_bytes(id(1)), item, delivery: DeliveryId::from_bytes(id(33)) })
    }
}

/// What somebody sent to a channel. Nobody knows who it is until the channel says so.
#[derive(Clone)]
pub struct Heard {
    /// Whether it was sent, or only asked for: POST or GET.
    pub posted: bool,
    /// The whole URL, as the installation is known to the outside.
    pub url: String,
    /// What in it is behind the channel's own part and before the `?`.
    pub path: String,
    /// The headers that are text, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Heard {
    /// It may name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("posted", &self.posted).field("body", &self.body.len()).finish_non_exhaustive()
    }
}

/// The news of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The [`Reference`] that the provider was given, as it came back.
    pub reference: String,
    /// What became of it.
    pub receipt: Receipt,
}

/// What a channel makes of what it heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hearing {
    /// Of messages.
    pub news: Vec<News>,
    /// Whether the provider told that the account is not as it was.
    pub account_changed: bool,
}

impl From<Vec<News>> for Hearing {
    /// Of messages alone.
    fn from(news: Vec<News>) -> Self {
        Self { news, account_changed: false }
    }
}

/// Why a channel took nothing of what it heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HearError {
    /// It does not come from the provider.
    #[error("it does not come from the provider")]
    NotAuthentic,
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// Not now: whoever sent it may send it again.
    #[error("the channel cannot listen now")]
    Busy,
}

/// How a channel is told something by its provider.
#[async_trait]
pub trait Hear: Send + Sync {
    /// Sees that what came is the provider's, and says what it tells.
    ///
    /// # Errors
    /// [`HearError`].
    async fn hear(&self, heard: Heard) -> Result<Hearing, HearError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_was_written_and_nothing_else_is() {
        let (tenant, delivery) = (TenantId::from_bytes([1; 16]), DeliveryId::from_bytes([250; 16]));
        for item in
            [Item::Verification(VerificationId::from_bytes([2; 16])), Item::Message(MessageId::from_bytes([255; 16]))]
        {
            let reference = Reference { tenant, item, delivery };
            let text = reference.to_string();
            assert_eq!((text.len(), text.parse()), (66, Ok(reference)));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            for wrong in [&text[1..], &text.replace('A', "B")[..65], &format!("{text}="), &format!("x{}", &text[1..])] {
                assert_eq!(wrong.parse::<Reference>(), Err(NoReference), "{wrong}");
            }
        }
        assert_eq!("".parse::<Reference>(), Err(NoReference));
    }
}
