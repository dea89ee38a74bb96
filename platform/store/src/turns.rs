//! Turns at reading many rows. A filter that matches little reads all that a tenant has, so without turns one
//! tenant's listings would take the processor from everybody's codes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use wotp_core::domain::id::TenantId;

/// Listings at once, of all tenants and of one.
const ALL_MAX: usize = 4;
const OF_TENANT_MAX: usize = 2;

/// Hands out turns.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub(crate) struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL_MAX)), tenants: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn: the tenant's own first, so that its queue is in nobody's way. What is no tenant's has none of
    /// its own to wait for.
    ///
    /// # Errors
    /// [`AcquireError`] when there are no turns any more.
    pub(crate) async fn turn(&self, tenant: Option<TenantId>) -> Result<Turn, AcquireError> {
        let own = match tenant {
            Some(tenant) => Some(self.own(tenant).acquire_owned().await?),
            None => None,
        };
        Ok(Turn { _own: own, _all: Arc::clone(&self.all).acquire_owned().await? })
    }

    fn own(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, turns| turns.strong_count() > 0);
        let known = tenants.get(&tenant).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turns = Arc::new(Semaphore::new(OF_TENANT_MAX));
            tenants.insert(tenant, Arc::downgrade(&turns));
            turns
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What is there without waiting.
    fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_tenant_has_two_of_four_turns() {
        let turns = Turns::default();
        let turn = |tenant: Option<u8>| {
            let tenant = tenant.map(|byte| TenantId::from_bytes([byte; 16]));
            at_once(turns.turn(tenant)).map(|turn| turn.expect("there are turns"))
        };
        let first = turn(Some(1)).expect("it is free");
        let second = turn(Some(1)).expect("it is free");
        assert!(turn(Some(1)).is_none(), "both of its own are taken");
        let (third, fourth) = (turn(Some(2)), turn(None));
        assert!(third.is_some() && fourth.is_some());
        assert!(turn(Some(3)).is_none() && turn(None).is_none(), "all are taken");
        drop(first);
        let _next = turn(Some(1)).expect("it is free again");
        drop(second);
        assert!(turn(Some(3)).is_some());
    }
}
