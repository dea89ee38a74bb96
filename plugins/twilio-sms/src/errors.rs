//! What Twilio's error codes mean. Source: twilio.com/docs/api/errors.

use wotp_plugin_kit::{DeliveryError, Failure, Pause};

/// How long to wait when Twilio asks to and does not say how long, in seconds.
const BUSY_SECONDS: u32 = 5;

/// What an error means that came instead of a message.
pub(crate) fn refused(status: u16, code: Option<u32>, retry_after: Option<u32>) -> DeliveryError {
    let said = match code {
        Some(code) => format!("Twilio answered with HTTP {status}, error {code}"),
        None => format!("Twilio answered with HTTP {status}"),
    };
    let later = |detail| DeliveryError::Temporary(Pause { detail, seconds: retry_after.unwrap_or(BUSY_SECONDS) });
    match (status, code) {
        // `To` is no number, cannot be reached, or is no mobile.
        (_, Some(21211 | 21214 | 21217 | 21401 | 21407 | 21421 | 21614)) => DeliveryError::InvalidRecipient(said),
        // The queue of the sender, or of the account, is full.
        (_, Some(20429 | 21611 | 30001)) | (429 | 503, _) => later(said),
        // The sender is not the account's, cannot send SMS or may not there; no permission for a region.
        (_, Some(20003 | 20404 | 21212 | 21408 | 21603 | 21606 | 21659 | 21660 | 21701..=21709))
        | (401 | 403 | 404, _) => DeliveryError::Misconfigured(said),
        // It had the message when it failed: nobody knows how far it got.
        (500..=599, _) => DeliveryError::Unknown(said),
        _ => DeliveryError::Rejected(said),
    }
}

/// Why a message failed that Twilio had taken.
pub(crate) fn failed(code: Option<u32>) -> Failure {
    match code {
        // The number is unknown, or a landline that nobody can write to.
        Some(21211 | 21614 | 30005 | 30006) => Failure::InvalidRecipient,
        // The account is suspended, or the sender is not registered for the country.
        Some(30002 | 30034 | 30035) => Failure::Misconfigured,
        // Blocked by the person, filtered by a network, or too expensive.
        Some(21610 | 30004 | 30007 | 30010 | 30032) => Failure::Rejected,
        // The device is off, a queue overflowed, its time was over, or nobody says.
        _ => Failure::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_more_than_a_status() {
        assert!(matches!(refused(400, Some(21211), None), DeliveryError::InvalidRecipient(_)));
        assert!(matches!(refused(400, Some(21610), None), DeliveryError::Rejected(_)));
        assert!(matches!(refused(400, Some(21606), None), DeliveryError::Misconfigured(_)));
        assert!(matches!(refused(401, Some(20003), None), DeliveryError::Misconfigured(_)));
        assert!(matches!(refused(401, None, None), DeliveryError::Misconfigured(_)));
        assert!(matches!(refused(500, Some(20500), None), DeliveryError::Unknown(_)));
        assert!(matches!(refused(400, None, None), DeliveryError::Rejected(_)));
        let seconds = |error| match error {
            DeliveryError::Temporary(Pause { seconds, .. }) => seconds,
            other => panic!("{other:?}"),
        };
        assert_eq!((seconds(refused(429, Some(20429), Some(7))), seconds(refused(503, None, None))), (7, 5));
    }

    #[test]
    fn what_fails_later_is_told_as_well_as_it_is_known() {
        assert_eq!(failed(Some(30005)), Failure::InvalidRecipient);
        assert_eq!(failed(Some(30007)), Failure::Rejected);
        assert_eq!(failed(Some(30034)), Failure::Misconfigured);
        assert_eq!((failed(Some(30003)), failed(None)), (Failure::Unavailable, Failure::Unavailable));
    }
}
