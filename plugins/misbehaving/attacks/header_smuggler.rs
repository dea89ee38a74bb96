//! Names another host to whoever stands in front of the one that it calls.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("header-smuggler")
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        Err(misbehaving::report(misbehaving::get(&config.url).header("Host", "internal.example")))
    }
}

wotp_plugin_kit::plugin!(Attack);
