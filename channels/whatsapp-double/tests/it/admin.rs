//! The admin API, with the real client at the other end.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wacore_binary::Jid;
use whatsapp_rust::prelude::*;
use wotp_whatsapp_double::{Double, admin};

use crate::client::{ANNA, Client, TENANT, nothing_kept, within};
use crate::pairing::shown_code;

async fn call(api: &Router, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = within("the answer", api.clone().oneshot(request.body(body).unwrap())).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn done(api: &Router, method: &str, path: &str, body: Value) -> Value {
    let (status, answer) = call(api, method, path, body).await;
    assert!(status.is_success(), "{method} {path}: {status} {answer}");
    answer
}

#[tokio::test]
async fn a_client_is_linked_and_written_with_over_http() {
    let double = Double::start().await.unwrap();
    let api = admin::router(double.clone());
    let about = done(&api, "GET", "/", Value::Null).await;
    assert_eq!(about["url"], double.url());
    assert_eq!(about["certificate_root"].as_str().unwrap().len(), 64);

    let mut client = Client::start(&double, &nothing_kept()).await;
    let qr = client.qr().await;
    let linked = done(&api, "POST", "/scan", json!({ "number": TENANT, "qr": qr })).await;
    client.connected().await;
    let devices = done(&api, "GET", "/devices", Value::Null).await;
    assert_eq!((&devices[0]["number"], &devices[0]["device"]), (&json!(TENANT), &linked["device"]));

    assert_eq!(done(&api, "GET", "/inbox", Value::Null).await, json!([]));
    done(&api, "PATCH", &format!("/people/{ANNA}"), json!({ "receipts": "none" })).await;
    let second = done(&api, "POST", &format!("/people/{ANNA}/companions"), Value::Null).await;
    let id = client.send(ANNA, "Your code is 123456").await;
    let inbox = done(&api, "GET", &format!("/inbox?to={ANNA}&wait_seconds=60"), Value::Null).await;
    assert_eq!((&inbox[0]["id"], &inbox[0]["text"]), (&json!(id), &json!("Your code is 123456")));
    assert_eq!(inbox[0]["devices"], json!([0, second["device"]]));
    done(&api, "POST", "/receipts", json!({ "message": id, "receipt": "read" })).await;
    client.receipt(&id, "Read").await;
    done(&api, "POST", "/messages", json!({ "from": ANNA, "to": TENANT, "text": "hello" })).await;
    assert_eq!(client.message().await, ("hello".to_owned(), ANNA.to_owned()));
}

#[tokio::test]
async fn faults_are_armed_listed_and_taken_back_over_http() {
    let double = Double::start().await.unwrap();
    let api = admin::router(double.clone());
    let mut client = Client::linked(&double).await;
    let rule = json!({ "fault": "ack_error", "code": 463, "number": TENANT, "times": 1 });
    done(&api, "POST", "/faults", rule.clone()).await;
    assert_eq!(done(&api, "GET", "/faults", Value::Null).await, json!([rule]));
    let refused = client.send(ANNA, "one").await;
    assert_eq!(client.ack(&refused).await.as_deref(), Some("463"));
    done(&api, "POST", "/faults", json!({ "fault": "ack_lost" })).await;
    done(&api, "DELETE", "/faults", Value::Null).await;
    let id = client.send(ANNA, "two").await;
    assert_eq!(client.ack(&id).await, None);

    let person = format!("/people/{TENANT}");
    done(&api, "PATCH", &person, json!({ "new_chat_cap": { "total": 0 } })).await;
    let capped = client.send("447700900456", "three").await;
    assert_eq!(client.ack(&capped).await.as_deref(), Some("475"));
    done(&api, "POST", &format!("{person}/restrictions"), Value::Null).await;
    for name in ["NotificationUserReachoutTimelockUpdate", "MessageCappingInfoNotification"] {
        let told = |event: &Event| match event {
            Event::MexNotification(told) if told.op_name == name => Some(told.payload.to_string()),
            _ => None,
        };
        let told = client.told(name, told).await;
        assert_eq!(told.contains("CAPPED"), name.contains("Capping"), "{told}");
    }
    done(&api, "PATCH", &person, json!({ "new_chat_cap": null })).await;
    let id = client.send("447700900456", "four").await;
    assert_eq!(client.ack(&id).await, None);

    done(&api, "POST", "/down", Value::Null).await;
    client.disconnected().await;
    done(&api, "POST", "/up", Value::Null).await;
    client.connected().await;
    done(&api, "POST", &format!("/strikes/{TENANT}"), json!({ "strike": "drop" })).await;
    client.disconnected().await;
}

#[tokio::test]
async fn a_code_is_typed_over_http_once_a_qr_has_expired() {
    let double = Double::start().await.unwrap();
    let api = admin::router(double.clone());
    let mut client = Client::start(&double, &nothing_kept()).await;
    let expired = client.qr().await;
    done(&api, "POST", "/qr/expire", Value::Null).await;
    let (status, _) = call(&api, "POST", "/scan", json!({ "number": TENANT, "qr": expired })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let code = shown_code(&mut client).await;
    done(&api, "POST", "/code", json!({ "number": TENANT, "code": code })).await;
    client.connected().await;
}

#[tokio::test]
async fn a_person_is_changed_over_http() {
    let double = Double::start().await.unwrap();
    let api = admin::router(double.clone());
    let mut client = Client::linked(&double).await;
    let (anna, tenant) = (format!("/people/{ANNA}"), format!("/people/{TENANT}"));
    client.send(ANNA, "one").await;
    done(&api, "POST", &format!("{anna}/phone"), Value::Null).await;
    let id = client.send(ANNA, "two").await;
    let inbox = done(&api, "GET", &format!("/inbox?id={id}&wait_seconds=60"), Value::Null).await;
    assert_eq!((&inbox[0]["text"], &inbox[0]["times_sent"]), (&json!("two"), &json!(2)), "another phone asks again");
    assert!(done(&api, "GET", "/devices", Value::Null).await[0]["asked_again"].as_u64() > Some(0));

    done(&api, "PATCH", &tenant, json!({ "time_lock_ends": 4_102_444_800_u64 })).await;
    let locked = client.send("447700900456", "to a stranger").await;
    assert_eq!(client.ack(&locked).await.as_deref(), Some("463"));
    done(&api, "PATCH", &tenant, json!({ "time_lock_ends": null, "lid_migrated": false })).await;
    let freed = client.send("447700900456", "to a stranger").await;
    assert_eq!(client.ack(&freed).await, None);

    done(&api, "PATCH", &anna, json!({ "registered": false })).await;
    done(&api, "PATCH", "/people/5531988881234", json!({ "account": "553188881234" })).await;
    let contacts = client.api();
    let found = within("the answer", contacts.contacts().is_on_whatsapp(&[Jid::pn("5531988881234")])).await.unwrap();
    assert_eq!((found[0].is_registered, &*found[0].jid.user), (true, "553188881234"));
    let known = within("the answer", client.api().contacts().is_on_whatsapp(&[Jid::pn(ANNA)])).await.unwrap();
    assert!(known.iter().all(|found| !found.is_registered), "{known:?}");
    let (status, _) = call(&api, "PATCH", &anna, json!({ "registred": false })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_reason() {
    let api = admin::router(Double::start().await.unwrap());
    let refused = |method, path, body| call(&api, method, path, body);
    let (status, why) = refused("POST", "/scan", json!({ "number": TENANT, "qr": "nonsense" })).await;
    assert_eq!((status, why["error"].is_string()), (StatusCode::BAD_REQUEST, true));
    let (status, _) = refused("POST", "/code", json!({ "number": TENANT, "code": "ABCD1234" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = refused("POST", "/messages", json!({ "from": ANNA, "to": TENANT, "text": "hello" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = refused("POST", "/faults", json!({ "fault": "earthquake" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = refused("POST", &format!("/strikes/{TENANT}"), json!({ "strike": "drop" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
