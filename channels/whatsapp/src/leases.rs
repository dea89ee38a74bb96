//! The leases under which this process keeps its sessions: those of the store that also refuses what a former holder
//! writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Clock, ConnectionStates, StoreError, TenantAccount};

use crate::listen::SessionId;
use crate::right::Right;

/// How long a process has a session, and how often it says so.
#[derive(Debug, Clone, Copy)]
pub struct Tenure {
    /// How long a lease lasts, unless it is prolonged: so long nobody keeps the sessions of a process that dies.
    pub lasts: SignedDuration,
    /// So long before the end of its lease a session is cut off, so that another process does not meet it.
    pub margin: SignedDuration,
    /// How often leases are prolonged.
    pub prolonged: Duration,
    /// How often leases are asked for that another process has, and what could not be done is tried again.
    pub every: Duration,
    /// How often all that is wanted is read while nothing is to be done, for what this process was not told. As seldom as
    /// that only where no other process writes it: what a thousand sessions are wanted for takes milliseconds to read.
    pub looks: Duration,
}

impl Default for Tenure {
    /// What a dead process kept is taken over within 15 seconds of its death: a lease that was prolonged just before ends
    /// 9 seconds later, another process asks for it at most 2 seconds after that, and 4 are left for reading what was kept
    /// and for logging in, where one takes less than one. A process that the store does not answer has 8 seconds, and so
    /// three tries, before its sessions are cut off.
    fn default() -> Self {
        Self {
            lasts: SignedDuration::from_secs(9),
            margin: SignedDuration::from_secs(1),
            prolonged: Duration::from_secs(2),
            every: Duration::from_secs(2),
            looks: Duration::from_secs(2),
        }
    }
}

impl Tenure {
    /// Of a process that has the store for itself, and so is told of all that is wanted. Nobody waits for its leases to end:
    /// when it begins it ends those of the one before.
    pub fn alone() -> Self {
        let (lasts, prolonged) = (SignedDuration::from_secs(60), Duration::from_secs(15));
        Self { lasts, prolonged, looks: Duration::from_secs(10), ..Self::default() }
    }
}

/// The leases that this process has.
pub struct Leases {
    store: Arc<dyn ConnectionStates>,
    clock: Arc<dyn Clock>,
    node: NodeId,
    tenure: Tenure,
}

/// Which connection a session is.
pub(crate) fn account(session: SessionId) -> TenantAccount {
    TenantAccount { tenant: session.tenant, connection: session.connection }
}

/// Which session a connection is.
pub(crate) fn session(of: TenantAccount) -> SessionId {
    SessionId { tenant: of.tenant, connection: of.connection }
}

impl Leases {
    /// Those that `node` takes in this store.
    pub fn new(store: Arc<dyn ConnectionStates>, clock: Arc<dyn Clock>, node: NodeId, tenure: Tenure) -> Self {
        Self { store, clock, node, tenure }
    }

    /// How often they are prolonged.
    pub(crate) fn prolonged(&self) -> Duration {
        self.tenure.prolonged
    }

    /// How long nothing is read after a look: `done` says whether nothing was to be done.
    pub(crate) fn rests(&self, done: bool) -> Duration {
        if done { self.tenure.looks } else { self.tenure.every }
    }

    /// How long the store is waited for when leases are prolonged: there is time for another try.
    pub(crate) fn patience(&self) -> Duration {
        (self.tenure.lasts - self.tenure.margin).unsigned_abs() / 2
    }

    /// What time it is, when a lease ends that is had now, and when the right to the session does.
    fn times(&self) -> (Timestamp, Timestamp, Timestamp) {
        let now = self.clock.now();
        let until = now.saturating_add(self.tenure.lasts).unwrap_or(Timestamp::MAX);
        (now, until, until.saturating_sub(self.tenure.margin).unwrap_or(Timestamp::MIN))
    }

    /// Those that other processes have now, and which.
    pub(crate) async fn of_others(&self) -> Result<BTreeMap<SessionId, NodeId>, StoreError> {
        let (leases, now) = (self.store.connection_leases().await?, self.clock.now());
        let others = leases.into_iter().filter(|lease| lease.holder != self.node && lease.is_in_force(now));
        Ok(others.map(|lease| (session(lease.of), lease.holder)).collect())
    }

    /// Takes the lease of a session; none while another process has it, or when its tenant is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take(&self, session: SessionId) -> Result<Option<Arc<Right>>, StoreError> {
        let (now, until, right_until) = self.times();
        let taken = self.store.take_connection(account(session), self.node, now, until).await?;
        Ok(taken.map(|lease| Right::new(Arc::clone(&self.clock), lease, right_until)))
    }

    /// Sees to it that the store refuses whatever a former client of the session still writes, before another begins: of
    /// each client the lease is another. Whether the session is this process's still.
    pub(crate) async fn part_from_former(&self, right: &Right) -> Result<bool, StoreError> {
        // Whoever lets go of a session has nobody begin it.
        if !right.holds() {
            return Ok(false);
        }
        let Some(lease) = right.begin_exchange() else { return Ok(right.holds()) };
        let (now, until, right_until) = self.times();
        match self.store.hand_over_connection(&lease, self.node, now, until).await {
            Ok(Some(lease)) => {
                right.end_exchange(Some((lease, right_until)));
                Ok(right.holds())
            }
            Ok(None) => {
                right.end_exchange(None);
                right.end();
                Ok(false)
            }
            // If it was made all the same, the next prolongation tells, and the session is taken anew.
            Err(error) => {
                right.end_exchange(None);
                Err(error)
            }
        }
    }

    /// Prolongs all of these together; ends those whose lease is not in force any more.
    pub(crate) async fn prolong(&self, rights: Vec<Arc<Right>>) -> Result<(), StoreError> {
        let lease = |right: Arc<Right>| right.to_prolong().map(|lease| (right, lease));
        let (rights, leases): (Vec<_>, Vec<_>) = rights.into_iter().filter_map(lease).unzip();
        if leases.is_empty() {
            return Ok(());
        }
        let (now, until, right_until) = self.times();
        let prolonged = self.store.prolong_connections(&leases, now, until).await?;
        for ((right, lease), prolonged) in rights.iter().zip(&leases).zip(prolonged) {
            if prolonged {
                right.prolong(lease, right_until);
            } else {
                right.lost(lease);
            }
        }
        Ok(())
    }

    /// Gives a lease back, so that another process need not wait for its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_back(&self, right: &Right) -> Result<(), StoreError> {
        right.end();
        self.store.release_connection(&right.lease(), self.clock.now()).await
    }
}
