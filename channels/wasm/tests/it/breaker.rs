//! A provider that is away, and what is counted of plugins.

use std::sync::Arc;

use jiff::SignedDuration;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use wotp_channel_wasm::Plugin;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Channel as _, SendError};
use wotp_core::testing::ManualClock;
use wotp_core::testing::channel::outgoing;

use crate::gateway::Gateway;
use crate::plugins::{Log, channel, gateway_config, load, settings, world_at};

async fn over(gateway: &Gateway, clock: &Arc<ManualClock>, path: &str) -> Plugin {
    let settings = settings(&[&gateway.host()], gateway_config(&gateway.url(path)));
    Plugin::new(load("generic_http").await.unwrap(), settings, world_at(Arc::clone(clock))).await.unwrap()
}

#[tokio::test]
async fn a_provider_that_is_away_is_left_alone_and_asked_again_with_one_message() {
    let gateway = Gateway::start().await;
    let clock = Arc::new(ManualClock::at("2026-11-22T12:00:00Z"));
    let channel = over(&gateway, &clock, "/send").await;
    let (log, _listening) = Log::listen();
    let recorder = PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let message = outgoing(AddressKind::Phone, 1);
    gateway.is_away(true);
    for _ in 0..5 {
        assert!(matches!(channel.send(&message).await, Err(SendError::Later { .. })));
    }
    for _ in 0..3 {
        let left = channel.send(&message).await.unwrap_err();
        assert!(matches!(&left, SendError::Away { after, .. } if after.as_secs() == 30), "{left:?}");
    }
    assert_eq!(gateway.came().len(), 5, "nobody is asked meanwhile");
    assert!(shown.render().contains("wotp_plugin_left_alone{channel=\"sms\"} 1"), "{}", shown.render());

    clock.advance(SignedDuration::from_secs(30));
    assert!(matches!(channel.send(&message).await, Err(SendError::Later { .. })), "one sees whether it is back");
    assert!(matches!(channel.send(&message).await, Err(SendError::Away { .. })));
    assert_eq!(gateway.came().len(), 6);

    clock.advance(SignedDuration::from_secs(30));
    gateway.is_away(false);
    for _ in 0..2 {
        channel.send(&message).await.unwrap();
    }
    assert!(shown.render().contains("wotp_plugin_left_alone{channel=\"sms\"} 0"), "{}", shown.render());
    let text = log.text();
    assert_eq!((text.matches("does not answer").count(), text.matches("answers again").count()), (1, 1), "{text}");
}

#[tokio::test]
async fn what_a_tenants_message_may_cause_closes_the_channel_to_nobody() {
    let gateway = Gateway::start().await;
    let message = outgoing(AddressKind::Phone, 1);
    // It refuses, it asks to wait; and one that crashes.
    let clock = Arc::new(ManualClock::at("2026-11-22T12:00:00Z"));
    let crashing = channel("trap", settings(&[&gateway.host()], json!({}))).await.unwrap();
    for channel in [over(&gateway, &clock, "/none").await, over(&gateway, &clock, "/full").await, crashing] {
        for _ in 0..8 {
            let error = channel.send(&message).await.unwrap_err();
            assert!(!matches!(error, SendError::Away { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn calls_and_requests_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let gateway = Gateway::start().await;
    let clock = Arc::new(ManualClock::at("2026-11-22T12:00:00Z"));
    let message = outgoing(AddressKind::Phone, 1);
    over(&gateway, &clock, "/send").await.send(&message).await.unwrap();
    let refused = over(&gateway, &clock, "/none").await.send(&message).await;
    assert!(matches!(refused, Err(SendError::Refused { reason: DeliveryFailure::Rejected, .. })));
    for name in ["trap", "endless_loop"] {
        let attack = channel(name, settings(&["a.example"], json!({}))).await.unwrap();
        attack.send(&message).await.unwrap_err();
    }
    let elsewhere = channel("undeclared_host", settings(&["allowed.example"], json!({ "url": gateway.url("/") })));
    elsewhere.await.unwrap().send(&message).await.unwrap_err();
    let (text, host) = (shown.render(), gateway.host());
    for line in [
        "wotp_plugin_calls_total{channel=\"sms\",function=\"deliver\",outcome=\"ok\"} 1",
        "wotp_plugin_calls_total{channel=\"sms\",function=\"deliver\",outcome=\"error\"} 2",
        "wotp_plugin_calls_total{channel=\"sms\",function=\"deliver\",outcome=\"crashed\"} 1",
        "wotp_plugin_calls_total{channel=\"sms\",function=\"deliver\",outcome=\"computed_too_long\"} 1",
        "wotp_plugin_calls_total{channel=\"sms\",function=\"validate\",outcome=\"ok\"} 5",
        &format!("wotp_plugin_requests_total{{channel=\"sms\",host=\"{host}\",outcome=\"2xx\"}} 1"),
        &format!("wotp_plugin_requests_total{{channel=\"sms\",host=\"{host}\",outcome=\"4xx\"}} 1"),
        "wotp_plugin_requests_total{channel=\"sms\",host=\"none\",outcome=\"denied\"} 1",
        "wotp_plugin_call_seconds_count{channel=\"sms\",function=\"deliver\"} 5",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let computed = text
        .lines()
        .find_map(|line| line.strip_prefix("wotp_plugin_computing_seconds_sum{channel=\"sms\",function=\"deliver\"} "));
    let computed: f64 = computed.unwrap().parse().unwrap();
    assert!((0.9..3.0).contains(&computed), "one computes for a second, the others hardly: {computed}");
}
