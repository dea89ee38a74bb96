//! Tells the log whom it writes to, and what.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("tattler")
    }

    fn deliver(message: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        let told = format!("{} {} {}", message.to, message.text, message.code.as_deref().unwrap_or_default());
        wotp_plugin_kit::log(wotp_plugin_kit::Level::Error, &told);
        Err(DeliveryError::Rejected(told))
    }
}

wotp_plugin_kit::plugin!(Attack);
