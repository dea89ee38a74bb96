//! Who has WhatsApp, under which addresses, with which devices.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use crate::adv::device_list;
use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::node::{Read as _, parent};
use crate::people::{Address, World};

impl World {
    /// Answers a look-up of one or more people.
    pub(super) fn look_up(&mut self, stanza: &Node) -> Result<Node> {
        let usync = stanza.required("usync")?;
        let asked: Vec<&str> = usync
            .get_optional_child("query")
            .and_then(Node::children)
            .unwrap_or_default()
            .iter()
            .map(|child| &*child.tag)
            .collect();
        let people = usync.get_optional_child("list").and_then(Node::children).unwrap_or_default();
        let users = people.iter().map(|user| self.look_up_one(user, &asked)).collect::<Result<Vec<_>>>()?;
        Ok(NodeBuilder::new("usync").attr("sid", usync.text("sid")).children([parent("list", users)]).build())
    }

    fn look_up_one(&mut self, user: &Node, asked: &[&str]) -> Result<Node> {
        let (jid, number) = match user.maybe("jid") {
            Some(jid) => {
                let jid: Jid = jid.parse().map_err(|_| Error::Malformed("an attribute is no address"))?;
                let number = self.resolve(&jid).map(|address| address.number);
                (jid, number)
            }
            None => {
                let contact = String::from_utf8(user.child("contact")).map_err(|_| Error::Malformed("no number"))?;
                let asked = contact.trim_start_matches('+').to_owned();
                let number = self.person(&asked)?.account.clone().unwrap_or(asked);
                (Jid::pn(number.as_str()), Some(number))
            }
        };
        let number = match number {
            Some(number) if self.person(&number)?.registered => Some(number),
            _ => None,
        };
        let mut found = Vec::new();
        for what in asked {
            match (*what, &number) {
                ("contact", number) => {
                    let kind = if number.is_some() { "in" } else { "out" };
                    found.push(NodeBuilder::new("contact").attr("type", kind).build());
                }
                ("lid", Some(number)) => {
                    let lid = Jid::lid(self.person(number)?.lid.as_str());
                    found.push(NodeBuilder::new("lid").attr("val", lid).build());
                }
                ("devices", Some(number)) => found.push(self.devices_of(number)?),
                _ => {}
            }
        }
        Ok(NodeBuilder::new("user").attr("jid", jid).children(found).build())
    }

    fn devices_of(&mut self, number: &str) -> Result<Node> {
        let devices = self.devices(number)?;
        let list = parent(
            "device-list",
            devices.iter().map(|device| {
                let node = NodeBuilder::new("device").attr("id", device.to_string());
                if *device == 0 { node.build() } else { node.attr("key-index", device.to_string()).build() }
            }),
        );
        let mut children = vec![list];
        if devices.len() > 1 {
            children.push(self.signed_devices(number, &devices)?);
        }
        Ok(parent("devices", children))
    }

    fn signed_devices(&mut self, number: &str, devices: &[u16]) -> Result<Node> {
        let signed = device_list(&self.person(number)?.phone, devices)?;
        Ok(NodeBuilder::new("key-index-list").attr("ts", now_seconds().to_string()).bytes(signed).build())
    }

    /// Tells everybody who has written with a person that they have one more device.
    pub(crate) fn announce(&mut self, number: &str, device: u16) -> Result<()> {
        let devices = self.devices(number)?;
        let signed = self.signed_devices(number, &devices)?;
        let person = self.person(number)?;
        let (lid, acquainted) = (person.lid.clone(), person.chats.clone());
        let jid = Jid::lid(lid.as_str());
        let added = NodeBuilder::new("device")
            .attr("jid", Jid::lid_device(lid.as_str(), device))
            .attr("key-index", device.to_string())
            .build();
        let told: Vec<Address> =
            self.linked.keys().filter(|address| acquainted.contains(&address.number)).cloned().collect();
        for address in told {
            let id = self.next().to_string();
            let notification = NodeBuilder::new("notification")
                .attr("from", jid.clone())
                .attr("type", "devices")
                .attr("id", id)
                .attr("t", now_seconds().to_string())
                .children([parent("add", [added.clone(), signed.clone()])])
                .build();
            if let Some(linked) = self.linked.get_mut(&address) {
                linked.queue.push(notification, linked.line.as_ref());
            }
        }
        Ok(())
    }

    /// Where a message or a receipt comes from: the kind of address that the other side wrote to.
    pub(crate) fn address_like(&mut self, address: &Address, like: &Jid) -> Result<Jid> {
        Ok(if like.is_lid() {
            Jid::lid_device(self.person(&address.number)?.lid.as_str(), address.device)
        } else {
            address.by_number()
        })
    }
}
