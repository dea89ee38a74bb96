//! Where codes go, as the watch sees it: a prefix of numbers, a country, or all that a service does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::domain::id::{DestinationId, ServiceId};

/// A destination of a service's codes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// Numbers that are the same but for their last four digits: at most 10,000 people.
    Prefix(String),
    /// A country, as ISO 3166-1 alpha-2.
    Country(String),
    /// All of them.
    Service,
}

impl Destination {
    /// Its id within a service: the same on every node.
    pub fn id(&self, service: ServiceId) -> DestinationId {
        let mut hash = Sha256::new();
        hash.update(service.to_bytes());
        hash.update(self.to_string());
        let digest: [u8; 32] = hash.finalize().into();
        DestinationId::from_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
    }

    /// `prefix`, `country` or `service`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Prefix(_) => "prefix",
            Self::Country(_) => "country",
            Self::Service => "service",
        }
    }

    /// The prefix or the country; empty for the service.
    pub fn value(&self) -> &str {
        match self {
            Self::Prefix(value) | Self::Country(value) => value,
            Self::Service => "",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.value())
    }
}

/// The text is no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a destination is written as in `prefix:+4477009001`, `country:GB` or `service:`")]
pub struct DestinationError;

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        match text.split_once(':') {
            Some(("prefix", value)) => Ok(Self::Prefix(value.to_owned())),
            Some(("country", value)) => Ok(Self::Country(value.to_owned())),
            Some(("service", "")) => Ok(Self::Service),
            _ => Err(DestinationError),
        }
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_survives_its_text_and_has_an_id_of_its_own() {
        let service = ServiceId::from_bytes([1; 16]);
        let all = [Destination::Prefix("+4477009001".into()), Destination::Country("GB".into()), Destination::Service];
        for destination in &all {
            assert_eq!(destination.to_string().parse().as_ref(), Ok(destination));
        }
        let mut ids: Vec<_> = all.iter().map(|destination| destination.id(service)).collect();
        ids.push(all[0].id(ServiceId::from_bytes([2; 16])));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        assert_eq!("nowhere".parse::<Destination>(), Err(DestinationError));
    }
}
