//! Calls somebody when it is asked about its settings.

use misbehaving::Target;
use wotp_plugin_kit::http::Error;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("nosy-validate")
    }

    fn validate(config: &Target) -> Result<(), Vec<String>> {
        match misbehaving::get(&config.url).send() {
            Err(Error::Denied(why)) => Err(vec![format!("denied: {why}")]),
            other => Err(vec![format!("{other:?}")]),
        }
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(None))
    }
}

wotp_plugin_kit::plugin!(Attack);
