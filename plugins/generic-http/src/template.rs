//! Texts with places that a message fills: `{{to}}` and the like.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wotp_plugin_kit::{AddressKind, Message};

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
const SECRET: &str = "secret:";
/// The secrets that may stand in a template.
const SECRETS: &[&str] = &["token", "username", "password"];
/// All that RFC 3986 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What may stand in a template besides secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    To,
    ToDigits,
    Kind,
    Subject,
    Text,
    Code,
    Brand,
    Locale,
    ExpiresInSeconds,
}

/// The names of all fields.
const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("to", Field::To),
    ("to_digits", Field::ToDigits),
    ("kind", Field::Kind),
    ("subject", Field::Subject),
    ("text", Field::Text),
    ("code", Field::Code),
    ("brand", Field::Brand),
    ("locale", Field::Locale),
    ("expires_in_seconds", Field::ExpiresInSeconds),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Field(Field),
    Secret(&'a str),
}

/// How what is filled in is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// Percent-encoded.
    Url,
}

/// What a template is filled from.
pub(crate) struct Context<'a> {
    pub message: &'a Message,
    /// The mark of a secret, if the operator gave it.
    pub secret: &'a dyn Fn(&str) -> Option<String>,
}

/// What of a message somebody reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shows {
    pub code: bool,
    pub text: bool,
}

/// A text that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template<'a>(Vec<Piece<'a>>);

impl<'a> Template<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (name, after) =
                after.split_once(CLOSE).ok_or_else(|| format!("`{OPEN}` in `{text}` is not closed with `{CLOSE}`"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before));
            }
            pieces.push(piece(name.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest));
        }
        Ok(Self(pieces))
    }

    /// The text for one message. What the template itself says is taken as it is.
    ///
    /// # Errors
    /// Which secret is not there.
    pub(crate) fn render(&self, context: &Context<'_>, encoding: Encoding) -> Result<String, String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                // The host writes the secret in the way of its place.
                Piece::Secret(name) => {
                    let mark = (context.secret)(name);
                    filled.push_str(&mark.ok_or_else(|| format!("the secret `{name}` is not there"))?);
                }
                Piece::Field(field) => {
                    let value = field.of(context.message);
                    filled.push_str(&match encoding {
                        Encoding::Plain => value,
                        Encoding::Url => encoded(&value),
                    });
                }
            }
        }
        Ok(filled)
    }

    /// Whether the code, or the whole text, is to be filled in.
    pub(crate) fn shows(&self) -> Shows {
        let has = |wanted| self.0.iter().any(|piece| matches!(piece, Piece::Field(field) if *field == wanted));
        Shows { code: has(Field::Code), text: has(Field::Text) }
    }

    /// Whether a secret stands in it.
    pub(crate) fn has_secret(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Secret(_)))
    }

    /// Whether nothing is to be filled in.
    pub(crate) fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }
}

fn piece(name: &str) -> Result<Piece<'_>, String> {
    if let Some(secret) = name.strip_prefix(SECRET) {
        let known = SECRETS.contains(&secret);
        return if known { Ok(Piece::Secret(secret)) } else { Err(unknown(name, SECRETS)) };
    }
    let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    let found = FIELDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, field)| Piece::Field(*field)).ok_or_else(|| unknown(name, &names))
}

fn unknown(name: &str, known: &[&str]) -> String {
    format!("`{OPEN}{name}{CLOSE}` is nothing that can be filled in; there are: {}", known.join(", "))
}

impl Field {
    fn of(self, message: &Message) -> String {
        match self {
            Self::Id => message.id.clone(),
            Self::To => message.to.clone(),
            Self::ToDigits => message.to.trim_start_matches('+').to_owned(),
            Self::Kind => match message.kind {
                AddressKind::Phone => "phone".to_owned(),
                AddressKind::Email => "email".to_owned(),
            },
            Self::Subject => message.subject.clone(),
            Self::Text => message.text.clone(),
            Self::Code => message.code.clone().unwrap_or_default(),
            Self::Brand => message.brand.clone(),
            Self::Locale => message.locale.clone(),
            Self::ExpiresInSeconds => message.expires_in_seconds.to_string(),
        }
    }
}

/// A text as a part of a URL or a form.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message() -> Message {
        Message {
            id: "dlv_1".to_owned(),
            kind: AddressKind::Phone,
            to: "+12025550123".to_owned(),
            subject: String::new(),
            text: "482913 is & {{code}}".to_owned(),
            code: Some("482913".to_owned()),
            brand: "Acme".to_owned(),
            locale: "en".to_owned(),
            expires_in_seconds: 300,
            config: "{}".to_owned(),
        }
    }

    fn render(text: &str, encoding: Encoding) -> Result<String, String> {
        let secret = |name: &str| (name == "token").then(|| "MARK".to_owned());
        Template::parse(text)?.render(&Context { message: &message(), secret: &secret }, encoding)
    }

    #[test]
    fn places_are_filled_and_the_rest_stays() {
        assert_eq!(render("a {{to}} {{ to_digits }}}", Encoding::Plain).unwrap(), "a +12025550123 12025550123}");
        assert_eq!(
            render("?to={{to}}&ttl={{expires_in_seconds}}", Encoding::Url).unwrap(),
            "?to=%2B12025550123&ttl=300"
        );
        assert_eq!(render("", Encoding::Plain).unwrap(), "");
    }

    #[test]
    fn what_was_filled_in_is_not_filled_again() {
        assert_eq!(render("{{text}}", Encoding::Plain).unwrap(), "482913 is & {{code}}");
        assert_eq!(render("{{text}}", Encoding::Url).unwrap(), "482913%20is%20%26%20%7B%7Bcode%7D%7D");
    }

    #[test]
    fn a_secret_is_a_mark_and_one_that_is_not_there_is_told() {
        assert_eq!(render("Bearer {{secret:token}}", Encoding::Plain).unwrap(), "Bearer MARK");
        assert!(render("{{secret:password}}", Encoding::Plain).unwrap_err().contains("`password` is not there"));
        assert!(Template::parse("{{secret:token}}").unwrap().has_secret());
    }

    #[test]
    fn what_cannot_be_filled_in_is_told_with_what_can() {
        assert!(Template::parse("{{nobody}}").unwrap_err().contains("expires_in_seconds"));
        assert!(Template::parse("{{secret:key}}").unwrap_err().contains("token, username, password"));
        assert!(Template::parse("{{to").unwrap_err().contains("not closed"));
    }
}
