//! What was sent lately, and who waits for it to be acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus, Receipt};
use wotp_core::domain::id::DeliveryId;
use wotp_core::ports::Reference;

use crate::listen::Reported;

/// Most messages of a session that receipts are known again for; the oldest are forgotten.
const KNOWN_MAX: usize = 4096;

/// The id that a message has at WhatsApp: the same for every retry of a delivery, so that whoever gets it twice sees it
/// once. It looks like those that WhatsApp Web makes, and tells nothing.
pub(crate) fn message_id(delivery: DeliveryId) -> String {
    let hash = Sha256::new_with_prefix(b"wotp whatsapp message\0").chain_update(delivery.to_bytes()).finalize();
    hash[..9].iter().fold(String::from("3EB0"), |id, byte| id + &format!("{byte:02X}"))
}

/// What was heard of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It got out: this far.
    Reached(DeliveryStatus),
    /// The server refused it, with this code.
    Refused(u16),
}

impl Answer {
    fn receipt(self) -> Receipt {
        match self {
            Self::Reached(DeliveryStatus::Delivered) => Receipt::Delivered,
            Self::Reached(DeliveryStatus::Read) => Receipt::Read,
            Self::Reached(_) => Receipt::Sent,
            Self::Refused(_) => Receipt::Failed(DeliveryFailure::Rejected),
        }
    }
}

struct Known {
    reference: Reference,
    /// Who waits for the first answer: more than one when the same delivery is sent twice at once.
    waiting: Vec<oneshot::Sender<Answer>>,
    answered: bool,
}

#[derive(Default)]
struct Table {
    known: HashMap<String, Known>,
    order: VecDeque<String>,
}

impl Table {
    fn know(&mut self, id: &str, reference: Reference) -> &mut Known {
        if !self.known.contains_key(id) {
            self.order.push_back(id.to_owned());
            if self.order.len() > KNOWN_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        let new = || Known { reference, waiting: Vec::new(), answered: true };
        self.known.entry(id.to_owned()).or_insert_with(new)
    }
}

/// The messages of one session.
pub(crate) struct Sent {
    table: Mutex<Table>,
    reports: mpsc::Sender<Reported>,
}

impl Sent {
    /// What nobody waits for goes to `reports`, as far as it has room.
    pub(crate) fn new(reports: mpsc::Sender<Reported>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), reports })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to a message that is about to be handed over.
    pub(crate) fn expect(self: &Arc<Self>, id: &str, reference: Reference) -> Waiting {
        let (answer, answered) = oneshot::channel();
        let mut table = self.lock();
        let known = table.know(id, reference);
        known.waiting.retain(|waiting| !waiting.is_closed());
        known.waiting.push(answer);
        known.answered = false;
        Waiting { sent: Arc::clone(self), reference, answered }
    }

    /// Another process has sent a message, which was acknowledged.
    pub(crate) fn was_sent(&self, id: &str, reference: Reference) {
        self.lock().know(id, reference);
    }

    /// Whether a message is known to be one of ours.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.lock().known.contains_key(id)
    }

    /// Something was heard of a message. Whether it is one of ours, and this its first answer.
    pub(crate) fn heard(&self, id: &str, answer: Answer) -> bool {
        let mut table = self.lock();
        let Some(known) = table.known.get_mut(id) else { return false };
        let first = !std::mem::replace(&mut known.answered, true);
        let mut taken = false;
        for waiting in std::mem::take(&mut known.waiting) {
            taken |= waiting.send(answer).is_ok();
        }
        // An acknowledgement after a receipt tells nothing new.
        if !taken && (first || matches!(answer, Answer::Reached(reached) if reached != DeliveryStatus::Sent)) {
            self.report(known.reference, answer);
        }
        first
    }

    fn report(&self, reference: Reference, answer: Answer) {
        // Or the session has ended, and nobody listens any more.
        if let Err(TrySendError::Full(_)) = self.reports.try_send(Reported { reference, receipt: answer.receipt() }) {
            tracing::warn!("what became of a WhatsApp message is lost: receipts are taken too slowly");
        }
    }
}

/// Waits for the answer to one message. Dropped before, the answer is reported.
pub(crate) struct Waiting {
    sent: Arc<Sent>,
    reference: Reference,
    answered: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// The answer, however long it takes; none when so much was sent meanwhile that it would not be known again.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        (&mut self.answered).await.ok()
    }
}

impl Drop for Waiting {
    /// An answer that came at the very moment in which nobody waited any more is not lost.
    fn drop(&mut self) {
        self.answered.close();
        if let Ok(answer) = self.answered.try_recv() {
            self.sent.report(self.reference, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::domain::id::{TenantId, VerificationId};
    use wotp_core::ports::Item;

    use super::*;

    fn reference(n: u8) -> Reference {
        Reference {
            tenant: TenantId::from_bytes([1; 16]),
            item: Item::Verification(VerificationId::from_bytes([2; 16])),
            delivery: DeliveryId::from_bytes([n; 16]),
        }
    }

    fn sent() -> (Arc<Sent>, mpsc::Receiver<Reported>) {
        let (reports, reported) = mpsc::channel(8);
        (Sent::new(reports), reported)
    }

    const OUT: Answer = Answer::Reached(DeliveryStatus::Sent);

    #[test]
    fn an_id_is_the_deliverys_own_and_looks_like_those_of_whatsapp_web() {
        let id = message_id(DeliveryId::from_bytes([7; 16]));
        // By Python: "3EB0" + sha256(b"wotp whatsapp message\0" + b"\x07" * 16).hexdigest()[:18].upper()
        assert_eq!(id, "3EB0346C1560879903877D");
        assert_ne!(id, message_id(DeliveryId::from_bytes([8; 16])));
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_answer_and_nobody_else_is_told() {
        let (sent, mut reported) = sent();
        let (mut one, mut other) = (sent.expect("A", reference(1)), sent.expect("A", reference(1)));
        let mut another = sent.expect("B", reference(2));
        assert!(sent.heard("A", OUT));
        assert!(sent.heard("B", Answer::Refused(463)));
        assert_eq!((one.answer().await, other.answer().await), (Some(OUT), Some(OUT)));
        assert_eq!(another.answer().await, Some(Answer::Refused(463)));
        assert!(!sent.heard("C", OUT), "it is not ours");
        assert!(reported.try_recv().is_err());
        assert!(!sent.heard("A", Answer::Reached(DeliveryStatus::Delivered)));
        assert_eq!(reported.try_recv().unwrap(), Reported { reference: reference(1), receipt: Receipt::Delivered });
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_any_more_is_reported_once() {
        let (sent, mut reported) = sent();
        drop(sent.expect("A", reference(1)));
        assert!(sent.heard("A", OUT));
        sent.heard("A", OUT);
        assert_eq!(reported.try_recv().unwrap(), Reported { reference: reference(1), receipt: Receipt::Sent });
        assert!(reported.try_recv().is_err());
        drop(sent.expect("B", reference(2)));
        sent.heard("B", Answer::Refused(475));
        let refused = Receipt::Failed(DeliveryFailure::Rejected);
        assert_eq!(reported.try_recv().unwrap(), Reported { reference: reference(2), receipt: refused });
    }

    #[test]
    fn an_answer_that_came_as_the_caller_gave_up_is_reported() {
        let (sent, mut reported) = sent();
        let waiting = sent.expect("A", reference(1));
        sent.heard("A", OUT);
        assert!(reported.try_recv().is_err(), "somebody waits");
        drop(waiting);
        assert_eq!(reported.try_recv().unwrap(), Reported { reference: reference(1), receipt: Receipt::Sent });
    }

    #[test]
    fn a_message_that_is_sent_again_is_waited_for_again() {
        let (sent, mut reported) = sent();
        drop(sent.expect("A", reference(1)));
        sent.heard("A", Answer::Refused(429));
        reported.try_recv().unwrap();
        drop(sent.expect("A", reference(1)));
        assert!(sent.heard("A", OUT));
        assert_eq!(reported.try_recv().unwrap().receipt, Receipt::Sent);
    }

    #[tokio::test]
    async fn what_another_process_sent_is_reported_and_more_than_there_is_room_for_is_lost() {
        let (sent, mut reported) = sent();
        assert!(!sent.knows("A"));
        sent.was_sent("A", reference(1));
        assert!(sent.knows("A") && !sent.heard("A", OUT));
        assert!(reported.try_recv().is_err(), "that it got out was told");
        for _ in 0..9 {
            sent.heard("A", Answer::Reached(DeliveryStatus::Read));
        }
        for _ in 0..8 {
            assert_eq!(reported.try_recv().unwrap(), Reported { reference: reference(1), receipt: Receipt::Read });
        }
        assert!(reported.try_recv().is_err());
    }

    #[tokio::test]
    async fn so_many_are_known_and_the_oldest_are_forgotten() {
        let (sent, _reported) = sent();
        let mut oldest = sent.expect("0", reference(0));
        for n in 1..=KNOWN_MAX {
            drop(sent.expect(&n.to_string(), reference(1)));
        }
        assert_eq!(oldest.answer().await, None);
        assert!(!sent.heard("0", OUT) && sent.heard("1", OUT));
        assert_eq!(sent.lock().known.len(), KNOWN_MAX);
    }
}
