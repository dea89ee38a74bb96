use super::{ApiCaller, App, Refusal};
use crate::domain::guard::{GuardNote, Step};
use crate::domain::id::{DeliveryId, VerificationId};
use crate::domain::sandbox;
use crate::domain::verification::{ResendRefusal, Verification};
use crate::ports::{Item, Job, ReplaceError, ResendError};

impl App {
    /// Sends the same code again: same expiry, same guesses left, one more send counted.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::IsInbound`], [`Refusal::Ended`], [`Refusal::CoolDown`], [`Refusal::NoSendsLeft`],
    /// [`Refusal::Address`], [`Refusal::Blocked`], [`Refusal::Store`].
    pub async fn resend_verification(&self, caller: &ApiCaller, id: VerificationId) -> Result<Verification, Refusal> {
        loop {
            let mut verification = self.find_verification(caller, id).await?;
            if verification.inbound.is_some() {
                return Err(Refusal::IsInbound);
            }
            let now = self.now();
            let token = self.token();
            let delivery = DeliveryId::new(now, &*self.ports.entropy);
            verification.resend(now, delivery, self.lease_end(now), token).map_err(|refusal| match refusal {
                ResendRefusal::Ended => Refusal::Ended,
                ResendRefusal::TooMany => Refusal::NoSendsLeft,
                ResendRefusal::CoolDown { next_at } => Refusal::CoolDown { next_at },
            })?;
            let guard = self.guard_of(verification.tenant, verification.service).await?;
            let mut judgement = self.judge(&guard, &verification, None, Step::Resend).await?;
            let against = judgement.blocked().cloned();
            for note in std::mem::take(&mut judgement.notes) {
                verification.note(note);
            }
            if let Some(note) = against {
                self.keep_refusal(caller, id, &note).await?;
                return Err(Refusal::Blocked(note));
            }
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
                Err(ResendError::Conflict) => self.judged_in_vain(&judgement),
                Err(ResendError::Address(limited)) => {
                    self.judged_in_vain(&judgement);
                    return Err(Refusal::Address(limited));
                }
                Err(ResendError::Store(error)) => {
                    self.judged_in_vain(&judgement);
                    return Err(error.into());
                }
            }
        }
    }

    /// Keeps with a verification that the guard stopped a resend of it. It stays open: its code is out already.
    async fn keep_refusal(&self, caller: &ApiCaller, id: VerificationId, note: &GuardNote) -> Result<(), Refusal> {
        loop {
            let mut verification = self.find_verification(caller, id).await?;
            verification.note(note.clone());
            match self.store_of(caller).replace(&mut verification, false).await {
                Ok(()) => return Ok(()),
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }
}
