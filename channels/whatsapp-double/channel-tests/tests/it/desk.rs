//! Leases of sessions, as processes share them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use wotp_channel_whatsapp::{Leases, LeasesError, SessionId, Sessions, Tenure};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::lease::Lease;
use wotp_core::ports::Clock;

use crate::tenant::{Process, RealTime};

/// Who has which lease.
pub struct Desk {
    leases: Mutex<HashMap<SessionId, Lease>>,
    clock: Arc<RealTime>,
    pub out_of_reach: AtomicBool,
}

impl Desk {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { leases: Mutex::default(), clock: RealTime::new(), out_of_reach: AtomicBool::new(false) })
    }

    /// As one process sees it.
    pub fn of(self: &Arc<Self>, node: u8) -> Arc<dyn Leases> {
        Arc::new(Seat { desk: Arc::clone(self), node: NodeId::from_bytes([node; 16]) })
    }

    /// Gives a lease to a process that has not asked for it, as if the one that had it had been away for long.
    pub fn give_to(&self, session: SessionId, node: u8) {
        let mut leases = self.leases.lock().unwrap();
        let lease = leases.get_mut(&session).unwrap();
        lease.holder = NodeId::from_bytes([node; 16]);
        lease.fence += 1;
        lease.until = self.clock.now() + SignedDuration::from_secs(60);
    }

    /// When the lease ends that somebody has.
    pub fn until(&self, session: SessionId) -> Timestamp {
        self.leases.lock().unwrap()[&session].until
    }

    fn reach(&self) -> Result<(), LeasesError> {
        match self.out_of_reach.load(Ordering::SeqCst) {
            true => Err(LeasesError("a test took it away".into())),
            false => Ok(()),
        }
    }
}

struct Seat {
    desk: Arc<Desk>,
    node: NodeId,
}

#[async_trait]
impl Leases for Seat {
    async fn take(&self, session: SessionId, until: Timestamp) -> Result<Option<Lease>, LeasesError> {
        self.desk.reach()?;
        let now = self.desk.clock.now();
        let mut leases = self.desk.leases.lock().unwrap();
        let held = leases.get(&session).filter(|lease| now < lease.until);
        let fence = match (held, leases.get(&session)) {
            (Some(held), _) if held.holder != self.node => return Ok(None),
            (Some(held), _) => held.fence,
            (None, last) => last.map_or(1, |last| last.fence + 1),
        };
        let lease = Lease { name: session.connection.to_string(), holder: self.node, fence, until };
        leases.insert(session, lease.clone());
        Ok(Some(lease))
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), LeasesError> {
        self.desk.reach()?;
        let now = self.desk.clock.now();
        let mut leases = self.desk.leases.lock().unwrap();
        for held in leases.values_mut().filter(|held| *held == lease) {
            held.until = now;
        }
        Ok(())
    }
}

/// Short, so that tests need not wait for long.
pub fn tenure() -> Tenure {
    Tenure {
        lasts: SignedDuration::from_secs(4),
        margin: SignedDuration::from_secs(1),
        every: Duration::from_millis(300),
    }
}

/// The sessions of a process that shares `desk` with others.
pub fn sessions(process: &Process, desk: &Arc<Desk>, node: u8) -> Arc<Sessions> {
    Sessions::new(process.parts.clone(), desk.of(node), tenure())
}
