//! The program that is shipped takes nobody but WhatsApp for WhatsApp.

use serde_json::json;
use tokio::task::block_in_place;
use wotp_whatsapp_double::Double;

use crate::process::{Place, Server};

/// Of a client that was refused once and comes back: what it says the second time it would have said the first.
const REFUSALS: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_certificate_is_refused_and_shows_nobody_a_qr() {
    let double = Double::start().await.unwrap();
    let (place, url) = (Place::new(), double.url());
    let tenant = place.tenant("Acme");
    let tenant = tenant["tenant"].as_str().unwrap();
    let scopes = ["--scope", "connections:read", "--scope", "connections:write"];
    let arguments = [&["key", "create", tenant, "--name", "linking", "--json"][..], &scopes].concat();
    let key = block_in_place(|| place.run(&arguments).json())["secret"].as_str().unwrap().to_owned();
    let variables =
        [("WOTP_CHANNELS__WHATSAPP__URL", url.as_str()), ("WOTP_CHANNELS__WHATSAPP__VERSION", "2.3000.1026131876")];
    let server = block_in_place(|| Server::start_with(&place, &variables));
    let call = |method: &str, path: &str, body| block_in_place(|| server.request(method, path, &key, body));
    let (status, made) = call("POST", "/v1/connections", json!({ "channel": "whatsapp" }));
    assert_eq!(status, 201, "{made}");
    let path = format!("/v1/connections/{}", made["id"].as_str().unwrap());
    let (status, _) = call("POST", &format!("{path}/connect"), json!({ "accept_risk": true }));
    assert_eq!(status, 202);
    double.wait_for_refusals(REFUSALS).await;
    let (_, seen) = call("GET", &path, json!(null));
    assert_eq!((&seen["session"]["status"], &seen["session"]["qr"]), (&json!("pairing"), &json!(null)));
    assert!(double.devices().await.is_empty());
}
