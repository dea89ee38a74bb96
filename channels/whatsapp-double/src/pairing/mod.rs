//! Linking a device to a phone. The phone is the double's: it scans the QR that the device shows, or the person types
//! the code that the device shows; either way the phone vouches for the device, and the device signs that.

mod code;
mod qr;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::buffa::Message as _;
use waproto::whatsapp::ClientPairingProps;

use crate::adv::Vouched;
use crate::error::{Error, Result};
use crate::node::{Read as _, answer, ask, leaf, parent};
use crate::people::{Address, Line, Linked, World};

/// How long a device that has signed is registered before it is told to come back. As from a server that is not on the same
/// machine, a client has written down meanwhile that it is linked: whatsapp-rust 0.7 logs in twice where it has not.
const NOTED: Duration = Duration::from_millis(200);

/// What the person is told in the end: which device was linked.
pub(crate) type Outcome = oneshot::Receiver<Result<Address>>;

/// Devices on their way to being linked.
#[derive(Default)]
pub(crate) struct Pairing {
    offers: HashMap<String, qr::Offer>,
    codes: HashMap<String, code::Flow>,
    signing: HashMap<String, Signing>,
}

/// A device that was sent what the phone vouches for, and has yet to sign it.
struct Signing {
    address: Address,
    noise_key: [u8; 32],
    vouched: Vouched,
    line: Line,
    done: oneshot::Sender<Result<Address>>,
}

impl Pairing {
    /// A connection has ended: what it waited for ends with it.
    pub(crate) fn forget(&mut self, line: &Line) {
        self.offers.retain(|_, offer| !offer.line.is(line));
        self.codes.retain(|_, flow| !flow.line.is(line));
        self.signing.retain(|_, signing| !signing.line.is(line));
    }

    pub(crate) fn forget_all(&mut self) {
        *self = Self::default();
    }
}

impl World {
    /// The phone vouches for a device, which is sent that to sign it.
    fn vouch(
        &mut self,
        number: &str,
        line: Line,
        noise_key: [u8; 32],
        identity: [u8; 32],
        secret: &[u8],
        done: oneshot::Sender<Result<Address>>,
    ) -> Result<()> {
        let id = format!("pair-{}", self.next());
        let person = self.person(number)?;
        let address = Address::new(number, person.next_device());
        let vouched = Vouched::sign(&person.phone, address.device, identity)?;
        let device = NodeBuilder::new("device")
            .attr("jid", address.by_number())
            .attr("lid", Jid::lid_device(person.lid.as_str(), address.device))
            .build();
        let props = ClientPairingProps { is_chat_db_lid_migrated: Some(person.lid_migrated), ..Default::default() };
        let success = parent(
            "pair-success",
            [
                leaf("device-identity", vouched.under(secret)?),
                leaf("client-props", props.encode_to_vec()),
                device,
                NodeBuilder::new("platform").attr("name", "android").build(),
                // A business, whose name comes with the link. Other accounts have theirs among the settings of the
                // phone, which are not played: without a name a client waits ten seconds for those at each start.
                NodeBuilder::new("biz").attr("name", "A business").build(),
            ],
        );
        line.send(ask(&id, "md", success));
        self.pairing.signing.insert(id, Signing { address, noise_key, vouched, line, done });
        Ok(())
    }

    /// A device has answered: it signed, and is told to log in; or it refused.
    pub(crate) fn signed(&mut self, stanza: &Node) -> Result<()> {
        let Some(signing) = self.pairing.signing.remove(&stanza.text("id")) else { return Ok(()) };
        let signed = stanza
            .get_optional_child("pair-device-sign")
            .ok_or(Error::PairingRefused)
            .and_then(|sign| signing.vouched.countersigned(&sign.child("device-identity")));
        let Signing { address, noise_key, line, done, .. } = signing;
        let outcome = signed.map(|vouched| {
            self.linked.insert(address.clone(), Linked::new(noise_key, vouched));
            address
        });
        tokio::spawn(async move {
            if outcome.is_ok() {
                sleep(NOTED).await;
                // As after every pairing: the device comes back, and logs in.
                line.send(NodeBuilder::new("stream:error").attr("code", "515").build());
            }
            line.close();
            // Whoever scanned may have stopped waiting.
            let _ = done.send(outcome);
        });
        Ok(())
    }

    /// A device takes itself off.
    pub(crate) fn unlink(&mut self, address: &Address, line: &Line, id: &str) {
        self.linked.remove(address);
        line.send(answer(id, Vec::new()));
        line.send(removed());
        line.close();
    }
}

/// What a device is told that was taken off.
pub(crate) fn removed() -> Node {
    let conflict = NodeBuilder::new("conflict").attr("type", "device_removed").build();
    NodeBuilder::new("stream:error").attr("code", "401").children([conflict]).build()
}
