//! Says something else of itself each time.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        let drawn = wotp_plugin_kit::random(4).iter().fold(0, |number, byte| number * 256 + u32::from(*byte));
        Descriptor { version: format!("0.1.{}", drawn % 1_000_000), ..misbehaving::descriptor("fickle") }
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(None))
    }
}

wotp_plugin_kit::plugin!(Attack);
