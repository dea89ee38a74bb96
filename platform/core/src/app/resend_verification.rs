use super::{ApiCaller, App, Refusal};
use crate::domain::id::{DeliveryId, VerificationId};
use crate::domain::sandbox;
use crate::domain::verification::{ResendRefusal, Verification};
use crate::ports::{Item, Job, ResendError};

impl App {
    /// Sends the same code again: same expiry, same guesses left, one more send counted.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Ended`], [`Refusal::CoolDown`], [`Refusal::NoSendsLeft`],
    /// [`Refusal::Address`], [`Refusal::Store`].
    pub async fn resend_verification(&self, caller: &ApiCaller, id: VerificationId) -> Result<Verification, Refusal> {
        loop {
            let mut verification = self.find_verification(caller, id).await?;
            let now = self.now();
            let token = self.token();
            let delivery = DeliveryId::new(now, &*self.ports.entropy);
            verification.resend(now, delivery, self.lease_end(now), token).map_err(|refusal| match refusal {
                ResendRefusal::Ended => Refusal::Ended,
                ResendRefusal::TooMany => Refusal::NoSendsLeft,
                ResendRefusal::CoolDown { next_at } => Refusal::CoolDown { next_at },
            })?;
            let exempt = match self.address_of(&verification)? {
                Some(address) => sandbox::find(&address).is_some(),
                None => false,
            };
            match self.store_of(caller).replace_for_resend(&mut verification, exempt).await {
                Ok(()) => {
                    self.changes.tell(id);
                    self.ring(Job { tenant: caller.tenant.id, item: Item::Verification(id), token: Some(token) }).await;
                    return Ok(verification);
                }
                Err(ResendError::Conflict) => {}
                Err(ResendError::Address(limited)) => return Err(Refusal::Address(limited)),
                Err(ResendError::Store(error)) => return Err(error.into()),
            }
        }
    }
}
