//! Components as they were first published, and kept: of version 0.1.0 of the contract, built from `plugins/misbehaving`
//! on 2026-11-29, of 0.1.1, built from `plugins/twilio-sms` on 2026-11-30, and of 0.1.2 and 0.1.3, built from
//! `plugins/telegram-gateway` on that day; the paths of the machine that built them are blanked. One that is built anew would
//! be of whatever the sources have become, and would show that they fit each other.

use serde_json::json;
use wotp_channel_wasm::{Component, Plugin, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::Receipt;
use wotp_core::ports::{Channel as _, News, SendError, Standing};
use wotp_core::testing::channel::outgoing;

use crate::asking::question;
use crate::gateway::Gateway;
use crate::hearing::{DELIVERED, REFERENCE, SIGNATURE, TOKEN, config, told};
use crate::plugins::{Log, runtime, settings, world};

const FIRST: &[u8] = include_bytes!("../first/plugin-0.1.0.wasm");
const OF_0_1_1: &[u8] = include_bytes!("../first/plugin-0.1.1.wasm");
const OF_0_1_2: &[u8] = include_bytes!("../first/plugin-0.1.2.wasm");
const OF_0_1_3: &[u8] = include_bytes!("../first/plugin-0.1.3.wasm");

#[tokio::test]
async fn the_first_published_component_still_loads_for_ever() {
    let gateway = Gateway::start().await;
    let (log, _listening) = Log::listen();
    let component = Component::load(runtime(), FIRST, world()).await.unwrap();
    assert_eq!(component.descriptor().id, "misbehaving.secret-thief");
    assert!(!component.hears());
    assert_eq!(component.contract(), "0.1.0");
    let secrets = [("token".to_owned(), "s3cr3t-of-ours".to_owned().into())].into();
    let settings = Settings { secrets, ..settings(&[&gateway.host()], json!({ "url": gateway.url("/echo") })) };
    let channel = Plugin::new(component, settings, world()).await.unwrap();
    assert!(channel.ears().is_none());
    // All that the contract lent it: a request, a secret's mark, a line of log.
    let Err(SendError::Refused { detail, .. }) = channel.send(&outgoing(AddressKind::Phone, 1)).await else {
        panic!("it tells what it found");
    };
    assert!(detail.contains("Bearer …"), "{detail}");
    assert_eq!(gateway.came()[0].headers["authorization"], "Bearer s3cr3t-of-ours");
    assert!(log.text().contains("a plugin says"), "{}", log.text());
}

#[tokio::test]
async fn a_component_of_the_version_that_hears_still_sends_and_hears() {
    let gateway = Gateway::start().await;
    let component = Component::load(runtime(), OF_0_1_1, world()).await.unwrap();
    assert_eq!(component.descriptor().id, "wotp.twilio-sms");
    assert!(component.hears());
    let secrets = [("auth_token".to_owned(), TOKEN.to_owned().into())].into();
    let settings = Settings { secrets, ..settings(&[&gateway.host()], config(&gateway)) };
    let channel = Plugin::new(component, settings, world()).await.unwrap();
    let message = outgoing(AddressKind::Phone, 1);
    channel.send(&message).await.unwrap();
    let body = String::from_utf8(gateway.came()[0].body.clone()).unwrap();
    assert!(body.contains(&message.reference().to_string()), "{body}");
    let heard = channel.ears().unwrap().hear(told(REFERENCE, DELIVERED, SIGNATURE)).await.unwrap();
    assert_eq!(heard.news, [News { reference: REFERENCE.to_owned(), receipt: Receipt::Delivered }]);
}

#[tokio::test]
async fn a_component_of_the_version_that_asks_still_probes_sends_and_asks() {
    let gateway = Gateway::start().await;
    let component = Component::load(runtime(), OF_0_1_2, world()).await.unwrap();
    assert_eq!((component.descriptor().id.as_str(), component.contract()), ("wotp.telegram-gateway", "0.1.2"));
    assert!(component.hears() && component.asks() && component.probes() && !component.revokes());
    let secrets = [("token".to_owned(), TOKEN.to_owned().into())].into();
    let config = json!({ "api": gateway.url(""), "probe": true });
    let settings = Settings { secrets, ..settings(&[&gateway.host()], config) };
    let channel = Plugin::new(component, settings, world()).await.unwrap();
    let acknowledged = channel.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    assert_eq!(acknowledged.provider_id.as_deref(), Some("able-1"));
    let standing = channel.asks().unwrap().ask(&question(Some("read"))).await;
    assert_eq!(standing, Standing { receipt: Some(Receipt::Read), again: Again::Never });
    assert!(channel.revokes().is_none());
}

#[tokio::test]
async fn a_component_of_the_version_that_revokes_still_sends_asks_and_revokes() {
    let gateway = Gateway::start().await;
    let component = Component::load(runtime(), OF_0_1_3, world()).await.unwrap();
    assert_eq!((component.descriptor().id.as_str(), component.contract()), ("wotp.telegram-gateway", "0.1.3"));
    assert!(component.hears() && component.asks() && component.probes() && component.revokes());
    assert!(component.unused().is_empty());
    let secrets = [("token".to_owned(), TOKEN.to_owned().into())].into();
    let settings = Settings { secrets, ..settings(&[&gateway.host()], json!({ "api": gateway.url("") })) };
    let channel = Plugin::new(component, settings, world()).await.unwrap();
    let acknowledged = channel.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    assert!(acknowledged.provider_id.is_some());
    let standing = channel.asks().unwrap().ask(&question(Some("read"))).await;
    assert_eq!(standing, Standing { receipt: Some(Receipt::Read), again: Again::Never });
    assert_eq!(channel.revokes().unwrap().revoke(&question(Some("141414"))).await, Again::Never);
    assert_eq!(gateway.came().last().unwrap().path, "/revokeVerificationMessage");
}
