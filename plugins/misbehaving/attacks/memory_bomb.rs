//! Takes all the memory that there is.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("memory-bomb")
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        let mut taken = Vec::new();
        loop {
            taken.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
}

wotp_plugin_kit::plugin!(Attack);
