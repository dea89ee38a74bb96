//! What a tenant's own template must be before anybody is sent it.

use super::{
    link,
    parse::{Piece, Placeholder, pieces},
};
use crate::domain::locale::Locale;

/// Longest text of a template, in characters, before anything is filled in.
///
/// About six SMS parts; far below what any channel refuses, and enough for a greeting, the code, a
/// sentence or two and a signature.
pub const MAX_TEXT_CHARACTERS: usize = 1_000;

/// Longest subject of a template, in characters: mail programs cut off sooner.
pub const MAX_SUBJECT_CHARACTERS: usize = 150;

/// What a service lets its templates hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether the text may hold links. Off unless an operator turned it on for the service: a
    /// message that asks for a code and shows a link is what phishing looks like.
    pub links_allowed: bool,
}

/// Which half of a template an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The text.
    Text,
    /// The subject.
    Subject,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Subject => "subject",
        })
    }
}

/// Why a template is refused, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The subject is there and says nothing.
    #[error("the subject is empty: write one, or leave it out to have ours")]
    EmptySubject,
    /// More characters than a template may have.
    #[error("the {part} has {characters} characters: at most {limit} are allowed")]
    TooLong {
        /// Which half.
        part: Part,
        /// How many characters it has.
        characters: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The text would not tell the code.
    #[error("the text has no `{{{{code}}}}`: put it where the code belongs")]
    MissingCode,
    /// A name between braces that we do not know.
    #[error(
        "`{{{{{name}}}}}` is not a placeholder: use `{{{{code}}}}`, `{{{{brand}}}}`, `{{{{expires_in_minutes}}}}`, `{{{{expiry}}}}` or `{{{{do_not_share}}}}`"
    )]
    UnknownPlaceholder {
        /// The name as it was written.
        name: String,
    },
    /// `{{` without its `}}`.
    #[error("the `{{{{` at character {character} is not closed: write a placeholder as `{{{{code}}}}`")]
    UnclosedPlaceholder {
        /// Where it stands, counted from 1.
        character: usize,
    },
    /// A character that is not writing.
    #[error("the {part} holds the control character U+{:04X}: use plain writing, with single line feeds in the text and none in the subject", u32::from(*.found))]
    ControlCharacter {
        /// Which half.
        part: Part,
        /// The first one found.
        found: char,
    },
    /// A link, or what a phone would make one.
    #[error(
        "`{found}` in the {part} reads as a link, and this service does not allow links in messages: remove it, or put a space after the full stop if it is none"
    )]
    Link {
        /// Which half.
        part: Part,
        /// The word, with placeholders as their bare names, cut if long.
        found: String,
    },
    /// A ready-made sentence in a language that has none.
    #[error("`{{{{{}}}}}` has no wording in `{locale}`: write that sentence out in the text", .placeholder.name())]
    NoSentence {
        /// The placeholder that stands for the sentence.
        placeholder: Placeholder,
        /// The template's locale.
        locale: Locale,
    },
    /// A service has as many templates as it may.
    #[error("the service has texts for {limit} channels and locales already: withdraw one first")]
    TooMany {
        /// How many pairs of channel and locale it may have.
        limit: usize,
    },
}

/// A template that was found good, ready to be filled in any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedTemplate<'t> {
    pub(super) text: Vec<Piece<'t>>,
    pub(super) subject: Option<Vec<Piece<'t>>>,
}

impl<'t> ParsedTemplate<'t> {
    /// Reads a template that was validated when it was published: only what filling in needs is
    /// looked at again, not the policy, which may have changed since.
    pub(super) fn read(text: &'t str, subject: Option<&'t str>) -> Result<Self, TemplateError> {
        let text = pieces(text)?;
        if !text.contains(&Piece::Fill(Placeholder::Code)) {
            return Err(TemplateError::MissingCode);
        }
        Ok(Self { text, subject: subject.map(pieces).transpose()? })
    }

    /// Every placeholder the template uses, in order, with repetitions.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.text.iter().chain(self.subject.iter().flatten()).filter_map(|piece| match piece {
            Piece::Fill(placeholder) => Some(*placeholder),
            Piece::Words(_) => None,
        })
    }
}

/// Reads a template, or says what is wrong with it first.
///
/// ```
/// use wotp_core::domain::template::{Policy, TemplateError, validate};
///
/// let policy = Policy { links_allowed: false };
/// assert!(validate("{{ code }} opens {{brand}}. {{expiry}}", None, policy).is_ok());
/// assert_eq!(validate("Hello!", None, policy), Err(TemplateError::MissingCode));
/// ```
///
/// # Errors
/// Each [`TemplateError`] but `NoSentence` and `TooMany`, which depend on more than the text.
pub fn validate<'t>(
    text: &'t str,
    subject: Option<&'t str>,
    policy: Policy,
) -> Result<ParsedTemplate<'t>, TemplateError> {
    writing(Part::Text, text, MAX_TEXT_CHARACTERS)?;
    if let Some(subject) = subject {
        if subject.trim().is_empty() {
            return Err(TemplateError::EmptySubject);
        }
        writing(Part::Subject, subject, MAX_SUBJECT_CHARACTERS)?;
    }
    let parsed = ParsedTemplate::read(text, subject)?;
    if !policy.links_allowed {
        no_links(Part::Text, &parsed.text)?;
        no_links(Part::Subject, parsed.subject.as_deref().unwrap_or_default())?;
    }
    Ok(parsed)
}

fn writing(part: Part, text: &str, limit: usize) -> Result<(), TemplateError> {
    let characters = text.chars().count();
    if characters > limit {
        return Err(TemplateError::TooLong { part, characters, limit });
    }
    let refused = |c: char| is_control(c) && !(c == '\n' && part == Part::Text);
    match text.chars().find(|c| refused(*c)) {
        Some(found) => Err(TemplateError::ControlCharacter { part, found }),
        None => Ok(()),
    }
}

/// Characters that steer rather than write: C0 and C1 controls, line separators, and the marks that
/// turn the direction of what follows, with which `evil` can be shown as `live`. The joiners and the
/// left-to-right and right-to-left marks stay, which Persian and Hebrew spelling needs.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn no_links(part: Part, pieces: &[Piece<'_>]) -> Result<(), TemplateError> {
    // With something in each place, so that `{{brand}}.com` and `1.1.1.{{expires_in_minutes}}` show.
    let filled: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Words(words) => words,
            Piece::Fill(Placeholder::ExpiresInMinutes) => "5",
            Piece::Fill(placeholder) => placeholder.name(),
        })
        .collect();
    match link::find(&filled) {
        Some(found) => Err(TemplateError::Link { part, found: found.chars().take(60).collect() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Policy = Policy { links_allowed: false };

    fn refusal(text: &str, subject: Option<&str>) -> TemplateError {
        validate(text, subject, STRICT).unwrap_err()
    }

    #[test]
    fn a_text_of_a_thousand_characters_is_taken_and_one_more_is_not() {
        let just = format!("{{{{code}}}}{}", "й".repeat(MAX_TEXT_CHARACTERS - 8));
        assert!(validate(&just, None, STRICT).is_ok());
        let more = format!("{just}й");
        let error = refusal(&more, None);
        assert_eq!(error, TemplateError::TooLong { part: Part::Text, characters: 1_001, limit: 1_000 });
        assert_eq!(error.to_string(), "the text has 1001 characters: at most 1000 are allowed");
    }

    #[test]
    fn the_code_must_be_in_the_text_and_not_only_in_the_subject() {
        assert_eq!(refusal("Welcome", Some("{{code}}")), TemplateError::MissingCode);
        assert_eq!(refusal("", None), TemplateError::MissingCode);
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_every_one_there_is() {
        let message = refusal("{{code}} {{name}}", None).to_string();
        assert!(message.starts_with("`{{name}}` is not a placeholder"), "{message}");
        for placeholder in Placeholder::ALL {
            assert!(message.contains(&format!("`{{{{{}}}}}`", placeholder.name())), "{message}");
        }
    }

    #[test]
    fn lines_may_break_in_the_text_and_not_in_the_subject() {
        assert!(validate("{{code}}\n{{brand}}", Some("For you"), STRICT).is_ok());
        assert_eq!(
            refusal("{{code}}", Some("a\nBcc: b")),
            TemplateError::ControlCharacter { part: Part::Subject, found: '\n' }
        );
        assert_eq!(refusal("{{code}}", Some(" ")), TemplateError::EmptySubject);
    }

    #[test]
    fn control_characters_are_refused_by_their_number() {
        for (c, shown) in
            [('\0', "U+0000"), ('\r', "U+000D"), ('\t', "U+0009"), ('\u{202E}', "U+202E"), ('\u{2028}', "U+2028")]
        {
            let error = refusal(&format!("{{{{code}}}} {c}"), None);
            assert!(error.to_string().contains(shown), "{error}");
        }
        assert!(validate("کد شما می\u{200C}شود {{code}}", None, STRICT).is_ok());
    }

    #[test]
    fn links_are_refused_unless_the_service_allows_them() {
        let text = "{{code}}: see example.com/help";
        let error = refusal(text, None);
        assert_eq!(error, TemplateError::Link { part: Part::Text, found: "example.com/help".into() });
        assert!(error.to_string().contains("does not allow links"), "{error}");
        assert!(validate(text, None, Policy { links_allowed: true }).is_ok());
        assert!(matches!(refusal("{{code}}", Some("t.me/x")), TemplateError::Link { part: Part::Subject, .. }));
    }

    #[test]
    fn a_link_cannot_be_put_together_from_placeholders() {
        for text in [
            "{{code}} {{brand}}.com",
            "evil.{{code}}",
            "https{{brand}}://{{code}}",
            "{{code}} 1.1.1.{{expires_in_minutes}}",
        ] {
            assert!(matches!(refusal(text, None), TemplateError::Link { .. }), "{text}");
        }
        assert!(validate("{{brand}}. {{code}}. {{expiry}} {{do_not_share}}", None, STRICT).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(
            text in "([a-z.:/ ]|\\PC|\\{\\{|\\}\\}|\\{\\{code\\}\\}|[\u{0}-\u{20}]){0,200}",
            subject in proptest::option::of("\\PC{0,200}"),
            links_allowed: bool,
        ) {
            match validate(&text, subject.as_deref(), Policy { links_allowed }) {
                Ok(parsed) => prop_assert!(parsed.placeholders().any(|p| p == Placeholder::Code)),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn texts_made_to_be_slow_are_read_to_the_end() {
        // Each would take a minute if reading were quadratic in the text.
        for hostile in ["{{", "}}", "{{x", "1.", "a.", "{{code}}", "www.", "://", "．"] {
            let text = hostile.repeat(300_000 / hostile.len());
            let _ = pieces(&text);
            let _ = link::find(&text);
            let _ = validate(&text, Some(&text), STRICT);
        }
    }
}
