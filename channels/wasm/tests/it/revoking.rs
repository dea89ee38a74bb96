//! What a provider is to take back, with `telegram-gateway` and a double of Telegram, and with a plugin that breaks down.

use std::task::{Context, Waker};

use jiff::SignedDuration;
use serde_json::json;
use wotp_channel_wasm::Settings;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::asking::Again;
use wotp_core::ports::Channel as _;
use wotp_core::testing::channel::outgoing;

use crate::asking::question;
use crate::gateway::Gateway;
use crate::hearing::{TOKEN, telegram_with};
use crate::plugins::{channel, good, settings};

#[tokio::test]
async fn telegram_is_asked_to_take_a_code_back_and_says_whether_to_ask_again() {
    let gateway = Gateway::start().await;
    let telegram = telegram_with(&gateway, |_| ()).await;
    let revokes = telegram.revokes().expect("it takes back");
    for (request, again) in [
        ("141414", Again::Never),
        ("unheard-of", Again::Never),
        ("ours-to-mend", Again::AsPlanned),
        ("busy", Again::After(SignedDuration::from_secs(40))),
    ] {
        assert_eq!(revokes.revoke(&question(Some(request))).await, again, "{request}");
    }
    let came = gateway.came();
    assert_eq!((came.len(), came[0].path.as_str()), (4, "/revokeVerificationMessage"));
    assert_eq!(came[0].json(), json!({ "request_id": "141414" }));
    assert_eq!(came[0].headers["authorization"], format!("Bearer {TOKEN}"));
    // What Telegram has no name for it cannot take back.
    assert_eq!((revokes.revoke(&question(None)).await, gateway.came().len()), (Again::Never, 4));
}

#[tokio::test]
async fn a_plugin_that_exports_no_revoke_takes_nothing_back() {
    let gateway = Gateway::start().await;
    assert!(good(&gateway).await.revokes().is_none());
}

#[tokio::test]
async fn what_finds_no_place_or_no_provider_comes_again_and_holds_up_no_message() {
    let gateway = Gateway::start().await;
    let telegram =
        telegram_with(&gateway, |settings| *settings = Settings { concurrency: 4, ..settings.clone() }).await;
    let revokes = telegram.revokes().expect("it takes back");
    let slow = question(Some("slow"));
    let mut held = revokes.revoke(&slow);
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(revokes.revoke(&question(Some("1"))).await, Again::AsPlanned);
    telegram.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    drop(held);
    assert_eq!(revokes.revoke(&question(Some("1"))).await, Again::Never);
    gateway.is_away(true);
    for _ in 0..5 {
        telegram.send(&outgoing(AddressKind::Phone, 1)).await.unwrap_err();
    }
    let came = gateway.came().len();
    assert_eq!((revokes.revoke(&question(Some("1"))).await, gateway.came().len()), (Again::AsPlanned, came));
}

#[tokio::test]
async fn one_that_breaks_down_says_so() {
    let fragile = channel("fragile_status", settings(&["a.example"], json!({}))).await.unwrap();
    let revokes = fragile.revokes().expect("it takes back");
    for name in ["crash", "loop"] {
        assert_eq!(revokes.revoke(&question(Some(name))).await, Again::BrokeDown, "{name}");
    }
    assert_eq!(revokes.revoke(&question(Some("read"))).await, Again::Never);
}
