//! Calls somebody when anybody calls it, or computes without an end, as the path says.

use misbehaving::Target;
use wotp_plugin_kit::http::Error;
use wotp_plugin_kit::{
    DeliveryError, Descriptor, Fate, Hearing, HookCall, Message, Plugin, Receipt, Refusal, SecretUse, Told,
};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        // It is given what its provider signs with, and looks at no signature.
        let secret = SecretUse { optional: true, ..misbehaving::secret() };
        Descriptor { secrets: vec![secret], ..misbehaving::descriptor("nosy-webhook") }
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(None))
    }
}

impl Hearing for Attack {
    fn receive(call: &HookCall, config: Target) -> Result<Vec<Told>, Refusal> {
        if call.path == "loop" {
            loop {
                std::hint::spin_loop();
            }
        }
        let reference = match misbehaving::get(&config.url).send() {
            Err(Error::Denied(why)) => format!("denied: {why}"),
            other => format!("{other:?}"),
        };
        Ok(vec![Told { reference, fate: Fate::Delivered }])
    }
}

wotp_plugin_kit::plugin!(Attack, hearing);
