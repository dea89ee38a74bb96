//! A tenant with a session, as tests use it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::sync::watch;
use wotp_channel_whatsapp::{
    Allowance, Entrance, Incoming, Leases, Letter, Listen, NotTaken, Parts, Reported, Session, SessionId, Sessions,
    Settings, Status, Tenure,
};
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::{ConnectionId, DeliveryId, TenantId, VerificationId};
use wotp_core::domain::live_connection::Standing;
use wotp_core::domain::phone::Phone;
use wotp_core::ports::{Acknowledged, Clock, Item, Reference, SendError, Store as _};
use wotp_core::testing::SeededEntropy;
use wotp_store::sqlite::SqliteStore;
use wotp_whatsapp_double::Double;

use crate::home::{Home, KeysIn, Reach, node};
use crate::wishes::{Kept, WishesIn};

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

/// The time of the machine, from a fixed moment on, since what the double says is in the machine's time as well; and as
/// much later as a test says.
pub struct RealTime {
    began: tokio::time::Instant,
    at: Timestamp,
    ahead_microseconds: AtomicI64,
}

impl RealTime {
    pub fn new() -> Arc<Self> {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        let at = Timestamp::from_second(now.as_secs().try_into().unwrap()).unwrap();
        Arc::new(Self { began: tokio::time::Instant::now(), at, ahead_microseconds: AtomicI64::new(0) })
    }

    /// Lets time pass at once.
    pub fn advance(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_micros()).unwrap();
        self.ahead_microseconds.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for RealTime {
    fn now(&self) -> Timestamp {
        self.at + self.began.elapsed() + SignedDuration::from_micros(self.ahead_microseconds.load(Ordering::SeqCst))
    }
}

/// Everything that sessions told.
pub struct Told {
    pub reported: watch::Sender<Vec<(SessionId, Reported)>>,
    pub incoming: watch::Sender<Vec<(SessionId, Incoming)>>,
    /// Where sessions stood, and under which fence.
    pub standings: watch::Sender<Vec<(SessionId, u64, Standing)>>,
    pub refuses: AtomicBool,
    /// What whoever writes is answered.
    pub answer: Mutex<Option<String>>,
}

impl Told {
    pub fn new() -> Arc<Self> {
        let (reported, incoming) = (watch::Sender::new(Vec::new()), watch::Sender::new(Vec::new()));
        let standings = watch::Sender::new(Vec::new());
        Arc::new(Self { reported, incoming, standings, refuses: AtomicBool::new(false), answer: Mutex::default() })
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

    async fn stands(&self, lease: &ConnectionLease, standing: &Standing) -> Result<(), NotTaken> {
        let session = SessionId { tenant: lease.of.tenant, connection: lease.of.connection };
        self.standings.send_modify(|all| all.push((session, lease.fence, standing.clone())));
        Ok(())
    }

    async fn incoming(&self, session: SessionId, incoming: &Incoming) -> Result<Option<String>, NotTaken> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(NotTaken);
        }
        self.incoming.send_modify(|all| all.push((session, incoming.clone())));
        Ok(self.answer.lock().unwrap().clone())
    }
}

/// What runs sessions, as a process has it.
#[derive(Clone)]
pub struct Process {
    pub double: Double,
    /// For sessions whose leases nobody prolongs.
    pub parts: Parts,
    pub home: Arc<Home>,
    pub reach: Arc<Reach>,
    pub told: Arc<Told>,
    pub clock: Arc<RealTime>,
}

/// Sessions of tests: nothing holds them back but WhatsApp, and they wait for less.
pub fn settings(double: &Double) -> Settings {
    settings_at(double.url())
}

pub fn settings_at(url: String) -> Settings {
    let mut settings = Settings::new((2, 3000, 1_026_131_876), "Codes");
    settings.url = url;
    settings.allowance = Allowance::flat(10_000, 10_000, 10_000);
    settings.entrance = Entrance { at_once: 16, apart: Duration::from_millis(1) };
    settings
}

/// What sessions of a process share that reaches its store like this.
pub fn parts(settings: Settings, reach: &Arc<Reach>, told: Arc<Told>, clock: Arc<RealTime>, leases: Leases) -> Parts {
    let (keys, entropy) = (Arc::new(KeysIn(reach.clone())), Arc::new(SeededEntropy::new(7)));
    let wishes = WishesIn::new(reach.store.clone(), clock.clone());
    Parts::new(settings, clock, entropy, keys, told, leases, wishes)
}

impl Process {
    pub async fn new() -> Self {
        let double = Double::start().await.unwrap();
        let settings = settings(&double);
        Self::with(double, settings).await
    }

    pub async fn with(double: Double, settings: Settings) -> Self {
        Self::of(double, settings, TENANT_ID).await
    }

    /// One whose store has another tenant.
    pub async fn of(double: Double, settings: Settings, tenant: TenantId) -> Self {
        let (home, store) = Home::of(tenant).await;
        Self::over(double, settings, home, store, RealTime::new())
    }

    fn over(
        double: Double,
        settings: Settings,
        home: Arc<Home>,
        store: Arc<SqliteStore>,
        clock: Arc<RealTime>,
    ) -> Self {
        let (told, reach) = (Told::new(), Reach::new(store, clock.clone()));
        let day = SignedDuration::from_hours(24);
        let every = Duration::from_secs(1);
        let tenure = Tenure { lasts: day, margin: SignedDuration::ZERO, prolonged: every, every, looks: every };
        let leases = Leases::new(reach.clone(), clock.clone(), node(0), tenure);
        let parts = parts(settings, &reach, told.clone(), clock.clone(), leases);
        Self { double, parts, home, reach, told, clock }
    }

    /// Another process over the same store, by the same clock.
    pub fn another(&self) -> Self {
        let (settings, store) = ((*self.parts.settings).clone(), self.reach.store.clone());
        Self::over(self.double.clone(), settings, self.home.clone(), store, self.clock.clone())
    }

    /// The next one, once this one is gone: it opens the store anew.
    pub async fn next(self) -> Self {
        self.followed(None).await
    }

    /// The next one, over what was stored before.
    pub async fn next_with(self, kept: TempDir) -> Self {
        self.followed(Some(kept)).await
    }

    async fn followed(self, kept: Option<TempDir>) -> Self {
        let Self { double, parts, home, reach, told, clock } = self;
        let settings = (*parts.settings).clone();
        drop((parts, reach, told));
        if let Some(kept) = kept {
            home.put_back(&kept);
        }
        let store = home.open();
        store.recover(clock.now()).await.unwrap();
        Self::over(double, settings, home, store, clock)
    }

    /// The sessions that it keeps as the `nth` of several.
    pub fn sessions(&self, nth: u8) -> Kept {
        self.sessions_for(nth, TENURE)
    }

    pub fn sessions_for(&self, nth: u8, tenure: Tenure) -> Kept {
        let mut parts = self.parts.clone();
        let wishes = WishesIn::new(self.reach.store.clone(), self.clock.clone());
        parts.wishes = wishes.clone();
        parts.leases = Arc::new(Leases::new(self.reach.clone(), self.clock.clone(), node(nth), tenure));
        Kept { sessions: Sessions::new(parts), wishes }
    }

    /// A session that has not begun.
    pub async fn session(&self, nth: u8) -> Session {
        let right = self.parts.leases.take(id(nth)).await.unwrap().unwrap();
        Session::new(id(nth), &self.parts, right)
    }

    /// One that is linked to the tenant's number.
    pub async fn linked(&self) -> Session {
        let session = self.session(1).await;
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

/// Short, so that tests need not wait for long.
pub const TENURE: Tenure = Tenure {
    lasts: SignedDuration::from_secs(4),
    margin: SignedDuration::from_secs(1),
    prolonged: Duration::from_millis(300),
    every: Duration::from_millis(300),
    looks: Duration::from_millis(300),
};

/// A tenure in which nobody asks the store whose a session is.
pub const LONG: Tenure = Tenure {
    lasts: SignedDuration::from_hours(2),
    margin: SignedDuration::from_secs(1),
    prolonged: Duration::from_secs(3_600),
    every: Duration::from_secs(3_600),
    looks: Duration::from_secs(3_600),
};

/// The tenant of tests.
pub const TENANT_ID: TenantId = TenantId::from_bytes([1; 16]);

/// The `nth` session of tests.
pub fn id(nth: u8) -> SessionId {
    SessionId { tenant: TENANT_ID, connection: ConnectionId::from_bytes([nth; 16]) }
}

/// Names the `nth` delivery.
pub fn reference(nth: u8) -> Reference {
    Reference {
        tenant: TenantId::from_bytes([1; 16]),
        item: Item::Verification(VerificationId::from_bytes([nth; 16])),
        delivery: DeliveryId::from_bytes([nth; 16]),
    }
}

/// The `nth` session, once these keep it.
pub async fn found(sessions: &Sessions, nth: u8) -> Arc<Session> {
    within("it is kept", async {
        loop {
            match sessions.find(id(nth)) {
                Some(session) => return session,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await
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
