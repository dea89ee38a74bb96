//! The guard in the real binary: what a node counted outlives it, and the watch runs by itself.

use serde_json::{Value, json};
use wotp_core::domain::Timestamp;
use wotp_core::domain::guard::{Destination, State, Watch};
use wotp_core::ports::{Change, Entities as _};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

use super::london;
use crate::fleet::until;
use crate::process::{Place, Server};

#[test]
fn what_was_counted_is_known_after_a_restart() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let (key, service) = (tenant["live_key"].as_str().unwrap(), tenant["service"].as_str().unwrap());
    let start = |server: &Server, n| {
        let (status, started) = server.request("POST", "/v1/verifications", key, json!({ "to": london(n) }));
        assert_eq!(status, 201, "{started}");
        started["verdict"]["reason"].as_str().map(str::to_owned)
    };
    let server = Server::start(&place);
    let guard = json!({ "mode": "on", "caps": { "prefix": { "per_day": 2 } } });
    assert_eq!(server.request("PUT", &format!("/v1/services/{service}/guard"), key, guard).0, 200);
    assert_eq!([start(&server, 1), start(&server, 2)], [None, None]);
    assert_eq!(start(&server, 3).as_deref(), Some("cap_prefix"));
    assert!(server.stop().success());
    let server = Server::start(&place);
    assert_eq!(start(&server, 4).as_deref(), Some("cap_prefix"), "unless midnight has just passed");
}

#[test]
fn a_destination_whose_time_is_over_is_probed_without_anybodys_doing() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let (key, service) = (tenant["live_key"].as_str().unwrap(), tenant["service"].as_str().unwrap());
    let guard = format!("/v1/services/{service}/guard");
    let server = Server::start(&place);
    assert_eq!(server.request("PUT", &guard, key, json!({ "mode": "on" })).0, 200);
    assert!(server.stop().success());
    let long_ago: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut watch = Watch::new(
        tenant["tenant"].as_str().unwrap().parse().unwrap(),
        service.parse().unwrap(),
        Destination::Country("GB".to_owned()),
        Some("GB".to_owned()),
        long_ago,
    );
    (watch.state, watch.until) = (State::Blocked, Some(long_ago));
    let store = SqliteStore::open(place.data().join("wotp.db"), OpenOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.commit(vec![Change::insert(&watch)])).unwrap();
    drop((store, runtime));
    let server = Server::start(&place);
    let states = || -> Vec<Value> {
        let (_, list) = server.request("GET", &format!("{guard}/destinations"), key, Value::Null);
        list["data"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect()
    };
    until("it is probed", || states() == [json!("probing")]);
}
