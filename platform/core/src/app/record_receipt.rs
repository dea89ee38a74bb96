use super::guard::Happened;
use super::{App, Refusal};
use crate::domain::dispatch::{Delivery, Dispatch, Receipt};
use crate::domain::id::{ConnectionId, DeliveryId, TenantId};
use crate::ports::{Item, ReplaceError};

/// Who tells what became of a delivery: a channel through an account.
#[derive(Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) channel: &'a str,
    /// The tenant's own; the operator's, where it is none.
    pub(super) account: Option<ConnectionId>,
}

impl App {
    /// Records what a channel reports after the call: at any time, in any order, more than once. Where that is that the
    /// delivery at hand failed, the next channel's turn comes with it, in one change: of many who tell it, one rings.
    ///
    /// Says whether it told anything new.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn record_receipt(
        &self,
        tenant: TenantId,
        item: Item,
        delivery: DeliveryId,
        receipt: Receipt,
    ) -> Result<bool, Refusal> {
        self.record_receipt_of(None, tenant, item, delivery, receipt).await
    }

    /// [`record_receipt`](Self::record_receipt), where it went through this channel and account: nobody tells of what another
    /// one sent.
    pub(super) async fn record_receipt_of(
        &self,
        teller: Option<Teller<'_>>,
        tenant: TenantId,
        item: Item,
        delivery: DeliveryId,
        receipt: Receipt,
    ) -> Result<bool, Refusal> {
        let is_theirs = |dispatch: &Dispatch| {
            teller.is_none_or(|Teller { channel, account }| {
                let is_theirs = |one: &Delivery| one.id == delivery && one.channel == channel && one.account == account;
                dispatch.deliveries.iter().any(is_theirs)
            })
        };
        let store = self.ports.store.tenant(tenant);
        loop {
            let now = self.now();
            let next_id = || DeliveryId::new(now, &*self.ports.entropy);
            let (outcome, replaced) = match item {
                Item::Verification(id) => {
                    let Some(mut verification) = store.find_verification(id).await? else { return Ok(false) };
                    if !is_theirs(&verification.dispatch) || !verification.record(delivery, receipt, now) {
                        return Ok(false);
                    }
                    let refunded = verification.counted.refunded;
                    let outcome = verification.go_on(now, next_id);
                    let refund = verification.counted.refunded && !refunded;
                    let replaced = store.replace(&mut verification, refund).await;
                    if refund && replaced.is_ok() {
                        self.note_for_watch(&verification, Happened::Undeliverable).await;
                    }
                    (outcome, replaced)
                }
                Item::Message(id) => {
                    let Some(mut message) = store.find_message(id).await? else { return Ok(false) };
                    if !is_theirs(&message.dispatch) || !message.record(delivery, receipt, now) {
                        return Ok(false);
                    }
                    let refunded = message.counted.refunded;
                    let outcome = message.go_on(now, next_id);
                    let refund = message.counted.refunded && !refunded;
                    (outcome, store.replace_message(&mut message, refund).await)
                }
            };
            match replaced {
                Ok(()) => {
                    self.after_call(tenant, item, outcome, now).await;
                    return Ok(true);
                }
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }
}
