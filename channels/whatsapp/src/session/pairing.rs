//! Linking a phone: by QR, which follow one another, or by a code that a person types.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, sleep_until, timeout};
use whatsapp_rust::pair_code::PairCodeOptions;
use wotp_core::domain::Timestamp;
use wotp_core::domain::phone::Phone;

use super::codes::{CodeAsked, Next};
use super::todos::Todo;
use super::{Core, Session, StartError};
use crate::status::{Shown, ShownCode, Status};

/// How long a code is waited for, the connection to ask over included.
const CODE_WITHIN: Duration = Duration::from_secs(20);

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

impl Core {
    /// Begins to show, or goes on until the time that was set.
    pub(super) fn show_pairing(&self) {
        let whole = self.pairing_ends_at();
        self.status.send_modify(|status| {
            let ends_at = match status {
                Status::Pairing { ends_at, .. } => *ends_at,
                _ => whole,
            };
            *status = Status::Pairing { qr: None, code: None, ends_at };
        });
    }

    /// Somebody has just asked for what is shown, or is about to link a phone: it is shown for the whole time from now on.
    pub(super) fn pair_for_longer(&self) {
        let whole = self.pairing_ends_at();
        self.status.send_if_modified(|status| match status {
            Status::Pairing { ends_at, .. } => std::mem::replace(ends_at, whole) != whole,
            _ => false,
        });
    }

    /// When what is shown from now on ends.
    fn pairing_ends_at(&self) -> Timestamp {
        let lasts = SignedDuration::try_from(self.parts.settings.patience.pairing).unwrap_or(SignedDuration::MAX);
        self.now().saturating_add(lasts).unwrap_or(Timestamp::MAX)
    }

    /// Changes what is shown, while it is.
    pub(super) fn shown(&self, change: impl FnOnce(&mut Option<Shown>, &mut Option<ShownCode>)) {
        self.status.send_if_modified(|status| match status {
            Status::Pairing { qr, code, .. } => {
                let before = (qr.clone(), code.clone());
                change(qr, code);
                before != (qr.clone(), code.clone())
            }
            _ => false,
        });
    }

    /// What comes next of what links a phone, and for which client.
    fn next_to_show(&self, status: &Status) -> (u64, Next) {
        let life = self.life.load(Ordering::SeqCst);
        let Status::Pairing { qr, code, .. } = status else { return (life, Next::Wait) };
        let left =
            |code: &ShownCode| Duration::try_from(code.expires_at.duration_since(self.now())).unwrap_or_default();
        (life, self.codes.next(life, qr.is_some(), code.as_ref().map(left)))
    }

    /// Asks for a code that a person types on the phone.
    async fn ask_for_code(self: &Arc<Self>, asked: CodeAsked) -> Result<(), PairError> {
        let CodeAsked { number, nth } = asked;
        let answer = self.codes.in_turn(nth, self.ask_whatsapp_for_code(number)).await;
        self.codes.answered(nth, &answer);
        answer
    }

    async fn ask_whatsapp_for_code(&self, number: String) -> Result<(), PairError> {
        let life = self.life.load(Ordering::SeqCst);
        if self.codes.take_spent(life) {
            self.todo(Todo::BeginAnew { life });
        }
        let mut watch = self.status.subscribe();
        let ready = watch.wait_for(|status| match status {
            // WhatsApp is ready to link once it gave something to scan.
            Status::Pairing { qr, .. } => qr.is_some(),
            _ => true,
        });
        let ready = timeout(CODE_WITHIN, ready).await.map_err(|_| PairError::NoAnswer)?;
        let pairing = ready.is_ok_and(|status| matches!(*status, Status::Pairing { .. }));
        let live = self.live().filter(|_| pairing).ok_or(PairError::Linked)?;
        self.codes.asks(&number, live.client.acquire_raw_node_forwarding());
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

/// Shows codes for as long as one is wanted and something is shown: the next where one has expired, or was lost with the
/// connection. And another QR where the client has none any more.
pub(super) async fn go_on_showing(core: Arc<Core>) {
    let mut status = core.status.subscribe();
    loop {
        let (life, next) = core.next_to_show(&status.borrow_and_update());
        let look_at = match next {
            Next::Wait => None,
            Next::At(at) => Some(at),
            Next::Hide => {
                let now = core.now();
                core.shown(|_, code| _ = code.take_if(|code| code.expires_at <= now));
                continue;
            }
            Next::Ask(asked) => {
                if let Err(error) = core.ask_for_code(asked).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(connection = %core.id.connection, error, "a code to link a phone is not renewed");
                }
                continue;
            }
            Next::BeginAnew => {
                if core.codes.take_spent(life) {
                    core.todo(Todo::BeginAnew { life });
                }
                continue;
            }
        };
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = core.codes.changed() => {}
            () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {}
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
