//! Events of a tenant as they happen, and those before that somebody missed.
//!
//! Ids of events are in the order of the moment at which they were made, on whichever node; they become
//! visible in the order in which they are committed. So what is new may be before what was told already.
//! Each look goes back a little, and now and then far, and tells what it has not told: nothing is left out,
//! and each event is told once to whoever stays. Whoever comes back hears the last seconds before it left
//! again.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::commit::Readable;
use super::webhooks::visible;
use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{EventId, ServiceId};
use crate::domain::webhook::endpoint::EventPattern;
use crate::ports::{EntityList, Owner, Stored};

/// How far each look goes back: longer than a commit takes that nothing is in the way of.
const NEAR: SignedDuration = SignedDuration::from_secs(2);
/// How often a look goes back far.
const FAR_EVERY: SignedDuration = SignedDuration::from_secs(15);
/// How far it does: longer than any commit is tried, which is a minute, and than it takes until the next far
/// look. So what is stored within a minute is seen by one of them, and not only what was stored before the first.
const FAR: SignedDuration = SignedDuration::from_secs(60 + 15 + 5);
/// What is told is remembered for so long beyond `FAR`: clocks of nodes may differ.
const SLACK: SignedDuration = SignedDuration::from_secs(10);
/// What whoever comes back hears again: what was before the last event that it heard, by so much.
const REPLAYED: SignedDuration = SignedDuration::from_secs(5);
/// Events that are read at once.
const READ: usize = 200;
/// Events that one look reads at most. Where hardly any is wanted, a look at a month of them would go on for
/// minutes, and nobody would hear meanwhile that it goes on.
const LOOKED_AT_MAX: usize = 2000;

/// Which events are followed: all that the caller may see, unless it says less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedEvents {
    /// Of these kinds; none means all.
    pub kinds: Vec<EventPattern>,
    /// Of this service.
    pub service: Option<ServiceId>,
}

/// How far somebody has followed the events of a tenant.
#[derive(Debug)]
pub struct Following {
    caller: ApiCaller,
    wanted: WantedEvents,
    /// The next id that nobody looked at yet.
    next: [u8; 16],
    /// What was told, or was there before, as far back as anybody looks.
    known: BTreeSet<[u8; 16]>,
    far_at: Timestamp,
    /// Where a look goes on that was not done.
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    from: [u8; 16],
    far: bool,
}

/// What a look saw.
#[derive(Debug)]
pub struct Seen {
    /// What is new, the oldest first, but for what came late.
    pub events: Vec<Event>,
    /// Where to go on, when there is more to look at than one look takes: an id that no event has. Who names it
    /// as the last that it heard goes on about here.
    pub reached: Option<EventId>,
}

fn first_at(now: Timestamp, back: SignedDuration) -> [u8; 16] {
    EventId::first_at(now.saturating_sub(back).unwrap_or(Timestamp::MIN)).to_bytes()
}

/// When an event was made, by its id.
fn moment_of(id: EventId) -> Timestamp {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&id.to_bytes()[..6]);
    let millis = i64::try_from(u64::from_be_bytes(millis)).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

fn after(id: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(id).saturating_add(1).to_be_bytes()
}

impl Following {
    /// Who follows: what they may see may change meanwhile, and their tenant does not.
    pub fn caller_mut(&mut self) -> &mut ApiCaller {
        &mut self.caller
    }

    fn wants(&self, event: &Event) -> bool {
        let WantedEvents { kinds, service } = &self.wanted;
        visible(&self.caller, event)
            && (kinds.is_empty() || kinds.iter().any(|pattern| pattern.matches(&event.kind)))
            && service.is_none_or(|service| event.service == Some(service))
    }
}

impl App {
    /// Follows events of the caller's tenant from now on; or from the last one that it heard, and a little
    /// before, so that what came late is not missed.
    ///
    /// # Errors
    /// [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn follow_events(
        &self,
        caller: &ApiCaller,
        wanted: WantedEvents,
        last: Option<EventId>,
    ) -> Result<Following, Refusal> {
        if let (Some(bound), Some(named)) = (caller.service(), wanted.service)
            && bound != named
        {
            return Err(Refusal::OtherService);
        }
        self.heard(caller.tenant.id).await?;
        let now = self.now();
        let from_now = EventId::first_at(now).to_bytes();
        let next = last.map_or(from_now, |last| first_at(moment_of(last), REPLAYED).min(from_now));
        let mut following =
            Following { caller: caller.clone(), wanted, next, known: BTreeSet::new(), far_at: now, under_way: None };
        // What is there and is not to be told.
        let mut from = first_at(now, FAR);
        loop {
            let events = self.events_from(&following, from).await?;
            let untold = |event: &&Stored<Event>| last.is_none() || event.id.to_bytes() < next;
            following.known.extend(events.things.iter().filter(untold).map(|event| event.id.to_bytes()));
            match events.last {
                Some(last) if events.count == READ => from = after(last),
                _ => break,
            }
        }
        following.known.extend(last.map(EventId::to_bytes));
        Ok(following)
    }

    /// What happened since the last call. It looks at so many events and no more: where it says how far it got,
    /// the next call goes on from there.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn next_events(&self, following: &mut Following) -> Result<Seen, Refusal> {
        let now = self.now();
        let UnderWay { mut from, far } = match following.under_way {
            Some(under_way) => under_way,
            None => {
                let far = now.duration_since(following.far_at) >= FAR_EVERY;
                if far {
                    self.heard(following.caller.tenant.id).await?;
                }
                UnderWay { from: following.next.min(first_at(now, if far { FAR } else { NEAR })), far }
            }
        };
        // What is older is never looked at again once this look is past it.
        let remembered = first_at(now, FAR + SLACK);
        let (mut new, mut looked_at) = (Vec::new(), 0);
        loop {
            let events = self.events_from(following, from).await?;
            let all = events.count < READ;
            looked_at += events.count;
            for Stored { entity: event, .. } in events.things {
                let id = event.id.to_bytes();
                from = after(id);
                following.next = following.next.max(from);
                let unknown = if id < remembered { !following.known.contains(&id) } else { following.known.insert(id) };
                if unknown && following.wants(&event) {
                    new.push(event);
                }
            }
            from = events.last.map_or(from, after);
            following.next = following.next.max(from);
            if all {
                following.far_at = if far { now } else { following.far_at };
                following.under_way = None;
                following.known = following.known.split_off(&remembered.min(following.next));
                return Ok(Seen { events: new, reached: None });
            }
            if new.len() >= READ || looked_at >= LOOKED_AT_MAX {
                following.under_way = Some(UnderWay { from, far });
                following.known = following.known.split_off(&remembered.min(from));
                // Not `from`: a look that goes back looks at what was told before.
                let reached = EventId::first_at(moment_of(EventId::from_bytes(following.next)));
                return Ok(Seen { events: new, reached: Some(reached) });
            }
        }
    }

    async fn events_from(&self, following: &Following, from: [u8; 16]) -> Result<Readable<Event>, Refusal> {
        let owner = Owner::Tenant(following.caller.tenant.id);
        self.list_readable(&EntityList { from: Some(from), limit: READ, ..EntityList::of(owner) }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{entropy, noon, seconds};

    #[test]
    fn an_id_tells_when_it_was_made() {
        assert_eq!(moment_of(EventId::new(noon(), entropy())), noon());
        assert_eq!(moment_of(EventId::first_at(seconds(1))), seconds(1));
        assert!(moment_of(EventId::from_bytes([u8::MAX; 16])) > seconds(1));
        assert!(after(EventId::first_at(noon()).to_bytes()) > EventId::first_at(noon()).to_bytes());
    }
}
