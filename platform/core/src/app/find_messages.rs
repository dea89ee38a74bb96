use super::{ApiCaller, App, Refusal};
use crate::domain::id::MessageId;
use crate::domain::message::Message;
use crate::ports::{Filter, Page};

impl App {
    /// One message that the caller's key may see: of its tenant, mode and service.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_message(&self, caller: &ApiCaller, id: MessageId) -> Result<Message, Refusal> {
        let found = self.store_of(caller).find_message(id).await?;
        let visible = |message: &Message| {
            message.mode == caller.mode() && caller.service().is_none_or(|bound| message.service == bound)
        };
        found.filter(visible).ok_or(Refusal::NotFound("message"))
    }

    /// A page of messages that the caller's key may see, newest first.
    ///
    /// # Errors
    /// [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn list_messages(
        &self,
        caller: &ApiCaller,
        filter: Filter,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message>, Refusal> {
        let filter = self.visible(caller, filter)?;
        Ok(self.store_of(caller).messages(&filter, after, limit).await?)
    }
}
