//! Who may be called now. Each endpoint has a lane, so that one that is slow keeps nobody else waiting.
//!
//! Nothing here outlives the process: what it says about an endpoint is learned again by one attempt.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::schedule;
use crate::domain::Timestamp;
use crate::domain::id::{EndpointId, TenantId};

/// Calls of one endpoint at once.
const WIDTH: u32 = 4;
/// Calls of all endpoints of one tenant at once: more than fifty endpoints take, so that those of one tenant
/// do not keep each other waiting either.
const TENANT_WIDTH: u32 = 256;
/// What is waited for at least: the store is looked at about this often.
const WAIT_MIN: SignedDuration = SignedDuration::from_secs(1);
/// What is waited for at most: then somebody looks again how fast the endpoint is.
const WAIT_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How long an endpoint takes of which nothing is known.
const LATENCY_GUESS: SignedDuration = SignedDuration::from_millis(200);
/// Lanes of endpoints that were not called for so long are forgotten.
const IDLE: SignedDuration = SignedDuration::from_mins(15);
/// Lanes beyond which the idle ones are looked for.
const LANES_MANY: usize = 10_000;

/// Whether something may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Now. Whoever got this says [`Lanes::leave`] when it is done.
    Go,
    /// Not before this moment.
    Wait(Timestamp),
}

/// How an endpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It answered within this time.
    Answered(SignedDuration),
    /// It was not there, or asked for fewer calls and maybe said for how long.
    Rest(Option<SignedDuration>),
    /// It was not called after all.
    Unused,
}

#[derive(Debug)]
struct Lane {
    in_hand: u32,
    /// How long an answer takes, smoothed.
    latency: SignedDuration,
    /// How often in a row it was not there.
    rests: u32,
    /// Until when it is left alone.
    resting_until: Timestamp,
    /// When there will be room for the next that waits, as far as one can tell. What has to wait is given
    /// moments one after another, so that a long queue is not looked at each second.
    room_at: Timestamp,
    used_at: Timestamp,
}

/// The lanes of all endpoints.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<EndpointId, Lane>,
    tenants: HashMap<TenantId, u32>,
}

impl Lanes {
    /// Asks for a place in the lane of an endpoint.
    pub fn enter(&mut self, tenant: TenantId, endpoint: EndpointId, now: Timestamp) -> Entry {
        if self.lanes.len() > LANES_MANY {
            self.lanes.retain(|_, lane| lane.in_hand > 0 || now.duration_since(lane.used_at) < IDLE);
        }
        let lane = self.lanes.entry(endpoint).or_insert(Lane {
            in_hand: 0,
            latency: LATENCY_GUESS,
            rests: 0,
            resting_until: now,
            room_at: now,
            used_at: now,
        });
        lane.used_at = now;
        let tenants = self.tenants.entry(tenant).or_default();
        // One that was not there is asked by one call at a time until it is.
        let width = if lane.rests > 0 { 1 } else { WIDTH };
        if now >= lane.resting_until && lane.in_hand < width && *tenants < TENANT_WIDTH {
            lane.in_hand += 1;
            *tenants += 1;
            return Entry::Go;
        }
        let add = |moment: Timestamp, wait| moment.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let soonest = lane.resting_until.max(add(now, WAIT_MIN));
        let latest = soonest.max(add(now, WAIT_MAX));
        let each = lane.latency / i32::try_from(width).unwrap_or(1);
        lane.room_at = add(lane.room_at.max(now), each).min(latest);
        Entry::Wait(lane.room_at.max(soonest))
    }

    /// Gives a place back.
    pub fn leave(&mut self, tenant: TenantId, endpoint: EndpointId, pass: Pass, now: Timestamp) {
        if let Some(in_hand) = self.tenants.get_mut(&tenant) {
            *in_hand = in_hand.saturating_sub(1);
            if *in_hand == 0 {
                self.tenants.remove(&tenant);
            }
        }
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        lane.in_hand = lane.in_hand.saturating_sub(1);
        match pass {
            Pass::Answered(latency) => {
                lane.rests = 0;
                lane.latency = (lane.latency * 3 + latency) / 4;
            }
            Pass::Rest(asked) => {
                lane.rests = lane.rests.saturating_add(1);
                let rest = schedule::rest(lane.rests, asked);
                lane.resting_until = lane.resting_until.max(now.saturating_add(rest).unwrap_or(Timestamp::MAX));
            }
            Pass::Unused => {}
        }
    }

    /// Takes back that an endpoint is to be left alone: somebody mended it.
    pub fn forget(&mut self, endpoint: EndpointId) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            (lane.rests, lane.resting_until, lane.room_at) = (0, Timestamp::MIN, Timestamp::MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn tenant() -> TenantId {
        TenantId::from_bytes([1; 16])
    }

    fn endpoint(n: u8) -> EndpointId {
        EndpointId::from_bytes([n; 16])
    }

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn one_endpoint_has_four_places_and_takes_none_of_anothers() {
        let mut lanes = Lanes::default();
        for _ in 0..4 {
            assert_eq!(lanes.enter(tenant(), endpoint(1), NOW), Entry::Go);
        }
        assert!(matches!(lanes.enter(tenant(), endpoint(1), NOW), Entry::Wait(_)));
        assert_eq!(lanes.enter(tenant(), endpoint(2), NOW), Entry::Go);
        lanes.leave(tenant(), endpoint(1), Pass::Answered(SignedDuration::ZERO), NOW);
        assert_eq!(lanes.enter(tenant(), endpoint(1), NOW), Entry::Go);
    }

    #[test]
    fn one_that_was_not_there_rests_and_is_then_asked_by_one_call() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter(tenant(), endpoint(1), NOW), Entry::Go);
        lanes.leave(tenant(), endpoint(1), Pass::Rest(None), NOW);
        assert_eq!(lanes.enter(tenant(), endpoint(1), after(4)), Entry::Wait(after(5)));
        assert_eq!(lanes.enter(tenant(), endpoint(1), after(5)), Entry::Go);
        assert!(matches!(lanes.enter(tenant(), endpoint(1), after(5)), Entry::Wait(_)));
        lanes.leave(tenant(), endpoint(1), Pass::Answered(SignedDuration::ZERO), after(5));
        for _ in 0..4 {
            assert_eq!(lanes.enter(tenant(), endpoint(1), after(6)), Entry::Go);
        }
    }

    #[test]
    fn what_waits_is_spread_by_how_fast_the_endpoint_is() {
        let mut lanes = Lanes::default();
        for _ in 0..4 {
            lanes.enter(tenant(), endpoint(1), NOW);
        }
        let waits: Vec<Entry> = (0..100).map(|_| lanes.enter(tenant(), endpoint(1), NOW)).collect();
        // 200 ms a call, four at once: 20 a second, and nothing before a second is over.
        assert_eq!(waits[0], Entry::Wait(after(1)));
        assert_eq!(waits[39], Entry::Wait(after(2)));
        assert_eq!(waits[99], Entry::Wait(after(5)));
        let far = (0..100_000).map(|_| lanes.enter(tenant(), endpoint(1), NOW)).last();
        assert_eq!(far, Some(Entry::Wait(after(300))));
    }

    #[test]
    fn one_tenant_does_not_take_every_place() {
        let mut lanes = Lanes::default();
        let enter = |n| (0..4).filter(|_| lanes.enter(tenant(), endpoint(n), NOW) == Entry::Go).count();
        assert_eq!((0..100).map(enter).sum::<usize>(), 256);
        assert_eq!(lanes.enter(TenantId::from_bytes([9; 16]), endpoint(200), NOW), Entry::Go);
    }
}
