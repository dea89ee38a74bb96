//! Has a server send more than anybody wants to hold.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("huge-reply")
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        Err(misbehaving::report(misbehaving::get(&config.url)))
    }
}

wotp_plugin_kit::plugin!(Attack);
