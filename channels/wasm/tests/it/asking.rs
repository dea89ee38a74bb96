//! What a provider is asked, with `telegram-gateway` and a double of Telegram.

use std::sync::Arc;
use std::task::{Context, Waker};

use jiff::SignedDuration;
use serde_json::json;
use wotp_channel_wasm::{Plugin, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::{DeliveryFailure, Receipt};
use wotp_core::ports::{Channel as _, Question, Standing};
use wotp_core::testing::ManualClock;
use wotp_core::testing::channel::outgoing;

use crate::gateway::Gateway;
use crate::hearing::{TOKEN, telegram_with};
use crate::plugins::{Log, good, load, settings, world_at};

/// Of a message that Telegram knows by this name.
pub fn question(provider_id: Option<&str>) -> Question {
    Question {
        reference: outgoing(AddressKind::Phone, 1).reference(),
        provider_id: provider_id.map(str::to_owned),
        sent_at: "2026-11-22T12:00:00Z".parse().unwrap(),
        asked: 1,
    }
}

const NOTHING: Standing = Standing { receipt: None, again: Again::AsPlanned };

#[tokio::test]
async fn what_telegram_says_when_it_is_asked_is_news_and_says_when_to_ask_again() {
    let gateway = Gateway::start().await;
    let channel = telegram_with(&gateway, |_| ()).await;
    let asks = channel.asks().expect("it asks");
    let unavailable = Receipt::Failed(DeliveryFailure::Unavailable);
    for (request, receipt, again) in [
        ("sent", Some(Receipt::Sent), Again::AsPlanned),
        ("delivered", Some(Receipt::Delivered), Again::AsPlanned),
        ("read", Some(Receipt::Read), Again::Never),
        ("expired", Some(unavailable), Again::Never),
        ("something-new", None, Again::AsPlanned),
        ("unheard-of", None, Again::Never),
        ("busy", None, Again::After(SignedDuration::from_secs(40))),
    ] {
        assert_eq!(asks.ask(&question(Some(request))).await, Standing { receipt, again }, "{request}");
    }
    let came = gateway.came();
    assert_eq!((came.len(), came[0].path.as_str()), (7, "/checkVerificationStatus"));
    assert_eq!(came[0].headers["authorization"], format!("Bearer {TOKEN}"));
    // What Telegram has no name for it cannot be asked about.
    let never = Standing { receipt: None, again: Again::Never };
    assert_eq!((asks.ask(&question(None)).await, gateway.came().len()), (never, 7));
}

#[tokio::test]
async fn a_plugin_that_exports_no_status_asks_nothing() {
    let gateway = Gateway::start().await;
    assert!(good(&gateway).await.asks().is_none());
}

#[tokio::test]
async fn what_finds_no_place_is_not_asked_and_holds_up_no_message() {
    let gateway = Gateway::start().await;
    let channel = telegram_with(&gateway, |settings| *settings = Settings { concurrency: 4, ..settings.clone() }).await;
    let asks = channel.asks().expect("it asks");
    let slow = question(Some("slow"));
    let mut held = asks.ask(&slow);
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(asks.ask(&question(Some("read"))).await, NOTHING);
    channel.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    drop(held);
    assert_eq!(asks.ask(&question(Some("read"))).await.receipt, Some(Receipt::Read));
}

#[tokio::test]
async fn a_provider_that_is_left_alone_is_asked_nothing_and_answers_to_questions_do_not_bring_it_back() {
    let gateway = Gateway::start().await;
    let channel = telegram_with(&gateway, |_| ()).await;
    let asks = channel.asks().expect("it asks");
    let (log, _listening) = Log::listen();
    gateway.is_away(true);
    // Questions that nobody answers close the channel to no message.
    for _ in 0..6 {
        let again = Again::After(SignedDuration::from_secs(5));
        assert_eq!(asks.ask(&question(Some("read"))).await, Standing { receipt: None, again });
    }
    // There may be thousands of these.
    assert!(!log.text().contains("could not ask how a message fares"), "{}", log.text());
    for _ in 0..5 {
        channel.send(&outgoing(AddressKind::Phone, 1)).await.unwrap_err();
    }
    let came = gateway.came().len();
    gateway.is_away(false);
    assert_eq!((asks.ask(&question(Some("read"))).await, gateway.came().len()), (NOTHING, came));
}

#[tokio::test]
async fn a_plugin_that_breaks_down_over_each_question_is_asked_once_in_half_a_minute_and_sends_all_the_same() {
    let clock = Arc::new(ManualClock::at("2026-11-22T12:00:00Z"));
    let (component, settings) = (load("fragile_status").await.unwrap(), settings(&["a.example"], json!({})));
    let channel = Plugin::new(component, settings, world_at(Arc::clone(&clock))).await.unwrap();
    let asks = channel.asks().expect("it asks");
    let (log, _listening) = Log::listen();
    let broke_down = Standing { receipt: None, again: Again::BrokeDown };
    // An answer in between begins anew.
    for name in ["crash", "crash", "crash", "crash", "read", "loop", "crash", "crash", "crash"] {
        let read = Standing { receipt: Some(Receipt::Read), again: Again::Never };
        let expected = if name == "read" { read } else { broke_down };
        assert_eq!(asks.ask(&question(Some(name))).await, expected, "{name}");
    }
    assert!(!log.text().contains("once in 30 s"), "{}", log.text());
    assert_eq!(asks.ask(&question(Some("crash"))).await, broke_down);
    assert_eq!(log.text().matches("once in 30 s").count(), 1);
    assert_eq!(asks.ask(&question(Some("read"))).await, NOTHING);
    channel.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    clock.advance(SignedDuration::from_secs(30));
    assert_eq!(asks.ask(&question(Some("crash"))).await, broke_down);
    assert_eq!(asks.ask(&question(Some("read"))).await, NOTHING);
    clock.advance(SignedDuration::from_secs(30));
    assert_eq!(asks.ask(&question(Some("read"))).await.receipt, Some(Receipt::Read));
    assert_eq!(asks.ask(&question(Some("read"))).await.receipt, Some(Receipt::Read));
    assert!(log.text().contains("answers again what it is asked"));
}
