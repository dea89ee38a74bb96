//! What was sent: to tell what becomes of it, after another process has taken over too.
//!
//! A value is the moment at which it was sent, and the delivery that it was.

use wacore::store::error::Result;
use wotp_core::app::Memory;
use wotp_core::ports::Reference;

use super::kind::Kind;
use super::{State, number_first};

impl State {
    /// Remembers messages that were sent at a moment, in seconds since 1970, by the ids that they have at WhatsApp.
    pub(crate) async fn remember_sent(&self, messages: &[(String, Reference)], moment: i64) -> Result<()> {
        let value = |reference: &Reference| [&moment.to_be_bytes()[..], reference.to_string().as_bytes()].concat();
        let values: Vec<_> = messages.iter().map(|(id, reference)| (Kind::Sent.named(id), value(reference))).collect();
        let mut out = self.out.lock().await;
        for (name, _) in &values {
            out.note(*name, moment);
        }
        self.change(&values.iter().map(|(name, value)| Memory::Keep(*name, value)).collect::<Vec<_>>()).await
    }

    /// The delivery that a message was, if one of ours lately.
    pub(crate) async fn find_sent(&self, id: &str) -> Result<Option<Reference>> {
        let Some(value) = self.find(Kind::Sent.named(id)).await? else { return Ok(None) };
        Ok(std::str::from_utf8(number_first(&value)?.1).ok().and_then(|text| text.parse().ok()))
    }

    /// Forgets what was sent before a moment.
    pub(crate) async fn forget_sent(&self, before: i64) -> Result<()> {
        self.out.lock().await.forget(self, |sent| sent < before).await.map(drop)
    }
}
