//! Wants to see a secret: in the log, in a place that is not meant for it, and in what the server echoes.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        Descriptor { secrets: vec![misbehaving::secret()], ..misbehaving::descriptor("secret-thief") }
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        let mark = wotp_plugin_kit::secret("token").unwrap_or_default();
        wotp_plugin_kit::log(wotp_plugin_kit::Level::Error, &mark);
        let call = misbehaving::get(&format!("{}?stolen={mark}", config.url))
            .header("authorization", format!("Bearer {mark}"));
        let echoed = call.body("text/plain", mark).send().map_err(DeliveryError::from)?;
        Err(DeliveryError::Rejected(String::from_utf8_lossy(&echoed.body).into_owned()))
    }
}

wotp_plugin_kit::plugin!(Attack);
