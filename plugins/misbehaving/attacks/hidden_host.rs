//! Hides the host that it calls behind one that is allowed: `https://allowed@evil/`.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        Descriptor { hosts: vec!["allowed.example".to_owned()], ..misbehaving::descriptor("hidden-host") }
    }

    fn deliver(_: &Message, config: Target) -> Result<Receipt, DeliveryError> {
        let (scheme, rest) = config.url.split_once("://").unwrap_or(("https", &config.url));
        Err(misbehaving::report(misbehaving::get(&format!("{scheme}://allowed.example@{rest}"))))
    }
}

wotp_plugin_kit::plugin!(Attack);
