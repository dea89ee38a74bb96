//! Messages that people write to clients.

use wacore::messages::MessageUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::whatsapp::Message;

use super::messages::enc;
use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::faults::Fault;
use crate::people::{Address, Said, World};

impl World {
    /// A person writes to a number that clients are linked to. The id of the message.
    pub(crate) async fn say(&mut self, from: &str, to: &str, text: &str) -> Result<String> {
        let devices: Vec<Address> =
            self.linked_to(to).filter(|device| self.linked[*device].identity.is_some()).cloned().collect();
        if devices.is_empty() {
            return Err(Error::NoSuchDevice);
        }
        self.acquaint(from, to)?;
        let id = format!("3A{:018X}", rand::random::<u64>());
        let message = Message { conversation: Some(text.to_owned()), ..Default::default() };
        let plaintext = MessageUtils::encode_and_pad(&message);
        self.said.insert(id.clone(), Said { from: from.to_owned(), to: to.to_owned(), plaintext });
        for device in &devices {
            self.write(&id, device, None).await?;
        }
        Ok(id)
    }

    /// Encrypts a person's message for one client; `again` says how often it was asked for again.
    pub(super) async fn write(&mut self, id: &str, to: &Address, again: Option<u32>) -> Result<()> {
        let said = self.said.get(id).filter(|said| said.to == to.number).ok_or(Error::NoSuchMessage)?;
        let (from, plaintext) = (said.from.clone(), said.plaintext.clone());
        let damaged = self.rules.take(&to.number, |fault| matches!(fault, Fault::Damaged).then_some(())).is_some();
        let nameless = self.rules.take(&to.number, |fault| matches!(fault, Fault::Nameless).then_some(())).is_some();
        self.begin_if_new(&from, to).await?;
        let person = self.person(&from)?;
        let mut sealed = person.phone.encrypt(to, &plaintext).await?;
        if damaged && let Some(last) = sealed.bytes.last_mut() {
            *last ^= 1;
        }
        let (lid, number) = (Jid::lid(person.lid.as_str()), Jid::pn(from.as_str()));
        let message = NodeBuilder::new("message");
        let message = if self.person(&to.number)?.lid_migrated {
            let message = message.attr("from", lid).attr("addressing_mode", "lid");
            if nameless { message } else { message.attr("sender_pn", number) }
        } else {
            message.attr("from", number).attr("sender_lid", lid).attr("addressing_mode", "pn")
        };
        let message = message
            .attr("id", id)
            .attr("type", "text")
            .attr("notify", "Somebody")
            .attr("t", now_seconds().to_string())
            .children([enc(&sealed, again)])
            .build();
        self.push(to, message);
        Ok(())
    }

    /// The phone writes to a device that is linked to it.
    pub(super) async fn write_to_own_device(&mut self, device: &Address, message: &Message) -> Result<()> {
        let id = format!("3B{:018X}", rand::random::<u64>());
        let plaintext = MessageUtils::encode_and_pad(message);
        self.begin_if_new(&device.number, device).await?;
        let sealed = self.person(&device.number)?.phone.encrypt(device, &plaintext).await?;
        let message = NodeBuilder::new("message")
            .attr("from", Jid::pn(device.number.as_str()))
            .attr("type", "protocol")
            .attr("category", "peer")
            .attr("id", id)
            .attr("t", now_seconds().to_string())
            .children([enc(&sealed, None)])
            .build();
        self.push(device, message);
        Ok(())
    }

    async fn begin_if_new(&mut self, from: &str, to: &Address) -> Result<()> {
        if self.person(from)?.phone.knows(to) {
            return Ok(());
        }
        let (offer, _) = self.offer_of(to)?.ok_or(Error::NoSuchDevice)?;
        self.person(from)?.phone.begin(to, &offer).await
    }

    fn push(&mut self, to: &Address, stanza: Node) {
        if let Some(linked) = self.linked.get_mut(to) {
            linked.queue.push(stanza, linked.line.as_ref());
        }
    }
}
