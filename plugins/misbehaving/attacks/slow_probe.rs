//! Asks beforehand, as the address says: computes without an end, crashes, waits for a server that does not answer, says
//! no, or gives a token that is far too long.

use misbehaving::Target;
use wotp_plugin_kit::{
    AddressKind, DeliveryError, Descriptor, Message, Plugin, Probing, Reachable, Receipt, probed_token,
};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        Descriptor { reaches: vec![AddressKind::Phone], ..misbehaving::descriptor("slow-probe") }
    }

    /// Says what came of the probe.
    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Err(DeliveryError::Rejected(format!("delivered with {:?}", probed_token().map(|token| token.len()))))
    }
}

impl Probing for Attack {
    fn reachable(message: &Message, config: Target) -> Reachable {
        match message.to.as_bytes().last() {
            Some(b'1') => loop {
                std::hint::spin_loop();
            },
            Some(b'2') => panic!("it crashes"),
            Some(b'3') => Reachable::Unknown(format!("{:?}", misbehaving::get(&config.url).send().is_err())),
            Some(b'4') => Reachable::No(format!("nobody is at {}", message.to)),
            Some(b'5') => Reachable::Yes(Some("x".repeat(257))),
            _ => Reachable::Yes(Some("x".repeat(256))),
        }
    }
}

wotp_plugin_kit::plugin!(Attack, probing);
