//! Secrets, which the host puts into requests and the plugin never sees.
//!
//! What a plugin gets is a mark, another one in each call: a tenant who writes a part of the message cannot write one,
//! so no text of theirs is ever turned into a secret and sent to them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wotp_core::domain::template::is_control;
use wotp_core::ports::{Entropy, Outgoing, redacted};
use zeroize::Zeroizing;

use crate::descriptor::Place;
use crate::sandbox::Grant;

/// What a mark begins with.
const MARK: &str = "WOTPSECRET";
/// What stands where a secret was taken out.
const GAP: &str = "…";
/// Shortest secret, in bytes, that is looked for in what plugins and servers say: a shorter one, as a user's name may be,
/// is found in every second answer, and is none.
const LOOKED_FOR_MIN: usize = 6;
/// Bytes of what a plugin wrote that are looked through for the log, which keeps some hundred.
const LOOKED_THROUGH_MAX: usize = 4096;
/// Longest line of a plugin's that is kept, in characters. Source: [`redacted`], which cuts there too.
const LINE_MAX: usize = 200;
/// All that RFC 3986 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A secret. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How it may be written: as it is, within JSON, within a URL. In JSON some write `\/`, and in URLs `%2f`.
    fn spellings(&self) -> [Cow<'_, str>; 5] {
        let (json, percent) = (self.within(Form::Json), self.within(Form::Percent));
        let slashes = json.replace('/', "\\/").into();
        let small = in_small_letters(&percent).into();
        [Cow::Borrowed(self.0.as_str()), json, slashes, percent, small]
    }

    fn within(&self, form: Form) -> Cow<'_, str> {
        match form {
            Form::Plain => Cow::Borrowed(self.0.as_str()),
            Form::Percent => utf8_percent_encode(&self.0, RESERVED).into(),
            Form::Json => {
                let quoted = serde_json::Value::from(self.0.as_str()).to_string();
                quoted[1..quoted.len() - 1].to_owned().into()
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How the place of a secret wants it written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// In a query, or in a body that is a form.
    Percent,
    /// Within a string of JSON.
    Json,
}

impl Form {
    /// The form of a body, by its `Content-Type`.
    pub(crate) fn of_body(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Self::Percent,
            kind if kind == "application/json" || kind.ends_with("+json") => Self::Json,
            _ => Self::Plain,
        }
    }
}

/// A secret that the operator gave, and where the plugin said that it needs it.
pub(crate) struct Granted {
    pub name: String,
    pub value: Secret,
    pub places: Vec<Place>,
}

/// The marks of one call.
pub(crate) struct Marks(String);

impl Marks {
    pub(crate) fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        let mut suffix = String::with_capacity(32);
        for byte in bytes {
            write!(suffix, "{byte:02x}").expect("a string takes all that is written to it");
        }
        Self(suffix)
    }

    /// What stands for the secret of this name.
    pub(crate) fn mark(&self, name: &str) -> String {
        format!("{MARK}_{name}_{}", self.0)
    }

    /// `bytes` with the secrets that may stand there in the place of their marks.
    pub(crate) fn filled(&self, bytes: Vec<u8>, granted: &[Granted], place: Place, form: Form) -> Vec<u8> {
        let mut filled = bytes;
        for secret in granted.iter().filter(|secret| secret.places.contains(&place)) {
            let mark = self.mark(&secret.name);
            filled = replaced(filled, mark.as_bytes(), secret.value.within(form).as_bytes());
        }
        filled
    }

    /// [`filled`](Self::filled), for a text.
    pub(crate) fn filled_text(&self, text: &str, granted: &[Granted], place: Place, form: Form) -> String {
        let mut filled = text.to_owned();
        for secret in granted.iter().filter(|secret| secret.places.contains(&place)) {
            filled = filled.replace(&self.mark(&secret.name), &secret.value.within(form));
        }
        filled
    }
}

impl Grant {
    /// All that a secret may look like, the longest first: one that begins with another must not be left with its end.
    fn spellings(&self) -> Vec<Cow<'_, str>> {
        let all = self.secrets.iter().flat_map(|secret| secret.value.spellings());
        let mut all: Vec<_> = all.filter(|spelling| spelling.len() >= LOOKED_FOR_MIN).collect();
        all.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        all
    }

    /// What a plugin wrote, for the log: on one line, cut, without secrets, and without the address and the code of
    /// the message.
    pub(crate) fn redacted(&self, text: &str, outgoing: Option<&Outgoing>) -> String {
        let clean = self.without_secrets_in(text);
        match outgoing {
            Some(outgoing) => redacted(&clean, outgoing),
            None => clean.chars().map(|c| if is_control(c) { ' ' } else { c }).take(LINE_MAX).collect(),
        }
    }

    /// What a plugin wrote, without secrets.
    pub(crate) fn without_secrets_in(&self, text: &str) -> String {
        // Far more than is left of it, and few enough to look through.
        let mut clean = text[..text.floor_char_boundary(LOOKED_THROUGH_MAX)].to_owned();
        for spelling in self.spellings() {
            clean = clean.replace(&*spelling, GAP);
        }
        clean
    }

    /// [`redacted`](Self::redacted), where nobody knows of whom a plugin writes: without anything that could be a number
    /// or an address.
    pub(crate) fn without_people(&self, text: &str) -> String {
        let clean = self.redacted(text, None);
        let is_plain = |word: &&str| !word.contains('@') && !word.chars().any(|c| c.is_numeric());
        clean.split_whitespace().map(|word| if is_plain(&word) { word } else { GAP }).collect::<Vec<_>>().join(" ")
    }

    /// What a server answered, without secrets: some echo what they were told.
    /// `encoded` is what else went out of them in this call.
    pub(crate) fn without_secrets(&self, bytes: Vec<u8>, encoded: &[Secret]) -> Vec<u8> {
        let encoded = encoded.iter().flat_map(Secret::spellings).filter(|spelling| spelling.len() >= LOOKED_FOR_MIN);
        let bytes = encoded.fold(bytes, |bytes, spelling| replaced(bytes, spelling.as_bytes(), GAP.as_bytes()));
        self.spellings().iter().fold(bytes, |bytes, spelling| replaced(bytes, spelling.as_bytes(), GAP.as_bytes()))
    }
}

/// A percent-encoded text with the digits of what is encoded in small letters.
fn in_small_letters(percent: &str) -> String {
    let mut parts = percent.split('%');
    let mut small = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        small.push('%');
        small.extend(digits.chars().map(|digit| digit.to_ascii_lowercase()));
        small.push_str(rest);
    }
    small
}

/// `bytes` with each `what` replaced.
fn replaced(bytes: Vec<u8>, what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut rest = 0;
    let mut changed = Vec::new();
    for at in memmem::find_iter(&bytes, what) {
        changed.extend_from_slice(&bytes[rest..at]);
        changed.extend_from_slice(by);
        rest = at + what.len();
    }
    if rest == 0 {
        return bytes;
    }
    changed.extend_from_slice(&bytes[rest..]);
    changed
}

#[cfg(test)]
mod tests {
    use wotp_core::testing::SeededEntropy;

    use super::*;

    fn granted(value: &str, places: &[Place]) -> Vec<Granted> {
        vec![Granted { name: "token".to_owned(), value: value.to_owned().into(), places: places.to_vec() }]
    }

    #[test]
    fn a_secret_stands_where_it_was_declared_in_the_form_of_the_place() {
        let marks = Marks::draw(&SeededEntropy::new(7));
        let secrets = granted("a\"b c&d", &[Place::Query, Place::Body]);
        let mark = marks.mark("token");
        assert!(mark.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{mark}");
        let body = |form| {
            let filled = marks.filled(format!("<{mark}{mark}>").into_bytes(), &secrets, Place::Body, form);
            String::from_utf8(filled).unwrap()
        };
        assert_eq!(body(Form::Plain), "<a\"b c&da\"b c&d>");
        assert_eq!(body(Form::Json), "<a\\\"b c&da\\\"b c&d>");
        assert_eq!(marks.filled_text(&mark, &secrets, Place::Query, Form::Percent), "a%22b%20c%26d");
        assert_eq!(marks.filled_text(&mark, &secrets, Place::Header, Form::Plain), mark, "it is not for headers");
    }

    #[test]
    fn a_mark_of_another_call_is_a_text_like_any_other() {
        let entropy = SeededEntropy::new(7);
        let (first, second) = (Marks::draw(&entropy), Marks::draw(&entropy));
        let secrets = granted("s3cr3t", &[Place::Body]);
        let old = first.mark("token");
        let filled = second.filled(old.clone().into_bytes(), &secrets, Place::Body, Form::Plain);
        assert_eq!(filled, old.into_bytes());
    }

    #[test]
    fn an_echo_is_found_however_a_server_writes_it() {
        let secret = Secret::from("Ab/1\"/+Z".to_owned());
        let spellings = secret.spellings();
        for echo in ["Ab/1\"/+Z", "Ab/1\\\"/+Z", "Ab\\/1\\\"\\/+Z", "Ab%2F1%22%2F%2BZ", "Ab%2f1%22%2f%2bZ"] {
            assert!(spellings.iter().any(|spelling| spelling == echo), "{echo}: {spellings:?}");
        }
    }

    #[test]
    fn bodies_are_told_apart_by_their_content_type() {
        for (kind, form) in [
            ("application/json; charset=utf-8", Form::Json),
            ("application/problem+JSON", Form::Json),
            ("application/x-www-form-urlencoded", Form::Percent),
            ("text/xml", Form::Plain),
            ("", Form::Plain),
        ] {
            assert_eq!(Form::of_body(kind), form, "{kind}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::from("hunter2".to_owned())), "Secret(…)");
    }
}
