//! Computes for ever.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("endless-loop")
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        let mut count = 0_u64;
        loop {
            count = std::hint::black_box(count.wrapping_add(1));
        }
    }
}

wotp_plugin_kit::plugin!(Attack);
