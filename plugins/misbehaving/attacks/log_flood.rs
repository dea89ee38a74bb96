//! Fills the log, and then sends the message.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("log-flood")
    }

    fn deliver(message: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        let line = "x".repeat(1000);
        (0..10_000).for_each(|_| wotp_plugin_kit::log(wotp_plugin_kit::Level::Error, &line));
        _ = (message, config);
        Ok(wotp_plugin_kit::sent(None))
    }
}

wotp_plugin_kit::plugin!(Attack);
