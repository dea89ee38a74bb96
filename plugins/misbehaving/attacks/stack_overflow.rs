//! Calls itself without an end.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("stack-overflow")
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        fn deeper(depth: u64) -> u64 {
            std::hint::black_box(if depth == u64::MAX { 0 } else { 1 + deeper(std::hint::black_box(depth + 1)) })
        }
        Err(DeliveryError::Rejected(deeper(0).to_string()))
    }
}

wotp_plugin_kit::plugin!(Attack);
