use super::{App, Refusal};
use crate::domain::dispatch::Receipt;
use crate::domain::id::{DeliveryId, TenantId};
use crate::ports::{Item, ReplaceError};

impl App {
    /// Records what a channel reports after the call: at any time, in any order, more than once.
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
        let store = self.ports.store.tenant(tenant);
        loop {
            let now = self.now();
            let replaced = match item {
                Item::Verification(id) => {
                    let Some(mut verification) = store.find_verification(id).await? else { return Ok(false) };
                    if !verification.record(delivery, receipt, now) {
                        return Ok(false);
                    }
                    let replaced = store.replace(&mut verification, false).await;
                    self.changes.tell(id);
                    replaced
                }
                Item::Message(id) => {
                    let Some(mut message) = store.find_message(id).await? else { return Ok(false) };
                    if !message.record(delivery, receipt, now) {
                        return Ok(false);
                    }
                    store.replace_message(&mut message, false).await
                }
            };
            match replaced {
                Ok(()) => return Ok(true),
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }
}
