//! The real binary, killed with calls in hand. It chooses
//! its store itself: the embedded one.

use rustix::process::Signal;

use super::*;
use crate::process::{Place, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_with_calls_in_hand_makes_them_again_after_its_start() {
    let receiver = Receiver::start().await;
    receiver.always(Say::Hang);
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let key = tenant["live_key"].as_str().unwrap().to_owned();
    let variables = [("WOTP_WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8"), ("WOTP_WEBHOOKS__HTTP_ALLOWED", "true")];
    let server = Server::start_with(&place, &variables);
    let (status, endpoint) = server.request("POST", "/v1/webhooks/endpoints", &key, json!({ "url": receiver.url() }));
    assert_eq!(status, 201, "{endpoint}");
    let test = format!("/v1/webhooks/endpoints/{}/test", id(&endpoint["endpoint"]));
    let mut events = Vec::new();
    for _ in 0..3 {
        let (status, delivery) = server.request("POST", &test, &key, Value::Null);
        assert_eq!(status, 202, "{delivery}");
        events.push(delivery["event"].as_str().unwrap().to_owned());
    }
    receiver.wait_for(3).await;
    server.signal(Signal::KILL);
    drop(server);
    receiver.always(Say::Status(200));
    let _server = Server::start_with(&place, &variables);
    let received = receiver.wait_for(6).await;
    for from in [0, 3] {
        let mut ids: Vec<&str> = received[from..from + 3].iter().map(Received::id).collect();
        ids.sort_unstable();
        events.sort();
        assert_eq!(ids, events);
    }
}
