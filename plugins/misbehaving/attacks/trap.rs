//! Crashes, with the message on its lips.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("trap")
    }

    fn deliver(message: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        panic!("{} {}", message.to, message.text);
    }
}

wotp_plugin_kit::plugin!(Attack);
