//! Whether somebody can be reached, asked before anything is sent: with `telegram-gateway` and a double of Telegram, and
//! with a plugin that does what it must not.

use std::time::Duration;

use serde_json::json;
use wotp_channel_wasm::{Plugin, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Channel as _, SendError};
use wotp_core::testing::channel::{outgoing, tells_no_secret};

use crate::gateway::Gateway;
use crate::hearing::telegram_with;
use crate::plugins::{channel, settings};

async fn telegram(gateway: &Gateway) -> Plugin {
    let config = json!({ "api": gateway.url(""), "probe": true });
    telegram_with(gateway, |settings| {
        *settings = Settings { config, timeout: Duration::from_secs(4), ..settings.clone() };
    })
    .await
}

fn paths(gateway: &Gateway) -> Vec<String> {
    gateway.came().into_iter().map(|came| came.path).collect()
}

#[tokio::test]
async fn what_telegram_found_out_beforehand_is_what_the_code_is_sent_with() {
    let gateway = Gateway::start().await;
    let message = outgoing(AddressKind::Phone, 1);
    let acknowledged = telegram(&gateway).await.send(&message).await.unwrap();
    assert_eq!(acknowledged.provider_id.as_deref(), Some("able-1"));
    assert_eq!(paths(&gateway), ["/checkSendAbility", "/sendVerificationMessage"]);
    let came = gateway.came();
    assert_eq!(came[0].json(), json!({ "phone_number": message.to.as_str() }));
    assert_eq!(came[1].json()["request_id"], "able-1");
}

#[tokio::test]
async fn who_cannot_be_reached_is_sent_nothing() {
    let gateway = Gateway::start().await;
    let message = outgoing(AddressKind::Phone, 11);
    let error = telegram(&gateway).await.send(&message).await.unwrap_err();
    tells_no_secret(&error, &message);
    let nobody = matches!(&error, SendError::Refused { reason: DeliveryFailure::InvalidRecipient, .. });
    assert!(nobody && error.to_string().contains("PHONE_NUMBER_NOT_FOUND"), "{error:?}");
    assert_eq!(paths(&gateway), ["/checkSendAbility"]);
}

#[tokio::test]
async fn a_message_goes_out_where_nobody_can_tell_beforehand() {
    let gateway = Gateway::start().await;
    let channel = telegram(&gateway).await;
    // It does not answer, and it does not say.
    for number in [12, 13] {
        channel.send(&outgoing(AddressKind::Phone, number)).await.unwrap();
    }
    let sent: Vec<_> = gateway.came().into_iter().filter(|came| came.path == "/sendVerificationMessage").collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|came| came.json().get("request_id").is_none()));
}

#[tokio::test]
async fn somebody_is_asked_after_also_where_a_delivery_may_take_a_second() {
    let gateway = Gateway::start().await;
    let config = json!({ "api": gateway.url(""), "probe": true });
    let brief = telegram_with(&gateway, |settings| {
        *settings = Settings { config, timeout: Duration::from_secs(1), ..settings.clone() };
    });
    let acknowledged = brief.await.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    assert_eq!(acknowledged.provider_id.as_deref(), Some("able-1"));
}

#[tokio::test]
async fn nothing_is_asked_beforehand_unless_the_settings_say_so() {
    let gateway = Gateway::start().await;
    telegram_with(&gateway, |_| ()).await.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    assert_eq!(paths(&gateway), ["/sendVerificationMessage"]);
}

#[tokio::test]
async fn a_probe_that_computes_crashes_or_says_too_much_holds_no_message_back() {
    let gateway = Gateway::start().await;
    let settings = Settings {
        timeout: Duration::from_secs(4),
        ..settings(&[&gateway.host()], json!({ "url": gateway.url("/slow") }))
    };
    let channel = channel("slow_probe", settings).await.unwrap();
    let mut told = Vec::new();
    for number in [21, 22, 23, 25, 26] {
        let Err(SendError::Refused { reason: DeliveryFailure::Rejected, detail }) =
            channel.send(&outgoing(AddressKind::Phone, number)).await
        else {
            panic!("{number}: it is delivered, and says with what");
        };
        told.push(detail);
    }
    let (without, with) = ("delivered with None", "delivered with Some(256)");
    assert_eq!(told, [without, without, without, without, with]);
    let message = outgoing(AddressKind::Phone, 24);
    let error = channel.send(&message).await.unwrap_err();
    tells_no_secret(&error, &message);
    assert!(matches!(&error, SendError::Refused { reason: DeliveryFailure::InvalidRecipient, .. }), "{error:?}");
}
