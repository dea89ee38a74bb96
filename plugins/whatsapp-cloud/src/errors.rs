//! What Meta's error codes mean. Source: developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes.

use serde::Deserialize;
use wotp_plugin_kit::{DeliveryError, Failure, Pause};

/// How long to wait when Meta asks to and does not say how long, in seconds.
const BUSY_SECONDS: u32 = 5;

/// An error: what is read of it. Its words change, its code does not.
#[derive(Debug, Deserialize)]
pub(crate) struct Error {
    pub(crate) code: u32,
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
        // The app's, the account's and the number's own throughput; or what is between the number and this person.
        1 | 2 | 4 | 80_007 | 130_429 | 131_000 | 131_016 | 131_056 | 131_057 => About::Load,
        // Locked or restricted; flagged as spam; withheld for the sake of the person; a part of an experiment.
        368 | 130_472 | 130_497 | 131_031 | 131_048 | 131_049 | 131_050 => About::Policy,
        _ => return None,
    })
}

/// What an error means that came instead of a message.
pub(crate) fn refused(status: u16, code: Option<u32>, retry_after: Option<u32>) -> DeliveryError {
    let said = match code {
        Some(code) => format!("Meta answered with HTTP {status}, error {code}"),
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
        for code in [130_429, 131_056, 80_007, 131_016] {
            assert!(matches!(refused(400, code), DeliveryError::Temporary(Pause { seconds: 5, .. })), "{code}");
        }
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
