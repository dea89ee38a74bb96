//! Several nodes, and several tenants, and what becomes of one leaves the others alone.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::block_in_place;
use tokio::time::Instant;
use wotp_test_servers::{MongoDatabase, Redis};
use wotp_whatsapp_double::{DeviceStatus, Double, Receipts, Strike};

use crate::linked::{ANNA, TENANT, linked, linked_to, verifies, verifies_from, within};
use crate::process::{Place, Server};

/// The other tenant's number.
const OTHER: &str = "12025550101";

/// Three nodes over MongoDB and Redis, of which the first keeps the session of a linked phone.
struct Nodes {
    double: Double,
    place: Place,
    key: String,
    connection: String,
    servers: [Server; 3],
    others: [Place; 2],
    shared: (MongoDatabase, Redis),
}

impl Nodes {
    async fn start() -> Self {
        let (mongo, redis) = block_in_place(|| (MongoDatabase::fresh(), Redis::start()));
        let double = Double::start().await.unwrap();
        double.set_receipts(ANNA, Receipts::Read).await.unwrap();
        let place = Place::shared(double.url(), mongo.url(), &format!("redis://127.0.0.1:{}", redis.port()));
        let key = block_in_place(|| place.tenant("Acme"));
        let first = block_in_place(|| Server::start(&place));
        let connection = linked(&first, &double, &key).await;
        let others = [place.another(), place.another()];
        let [second, third] = others.each_ref().map(|other| block_in_place(|| Server::start(other)));
        Self { double, place, key, connection, servers: [first, second, third], others, shared: (mongo, redis) }
    }
}

/// The second node serves the calls, and two can take the session over.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_node_is_called_and_what_a_killed_one_kept_another_keeps_within_fifteen_seconds() {
    let Nodes { double, place, key, connection, servers, others: _others, shared: _shared } = Nodes::start().await;
    let [first, second, third] = servers;
    let seen_there = block_in_place(|| second.stands(&connection, &key, "connected"));
    assert_eq!(seen_there["session"]["number"], json!(format!("+{TENANT}")));
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        verifies(&second, &double, &key, &mut seen).await;
    }

    let killed = Instant::now();
    first.kill();
    let logins =
        |count| move |devices: &[DeviceStatus]| (devices[0].connected && devices[0].logins == count).then_some(());
    within("another keeps it", double.wait_for(logins(2))).await;
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    for survivor in [&second, &third] {
        verifies(survivor, &double, &key, &mut seen).await;
    }
    let device = &double.devices().await[0];
    assert_eq!((device.logins, device.displaced), (2, 0), "nobody logged in beside another");
    // It is asked of one node, and done by whoever has it.
    let fourth = block_in_place(|| Server::start(&place));
    block_in_place(|| fourth.call("DELETE", &format!("/v1/connections/{connection}"), &key, None, 204));
    within("it is off the phone", double.wait_for(|devices| devices.is_empty().then_some(()))).await;
    assert!(!String::from_utf8_lossy(&place.traces()).contains("replaced"), "nobody logged in beside another");
}

/// Nobody waits for a lease to end that was given back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_that_is_stopped_kept_another_keeps_before_its_lease_would_have_ended() {
    let Nodes { double, place: _place, key, connection, servers, others: _others, shared: _shared } =
        Nodes::start().await;
    let [first, second, third] = servers;
    let mut seen = BTreeSet::new();
    verifies(&second, &double, &key, &mut seen).await;

    let stopped = Instant::now();
    block_in_place(|| first.stop());
    let gone = stopped.elapsed();
    let again = |devices: &[DeviceStatus]| (devices[0].connected && devices[0].logins == 2).then(|| devices[0].clone());
    let device = within("another keeps it", double.wait_for(again)).await;
    // A lease that was prolonged just before ends nine seconds later, and is asked for every two.
    assert!(stopped.elapsed() - gone < Duration::from_secs(6), "{:?} after {gone:?}", stopped.elapsed());
    assert_eq!(device.displaced, 0, "the first had left");
    for survivor in [&second, &third] {
        block_in_place(|| survivor.stands(&connection, &key, "connected"));
        verifies(survivor, &double, &key, &mut seen).await;
    }
}

/// A node that stands still keeps its line to WhatsApp, unlike one that was killed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_that_stands_still_kept_another_keeps_and_once_it_goes_on_it_neither_logs_in_nor_sends() {
    let Nodes { double, place: _place, key, connection, servers, others: _others, shared: _shared } =
        Nodes::start().await;
    let [first, second, third] = servers;
    let mut seen = BTreeSet::new();
    verifies(&second, &double, &key, &mut seen).await;
    assert_eq!(double.devices().await[0].logins, 1);

    let still = Instant::now();
    first.hang();
    let again = within(
        "another keeps it",
        double.wait_for(|devices| (devices[0].connected && devices[0].logins == 2).then(|| devices[0].clone())),
    );
    assert_eq!(again.await.displaced, 1, "the first still has its line");
    assert!(still.elapsed() < Duration::from_secs(15), "{:?}", still.elapsed());
    verifies(&second, &double, &key, &mut seen).await;

    first.go_on();
    block_in_place(|| first.stands(&connection, &key, "connected"));
    for node in [&first, &second, &third] {
        verifies(node, &double, &key, &mut seen).await;
    }
    let device = &double.devices().await[0];
    assert_eq!((device.connected, device.logins), (true, 2));
    let sent = double.inbox().all();
    assert_eq!((sent.len(), seen.len()), (5, 5));
    assert!(sent.iter().all(|message| message.times_sent == 1), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_tenant_deletes_its_connection_the_others_stays_connected_and_sends() {
    let double = Double::start().await.unwrap();
    double.set_receipts(ANNA, Receipts::Read).await.unwrap();
    let place = Place::new(double.url());
    let [one, other] = ["Acme", "Globex"].map(|name| place.tenant(name));
    let server = block_in_place(|| Server::start(&place));
    let deleted = linked_to(&server, &double, &one, TENANT).await;
    let stays = linked_to(&server, &double, &other, OTHER).await;
    let mut seen = BTreeSet::new();
    verifies_from(TENANT, &server, &double, &one, &mut seen).await;

    // Nor can the other tenant do it.
    let path = format!("/v1/connections/{deleted}");
    block_in_place(|| server.call("DELETE", &path, &other, None, 404));
    block_in_place(|| server.call("DELETE", &path, &one, None, 204));
    within("it is off its phone", double.wait_for(|devices| (devices.len() == 1).then_some(()))).await;
    let refused = block_in_place(|| server.post("/v1/verifications", &one, &json!({ "to": ANNA }), 422));
    assert_eq!(refused["code"], "no_channel", "{refused}");
    verifies_from(OTHER, &server, &double, &other, &mut seen).await;
    let seen = block_in_place(|| server.get(&format!("/v1/connections/{stays}"), &other));
    assert_eq!(seen["session"]["status"], "connected", "{seen}");
    let device = &double.devices().await[0];
    assert_eq!((device.number.as_str(), device.connected, device.logins), (OTHER, true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_tenants_phone_takes_its_device_off_the_others_stays_connected_and_sends() {
    let double = Double::start().await.unwrap();
    double.set_receipts(ANNA, Receipts::Read).await.unwrap();
    let place = Place::new(double.url());
    let [one, other] = ["Acme", "Globex"].map(|name| place.tenant(name));
    let server = block_in_place(|| Server::start(&place));
    let logged_out = linked_to(&server, &double, &one, TENANT).await;
    let stays = linked_to(&server, &double, &other, OTHER).await;

    double.strike(TENANT, Strike::DeviceRemoved).await.unwrap();
    block_in_place(|| server.stands(&logged_out, &one, "logged_out"));
    let mut seen = BTreeSet::new();
    verifies_from(OTHER, &server, &double, &other, &mut seen).await;
    let seen = block_in_place(|| server.get(&format!("/v1/connections/{stays}"), &other));
    assert_eq!(seen["session"]["status"], "connected", "{seen}");
    let device = &double.devices().await[0];
    assert_eq!((device.number.as_str(), device.connected, device.logins), (OTHER, true, 1));
}
