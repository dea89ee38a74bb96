//! Answers to what people write to the number.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wotp_core::domain::id::{DeliveryId, MessageId};
use wotp_core::ports::{Item, Reference};

use super::Core;
use super::account::number_of;
use super::sending::{Addressed, NotSent};
use crate::health::Waited;
use crate::listen::{Incoming, SessionId};

/// Answers of a session that are under way at once. What comes beyond is not answered: a crowd that writes is not to have
/// the number write to a crowd.
pub(super) const AT_ONCE: usize = 16;

impl Core {
    /// Answers somebody. Nobody waits for it: until this has returned, nothing else that people write is heard, which may be
    /// that the answer arrived. One that does not go out is not tried again.
    pub(super) fn answer(self: &Arc<Self>, incoming: Incoming, text: String) {
        let connection = self.id.connection;
        let Ok(place) = Arc::clone(&self.answers).try_acquire_owned() else {
            tracing::debug!(%connection, "somebody who wrote is not answered: too many are");
            return;
        };
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let reference = reference(core.id, &incoming);
            let answer = Addressed { reference, number: &number_of(&incoming.from), text: &text };
            if let Err(NotSent { error, .. }) = core.send(answer, &mut Waited::default()).await {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(%connection, error, "somebody who wrote is not answered");
            }
            drop(place);
        });
    }
}

/// Names the answer to a message: the same however often that is told, so that its author sees it once. Nothing that is
/// stored has this name, so nobody is told what became of it.
fn reference(session: SessionId, to: &Incoming) -> Reference {
    let mut hash = Sha256::new_with_prefix(b"wotp whatsapp answer\0");
    hash.update(session.connection.to_bytes());
    hash.update(to.from.as_bytes());
    hash.update([0]);
    hash.update(to.id.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let id = *digest.first_chunk().expect("a digest has 32 bytes");
    Reference {
        tenant: session.tenant,
        item: Item::Message(MessageId::from_bytes(id)),
        delivery: DeliveryId::from_bytes(id),
    }
}
