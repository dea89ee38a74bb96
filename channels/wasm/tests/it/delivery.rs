use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::json;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use wotp_core::ports::{Channel, SendError};
use wotp_core::testing::channel::{Received, holds, outgoing, tells_no_secret};

use crate::gateway::{Came, Gateway};
use crate::plugins::{channel, gateway_config, good, settings};

/// Goes on with something once, waiting for nothing.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn received(came: &Came) -> Received {
    let body = came.json();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let to = url::form_urlencoded::parse(came.query.as_bytes()).find(|(name, _)| name == "to").unwrap().1.into_owned();
    Received { to, text: text("text"), code: Some(text("code")).filter(|code| !code.is_empty()) }
}

#[tokio::test]
async fn a_plugin_keeps_what_every_channel_promises() {
    let gateway = Gateway::start().await;
    let everybody = wotp_channel_wasm::Settings {
        reaches: Vec::new(),
        ..settings(&[&gateway.host()], gateway_config(&gateway.url("/send")))
    };
    let channel = channel("generic_http", everybody).await.unwrap();
    assert_eq!(channel.reaches(), [AddressKind::Phone, AddressKind::Email]);
    holds(&channel, || gateway.came().iter().map(received).collect()).await;
}

#[tokio::test]
async fn a_message_goes_out_as_it_was_written_and_comes_back_with_the_gateways_name_for_it() {
    let gateway = Gateway::start().await;
    let message = outgoing(AddressKind::Phone, 1);
    let acknowledged = good(&gateway).await.send(&message).await.unwrap();
    assert_eq!((acknowledged.provider_id.as_deref(), acknowledged.reached), (Some("gw-1"), DeliveryStatus::Sent));
    let came = gateway.came();
    assert_eq!(came[0].query, "to=%2B12025550101");
    assert_eq!(came[0].headers["content-type"], "application/json");
    assert!(came[0].headers["user-agent"].to_str().unwrap().starts_with("WOTP/"));
    assert_eq!(came[0].json(), json!({ "text": message.text, "code": "482913", "id": message.message_id.to_string() }));
}

#[tokio::test]
async fn what_a_gateway_answers_decides_what_happens_next() {
    let gateway = Gateway::start().await;
    let message = outgoing(AddressKind::Phone, 1);
    let sent = async |path: &str| {
        let channel = channel("generic_http", settings(&[&gateway.host()], gateway_config(&gateway.url(path)))).await;
        let error = channel.unwrap().send(&message).await.unwrap_err();
        tells_no_secret(&error, &message);
        error
    };
    assert!(matches!(sent("/full").await, SendError::Later { after, .. } if after.as_secs() == 5));
    assert!(matches!(sent("/none").await, SendError::Refused { reason: DeliveryFailure::Rejected, .. }));
    // It says where else to go, and nobody goes there.
    assert!(matches!(sent("/redirect").await, SendError::Refused { reason: DeliveryFailure::Rejected, .. }));
    assert!(gateway.came().iter().all(|came| came.path != "/send"));
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_is_an_unknown_outcome() {
    let gateway = Gateway::start().await;
    let soon = wotp_channel_wasm::Settings {
        timeout: Duration::from_secs(1),
        ..settings(&[&gateway.host()], gateway_config(&gateway.url("/slow")))
    };
    let slow = channel("generic_http", soon).await.unwrap();
    let error = slow.send(&outgoing(AddressKind::Phone, 1)).await.unwrap_err();
    // The plugin says so itself: it was told in time, and was not stopped.
    assert!(matches!(&error, SendError::Unknown { detail } if detail.contains("did not answer in time")), "{error:?}");
}

#[tokio::test]
async fn nobody_is_called_within_our_network_however_the_address_is_written() {
    let message = outgoing(AddressKind::Phone, 1);
    for host in ["10.0.0.1", "169.254.169.254", "0x0a.1", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[::1]"] {
        let config = json!({ "url": format!("https://{host}/") });
        let channel = channel("generic_http", settings(&[host], config)).await.unwrap();
        let error = channel.send(&message).await.unwrap_err();
        let misconfigured = matches!(error, SendError::Refused { reason: DeliveryFailure::Misconfigured, .. });
        assert!(misconfigured && error.to_string().contains("not public"), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_plugin_with_as_many_calls_as_it_may_have_holds_up_only_itself() {
    let gateway = Gateway::start().await;
    let one = wotp_channel_wasm::Settings {
        concurrency: 1,
        ..settings(&[&gateway.host()], gateway_config(&gateway.url("/slow")))
    };
    let slow = std::sync::Arc::new(channel("generic_http", one).await.unwrap());
    let first = {
        let slow = std::sync::Arc::clone(&slow);
        tokio::spawn(async move { slow.send(&outgoing(AddressKind::Phone, 1)).await })
    };
    gateway.someone().await;
    // One waits for its turn; the other does not wait, or a burst would hold as many tasks as it has messages.
    let (second, third) = (outgoing(AddressKind::Phone, 2), outgoing(AddressKind::Phone, 3));
    let mut second = pin!(slow.send(&second));
    assert!(poll(second.as_mut()).is_pending());
    let mut third = pin!(slow.send(&third));
    let Poll::Ready(Err(third)) = poll(third.as_mut()) else { panic!("it is put back at once") };
    for put_back in [third, second.await.unwrap_err()] {
        assert!(matches!(&put_back, SendError::Away { detail, .. } if detail.contains("under way")), "{put_back:?}");
    }
    assert_eq!(slow.own_room(), 2);
    assert_eq!(gateway.connections(), 1);
    assert!(good(&gateway).await.send(&outgoing(AddressKind::Phone, 3)).await.is_ok());
    first.abort();
}

#[tokio::test]
async fn settings_are_held_against_the_schema_and_shown_to_the_plugin() {
    for (config, words) in [
        (json!({}), "url"),
        (json!({ "url": 7 }), "/url"),
        (json!({ "url": "https://a.example/", "colour": "red" }), "colour"),
        (json!({ "url": "https://a.example/{{nobody}}" }), "{{nobody}}"),
        (json!({ "url": "https://{{to}}.example/" }), "same for all"),
    ] {
        let refused = channel("generic_http", settings(&["a.example"], config)).await.err().unwrap().to_string();
        assert!(refused.starts_with("the plugin does not take its `config`") && refused.contains(words), "{refused}");
    }
}
