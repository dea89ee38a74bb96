//! For whose phone a code is wanted, and when WhatsApp is asked for another.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wacore::pair_code::PairCodeUtils;
use whatsapp_rust::client::RawNodeLease;
use whatsapp_rust::wacore_binary::OwnedNodeRef;

use super::lock;
use super::pairing::PairError;

/// Least time between two codes that WhatsApp is asked for without a person who asks: as long as persons wait.
const APART: Duration = Duration::from_secs(30);
/// Whoever asks has a code by then, or none.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// What the client takes to give up a phone that does not go on, beyond the time that it gives it.
const SLACK: Duration = Duration::from_secs(2);

/// That a code was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeAsked {
    /// For whose phone.
    pub(super) number: String,
    /// Who asks later has a higher one.
    pub(super) nth: u64,
}

/// For whose phone a code was asked for last: of any number of calls that is the one that gets one.
pub(super) struct Codes {
    wanted: Mutex<Wanted>,
    newest: watch::Sender<u64>,
    /// Told when something else may come next.
    changed: Notify,
    /// Whoever has it asks WhatsApp.
    turn: tokio::sync::Mutex<()>,
}

/// What is wanted, and what is known of what is shown for it.
#[derive(Default)]
struct Wanted {
    asked: Option<CodeAsked>,
    /// When the next code is asked for, where none is shown; none where a person has to ask.
    again_at: Option<Instant>,
    /// For whose phone WhatsApp was asked last.
    number: Option<String>,
    /// Of which client the code was typed, and until when it may be linked by that.
    typed: Option<(u64, Instant)>,
    /// The client that has no QR any more, and stays connected for the code that it showed.
    spent: Option<u64>,
    /// While it is there, the client tells of all that WhatsApp says to it.
    hears: Option<RawNodeLease>,
}

/// What comes next while something is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, before something else happens.
    Wait,
    /// To look again.
    At(Instant),
    /// The code that is shown is of no use any more.
    Hide,
    /// WhatsApp is to be asked for a code.
    Ask(CodeAsked),
    /// The client has nothing to show any more.
    BeginAnew,
}

impl Wanted {
    /// What comes next for a client. `qr` says whether it shows one, and `code` for how long the one that it shows is of use.
    fn next(&self, life: u64, qr: bool, code: Option<Duration>, now: Instant) -> Next {
        let spent = !qr && self.spent == Some(life);
        match code {
            Some(Duration::ZERO) => return Next::Hide,
            // Somebody may be typing it, and another client could not be linked by it.
            Some(left) if self.asked.is_some() || !spent => return Next::At(now + left),
            _ => {}
        }
        let (due, next) = match (&self.asked, self.again_at) {
            // Without a QR the client is about to connect: WhatsApp is ready once there is one.
            (Some(asked), Some(at)) if qr || spent => (at, Next::Ask(asked.clone())),
            _ if spent => (now, Next::BeginAnew),
            _ => return Next::Wait,
        };
        let typed_until = self.typed.filter(|(of, _)| *of == life).map_or(now, |(_, until)| until);
        let at = due.max(typed_until);
        if at > now { Next::At(at) } else { next }
    }
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            wanted: Mutex::default(),
            newest: watch::Sender::new(0),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl Codes {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.wanted)
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted());
        self.changed.notify_one();
    }

    /// Waits until something else may come next, since the last time that this was waited for. By one who waits.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A code is wanted for a number, or none any more: whoever asked before gets none. Where one is, the caller asks.
    pub(super) fn ask(&self, number: Option<String>) -> Option<CodeAsked> {
        let mut asked = None;
        self.change(|wanted| {
            let mut nth = 0;
            self.newest.send_modify(|newest| {
                *newest += 1;
                nth = *newest;
            });
            wanted.asked = number.map(|number| CodeAsked { number, nth });
            wanted.again_at = Some(Instant::now() + ASKED_WITHIN);
            asked = wanted.asked.clone();
        });
        asked
    }

    /// A phone is linked: no code is wanted any more.
    pub(super) fn linked(&self) {
        self.ask(None);
        self.change(|wanted| *wanted = Wanted::default());
    }

    /// Asks WhatsApp for the `nth`, unless somebody has asked for another, or does meanwhile: that one does not wait for it.
    pub(super) async fn in_turn<T>(
        &self,
        nth: u64,
        ask: impl Future<Output = Result<T, PairError>>,
    ) -> Result<T, PairError> {
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

    /// WhatsApp is about to be asked for a code for a number, in its turn, by a client that tells what it hears until then.
    pub(super) fn asks(&self, number: &str, hears: RawNodeLease) {
        self.change(|wanted| {
            wanted.number = Some(number.to_owned());
            (wanted.typed, wanted.hears) = (None, Some(hears));
        });
    }

    /// What came of asking for the `nth`: when the next is asked for.
    pub(super) fn answered(&self, nth: u64, answer: &Result<(), PairError>) {
        let after = match answer {
            Err(PairError::Refused { after }) => after.and_then(|after| Duration::try_from(after).ok()),
            _ => Some(APART),
        };
        let again_at = after.map(|after| Instant::now() + after.max(APART));
        self.change(|wanted| {
            if wanted.asked.as_ref().is_some_and(|asked| asked.nth == nth) {
                wanted.again_at = again_at;
            }
        });
    }

    /// Whose phone the code is for that WhatsApp has just given.
    pub(super) fn number(&self) -> Option<String> {
        self.wanted().number.clone()
    }

    /// WhatsApp said something to a client: that somebody typed the code on the phone, if it is that.
    pub(super) fn heard(&self, life: u64, stanza: &OwnedNodeRef) {
        if is_typed(stanza) {
            let until = Instant::now() + PairCodeUtils::primary_hello_pair_success_timeout() + SLACK;
            self.change(|wanted| wanted.typed = Some((life, until)));
        }
    }

    /// The code that is shown links nobody any more: another is asked for at once, or not before a person asks.
    pub(super) fn is_over(&self, by_hand: bool) {
        self.change(|wanted| {
            wanted.typed = None;
            wanted.again_at = (!by_hand).then(Instant::now);
        });
    }

    /// Whether the code was typed that a client showed, and may link it yet.
    pub(super) fn is_typed(&self, life: u64) -> bool {
        self.wanted().typed.is_some_and(|(of, until)| of == life && Instant::now() < until)
    }

    /// Nothing comes any more of what was typed.
    pub(super) fn failed(&self) {
        self.change(|wanted| wanted.typed = None);
    }

    /// A client shows a QR.
    pub(super) fn has_qr(&self) {
        self.change(|wanted| wanted.spent = None);
    }

    /// A client has no QR any more, and stays connected for the code that it showed.
    pub(super) fn has_no_qr(&self, life: u64) {
        self.change(|wanted| wanted.spent = Some(life));
    }

    /// Whether that is so of a client; it is about to be begun anew then.
    pub(super) fn take_spent(&self, life: u64) -> bool {
        self.wanted().spent.take_if(|spent| *spent == life).is_some()
    }

    /// The connection is gone, and with it what was typed.
    pub(super) fn line_is_lost(&self) {
        self.change(|wanted| (wanted.spent, wanted.typed) = (None, None));
    }

    /// What comes next for a client that shows this.
    pub(super) fn next(&self, life: u64, qr: bool, code: Option<Duration>) -> Next {
        self.wanted().next(life, qr, code, Instant::now())
    }
}

/// Whether a stanza says that somebody typed a code on the phone: from then on the phone and the client link each other.
fn is_typed(stanza: &OwnedNodeRef) -> bool {
    let stanza = stanza.get();
    let stage = stanza.get_optional_child_by_tag(&["link_code_companion_reg"]);
    stanza.tag == "notification"
        && stage.and_then(|stage| stage.get_attr("stage")).is_some_and(|stage| stage == "primary_hello")
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use jiff::SignedDuration;

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
        assert_eq!(codes.wanted().asked.as_ref().unwrap().number, "2");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_for_a_qr_alone_after_that_has_no_code_renewed() {
        let codes = Codes::default();
        let asked = codes.ask(Some("1".to_owned())).unwrap();
        assert!(codes.ask(None).is_none());
        assert!(matches!(codes.in_turn(asked.nth, ready(Ok(()))).await, Err(PairError::Overtaken)));
        tokio::time::advance(ASKED_WITHIN).await;
        assert_eq!(codes.next(1, true, None), Next::Wait);
    }

    const LEFT: Option<Duration> = Some(Duration::from_secs(20));

    #[tokio::test(start_paused = true)]
    async fn a_code_is_asked_for_again_once_the_one_that_was_shown_is_over_and_a_qr_is_there() {
        let codes = Codes::default();
        let asked = codes.ask(Some("1".to_owned())).unwrap();
        assert_eq!(codes.next(1, true, None), Next::At(Instant::now() + ASKED_WITHIN), "whoever wants it asks");
        codes.answered(asked.nth, &Ok(()));
        assert_eq!(codes.next(1, true, LEFT), Next::At(Instant::now() + LEFT.unwrap()));
        assert_eq!(codes.next(1, true, Some(Duration::ZERO)), Next::Hide);
        // As where the connection broke, and came back.
        assert_eq!(codes.next(1, true, None), Next::At(Instant::now() + APART));
        tokio::time::advance(APART).await;
        assert_eq!(codes.next(1, false, None), Next::Wait, "it connects");
        assert_eq!(codes.next(1, true, None), Next::Ask(asked));
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_qrs_have_run_out_the_code_stays_and_the_client_begins_anew_after_it() {
        let codes = Codes::default();
        let asked = codes.ask(Some("1".to_owned())).unwrap();
        codes.answered(asked.nth, &Ok(()));
        tokio::time::advance(APART).await;
        codes.has_no_qr(1);
        assert_eq!(codes.next(1, false, LEFT), Next::At(Instant::now() + LEFT.unwrap()));
        assert_eq!(codes.next(1, false, None), Next::Ask(asked));
        assert_eq!(codes.next(2, false, None), Next::Wait, "another client has its own");
        // Nobody wants the code any more, but a QR.
        codes.ask(None);
        assert_eq!(codes.next(1, false, LEFT), Next::BeginAnew);
        assert!(codes.take_spent(1) && !codes.take_spent(1));
        assert_eq!(codes.next(1, false, LEFT), Next::At(Instant::now() + LEFT.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_phone_on_which_the_code_was_typed_is_not_cut_off() {
        let codes = Codes::default();
        let asked = codes.ask(Some("1".to_owned())).unwrap();
        codes.answered(asked.nth, &Ok(()));
        tokio::time::advance(APART).await;
        codes.has_no_qr(1);
        let until = Instant::now() + APART;
        codes.change(|wanted| wanted.typed = Some((1, until)));
        assert_eq!(codes.next(1, false, None), Next::At(until));
        codes.ask(None);
        assert_eq!(codes.next(1, false, None), Next::At(until), "nor for a QR");
        // It did not go on.
        codes.failed();
        assert_eq!(codes.next(1, false, None), Next::BeginAnew);
    }

    #[tokio::test(start_paused = true)]
    async fn what_whatsapp_refuses_is_asked_for_again_when_it_says_and_else_by_a_person() {
        let codes = Codes::default();
        let asked = codes.ask(Some("1".to_owned())).unwrap();
        let refused = |seconds| Err(PairError::Refused { after: Some(SignedDuration::from_secs(seconds)) });
        codes.answered(asked.nth, &refused(90));
        assert_eq!(codes.next(1, true, None), Next::At(Instant::now() + Duration::from_secs(90)));
        codes.answered(asked.nth, &refused(1));
        assert_eq!(codes.next(1, true, None), Next::At(Instant::now() + APART));
        codes.answered(asked.nth, &Err(PairError::Refused { after: None }));
        assert_eq!(codes.next(1, true, None), Next::Wait);
        codes.has_no_qr(1);
        assert_eq!(codes.next(1, false, None), Next::BeginAnew, "there is a QR to show");
        codes.has_qr();
        codes.is_over(true);
        assert_eq!(codes.next(1, true, None), Next::Wait);
        codes.is_over(false);
        assert_eq!(codes.next(1, true, None), Next::Ask(asked));
    }
}
