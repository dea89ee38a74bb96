use super::guard::Happened;
use super::{ApiCaller, App, Refusal};
use crate::domain::id::VerificationId;
use crate::domain::verification::{Status, Verification};
use crate::ports::{Item, Job, ReplaceError};

impl App {
    /// Calls a verification off. Calling off one that is canceled already is no error. Codes that were sent are taken back
    /// where their provider does that, after this has returned.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Ended`], [`Refusal::Store`].
    pub async fn cancel_verification(&self, caller: &ApiCaller, id: VerificationId) -> Result<Verification, Refusal> {
        loop {
            let mut verification = self.find_verification(caller, id).await?;
            let (was, counted) = (verification.status, verification.counted.refunded);
            if was == Status::Canceled {
                return Ok(verification);
            }
            if was != Status::Pending {
                return Err(Refusal::Ended);
            }
            let canceled = verification.cancel(self.now());
            let revokes = canceled && self.revoke_all(&mut verification);
            let refund = verification.counted.refunded && !counted;
            let replaced = self.store_of(caller).replace(&mut verification, refund).await;
            self.changes.tell(id);
            if replaced.is_ok() && refund {
                self.note_for_watch(&verification, Happened::Undeliverable).await;
            }
            match replaced {
                Ok(()) if canceled => {
                    if revokes {
                        let (tenant, item) = (verification.tenant, Item::Verification(id));
                        self.ring(Job { tenant, item, token: None }).await;
                    }
                    return Ok(verification);
                }
                Ok(()) => return Err(Refusal::Ended),
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }
}
