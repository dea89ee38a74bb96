//! Linking a phone: by QR, which follow one another, or by a code that a person types.

use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use tokio::sync::watch;
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
    /// Somebody has asked for another since.
    #[error("another code was asked for since")]
    Overtaken,
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

/// That a code was asked for.
#[derive(Clone)]
pub(crate) struct CodeAsked {
    /// For whose phone.
    number: String,
    /// Who asks later has a higher one.
    nth: u64,
}

/// For whose phone a code was asked for last: of any number of calls that is the one that gets one.
pub(super) struct Codes {
    asked: Mutex<Option<CodeAsked>>,
    newest: watch::Sender<u64>,
    /// Whoever has it asks WhatsApp.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { asked: Mutex::default(), newest: watch::Sender::new(0), turn: tokio::sync::Mutex::default() }
    }
}

impl Codes {
    /// A code is wanted for a number, or none any more: whoever asked before gets none.
    pub(super) fn ask(&self, number: Option<String>) -> Option<CodeAsked> {
        let mut asked = lock(&self.asked);
        let mut nth = 0;
        self.newest.send_modify(|newest| {
            *newest += 1;
            nth = *newest;
        });
        *asked = number.map(|number| CodeAsked { number, nth });
        asked.clone()
    }

    /// What was asked for last, if a code was.
    pub(super) fn asked(&self) -> Option<CodeAsked> {
        lock(&self.asked).clone()
    }

    /// Asks WhatsApp for the `nth`, unless somebody has asked for another, or does meanwhile: that one does not wait for it.
    async fn in_turn<T>(&self, nth: u64, ask: impl Future<Output = Result<T, PairError>>) -> Result<T, PairError> {
        let mut newest = self.newest.subscribe();
        let in_turn = async {
            let _turn = self.turn.lock().await;
            ask.await
        };
        tokio::select! {
            biased;
            _ = newest.wait_for(|newest| *newest != nth) => Err(PairError::Overtaken),
            asked = in_turn => asked,
        }
    }
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

    /// Asks for a code that a person types on the phone.
    pub(super) async fn ask_for_code(self: &Arc<Self>, asked: CodeAsked) -> Result<(), PairError> {
        let CodeAsked { number, nth } = asked;
        self.codes.in_turn(nth, self.ask_whatsapp_for_code(number)).await
    }

    async fn ask_whatsapp_for_code(&self, number: String) -> Result<(), PairError> {
        let mut watch = self.status.subscribe();
        let ready = watch.wait_for(|status| match status {
            // WhatsApp is ready to link once it gave something to scan.
            Status::Pairing { qr, .. } => qr.is_some(),
            _ => true,
        });
        let ready = timeout(CODE_WITHIN, ready).await.map_err(|_| PairError::NoAnswer)?;
        let pairing = ready.is_ok_and(|status| matches!(*status, Status::Pairing { .. }));
        let live = self.live().filter(|_| pairing).ok_or(PairError::Linked)?;
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
    /// Takes down that a code is wanted for the person of `phone` to type on it, beside the QR; or none any more, where
    /// somebody asks for a QR alone. Of many calls the last has a code.
    pub(crate) fn wants_code(&self, phone: Option<&Phone>) -> Option<CodeAsked> {
        self.core.codes.ask(phone.map(|phone| digits(phone.e164()).to_owned()))
    }

    /// Shows the code that was asked for.
    pub(crate) async fn show_asked(&self, asked: CodeAsked) -> Result<(), PairError> {
        self.start().await?;
        self.core.ask_for_code(asked).await
    }

    /// Shows a code for the person of `phone` to type on it, beside the QR. It is renewed as long as pairing lasts.
    ///
    /// # Errors
    /// [`PairError`].
    pub async fn show_code(&self, phone: &Phone) -> Result<(), PairError> {
        match self.wants_code(Some(phone)) {
            Some(asked) => self.show_asked(asked).await,
            None => Ok(()),
        }
    }
}

/// A number as WhatsApp has it.
pub(crate) fn digits(e164: &str) -> &str {
    e164.trim_start_matches('+')
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn of_two_calls_at_once_the_later_has_the_code_whoever_comes_to_ask_first() {
        let codes = Arc::new(Codes::default());
        let first = codes.ask(Some("1".to_owned())).unwrap();
        // It asks, and WhatsApp takes its time.
        let (asking, asked) = tokio::sync::oneshot::channel();
        let waits = tokio::spawn({
            let (codes, nth) = (Arc::clone(&codes), first.nth);
            async move {
                let ask = async {
                    asking.send(()).unwrap();
                    pending::<Result<(), PairError>>().await
                };
                codes.in_turn(nth, ask).await
            }
        });
        asked.await.unwrap();
        let second = codes.ask(Some("2".to_owned())).unwrap();
        assert!(matches!(codes.in_turn(second.nth, ready(Ok(2))).await, Ok(2)));
        assert!(matches!(waits.await.unwrap(), Err(PairError::Overtaken)));
        // And where it comes later.
        assert!(matches!(codes.in_turn(first.nth, ready(Ok(1))).await, Err(PairError::Overtaken)));
        assert_eq!(codes.asked().unwrap().number, "2");
    }

    #[tokio::test]
    async fn whoever_asks_for_a_qr_alone_after_that_has_no_code_renewed() {
        let codes = Codes::default();
        let asked = codes.ask(Some("1".to_owned())).unwrap();
        assert!(codes.ask(None).is_none());
        assert!(codes.asked().is_none());
        assert!(matches!(codes.in_turn(asked.nth, ready(Ok(()))).await, Err(PairError::Overtaken)));
    }
}
