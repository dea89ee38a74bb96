use futures_util::{StreamExt as _, stream};

use super::guard::Happened;
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::id::{MessageId, TenantId, VerificationId};
use crate::domain::set_aside::SetAside;
use crate::domain::verification::Wake;
use crate::ports::{DueItem, Item, Job, ReplaceError};

/// Records that are woken at once: one after another, each would wait for the store by itself, and many
/// that are due would wait for minutes where the store is far or slow. What waits for the store at one
/// moment goes together.
const AT_ONCE: usize = 64;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Deliveries that were rung for.
    pub rung: usize,
    /// Deliveries that were rung for since a provider is to be asked about them, and those that were not for want of room.
    pub asked: usize,
    /// Verifications and messages whose time ran out.
    pub expired: usize,
    /// Deliveries given up, of verifications that ended and workers that did not come back.
    pub cut: usize,
    /// Addresses erased.
    pub redacted: usize,
    /// Records deleted.
    pub deleted: usize,
    /// Steps in which deleted tenants were erased, and invitations that ran out.
    pub erased: usize,
    /// Disabled endpoints that the people who run their tenants were told of.
    pub noticed: usize,
    /// Letters that went out, of those that nobody sent who stored them.
    pub lettered: usize,
    /// Sessions, brakes, codes and keys of people that are over, API keys, connections that nobody logged out in time, and
    /// notes of what is not set aside any more, deleted.
    pub forgotten: usize,
    /// Whether there may be more that is due.
    pub more: bool,
}

impl App {
    /// Does what the passing of time asks for: rings for what is due, ends what ran out, erases
    /// and deletes what was kept long enough. At most `limit` of them.
    ///
    /// Several nodes may sweep at once: every change is a compare-and-swap.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn sweep(&self, limit: usize) -> Result<Swept, Refusal> {
        let now = self.now();
        let due = self.ports.store.due(now, limit).await?;
        let mut swept = Swept { more: due.len() == limit, ..Swept::default() };
        // What is already queued is not rung for again: a backlog must not grow by itself. And where
        // nobody hears there is no use in ringing.
        let room = limit.saturating_sub(self.ports.queue.depth().await.unwrap_or(limit));
        let mut woken = stream::iter(due).map(|due| self.wake(due, now)).buffered(AT_ONCE);
        while let Some((tenant, item, wake)) = woken.next().await {
            match wake {
                Wake::Ring if swept.rung + swept.asked < room => {
                    self.ring(Job { tenant, item, token: None }).await;
                    swept.rung += 1;
                }
                Wake::Ask => {
                    // Its moment is moved on already. One that nobody is rung for comes again at the next.
                    if swept.rung + swept.asked < room {
                        self.ring(Job { tenant, item, token: None }).await;
                    }
                    swept.asked += 1;
                }
                Wake::Expire => swept.expired += 1,
                Wake::Cut => swept.cut += 1,
                Wake::Redact => swept.redacted += 1,
                Wake::Delete => swept.deleted += 1,
                Wake::Ring | Wake::Wait => {}
            }
        }
        // Rings are answered by workers, not here: sweeping again at once would only repeat them.
        let done = swept.asked + swept.expired + swept.cut + swept.redacted + swept.deleted;
        swept.more &= swept.rung == 0 && done > 0;
        swept.erased = self.sweep_tenants().await?;
        swept.noticed = self.send_notices().await?;
        swept.lettered = self.send_letters().await?;
        swept.forgotten = self.forget_people(limit).await? + self.forget_keys(limit).await?;
        swept.forgotten += self.forget_due::<SetAside>(limit).await? + self.erase_left_connections(limit).await?;
        swept.more |= swept.forgotten >= limit;
        Ok(swept)
    }

    /// Does what the time asks of one of them.
    async fn wake(&self, (tenant, item): DueItem, now: Timestamp) -> (TenantId, Item, Wake) {
        let woken = match item {
            Item::Verification(id) => self.wake_verification(tenant, id, now).await,
            Item::Message(id) => self.wake_message(tenant, id, now).await,
        };
        // One record that cannot be read must not keep all others waiting behind it.
        let wake = woken.unwrap_or_else(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::error!(%tenant, ?item, error, "the sweep could not do what is due");
            Wake::Wait
        });
        (tenant, item, wake)
    }

    async fn wake_verification(&self, tenant: TenantId, id: VerificationId, now: Timestamp) -> Result<Wake, Refusal> {
        let store = self.ports.store.tenant(tenant);
        let Some(mut verification) = store.find_verification(id).await? else { return Ok(Wake::Wait) };
        let wake = verification.wake(now);
        let refunded = verification.counted.refunded;
        match wake {
            Wake::Expire => {
                verification.expire(now);
            }
            Wake::Cut => verification.abandon(now),
            Wake::Ask => {
                verification.hand_over_asking(now);
            }
            Wake::Redact => verification.redact(),
            Wake::Delete => {
                store.delete_verification(id).await?;
                return Ok(wake);
            }
            Wake::Ring | Wake::Wait => return Ok(wake),
        }
        let refund = verification.counted.refunded && !refunded;
        let result = store.replace(&mut verification, refund).await;
        self.changes.tell(id);
        let made = replaced(result, wake)?;
        if refund && made == wake {
            self.note_for_watch(&verification, Happened::Undeliverable).await;
        }
        Ok(made)
    }

    async fn wake_message(&self, tenant: TenantId, id: MessageId, now: Timestamp) -> Result<Wake, Refusal> {
        let store = self.ports.store.tenant(tenant);
        let Some(mut message) = store.find_message(id).await? else { return Ok(Wake::Wait) };
        let wake = message.wake(now);
        let refunded = message.counted.refunded;
        match wake {
            Wake::Expire => {
                message.expire(now);
            }
            Wake::Ask => {
                message.hand_over_asking(now);
            }
            Wake::Redact => message.redact(),
            Wake::Delete => {
                store.delete_message(id).await?;
                return Ok(wake);
            }
            // A message ends with its delivery, so it has none to cut.
            Wake::Ring | Wake::Cut | Wake::Wait => return Ok(wake),
        }
        let refund = message.counted.refunded && !refunded;
        replaced(store.replace_message(&mut message, refund).await, wake)
    }
}

/// Somebody else changed it: the next sweep looks again.
fn replaced(result: Result<(), ReplaceError>, wake: Wake) -> Result<Wake, Refusal> {
    match result {
        Ok(()) => Ok(wake),
        Err(ReplaceError::Conflict) => Ok(Wake::Wait),
        Err(ReplaceError::Store(error)) => Err(error.into()),
    }
}
