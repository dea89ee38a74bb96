//! Each component of `plugins/misbehaving` at its work; a normal delivery succeeds afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use wotp_channel_wasm::{Component, Plugin, Runtime, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Acknowledged, Channel as _, SendError};
use wotp_core::testing::channel::{outgoing, tells_no_secret};

use crate::gateway::Gateway;
use crate::plugins::{Log, bytes, channel, good, settings, world};

/// What comes of an attack that may call the gateway and `allowed.example`. Sees that a normal delivery succeeds
/// afterwards.
async fn attack(
    name: &str,
    gateway: &Gateway,
    path: &str,
    change: impl FnOnce(&mut Settings),
) -> Result<Acknowledged, SendError> {
    let mut settings = settings(&[&gateway.host(), "allowed.example"], json!({ "url": gateway.url(path) }));
    change(&mut settings);
    let channel = channel(name, settings).await.unwrap();
    let message = outgoing(AddressKind::Phone, 1);
    let result = channel.send(&message).await;
    if let Err(error) = &result {
        tells_no_secret(error, &message);
    }
    good(gateway).await.send(&outgoing(AddressKind::Phone, 2)).await.expect("a normal delivery succeeds afterwards");
    result
}

#[track_caller]
fn assert_stopped(result: &Result<Acknowledged, SendError>, words: &str) {
    assert!(matches!(result, Err(SendError::Unknown { detail }) if detail.contains(words)), "{result:?}");
}

/// What the plugin was told, which it reports as a refusal.
#[track_caller]
fn assert_told(result: &Result<Acknowledged, SendError>, words: &str) {
    let told = matches!(result, Err(SendError::Refused { reason: DeliveryFailure::Rejected, detail }) if detail.contains(words));
    assert!(told, "{result:?}");
}

#[tokio::test]
async fn an_endless_loop_is_stopped_and_others_go_on_meanwhile() {
    let gateway = Gateway::start().await;
    let turns = Arc::new(AtomicUsize::new(0));
    let other = {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    };
    let channel = channel("endless_loop", settings(&["allowed.example"], json!({}))).await.unwrap();
    let before = turns.load(Ordering::Relaxed);
    let result = channel.send(&outgoing(AddressKind::Phone, 1)).await;
    let meanwhile = turns.load(Ordering::Relaxed) - before;
    other.abort();
    assert_stopped(&result, "computed for longer than 1 s");
    // There is one thread for everything else, which the plugin had for one tick or two.
    assert!(meanwhile > 1000, "others had {meanwhile} turns");
    good(&gateway).await.send(&outgoing(AddressKind::Phone, 2)).await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_computes_until_its_time_is_over_is_stopped_then() {
    let gateway = Gateway::start().await;
    let soon = |settings: &mut Settings| settings.timeout = Duration::from_millis(300);
    assert_stopped(&attack("endless_loop", &gateway, "/", soon).await, "no answer in time");
}

#[tokio::test]
async fn time_goes_on_for_a_plugin_that_outlives_what_it_was_loaded_with() {
    let runtime = Runtime::new(1).unwrap();
    let component = Component::load(&runtime, &bytes("endless_loop"), world()).await.unwrap();
    drop(runtime);
    let channel = Plugin::new(component, settings(&["allowed.example"], json!({})), world()).await.unwrap();
    assert_stopped(&channel.send(&outgoing(AddressKind::Phone, 1)).await, "computed for longer than 1 s");
}

#[tokio::test]
async fn what_takes_too_much_or_crashes_is_a_failed_call() {
    let gateway = Gateway::start().await;
    for name in ["memory_bomb", "trap", "stack_overflow", "huge_detail"] {
        assert_stopped(&attack(name, &gateway, "/", |_| ()).await, "the plugin crashed");
    }
}

#[tokio::test]
async fn a_host_that_is_not_both_named_and_approved_is_not_called() {
    let gateway = Gateway::start().await;
    for (name, words) in
        [("undeclared_host", "is not one that the plugin names"), ("hidden_host", "a user or a password")]
    {
        assert_told(&attack(name, &gateway, "/echo", |_| ()).await, words);
    }
    assert!(gateway.came().iter().all(|came| came.path == "/send"), "{:?}", gateway.came());
    // Named by the plugin, or by `*`, and not by the operator.
    let nobody = |settings: &mut Settings| settings.hosts.remove(0);
    let result = attack("huge_reply", &gateway, "/echo", |settings| drop(nobody(settings))).await;
    assert_told(&result, "is not one that the plugin names");
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let gateway = Gateway::start().await;
    assert_told(&attack("huge_reply", &gateway, "/huge", |_| ()).await, "too large");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_timeout_before_the_call_is_over() {
    let gateway = Gateway::start().await;
    let soon = |settings: &mut Settings| settings.timeout = Duration::from_secs(1);
    assert_told(&attack("slow_server", &gateway, "/slow", soon).await, "timeout");
}

#[tokio::test]
async fn nobody_is_called_by_a_plugin_that_is_asked_about_its_settings() {
    let gateway = Gateway::start().await;
    let refused = channel("nosy_validate", settings(&[&gateway.host()], json!({ "url": gateway.url("/echo") }))).await;
    let said = refused.err().unwrap().to_string();
    assert!(said.contains("denied: requests are not allowed here"), "{said}");
    assert_eq!(gateway.connections(), 0);
}

#[tokio::test]
async fn requests_are_counted() {
    let gateway = Gateway::start().await;
    assert_told(&attack("request_flood", &gateway, "/echo", |_| ()).await, "at most 8 requests");
    assert_eq!(gateway.came().iter().filter(|came| came.path == "/echo").count(), 8);
}

#[tokio::test]
async fn another_host_cannot_be_named_in_a_header() {
    let gateway = Gateway::start().await;
    assert_told(&attack("header_smuggler", &gateway, "/echo", |_| ()).await, "`host` is not for plugins");
}

#[tokio::test]
async fn a_log_has_an_end() {
    let gateway = Gateway::start().await;
    let (log, _listening) = Log::listen();
    assert!(attack("log_flood", &gateway, "/", |_| ()).await.is_ok());
    let text = log.text();
    assert!(text.len() < 16 * 1024, "{} bytes", text.len());
    assert_eq!((text.matches("a plugin says").count(), text.matches("the rest is dropped").count()), (8, 1), "{text}");
}

#[tokio::test]
async fn no_log_tells_whom_a_plugin_writes_to_and_what() {
    let gateway = Gateway::start().await;
    let (log, _listening) = Log::listen();
    let result = attack("tattler", &gateway, "/", |_| ()).await;
    assert_told(&result, "is your Acme code");
    let text = log.text();
    assert!(text.contains("a plugin says") && !text.contains("482913") && !text.contains("5550101"), "{text}");
}
