//! The sessions that a process keeps, each under a lease.

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::{Notify, OwnedMutexGuard, RwLock, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::{ConnectionId, NodeId, TenantId};
use wotp_core::ports::{Acknowledged, SendError, StoreError};

use crate::health::Waited;
use crate::listen::SessionId;
use crate::right::Right;
use crate::session::{Letter, NotSent, Parts, Session, StartError};
use crate::share::{Candidate, ranked};

/// How many sessions are read from what was kept, or asked for, at once.
const AT_ONCE: usize = 16;
/// When to come again where no session of the tenant is here.
const NOWHERE: SignedDuration = SignedDuration::from_secs(5);

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
    /// It is to be taken off its phone, which is told over a connection, and there is none yet.
    #[error("the phone of the session cannot be told yet")]
    NotTold,
    /// It does not begin, or its keys are not erased.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A session that is kept here.
struct Held {
    session: Arc<Session>,
    right: Arc<Right>,
    watch: JoinHandle<()>,
    /// When somebody asked for it to connect, as far as that was followed.
    asked_at: Option<Timestamp>,
    /// Whether it was looked at how it stood before it was kept here.
    looked_back: bool,
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
    /// Those for which what is wanted is being done.
    followed: BTreeSet<SessionId>,
    /// Those that other processes keep, and which, as far as that was looked at.
    elsewhere: BTreeMap<SessionId, NodeId>,
    /// Tenants of whom some are here and the anchor is not, and which process had that when it was looked at.
    apart: BTreeMap<TenantId, NodeId>,
}

/// All sessions of a process.
pub struct Sessions {
    parts: Parts,
    table: Mutex<Table>,
    /// Read while a session is being taken: whoever drains waits for those.
    taking: RwLock<()>,
    draining: AtomicBool,
    /// For what is being done for wishes.
    places: Semaphore,
    /// For taking sessions off their phones, which holds up nothing else: each may wait for WhatsApp.
    leaving: Semaphore,
    /// Told when a session was cut off, so that it is looked at whose it is now.
    lost: Arc<Notify>,
    rounds: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.rounds.get_mut().unwrap_or_else(PoisonError::into_inner).iter().for_each(JoinHandle::abort);
    }
}

impl Sessions {
    /// Keeps from now on what is wanted, as far as no other process does, until it is drained. Where no phone is linked,
    /// what links one is shown when somebody has just asked for it.
    pub fn new(parts: Parts) -> Arc<Self> {
        let sessions = Arc::new(Self {
            parts,
            table: Mutex::default(),
            taking: RwLock::default(),
            draining: AtomicBool::new(false),
            places: Semaphore::new(AT_ONCE),
            leaving: Semaphore::new(AT_ONCE),
            lost: Arc::default(),
            rounds: Mutex::default(),
        });
        let prolonged = sessions.parts.leases.prolonged();
        // Each for itself: leases are prolonged in time, however long it takes to have others.
        let rounds = [
            tokio::spawn(go_on_prolonging(Arc::downgrade(&sessions), prolonged)),
            tokio::spawn(follow::go_on_keeping(
                Arc::downgrade(&sessions),
                Arc::clone(&sessions.parts.wishes),
                Arc::clone(&sessions.lost),
            )),
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

    /// Which other process keeps sessions of a tenant, or the one that is named, where none is connected that this one keeps.
    pub fn kept_by_another(&self, tenant: TenantId, named: Option<ConnectionId>) -> Option<NodeId> {
        let table = self.table();
        let is_meant = |id: &SessionId| id.tenant == tenant && named.is_none_or(|named| id.connection == named);
        let is_here = |id: &SessionId| table.held.get(id).is_some_and(|held| held.right.holds());
        if table.held.iter().any(|(id, held)| is_meant(id) && is_here(id) && held.session.status().is_connected()) {
            return None;
        }
        let of_others = |(id, _): &(&SessionId, &NodeId)| is_meant(id) && !is_here(id);
        table.elsewhere.iter().find(of_others).map(|(_, node)| *node)
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
        let held = Held { session: Arc::clone(&session), right, watch, asked_at: None, looked_back: false };
        self.table().held.insert(id, held);
        Ok(session)
    }

    /// Keeps a session no more that was kept by this right.
    fn forget(&self, id: SessionId, right: &Arc<Right>) {
        let mut table = self.table();
        if table.held.get(&id).is_some_and(|held| Arc::ptr_eq(&held.right, right)) {
            table.held.remove(&id);
        }
    }

    /// Takes a session off the phone and erases its keys, for good. Whether the phone knows.
    ///
    /// # Errors
    /// [`KeepError`]; with [`KeepError::NotTold`] and [`KeepError::Start`] the keys are still there, and this is to be
    /// repeated.
    pub async fn log_out(self: &Arc<Self>, id: SessionId) -> Result<bool, KeepError> {
        let turn = self.turn(id).await;
        let session = self.own(id).await?;
        self.connects_to_leave(&session).await?;
        let told = session.log_out().await?;
        drop(turn);
        self.let_go(id).await;
        Ok(told)
    }

    /// Waits until a session is connected, over which its phone is told that it leaves, or never will be. It is for whoever
    /// wants it to be gone to say how long that is of use: what is not wanted any more is not tried again.
    async fn connects_to_leave(&self, session: &Session) -> Result<(), KeepError> {
        if session.status().is_connected() {
            return Ok(());
        }
        // One that WhatsApp has refused begins by itself when its time has come, and not each time that this is tried.
        if !session.status().is_put_off() {
            match session.resume().await {
                // With such keys nobody ever logs in.
                Err(StartError::Client(_)) => return Ok(()),
                begun => begun?,
            }
            let mut watch = session.watch();
            let connected = watch.wait_for(|status| !status.is_about_to_connect());
            let _ = timeout(self.parts.settings.patience.leave, connected).await;
        }
        let status = session.status();
        if status.is_about_to_connect() || status.is_put_off() { Err(KeepError::NotTold) } else { Ok(()) }
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
    /// nothing got out. Through the one that is named, and no other, where one is.
    ///
    /// # Errors
    /// [`SendError`], of the number that was tried first.
    pub async fn send(
        &self,
        tenant: TenantId,
        named: Option<ConnectionId>,
        letter: Letter<'_>,
    ) -> Result<Acknowledged, SendError> {
        let mut sessions = self.of(tenant);
        sessions.retain(|session| named.is_none_or(|named| session.id().connection == named));
        let mut candidates = Vec::new();
        for session in sessions {
            let health = session.health();
            candidates.push(Candidate {
                session: session.id(),
                knows: session.knows(letter.to).await,
                grade: health.grade,
                left_today: health.left_today,
            });
        }
        let (mut first, mut waited) = (None, Waited::default());
        for id in ranked(letter.reference.delivery, candidates) {
            let Some(session) = self.find(id) else { continue };
            match session.try_to_send(letter, &mut waited).await {
                Ok(sent) => return Ok(sent),
                Err(NotSent { error, for_others: true }) => first = first.or(Some(error)),
                Err(NotSent { error, for_others: false }) => return Err(error),
            }
        }
        // It may be kept elsewhere, by a node that could not be rung for: that is no try.
        let detail = "no session of the tenant is here".to_owned();
        Err(first.unwrap_or(SendError::Away { after: NOWHERE, detail }))
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
        sessions.lost.notify_one();
    }
}

#[cfg(test)]
mod tests;
