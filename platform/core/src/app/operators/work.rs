use futures_util::future::try_join;
use jiff::SignedDuration;
use serde_json::json;

use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::{By, Deed};
use crate::domain::event::Event;
use crate::domain::id::TenantId;
use crate::domain::message::Message;
use crate::domain::set_aside::SetAside;
use crate::domain::verification::Verification;
use crate::domain::webhook::delivery::{WebhookDelivery, WebhookStatus};
use crate::ports::{Entity as _, EntityList, Item, Job, Owner, ReplaceError, StoreError, Stored};

/// What was due so long ago and is still there is stuck: the sweep looks every second.
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// As far as what waits is counted. Where it matters how much more there is, it grows in the metrics.
const COUNTED_MAX: usize = 1_000;

/// What workers have to do, and what waits for the other work of nodes; each of these is counted up to a thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Rings that wait for a worker, on all nodes; none when the queue does not say.
    pub waiting: Option<usize>,
    /// Webhooks that are due and that no node has taken: what waits for an endpoint, or for its next attempt, is not.
    pub webhooks_waiting: usize,
    /// Changes of verifications and messages that are no events yet, and not in analytics.
    pub news_waiting: usize,
    /// Rows that are due and that whichever node looked could not read.
    pub set_aside: usize,
    /// What is stuck, the longest first: due for over a minute.
    pub stuck: Vec<StuckWork>,
}

/// Something that should have been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckWork {
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub item: Item,
    /// What is known of it; none where its record cannot be read.
    pub seen: Option<SeenWork>,
}

/// What is known of something that is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenWork {
    /// Since when it is due.
    pub due_since: Timestamp,
    /// Calls to channels so far.
    pub tries: u32,
}

impl App {
    /// What workers have to do, and at most `limit` of what is stuck.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn work(&self, limit: usize) -> Result<Work, Refusal> {
        let before = self.now().saturating_sub(STUCK_AFTER).unwrap_or(Timestamp::MIN);
        let mut stuck = Vec::new();
        for (tenant, item) in self.ports.store.due(before, limit).await? {
            let store = self.ports.store.tenant(tenant);
            let seen = match item {
                Item::Verification(id) => {
                    let found = store.find_verification(id).await;
                    found.map(|found| found.map(|found| (found.wake_at(), found.dispatch)))
                }
                Item::Message(id) => {
                    let found = store.find_message(id).await;
                    found.map(|found| found.map(|found| (found.wake_at(), found.dispatch)))
                }
            };
            match seen {
                Ok(Some((due_since, dispatch))) if due_since <= before => {
                    let tries = dispatch.deliveries.iter().map(|delivery| u32::from(delivery.tries)).sum();
                    stuck.push(StuckWork { tenant, item, seen: Some(SeenWork { due_since, tries }) });
                }
                // Somebody did it meanwhile.
                Ok(_) => {}
                // One that cannot be read hides none of the others.
                Err(StoreError::Damaged(_)) => stuck.push(StuckWork { tenant, item, seen: None }),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Work {
            waiting: self.ports.queue.depth().await.ok(),
            webhooks_waiting: self.webhooks_waiting().await?,
            news_waiting: self.ports.store.news(COUNTED_MAX).await?.len().min(COUNTED_MAX),
            set_aside: self.rows_set_aside().await?,
            stuck,
        })
    }

    /// Events that have no deliveries yet, and deliveries to be made now. What is due to be deleted is neither.
    async fn webhooks_waiting(&self) -> Result<usize, Refusal> {
        let (store, now) = (&self.ports.store, self.now());
        let events = store.due_entities(Event::KIND, now, COUNTED_MAX);
        let (events, deliveries) =
            try_join(events, store.due_entities(WebhookDelivery::KIND, now, COUNTED_MAX)).await?;
        // What cannot be read is about to be set aside, and is counted there.
        let events = events.into_iter().filter_map(|row| Stored::<Event>::read(row).ok());
        let deliveries = deliveries.into_iter().filter_map(|row| Stored::<WebhookDelivery>::read(row).ok());
        let waiting = events.filter(|event| !event.fanned_out).count()
            + deliveries.filter(|delivery| delivery.status == WebhookStatus::Pending).count();
        Ok(waiting.min(COUNTED_MAX))
    }

    async fn rows_set_aside(&self) -> Result<usize, Refusal> {
        let now = self.now();
        let notes = self.list_readable::<SetAside>(&EntityList::of(Owner::Platform).newest(COUNTED_MAX)).await?;
        Ok(notes.things.iter().filter(|note| now < note.counts_until()).count())
    }

    /// Rings for something at once.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::WorkEnded`] when it has ended and is not due, [`Refusal::Store`].
    pub async fn retry_work(&self, by: &By, tenant: TenantId, item: Item) -> Result<(), Refusal> {
        let (store, now) = (self.ports.store.tenant(tenant), self.now());
        let is_left = match item {
            Item::Verification(id) => {
                store.find_verification(id).await?.map(|mut found| found.wake_at() <= now || found.cancel(now))
            }
            Item::Message(id) => {
                store.find_message(id).await?.map(|mut found| found.wake_at() <= now || found.discard(now))
            }
        };
        if !is_left.ok_or(Refusal::NotFound("work"))? {
            return Err(Refusal::WorkEnded);
        }
        self.write_down(tenant, by, deed("work.retry", tenant, item)).await?;
        self.ring(Job { tenant, item, token: None }).await;
        Ok(())
    }

    /// Gives something up: a verification is canceled, a message is not delivered any more. What has ended
    /// stays as it is, and nothing is said of it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn discard_work(&self, by: &By, tenant: TenantId, item: Item) -> Result<(), Refusal> {
        self.exists(tenant, item).await?;
        let store = self.ports.store.tenant(tenant);
        let mut logged = false;
        loop {
            let now = self.now();
            let (before, mut left) = match item {
                Item::Verification(id) => {
                    let Some(mut found) = store.find_verification(id).await? else { return Ok(()) };
                    let (status, refunded) = (json!(found.status), found.counted.refunded);
                    let left = found.cancel(now).then_some(Left::Verification(Box::new(found), refunded));
                    (status, left)
                }
                Item::Message(id) => {
                    let Some(mut found) = store.find_message(id).await? else { return Ok(()) };
                    let (status, refunded) = (json!(found.status()), found.counted.refunded);
                    let left = found.discard(now).then_some(Left::Message(Box::new(found), refunded));
                    (status, left)
                }
            };
            let Some(left) = &mut left else { return Ok(()) };
            // Records of verifications are no entities: the line comes first, so that a crash between the two
            // leaves a line too many and never a change that no line tells of.
            if !std::mem::replace(&mut logged, true) {
                let deed = deed("work.discard", tenant, item).before(json!({ "status": &before }));
                self.write_down(tenant, by, deed).await?;
            }
            let replaced = match left {
                Left::Verification(found, refunded) => {
                    let refund = found.counted.refunded && !*refunded;
                    let replaced = store.replace(found, refund).await;
                    self.changes.tell(found.id);
                    replaced
                }
                Left::Message(found, refunded) => {
                    let refund = found.counted.refunded && !*refunded;
                    store.replace_message(found, refund).await
                }
            };
            match replaced {
                Ok(()) => return Ok(()),
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    async fn exists(&self, tenant: TenantId, item: Item) -> Result<(), Refusal> {
        let store = self.ports.store.tenant(tenant);
        match item {
            Item::Verification(id) => store.find_verification(id).await?.map(|_| ()),
            Item::Message(id) => store.find_message(id).await?.map(|_| ()),
        }
        .ok_or(Refusal::NotFound("work"))
    }
}

/// Something that was given up, and whether its use had been given back before.
enum Left {
    Verification(Box<Verification>, bool),
    Message(Box<Message>, bool),
}

fn deed(action: &'static str, tenant: TenantId, item: Item) -> Deed {
    let deed = match item {
        Item::Verification(id) => Deed::of(tenant, action, id),
        Item::Message(id) => Deed::of(tenant, action, id),
    };
    deed.after(json!({ "tenant": tenant }))
}
