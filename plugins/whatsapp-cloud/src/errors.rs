//! What Meta's error codes mean. Source: developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes.

use serde::{Deserialize, Deserializer};
use wotp_plugin_kit::{DeliveryError, Failure, Pause};

/// How long to wait when Meta asks to and does not say how long, in seconds.
const BUSY_SECONDS: u32 = 5;

/// Text that Meta also gives as `null`.
pub(crate) fn or_empty<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    Option::deserialize(text).map(Option::unwrap_or_default)
}

/// An error: what is read of it. Its words change, and are repeated to people only; its codes do not.
#[derive(Debug, Deserialize)]
pub(crate) struct Error {
    pub(crate) code: u32,
    #[serde(default)]
    pub(crate) error_subcode: Option<u32>,
    #[serde(default, deserialize_with = "or_empty")]
    message: String,
    /// What is wrong, in words for people, where Meta has some.
    #[serde(default, deserialize_with = "or_empty")]
    error_user_msg: String,
}

/// What a code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Whoever has this number cannot be reached in WhatsApp.
    Recipient,
    /// Token, permission, number, template or payment.
    Settings,
    /// Meta's servers, or how much they take at once.
    Load,
    /// Meta does not want this message to go out, or this sender to send.
    Policy,
}

fn about(code: u32) -> Option<About> {
    Some(match code {
        // It is not on WhatsApp, has not taken its terms or is too old for it; or it is the sender itself.
        131_021 | 131_026 => About::Recipient,
        // Token and permissions; a parameter; the number is not registered, or not among those it may write to while it is
        // tried; the account cannot pay; the template is not there, paused or switched off, or has another form.
        0
        | 3
        | 10
        | 33
        | 100
        | 190
        | 200..=299
        | 131_005
        | 131_008
        | 131_009
        | 131_030
        | 131_037
        | 131_042
        | 131_045
        | 132_000..=132_999
        | 133_000..=133_999
        | 134_011 => About::Settings,
        // The app's, the user's, the page's, the account's and the number's own throughput; or what is between the number and
        // this person.
        1 | 2 | 4 | 17 | 32 | 613 | 80_007 | 130_429 | 131_000 | 131_016 | 131_056 | 131_057 => About::Load,
        // Locked or restricted; flagged as spam; withheld for the sake of the person; a part of an experiment.
        368 | 130_472 | 130_497 | 131_031 | 131_048 | 131_049 | 131_050 => About::Policy,
        _ => return None,
    })
}

/// Whether the same may be taken a while later.
pub(crate) fn is_passing(status: u16, code: Option<u32>) -> bool {
    match code {
        // Too many calls for this account. Source: Graph API reference, message templates, error codes.
        Some(80_008) => true,
        Some(code) if about(code).is_some() => about(code) == Some(About::Load),
        // What says that all is well, and nothing else, is some proxy's.
        _ => matches!(status, 200..=299 | 429 | 500..=599),
    }
}

/// Whether the token may not look at the account, or not at one of that id: that says nothing of whether codes go out, which
/// takes another permission, and the number alone.
pub(crate) fn is_of_looking(error: &Error) -> bool {
    matches!(error.code, 3 | 10 | 33 | 200..=299) || (error.code == 100 && error.error_subcode == Some(33))
}

/// Why Meta does something not with a template, in words for whoever wrote the settings.
pub(crate) fn why_not(status: u16, error: &Error) -> String {
    let said = [&error.error_user_msg, &error.message].into_iter().find(|words| !words.is_empty());
    let said = said.map(|words| format!(": {words}")).unwrap_or_default();
    let what_to_do = match error.code {
        190 => "the access token does not work any more: give another one",
        3 | 10 | 200..=299 => {
            "the access token may not: it needs the permission `whatsapp_business_management` for this account"
        }
        33 => "there is no such account for the access token: see `business_account_id`",
        100 if error.error_subcode == Some(33) => {
            "there is no such account for the access token: see `business_account_id`"
        }
        code if is_passing(status, Some(code)) => "Meta has too much to do: check the connection again in some minutes",
        _ => "Meta refuses it",
    };
    format!("{what_to_do} (error {}{said})", error.code)
}

/// What is wrong with the template that a message was to go out with, where it is that.
fn of_template(code: u32) -> Option<&'static str> {
    Some(match code {
        132_001 => "there is no template of this name in this language, or Meta has not approved it",
        132_015 => "Meta paused the template for its quality",
        132_016 => "Meta switched the template off",
        132_007 => "the template breaks a rule of Meta's",
        132_000 | 132_005 | 132_012 | 132_018 => "the template has another form than one for codes",
        _ => return None,
    })
}

/// What an error means that came instead of a message.
pub(crate) fn refused(status: u16, code: Option<u32>, retry_after: Option<u32>) -> DeliveryError {
    let said = match code {
        Some(code) => {
            let why = of_template(code).map(|why| format!(": {why}")).unwrap_or_default();
            format!("Meta answered with HTTP {status}, error {code}{why}")
        }
        None => format!("Meta answered with HTTP {status}"),
    };
    let later = |detail| DeliveryError::Temporary(Pause { detail, seconds: retry_after.unwrap_or(BUSY_SECONDS) });
    match (code.and_then(about), status) {
        (Some(About::Recipient), _) => DeliveryError::InvalidRecipient(said),
        (Some(About::Settings), _) => DeliveryError::Misconfigured(said),
        (Some(About::Load), _) => later(said),
        (Some(About::Policy), _) => DeliveryError::Rejected(said),
        (None, 429 | 503) => later(said),
        (None, 401 | 403 | 404) => DeliveryError::Misconfigured(said),
        // It had the message when it failed: nobody knows how far it got.
        (None, 500..=599) => DeliveryError::Unknown(said),
        (None, _) => DeliveryError::Rejected(said),
    }
}

/// Why a message failed that Meta had taken.
pub(crate) fn failed(code: Option<u32>) -> Failure {
    match code.and_then(about) {
        Some(About::Recipient) => Failure::InvalidRecipient,
        Some(About::Settings) => Failure::Misconfigured,
        Some(About::Policy) => Failure::Rejected,
        // The device was off until the message was of no use, or nobody says.
        Some(About::Load) | None => Failure::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_more_than_a_status() {
        let refused = |status, code| refused(status, Some(code), None);
        for code in [131_026, 131_021] {
            assert!(matches!(refused(400, code), DeliveryError::InvalidRecipient(_)), "{code}");
        }
        for code in [190, 100, 200, 131_042, 131_030, 132_001, 132_015, 133_010] {
            assert!(matches!(refused(400, code), DeliveryError::Misconfigured(_)), "{code}");
        }
        for code in [368, 131_031, 131_048, 131_049] {
            assert!(matches!(refused(403, code), DeliveryError::Rejected(_)), "{code}");
        }
        for code in [130_429, 131_056, 80_007, 131_016, 17, 32, 613] {
            assert!(matches!(refused(400, code), DeliveryError::Temporary(Pause { seconds: 5, .. })), "{code}");
        }
        let paused = refused(400, 132_015);
        assert!(
            matches!(&paused, DeliveryError::Misconfigured(why) if why.contains("paused the template")),
            "{paused:?}"
        );
        assert!(matches!(refused(400, 999_999), DeliveryError::Rejected(_)));
        assert!(matches!(refused(500, 999_999), DeliveryError::Unknown(_)));
        assert!(matches!(super::refused(429, None, Some(7)), DeliveryError::Temporary(Pause { seconds: 7, .. })));
    }

    #[test]
    fn what_fails_later_is_told_as_well_as_it_is_known() {
        assert_eq!(failed(Some(131_026)), Failure::InvalidRecipient);
        assert_eq!(failed(Some(131_042)), Failure::Misconfigured);
        assert_eq!(failed(Some(131_049)), Failure::Rejected);
        assert_eq!((failed(Some(131_000)), failed(None)), (Failure::Unavailable, Failure::Unavailable));
    }
}
