//! Asks for the clock of WASI, which plugins do not get.

use misbehaving::Target;
use wotp_plugin_kit::{DeliveryError, Descriptor, Message, Plugin, Receipt};

mod wasi_clock {
    wit_bindgen::generate!({
        inline: "
            package wasi:clocks@0.2.0;

            interface monotonic-clock {
                now: func() -> u64;
            }

            world clock {
                import monotonic-clock;
            }
        ",
    });
}

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("wasi-import")
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(Some(wasi_clock::wasi::clocks::monotonic_clock::now().to_string())))
    }
}

wotp_plugin_kit::plugin!(Attack);
