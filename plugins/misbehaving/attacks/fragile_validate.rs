//! Crashes at settings that it does not expect.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("fragile-validate")
    }

    fn validate(config: &Target) -> Result<(), Vec<String>> {
        assert!(config.url.starts_with("https://"), "whoever wrote this thought of no other URL");
        Ok(())
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(None))
    }
}

wotp_plugin_kit::plugin!(Attack);
