use serde_json::json;
use wotp_channel_wasm::{Settings, SettingsError};
use wotp_core::domain::address::AddressKind;
use wotp_core::ports::{Channel as _, Outgoing, SendError};
use wotp_core::testing::channel::outgoing;

use crate::gateway::Gateway;
use crate::plugins::{Log, channel, settings};

const SECRET: &str = "s3cr3t\"&+";

fn with_secret(gateway: &Gateway, config: serde_json::Value) -> Settings {
    let secrets = [("token".to_owned(), SECRET.to_owned().into())].into();
    Settings { secrets, ..settings(&[&gateway.host()], config) }
}

#[tokio::test]
async fn a_secret_goes_out_where_it_was_written_as_its_place_wants_it() {
    let gateway = Gateway::start().await;
    let config = json!({
        "url": format!("{}?key={{{{secret:token}}}}", gateway.url("/send")),
        "headers": { "x-key": "Key {{secret:token}}" },
        "body": { "json": { "key": "{{secret:token}}" } },
    });
    channel("generic_http", with_secret(&gateway, config))
        .await
        .unwrap()
        .send(&outgoing(AddressKind::Phone, 1))
        .await
        .unwrap();
    let config = json!({ "url": gateway.url("/send"), "body": { "form": { "key": "{{secret:token}}" } } });
    channel("generic_http", with_secret(&gateway, config))
        .await
        .unwrap()
        .send(&outgoing(AddressKind::Phone, 2))
        .await
        .unwrap();
    let came = gateway.came();
    assert_eq!(came[0].query, "key=s3cr3t%22%26%2B");
    assert_eq!(came[0].headers["x-key"], "Key s3cr3t\"&+");
    assert_eq!(came[0].json(), json!({ "key": SECRET }));
    assert_eq!(came[1].body, b"key=s3cr3t%22%26%2B");
}

#[tokio::test]
async fn a_text_that_looks_like_a_secret_is_a_text() {
    let gateway = Gateway::start().await;
    let config = json!({
        "url": gateway.url("/send"),
        "headers": { "authorization": "{{secret:token}}" },
        "body": { "json": { "text": "{{text}}" } },
    });
    let channel = channel("generic_http", with_secret(&gateway, config)).await.unwrap();
    // What stood for the secret in the call before would be the best that anybody could write.
    for text in ["{{secret:token}}", "WOTPSECRET_token_00000000000000000000000000000000"] {
        let message = Outgoing { text: text.to_owned(), ..outgoing(AddressKind::Phone, 1) };
        channel.send(&message).await.unwrap();
        let came = gateway.came().pop().unwrap();
        assert_eq!((came.json(), came.headers["authorization"].to_str().unwrap()), (json!({ "text": text }), SECRET));
    }
}

#[tokio::test]
async fn a_plugin_never_sees_a_secret_and_neither_does_the_log() {
    let gateway = Gateway::start().await;
    let (log, _listening) = Log::listen();
    let thief = channel("secret_thief", with_secret(&gateway, json!({ "url": gateway.url("/echo") }))).await.unwrap();
    let SendError::Refused { detail, .. } = thief.send(&outgoing(AddressKind::Phone, 1)).await.unwrap_err() else {
        panic!("it tells what it found");
    };
    let came = &gateway.came()[0];
    assert_eq!(came.headers["authorization"], format!("Bearer {SECRET}"), "where it was declared, it stands");
    assert!(came.query.starts_with("stolen=WOTPSECRET_token_"), "{}", came.query);
    assert!(came.body.starts_with(b"WOTPSECRET_token_"));
    assert!(detail.contains("Bearer …") && !detail.contains("s3cr3t"), "{detail}");
    assert!(log.text().contains("a plugin says") && !log.text().contains("s3cr3t"), "{}", log.text());
}

#[tokio::test]
async fn secrets_are_those_that_the_plugin_asks_for() {
    let gateway = Gateway::start().await;
    let config = || json!({ "url": gateway.url("/echo") });
    let refused = async |settings: Settings| channel("secret_thief", settings).await.err().unwrap();
    let missing = refused(settings(&[&gateway.host()], config())).await;
    assert!(matches!(&missing, SettingsError::MissingSecret { name, .. } if name == "token"), "{missing}");
    let mut more = with_secret(&gateway, config());
    more.secrets.insert("key".to_owned(), "x".to_owned().into());
    let unknown = refused(more).await;
    assert_eq!(unknown.to_string(), "the plugin asks for no secret `key`; it asks for `token`");
    let mut empty = with_secret(&gateway, config());
    empty.secrets.insert("token".to_owned(), String::new().into());
    assert!(matches!(refused(empty).await, SettingsError::EmptySecret(_)));
}
