//! People, their phones, and the devices that are linked to them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use wacore_binary::{Jid, Node};

use crate::adv::Vouched;
use crate::error::{Error, Result};
use crate::faults::Rules;
use crate::keys::{Identity, Offer, OneTimeKey};
use crate::pairing::Pairing;
use crate::session::queue::Queue;
use crate::session::restrictions::Restrictions;
use crate::signal::Endpoint;

/// A device: 0 is the phone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) number: String,
    pub(crate) device: u16,
}

impl Address {
    pub(crate) fn new(number: &str, device: u16) -> Self {
        Self { number: number.to_owned(), device }
    }

    /// Its address by number.
    pub(crate) fn by_number(&self) -> Jid {
        Jid::pn_device(self.number.as_str(), self.device)
    }
}

/// Which receipts a person's phone sends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// None: it is off, or the person has blocked the sender.
    None,
    /// That a message was delivered.
    #[default]
    Delivered,
    /// That it was delivered, and then read.
    Read,
}

/// One person.
pub(crate) struct Person {
    /// The other address of the same account, which does not tell the number.
    pub(crate) lid: String,
    pub(crate) phone: Endpoint,
    /// The devices besides the phone that the double plays.
    pub(crate) companions: BTreeMap<u16, Companion>,
    pub(crate) registered: bool,
    /// The digits of the account under this number, where they are others.
    pub(crate) account: Option<String>,
    /// Whether the account goes by addresses that tell no number, as accounts do since 2025.
    pub(crate) lid_migrated: bool,
    pub(crate) receipts: Receipts,
    pub(crate) restrictions: Restrictions,
    /// Whom they have written with, either way.
    pub(crate) chats: HashSet<String>,
    next_device: u16,
}

/// A device besides the phone that the double plays.
pub(crate) struct Companion {
    pub(crate) endpoint: Endpoint,
    pub(crate) vouched: Vec<u8>,
}

impl Person {
    fn new(lid: String) -> Result<Self> {
        Ok(Self {
            lid,
            phone: Endpoint::new()?,
            companions: BTreeMap::new(),
            registered: true,
            account: None,
            lid_migrated: true,
            receipts: Receipts::default(),
            restrictions: Restrictions::default(),
            chats: HashSet::new(),
            next_device: 1,
        })
    }

    /// A number for a new device; none is given twice.
    pub(crate) fn next_device(&mut self) -> u16 {
        let device = self.next_device;
        self.next_device += 1;
        device
    }

    /// The phone is another one, and so are its keys. It is linked to no devices that are played.
    pub(crate) fn change_phone(&mut self) -> Result<()> {
        self.phone = Endpoint::new()?;
        self.companions.clear();
        Ok(())
    }

    /// A device that the double plays.
    pub(crate) fn endpoint(&mut self, device: u16) -> Option<&mut Endpoint> {
        match device {
            0 => Some(&mut self.phone),
            device => self.companions.get_mut(&device).map(|companion| &mut companion.endpoint),
        }
    }
}

/// A client that is linked to a person's phone.
pub(crate) struct Linked {
    pub(crate) noise_key: [u8; 32],
    pub(crate) vouched: Vec<u8>,
    pub(crate) identity: Option<Identity>,
    pub(crate) one_time: Vec<OneTimeKey>,
    pub(crate) line: Option<Line>,
    pub(crate) queue: Queue,
    pub(crate) logins: u32,
    pub(crate) displaced: u32,
    pub(crate) short_handshake: bool,
    pub(crate) has_app_state_key: bool,
    pub(crate) asked_again: u32,
}

impl Linked {
    pub(crate) fn new(noise_key: [u8; 32], vouched: Vec<u8>) -> Self {
        Self {
            noise_key,
            vouched,
            identity: None,
            one_time: Vec::new(),
            line: None,
            queue: Queue::default(),
            logins: 0,
            displaced: 0,
            short_handshake: false,
            has_app_state_key: false,
            asked_again: 0,
        }
    }

    /// Its keys for somebody who wants to write to it; a key that is good for once goes.
    pub(crate) fn offer(&mut self) -> Option<Offer> {
        let identity = self.identity.clone()?;
        let one_time = if self.one_time.is_empty() { None } else { Some(self.one_time.remove(0)) };
        Some(Offer { identity, one_time })
    }
}

/// What a connection is told from elsewhere.
pub(crate) enum Outgoing {
    Stanza(Node),
    /// End it as the protocol does.
    Close,
    /// End it as a broken network does.
    Cut,
}

/// The way to a client that is connected.
#[derive(Clone)]
pub(crate) struct Line(mpsc::UnboundedSender<Outgoing>);

impl Line {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Outgoing>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Sends a stanza. Where the connection has ended meanwhile it is lost, as on any network.
    pub(crate) fn send(&self, stanza: Node) {
        let _ = self.0.send(Outgoing::Stanza(stanza));
    }

    pub(crate) fn close(&self) {
        let _ = self.0.send(Outgoing::Close);
    }

    pub(crate) fn cut(&self) {
        let _ = self.0.send(Outgoing::Cut);
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// A message that somebody sent through the double, kept in case that a client asks for it again.
pub(crate) struct Said {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) plaintext: Vec<u8>,
}

/// All that the server knows; it survives the server's going down and up.
#[derive(Default)]
pub(crate) struct World {
    people: HashMap<String, Person>,
    numbers: HashMap<String, String>,
    pub(crate) linked: BTreeMap<Address, Linked>,
    pub(crate) pairing: Pairing,
    pub(crate) rules: Rules,
    pub(crate) said: HashMap<String, Said>,
    /// How often a message was sent, by the sender's number and its id.
    pub(crate) sent: HashMap<(String, String), u32>,
    /// The address that a message was sent to, which its receipts come from.
    pub(crate) sent_to: HashMap<(String, String), Jid>,
    next: u64,
}

/// Where the addresses that tell no number begin.
const FIRST_LID: u64 = 200_000_000_000_000;

impl World {
    /// The person of a number. Everybody has WhatsApp unless it was said otherwise.
    pub(crate) fn person(&mut self, number: &str) -> Result<&mut Person> {
        if !self.people.contains_key(number) {
            let lid = (FIRST_LID + self.people.len() as u64).to_string();
            self.numbers.insert(lid.clone(), number.to_owned());
            self.people.insert(number.to_owned(), Person::new(lid)?);
        }
        Ok(self.people.get_mut(number).expect("it was inserted if it was missing"))
    }

    /// Whom an address means, by number or not.
    pub(crate) fn resolve(&self, jid: &Jid) -> Option<Address> {
        let user = jid.user_base();
        let number = if jid.is_lid() { self.numbers.get(user)?.as_str() } else { user };
        Some(Address::new(number, jid.device))
    }

    /// The devices of a person: the phone, those that are played, those that are linked.
    pub(crate) fn devices(&mut self, number: &str) -> Result<Vec<u16>> {
        let linked: Vec<u16> = self.linked_to(number).map(|address| address.device).collect();
        let mut devices: Vec<u16> = self.person(number)?.companions.keys().copied().chain(linked).collect();
        devices.push(0);
        devices.sort_unstable();
        Ok(devices)
    }

    /// The clients that are linked to a number.
    pub(crate) fn linked_to(&self, number: &str) -> impl Iterator<Item = &Address> + use<'_> {
        let all = Address::new(number, 0)..=Address::new(number, u16::MAX);
        self.linked.range(all).map(|(address, _)| address)
    }

    /// Gives a person one more device that the double plays, and returns its number.
    pub(crate) fn add_companion(&mut self, number: &str) -> Result<u16> {
        let person = self.person(number)?;
        let device = person.next_device();
        let endpoint = Endpoint::new()?;
        let vouched = Vouched::sign(&person.phone, device, endpoint.identity())?.by_both(&endpoint)?;
        person.companions.insert(device, Companion { endpoint, vouched });
        Ok(device)
    }

    /// The connection of a device, as far as it has one.
    pub(crate) fn line(&self, address: &Address) -> Option<&Line> {
        self.linked.get(address)?.line.as_ref()
    }

    /// A connection has ended.
    pub(crate) fn hang_up(&mut self, line: &Line) {
        for linked in self.linked.values_mut() {
            if linked.line.as_ref().is_some_and(|own| own.is(line)) {
                linked.line = None;
            }
        }
        self.pairing.forget(line);
    }

    /// All connections have ended.
    pub(crate) fn hang_up_all(&mut self) {
        for linked in self.linked.values_mut() {
            linked.line = None;
        }
        self.pairing.forget_all();
    }

    /// A number for what needs one, as part of an id.
    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The linked devices of a number that must be there.
    pub(crate) fn struck(&self, number: &str) -> Result<Vec<Address>> {
        let struck: Vec<Address> = self.linked_to(number).cloned().collect();
        if struck.is_empty() { Err(Error::NoSuchDevice) } else { Ok(struck) }
    }
}
