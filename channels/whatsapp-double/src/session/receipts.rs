//! Receipts: that a message was delivered, that it was read, and that it has to be sent again.

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::queue::Class;
use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::keys::Offer;
use crate::node::{Read as _, unsigned};
use crate::people::{Address, Line, World};

impl World {
    /// A client says that it has a message, or asks for it again.
    pub(super) async fn on_receipt(&mut self, from: &Address, line: &Line, stanza: &Node) -> Result<()> {
        let (id, kind) = (stanza.text("id"), stanza.maybe("type"));
        let mut ack = NodeBuilder::new("ack").attr("class", "receipt").attr("id", id.as_str());
        if let Ok(to) = stanza.jid("to") {
            ack = ack.attr("from", to);
        }
        if let Some(kind) = &kind {
            ack = ack.attr("type", kind.as_str());
        }
        line.send(ack.build());

        let listed = stanza.get_optional_child("list").and_then(Node::children).unwrap_or_default();
        let ids: Vec<String> = std::iter::once(id).chain(listed.iter().map(|item| item.text("id"))).collect();
        if let Some(linked) = self.linked.get_mut(from) {
            for id in &ids {
                linked.queue.acknowledged(Class::Message, id, None);
            }
        }
        if kind.as_deref() == Some("retry") && self.said.contains_key(&ids[0]) {
            return self.say_again(from, &ids[0], stanza).await;
        }
        self.pass_on(from, &ids, kind.as_deref(), stanza)
    }

    /// Sends a person's message to a client once more, in a new session if the client sent keys for one.
    async fn say_again(&mut self, to: &Address, id: &str, stanza: &Node) -> Result<()> {
        let count = stanza.required("retry")?.text("count").parse().unwrap_or(1);
        if let Some(keys) = stanza.get_optional_child("keys") {
            let offer = Offer::read(keys, unsigned(&stanza.child("registration")))?;
            let from = self.said.get(id).map(|said| said.from.clone()).ok_or(Error::NoSuchMessage)?;
            self.person(&from)?.phone.begin(to, &offer).await?;
        }
        self.write(id, to, Some(count)).await
    }

    /// Passes a receipt on to the clients of whoever sent the message.
    fn pass_on(&mut self, from: &Address, ids: &[String], kind: Option<&str>, stanza: &Node) -> Result<()> {
        let Some(sender) = stanza.jid("to").ok().and_then(|to| self.resolve(&to)) else { return Ok(()) };
        for id in ids {
            if self.sent.contains_key(&(sender.number.clone(), id.clone())) && sender.number != from.number {
                if kind == Some("retry") {
                    let like = self.sent_to[&(sender.number.clone(), id.clone())].clone();
                    let mut passed = stanza.clone();
                    passed.attrs = wacore_binary::Attrs::new();
                    passed.attrs.push("from", self.address_like(from, &like)?);
                    passed.attrs.push("id", id.as_str());
                    passed.attrs.push("type", "retry");
                    if let Some(linked) = self.linked.get_mut(&sender) {
                        linked.queue.push(passed, linked.line.as_ref());
                    }
                } else {
                    self.push_receipt(&sender.number, id, from, kind.filter(|kind| *kind == "read"))?;
                }
            }
        }
        Ok(())
    }

    /// A device's receipt for a message, to the clients of whoever sent it. Without a kind: that it was delivered.
    pub(crate) fn push_receipt(&mut self, sender: &str, id: &str, device: &Address, kind: Option<&str>) -> Result<()> {
        let like = self.sent_to.get(&(sender.to_owned(), id.to_owned())).cloned().ok_or(Error::NoSuchMessage)?;
        let mut receipt = NodeBuilder::new("receipt")
            .attr("from", self.address_like(device, &like)?)
            .attr("id", id)
            .attr("t", now_seconds().to_string());
        if let Some(kind) = kind {
            receipt = receipt.attr("type", kind);
        }
        let receipt = receipt.build();
        for address in self.linked_to(sender).cloned().collect::<Vec<_>>() {
            if let Some(linked) = self.linked.get_mut(&address) {
                linked.queue.push(receipt.clone(), linked.line.as_ref());
            }
        }
        Ok(())
    }
}
