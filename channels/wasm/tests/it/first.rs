//! The first component that was published, as it was: built from `plugins/misbehaving` with version 0.1.0 of the
//! contract, on 2026-11-29, and kept; the paths of the machine that built it are blanked. One that is built anew would be
//! of whatever the sources have become, and would show that they fit each other.

use serde_json::json;
use wotp_channel_wasm::{Component, Plugin, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::ports::{Channel as _, SendError};
use wotp_core::testing::channel::outgoing;

use crate::gateway::Gateway;
use crate::plugins::{Log, runtime, settings, world};

const FIRST: &[u8] = include_bytes!("../first/plugin-0.1.0.wasm");

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
