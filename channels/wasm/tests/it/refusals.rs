use serde_json::json;
use wotp_channel_wasm::{Component, Refusal, Unread};
use wotp_core::domain::address::AddressKind;
use wotp_core::ports::Channel as _;

use crate::plugins::{bytes, channel, load, runtime, settings, world};

async fn refused(bytes: &[u8]) -> String {
    Component::load(runtime(), bytes, world()).await.err().expect("it is refused").to_string()
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_in_plain_words() {
    for (name, words) in [
        ("wasi_import", "`wasi:clocks/monotonic-clock@0.2.0`"),
        ("no_plugin", "does not export `wotp:channel/delivery`"),
        ("newer_contract", "version `0.2.0` of the contract"),
        ("slow_describe", "computed for longer than 1 s"),
        ("wrong_descriptor", "no JSON Schema"),
    ] {
        let said = refused(&bytes(name)).await;
        assert!(said.contains(words), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_before_it_is_compiled() {
    for (bytes, words) in [
        (&b""[..], "no WebAssembly"),
        (b"#!/bin/sh", "no WebAssembly"),
        (b"\0asm\x01\0\0\0", "a WebAssembly module and not a component"),
        (b"\0asm\x63\0\x01\0", "no component that can be compiled"),
    ] {
        let said = refused(bytes).await;
        assert!(said.contains(words), "{said}");
    }
    let large = Component::load(runtime(), &vec![0; 32 * 1024 * 1024 + 1], world()).await;
    assert!(matches!(large.err(), Some(Refusal::Size(_))));
}

#[test]
fn a_file_is_looked_at_before_it_is_read() {
    // Of no length that its system tells, and without an end.
    let endless = Component::read("/dev/zero".as_ref()).err().unwrap();
    assert!(matches!(&endless, Unread::File(error) if error.to_string() == "it is no file"), "{endless}");
    let file = std::env::temp_dir().join(format!("wotp-large-{}.wasm", std::process::id()));
    // A hole: it takes no room, and reading it would take the whole of it.
    std::fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let large = Component::read(&file);
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(large.err(), Some(Unread::Refused(Refusal::Size(size))) if size == 1 << 40));
}

#[tokio::test]
async fn a_component_that_is_cut_off_or_changed_is_refused_or_another_but_nothing_worse() {
    let whole = bytes("trap");
    let said = refused(&whole[..whole.len() / 2]).await;
    assert!(said.contains("no component that can be compiled"), "{said}");
}

#[tokio::test]
async fn a_plugin_says_what_it_is() {
    let component = load("generic_http").await.unwrap();
    let descriptor = component.descriptor();
    assert_eq!((descriptor.id.as_str(), descriptor.version.as_str()), ("wotp.generic-http", "0.1.0"));
    assert_eq!(
        descriptor.secrets.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(),
        ["token", "username", "password"]
    );
    assert!(!descriptor.idempotent);
}

#[tokio::test]
async fn a_channel_is_what_its_plugin_can_be() {
    let refused = async |change: fn(&mut wotp_channel_wasm::Settings)| {
        let mut settings = settings(&["a.example"], json!({}));
        change(&mut settings);
        channel("undeclared_host", settings).await.err().unwrap().to_string()
    };
    assert!(refused(|settings| settings.name = "SMS".to_owned()).await.contains("no name of a channel"));
    assert!(refused(|settings| settings.reaches = vec![AddressKind::Email]).await.contains("of the kind `email`"));
    let said = refused(|_| ()).await;
    assert!(said.contains("the plugin calls allowed.example, and none of them is approved"), "{said}");
    let anybody = channel("trap", settings(&[], json!({}))).await.err().unwrap().to_string();
    assert!(anybody.contains("`hosts = [\"sms.example.com\"]`"), "{anybody}");
    let channel = channel("undeclared_host", settings(&["allowed.example", "b.example"], json!({}))).await.unwrap();
    assert_eq!(channel.probe().await, Ok(()));
}
