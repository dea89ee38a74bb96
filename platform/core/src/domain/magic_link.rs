//! Links that approve a verification: what is in one, what is agreed about it, and the browser that it may be bound to.
//!
//! A link names its verification, so that no index leads from it there, and holds 128 random bits, which are what
//! approves. At its end stands a seal, so that what we never gave out is refused before anything is looked up, and
//! whoever holds a link can be told what became of it after its secret was erased.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::code::Code;
use super::id::{TenantId, VerificationId};
use super::template::webotp_host;
use super::vault::Vault;
use crate::ports::Entropy;

const ID_SIZE: usize = 16;
/// Bytes of what approves: more than anybody guesses, however many are asked for at once.
const SECRET_SIZE: usize = 16;
/// Bytes of a link's seal. Guessing one takes a call for each guess, and tells what became of a verification, no more. With
/// as many, the last character holds two bits and is a letter: programs that find links in texts leave out a `-` or `_` there.
const SEAL_SIZE: usize = 7;
/// Bytes of a pass.
const PASS_SIZE: usize = 16;
/// Longest URL that a page leads to, in bytes.
pub const URL_SIZE_MAX: usize = 2048;

/// How a verification is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The code of the message is typed in.
    #[default]
    Code,
    /// The link of the message is opened, and a button pressed.
    Link,
    /// The person writes a message to the tenant's number.
    Inbound,
}

impl Method {
    /// Whether a code is typed in.
    pub fn is_code(&self) -> bool {
        *self == Self::Code
    }
}

/// What was agreed about the link of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkTerms {
    /// Where the page leads once it has approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_url: Option<String>,
    /// Where the browser goes on that it is bound to; none where any browser may approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
}

/// Why a page does not lead to a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is a URL as in `https://app.example.com/done`: https, a host by its name, no login, at most 2048 characters")]
pub struct LinkUrlError;

impl LinkTerms {
    /// Whether it may be approved in one browser only.
    pub fn is_bound(&self) -> bool {
        self.return_url.is_some()
    }

    /// Forgets what may name a person.
    pub(super) fn redact(&mut self) {
        *self = Self::default();
    }

    /// Looks at a URL that a page is to lead to.
    ///
    /// Only https: an app's own scheme may belong to any app of a phone.
    ///
    /// # Errors
    /// [`LinkUrlError`].
    ///
    /// ```
    /// use wotp_core::domain::magic_link::LinkTerms;
    /// assert!(LinkTerms::check_url("https://app.example.com/done?step=2#top").is_ok());
    /// assert!(LinkTerms::check_url("https://app.example.com@evil.example/").is_err());
    /// ```
    pub fn check_url(url: &str) -> Result<(), LinkUrlError> {
        // What a URL has to escape, and the one that browsers read as a slash.
        let plain = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
        let is_https = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let holds = is_https && url.len() <= URL_SIZE_MAX && url.bytes().all(plain) && webotp_host(url).is_some();
        holds.then_some(()).ok_or(LinkUrlError)
    }
}

/// A link in clear: for the message, and for as short as can be.
pub struct MagicLink {
    tenant: TenantId,
    verification: VerificationId,
    secret: Zeroizing<[u8; SECRET_SIZE]>,
}

impl fmt::Debug for MagicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MagicLink").field("verification", &self.verification).finish_non_exhaustive()
    }
}

impl MagicLink {
    /// Draws a link for a verification.
    pub fn draw(tenant: TenantId, verification: VerificationId, entropy: &dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_SIZE]);
        entropy.fill(&mut *secret);
        Self { tenant, verification, secret }
    }

    /// The link with this [`secret`](Self::secret); none where that is not of a link.
    pub fn with_secret(tenant: TenantId, verification: VerificationId, secret: &Code) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64URL.decode(secret.as_str()).ok()?);
        Some(Self { tenant, verification, secret: Zeroizing::new(bytes.as_slice().try_into().ok()?) })
    }

    /// Whose verification.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Which verification.
    pub fn verification(&self) -> VerificationId {
        self.verification
    }

    /// What approves, to be hashed and sealed as a code is.
    pub fn secret(&self) -> Code {
        Code::unsealed(BASE64URL.encode(*self.secret))
    }

    /// The link as it stands in a path: 74 characters that no URL escapes.
    pub fn reveal(&self, vault: &Vault) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * ID_SIZE + SECRET_SIZE + SEAL_SIZE));
        bytes.extend_from_slice(&self.tenant.to_bytes());
        bytes.extend_from_slice(&self.verification.to_bytes());
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&self.seal(vault));
        Zeroizing::new(BASE64URL.encode(&*bytes))
    }

    /// Reads what [`reveal`](Self::reveal) gave; nothing where it is none that we gave out.
    pub fn parse(text: &str, vault: &Vault) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64URL.decode(text).ok()?);
        let (tenant, rest) = bytes.split_first_chunk::<ID_SIZE>()?;
        let (verification, rest) = rest.split_first_chunk::<ID_SIZE>()?;
        let (secret, seal) = rest.split_first_chunk::<SECRET_SIZE>()?;
        let link = Self {
            tenant: TenantId::from_bytes(*tenant),
            verification: VerificationId::from_bytes(*verification),
            secret: Zeroizing::new(*secret),
        };
        bool::from(link.seal(vault).as_slice().ct_eq(seal)).then_some(link)
    }

    fn seal(&self, vault: &Vault) -> [u8; SEAL_SIZE] {
        let parts: [&[u8]; 3] = [&self.tenant.to_bytes(), &self.verification.to_bytes(), &*self.secret];
        *vault.veil("magic link", &parts).first_chunk().expect("a veil has 16 bytes")
    }
}

/// What binds the link of a verification to a browser: a pass that the browser is sent through with, and a mark that it
/// gets for it. Both derive from our keys, so that nothing of them is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrowserBinding {
    tenant: TenantId,
    verification: VerificationId,
}

impl BrowserBinding {
    /// That of this verification.
    pub fn of(tenant: TenantId, verification: VerificationId) -> Self {
        Self { tenant, verification }
    }

    /// Whose verification.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Which verification.
    pub fn verification(&self) -> VerificationId {
        self.verification
    }

    /// The pass, as it stands in a path: 64 characters that no URL escapes.
    pub fn pass(&self, vault: &Vault) -> String {
        let parts = [self.tenant.to_bytes(), self.verification.to_bytes(), self.veil("magic link pass", vault)];
        BASE64URL.encode(parts.concat())
    }

    /// Reads what [`pass`](Self::pass) gave; nothing where it is none that we gave out.
    pub fn parse(text: &str, vault: &Vault) -> Option<Self> {
        let bytes = BASE64URL.decode(text).ok()?;
        let (tenant, rest) = bytes.split_first_chunk::<ID_SIZE>()?;
        let (verification, pass) = rest.split_first_chunk::<ID_SIZE>()?;
        let binding = Self::of(TenantId::from_bytes(*tenant), VerificationId::from_bytes(*verification));
        bool::from(binding.veil("magic link pass", vault).as_slice().ct_eq(pass)).then_some(binding)
    }

    /// What the browser keeps.
    pub fn mark(&self, vault: &Vault) -> String {
        BASE64URL.encode(self.veil("magic link browser", vault))
    }

    /// Whether this is what [`mark`](Self::mark) gave, in constant time.
    pub fn is_mark(&self, given: &str, vault: &Vault) -> bool {
        self.mark(vault).as_bytes().ct_eq(given.as_bytes()).into()
    }

    fn veil(&self, label: &str, vault: &Vault) -> [u8; PASS_SIZE] {
        vault.veil(label, &[&self.tenant.to_bytes(), &self.verification.to_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{entropy, vault};
    use proptest::prelude::*;

    fn ids(n: u8) -> (TenantId, VerificationId) {
        (TenantId::from_bytes([n; 16]), VerificationId::from_bytes([n + 1; 16]))
    }

    fn a_link() -> MagicLink {
        let (tenant, verification) = ids(1);
        MagicLink::draw(tenant, verification, entropy())
    }

    #[test]
    fn a_link_survives_its_text_and_fits_a_path() {
        let link = a_link();
        let text = link.reveal(vault());
        assert_eq!(text.len(), 74);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{}", *text);
        let read = MagicLink::parse(&text, vault()).unwrap();
        assert_eq!((read.tenant(), read.verification()), ids(1));
        assert_eq!(read.secret(), link.secret());
        let again = MagicLink::with_secret(read.tenant(), read.verification(), &link.secret()).unwrap();
        assert_eq!(*again.reveal(vault()), *text);
    }

    #[test]
    fn a_link_ends_in_what_nobody_takes_for_the_end_of_a_sentence() {
        let ends = (0..200).all(|_| a_link().reveal(vault()).ends_with(|last: char| last.is_ascii_alphabetic()));
        assert!(ends);
    }

    #[test]
    fn no_two_links_have_the_same_secret() {
        assert_ne!(a_link().secret(), a_link().secret());
    }

    #[test]
    fn the_secret_of_one_link_does_not_fit_into_another() {
        let (one, other) = (a_link(), a_link());
        let (mut mixed, whole) = (other.reveal(vault()).to_string(), one.reveal(vault()));
        // Ids are the first 32 bytes; 42 characters hold no byte of the secret but its lowest bits.
        mixed.replace_range(43..64, &whole[43..64]);
        assert!(MagicLink::parse(&mixed, vault()).is_none());
    }

    #[test]
    fn neither_text_nor_secret_is_in_a_debug_print() {
        let link = a_link();
        let printed = format!("{link:?}");
        assert!(!printed.contains(link.secret().as_str()), "{printed}");
    }

    #[test]
    fn a_pass_is_of_one_verification_and_is_no_mark() {
        let (tenant, verification) = ids(1);
        let binding = BrowserBinding::of(tenant, verification);
        let other = BrowserBinding::of(tenant, ids(2).1);
        assert_eq!(BrowserBinding::parse(&binding.pass(vault()), vault()), Some(binding));
        assert!(binding.is_mark(&binding.mark(vault()), vault()));
        assert!(!other.is_mark(&binding.mark(vault()), vault()));
        assert!(!binding.pass(vault()).ends_with(&binding.mark(vault())));
        assert!(!binding.is_mark("", vault()));
    }

    #[test]
    fn a_page_leads_to_hosts_over_https_only() {
        for url in ["https://app.example.com", "HTTPS://app.example.com:8443/a?b=c&d=%20#e"] {
            assert_eq!(LinkTerms::check_url(url), Ok(()), "{url}");
        }
        let long = format!("https://app.example.com/{}", "a".repeat(URL_SIZE_MAX));
        for url in [
            "",
            "app.example.com",
            "http://app.example.com/",
            "javascript:alert(1)//https://app.example.com",
            "acme://done",
            "https://",
            "https:///path",
            "https://127.0.0.1/",
            "https://user@app.example.com/",
            "https://app.example.com\\@evil.example/",
            "https://app.example.com/\"onclick=",
            "https://app.example.com/a b",
            "https://app.example.com/\nx",
            "https://äpp.example/",
            &long,
        ] {
            assert_eq!(LinkTerms::check_url(url), Err(LinkUrlError), "{url}");
        }
    }

    proptest! {
        #[test]
        fn what_we_never_gave_out_is_no_link(text in "[A-Za-z0-9_-]{0,80}|\\PC{0,80}", at in 0usize..74, with in "[A-Za-z0-9_-]") {
            prop_assert!(MagicLink::parse(&text, vault()).is_none());
            prop_assert!(BrowserBinding::parse(&text, vault()).is_none());
            let right = a_link().reveal(vault());
            let mut wrong = right.to_string();
            wrong.replace_range(at..=at, &with);
            prop_assert_eq!(MagicLink::parse(&wrong, vault()).is_some(), *right == wrong);
        }
    }
}
