//! Who is let pass and who is blocked by name: addresses, prefixes and networks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::guard::note::Rule;
use crate::domain::id::{GuardEntryId, ServiceId, TenantId};
use crate::domain::phone::Phone;
use crate::domain::vault::AddressIndex;
use crate::ports::{Entity, Owner};

/// Most entries of one kind in one list.
pub const ENTRIES_MAX: usize = 1_000;
/// Longest note of an entry, in characters.
pub const NOTE_LENGTH_MAX: usize = 100;

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListEffect {
    /// Lets it pass.
    Allow,
    /// Stops it.
    Block,
}

/// What an entry names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Listed {
    /// One number or email address, known by its keyed index alone.
    Address {
        /// By which it is found.
        index: AddressIndex,
        /// What its owner would recognise.
        masked: String,
    },
    /// Numbers that begin with this.
    Prefix {
        /// `+` and a few digits, as in `+4477009`.
        prefix: String,
    },
    /// IP addresses of end users.
    Network {
        /// As in `192.0.2.0/24`.
        network: IpNet,
    },
}

impl Listed {
    /// `address`, `prefix` or `network`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Prefix { .. } => "prefix",
            Self::Network { .. } => "network",
        }
    }

    /// What may be shown of it.
    pub fn shown(&self) -> String {
        match self {
            Self::Address { masked, .. } => masked.clone(),
            Self::Prefix { prefix } => prefix.clone(),
            Self::Network { network } => network.to_string(),
        }
    }

    /// The rule that speaks when it fits.
    pub fn rule(&self) -> Rule {
        match self {
            Self::Address { .. } => Rule::AddressListed,
            Self::Prefix { .. } => Rule::PrefixListed,
            Self::Network { .. } => Rule::NetworkListed,
        }
    }

    fn names_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address { index, .. }, Self::Address { index: other, .. }) => index == other,
            (this, other) => this == other,
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    /// Its id.
    pub id: GuardEntryId,
    /// What it is for.
    pub effect: ListEffect,
    /// What it names.
    pub what: Listed,
    /// Why it is there, in the tenant's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// The list of a service. One thing, since all of it is looked at for every start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardList {
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which service.
    pub service: ServiceId,
    /// Oldest first.
    pub entries: Vec<ListEntry>,
}

impl Entity for GuardList {
    const KIND: &'static str = "guard_list";

    fn id(&self) -> [u8; 16] {
        self.service.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

/// Why an entry is not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// There is no room.
    #[error("the list has 1,000 entries of this kind, which is all it takes; delete some")]
    Full,
    /// It names what another entry names.
    #[error("there is an entry for this already; delete it first")]
    Known,
}

impl GuardList {
    /// An empty list.
    pub fn new(tenant: TenantId, service: ServiceId) -> Self {
        Self { tenant, service, entries: Vec::new() }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn add(&mut self, entry: ListEntry) -> Result<(), ListError> {
        if self.entries.iter().any(|other| other.what.names_the_same_as(&entry.what)) {
            return Err(ListError::Known);
        }
        if self.entries.iter().filter(|other| other.what.kind() == entry.what.kind()).count() >= ENTRIES_MAX {
            return Err(ListError::Full);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Takes an entry off, if it is there.
    pub fn remove(&mut self, id: GuardEntryId) -> Option<ListEntry> {
        let place = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(place))
    }

    /// The entry that decides on an address: the address itself, else the longest prefix.
    pub fn of_address(&self, index: &AddressIndex, number: Option<&str>) -> Option<&ListEntry> {
        let fits = |entry: &&ListEntry| specificity(&entry.what, index, number).is_some();
        self.entries.iter().filter(fits).max_by_key(|entry| specificity(&entry.what, index, number))
    }

    /// The entry that decides on an IP address: the smallest network that it is in.
    pub fn of_ip(&self, ip: IpAddr) -> Option<&ListEntry> {
        let length = |entry: &&ListEntry| match &entry.what {
            Listed::Network { network } => {
                Some(plain(*network)).filter(|net| net.contains(&ip)).map(|net| net.prefix_len())
            }
            _ => None,
        };
        self.entries.iter().filter(|entry| length(entry).is_some()).max_by_key(length)
    }
}

/// How closely an entry fits an address: nothing fits closer than the address itself.
fn specificity(what: &Listed, index: &AddressIndex, number: Option<&str>) -> Option<usize> {
    match what {
        Listed::Address { index: listed, .. } if listed == index => Some(usize::MAX),
        Listed::Prefix { prefix } if number.is_some_and(|number| number.starts_with(prefix.as_str())) => {
            Some(prefix.len())
        }
        _ => None,
    }
}

/// A prefix as it is stored: `+` and 1 to 11 digits, the four less that a number has at most, spaces taken out. None
/// of what is a whole number: a prefix is kept and logged as it is, and a person's number never.
pub fn prefix(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let digits = plain.strip_prefix('+')?;
    let holds = (1..=11).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (holds && Phone::parse(&plain).is_err()).then_some(plain)
}

/// A network as it is stored, from an IP address or a CIDR. Bits beyond its length are taken off.
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| plain(network.trunc()))
}

/// A network of IPv4 that is written as one of IPv6 (`::ffff:192.0.2.0/120`) as the one that it is: addresses of
/// end users are looked for as what they are.
fn plain(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let length = mapped.prefix_len().checked_sub(96);
    let v4 = mapped.network().to_ipv4_mapped().zip(length).and_then(|(v4, length)| Ipv4Net::new(v4, length).ok());
    v4.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(n: u8) -> AddressIndex {
        AddressIndex::from_bytes([n; 24])
    }

    fn entry(n: u8, effect: ListEffect, what: Listed) -> ListEntry {
        ListEntry {
            id: GuardEntryId::from_bytes([n; 16]),
            effect,
            what,
            note: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn list(entries: Vec<ListEntry>) -> GuardList {
        GuardList { entries, ..GuardList::new(TenantId::from_bytes([1; 16]), ServiceId::from_bytes([1; 16])) }
    }

    #[test]
    fn what_fits_closest_decides() {
        let address = Listed::Address { index: index(1), masked: "+44***".to_owned() };
        let list = list(vec![
            entry(1, ListEffect::Block, Listed::Prefix { prefix: "+44".into() }),
            entry(2, ListEffect::Allow, Listed::Prefix { prefix: "+447700".into() }),
            entry(3, ListEffect::Block, address),
            entry(4, ListEffect::Block, Listed::Network { network: network("192.0.2.0/24").unwrap() }),
            entry(5, ListEffect::Allow, Listed::Network { network: network("192.0.2.7").unwrap() }),
        ]);
        let number = Some("+447700900123");
        assert_eq!(list.of_address(&index(1), number).unwrap().id, list.entries[2].id);
        assert_eq!(list.of_address(&index(2), number).unwrap().id, list.entries[1].id);
        assert_eq!(list.of_address(&index(2), Some("+442079460000")).unwrap().id, list.entries[0].id);
        assert_eq!(list.of_address(&index(2), None), None);
        assert_eq!(list.of_ip("192.0.2.7".parse().unwrap()).unwrap().id, list.entries[4].id);
        assert_eq!(list.of_ip("192.0.2.8".parse().unwrap()).unwrap().id, list.entries[3].id);
        assert_eq!(list.of_ip("198.51.100.1".parse().unwrap()), None);
    }

    #[test]
    fn a_network_of_ipv4_is_one_however_it_is_written() {
        for (written, stored) in [
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(written).unwrap().to_string(), stored);
        }
        // One that was stored as it was written.
        let mapped = Listed::Network { network: "::ffff:192.0.2.0/120".parse().unwrap() };
        let list = list(vec![entry(1, ListEffect::Block, mapped)]);
        assert!(list.of_ip("192.0.2.9".parse().unwrap()).is_some());
        assert_eq!(list.of_ip("192.0.3.9".parse().unwrap()), None);
    }

    #[test]
    fn nothing_is_named_twice_and_the_list_has_an_end() {
        let mut list = list(Vec::new());
        let named = |n: usize| Listed::Prefix { prefix: format!("+{n}") };
        for n in 0..ENTRIES_MAX {
            list.add(entry(0, ListEffect::Block, named(n + 1))).unwrap();
        }
        assert_eq!(list.add(entry(0, ListEffect::Allow, named(1))), Err(ListError::Known));
        assert_eq!(list.add(entry(0, ListEffect::Block, named(5_000))), Err(ListError::Full));
        let other = Listed::Network { network: network("2001:db8::/32").unwrap() };
        assert_eq!(list.add(entry(0, ListEffect::Block, other)), Ok(()), "each kind has its own room");
    }

    #[test]
    fn prefixes_and_networks_are_read_as_people_write_them() {
        assert_eq!(prefix("+44 7700").as_deref(), Some("+447700"));
        for wrong in ["", "+", "447700", "+44a", "+123456789012345"] {
            assert_eq!(prefix(wrong), None, "{wrong}");
        }
        assert_eq!(network("192.0.2.9/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(network("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        assert_eq!(network("example.com"), None);
    }
}
