//! Which deliveries this node has handed over to the one that keeps their account.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;

use crate::domain::Timestamp;
use crate::domain::dispatch::LeaseToken;

/// So long it is known under which holds deliveries were handed over: a ring is heard within seconds, or its hold is over.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Under which holds a delivery was handed over, lately.
///
/// Each node hands it over once under a hold. Two that each take the other for the keeper would pass it on for ever
/// otherwise; like this it comes back to the first, which goes on as if nobody kept the account: through another channel,
/// or later. Nothing of it is in the ring, so nodes of an older program are bounded as well.
#[derive(Debug, Default)]
pub(super) struct HandedOver {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    holds: HashSet<LeaseToken>,
    /// The same, in the order in which they are forgotten.
    until: VecDeque<(Timestamp, LeaseToken)>,
}

impl HandedOver {
    /// Whether a delivery may be handed over under this hold, and takes down that it is.
    pub(super) fn may(&self, hold: LeaseToken, now: Timestamp) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, over)) = known.until.pop_front_if(|(until, _)| *until <= now) {
            known.holds.remove(&over);
        }
        let first = known.holds.insert(hold);
        if first {
            known.until.push_back((now.saturating_add(KNOWN_FOR).unwrap_or(Timestamp::MAX), hold));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::seconds;

    /// After how many hops a delivery is not passed on any more by nodes that each take the next for the keeper.
    fn hops(nodes: usize) -> usize {
        let nodes: Vec<HandedOver> = (0..nodes).map(|_| HandedOver::default()).collect();
        nodes.iter().cycle().take(100).take_while(|node| node.may(7, seconds(0))).count()
    }

    #[test]
    fn nodes_that_take_each_other_for_the_keeper_pass_a_delivery_on_once_each() {
        assert_eq!([hops(1), hops(2), hops(3)], [1, 2, 3]);
    }

    #[test]
    fn under_another_hold_it_is_handed_over_again_and_what_is_over_is_forgotten() {
        let handed_over = HandedOver::default();
        assert!((0..1_000).all(|hold| handed_over.may(hold, seconds(0))));
        assert!(!handed_over.may(1, seconds(59)));
        assert!(handed_over.may(1_000, seconds(60)));
        let known = handed_over.known.lock().unwrap();
        assert_eq!((known.holds.len(), known.until.len()), (1, 1));
    }
}
