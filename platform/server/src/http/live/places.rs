//! How many wait at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wotp_core::domain::id::TenantId;

use crate::http::{Problem, ProblemCode};

/// When somebody who found no place may try again.
const RETRY_SECONDS: u64 = 5;

/// Places of each tenant on this node.
pub(crate) struct Places {
    max: usize,
    taken: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// One of them, until it is dropped.
pub(crate) struct Place {
    tenant: TenantId,
    taken: Arc<Mutex<HashMap<TenantId, usize>>>,
}

fn locked(taken: &Mutex<HashMap<TenantId, usize>>) -> MutexGuard<'_, HashMap<TenantId, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// A place of a tenant.
    ///
    /// # Errors
    /// [`ProblemCode::TooManyWaiting`] when all are taken.
    pub(crate) fn take(&self, tenant: TenantId) -> Result<Place, Problem> {
        let mut taken = locked(&self.taken);
        let of_tenant = taken.entry(tenant).or_default();
        if *of_tenant >= self.max {
            let detail = format!("at most {} calls of a tenant wait here at once; end one, or wait for one", self.max);
            return Err(Problem::new(ProblemCode::TooManyWaiting, detail)
                .with_header(http::header::RETRY_AFTER, RETRY_SECONDS.into()));
        }
        *of_tenant += 1;
        Ok(Place { tenant, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        if let Some(of_tenant) = taken.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::testing::builders::a_tenant;

    use super::*;

    #[test]
    fn a_tenant_has_so_many_places_and_takes_none_of_anothers() {
        let places = Places::new(2);
        let (one, other) = (a_tenant().id, a_tenant().id);
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).err().map(|problem| problem.code()), Some(ProblemCode::TooManyWaiting));
        let _theirs = places.take(other).unwrap();
        drop(first);
        let third = places.take(one).unwrap();
        drop(third);
        drop(_second);
        drop(_theirs);
        assert!(locked(&places.taken).is_empty(), "nobody is remembered for ever");
    }
}
