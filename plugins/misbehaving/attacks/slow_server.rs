//! Waits for a server that never answers.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("slow-server")
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        Err(misbehaving::report(misbehaving::get(&config.url).within(u32::MAX)))
    }
}

wotp_plugin_kit::plugin!(Attack);
