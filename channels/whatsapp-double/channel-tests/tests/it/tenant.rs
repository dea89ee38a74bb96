//! A tenant with a session, as tests use it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use wacore::store::InMemoryBackend;
use wacore::store::traits::Backend;
use wotp_channel_whatsapp::{
    Allowance, Entrance, Incoming, Kept, Keys, KeysError, Letter, Listen, NotTaken, Notes, Parts, Reported, Right,
    Session, SessionId, Settings, Status,
};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::{ConnectionId, DeliveryId, TenantId, VerificationId};
use wotp_core::domain::phone::Phone;
use wotp_core::ports::{Acknowledged, Clock, Item, Reference, SendError};
use wotp_core::testing::SeededEntropy;
use wotp_whatsapp_double::Double;

/// The tenant's number.
pub const TENANT: &str = "12025550100";
/// Somebody who gets messages.
pub const ANNA: &str = "+447700900123";
/// Somebody else.
pub const BERT: &str = "+447700900456";

/// Bounds what a test waits for: the client waits between its own tries, 1 s at first and some more each time.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// The time of the machine, from a fixed moment on: what the double says is in the machine's time as well.
pub struct RealTime(tokio::time::Instant, Timestamp);

impl RealTime {
    pub fn new() -> Arc<Self> {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        Arc::new(Self(tokio::time::Instant::now(), Timestamp::from_second(now.as_secs().try_into().unwrap()).unwrap()))
    }
}

impl Clock for RealTime {
    fn now(&self) -> Timestamp {
        self.1 + self.0.elapsed()
    }
}

/// Keeps in memory what sessions keep, across their restarts.
#[derive(Default)]
pub struct Memory {
    kept: Mutex<HashMap<SessionId, Kept>>,
    pub out_of_reach: AtomicBool,
}

#[derive(Default)]
struct Notebook(Mutex<HashMap<String, Vec<u8>>>);

#[async_trait]
impl Notes for Notebook {
    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, KeysError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn write(&self, name: &str, value: &[u8]) -> Result<(), KeysError> {
        self.0.lock().unwrap().insert(name.to_owned(), value.to_vec());
        Ok(())
    }
}

impl Memory {
    /// Whether anything is kept of a session.
    pub fn has(&self, session: SessionId) -> bool {
        self.kept.lock().unwrap().contains_key(&session)
    }

    fn reach(&self) -> Result<(), KeysError> {
        match self.out_of_reach.load(Ordering::SeqCst) {
            true => Err(KeysError("a test took it away".into())),
            false => Ok(()),
        }
    }
}

/// Gives a linked account its name, as WhatsApp's settings do, which the double does not have: a client that is started
/// again on an account without one waits 10 s for it.
async fn name(backend: &dyn Backend) {
    if let Some(mut device) = backend.load().await.unwrap()
        && device.pn.is_some()
        && device.push_name.is_empty()
    {
        device.push_name = "Acme".to_owned();
        backend.save(&device).await.unwrap();
    }
}

#[async_trait]
impl Keys for Memory {
    async fn open(&self, session: SessionId, _: u64) -> Result<Kept, KeysError> {
        self.reach()?;
        let new = || Kept {
            backend: Arc::new(InMemoryBackend::new()) as Arc<dyn Backend>,
            notes: Arc::new(Notebook::default()),
        };
        let kept = self.kept.lock().unwrap().entry(session).or_insert_with(new).clone();
        name(&*kept.backend).await;
        Ok(kept)
    }

    async fn erase(&self, session: SessionId, _: u64) -> Result<(), KeysError> {
        self.reach()?;
        self.kept.lock().unwrap().remove(&session);
        Ok(())
    }
}

/// Everything that sessions told.
pub struct Told {
    pub reported: watch::Sender<Vec<(SessionId, Reported)>>,
    pub incoming: watch::Sender<Vec<(SessionId, Incoming)>>,
    pub refuses: AtomicBool,
}

impl Told {
    fn new() -> Arc<Self> {
        let (reported, incoming) = (watch::Sender::new(Vec::new()), watch::Sender::new(Vec::new()));
        Arc::new(Self { reported, incoming, refuses: AtomicBool::new(false) })
    }

    /// What was reported of a delivery, once it is this much.
    pub async fn of(&self, reference: Reference, count: usize) -> Vec<Reported> {
        let mut told = self.reported.subscribe();
        let of = |all: &Vec<(SessionId, Reported)>| {
            all.iter().filter(|(_, told)| told.reference == reference).map(|(_, told)| *told).collect::<Vec<_>>()
        };
        let wait = told.wait_for(|all| of(all).len() >= count);
        let all = within("a report", wait).await.unwrap();
        of(&all)
    }

    pub async fn message(&self, nth: usize) -> Incoming {
        let mut told = self.incoming.subscribe();
        let all = within("a message", told.wait_for(|all| all.len() > nth)).await.unwrap();
        all[nth].1.clone()
    }
}

#[async_trait]
impl Listen for Told {
    async fn reported(&self, session: SessionId, reported: Reported) {
        self.reported.send_modify(|all| all.push((session, reported)));
    }

    async fn incoming(&self, session: SessionId, incoming: &Incoming) -> Result<(), NotTaken> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(NotTaken);
        }
        self.incoming.send_modify(|all| all.push((session, incoming.clone())));
        Ok(())
    }
}

/// What runs sessions, as a process has it.
#[derive(Clone)]
pub struct Process {
    pub double: Double,
    pub parts: Parts,
    pub memory: Arc<Memory>,
    pub told: Arc<Told>,
    pub clock: Arc<RealTime>,
}

/// Sessions of tests: nothing holds them back but WhatsApp, and they wait for less.
pub fn settings(double: &Double) -> Settings {
    let mut settings = Settings::new((2, 3000, 1_026_131_876), "Codes");
    settings.url = double.url();
    settings.allowance = Allowance::flat(10_000, 10_000, 10_000);
    settings.entrance = Entrance { at_once: 16, apart: Duration::from_millis(1) };
    settings
}

impl Process {
    pub async fn new() -> Self {
        let double = Double::start().await.unwrap();
        let settings = settings(&double);
        Self::with(double, settings)
    }

    pub fn with(double: Double, settings: Settings) -> Self {
        Self::over(double, settings, Arc::new(Memory::default()))
    }

    /// Another process over what one kept.
    pub fn over(double: Double, settings: Settings, memory: Arc<Memory>) -> Self {
        let (clock, told) = (RealTime::new(), Told::new());
        let parts = Parts::new(settings, clock.clone(), Arc::new(SeededEntropy::new(7)), memory.clone(), told.clone());
        Self { double, parts, memory, told, clock }
    }

    /// A session that has not begun.
    pub fn session(&self, nth: u8) -> Session {
        Session::new(id(nth), &self.parts, Right::unlimited(self.clock.clone()))
    }

    /// One that is linked to the tenant's number.
    pub async fn linked(&self) -> Session {
        let session = self.session(1);
        self.link(&session, TENANT).await;
        session
    }

    pub async fn link(&self, session: &Session, number: &str) {
        session.start().await.unwrap();
        let qr = qr(session).await;
        within("the pairing", self.double.scan(number, &qr)).await.unwrap();
        connected(session).await;
    }
}

/// The `nth` session of tests.
pub fn id(nth: u8) -> SessionId {
    SessionId { tenant: TenantId::from_bytes([1; 16]), connection: ConnectionId::from_bytes([nth; 16]) }
}

/// Names the `nth` delivery.
pub fn reference(nth: u8) -> Reference {
    Reference {
        tenant: TenantId::from_bytes([1; 16]),
        item: Item::Verification(VerificationId::from_bytes([nth; 16])),
        delivery: DeliveryId::from_bytes([nth; 16]),
    }
}

/// Waits until a session stands somewhere.
pub async fn until<T>(session: &Session, what: &str, mut wanted: impl FnMut(&Status) -> Option<T>) -> T {
    let mut watch = session.watch();
    let mut found = None;
    let wait = watch.wait_for(|status| {
        found = wanted(status);
        found.is_some()
    });
    if tokio::time::timeout(Duration::from_secs(90), wait).await.is_err() {
        panic!("waited in vain: {what}; the session is {:?}", session.status());
    }
    found.unwrap()
}

pub async fn connected(session: &Session) {
    until(session, "the session connects", |status| status.is_connected().then_some(())).await;
}

pub async fn qr(session: &Session) -> String {
    until(session, "a QR", |status| match status {
        Status::Pairing { qr: Some(qr), .. } => Some(qr.text.clone()),
        _ => None,
    })
    .await
}

/// Sends the `nth` delivery.
pub async fn send(session: &Session, nth: u8, to: &str, text: &str) -> Result<Acknowledged, SendError> {
    let to = Phone::parse(to).unwrap();
    within("sending", session.send(Letter { reference: reference(nth), to: &to, text })).await
}
