use std::sync::{Mutex, PoisonError};

use super::channels::Found;
use super::deliver::simulated;
use super::{App, Refusal};
use crate::domain::asking::{Again, REVOCATIONS_MAX};
use crate::domain::id::DeliveryId;
use crate::domain::verification::Verification;
use crate::ports::{ASKING_MAX, Item, Question, Reference, ReplaceError, Revoke, TenantStore};

impl App {
    /// Has all taken back that was sent of a verification that was just canceled, where providers can; says whether there is
    /// any.
    pub(super) fn revoke_all(&self, verification: &mut Verification) -> bool {
        let sent = verification.revocable().filter(|delivery| self.can_revoke(&delivery.channel));
        let sent: Vec<DeliveryId> = sent.map(|delivery| delivery.id).collect();
        // What reached nobody real is not at any provider. An address that does not open may be anybody's.
        let is_real = || match self.address_of(verification) {
            Ok(Some(to)) => simulated(verification.mode, &to).is_none(),
            Ok(None) | Err(_) => false,
        };
        if sent.is_empty() || !is_real() {
            return false;
        }
        let now = self.now();
        sent.into_iter().filter(|delivery| verification.revoke(*delivery, now)).count() > 0
    }

    /// Asks providers to take back what was handed over of a verification that was canceled.
    ///
    /// Of all who come, one has stored that they took a delivery, and asks. One that dies then has asked in vain, and the next
    /// time comes. Nobody waits for it, and nobody is told what came of it but by the provider.
    pub(super) async fn take_back(
        &self,
        mut verification: Verification,
        store: &dyn TenantStore,
        seat: impl Send,
    ) -> Result<(), Refusal> {
        let mut seat = Some(seat);
        while let Some(taken) = verification.take_revoking() {
            match store.replace(&mut verification, false).await {
                Ok(()) => {}
                Err(ReplaceError::Conflict) => return Ok(()),
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
            let id = taken.delivery;
            let Some(delivery) = verification.dispatch.deliveries.iter().find(|one| one.id == id) else { continue };
            let item = Item::Verification(verification.id);
            let question = Question {
                reference: Reference { tenant: verification.tenant, item, delivery: id },
                provider_id: delivery.provider_id.clone(),
                sent_at: delivery.sent_at.unwrap_or(delivery.queued_at),
                asked: taken.asked,
            };
            let (account, channel) = (delivery.account, self.channel_that_took(delivery, verification.tenant).await?);
            seat = seat.and_then(|seat| channel.seat(seat));
            let again = match &channel {
                Found::Way(way) => match way.channel.revokes().filter(|_| way.account == account) {
                    Some(revoke) => self.answer_of(&question, revoke).await,
                    // The operator, or the tenant, put something else in its place.
                    None => Again::Never,
                },
                // It is off, or not loaded here: it may be there the next time.
                Found::Awaited | Found::Nothing => Again::AsPlanned,
            };
            if taken.asked == REVOCATIONS_MAX && !matches!(again, Again::Never) {
                tracing::warn!(delivery = %id, "a message was not taken back, and is not asked for again");
            }
            while again != Again::AsPlanned && verification.revoked(id, again, self.now()) {
                match store.replace(&mut verification, false).await {
                    Ok(()) => break,
                    Err(ReplaceError::Conflict) => match store.find_verification(verification.id).await? {
                        Some(changed) => verification = changed,
                        None => return Ok(()),
                    },
                    Err(ReplaceError::Store(error)) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// What a provider says in time.
    async fn answer_of(&self, question: &Question, revoke: &dyn Revoke) -> Again {
        let answer = Mutex::new(Again::AsPlanned);
        let work = async {
            let again = revoke.revoke(question).await;
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = again;
        };
        self.ports.timer.within(ASKING_MAX, Box::pin(work)).await;
        answer.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
