//! Calls a host that it does not name in its descriptor.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        Descriptor { hosts: vec!["allowed.example".to_owned()], ..misbehaving::descriptor("undeclared-host") }
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        Err(misbehaving::report(misbehaving::get(&config.url)))
    }
}

wotp_plugin_kit::plugin!(Attack);
