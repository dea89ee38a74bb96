//! Says why at great length.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("huge-detail")
    }

    fn deliver(message: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        _ = (message, config);
        Err(DeliveryError::Rejected("x ".repeat(10_000_000)))
    }
}

wotp_plugin_kit::plugin!(Attack);
