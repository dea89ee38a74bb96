//! What a message says: built-in texts in more than fifty languages, a service's own templates, and
//! the last line that phones read by themselves.

mod builtin;
mod custom;
mod inbound_words;
mod link;
mod link_words;
mod parse;
pub mod plural;
mod sms;
mod validate;

use std::fmt;

use jiff::SignedDuration;

use self::{builtin::BuiltIn, parse::Piece};
use crate::domain::locale::Locale;

pub use self::{
    builtin::{languages, speaks},
    custom::{CustomTemplate, TemplateSet},
    inbound_words::{InboundSentence, render_inbound},
    link_words::{LinkWords, link_words, render_link},
    parse::Placeholder,
    sms::{
        SMS_RETRIEVER_HASH_CHARACTERS, SMS_RETRIEVER_MAX_BYTES, fits_sms_retriever, is_sms_retriever_hash, webotp_host,
    },
    validate::{
        MAX_SUBJECT_CHARACTERS, MAX_TEXT_CHARACTERS, ParsedTemplate, Part, Policy, TemplateError, is_control, validate,
    },
};

/// Unicode's "first strong isolate": what follows is laid out by itself, in its own direction.
const ISOLATE: char = '\u{2068}';
/// Unicode's end of an isolate.
const END_OF_ISOLATE: char = '\u{2069}';

/// What is filled in, and what is put at the end.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The service's brand name, as it is.
    pub brand: &'a str,
    /// The one-time code.
    pub code: &'a str,
    /// How long the code is still good for. Told in whole minutes, rounded up, from 1 to 60.
    pub expires_in: SignedDuration,
    /// The site whose browsers may fill the code in by themselves (WebOTP): an `https` origin or a
    /// host, see [`webotp_host`].
    pub web_origin: Option<&'a str>,
    /// The Android app that may read the message by itself, see [`is_sms_retriever_hash`].
    pub sms_retriever_hash: Option<&'a str>,
}

impl fmt::Debug for Inputs<'_> {
    /// Not the code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("brand", &self.brand)
            .field("expires_in", &self.expires_in)
            .field("web_origin", &self.web_origin)
            .field("sms_retriever_hash", &self.sms_retriever_hash)
            .finish_non_exhaustive()
    }
}

/// A message, ready to be handed to a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The subject, for channels that have one.
    pub subject: String,
    /// The message. Lines end with a line feed; the last has none.
    pub text: String,
    /// The language the message is written in.
    pub locale: Locale,
}

impl fmt::Debug for Rendered {
    /// Not the texts, which hold the code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered").field("locale", &self.locale).finish_non_exhaustive()
    }
}

/// Whether a phone would make a part of this text tappable: an address of a site, however written.
#[must_use]
pub fn holds_link(text: &str) -> bool {
    link::find(text).is_some()
}

/// Writes the message that tells a code.
///
/// With a service's own template, its text in its locale; else the built-in text nearest to
/// `locale`: the code, when it expires, and not to share it. A template that cannot be read any
/// more gives way to the built-in text, so that it never costs anybody their code. Placeholders are
/// filled in one pass: a brand called `{{code}}` stays that.
///
/// In right-to-left languages the code and the brand are wrapped in isolates (U+2068, U+2069), so
/// that the sentence around them cannot turn them about.
///
/// After the text comes the line for phones, on which WebOTP and the SMS Retriever fit together:
/// `@example.com #123456 FA+9qCX9VSu`. A built-in text for the SMS Retriever leaves out what is least needed (not to share, then the expiry) where all of it would
/// be more than 140 bytes; a service's own text is never cut, see [`fits_sms_retriever`].
///
/// ```
/// use jiff::SignedDuration;
/// use wotp_core::domain::template::{Inputs, render};
///
/// let inputs = Inputs {
///     brand: "Acme",
///     code: "123456",
///     expires_in: SignedDuration::from_mins(5),
///     web_origin: Some("https://example.com"),
///     sms_retriever_hash: None,
/// };
/// let message = render(&"en-GB".parse()?, None, &inputs);
/// assert_eq!(message.subject, "123456 is your Acme code");
/// assert_eq!(
///     message.text,
///     "123456 is your Acme verification code. It expires in 5 minutes. \
///      Do not share it with anyone.\n\n@example.com #123456"
/// );
/// # Ok::<(), wotp_core::domain::locale::LocaleError>(())
/// ```
#[must_use]
pub fn render(locale: &Locale, custom: Option<&CustomTemplate>, inputs: &Inputs<'_>) -> Rendered {
    match custom.map(|template| (template.locale, template.parsed())) {
        Some((locale, Ok(parsed))) => parsed.render(&locale, inputs),
        _ => render_built_in(locale, inputs),
    }
}

impl ParsedTemplate<'_> {
    /// Fills the template in, as a text in `locale`. What a preview of an unpublished text shows.
    #[must_use]
    pub fn render(&self, locale: &Locale, inputs: &Inputs<'_>) -> Rendered {
        let fill = Fill::new(*locale, inputs);
        let mut text = String::with_capacity(512);
        fill.write(&self.text, &mut text);
        fill.write_end(&mut text);
        let subject = fill.subject(self.subject.as_deref().unwrap_or(&fill.built_in.subject));
        Rendered { subject, text, locale: *locale }
    }
}

fn render_built_in(locale: &Locale, inputs: &Inputs<'_>) -> Rendered {
    let built_in = builtin::nearest_or_english(locale);
    let fill = Fill::new(built_in.locale, inputs);
    let mut text = String::with_capacity(512);
    fill.write(&built_in.body, &mut text);
    let after_body = text.len();
    text.push_str(built_in.between_sentences);
    fill.write(built_in.expiry(fill.minutes), &mut text);
    let after_expiry = text.len();
    text.push_str(built_in.between_sentences);
    fill.write(&built_in.do_not_share, &mut text);
    let after_sentences = text.len();
    fill.write_end(&mut text);
    if inputs.sms_retriever_hash.is_some() {
        // What is left out first comes first.
        for (from, to) in [(after_expiry, after_sentences), (after_body, after_expiry)] {
            if !fits_sms_retriever(&text) {
                text.replace_range(from..to, "");
            }
        }
    }
    Rendered { subject: fill.subject(&built_in.subject), text, locale: built_in.locale }
}

/// Everything that filling in needs, worked out once.
struct Fill<'a> {
    inputs: &'a Inputs<'a>,
    minutes: u64,
    built_in: &'static BuiltIn,
    isolate: bool,
}

impl<'a> Fill<'a> {
    fn new(locale: Locale, inputs: &'a Inputs<'a>) -> Self {
        Self {
            inputs,
            minutes: whole_minutes(inputs.expires_in),
            built_in: builtin::nearest_or_english(&locale),
            isolate: locale.is_rtl(),
        }
    }

    fn subject(&self, pieces: &[Piece<'_>]) -> String {
        let mut subject = String::with_capacity(128);
        self.write(pieces, &mut subject);
        subject
    }

    fn write(&self, pieces: &[Piece<'_>], out: &mut String) {
        for piece in pieces {
            match piece {
                Piece::Words(words) => out.push_str(words),
                Piece::Fill(Placeholder::Code) => write_apart(self.inputs.code, self.isolate, out),
                Piece::Fill(Placeholder::Brand) => write_apart(self.inputs.brand, self.isolate, out),
                Piece::Fill(Placeholder::ExpiresInMinutes) => write_number(self.minutes, out),
                // These hold words and minutes only, so this goes no deeper.
                Piece::Fill(Placeholder::Expiry) => self.write(self.built_in.expiry(self.minutes), out),
                Piece::Fill(Placeholder::DoNotShare) => self.write(&self.built_in.do_not_share, out),
            }
        }
    }

    fn write_end(&self, out: &mut String) {
        sms::push_last_line(out, self.inputs.code, self.inputs.web_origin, self.inputs.sms_retriever_hash);
    }
}

/// Writes a value that is not part of the sentence around it: without characters that would steer that, and isolated
/// where its direction may be another.
fn write_apart(value: &str, isolate: bool, out: &mut String) {
    if isolate {
        out.push(ISOLATE);
    }
    if value.chars().any(is_control) {
        out.extend(value.chars().filter(|c| !is_control(*c)));
    } else {
        out.push_str(value);
    }
    if isolate {
        out.push(END_OF_ISOLATE);
    }
}

/// Minutes as they are told: rounded up, so that a code of five minutes is one of five minutes a
/// moment after it was made; from 1, since "0 minutes" helps nobody, to 60, the longest there is.
fn whole_minutes(left: SignedDuration) -> u64 {
    let seconds = u64::try_from(left.as_secs()).unwrap_or(0) + u64::from(left.subsec_nanos() > 0);
    seconds.div_ceil(60).clamp(1, 60)
}

/// Writes a number below 100, without the formatting machinery.
fn write_number(n: u64, out: &mut String) {
    let digit = |n: u64| char::from(b'0' + u8::try_from(n % 10).unwrap_or(0));
    if n >= 10 {
        out.push(digit(n / 10));
    }
    out.push(digit(n));
}

#[cfg(test)]
mod tests;
