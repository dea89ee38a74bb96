//! The sessions that a process keeps, each under a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::lease::Lease;
use wotp_core::ports::{Acknowledged, SendError};

use crate::keys::KeysError;
use crate::lease::{Leases, LeasesError};
use crate::listen::SessionId;
use crate::right::Right;
use crate::session::{Letter, Parts, Session, StartError};
use crate::share::{Candidate, ranked};
use crate::status::Status;

/// How long a process has a session, and how often it says so.
#[derive(Debug, Clone, Copy)]
pub struct Tenure {
    /// How long a lease lasts, unless it is prolonged: so long nobody keeps the sessions of a process that dies.
    pub lasts: SignedDuration,
    /// So long before the end of its lease a session is cut off, so that another process does not meet it.
    pub margin: SignedDuration,
    /// How often leases are prolonged, and asked for where another process has them.
    pub every: Duration,
}

impl Default for Tenure {
    fn default() -> Self {
        Self {
            lasts: SignedDuration::from_secs(15),
            margin: SignedDuration::from_secs(2),
            every: Duration::from_secs(4),
        }
    }
}

/// How many sessions are read from what was kept, or asked for, at once.
const AT_ONCE: usize = 16;
/// When to come again where no session of the tenant is here.
const ELSEWHERE: SignedDuration = SignedDuration::from_secs(5);

/// How long a session that is to be logged out may take to connect.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// A session cannot be kept here.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Another process has it.
    #[error("another process keeps the session")]
    Elsewhere,
    /// The process is about to end.
    #[error("the process is about to end")]
    Draining,
    /// Nobody says who has it.
    #[error(transparent)]
    Leases(#[from] LeasesError),
    /// It does not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its keys are not erased.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// A session that is kept here.
struct Held {
    session: Arc<Session>,
    right: Arc<Right>,
    lease: Lease,
    watch: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

#[derive(Default)]
struct Table {
    held: BTreeMap<SessionId, Held>,
    /// Those that are to be kept here as soon as nobody else has them.
    wanted: BTreeSet<SessionId>,
}

/// All sessions of a process.
pub struct Sessions {
    parts: Parts,
    leases: Arc<dyn Leases>,
    tenure: Tenure,
    table: Mutex<Table>,
    /// Held while leases are taken and given back: what is asked for twice at once is done once.
    turn: tokio::sync::Mutex<()>,
    draining: AtomicBool,
    rounds: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Sessions {
    fn drop(&mut self) {
        if let Some(rounds) = self.rounds.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            rounds.abort();
        }
    }
}

impl Sessions {
    /// None yet.
    pub fn new(parts: Parts, leases: Arc<dyn Leases>, tenure: Tenure) -> Arc<Self> {
        let sessions = Arc::new(Self {
            parts,
            leases,
            tenure,
            table: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            draining: AtomicBool::new(false),
            rounds: Mutex::new(None),
        });
        let rounds = tokio::spawn(go_round(Arc::downgrade(&sessions), tenure.every));
        *sessions.rounds.lock().unwrap_or_else(PoisonError::into_inner) = Some(rounds);
        sessions
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> Timestamp {
        self.parts.clock.now().saturating_add(self.tenure.lasts).unwrap_or(Timestamp::MAX)
    }

    fn right_until(&self, lease: &Lease) -> Timestamp {
        lease.until.saturating_sub(self.tenure.margin).unwrap_or(Timestamp::MIN)
    }

    /// Keeps these from now on: at once what nobody has, the others as soon as they can be had. They begin one after the
    /// other. Those that have no phone linked do not begin by themselves.
    pub async fn keep(self: &Arc<Self>, sessions: impl IntoIterator<Item = SessionId>) {
        self.table().wanted.extend(sessions);
        self.take_wanted().await;
    }

    /// A session that is kept here.
    pub fn find(&self, session: SessionId) -> Option<Arc<Session>> {
        self.table().held.get(&session).map(|held| Arc::clone(&held.session))
    }

    /// A tenant's sessions that are kept here.
    pub fn of(&self, tenant: TenantId) -> Vec<Arc<Session>> {
        let table = self.table();
        let of = table.held.iter().filter(|(id, _)| id.tenant == tenant);
        of.map(|(_, held)| Arc::clone(&held.session)).collect()
    }

    /// How many are kept here.
    pub fn len(&self) -> usize {
        self.table().held.len()
    }

    /// How many of those that are kept here are connected, and how many there are.
    pub fn connected(&self) -> (usize, usize) {
        let table = self.table();
        let connected = table.held.values().filter(|held| held.session.status().is_connected()).count();
        (connected, table.held.len())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps a session here and begins it: it logs in, or shows what links a phone.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn start(self: &Arc<Self>, id: SessionId) -> Result<Arc<Session>, KeepError> {
        self.table().wanted.insert(id);
        let session = self.own(id).await?;
        session.start().await?;
        Ok(session)
    }

    /// Takes the lease, unless it has it.
    async fn own(self: &Arc<Self>, id: SessionId) -> Result<Arc<Session>, KeepError> {
        let _turn = self.turn.lock().await;
        if self.draining.load(Ordering::SeqCst) {
            return Err(KeepError::Draining);
        }
        if let Some(session) = self.find(id) {
            return Ok(session);
        }
        let lease = self.leases.take(id, self.until()).await?.ok_or(KeepError::Elsewhere)?;
        let right = Right::until(Arc::clone(&self.parts.clock), lease.fence, self.right_until(&lease));
        let session = Arc::new(Session::new(id, &self.parts, Arc::clone(&right)));
        let watch = tokio::spawn(cut_off(Arc::downgrade(self), id, Arc::clone(&right), Arc::downgrade(&session)));
        self.table().held.insert(id, Held { session: Arc::clone(&session), right, lease, watch });
        Ok(session)
    }

    /// Ends a session's connection and leaves it alone until somebody starts it; the phone stays linked.
    pub async fn disconnect(&self, id: SessionId) {
        self.table().wanted.remove(&id);
        if let Some(session) = self.find(id) {
            session.stop().await;
            self.let_go(id).await;
        }
    }

    /// Takes a session off the phone and erases its keys, for good. Whether the phone knows.
    ///
    /// # Errors
    /// [`KeepError`]; with [`KeepError::Keys`] the keys are still there, and this is to be repeated.
    pub async fn log_out(self: &Arc<Self>, id: SessionId) -> Result<bool, KeepError> {
        let session = self.own(id).await?;
        // The phone is told over a connection. Without one the keys are erased all the same.
        if !session.status().is_connected() && session.resume().await.is_ok() {
            let mut watch = session.watch();
            let connected = watch.wait_for(|status| !matches!(status, Status::Connecting));
            let _ = timeout(CONNECTED_WITHIN, connected).await;
        }
        let told = session.log_out().await?;
        self.table().wanted.remove(&id);
        self.let_go(id).await;
        Ok(told)
    }

    /// Gives a lease back; the session has ended.
    async fn let_go(&self, id: SessionId) {
        let _turn = self.turn.lock().await;
        let held = self.table().held.remove(&id);
        if let Some(held) = held {
            held.right.end();
            if let Err(error) = self.leases.give_back(&held.lease).await {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(connection = %id.connection, error, "others wait for the lease of a session to end");
            }
        }
    }

    /// Ends all sessions, so that other processes take them over, and begins none any more.
    pub async fn drain(self: &Arc<Self>) {
        self.draining.store(true, Ordering::SeqCst);
        self.table().wanted.clear();
        let all: Vec<SessionId> = self.table().held.keys().copied().collect();
        let mut ending = JoinSet::new();
        for id in all {
            let sessions = Arc::clone(self);
            ending.spawn(async move { sessions.disconnect(id).await });
        }
        while ending.join_next().await.is_some() {}
    }

    /// Sends through one of the tenant's numbers: through another when one cannot, as long as nothing was handed over.
    ///
    /// # Errors
    /// [`SendError`], of the number that was tried first.
    pub async fn send(&self, tenant: TenantId, letter: Letter<'_>) -> Result<Acknowledged, SendError> {
        let mut candidates = Vec::new();
        for session in self.of(tenant) {
            let health = session.health();
            candidates.push(Candidate {
                session: session.id(),
                knows: session.knows(letter.to).await,
                grade: health.grade,
                left_today: health.left_today,
            });
        }
        let mut first = None;
        for id in ranked(letter.reference.delivery, candidates) {
            let Some(session) = self.find(id) else { continue };
            match session.send(letter).await {
                Err(away @ SendError::Away { .. }) => first = first.or(Some(away)),
                done => return done,
            }
        }
        let detail = "no session of the tenant is here".to_owned();
        Err(first.unwrap_or(SendError::Away { after: ELSEWHERE, detail }))
    }

    /// Prolongs all leases.
    async fn prolong(self: &Arc<Self>) {
        let all: Vec<SessionId> = self.table().held.keys().copied().collect();
        let each = |sessions: Arc<Self>, id| async move {
            match sessions.leases.take(id, sessions.until()).await {
                Ok(Some(lease)) => sessions.prolonged(id, lease).await,
                Ok(None) => sessions.lose(id).await,
                // It is cut off in time, if this lasts.
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(connection = %id.connection, error, "the lease of a session is not prolonged");
                }
            }
        };
        self.several(all, each).await;
    }

    async fn prolonged(&self, id: SessionId, lease: Lease) {
        let until = self.right_until(&lease);
        let same = self.table().held.get_mut(&id).map(|held| {
            let same = held.lease.fence == lease.fence;
            if same {
                held.right.prolong(until);
                held.lease = lease.clone();
            }
            same
        });
        match same {
            Some(true) => {}
            // Somebody else had it meanwhile: what it did before is over.
            Some(false) => self.lose(id).await,
            // It was given back while this was asked for.
            None => {
                let _ = self.leases.give_back(&lease).await;
            }
        }
    }

    /// A session is another process's.
    async fn lose(&self, id: SessionId) {
        let held = self.table().held.remove(&id);
        if let Some(held) = held {
            tracing::warn!(connection = %id.connection, "a WhatsApp session is another process's now");
            held.session.give_up().await;
        }
    }

    /// Takes those that are wanted and not had, as far as nobody else has them.
    async fn take_wanted(self: &Arc<Self>) {
        let missing: Vec<SessionId> = {
            let table = self.table();
            table.wanted.iter().filter(|id| !table.held.contains_key(id)).copied().collect()
        };
        let each = |sessions: Arc<Self>, id| async move {
            let begun = match sessions.own(id).await {
                Ok(session) => session.resume().await.map_err(KeepError::from),
                Err(error) => Err(error),
            };
            match begun {
                Ok(()) | Err(KeepError::Elsewhere | KeepError::Draining) => {}
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(connection = %id.connection, error, "a WhatsApp session does not begin");
                }
            }
        };
        self.several(missing, each).await;
    }

    async fn several<F>(self: &Arc<Self>, ids: Vec<SessionId>, each: impl Fn(Arc<Self>, SessionId) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut under_way = JoinSet::new();
        for id in ids {
            if under_way.len() >= AT_ONCE {
                under_way.join_next().await;
            }
            under_way.spawn(each(Arc::clone(self), id));
        }
        while under_way.join_next().await.is_some() {}
    }
}

/// Prolongs leases, and takes those that have become free.
async fn go_round(sessions: Weak<Sessions>, every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(sessions) = sessions.upgrade() else { return };
        sessions.prolong().await;
        sessions.take_wanted().await;
    }
}

/// Ends a session when its right is over, whatever the store says or does not.
async fn cut_off(sessions: Weak<Sessions>, id: SessionId, right: Arc<Right>, session: Weak<Session>) {
    while right.holds() {
        sleep(right.lasts().max(SignedDuration::from_millis(1)).unsigned_abs()).await;
    }
    if let Some(session) = session.upgrade() {
        session.give_up().await;
    }
    if let Some(sessions) = sessions.upgrade() {
        let mut table = sessions.table();
        // Not one that was begun meanwhile.
        if table.held.get(&id).is_some_and(|held| Arc::ptr_eq(&held.right, &right)) {
            table.held.remove(&id);
        }
    }
}
