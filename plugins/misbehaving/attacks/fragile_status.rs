//! Sends whatever it is given, and breaks down when it is asked about it or is to take it back, as the provider's name for
//! the message says; and when it is to look at the account, as its settings say: else it tells more than anybody reads.

use misbehaving::Target;
use wotp_plugin_kit::{
    Again, Asking, Checking, DeliveryError, Descriptor, Fate, Finding, Kept, Message, Plugin, Query, Receipt, Report,
    Revoking, Sent, Standing, Trouble, Unchecked, account_changed, sent,
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
        breaks_down(query.provider_id.as_deref());
        Ok(Standing { fate: Some(Fate::Read), again: Again::Never })
    }
}

impl Revoking for Attack {
    fn take_back(sent: &Sent, _: Target) -> Result<(), Kept> {
        breaks_down(sent.provider_id.as_deref());
        Ok(())
    }
}

impl Checking for Attack {
    fn check(config: Target) -> Result<Report, Unchecked> {
        breaks_down(Some(&config.url));
        // Nobody told it so.
        account_changed();
        let long = || format!("a\nb\u{202e}{}", "x".repeat(1000));
        let finding = |_| Finding { name: long(), state: long(), good: false, about: long() };
        Ok(Report { usable: false, findings: (0..200).map(finding).collect() })
    }
}

fn breaks_down(name: Option<&str>) {
    match name {
        Some("crash") => panic!("it crashes"),
        Some("loop") => loop {
            std::hint::spin_loop();
        },
        _ => {}
    }
}

wotp_plugin_kit::plugin!(Attack, asking, revoking, checking);
