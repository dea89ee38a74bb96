//! What a plugin's answer means, and what it means when there is none.

use jiff::SignedDuration;
use wotp_core::domain::cost::Cost;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use wotp_core::ports::{Acknowledged, SendError};

use crate::sandbox::Stopped;
use crate::since_v0_1_0::exports::wotp::channel::delivery::{DeliveryError, Receipt};
use crate::since_v0_1_0::wotp::channel::types;

/// Longest name of a message that a provider may give, in bytes.
const PROVIDER_ID_MAX: usize = 128;
/// Longest pause that a plugin may ask for, in seconds: codes do not live longer.
const PAUSE_MAX_SECONDS: u32 = 3600;
/// How long to wait before a message is sent again of which nobody knows whether it got out.
const AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// What came of a delivery, as the plugin put it. Texts are without what no log may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The provider took the message.
    Acknowledged(Acknowledged),
    /// Nobody has the address.
    InvalidRecipient(String),
    /// The provider refuses.
    Rejected(String),
    /// Settings or credentials are wrong.
    Misconfigured(String),
    /// Not now.
    Temporary {
        /// How long to wait.
        after: SignedDuration,
        /// Why.
        detail: String,
    },
    /// It may have got out or not.
    Unknown(String),
    /// Nothing: it crashed, or was stopped.
    Stopped(String),
}

impl Said {
    /// `redacted` takes out of a plugin's words what no log may hold.
    pub(crate) fn of(
        delivered: Result<Result<Receipt, DeliveryError>, Stopped>,
        redacted: impl Fn(&str) -> String,
    ) -> Self {
        match delivered {
            Ok(Ok(receipt)) => Self::Acknowledged(acknowledged(receipt, redacted)),
            Ok(Err(DeliveryError::InvalidRecipient(detail))) => Self::InvalidRecipient(redacted(&detail)),
            Ok(Err(DeliveryError::Rejected(detail))) => Self::Rejected(redacted(&detail)),
            Ok(Err(DeliveryError::Misconfigured(detail))) => Self::Misconfigured(redacted(&detail)),
            Ok(Err(DeliveryError::Temporary(types::Pause { detail, seconds }))) => Self::Temporary {
                after: SignedDuration::from_secs(seconds.clamp(1, PAUSE_MAX_SECONDS).into()),
                detail: redacted(&detail),
            },
            Ok(Err(DeliveryError::Unknown(detail))) => Self::Unknown(redacted(&detail)),
            Err(stopped) => Self::Stopped(redacted(&stopped.to_string())),
        }
    }

    /// What it means for the message.
    pub(crate) fn verdict(self, idempotent: bool) -> Result<Acknowledged, SendError> {
        let refused = |reason, detail| Err(SendError::Refused { reason, detail });
        match self {
            Self::Acknowledged(acknowledged) => Ok(acknowledged),
            Self::InvalidRecipient(detail) => refused(DeliveryFailure::InvalidRecipient, detail),
            Self::Rejected(detail) => refused(DeliveryFailure::Rejected, detail),
            Self::Misconfigured(detail) => refused(DeliveryFailure::Misconfigured, detail),
            Self::Temporary { after, detail } => Err(SendError::Later { after, detail }),
            // One that takes a message once, however often it is sent, may be sent it again. With any other, somebody
            // could get two codes.
            Self::Unknown(detail) | Self::Stopped(detail) if idempotent => {
                Err(SendError::Later { after: AGAIN, detail })
            }
            Self::Unknown(detail) | Self::Stopped(detail) => Err(SendError::Unknown { detail }),
        }
    }
}

fn acknowledged(receipt: Receipt, redacted: impl Fn(&str) -> String) -> Acknowledged {
    // An id that holds the address or a secret is none.
    let plain = |id: &String| {
        (1..=PROVIDER_ID_MAX).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic()) && redacted(id) == *id
    };
    Acknowledged {
        provider_id: receipt.provider_id.filter(plain),
        reached: match receipt.progress {
            types::Progress::Sent => DeliveryStatus::Sent,
            types::Progress::Delivered => DeliveryStatus::Delivered,
        },
        cost: receipt.cost.and_then(cost),
    }
}

/// What it costs; none where what the plugin says is no amount.
fn cost(said: types::Cost) -> Option<Cost> {
    let whole = said.micros >= 0.0 && said.micros.fract() == 0.0 && said.micros <= f64::from(u32::MAX) * 1000.0;
    let micros = whole.then_some(said.micros as u64)?;
    Cost::new(micros, said.currency.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        delivered: Result<Result<Receipt, DeliveryError>, Stopped>,
        idempotent: bool,
        redacted: impl Fn(&str) -> String,
    ) -> Result<Acknowledged, SendError> {
        Said::of(delivered, redacted).verdict(idempotent)
    }

    fn same(text: &str) -> String {
        text.to_owned()
    }

    fn receipt(id: &str, micros: f64, currency: &str) -> Receipt {
        let cost = Some(types::Cost { micros, currency: currency.to_owned() });
        Receipt { provider_id: Some(id.to_owned()), progress: types::Progress::Sent, cost }
    }

    fn failed(error: DeliveryError, idempotent: bool) -> SendError {
        of(Ok(Err(error)), idempotent, same).unwrap_err()
    }

    #[test]
    fn what_may_have_got_out_is_tried_again_only_where_that_does_no_harm() {
        for stopped in [Stopped::Running, Stopped::Deadline, Stopped::Trap("x".to_owned())] {
            let again = of(Err(stopped.clone()), true, same);
            assert!(matches!(again, Err(SendError::Later { .. })), "{stopped}: {again:?}");
            let never = of(Err(stopped.clone()), false, same);
            assert!(matches!(never, Err(SendError::Unknown { .. })), "{stopped}: {never:?}");
        }
        let unknown = || DeliveryError::Unknown("x".to_owned());
        assert!(matches!(failed(unknown(), true), SendError::Later { .. }));
        assert!(matches!(failed(unknown(), false), SendError::Unknown { .. }));
    }

    #[test]
    fn a_pause_is_a_second_at_least_and_an_hour_at_most() {
        for (asked, given) in [(0, 1), (7, 7), (u32::MAX, 3600)] {
            let pause = types::Pause { detail: String::new(), seconds: asked };
            let SendError::Later { after, .. } = failed(DeliveryError::Temporary(pause), false) else { panic!() };
            assert_eq!(after.as_secs(), given);
        }
    }

    #[test]
    fn an_id_that_tells_what_it_may_not_is_none() {
        let id =
            |id: &str| of(Ok(Ok(receipt(id, 0.0, "EUR"))), false, |text| text.replace("555", "…")).unwrap().provider_id;
        assert_eq!(id("SM42").as_deref(), Some("SM42"));
        for none in ["", "a b", "+1555", "a\nb", &"x".repeat(129)] {
            assert_eq!(id(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_cost_that_is_no_amount_is_none() {
        let cost = |micros, currency| of(Ok(Ok(receipt("a", micros, currency))), false, same).unwrap().cost;
        assert_eq!(cost(45_000.0, "EUR").map(Cost::micros), Some(45_000));
        for (micros, currency) in [(f64::NAN, "EUR"), (-1.0, "EUR"), (0.5, "EUR"), (1e300, "EUR"), (1.0, "euro")] {
            assert_eq!(cost(micros, currency), None, "{micros} {currency}");
        }
    }
}
