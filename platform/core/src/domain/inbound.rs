//! Verifications the other way round: the person writes a token to the tenant's number, and the number that it comes from is
//! what is verified.
//!
//! A token names its verification, so that no index leads from it there, and holds 72 random bits, which are what approves.
//! It does not name the tenant: a message arrives at somebody's number, and only that tenant's verifications are looked at.

use std::fmt;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::code::Code;
use super::id::VerificationId;
use super::template;
use super::vault::Sealed;
use crate::ports::Entropy;

/// What a token begins with, so that it is found in any text. Never to be changed: messages that wait to be sent have it.
pub const PREFIX: &str = "WOTP";
/// Number that test keys are told to have people write to. Nobody can own it, and nothing arrives there.
///
/// Source: Ofcom, numbers for use in TV and radio drama.
pub const TEST_NUMBER: &str = "+447700900000";
/// Longest text of a tenant's that answers whatever else people write, in characters.
pub const AUTO_REPLY_LENGTH_MAX: usize = 1000;
const ID_SIZE: usize = 16;
/// Bytes of what approves. Nobody tries 2^72 of them by messages, and with as many the token has no bits to spare.
const SECRET_SIZE: usize = 9;
/// Characters of a token after its prefix: five bits each.
const SYMBOLS: usize = (ID_SIZE + SECRET_SIZE) * 8 / 5;
/// Most tokens of one message that are looked at: each may cost a look into the store.
const FOUND_MAX: usize = 4;

/// Crockford's base 32: no two of its characters look alike, and case does not matter.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut rules = Specification::new();
    rules.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    rules.translate.from.push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
    rules.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    rules.encoding().expect("the alphabet has 32 symbols, and none twice")
});

/// Why a text does not answer whoever writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has 1 to 1000 characters, of which none is invisible but line breaks")]
pub struct AutoReplyError;

/// A tenant's text that answers whatever else people write, without what surrounds it.
///
/// # Errors
/// [`AutoReplyError`].
///
/// ```
/// use wotp_core::domain::inbound::auto_reply;
/// assert_eq!(auto_reply(" Nobody reads this.\n").as_deref(), Ok("Nobody reads this."));
/// assert!(auto_reply("  ").is_err());
/// ```
pub fn auto_reply(text: &str) -> Result<String, AutoReplyError> {
    let text = text.trim();
    let holds = (1..=AUTO_REPLY_LENGTH_MAX).contains(&text.chars().count())
        && !text.chars().any(|c| c != '\n' && template::is_control(c));
    holds.then(|| text.to_owned()).ok_or(AutoReplyError)
}

/// What was agreed about the message that approves a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundTerms {
    /// The tenant's number that the person is to write to.
    pub number: Sealed,
    /// Whether whoever writes is told what came of it.
    pub replies: bool,
    /// Whether that is in the language of their number: nobody said whose it is to be, nor in which language.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speaks_as_sender: bool,
}

/// What came of a message with the token of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It approved the verification.
    Approved,
    /// It has the token, and comes from another number than the one that is to be verified.
    OtherNumber,
    /// It approved the verification before, or somebody else's did, or its time ran out, or it was called off.
    Over,
    /// The token is wrong.
    Wrong,
}

/// A token in clear: for the link that is shown to the person, and for as short as can be.
pub struct InboundToken {
    verification: VerificationId,
    secret: Zeroizing<[u8; SECRET_SIZE]>,
}

impl fmt::Debug for InboundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundToken").field("verification", &self.verification).finish_non_exhaustive()
    }
}

impl InboundToken {
    /// Draws a token for a verification.
    pub fn draw(verification: VerificationId, entropy: &dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_SIZE]);
        entropy.fill(&mut *secret);
        Self { verification, secret }
    }

    /// The token with this [`secret`](Self::secret); none where that is not of a token.
    pub fn with_secret(verification: VerificationId, secret: &Code) -> Option<Self> {
        let bytes = Zeroizing::new(data_encoding::HEXLOWER.decode(secret.as_str().as_bytes()).ok()?);
        Some(Self { verification, secret: Zeroizing::new(bytes.as_slice().try_into().ok()?) })
    }

    /// Of which verification.
    pub fn verification(&self) -> VerificationId {
        self.verification
    }

    /// What approves, to be hashed and sealed as a code is.
    pub fn secret(&self) -> Code {
        Code::unsealed(data_encoding::HEXLOWER.encode(&*self.secret))
    }

    /// The token as it is written: 44 letters and digits.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(ID_SIZE + SECRET_SIZE));
        bytes.extend_from_slice(&self.verification.to_bytes());
        bytes.extend_from_slice(&*self.secret);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + SYMBOLS));
        text.push_str(PREFIX);
        BASE32.encode_append(&bytes, &mut text);
        text
    }

    /// What may be tokens in a text, wherever it stands there: in any case, with anything between its characters that is
    /// no letter or digit, as line breaks, quotes, marks of bold type or what nobody sees.
    ///
    /// ```
    /// use wotp_core::domain::inbound::InboundToken;
    ///
    /// let token = "WOTP01J9ZK3V8X6W5T4S3R2Q1P0N9M01J9ZK3V8X6W5T";
    /// let found = InboundToken::find(&format!("Hi! *{}*, sent from my phone", token.to_lowercase()));
    /// assert_eq!(*found[0].reveal(), token);
    /// assert!(InboundToken::find("Hi! I have a question").is_empty());
    /// ```
    pub fn find(text: &str) -> Vec<Self> {
        // Letters of other scripts end a token; all else is read over.
        let plain = text.chars().filter(|c| c.is_alphanumeric());
        let plain = plain.map(|c| if c.is_ascii() { c.to_ascii_uppercase() as u8 } else { 0 });
        let plain: Zeroizing<Vec<u8>> = Zeroizing::new(plain.collect());
        let starts = plain.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX.as_bytes());
        let token = |(at, _): (usize, &[u8])| {
            let symbols = plain.get(at + PREFIX.len()..)?.get(..SYMBOLS)?;
            let bytes = Zeroizing::new(BASE32.decode(symbols).ok()?);
            let (id, secret) = bytes.split_first_chunk::<ID_SIZE>()?;
            let secret = Zeroizing::new(secret.try_into().ok()?);
            Some(Self { verification: VerificationId::from_bytes(*id), secret })
        };
        starts.filter_map(token).take(FOUND_MAX).collect()
    }
}

/// The link that opens a chat with a number, with this text ready to be sent.
///
/// ```
/// use wotp_core::domain::inbound::deep_link;
/// assert_eq!(*deep_link("+12025550100", "Hi: it's me"), "https://wa.me/12025550100?text=Hi%3A%20it%27s%20me");
/// ```
pub fn deep_link(number: &str, text: &str) -> Zeroizing<String> {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
    Zeroizing::new(format!("https://wa.me/{}?text={text}", number.trim_start_matches('+')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::entropy;
    use proptest::prelude::*;

    fn a_token() -> InboundToken {
        InboundToken::draw(VerificationId::from_bytes([7; 16]), entropy())
    }

    fn found(text: &str) -> Vec<String> {
        InboundToken::find(text).iter().map(|token| token.reveal().to_string()).collect()
    }

    #[test]
    fn a_token_is_44_letters_and_digits_that_look_like_no_others() {
        let text = a_token().reveal();
        assert_eq!(text.len(), 44);
        let symbols = text.strip_prefix(PREFIX).unwrap();
        assert!(symbols.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()), "{symbols}");
        assert!(!symbols.contains(['I', 'L', 'O', 'U']), "{symbols}");
    }

    #[test]
    fn a_token_is_the_one_that_its_secret_makes_again() {
        let token = a_token();
        let again = InboundToken::with_secret(token.verification(), &token.secret()).unwrap();
        assert_eq!(*again.reveal(), *token.reveal());
        assert!(InboundToken::with_secret(token.verification(), &Code::typed("123456")).is_none());
        assert_ne!(a_token().secret(), a_token().secret());
    }

    #[test]
    fn a_token_is_found_in_any_surrounding_text() {
        let token = a_token().reveal();
        let (start, end) = token.split_at(20);
        for text in [
            token.to_string(),
            format!("Acme: I confirm that it is me.\n{}", *token),
            format!("“{}”", *token),
            format!("> {}\n\nSent from my phone", *token),
            format!("*{}*", *token),
            format!("{start}\u{200B}\u{2060}{end}"),
            format!("{start}\r\n{end}"),
            format!("{start} {end}."),
            format!("\u{202B}\u{2068}{}\u{2069}", *token),
            format!("確認{}です", *token),
            format!("{}and more", *token),
            token.to_lowercase(),
            token.replace('0', "o").replace('1', "l"),
            token.chars().flat_map(|c| [c, '-']).collect(),
        ] {
            assert_eq!(found(&text), [token.to_string()], "{text}");
        }
        // What begins as one may go on into the real one, and is looked at too.
        assert_eq!(found(&format!("WOTP is great: {}", *token)).last(), Some(&token.to_string()));
    }

    #[test]
    fn what_is_cut_or_broken_up_by_writing_is_no_token() {
        let token = a_token().reveal();
        let (start, end) = token.split_at(20);
        let shorter = &token[..43];
        for text in ["", "WOTP", "hello", shorter, &token[1..], &format!("{start}я{end}"), &format!("{start}U{end}")] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn of_many_tokens_in_one_message_few_are_looked_at() {
        let many: Vec<String> = (0..50).map(|_| a_token().reveal().to_string()).collect();
        assert_eq!(found(&many.join(" ")), many[..FOUND_MAX]);
    }

    #[test]
    fn neither_text_nor_secret_is_in_a_debug_print() {
        let token = a_token();
        let printed = format!("{token:?}");
        assert!(!printed.contains(token.secret().as_str()), "{printed}");
        assert!(!printed.contains(&token.reveal()[4 + 26..]), "{printed}");
    }

    proptest! {
        #[test]
        fn any_text_is_looked_through(text in "(\\PC{0,40}|WOTP[0-9A-Za-z]{0,60}){0,4}") {
            prop_assert!(InboundToken::find(&text).len() <= FOUND_MAX);
        }

        #[test]
        fn a_token_is_found_whatever_stands_around_it(before in "\\PC{0,40}", after in "\\PC{0,40}") {
            let token = a_token().reveal();
            // What stands before may read as the beginning of another.
            let text = format!("{before}\n{}\n{after}", *token);
            prop_assert!(found(&text).contains(&token));
        }
    }
}
