//! The sessions that a process keeps, each under a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::{OwnedMutexGuard, RwLock};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use wotp_core::domain::id::TenantId;
use wotp_core::ports::{Acknowledged, SendError, StoreError};

use crate::listen::SessionId;
use crate::right::Right;
use crate::session::{Letter, NotSent, Parts, Session, StartError};
use crate::share::{Candidate, ranked};
use crate::status::Status;

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
    #[error("the store does not say whose the session is")]
    Store(#[from] StoreError),
    /// It does not begin, or its keys are not erased.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A session that is kept here.
struct Held {
    session: Arc<Session>,
    right: Arc<Right>,
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
    /// Who is having a session, or letting it go: one at a time.
    turns: BTreeMap<SessionId, Weak<tokio::sync::Mutex<()>>>,
}

/// All sessions of a process.
pub struct Sessions {
    parts: Parts,
    table: Mutex<Table>,
    /// Read while a session is being taken: whoever drains waits for those.
    taking: RwLock<()>,
    draining: AtomicBool,
    rounds: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.rounds.get_mut().unwrap_or_else(PoisonError::into_inner).iter().for_each(JoinHandle::abort);
    }
}

impl Sessions {
    /// Keeps from now on what is wanted, as far as no other process does. Sessions that no phone is linked to do not begin
    /// by themselves.
    pub fn new(parts: Parts) -> Arc<Self> {
        let sessions = Arc::new(Self {
            parts,
            table: Mutex::default(),
            taking: RwLock::default(),
            draining: AtomicBool::new(false),
            rounds: Mutex::default(),
        });
        let every = sessions.parts.leases.every();
        // Each for itself: leases are prolonged in time, however long it takes to have others.
        let rounds = [
            tokio::spawn(go_on_prolonging(Arc::downgrade(&sessions), every)),
            tokio::spawn(go_on_keeping(Arc::downgrade(&sessions), every)),
        ];
        *sessions.rounds.lock().unwrap_or_else(PoisonError::into_inner) = rounds.into();
        sessions
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else has a session, or lets it go.
    async fn turn(&self, id: SessionId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut table = self.table();
            table.turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = table.turns.get(&id).and_then(Weak::upgrade).unwrap_or_default();
            table.turns.insert(id, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }

    /// A session that is kept here.
    pub fn find(&self, session: SessionId) -> Option<Arc<Session>> {
        let table = self.table();
        table.held.get(&session).filter(|held| held.right.holds()).map(|held| Arc::clone(&held.session))
    }

    /// A tenant's sessions that are kept here.
    pub fn of(&self, tenant: TenantId) -> Vec<Arc<Session>> {
        let table = self.table();
        let of = table.held.iter().filter(|(id, _)| id.tenant == tenant);
        of.map(|(_, held)| Arc::clone(&held.session)).collect()
    }

    /// How many are kept here.
    pub fn len(&self) -> usize {
        self.table().held.values().filter(|held| held.right.holds()).count()
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

    /// Keeps a session here and begins it: it logs in, or shows what links a phone. From then on some process keeps it, until
    /// it is disconnected.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn start(self: &Arc<Self>, id: SessionId) -> Result<Arc<Session>, KeepError> {
        self.parts.wishes.want(id, true).await?;
        let session = {
            let _turn = self.turn(id).await;
            self.own(id).await?
        };
        session.start().await?;
        Ok(session)
    }

    /// Takes the lease, unless it has it. Its turn is the caller's.
    async fn own(self: &Arc<Self>, id: SessionId) -> Result<Arc<Session>, KeepError> {
        let _taking = self.taking.read().await;
        if self.draining.load(Ordering::SeqCst) {
            return Err(KeepError::Draining);
        }
        let here = self.table().held.get(&id).map(|held| (Arc::clone(&held.session), Arc::clone(&held.right)));
        if let Some((session, right)) = here {
            if right.holds() {
                return Ok(session);
            }
            // One that was cut off a moment ago: to its end, or two clients would run.
            session.give_up().await;
            self.forget(id, &right);
        }
        let right = self.parts.leases.take(id).await?.ok_or(KeepError::Elsewhere)?;
        let session = Arc::new(Session::new(id, &self.parts, Arc::clone(&right)));
        let watch = tokio::spawn(cut_off(Arc::downgrade(self), id, Arc::clone(&right), Arc::downgrade(&session)));
        self.table().held.insert(id, Held { session: Arc::clone(&session), right, watch });
        Ok(session)
    }

    /// Keeps a session no more that was kept by this right.
    fn forget(&self, id: SessionId, right: &Arc<Right>) {
        let mut table = self.table();
        if table.held.get(&id).is_some_and(|held| Arc::ptr_eq(&held.right, right)) {
            table.held.remove(&id);
        }
    }

    /// Ends a session's connection, whichever process keeps it, and leaves it alone until somebody starts it; the phone
    /// stays linked. Another process than this one ends it within the time in which it looks at what is wanted.
    ///
    /// # Errors
    /// [`StoreError`]: nothing has changed.
    pub async fn disconnect(&self, id: SessionId) -> Result<(), StoreError> {
        self.parts.wishes.want(id, false).await?;
        self.let_go(id).await;
        Ok(())
    }

    /// Takes a session off the phone and erases its keys, for good. Whether the phone knows.
    ///
    /// # Errors
    /// [`KeepError`]; with [`KeepError::Start`] the keys are still there, and this is to be repeated.
    pub async fn log_out(self: &Arc<Self>, id: SessionId) -> Result<bool, KeepError> {
        let turn = self.turn(id).await;
        let session = self.own(id).await?;
        // The phone is told over a connection. Without one the keys are erased all the same.
        if !session.status().is_connected() && session.resume().await.is_ok() {
            let mut watch = session.watch();
            let connected = watch.wait_for(|status| !matches!(status, Status::Connecting));
            let _ = timeout(CONNECTED_WITHIN, connected).await;
        }
        let told = session.log_out().await?;
        self.parts.wishes.want(id, false).await?;
        drop(turn);
        self.let_go(id).await;
        Ok(told)
    }

    /// Ends a session and gives its lease back.
    async fn let_go(&self, id: SessionId) {
        let _turn = self.turn(id).await;
        let held = self.table().held.remove(&id);
        if let Some(held) = held {
            held.watch.abort();
            held.session.retire().await;
            if let Err(error) = self.parts.leases.give_back(&held.right).await {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(connection = %id.connection, error, "others wait for the lease of a session to end");
            }
        }
    }

    /// Ends all sessions, so that other processes take them over, and begins none any more.
    pub async fn drain(self: &Arc<Self>) {
        self.draining.store(true, Ordering::SeqCst);
        // Those that were being taken are in the table then.
        drop(self.taking.write().await);
        let all: Vec<SessionId> = self.table().held.keys().copied().collect();
        let mut ending = JoinSet::new();
        for id in all {
            let sessions = Arc::clone(self);
            ending.spawn(async move { sessions.let_go(id).await });
        }
        while ending.join_next().await.is_some() {}
    }

    /// Sends through one of the tenant's numbers: through another when one cannot, or may not write to strangers, as long as
    /// nothing got out.
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
            match session.try_to_send(letter).await {
                Ok(sent) => return Ok(sent),
                Err(NotSent { error, for_others: true }) => first = first.or(Some(error)),
                Err(NotSent { error, for_others: false }) => return Err(error),
            }
        }
        let detail = "no session of the tenant is here".to_owned();
        Err(first.unwrap_or(SendError::Away { after: ELSEWHERE, detail }))
    }

    /// Prolongs all leases, together.
    async fn prolong(&self) {
        let rights: Vec<Arc<Right>> = self.table().held.values().map(|held| Arc::clone(&held.right)).collect();
        // Whatever was slept for: the clock may have been set.
        rights.iter().filter(|right| !right.holds()).for_each(|right| right.end());
        // Sessions are cut off in time, if this lasts.
        match timeout(self.parts.leases.patience(), self.parts.leases.prolong(rights)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the leases of WhatsApp sessions are not prolonged");
            }
            Err(_) => tracing::warn!("the leases of WhatsApp sessions are not prolonged in time"),
        }
    }

    /// Ends what is wanted no more, and takes what is wanted and nobody has.
    async fn follow_wishes(self: &Arc<Self>) -> Result<(), StoreError> {
        // Before what is wanted is read: one that is started is wanted before it is here.
        let here: BTreeSet<SessionId> = self.table().held.keys().copied().collect();
        let wanted = self.parts.wishes.wanted().await?;
        let let_go = |sessions: Arc<Self>, id| async move { sessions.let_go(id).await };
        self.several(here.difference(&wanted).copied().collect(), let_go).await;
        let missing: Vec<SessionId> = wanted.difference(&here).copied().collect();
        if missing.is_empty() || self.draining.load(Ordering::SeqCst) {
            return Ok(());
        }
        let elsewhere = self.parts.leases.of_others().await?;
        let free = missing.into_iter().filter(|id| !elsewhere.contains(id)).collect();
        self.several(free, |sessions, id| async move { sessions.take(id).await }).await;
        Ok(())
    }

    /// Takes a session, if it is still free, and begins it where a phone is linked.
    async fn take(self: &Arc<Self>, id: SessionId) {
        let owned = {
            let _turn = self.turn(id).await;
            self.own(id).await
        };
        let begun = match owned {
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

fn rounds(every: Duration) -> Interval {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Prolongs leases.
async fn go_on_prolonging(sessions: Weak<Sessions>, every: Duration) {
    let mut rounds = rounds(every);
    loop {
        rounds.tick().await;
        let Some(sessions) = sessions.upgrade() else { return };
        sessions.prolong().await;
    }
}

/// Keeps what is wanted.
async fn go_on_keeping(sessions: Weak<Sessions>, every: Duration) {
    let mut rounds = rounds(every);
    loop {
        rounds.tick().await;
        let Some(sessions) = sessions.upgrade() else { return };
        if let Err(error) = sessions.follow_wishes().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "which WhatsApp sessions are wanted cannot be read");
        }
    }
}

/// Ends a session when its right is over, whatever the store says or does not.
async fn cut_off(sessions: Weak<Sessions>, id: SessionId, right: Arc<Right>, session: Weak<Session>) {
    right.over().await;
    if let Some(session) = session.upgrade() {
        tracing::warn!(connection = %id.connection, "a WhatsApp session is this process's no more");
        session.give_up().await;
    }
    if let Some(sessions) = sessions.upgrade() {
        // Not one that was begun meanwhile.
        sessions.forget(id, &right);
    }
}
