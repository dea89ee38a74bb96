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
        let said = (0..1000).map(|_| misbehaving::report(misbehaving::get(&config.url)));
        Err(said.last().unwrap_or_else(|| DeliveryError::Rejected("none".to_owned())))
    }
}

wotp_plugin_kit::plugin!(Attack);
