//! What a client that is logged in asks and says.

mod account;
mod directory;
mod encrypt;
mod messages;
pub(crate) mod queue;
mod receipts;
pub(crate) mod restrictions;
mod written;

use std::sync::Arc;

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp::ClientPayload;

use crate::clock::now_seconds;
use crate::double::Shared;
use crate::error::Result;
use crate::faults::Fault;
use crate::node::{Read as _, SERVER, answer, leaf, parent, refusal};
use crate::pairing::removed;
use crate::people::{Address, Line, World};
use queue::Class;

pub use restrictions::NewChatCap;

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) enum Caller {
    /// A device that is not linked yet.
    Stranger,
    /// A linked device.
    Device(Address),
}

/// How the server says a client is routed; it comes back in the client's next opening.
const ROUTING: &[u8] = b"\x08\x01double";

impl World {
    /// Lets a client in, to log in or to be linked; `None` where it was refused.
    pub(crate) fn welcome(
        &mut self,
        payload: &ClientPayload,
        key: [u8; 32],
        short_handshake: bool,
        line: &Line,
    ) -> Option<Caller> {
        let Some(user) = payload.username else {
            self.offer_qr(line);
            return Some(Caller::Stranger);
        };
        let device = payload.device.and_then(|device| u16::try_from(device).ok()).unwrap_or(0);
        let address = Address::new(&user.to_string(), device);
        let refused = self.rules.take(&address.number, |fault| match fault {
            Fault::LoginFailure { reason, code, expires_in_seconds } => Some((*reason, *code, *expires_in_seconds)),
            _ => None,
        });
        let lid = self.person(&address.number).ok()?.lid.clone();
        let known = self.linked.get_mut(&address).filter(|linked| linked.noise_key == key);
        let refused = refused.or(known.is_none().then_some((401, None, None)));
        let (None, Some(linked)) = (refused, known) else {
            let (reason, code, expires) = refused.unwrap_or((401, None, None));
            line.send(failure(reason, code, expires));
            line.close();
            return None;
        };
        linked.logins += 1;
        linked.short_handshake = short_handshake;
        linked.queue.begin();
        if let Some(before) = linked.line.replace(line.clone()) {
            linked.displaced += 1;
            before.send(conflict());
            before.close();
        }
        let success = NodeBuilder::new("success")
            .attr("t", now_seconds().to_string())
            .attr("lid", wacore_binary::Jid::lid_device(lid.as_str(), address.device))
            .attr("location", "double")
            .build();
        line.send(success);
        let routing = parent("edge_routing", [leaf("routing_info", ROUTING)]);
        line.send(NodeBuilder::new("ib").attr("from", SERVER).children([routing]).build());
        Some(Caller::Device(address))
    }

    /// A client's stanza.
    pub(crate) async fn on_stanza(
        &mut self,
        shared: &Arc<Shared>,
        caller: &Caller,
        line: &Line,
        stanza: &Node,
    ) -> Result<()> {
        match (&*stanza.tag, caller) {
            ("iq", _) => self.on_iq(caller, line, stanza).await,
            ("message", Caller::Device(address)) => self.on_message(shared, address, line, stanza).await,
            ("receipt", Caller::Device(address)) => self.on_receipt(address, line, stanza).await,
            ("ack", Caller::Device(address)) => {
                if let (Some(class), Some(linked)) = (Class::of(&stanza.text("class")), self.linked.get_mut(address)) {
                    linked.queue.acknowledged(class, &stanza.text("id"), stanza.maybe("type").as_deref());
                }
                Ok(())
            }
            ("ib", Caller::Device(address)) => {
                if let (Some(batch), Some(linked)) =
                    (stanza.get_optional_child("offline_batch"), self.linked.get_mut(address))
                {
                    linked.queue.more(line, batch.text("count").parse().unwrap_or(1));
                }
                Ok(())
            }
            // Whether somebody is there, or types: nobody asks.
            _ => Ok(()),
        }
    }

    async fn on_iq(&mut self, caller: &Caller, line: &Line, stanza: &Node) -> Result<()> {
        let (id, kind, namespace) = (stanza.text("id"), stanza.text("type"), stanza.text("xmlns"));
        if kind == "result" || kind == "error" {
            return self.signed(stanza);
        }
        let Caller::Device(address) = caller else {
            if stanza.first() == "link_code_companion_reg" {
                return self.on_code_stage(line, stanza);
            }
            line.send(answer(&id, Vec::new()));
            return Ok(());
        };
        let refused = self.rules.take(&address.number, |fault| match fault {
            Fault::IqError { code, text, namespace: concerned }
                if concerned.as_deref().is_none_or(|concerned| concerned == namespace) =>
            {
                Some((*code, text.clone()))
            }
            _ => None,
        });
        if let Some((code, text)) = refused {
            line.send(refusal(&id, code, &text));
            return Ok(());
        }
        let children = match (namespace.as_str(), kind.as_str(), stanza.first()) {
            ("encrypt", "get", "count") => self.count_keys(address),
            ("encrypt", "get", "key") => self.keys_of(stanza)?,
            ("encrypt", "get", "digest") => match self.digest(address) {
                Some(digest) => vec![digest],
                None => {
                    line.send(refusal(&id, 404, "item-not-found"));
                    return Ok(());
                }
            },
            ("encrypt", "set", _) => {
                self.upload(address, stanza)?;
                line.send(answer(&id, Vec::new()));
                return self.share_app_state_key(address).await;
            }
            ("usync", _, _) => vec![self.look_up(stanza)?],
            ("w:mex", _, _) => vec![self.query(address, stanza)?],
            ("w:sync:app:state", _, _) => vec![collections(stanza)],
            ("passive", _, what) => {
                line.send(answer(&id, Vec::new()));
                if let Some(linked) = self.linked.get_mut(address).filter(|_| what == "active") {
                    linked.queue.resume(line);
                }
                return Ok(());
            }
            ("md", "set", "remove-companion-device") => {
                self.unlink(address, line, &id);
                return Ok(());
            }
            ("privacy", "get", _) => vec![NodeBuilder::new("privacy").build()],
            ("blocklist", "get", _) => vec![NodeBuilder::new("list").build()],
            ("abt" | "w", "get", _) => vec![NodeBuilder::new("props").attr("hash", "double").build()],
            // What the client only reports: settings, tokens, statistics, that it is alive.
            _ => Vec::new(),
        };
        line.send(answer(&id, children));
        Ok(())
    }

    /// Ends the stream of a person's clients with a code.
    pub(crate) fn stream_error(&mut self, number: &str, code: u16) -> Result<()> {
        for address in self.struck(number)? {
            if let Some(line) = self.line(&address) {
                line.send(NodeBuilder::new("stream:error").attr("code", code.to_string()).build());
                line.close();
            }
        }
        Ok(())
    }

    /// Tells a person's clients that another one has logged in as the same device.
    pub(crate) fn conflict(&mut self, number: &str) -> Result<()> {
        for address in self.struck(number)? {
            if let Some(line) = self.line(&address) {
                line.send(conflict());
                line.close();
            }
        }
        Ok(())
    }

    /// A person takes the linked devices off.
    pub(crate) fn remove_devices(&mut self, number: &str) -> Result<()> {
        for address in self.struck(number)? {
            let line = self.linked.remove(&address).and_then(|linked| linked.line);
            if let Some(line) = line {
                line.send(removed());
                line.close();
            }
        }
        Ok(())
    }

    /// Breaks the connections of a person's clients.
    pub(crate) fn drop_connections(&mut self, number: &str) -> Result<()> {
        for address in self.struck(number)? {
            if let Some(line) = self.line(&address) {
                line.cut();
            }
        }
        Ok(())
    }
}

fn conflict() -> Node {
    parent("stream:error", [NodeBuilder::new("conflict").attr("type", "replaced").build()])
}

fn failure(reason: u16, code: Option<u16>, expires_in_seconds: Option<u64>) -> Node {
    let mut failure = NodeBuilder::new("failure").attr("reason", reason.to_string()).attr("location", "double");
    if let Some(code) = code {
        failure = failure.attr("code", code.to_string());
    }
    if let Some(expires) = expires_in_seconds {
        failure = failure.attr("expire", expires.to_string());
    }
    failure.build()
}

/// The client's collections of settings have not changed: nobody sets anything on these phones.
fn collections(stanza: &Node) -> Node {
    let asked = stanza.get_optional_child("sync").and_then(Node::children).unwrap_or_default();
    parent(
        "sync",
        asked.iter().map(|collection| {
            NodeBuilder::new("collection")
                .attr("name", collection.text("name"))
                .attr("version", collection.maybe("version").unwrap_or_else(|| "0".to_owned()))
                .build()
        }),
    )
}
