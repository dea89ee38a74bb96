//! Linking a phone: by QR, which follow one another, or by a code that a person types.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::time::timeout;
use whatsapp_rust::pair_code::PairCodeOptions;
use wotp_core::domain::Timestamp;
use wotp_core::domain::phone::Phone;

use super::{Core, Session, StartError, lock};
use crate::status::{Shown, Status};

/// How long a code is waited for, the connection to ask over included.
const CODE_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

/// There is no code to show.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The session cannot begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A phone is linked already.
    #[error("a phone is linked already")]
    Linked,
    /// WhatsApp cannot be reached.
    #[error("WhatsApp does not answer")]
    NoAnswer,
    /// WhatsApp gives no code for this number, or not so soon again.
    #[error("WhatsApp gives no code")]
    Refused {
        /// When to ask again, if WhatsApp says.
        after: Option<SignedDuration>,
    },
}

impl Core {
    /// Begins to show, or goes on until the time that was set.
    pub(super) fn show_pairing(&self) {
        let now = self.now();
        let lasts = SignedDuration::try_from(self.parts.settings.patience.pairing).unwrap_or(SignedDuration::MAX);
        self.status.send_modify(|status| {
            let ends_at = match status {
                Status::Pairing { ends_at, .. } => *ends_at,
                _ => now.saturating_add(lasts).unwrap_or(Timestamp::MAX),
            };
            *status = Status::Pairing { qr: None, code: None, ends_at };
        });
    }

    /// Changes what is shown, while it is.
    pub(super) fn shown(&self, change: impl FnOnce(&mut Option<Shown>, &mut Option<Shown>)) {
        self.status.send_if_modified(|status| match status {
            Status::Pairing { qr, code, .. } => {
                let before = (qr.clone(), code.clone());
                change(qr, code);
                before != (qr.clone(), code.clone())
            }
            _ => false,
        });
    }

    /// Asks for a code that a person types on the phone of `number`.
    pub(super) async fn ask_for_code(self: &Arc<Self>, number: String) -> Result<(), PairError> {
        let mut watch = self.status.subscribe();
        let ready = watch.wait_for(|status| match status {
            // WhatsApp is ready to link once it gave something to scan.
            Status::Pairing { qr, .. } => qr.is_some(),
            _ => true,
        });
        let ready = timeout(CODE_WITHIN, ready).await.map_err(|_| PairError::NoAnswer)?;
        let pairing = ready.is_ok_and(|status| matches!(*status, Status::Pairing { .. }));
        let live = self.live().filter(|_| pairing).ok_or(PairError::Linked)?;
        *lock(&self.code_for) = Some(number.clone());
        // Another code would link nobody any more, and hold up this one.
        live.client.cancel_pair_code().await;
        let asked = PairCodeOptions { phone_number: number, ..Default::default() };
        match timeout(CODE_WITHIN, live.client.pair_with_code(asked)).await {
            Err(_) => Err(PairError::NoAnswer),
            // It is shown by the event that tells of it.
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let after = error.backoff().and_then(|wait| SignedDuration::try_from(wait).ok());
                match error.rejection() {
                    Some(_) => Err(PairError::Refused { after }),
                    None => Err(PairError::NoAnswer),
                }
            }
        }
    }
}

impl Session {
    /// Shows a code for the person of `phone` to type on it, beside the QR. It is renewed as long as pairing lasts.
    ///
    /// # Errors
    /// [`PairError`].
    pub async fn show_code(&self, phone: &Phone) -> Result<(), PairError> {
        self.start().await?;
        self.core.ask_for_code(digits(phone.e164()).to_owned()).await
    }
}

/// A number as WhatsApp has it.
pub(crate) fn digits(e164: &str) -> &str {
    e164.trim_start_matches('+')
}
