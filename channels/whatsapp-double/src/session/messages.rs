//! Messages that clients send.

use std::sync::Arc;
use std::time::Duration;

use wacore::messages::decode_plaintext;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::whatsapp::Message;

use crate::clock::{now_micros, now_seconds};
use crate::double::Shared;
use crate::error::{Error, Result};
use crate::faults::Fault;
use crate::inbox::Received;
use crate::node::Read as _;
use crate::people::{Address, Line, Receipts, World};
use crate::signal::Sealed;

/// How the acknowledgement of a message goes.
enum Ack {
    Now,
    Lost,
    Late(Duration),
}

/// A message on its way from a client.
struct Sent<'a> {
    id: String,
    from: &'a Address,
    /// The address that it was sent to, without a device.
    to: Jid,
    recipient: Option<Address>,
    stanza: &'a Node,
}

impl Sent<'_> {
    /// Whether it is for the phone that the client is linked to, and for nobody else.
    fn is_own(&self) -> bool {
        self.recipient.as_ref().is_some_and(|recipient| recipient.number == self.from.number)
    }
}

impl World {
    pub(super) async fn on_message(
        &mut self,
        shared: &Arc<Shared>,
        from: &Address,
        line: &Line,
        stanza: &Node,
    ) -> Result<()> {
        let to = stanza.jid("to")?.to_non_ad();
        let recipient = if to.is_pn() || to.is_lid() { self.resolve(&to) } else { None };
        let sent = Sent { id: stanza.text("id"), from, to, recipient, stanza };
        let key = (from.number.clone(), sent.id.clone());
        *self.sent.entry(key.clone()).or_default() += 1;
        self.sent_to.insert(key, sent.to.clone());

        // What a client tells the phone that it is linked to is its own affair: no fault and no restriction is for that.
        if sent.is_own() {
            line.send(ack(&sent, None));
            return self.deliver(shared, &sent).await;
        }
        if let Some(code) = self.refused(&sent)? {
            line.send(ack(&sent, Some(code)));
            return Ok(());
        }
        let dropped = self.rules.take(&from.number, |fault| match fault {
            Fault::DropMidSend { delivered } => Some(*delivered),
            _ => None,
        });
        if let Some(delivered) = dropped {
            line.cut();
            self.hang_up(line);
            return if delivered { self.deliver(shared, &sent).await } else { Ok(()) };
        }
        let how = self.rules.take(&from.number, |fault| match fault {
            Fault::AckLost => Some(Ack::Lost),
            Fault::AckLate { milliseconds } => Some(Ack::Late(Duration::from_millis(*milliseconds))),
            _ => None,
        });
        let how = how.unwrap_or(Ack::Now);
        if matches!(how, Ack::Now) {
            line.send(ack(&sent, None));
        }
        let delivered = self.deliver(shared, &sent).await;
        // Counted from here, so that it comes after the receipt however long that took.
        if let Ack::Late(by) = how {
            let (line, late) = (line.clone(), ack(&sent, None));
            tokio::spawn(async move {
                tokio::time::sleep(by).await;
                line.send(late);
            });
        }
        delivered
    }

    /// The code that a message is refused with, if it is: by a fault, or because the account is restricted.
    fn refused(&mut self, sent: &Sent<'_>) -> Result<Option<u16>> {
        let fault = self.rules.take(&sent.from.number, |fault| match fault {
            Fault::AckError { code } => Some(*code),
            _ => None,
        });
        let (None, Some(recipient)) = (fault, &sent.recipient) else { return Ok(fault) };
        let sender = self.person(&sent.from.number)?;
        if !sender.chats.contains(&recipient.number) {
            if let Err(code) = sender.restrictions.begin_chat() {
                return Ok(Some(code));
            }
            self.acquaint(&sent.from.number, &recipient.number)?;
        }
        Ok(None)
    }

    /// Two people have written with each other.
    pub(super) fn acquaint(&mut self, one: &str, other: &str) -> Result<()> {
        self.person(one)?.chats.insert(other.to_owned());
        self.person(other)?.chats.insert(one.to_owned());
        Ok(())
    }

    /// Brings a message to each device that it was encrypted for.
    async fn deliver(&mut self, shared: &Arc<Shared>, sent: &Sent<'_>) -> Result<()> {
        let Some(recipient) = &sent.recipient else { return Ok(()) };
        if !self.person(&recipient.number)?.registered {
            return Ok(());
        }
        let undecryptable = !sent.is_own()
            && self
                .rules
                .take(&sent.from.number, |fault| matches!(fault, Fault::Undecryptable).then_some(()))
                .is_some();
        let (mut text, mut devices, mut own_copy) = (None, Vec::new(), false);
        for (jid, sealed, version) in ciphertexts(sent)? {
            let Some(device) = self.resolve(&jid) else { continue };
            let own = device.number == sent.from.number;
            if self.linked.contains_key(&device) {
                self.relay(sent, &device, &jid, &sealed)?;
                continue;
            }
            let Some(endpoint) = self.person(&device.number)?.endpoint(device.device) else { continue };
            let opened = if undecryptable && !own {
                Err(Error::Crypto("made undecryptable".to_owned()))
            } else {
                endpoint.decrypt(sent.from, &sealed).await
            };
            match opened {
                Err(_) => self.ask_again(sent, &device)?,
                Ok(_) if own => own_copy = true,
                Ok(plaintext) => {
                    let message = decode_plaintext(&plaintext, version).map_err(Error::crypto)?;
                    text = text_of(&message);
                    devices.push(device.device);
                }
            }
        }
        if devices.is_empty() {
            return Ok(());
        }
        for device in &devices {
            self.send_receipts(sent, &Address::new(&recipient.number, *device))?;
        }
        let times_sent = self.sent.get(&(sent.from.number.clone(), sent.id.clone())).copied().unwrap_or(1);
        shared.inbox.record(Received {
            id: sent.id.clone(),
            from: sent.from.number.clone(),
            to: recipient.number.clone(),
            text,
            devices,
            times_sent,
            own_copy,
            at_micros: now_micros(),
        });
        Ok(())
    }

    /// Passes a message on to another client.
    fn relay(&mut self, sent: &Sent<'_>, to: &Address, jid: &Jid, sealed: &Sealed) -> Result<()> {
        let from = self.address_like(sent.from, jid)?;
        let (other, name) = if from.is_lid() {
            (Jid::pn(sent.from.number.as_str()), "sender_pn")
        } else {
            (Jid::lid(self.person(&sent.from.number)?.lid.as_str()), "sender_lid")
        };
        let mut children = vec![enc(sealed, None)];
        if sealed.kind == "pkmsg" {
            children.extend(sent.stanza.get_optional_child("device-identity").cloned());
        }
        let mut message = NodeBuilder::new("message")
            .attr("from", from)
            .attr(name, other)
            .attr("id", sent.id.as_str())
            .attr("type", sent.stanza.text("type"))
            .attr("t", now_seconds().to_string());
        if to.number == sent.from.number {
            message = message.attr("recipient", sent.to.clone());
        }
        let message = message.children(children).build();
        if let Some(linked) = self.linked.get_mut(to) {
            linked.queue.push(message, linked.line.as_ref());
        }
        Ok(())
    }

    /// The receipts that a person's device sends by itself.
    fn send_receipts(&mut self, sent: &Sent<'_>, device: &Address) -> Result<()> {
        let kinds: &[Option<&str>] = match (self.person(&device.number)?.receipts, device.device) {
            (Receipts::None, _) => &[],
            (Receipts::Read, 0) => &[None, Some("read")],
            _ => &[None],
        };
        for kind in kinds {
            self.push_receipt(&sent.from.number, &sent.id, device, *kind)?;
        }
        Ok(())
    }

    /// A device that could not decrypt a message asks for it again, with keys for a new session.
    fn ask_again(&mut self, sent: &Sent<'_>, device: &Address) -> Result<()> {
        let count = self.sent.get(&(sent.from.number.clone(), sent.id.clone())).copied().unwrap_or(1);
        let from = self.address_like(device, &sent.to)?;
        let Some((offer, vouched)) = self.offer_of(device)? else { return Ok(()) };
        let mut keys = offer.nodes();
        keys.extend(vouched.map(|vouched| crate::node::leaf("device-identity", vouched)));
        let now = now_seconds().to_string();
        let retry = NodeBuilder::new("retry")
            .attr("v", "1")
            .attr("id", sent.id.as_str())
            .attr("t", now.as_str())
            .attr("count", count.to_string())
            .build();
        let receipt = NodeBuilder::new("receipt")
            .attr("from", from)
            .attr("id", sent.id.as_str())
            .attr("type", "retry")
            .attr("t", now.as_str())
            .children([
                retry,
                crate::node::leaf("registration", offer.identity.registration.to_be_bytes()),
                crate::node::parent("keys", keys),
            ])
            .build();
        if let Some(linked) = self.linked.get_mut(sent.from) {
            linked.asked_again += 1;
            linked.queue.push(receipt, linked.line.as_ref());
        }
        Ok(())
    }
}

/// The parts of a message: for which device, and in which version of its padding.
fn ciphertexts(sent: &Sent<'_>) -> Result<Vec<(Jid, Sealed, u8)>> {
    let read = |jid: Jid, enc: &Node| {
        let sealed = Sealed { kind: enc.text("type"), bytes: enc.content() };
        (jid, sealed, enc.text("v").parse().unwrap_or(2))
    };
    let mut found = Vec::new();
    for to in sent.stanza.get_optional_child("participants").and_then(Node::children).unwrap_or_default() {
        let jid = to.jid("jid")?;
        found.extend(to.get_children_by_tag("enc").map(|enc| read(jid.clone(), enc)));
    }
    // Sent to one device only: to the phone, or again to who asked for it.
    let only = sent.stanza.jid("to")?;
    found.extend(sent.stanza.get_children_by_tag("enc").map(|enc| read(only.clone(), enc)));
    Ok(found)
}

/// A ciphertext as part of a stanza; `count` says how often it was asked for again.
pub(super) fn enc(sealed: &Sealed, count: Option<u32>) -> Node {
    let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", sealed.kind.as_str());
    if let Some(count) = count {
        enc = enc.attr("count", count.to_string());
    }
    enc.bytes(sealed.bytes.clone()).build()
}

fn text_of(message: &Message) -> Option<String> {
    let inner = message.ephemeral_message.as_option().and_then(|wrapped| wrapped.message.as_option());
    let message = inner.unwrap_or(message);
    let extended = || message.extended_text_message.as_option().and_then(|extended| extended.text.clone());
    message.conversation.clone().or_else(extended)
}

fn ack(sent: &Sent<'_>, error: Option<u16>) -> Node {
    let mut ack = NodeBuilder::new("ack")
        .attr("class", "message")
        .attr("id", sent.id.as_str())
        .attr("from", sent.to.clone())
        .attr("t", now_seconds().to_string());
    if let Some(code) = error {
        ack = ack.attr("error", code.to_string());
    }
    ack.build()
}
