//! Sends whatever it is given, and breaks down when it is asked about it: as the provider's name for the message says.

use misbehaving::Target;
use wotp_plugin_kit::{
    Again, Asking, DeliveryError, Descriptor, Fate, Message, Plugin, Query, Receipt, Standing, Trouble, sent,
};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        misbehaving::descriptor("fragile-status")
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(sent(Some("crash".to_owned())))
    }
}

impl Asking for Attack {
    fn poll(query: &Query, _: Target) -> Result<Standing, Trouble> {
        match query.provider_id.as_deref() {
            Some("crash") => panic!("it crashes"),
            Some("loop") => loop {
                std::hint::spin_loop();
            },
            _ => Ok(Standing { fate: Some(Fate::Read), again: Again::Never }),
        }
    }
}

wotp_plugin_kit::plugin!(Attack, asking);
