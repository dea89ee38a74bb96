//! Numbers that behave the same every time, for tests of an integration.
//!
//! They come from a range that a regulator reserves for fiction, so nobody can own one, and they
//! never reach a channel, with a live key either.

use jiff::SignedDuration;

use super::address::Address;
use super::dispatch::{DeliveryFailure, DeliveryStatus, Verdict};

/// How a simulated recipient behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Reaches the device.
    Delivered,
    /// Reaches the device and is opened.
    Read,
    /// Every channel says that nobody has this number.
    Undeliverable,
    /// The channel says "later" twice, 5 seconds apart, then delivers.
    Slow,
    /// The first channel refuses, the next one delivers.
    FailsOver,
    /// The server acknowledges; nothing more is ever heard.
    SentOnly,
}

/// A sandbox number, for the documentation and `GET /v1/limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxNumber {
    /// E.164.
    pub number: &'static str,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// In words.
    pub description: &'static str,
}

/// All sandbox numbers. Source of the range: Ofcom, numbers for use in TV and radio drama.
pub const NUMBERS: [SandboxNumber; 6] = [
    SandboxNumber { number: "+447700900001", behaviour: Behaviour::Delivered, description: "delivered at once" },
    SandboxNumber {
        number: "+447700900002",
        behaviour: Behaviour::Undeliverable,
        description: "undeliverable: every channel refuses the number",
    },
    SandboxNumber {
        number: "+447700900003",
        behaviour: Behaviour::Slow,
        description: "slow: delivered after about 10 seconds",
    },
    SandboxNumber { number: "+447700900004", behaviour: Behaviour::Read, description: "delivered and read at once" },
    SandboxNumber {
        number: "+447700900005",
        behaviour: Behaviour::FailsOver,
        description: "fails over: the first channel refuses, the next delivers",
    },
    SandboxNumber {
        number: "+447700900006",
        behaviour: Behaviour::SentOnly,
        description: "sent, and no receipt ever comes",
    },
];

/// The behaviour of a sandbox number; none for any other address.
pub fn find(address: &Address) -> Option<Behaviour> {
    NUMBERS.iter().find(|sandbox| sandbox.number == address.as_str()).map(|sandbox| sandbox.behaviour)
}

impl Behaviour {
    /// What the simulated channel answers on try number `tries` (0 for the first) of delivery
    /// number `delivery` (0 for the first channel).
    pub fn verdict(self, delivery: usize, tries: u8) -> Verdict {
        let reached = |reached| Verdict::Sent { provider_id: None, reached, cost: None };
        match self {
            Self::Read => reached(DeliveryStatus::Read),
            Self::SentOnly => reached(DeliveryStatus::Sent),
            Self::Undeliverable => Verdict::Refused(DeliveryFailure::InvalidRecipient),
            Self::Slow if tries < 2 => Verdict::Later { after: SignedDuration::from_secs(5) },
            Self::FailsOver if delivery == 0 => Verdict::Refused(DeliveryFailure::Rejected),
            Self::Delivered | Self::Slow | Self::FailsOver => reached(DeliveryStatus::Delivered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sandbox_number_is_an_address_of_its_own() {
        for sandbox in NUMBERS {
            let address = Address::parse(sandbox.number).unwrap();
            assert_eq!(find(&address), Some(sandbox.behaviour));
        }
        assert_eq!(find(&Address::parse("+447700900123").unwrap()), None);
    }
}
