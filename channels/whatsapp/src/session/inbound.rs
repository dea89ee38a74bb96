//! What people write, told before WhatsApp hears that it arrived.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::time::timeout;
use wacore::proto_helpers::MessageExt as _;
use whatsapp_rust::Client;
use whatsapp_rust::anyhow::{self, bail};
use whatsapp_rust::types::durability_hook::InboundDurabilityHook;
use whatsapp_rust::types::events::InboundMessage;
use whatsapp_rust::wacore_binary::{Jid, JidExt as _};
use wotp_core::domain::Timestamp;

use super::account::{Account, number_of};
use super::todos::Todo;
use super::{Core, lock};
use crate::listen::{Incoming, NotTaken};

/// How long it may take to take a message in.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// After so long what was written is of no use any more, if it is still not known whose number it came from: what it
/// confirms has ended, and WhatsApp breaks connections over which something is not acknowledged.
const NAMELESS_MAX: SignedDuration = SignedDuration::from_mins(15);

/// Hears what people write, one message or, of what came while there was no connection, many at once. WhatsApp is told of
/// all of them or of none, and says them all again with the next login where it is none.
pub(super) struct Inbound {
    core: Weak<Core>,
}

impl Inbound {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::downgrade(core) }
    }
}

/// A message is not taken in.
enum Left {
    /// It is not known whose number it came from. It comes again with the next login, when that may be known.
    Nameless,
    /// It could not be kept, or looked up whose it is.
    NotKept,
}

#[async_trait]
impl InboundDurabilityHook for Inbound {
    async fn on_messages(&self, client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        let Some(core) = self.core.upgrade() else { bail!("the session has ended") };
        // Those of others are taken in whatever stands in the way of one.
        let (mut left, mut again) = (0, false);
        for (nth, message) in batch.iter().enumerate() {
            if core.taken_in.knows(message) {
                continue;
            }
            match timeout(TAKEN_WITHIN, core.take_in(&client, message)).await {
                Ok(Ok(())) => core.taken_in.note(message),
                Ok(Err(Left::Nameless)) => left += 1,
                Ok(Err(Left::NotKept)) => (left, again) = (left + 1, true),
                // Whoever answers so slowly would take as long for each of the others.
                Err(_) => {
                    (left, again) = (left + batch.len() - nth, true);
                    break;
                }
            }
        }
        if again {
            core.todo(Todo::AskAgain { life: core.life.load(Ordering::SeqCst) });
        }
        if left > 0 {
            bail!("{left} of {} messages that people wrote are not taken in", batch.len());
        }
        core.taken_in.forget(batch);
        Ok(())
    }
}

impl Core {
    /// Tells what somebody wrote, and answers it.
    async fn take_in(self: &Arc<Self>, client: &Client, message: &InboundMessage) -> Result<(), Left> {
        let Some((author, text)) = read(message) else { return Ok(()) };
        let sent_at = Timestamp::from_second(message.info.timestamp.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
        let from = match author {
            Author::Number(from) => from,
            Author::Nameless(lid) => match self.number_of(client, lid).await? {
                Some(from) => from,
                None if self.now().duration_since(sent_at) > NAMELESS_MAX => return Ok(()),
                None => return Err(Left::Nameless),
            },
        };
        let number = number_of(&from);
        self.met(&number, &Account::of(&number, &from));
        let incoming = Incoming { from, text, id: message.info.id.to_string(), sent_at };
        let answer = self.parts.listener.incoming(self.id, &incoming).await;
        if let Some(text) = answer.map_err(|NotTaken| Left::NotKept)? {
            self.answer(incoming, text);
        }
        Ok(())
    }

    /// The number of somebody whose address does not tell it, if it is known. The client is asked, not the store: what it
    /// learns from messages that come after a login it keeps in memory only.
    async fn number_of(&self, client: &Client, lid: &Jid) -> Result<Option<String>, Left> {
        let known = client.get_lid_pn_entry(lid).await.map_err(|error| {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            tracing::debug!(connection = %self.id.connection, error, "whose number somebody wrote from cannot be read");
            Left::NotKept
        })?;
        Ok(known.map(|known| known.phone_number.to_string()))
    }
}

/// Most messages that are known to be taken in and to come again. What is forgotten is told once more, which whoever is
/// told bears.
const TAKEN_MAX: usize = 4_000;

/// What was taken in beside something that was not, and so comes again.
#[derive(Default)]
pub(super) struct TakenIn(Mutex<HashSet<(String, String)>>);

impl TakenIn {
    /// What WhatsApp tells a message by: of whom, and its id.
    fn key(message: &InboundMessage) -> (String, String) {
        (message.info.source.sender.to_string(), message.info.id.to_string())
    }

    fn knows(&self, message: &InboundMessage) -> bool {
        let known = lock(&self.0);
        !known.is_empty() && known.contains(&Self::key(message))
    }

    fn note(&self, message: &InboundMessage) {
        let mut known = lock(&self.0);
        if known.len() == TAKEN_MAX {
            known.clear();
        }
        known.insert(Self::key(message));
    }

    /// They do not come again.
    fn forget(&self, batch: &[InboundMessage]) {
        let mut known = lock(&self.0);
        for message in batch {
            known.remove(&Self::key(message));
        }
    }
}

/// Who wrote.
enum Author<'a> {
    /// Their number.
    Number(String),
    /// Somebody whose address does not tell their number, nor what came with it.
    Nameless(&'a Jid),
}

/// A text that a person wrote to the number, and who it was.
fn read(message: &InboundMessage) -> Option<(Author<'_>, String)> {
    let source = &message.info.source;
    if source.is_from_me || source.is_group || source.chat.is_group() || source.chat.is_status_broadcast() {
        return None;
    }
    let text = message.message.text_content()?.to_owned();
    // Accounts that go by addresses that tell no number have it beside the address.
    let number = [Some(&source.sender), source.sender_alt.as_ref()].into_iter().flatten().find(|jid| jid.is_pn());
    let author = match number {
        Some(number) => Author::Number(number.user.to_string()),
        None => Author::Nameless(&source.sender),
    };
    Some((author, text))
}
