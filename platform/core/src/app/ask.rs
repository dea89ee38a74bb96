use std::sync::{Mutex, PoisonError};

use super::channels::Found;
use super::deliver::Held;
use super::record_receipt::Teller;
use super::{App, Refusal};
use crate::domain::asking::Again;
use crate::ports::{ASKING_MAX, Ask, DueItem, Question, Reference, ReplaceError, Standing, TenantStore};

impl App {
    /// Asks the provider of a delivery whose time has come how it fares, if there is one, and records what it says.
    ///
    /// The sweep handed it over and moved its moment on: of all who come, one has stored that they took it, and asks. One that
    /// dies then has asked in vain, and the next time comes.
    pub(super) async fn ask(
        &self,
        held: &mut impl Held,
        store: &dyn TenantStore,
        (tenant, item): DueItem,
        seat: impl Send,
    ) -> Result<(), Refusal> {
        let Some(asking) = held.take_asking(self.now()) else { return Ok(()) };
        match held.replace(store).await {
            Ok(()) => {}
            Err(ReplaceError::Conflict) => return Ok(()),
            Err(ReplaceError::Store(error)) => return Err(error.into()),
        }
        let id = asking.delivery;
        let Some(delivery) = held.dispatch().deliveries.iter().find(|delivery| delivery.id == id) else {
            return Ok(());
        };
        let (name, account) = (delivery.channel.clone(), delivery.account);
        let question = Question {
            reference: Reference { tenant, item, delivery: id },
            provider_id: delivery.provider_id.clone(),
            sent_at: delivery.sent_at.unwrap_or(delivery.queued_at),
            asked: asking.asked,
        };
        let channel = self.channel_that_took(delivery, tenant).await?;
        let seat = channel.seat(seat);
        let standing = match &channel {
            Found::Way(way) => match way.channel.asks().filter(|_| way.account == account) {
                Some(ask) => self.answer_to(&question, ask).await,
                // The operator, or the tenant, put something else in its place.
                None => Some(Standing { receipt: None, again: Again::Never }),
            },
            // It is off, or not loaded here: it may be there the next time.
            Found::Awaited | Found::Nothing => None,
        };
        drop(seat);
        let Some(Standing { receipt, again }) = standing else { return Ok(()) };
        if let Some(receipt) = receipt {
            let teller = Teller { channel: &name, account };
            self.record_receipt_of(Some(teller), tenant, item, id, receipt).await?;
        }
        if again == Again::AsPlanned {
            return Ok(());
        }
        while let Some(mut read) = held.read_again(store).await? {
            if !read.asked(id, again, self.now()) {
                break;
            }
            match read.replace(store).await {
                Ok(()) => break,
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What a provider says in time.
    async fn answer_to(&self, question: &Question, ask: &dyn Ask) -> Option<Standing> {
        let answer: Mutex<Option<Standing>> = Mutex::new(None);
        let work = async {
            let standing = ask.ask(question).await;
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
        };
        self.ports.timer.within(ASKING_MAX, Box::pin(work)).await;
        answer.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
