//! Keys: what devices upload, and what those get who want to write to them.

use rand::random;
use sha1::{Digest as _, Sha1};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::buffa::MessageField;
use waproto::whatsapp::Message;
use waproto::whatsapp::message::protocol_message::Type;
use waproto::whatsapp::message::{
    AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId, AppStateSyncKeyShare,
    ProtocolMessage,
};

use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::keys::{Identity, short};
use crate::node::{Read as _, SERVER, leaf, parent};
use crate::people::{Address, World};

/// How few keys a device may have left before it is asked for more.
const FEW_KEYS: usize = 5;

impl World {
    pub(super) fn count_keys(&self, address: &Address) -> Vec<Node> {
        let count = self.linked.get(address).map_or(0, |linked| linked.one_time.len());
        vec![NodeBuilder::new("count").attr("value", count.to_string()).build()]
    }

    /// A device publishes its keys: all of them, or, where it only has a new signed one, that.
    pub(super) fn upload(&mut self, address: &Address, stanza: &Node) -> Result<()> {
        let linked = self.linked.get_mut(address).ok_or(Error::NoSuchDevice)?;
        if stanza.get_optional_child("list").is_some() {
            linked.identity = Some(Identity::read(stanza)?);
            linked.one_time.extend(Identity::one_time_keys(stanza)?);
        } else if let (Some(known), Some(rotate)) = (&mut linked.identity, stanza.get_optional_child("rotate")) {
            let signed = Identity::read(&parent(
                "rotate",
                [rotate.required("skey")?.clone(), leaf("identity", known.identity)],
            ))?;
            *known = Identity { registration: known.registration, ..signed };
        }
        Ok(())
    }

    /// What the server holds of a device's keys, for the device to compare.
    pub(super) fn digest(&self, address: &Address) -> Option<Node> {
        let linked = self.linked.get(address)?;
        let identity = linked.identity.as_ref()?;
        let mut hash = Sha1::new();
        hash.update(identity.identity);
        hash.update(identity.signed);
        hash.update(&identity.signature);
        for key in &linked.one_time {
            hash.update(key.public);
        }
        Some(parent(
            "digest",
            [
                leaf("registration", identity.registration.to_be_bytes()),
                leaf("type", [5]),
                leaf("identity", identity.identity),
                identity.signed_key(),
                parent("list", linked.one_time.iter().map(|key| leaf("id", short(key.id)))),
                leaf("hash", hash.finalize().to_vec()),
            ],
        ))
    }

    /// Somebody wants to write to devices.
    pub(super) fn keys_of(&mut self, stanza: &Node) -> Result<Vec<Node>> {
        let asked = stanza.required("key")?.children().unwrap_or_default();
        let users = asked.iter().map(|user| self.keys_of_device(user.jid("jid")?)).collect::<Result<Vec<_>>>()?;
        Ok(vec![parent("list", users)])
    }

    fn keys_of_device(&mut self, jid: Jid) -> Result<Node> {
        let user = NodeBuilder::new("user").attr("jid", jid.clone());
        let offer = match self.resolve(&jid) {
            None => None,
            Some(address) => self.offer_of(&address)?,
        };
        let Some((offer, vouched)) = offer else {
            let error = NodeBuilder::new("error").attr("code", "404").attr("text", "item-not-found").build();
            return Ok(user.children([error]).build());
        };
        let mut children = vec![leaf("registration", offer.identity.registration.to_be_bytes())];
        children.extend(offer.nodes());
        children.extend(vouched.map(|vouched| leaf("device-identity", vouched)));
        Ok(user.children(children).build())
    }

    /// A device's keys, and what its phone vouches for it with.
    pub(super) fn offer_of(&mut self, address: &Address) -> Result<Option<(crate::keys::Offer, Option<Vec<u8>>)>> {
        if let Some(linked) = self.linked.get_mut(address) {
            let offer = linked.offer();
            if linked.one_time.len() == FEW_KEYS {
                self.ask_for_keys(address);
            }
            let vouched = self.linked.get(address).map(|linked| linked.vouched.clone());
            return Ok(offer.map(|offer| (offer, vouched)));
        }
        let person = self.person(&address.number)?;
        if !person.registered {
            return Ok(None);
        }
        let vouched = person.companions.get(&address.device).map(|companion| companion.vouched.clone());
        Ok(person.endpoint(address.device).map(|endpoint| (endpoint.offer(), vouched)))
    }

    fn ask_for_keys(&mut self, address: &Address) {
        let id = self.next().to_string();
        let Some(linked) = self.linked.get_mut(address) else { return };
        let count = NodeBuilder::new("count").attr("value", linked.one_time.len().to_string()).build();
        let notification = NodeBuilder::new("notification")
            .attr("from", SERVER)
            .attr("type", "encrypt")
            .attr("id", id)
            .attr("t", now_seconds().to_string())
            .children([count])
            .build();
        linked.queue.push(notification, linked.line.as_ref());
    }

    /// After the first upload the phone sends the key that the account's settings are under. A client waits for it
    /// before it says that it is connected.
    pub(super) async fn share_app_state_key(&mut self, address: &Address) -> Result<()> {
        let Some(linked) = self.linked.get_mut(address) else { return Ok(()) };
        if linked.identity.is_none() || std::mem::replace(&mut linked.has_app_state_key, true) {
            return Ok(());
        }
        let fingerprint = AppStateSyncKeyFingerprint {
            raw_id: Some(1),
            current_index: Some(0),
            device_indexes: vec![0, address.device.into()],
        };
        let key = AppStateSyncKey {
            key_id: MessageField::some(AppStateSyncKeyId { key_id: Some(vec![0, 0, 0, 0, 0, 1]) }),
            key_data: MessageField::some(AppStateSyncKeyData {
                key_data: Some(random::<[u8; 32]>().to_vec()),
                timestamp: i64::try_from(now_seconds() * 1000).ok(),
                fingerprint: MessageField::some(fingerprint),
            }),
        };
        let share = ProtocolMessage {
            r#type: Some(Type::APP_STATE_SYNC_KEY_SHARE),
            app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare { keys: vec![key] }),
            ..Default::default()
        };
        let message = Message { protocol_message: MessageField::some(share), ..Default::default() };
        self.write_to_own_device(address, &message).await
    }
}

#[cfg(test)]
mod tests {
    use wacore::prekeys::compute_key_bundle_digest;

    use super::*;
    use crate::people::Linked;

    fn signed(id: u32, byte: u8) -> Node {
        parent("skey", [leaf("id", short(id)), leaf("value", [byte; 32]), leaf("signature", [byte; 64])])
    }

    #[test]
    fn others_get_what_a_device_has_published_last_and_the_digest_says_it() {
        let device = Address::new("15550100", 1);
        let mut world = World::default();
        world.linked.insert(device.clone(), Linked::new([0; 32], b"vouched".to_vec()));
        assert!(world.digest(&device).is_none());
        let keys = [2, 3].map(|id| parent("key", [leaf("id", short(id)), leaf("value", [id as u8; 32])]));
        let all = parent(
            "iq",
            [leaf("registration", 77_u32.to_be_bytes()), leaf("identity", [1; 32]), parent("list", keys), signed(4, 4)],
        );
        world.upload(&device, &all).unwrap();
        world.upload(&device, &parent("iq", [parent("rotate", [signed(5, 5)])])).unwrap();

        let (offer, vouched) = world.offer_of(&device).unwrap().unwrap();
        assert_eq!((offer.identity.registration, offer.identity.identity), (77, [1; 32]));
        assert_eq!((offer.identity.signed_id, offer.identity.signed), (5, [5; 32]));
        assert_eq!(offer.one_time.map(|key| (key.id, key.public)), Some((2, [2; 32])));
        assert_eq!(vouched.as_deref(), Some(&b"vouched"[..]));
        // As a client computes it from what it has, without the key that was given away.
        let digest = world.digest(&device).unwrap();
        assert_eq!(digest.child("hash"), compute_key_bundle_digest(&[1; 32], &[5; 32], &[5; 64], &[&[3; 32]]));
        let (offer, _) = world.offer_of(&device).unwrap().unwrap();
        assert_eq!(offer.one_time.map(|key| key.id), Some(3));
        let (offer, _) = world.offer_of(&device).unwrap().unwrap();
        assert!(offer.one_time.is_none(), "each is given away once");
    }
}
