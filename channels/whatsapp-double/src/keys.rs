//! What a device publishes so that others can write to it: its identity, a signed key, and keys that are good for once.

use wacore::libsignal::protocol::{IdentityKey, PreKeyBundle, PublicKey};
use wacore_binary::Node;

use crate::error::{Error, Result};
use crate::node::{Read as _, key, leaf, parent, unsigned};

/// One key of a device's list.
#[derive(Clone)]
pub(crate) struct OneTimeKey {
    pub(crate) id: u32,
    pub(crate) public: [u8; 32],
}

impl OneTimeKey {
    fn read(node: &Node) -> Result<Self> {
        Ok(Self { id: unsigned(&node.child("id")), public: key(&node.child("value"))? })
    }
}

/// What stays the same of a device from one offer to the next.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) registration: u32,
    pub(crate) identity: [u8; 32],
    pub(crate) signed_id: u32,
    pub(crate) signed: [u8; 32],
    pub(crate) signature: Vec<u8>,
}

impl Identity {
    /// Reads it from what a device uploads.
    pub(crate) fn read(node: &Node) -> Result<Self> {
        let signed = node.required("skey")?;
        Ok(Self {
            registration: unsigned(&node.child("registration")),
            identity: key(&node.child("identity"))?,
            signed_id: unsigned(&signed.child("id")),
            signed: key(&signed.child("value"))?,
            signature: signed.child("signature"),
        })
    }

    /// What a device has uploaded besides: the keys that are good for once.
    pub(crate) fn one_time_keys(node: &Node) -> Result<Vec<OneTimeKey>> {
        node.required("list")?.children().unwrap_or_default().iter().map(OneTimeKey::read).collect()
    }

    pub(crate) fn signed_key(&self) -> Node {
        parent(
            "skey",
            [leaf("id", short(self.signed_id)), leaf("value", self.signed), leaf("signature", self.signature.clone())],
        )
    }
}

/// One device's keys as somebody gets them who wants to write to it.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) identity: Identity,
    pub(crate) one_time: Option<OneTimeKey>,
}

impl Offer {
    /// The keys in a request to send again; the number that the device registered with lies beside them.
    pub(crate) fn read(keys: &Node, registration: u32) -> Result<Self> {
        let identity = Identity { registration, ..Identity::read(keys)? };
        Ok(Self { identity, one_time: keys.get_optional_child("key").map(OneTimeKey::read).transpose()? })
    }

    /// As the children of a `<user>` or of `<keys>`, without the number that the device registered with.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let mut nodes = vec![leaf("type", [5]), leaf("identity", self.identity.identity)];
        if let Some(one) = &self.one_time {
            nodes.push(parent("key", [leaf("id", short(one.id)), leaf("value", one.public)]));
        }
        nodes.push(self.identity.signed_key());
        nodes
    }

    /// As libsignal begins a session with.
    pub(crate) fn bundle(&self, device: u16) -> Result<PreKeyBundle> {
        let public = |key: &[u8]| PublicKey::from_djb_public_key_bytes(key).map_err(Error::crypto);
        let one_time = match &self.one_time {
            Some(one) => Some((one.id.into(), public(&one.public)?)),
            None => None,
        };
        PreKeyBundle::new(
            self.identity.registration,
            u32::from(device).into(),
            one_time,
            self.identity.signed_id.into(),
            public(&self.identity.signed)?,
            self.identity.signature.clone(),
            IdentityKey::new(public(&self.identity.identity)?),
        )
        .map_err(Error::crypto)
    }
}

/// The number of a key as it travels: three bytes.
pub(crate) fn short(id: u32) -> Vec<u8> {
    id.to_be_bytes()[1..].to_vec()
}
