use crate::app::{ApiCaller, App, Refusal};
use crate::domain::event::Event;
use crate::domain::id::EventId;
use crate::domain::webhook::endpoint::EventPattern;
use crate::ports::{EntityList, Owner, Stored};

/// Most events that one listing looks at: where few match, a page holds few, and the next goes on from there.
const LOOKED_AT_MAX: usize = 2000;
/// Events that are read at once.
const READ: usize = 200;

/// One page of events, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// What is on it.
    pub events: Vec<Event>,
    /// Where the next one begins; none on the last.
    pub next: Option<EventId>,
}

/// Whether a caller may see an event: of its mode, and of its service if it is bound to one.
pub(in crate::app) fn visible(caller: &ApiCaller, event: &Event) -> bool {
    event.mode().is_none_or(|mode| mode == caller.mode())
        && caller.service().is_none_or(|bound| event.service == Some(bound))
}

impl App {
    /// One event that the caller may see.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_event(&self, caller: &ApiCaller, id: EventId) -> Result<Event, Refusal> {
        let found = self.find::<Event>(Owner::Tenant(caller.tenant.id), id.to_bytes()).await?;
        let found = found.filter(|event| visible(caller, event)).map(|stored| stored.entity);
        found.ok_or(Refusal::NotFound("event"))
    }

    /// A page of events that the caller may see, newest first; of one kind or thing, if `pattern` says so.
    ///
    /// From the first call on, events of the tenant are kept for a day though no endpoint is told.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_events(
        &self,
        caller: &ApiCaller,
        pattern: Option<EventPattern>,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<EventPage, Refusal> {
        self.heard(caller.tenant.id).await?;
        let mut page = EventPage { events: Vec::new(), next: None };
        let (mut before, mut looked_at) = (after, 0);
        loop {
            let list = EntityList {
                before: before.map(EventId::to_bytes),
                ..EntityList::of(Owner::Tenant(caller.tenant.id)).newest(READ)
            };
            let read = self.list_readable_in_turn::<Event>(&list).await?;
            looked_at += read.count;
            let all = read.count < READ;
            for Stored { entity: event, .. } in read.things {
                if !visible(caller, &event) || pattern.as_ref().is_some_and(|pattern| !pattern.matches(&event.kind)) {
                    continue;
                }
                if page.events.len() == limit {
                    page.next = page.events.last().map(|event| event.id);
                    return Ok(page);
                }
                page.events.push(event);
            }
            if all {
                return Ok(page);
            }
            before = read.last.map(EventId::from_bytes);
            if looked_at >= LOOKED_AT_MAX {
                page.next = before;
                return Ok(page);
            }
        }
    }
}
