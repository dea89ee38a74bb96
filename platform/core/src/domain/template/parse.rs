//! Template text to pieces: words, and places where something is filled in.

use super::TemplateError;

/// Longest name read between braces, in bytes. A bound here keeps reading linear however many
/// braces a text opens.
const MAX_NAME_BYTES: usize = 64;

/// What a template can have filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// `{{code}}`: the one-time code. Every text must have it.
    Code,
    /// `{{brand}}`: the service's brand name.
    Brand,
    /// `{{expires_in_minutes}}`: whole minutes until the code expires, rounded up, as a number.
    ExpiresInMinutes,
    /// `{{expiry}}`: a sentence that says so, in the right plural of the template's language.
    Expiry,
    /// `{{do_not_share}}`: a sentence that asks to keep the code private, in that language.
    DoNotShare,
}

impl Placeholder {
    /// Every placeholder there is.
    pub const ALL: [Self; 5] = [Self::Code, Self::Brand, Self::ExpiresInMinutes, Self::Expiry, Self::DoNotShare];

    /// The name that goes between the braces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Brand => "brand",
            Self::ExpiresInMinutes => "expires_in_minutes",
            Self::Expiry => "expiry",
            Self::DoNotShare => "do_not_share",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placeholder| placeholder.name() == name)
    }
}

/// A stretch of words, or a place to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Words(&'t str),
    Fill(Placeholder),
}

/// Cuts a text into pieces in one pass. A single `{` and any `}` are words like others.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::with_capacity(8);
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            pieces.push(Piece::Words(&rest[..open]));
        }
        let inside = &rest[open + 2..];
        let window = &inside.as_bytes()[..inside.len().min(MAX_NAME_BYTES + 2)];
        let Some(close) = window.windows(2).position(|pair| pair == b"}}") else {
            let position = text.len() - rest.len() + open;
            return Err(TemplateError::UnclosedPlaceholder { character: text[..position].chars().count() + 1 });
        };
        let name = inside[..close].trim();
        let placeholder =
            Placeholder::from_name(name).ok_or_else(|| TemplateError::UnknownPlaceholder { name: name.to_owned() })?;
        pieces.push(Piece::Fill(placeholder));
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_placeholders_alternate_as_written() {
        use Piece::{Fill, Words};
        assert_eq!(
            pieces("Hi {{ brand }}: {{code}}{{\texpiry\n}}!").unwrap(),
            [
                Words("Hi "),
                Fill(Placeholder::Brand),
                Words(": "),
                Fill(Placeholder::Code),
                Fill(Placeholder::Expiry),
                Words("!"),
            ]
        );
        assert_eq!(pieces("").unwrap(), []);
    }

    #[test]
    fn lone_braces_are_words() {
        assert_eq!(pieces("{code} } }} {").unwrap(), [Piece::Words("{code} } }} {")]);
    }

    #[test]
    fn an_unknown_name_is_given_back_as_it_was_written() {
        for (text, name) in
            [("{{otp}}", "otp"), ("{{Code}}", "Code"), ("{{}}", ""), ("{{{code}}}", "{code"), ("{{ é }}", "é")]
        {
            assert_eq!(pieces(text), Err(TemplateError::UnknownPlaceholder { name: name.into() }));
        }
    }

    #[test]
    fn braces_left_open_are_located_by_character() {
        assert_eq!(pieces("é {{code"), Err(TemplateError::UnclosedPlaceholder { character: 3 }));
        let far = format!("{{{{{}}}}}", "x".repeat(MAX_NAME_BYTES + 1));
        assert_eq!(pieces(&far), Err(TemplateError::UnclosedPlaceholder { character: 1 }));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_without_losing_a_word(text in "(\\PC|\\{\\{|\\}\\}|\\{\\{ ?(code|brand|expiry|x) ?\\}\\}|\n){0,60}") {
            if let Ok(pieces) = pieces(&text) {
                let again: String = pieces.iter().map(|piece| match piece {
                    Piece::Words(words) => (*words).to_owned(),
                    Piece::Fill(placeholder) => format!("{{{{{}}}}}", placeholder.name()),
                }).collect();
                let spaceless = |text: &str| text.replace(char::is_whitespace, "");
                prop_assert_eq!(spaceless(&again), spaceless(&text));
            }
        }
    }
}
