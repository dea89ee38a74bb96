//! A channel and a timer that do what a test says.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::{Notify, oneshot};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::asking::Again;
use wotp_core::domain::cost::Cost;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus, Receipt};
use wotp_core::ports::{
    Acknowledged, Ask, Channel, Clock as _, Hear, HearError, Heard, Hearing, News, Outgoing, Question, Revoke,
    SendError, Standing, Timer,
};
use wotp_core::testing::ManualClock;

/// What the channel does with one call.
pub enum Answer {
    Reaches(DeliveryStatus),
    /// Sends, and says what its provider calls that.
    Names(&'static str),
    /// Sends, and says what that costs.
    Charges(DeliveryStatus, Cost),
    Refuses(DeliveryFailure),
    AsksToWait(SignedDuration),
    /// The connection broke after the message was handed over.
    Breaks,
    /// Says nothing until the timer has run out.
    StaysSilent,
    /// Says nothing until the test does.
    Waits(oneshot::Receiver<Answer>),
}

/// What the channel does when it is asked how a delivery fares.
pub enum Told {
    Says(Standing),
    /// Says nothing until the timer has run out.
    StaysSilent,
    /// Says nothing, whatever the timer does: whoever asked dies first.
    Hangs,
}

/// One call as the channel saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub message_id: String,
    pub reference: String,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub code: String,
    pub locale: String,
    pub brand: String,
}

/// A channel that keeps what it is given.
pub struct Outbox {
    name: &'static str,
    reaches: &'static [AddressKind],
    timer: Arc<ManualTimer>,
    answers: Mutex<VecDeque<Answer>>,
    letters: Mutex<Vec<Letter>>,
    /// What its provider says when it is asked; none while it cannot be asked.
    told: Mutex<Option<VecDeque<Told>>>,
    questions: Mutex<Vec<Question>>,
    /// What comes of it when its provider is to take something back; none while it cannot.
    taken_back: Mutex<Option<VecDeque<Option<Again>>>>,
    recalls: Mutex<Vec<Question>>,
    arrived: Notify,
}

/// A call that waits for the test.
pub struct Held(oneshot::Sender<Answer>);

impl Held {
    pub fn answer(self, answer: Answer) {
        // A worker that crashed meanwhile does not want to know.
        let _ = self.0.send(answer);
    }
}

impl Outbox {
    pub fn new(name: &'static str, reaches: &'static [AddressKind], timer: Arc<ManualTimer>) -> Self {
        let (answers, letters) = (Mutex::default(), Mutex::default());
        let (told, questions) = (Mutex::default(), Mutex::default());
        let (taken_back, recalls) = (Mutex::default(), Mutex::default());
        let arrived = Notify::new();
        Self { name, reaches, timer, answers, letters, told, questions, taken_back, recalls, arrived }
    }

    /// From now on its provider takes back what was sent, and this comes of it, one after the other, and then all is well.
    /// None of those: whoever asks dies first.
    pub fn can_take_back(&self, comes: impl IntoIterator<Item = Option<Again>>) {
        *self.taken_back.lock().unwrap() = Some(comes.into_iter().collect());
    }

    /// All that its provider was to take back, oldest first.
    pub fn recalls(&self) -> Vec<Question> {
        self.recalls.lock().unwrap().clone()
    }

    /// Returns once its provider was to take something back so often in all.
    pub async fn recalled(&self, count: usize) {
        self.until(|| self.recalls.lock().unwrap().len() >= count).await;
    }

    /// From now on its provider can be asked, and says this one after the other, and then nothing new.
    pub fn can_be_asked(&self, told: impl IntoIterator<Item = Told>) {
        *self.told.lock().unwrap() = Some(told.into_iter().collect());
    }

    /// From now on its provider cannot be asked.
    pub fn cannot_be_asked(&self) {
        *self.told.lock().unwrap() = None;
    }

    /// All that its provider was asked, oldest first.
    pub fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }

    /// Returns once its provider was asked so often in all.
    pub async fn asked(&self, count: usize) {
        self.until(|| self.questions.lock().unwrap().len() >= count).await;
    }

    /// What it does with the next call that nothing was said about; otherwise it sends.
    pub fn next(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    pub fn refuses_next(&self, reason: DeliveryFailure) {
        self.next(Answer::Refuses(reason));
    }

    pub fn holds_next(&self) -> Held {
        let (sender, receiver) = oneshot::channel();
        self.next(Answer::Waits(receiver));
        Held(sender)
    }

    /// Every call, oldest first.
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }

    pub fn last(&self) -> Letter {
        self.letters().pop().expect("the channel was called")
    }

    /// Returns once it was called `count` times in all.
    pub async fn called(&self, count: usize) {
        self.until(|| self.letters.lock().unwrap().len() >= count).await;
    }

    async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if done() {
                return;
            }
            arrived.await;
        }
    }
}

#[async_trait]
impl Channel for Outbox {
    fn name(&self) -> &str {
        self.name
    }

    fn reaches(&self) -> &[AddressKind] {
        self.reaches
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        self.letters.lock().unwrap().push(Letter {
            message_id: outgoing.message_id.to_string(),
            reference: outgoing.reference().to_string(),
            to: outgoing.to.as_str().to_owned(),
            subject: outgoing.subject.clone(),
            text: outgoing.text.clone(),
            code: outgoing.code.as_ref().map(|code| code.as_str().to_owned()).unwrap_or_default(),
            locale: outgoing.locale.to_string(),
            brand: outgoing.brand.clone(),
        });
        self.arrived.notify_waiters();
        let next = self.answers.lock().unwrap().pop_front();
        let mut answer = next.unwrap_or(Answer::Reaches(DeliveryStatus::Sent));
        let detail = "as the test says".to_owned();
        loop {
            answer = match answer {
                Answer::Reaches(reached) => return Ok(Acknowledged { provider_id: None, reached, cost: None }),
                Answer::Names(name) => {
                    let reached = DeliveryStatus::Sent;
                    return Ok(Acknowledged { provider_id: Some(name.to_owned()), reached, cost: None });
                }
                Answer::Charges(reached, cost) => {
                    return Ok(Acknowledged { provider_id: None, reached, cost: Some(cost) });
                }
                Answer::Refuses(reason) => return Err(SendError::Refused { reason, detail }),
                Answer::AsksToWait(after) => return Err(SendError::Later { after, detail }),
                Answer::Breaks => return Err(SendError::Unknown { detail }),
                Answer::StaysSilent => {
                    self.timer.run_out();
                    std::future::pending().await
                }
                Answer::Waits(answer) => answer.await.expect("the test answers the call that it holds"),
            };
        }
    }

    fn ears(&self) -> Option<&dyn Hear> {
        Some(self)
    }

    fn asks(&self) -> Option<&dyn Ask> {
        let asks = self.told.lock().unwrap().is_some();
        asks.then_some(self as &dyn Ask)
    }

    fn revokes(&self) -> Option<&dyn Revoke> {
        let revokes = self.taken_back.lock().unwrap().is_some();
        revokes.then_some(self as &dyn Revoke)
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Ask for Outbox {
    async fn ask(&self, question: &Question) -> Standing {
        self.questions.lock().unwrap().push(question.clone());
        self.arrived.notify_waiters();
        let told = self.told.lock().unwrap().as_mut().and_then(VecDeque::pop_front);
        match told {
            Some(Told::Says(standing)) => return standing,
            None => return Standing { receipt: None, again: Again::AsPlanned },
            Some(Told::StaysSilent) => self.timer.run_out(),
            Some(Told::Hangs) => {}
        }
        std::future::pending().await
    }
}

#[async_trait]
impl Revoke for Outbox {
    async fn revoke(&self, sent: &Question) -> Again {
        self.recalls.lock().unwrap().push(sent.clone());
        self.arrived.notify_waiters();
        let comes = self.taken_back.lock().unwrap().as_mut().and_then(VecDeque::pop_front);
        match comes {
            Some(Some(again)) => again,
            Some(None) => std::future::pending().await,
            None => Again::Never,
        }
    }
}

/// Its provider tells `REFERENCE:delivered` and the like, one a line; what is said out loud is not the provider's.
#[async_trait]
impl Hear for Outbox {
    async fn hear(&self, heard: Heard) -> Result<Hearing, HearError> {
        if heard.headers.iter().any(|(name, _)| name == "x-forged") {
            return Err(HearError::NotAuthentic);
        }
        let body = String::from_utf8(heard.body).map_err(|_| HearError::Unreadable)?;
        let news = |line: &str| {
            let (reference, word) = line.split_once(':')?;
            let receipt = match word {
                "delivered" => Receipt::Delivered,
                "read" => Receipt::Read,
                _ => Receipt::Failed(DeliveryFailure::Rejected),
            };
            Some(News { reference: reference.to_owned(), receipt })
        };
        body.lines().map(news).collect::<Option<Vec<_>>>().map(Hearing::from).ok_or(HearError::Unreadable)
    }
}

/// A timer that runs out when a test says so, and moves the clock as far as the wait was long.
pub struct ManualTimer {
    clock: Arc<ManualClock>,
    over: Notify,
}

impl ManualTimer {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock, over: Notify::new() }
    }

    /// Ends the wait under way, or the next one.
    pub fn run_out(&self) {
        self.over.notify_one();
    }
}

#[async_trait]
impl Timer for ManualTimer {
    async fn within<'a>(&self, limit: SignedDuration, work: Pin<Box<dyn Future<Output = ()> + Send + 'a>>) -> bool {
        tokio::select! {
            biased;
            () = work => true,
            () = self.over.notified() => {
                self.clock.advance(limit);
                false
            }
        }
    }

    /// Until the test has moved the clock so far.
    async fn sleep(&self, duration: SignedDuration) {
        let end = self.clock.now().saturating_add(duration).expect("a test stays within the calendar");
        self.clock.reaches(end).await;
    }
}
