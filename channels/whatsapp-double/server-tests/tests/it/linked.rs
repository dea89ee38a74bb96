//! A tenant links a phone, and codes go out through it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::block_in_place;
use wotp_whatsapp_double::{Double, Receipts, Received};

use crate::process::{Place, Server};

pub const TENANT: &str = "12025550100";
pub const ANNA: &str = "+447700900123";

pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// The next message that a person has, after those that were seen.
pub async fn next(double: &Double, seen: &mut BTreeSet<String>) -> Received {
    let message = within("a message", double.inbox().wait(|message| !seen.contains(&message.id))).await;
    seen.insert(message.id.clone());
    message
}

fn code_in(text: &str) -> String {
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).find(|digits| digits.len() == 6);
    digits.unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

/// A connection of a tenant whose phone has scanned its QR.
pub async fn linked(server: &Server, double: &Double, key: &str) -> String {
    linked_to(server, double, key, TENANT).await
}

/// A connection of a tenant whose phone, of this number, has scanned its QR.
pub async fn linked_to(server: &Server, double: &Double, key: &str, number: &str) -> String {
    let (id, qr) = block_in_place(|| server.shows_qr(key, "Support"));
    within("the pairing", double.scan(number, &qr)).await.unwrap();
    let connected = block_in_place(|| server.stands(&id, key, "connected"));
    assert_eq!(connected["session"]["number"], json!(format!("+{number}")));
    assert_eq!(connected["problem"], json!(null));
    id
}

/// Sends Anna a code, has her read it, and checks it. The code.
pub async fn verifies(server: &Server, double: &Double, key: &str, seen: &mut BTreeSet<String>) -> String {
    verifies_from(TENANT, server, double, key, seen).await
}

/// As [`verifies`], where the tenant's number is this one.
pub async fn verifies_from(
    number: &str,
    server: &Server,
    double: &Double,
    key: &str,
    seen: &mut BTreeSet<String>,
) -> String {
    let started = block_in_place(|| server.post("/v1/verifications", key, &json!({ "to": ANNA }), 201));
    let id = started["id"].as_str().unwrap().to_owned();
    let message = next(double, seen).await;
    assert_eq!((message.from.as_str(), message.to.as_str()), (number, &ANNA[1..]));
    let code = code_in(message.text.as_deref().unwrap());
    let read = block_in_place(|| server.delivered(&id, key, "read"));
    assert_eq!(read["deliveries"][0]["channel"], "whatsapp");
    let path = format!("/v1/verifications/{id}/check");
    let checked = block_in_place(|| server.post(&path, key, &json!({ "code": code }), 200));
    assert_eq!(checked["valid"], true);
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_goes_out_through_a_linked_phone_and_verifies_also_after_the_server_was_killed() {
    let double = Double::start().await.unwrap();
    double.set_receipts(ANNA, Receipts::Read).await.unwrap();
    let place = Place::new(double.url());
    let key = place.tenant("Acme");
    let server = block_in_place(|| Server::start(&place));
    let connection = linked(&server, &double, &key).await;

    let mut seen = BTreeSet::new();
    let mut codes = vec![verifies(&server, &double, &key, &mut seen).await];

    // Nothing is given back. The next one needs no phone.
    server.kill();
    let server = block_in_place(|| Server::start(&place));
    block_in_place(|| server.stands(&connection, &key, "connected"));
    codes.push(verifies(&server, &double, &key, &mut seen).await);
    assert_eq!(double.devices().await.len(), 1);

    // Disconnected it sends nothing, and nobody else's account is taken for it.
    let path = format!("/v1/connections/{connection}");
    block_in_place(|| server.post(&format!("{path}/disconnect"), &key, &json!({}), 202));
    block_in_place(|| server.stands(&connection, &key, "disconnected"));
    let refused = block_in_place(|| server.post("/v1/verifications", &key, &json!({ "to": ANNA }), 422));
    assert_eq!(refused["code"], "not_connected", "{refused}");
    block_in_place(|| server.post(&format!("{path}/connect"), &key, &json!({}), 202));
    block_in_place(|| server.stands(&connection, &key, "connected"));

    // Deleted it is taken off the phone.
    block_in_place(|| server.call("DELETE", &path, &key, None, 204));
    within("it is off the phone", double.wait_for(|devices| devices.is_empty().then_some(()))).await;
    drop(server);
    let traces = place.traces();
    for secret in codes.iter().map(String::as_str).chain([&ANNA[1..], TENANT]) {
        let found = traces.windows(secret.len()).position(|window| window == secret.as_bytes());
        let around = found.map(|at| String::from_utf8_lossy(&traces[at.saturating_sub(200)..at + 40]).into_owned());
        assert_eq!(around, None, "{secret} stands in a log or in the store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_that_the_stream_shows_links_the_phone_that_it_was_asked_for() {
    let double = Double::start().await.unwrap();
    let place = Place::new(double.url());
    let key = place.tenant("Acme");
    let server = block_in_place(|| Server::start(&place));
    let made = json!({ "channel": "whatsapp", "name": "Support" });
    let made = block_in_place(|| server.post("/v1/connections", &key, &made, 201));
    let id = made["id"].as_str().unwrap();
    let asked = json!({ "accept_risk": true, "code_for": format!("+{TENANT}") });
    block_in_place(|| server.post(&format!("/v1/connections/{id}/connect"), &key, &asked, 202));
    let shown = |seen: &serde_json::Value| seen["session"]["code"]["text"].as_str().map(str::to_owned);
    let code = block_in_place(|| server.follow(id, &key, "a code", shown));
    within("the pairing", double.enter_code(TENANT, &code)).await.unwrap();
    let connected = block_in_place(|| server.stands(id, &key, "connected"));
    assert_eq!(connected["session"]["number"], json!(format!("+{TENANT}")));
    assert_eq!(connected["session"]["code"], json!(null));
    drop(server);
    assert!(!String::from_utf8_lossy(&place.traces()).contains(&code));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_the_number_from_theirs_is_verified_and_answered_and_then_no_stranger() {
    let double = Double::start().await.unwrap();
    let place = Place::new(double.url());
    let key = place.tenant("Acme");
    let server = block_in_place(|| Server::start(&place));
    let asked = json!({ "to": ANNA, "method": "inbound" });
    let refused = block_in_place(|| server.post("/v1/verifications", &key, &asked, 422));
    assert_eq!(refused["code"], "no_number", "{refused}");
    let connection = linked(&server, &double, &key).await;

    let started = block_in_place(|| server.post("/v1/verifications", &key, &asked, 201));
    let id = started["id"].as_str().unwrap().to_owned();
    assert_eq!(started["inbound"]["number"], json!(format!("+{TENANT}")));
    let text = started["inbound"]["message"]["text"].as_str().unwrap();
    let token = started["inbound"]["message"]["token"].as_str().unwrap();
    let link = started["inbound"]["message"]["link"].as_str().unwrap();
    assert!(link.starts_with(&format!("https://wa.me/{TENANT}?text=")), "{link}");

    // Somebody else, who was shown the same.
    let mut seen = BTreeSet::new();
    double.say("+447700900456", TENANT, text).await.unwrap();
    let answer = next(&double, &mut seen).await;
    assert_eq!(answer.to, "447700900456");
    double.say(ANNA, TENANT, &format!("Hi there! {token}.")).await.unwrap();
    let answer = next(&double, &mut seen).await;
    assert_eq!((answer.from.as_str(), answer.to.as_str()), (TENANT, &ANNA[1..]));
    let path = format!("/v1/verifications/{id}");
    let found = block_in_place(|| server.get(&path, &key));
    assert_eq!((&found["status"], &found["inbound"]["other_numbers"]), (&json!("approved"), &json!(1)));

    // Neither was a stranger.
    let left = |seen: &serde_json::Value| seen["session"]["health"]["strangers_left_today"].as_u64();
    let shown = block_in_place(|| server.get(&format!("/v1/connections/{connection}"), &key));
    let before = left(&shown).unwrap();
    double.set_receipts(ANNA, Receipts::Read).await.unwrap();
    verifies(&server, &double, &key, &mut seen).await;
    let counted =
        |seen: &serde_json::Value| (seen["session"]["health"]["sent_today"] == 3).then(|| left(seen).unwrap());
    assert_eq!(block_in_place(|| server.follow(&connection, &key, "it is counted", counted)), before);
    drop(server);
    let traces = String::from_utf8_lossy(&place.traces()).into_owned();
    assert!(!traces.contains(token) && !traces.contains(&ANNA[1..]));
}
