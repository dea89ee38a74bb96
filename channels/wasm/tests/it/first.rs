//! Components as they were first published, and kept: of version 0.1.0 of the contract, built from `plugins/misbehaving`
//! on 2026-11-29, of 0.1.1, built from `plugins/twilio-sms` on 2026-11-30, of 0.1.2 and 0.1.3, built from
//! `plugins/telegram-gateway` on that day, and of 0.1.4, built from `plugins/whatsapp-cloud` on 2026-12-01; the paths of the
//! machine that built them are blanked. One that is built anew would be of whatever the sources have become, and would show
//! that they fit each other.

use std::collections::BTreeMap;

use serde_json::json;
use wotp_channel_wasm::{Component, Plugin, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::Receipt;
use wotp_core::ports::{Channel as _, Heard, Hearing, News, SendError, Standing};
use wotp_core::testing::channel::outgoing;

use crate::asking::question;
use crate::gateway::Gateway;
use crate::hearing::{DELIVERED, REFERENCE, SIGNATURE, TOKEN, config, told};
use crate::plugins::{Log, runtime, settings, world};

const FIRST: &[u8] = include_bytes!("../first/plugin-0.1.0.wasm");
const OF_0_1_1: &[u8] = include_bytes!("../first/plugin-0.1.1.wasm");
const OF_0_1_2: &[u8] = include_bytes!("../first/plugin-0.1.2.wasm");
const OF_0_1_3: &[u8] = include_bytes!("../first/plugin-0.1.3.wasm");
const OF_0_1_4: &[u8] = include_bytes!("../first/plugin-0.1.4.wasm");

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

/// The signature is what `openssl dgst -sha256 -hmac app-secret-of-ours` makes of the body.
#[tokio::test]
async fn a_component_of_the_version_that_looks_at_accounts_still_hears_and_looks() {
    let component = Component::load(runtime(), OF_0_1_4, world()).await.unwrap();
    assert_eq!((component.descriptor().id.as_str(), component.contract()), ("wotp.whatsapp-cloud", "0.1.4"));
    assert!(component.hears() && component.checks() && !component.asks() && component.unused().is_empty());
    let secrets = [("access_token", TOKEN), ("app_secret", "app-secret-of-ours")];
    let secrets = secrets.map(|(name, secret)| (name.to_owned(), secret.to_owned().into())).into();
    let secrets: BTreeMap<_, _> = secrets;
    let mut config = json!({
        "phone_number_id": "1065", "template": "login_code", "verify_token": "verify-token-of-ours",
    });
    let through = async |component, config| {
        let settings = Settings { secrets: secrets.clone(), ..settings(&["graph.facebook.com"], config) };
        Plugin::new(component, settings, world()).await.unwrap()
    };
    // Where no account is named it asks nobody.
    let standing = through(component, config.clone()).await.account().unwrap().check().await.unwrap();
    assert_eq!((standing.usable, standing.findings[0].state.as_str()), (true, "NOT_LOOKED_AT"));
    config["business_account_id"] = json!("1022");
    let channel = through(Component::load(runtime(), OF_0_1_4, world()).await.unwrap(), config).await;
    let body = r#"{"object":"whatsapp_business_account","entry":[{"id":"1022","changes":[{"field":"message_template_status_update","value":{"event":"APPROVED","message_template_name":"login_code","message_template_language":"en_US"}}]}]}"#;
    let signature = "sha256=4d2fd5ead6dc03c23f7327e2a012c52c5557911b6452debb557239828dfbdfe2";
    let headers = vec![("x-hub-signature-256".to_owned(), signature.to_owned())];
    let heard = channel.ears().unwrap().hear(Heard { headers, ..told("meta", body, "") }).await;
    assert_eq!(heard, Ok(Hearing { news: Vec::new(), account_changed: true }));
}
