//! Says something about itself that cannot be.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        Descriptor { config_schema: r#"{"type":"text"}"#.to_owned(), ..misbehaving::descriptor("wrong-descriptor") }
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(None))
    }
}

wotp_plugin_kit::plugin!(Attack);
