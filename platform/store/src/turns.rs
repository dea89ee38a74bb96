//! Turns at reading many rows. A filter that matches little reads all that a tenant has, so without turns one
//! tenant's listings would take the processor from everybody's codes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wotp_core::domain::id::TenantId;

/// Listings at once, of all tenants and of one.
const ALL_MAX: usize = 4;
const OF_TENANT_MAX: usize = 2;
/// Listings of one tenant that may be under way or wait. What waits holds a request, also after its caller has gone.
const PLACES: usize = 32;

/// Hands out turns.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Weak<Own>>>,
}

/// What one tenant has.
#[derive(Debug)]
struct Own {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Why there is no turn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTurn {
    #[error("{PLACES} listings of the tenant are under way or wait already")]
    Full,
    #[error("the store is closed")]
    Closed,
}

/// A turn, until it is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub(crate) struct Turn {
    _own: Option<(Arc<Own>, OwnedSemaphorePermit, OwnedSemaphorePermit)>,
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
    /// [`NoTurn`] when too many of the tenant wait already, or there are no turns any more.
    pub(crate) async fn turn(&self, tenant: Option<TenantId>) -> Result<Turn, NoTurn> {
        let own = match tenant.map(|tenant| self.own(tenant)) {
            Some(own) => {
                let place = Arc::clone(&own.places).try_acquire_owned().map_err(|_| NoTurn::Full)?;
                let turn = Arc::clone(&own.turns).acquire_owned().await.map_err(|_| NoTurn::Closed)?;
                Some((own, place, turn))
            }
            None => None,
        };
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(|_| NoTurn::Closed)?;
        Ok(Turn { _own: own, _all: all })
    }

    fn own(&self, tenant: TenantId) -> Arc<Own> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, own| own.strong_count() > 0);
        let known = tenants.get(&tenant).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let semaphore = |permits| Arc::new(Semaphore::new(permits));
            let own = Arc::new(Own { turns: semaphore(OF_TENANT_MAX), places: semaphore(PLACES) });
            tenants.insert(tenant, Arc::downgrade(&own));
            own
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

    #[test]
    fn no_more_than_so_many_wait_for_one_tenant() {
        let turns = Turns::default();
        type Waiting<'t> = std::pin::Pin<Box<dyn Future<Output = Result<Turn, NoTurn>> + 't>>;
        let turn = |byte| -> Waiting<'_> { Box::pin(turns.turn(Some(TenantId::from_bytes([byte; 16])))) };
        let poll = |turn: &mut Waiting<'_>| turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut waiting: Vec<_> = (0..PLACES).map(|_| turn(1)).collect();
        let polled: Vec<_> = waiting.iter_mut().map(poll).collect();
        assert_eq!(polled.iter().filter(|polled| polled.is_ready()).count(), OF_TENANT_MAX);
        assert!(matches!(poll(&mut turn(1)), Poll::Ready(Err(NoTurn::Full))));
        assert!(matches!(poll(&mut turn(2)), Poll::Ready(Ok(_))), "nobody else is in its way");
        // Whoever stops waiting leaves their place.
        waiting.pop();
        assert!(poll(&mut turn(1)).is_pending());
    }
}
