//! Who may be called now. Each endpoint has a lane, so that one that is slow keeps nobody else waiting, and of
//! all calls that a process has in hand those of slow endpoints have one half at most and each tenant a share.
//!
//! Nothing here outlives the process: what it says about an endpoint is learned again by one attempt.

use std::collections::{HashMap, VecDeque};

use jiff::SignedDuration;

use super::endpoint::Endpoint;
use super::schedule;
use crate::domain::Timestamp;
use crate::domain::id::{EndpointId, TenantId};

/// Calls of one endpoint at once.
const WIDTH: u32 = 4;
/// Of these, how many may be of what happens now while other things wait, so that those get on.
const FRESH_WIDTH: u32 = 2;
/// Of these, how many may be of what waited, so that a replay of a month does not hold up what happens now.
const DRAWN_WIDTH: u32 = 3;
/// Calls of all endpoints of one tenant at once, quick and slow ones each: more than fifty endpoints take, so
/// that those of one tenant do not keep each other waiting either.
const TENANT_WIDTH: u32 = 256;
/// Calls in hand at once. One takes a socket and little else.
pub const IN_HAND_MAX: u32 = 2048;
/// Of these, how many may be of endpoints that are not known to be quick, besides the first one of each tenant.
const SLOW_MAX: u32 = IN_HAND_MAX / 2;
/// Once half is taken, which part of what is free one tenant may have.
const SHARE: u32 = 8;
/// An endpoint that answers within this time is a quick one.
const QUICK: SignedDuration = SignedDuration::from_secs(2);
/// When somebody looks again for room.
const LOOK: SignedDuration = SignedDuration::from_secs(5);
/// Lanes of endpoints that were not called for so long are forgotten.
const IDLE: SignedDuration = SignedDuration::from_mins(15);
/// Lanes beyond which the idle ones are looked for.
const LANES_MANY: usize = 10_000;

/// Why somebody asks for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Something happened, or is to be tried again now.
    Fresh,
    /// It waited until there is room.
    Drawn,
    /// Somebody tests the endpoint: they want to know now, however it was before.
    Test,
}

/// Whether something may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Now. Whoever got this says [`Lanes::leave`] when it is done.
    Go(Seat),
    /// Not before about this moment.
    Wait(Timestamp),
}

/// A place in the lane of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    tenant: TenantId,
    endpoint: EndpointId,
    since: Timestamp,
    drawn: bool,
    quick: bool,
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
    tenant: TenantId,
    /// What is known was learned since its endpoint was changed at this moment.
    changed_at: Timestamp,
    in_hand: u32,
    /// Of these, what had waited.
    drawn: u32,
    /// How long an answer takes, smoothed; none until there was one.
    latency: Option<SignedDuration>,
    /// How often in a row it was not there.
    rests: u32,
    /// When its last rest began.
    rested_at: Timestamp,
    /// Until when it is left alone.
    resting_until: Timestamp,
    /// Whether something is parked there, as far as this process knows.
    backlog: bool,
    /// When this process last said in the store that something is.
    said_at: Timestamp,
    /// Whether it is among those that are wanted.
    wanted: bool,
    /// How often this process parked something.
    parked: u64,
    used_at: Timestamp,
}

impl Lane {
    fn is_quick(&self) -> bool {
        self.rests == 0 && self.latency.is_some_and(|latency| latency <= QUICK)
    }

    fn has_said(&self, now: Timestamp) -> bool {
        self.backlog && now.duration_since(self.said_at) < LOOK
    }

    /// Whether there is room within the lane.
    fn has_room(&self, way: Way) -> bool {
        // One that was not there is asked by one call at a time until it is: by what waited longest.
        let width = if self.rests > 0 { 1 } else { WIDTH };
        match way {
            Way::Test => self.in_hand <= WIDTH,
            Way::Drawn => self.in_hand < width && self.drawn < DRAWN_WIDTH,
            Way::Fresh if self.backlog => {
                self.in_hand < width && width > 1 && self.in_hand.saturating_sub(self.drawn) < FRESH_WIDTH
            }
            Way::Fresh => self.in_hand < width,
        }
    }
}

/// The lanes of all endpoints.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<EndpointId, Lane>,
    /// Quick calls of a tenant, and others.
    tenants: HashMap<TenantId, [u32; 2]>,
    in_hand: u32,
    slow: u32,
    /// Where there is room for what is parked, each once, the longest wanted first.
    wanted: VecDeque<EndpointId>,
    /// The number of lanes at which the idle ones are looked for.
    many: usize,
}

impl Lanes {
    /// Asks for a place in the lane of an endpoint.
    pub fn enter(&mut self, endpoint: &Endpoint, way: Way, now: Timestamp) -> Entry {
        let lane = self.lane(endpoint, now);
        let (quick, room, until) = (lane.is_quick(), lane.has_room(way), lane.resting_until);
        if now < until && way != Way::Test {
            return Entry::Wait(until);
        }
        if !room || !self.has_share(endpoint.tenant, quick) {
            return Entry::Wait(now.saturating_add(LOOK).unwrap_or(Timestamp::MAX));
        }
        let drawn = way == Way::Drawn;
        if let Some(lane) = self.lanes.get_mut(&endpoint.id) {
            lane.in_hand += 1;
            lane.drawn += u32::from(drawn);
        }
        self.in_hand += 1;
        self.slow += u32::from(!quick);
        self.tenants.entry(endpoint.tenant).or_default()[usize::from(!quick)] += 1;
        Entry::Go(Seat { tenant: endpoint.tenant, endpoint: endpoint.id, since: now, drawn, quick })
    }

    /// Whether one more call of a tenant leaves enough to the others.
    fn has_share(&self, tenant: TenantId, quick: bool) -> bool {
        let theirs = self.tenants.get(&tenant).map_or(0, |theirs| theirs[usize::from(!quick)]);
        let places = IN_HAND_MAX.saturating_sub(self.in_hand);
        if theirs == 0 {
            // Whoever has none gets one, however much others took before they came.
            return places > 0;
        }
        let (taken, all) = if quick { (self.in_hand, IN_HAND_MAX) } else { (self.slow, SLOW_MAX) };
        let free = all.saturating_sub(taken).min(places);
        let share = if taken < all / 2 { TENANT_WIDTH } else { (free / SHARE).min(TENANT_WIDTH) };
        theirs < share
    }

    /// Gives a place back. Says whether something that is parked there has room now.
    pub fn leave(&mut self, seat: Seat, pass: Pass, now: Timestamp) -> bool {
        self.in_hand = self.in_hand.saturating_sub(1);
        self.slow = self.slow.saturating_sub(u32::from(!seat.quick));
        if let Some(theirs) = self.tenants.get_mut(&seat.tenant) {
            theirs[usize::from(!seat.quick)] = theirs[usize::from(!seat.quick)].saturating_sub(1);
            if *theirs == [0, 0] {
                self.tenants.remove(&seat.tenant);
            }
        }
        let Some(lane) = self.lanes.get_mut(&seat.endpoint) else { return false };
        lane.in_hand = lane.in_hand.saturating_sub(1);
        lane.drawn = lane.drawn.saturating_sub(u32::from(seat.drawn));
        match pass {
            Pass::Answered(latency) => {
                (lane.rests, lane.resting_until) = (0, Timestamp::MIN);
                lane.latency = Some(lane.latency.map_or(latency, |before| (before * 3 + latency) / 4));
            }
            Pass::Rest(asked) => {
                // Calls that went out together say the same thing once.
                if lane.rests == 0 || seat.since > lane.rested_at {
                    lane.rests = lane.rests.saturating_add(1);
                    lane.rested_at = now;
                }
                let rest = schedule::rest(lane.rests, asked);
                lane.resting_until = lane.resting_until.max(now.saturating_add(rest).unwrap_or(Timestamp::MAX));
            }
            Pass::Unused => {}
        }
        // Whoever could not use it would ask again at once, and again.
        pass != Pass::Unused && self.want(seat.endpoint, now)
    }

    /// Whether this process said a moment ago that something is parked at an endpoint, and nobody found that it
    /// is not. Otherwise whoever parks says so in the store: another process may have drawn everything since.
    pub fn has_said(&self, endpoint: EndpointId, now: Timestamp) -> bool {
        self.lanes.get(&endpoint).is_some_and(|lane| lane.has_said(now))
    }

    /// Something was parked at an endpoint. Says whether it has room there.
    pub fn parked(&mut self, endpoint: EndpointId, now: Timestamp) -> bool {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return false };
        if !lane.has_said(now) {
            lane.said_at = now;
        }
        lane.backlog = true;
        lane.parked = lane.parked.wrapping_add(1);
        self.want(endpoint, now)
    }

    /// How often something was parked at an endpoint: asked before looking at what is.
    pub fn parkings(&self, endpoint: EndpointId) -> u64 {
        self.lanes.get(&endpoint).map_or(0, |lane| lane.parked)
    }

    /// Somebody looked at what is parked, after [`parkings`](Self::parkings) said `before`; says whether there
    /// is more.
    pub fn looked(&mut self, endpoint: EndpointId, before: u64, more: bool) -> bool {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return more };
        lane.backlog = more || lane.parked != before;
        lane.backlog
    }

    /// Where something is parked and may have room, the longest wanted first.
    pub fn wanted(&mut self, limit: usize) -> Vec<(TenantId, EndpointId)> {
        let first = self.wanted.drain(..limit.min(self.wanted.len()));
        let lanes = &mut self.lanes;
        first
            .filter_map(|endpoint| {
                let lane = lanes.get_mut(&endpoint)?;
                lane.wanted = false;
                Some((lane.tenant, endpoint))
            })
            .collect()
    }

    /// Whether anything is [`wanted`](Self::wanted).
    pub fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    fn want(&mut self, endpoint: EndpointId, now: Timestamp) -> bool {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return false };
        let wanted = lane.backlog && now >= lane.resting_until && lane.has_room(Way::Drawn);
        if wanted && !lane.wanted {
            lane.wanted = true;
            self.wanted.push_back(endpoint);
        }
        wanted
    }

    fn lane(&mut self, endpoint: &Endpoint, now: Timestamp) -> &mut Lane {
        if self.lanes.len() > self.many.max(LANES_MANY) {
            self.lanes.retain(|_, lane| lane.in_hand > 0 || now.duration_since(lane.used_at) < IDLE);
            // Not again for each that comes, where most are in use.
            self.many = self.lanes.len().saturating_mul(2);
        }
        let lane = self.lanes.entry(endpoint.id).or_insert(Lane {
            tenant: endpoint.tenant,
            changed_at: endpoint.updated_at,
            in_hand: 0,
            drawn: 0,
            latency: None,
            rests: 0,
            rested_at: Timestamp::MIN,
            resting_until: Timestamp::MIN,
            backlog: false,
            said_at: Timestamp::MIN,
            wanted: false,
            parked: 0,
            used_at: now,
        });
        lane.used_at = now;
        // Somebody mended it, on whichever node.
        if endpoint.updated_at > lane.changed_at {
            lane.changed_at = endpoint.updated_at;
            (lane.rests, lane.resting_until, lane.latency) = (0, Timestamp::MIN, None);
        }
        lane
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
