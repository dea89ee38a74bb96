//! Makes as many requests as it can.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("request-flood")
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        (0..999).for_each(|_| drop(misbehaving::report(misbehaving::get(&config.url))));
        Err(misbehaving::report(misbehaving::get(&config.url)))
    }
}

wotp_plugin_kit::plugin!(Attack);
