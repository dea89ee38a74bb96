//! Takes a message for sent, whatever the provider answers.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("believer")
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        _ = misbehaving::get(&config.url).send();
        Ok(wotp_plugin_kit::sent(None))
    }
}

wotp_plugin_kit::plugin!(Attack);
