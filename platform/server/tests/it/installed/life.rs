//! From a file to a code that gets out, and what comes after.

use axum::http::Method;
use serde_json::{Value, json};

use super::{ADA, Gateway, Stage, TOKEN, altered, component, manifest, released};
use crate::app::TestTenant;
use crate::audit;

impl Stage {
    /// A verification through the channel `sms`, once its jobs are done.
    async fn verified_by_sms(&self, tenant: &TestTenant) -> Value {
        let body = json!({ "to": ADA, "channels": ["sms"] });
        let verification = self.app.starting(&tenant.live, body).await.expect(201);
        self.app.run_jobs().await;
        self.app.read(&tenant.live, &verification).await
    }
}

#[tokio::test]
async fn a_file_becomes_a_channel_step_by_step_and_a_code_gets_out_through_it() {
    let stage = Stage::set().await;
    let acme = stage.app.tenant("Acme").await;
    let gateway = Gateway::start().await;
    let plugin = stage.install().await;
    let [installed] = &stage.plugins().await[..] else { panic!("there is one") };
    assert_eq!(installed["channel"], "sms");
    assert_eq!((&installed["active"], &installed["enabled"]), (&Value::Null, &json!(false)));
    assert_eq!(installed["releases"][0]["hosts"], json!(["*"]));

    // Nothing is done before what it rests on.
    let enable = || stage.post(&format!("{plugin}/enable"), json!({}));
    let problem = enable().await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("approve"), "{problem}");
    let approve = |hosts: Value| stage.post(&format!("{plugin}/approve"), json!({ "hosts": hosts }));
    let problem = approve(json!([])).await.expect(422);
    assert_eq!(problem["errors"][0]["field"], "hosts", "{problem}");
    let problem = approve(json!(["https://a.example/b"])).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("is no host"), "{problem}");
    let approved = approve(json!([gateway.host()])).await.expect(200);
    assert_eq!(approved["active"], approved["releases"][0]["sha256"]);
    let problem = enable().await.expect(422);
    assert_eq!(problem["errors"][0]["field"], "config", "{problem}");

    let configured = stage.call(Method::PATCH, &plugin, gateway.settings()).await.expect(200);
    let token = configured["releases"][0]["secrets"].as_array().unwrap().iter().find(|one| one["name"] == "token");
    assert_eq!(token.unwrap()["given"], true);
    assert!(!configured.to_string().contains(TOKEN), "{configured}");
    stage.app.starting(&acme.live, json!({ "to": ADA, "channels": ["sms"] })).await.expect(422);
    enable().await.expect(200);

    let read = stage.verified_by_sms(&acme).await;
    assert_eq!((&read["deliveries"][0]["channel"], &read["deliveries"][0]["status"]), (&json!("sms"), &json!("sent")));
    let [came] = &gateway.came()[..] else { panic!("one message came") };
    assert_eq!(
        (&came.headers["authorization"], &came.body["to"]),
        (&format!("Bearer {TOKEN}").parse().unwrap(), &json!(ADA))
    );
    let code = came.body["code"].as_str().unwrap();
    let checked = stage.app.checking(&acme.live, &read, code).await.expect(200);
    assert_eq!(checked["status"], "approved");
    // Nothing but the gateway ever sees the secret.
    let log = stage.app.get("/operator/v1/audit").by(&stage.operator).await.expect(200);
    assert!(log.to_string().contains("plugin.configure") && !log.to_string().contains(TOKEN), "{log}");
    for (name, row) in stage.app.stolen() {
        assert!(!String::from_utf8_lossy(&row).contains(TOKEN), "{name} holds the secret as it is");
    }
}

#[tokio::test]
async fn what_the_plugin_does_not_take_is_not_kept() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    let plugin = stage.install().await;
    stage.post(&format!("{plugin}/approve"), json!({ "hosts": [gateway.host()] })).await.expect(200);
    let configure = |body: Value| stage.call(Method::PATCH, &plugin, body);
    for (body, field) in [
        (json!({ "config": { "url": "http://x.example/", "no-such": 1 } }), "config"),
        (json!({ "config": {} }), "config"),
        (json!({ "secrets": { "pin": "1" } }), "secrets.pin"),
        (json!({ "secrets": { "token": "" } }), "secrets.token"),
        (json!({ "concurrency": 0 }), "concurrency"),
        (json!({ "timeout_seconds": 61 }), "timeout_seconds"),
    ] {
        let problem = configure(body.clone()).await.expect(422);
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    let schema = stage.call(Method::GET, &format!("{plugin}/config-schema"), Value::Null).await.expect(200);
    assert_eq!(schema["type"], "object");
    configure(gateway.settings()).await.expect(200);
    // What is not named stays; null takes away.
    configure(json!({ "concurrency": 3 })).await.expect(200);
    let read = stage.call(Method::GET, &plugin, Value::Null).await.expect(200);
    let given = |read: &Value| {
        let secrets = read["releases"][0]["secrets"].as_array().unwrap().clone();
        secrets.iter().find(|one| one["name"] == "token").unwrap()["given"].clone()
    };
    assert_eq!((given(&read), &read["concurrency"]), (json!(true), &json!(3)));
    assert_eq!(read["config"], gateway.settings()["config"]);
    let bare = configure(json!({ "secrets": { "token": null } })).await.expect(200);
    assert_eq!(given(&bare), json!(false));
}

#[tokio::test]
async fn a_release_that_calls_more_asks_again_and_one_goes_back() {
    let stage = Stage::set().await;
    let (first_host, other) = ("allowed.example", "another.example");
    let first = component("undeclared_host");
    let installed = stage.installing(&first, json!({})).await.expect(201);
    assert_eq!(installed["channel"], "undeclared_host");
    let plugin = format!("/{}", installed["id"].as_str().unwrap());
    let approve = |body: Value| stage.post(&format!("{plugin}/approve"), body);
    let problem = approve(json!({})).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains(first_host), "{problem}");
    let problem = approve(json!({ "hosts": [first_host, other] })).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("does not call"), "{problem}");
    let approved = approve(json!({ "hosts": ["Allowed.Example:443"] })).await.expect(200);
    assert_eq!(approved["hosts"], json!([first_host]));
    stage.post(&format!("{plugin}/enable"), json!({})).await.expect(200);

    let second = altered("undeclared_host", first_host, other);
    let upgraded = stage.installing(&second, json!({})).await.expect(201);
    assert_eq!((&upgraded["id"], &upgraded["active"]), (&installed["id"], &approved["active"]), "the old one delivers");
    assert_eq!(upgraded["releases"][1]["unapproved_hosts"], json!([other]));
    let problem = approve(json!({})).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains(other), "{problem}");
    let swapped = approve(json!({ "hosts": [other] })).await.expect(200);
    assert_eq!((&swapped["active"], &swapped["previous"]), (&upgraded["releases"][1]["sha256"], &approved["active"]));

    // The release before comes back with what it had then, and so does the one after.
    let back = stage.post(&format!("{plugin}/roll-back"), Value::Null).await.expect(200);
    assert_eq!((&back["active"], &back["hosts"]), (&approved["active"], &json!([first_host])));
    let again = stage.post(&format!("{plugin}/roll-back"), Value::Null).await.expect(200);
    assert_eq!((&again["active"], &again["hosts"]), (&swapped["active"], &json!([other])));
    let named = json!({ "release": &approved["active"].as_str().unwrap()[..8], "hosts": [first_host] });
    let again = approve(named).await.expect(200);
    assert_eq!((&again["active"], &again["previous"]), (&approved["active"], &swapped["active"]));
    // What two call themselves names neither.
    let problem = approve(json!({ "release": "0.1.0", "hosts": [first_host] })).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("SHA-256"), "{problem}");
    // The same component again is nothing new.
    let same = stage.installing(&second, json!({})).await.expect(201);
    assert_eq!(same["releases"], again["releases"]);
}

#[tokio::test]
async fn a_call_that_is_under_way_ends_with_the_release_that_it_began_with() {
    let stage = Stage::set().await;
    let acme = stage.app.tenant("Acme").await;
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    gateway.close();
    let body = json!({ "to": ADA, "channels": ["sms"] });
    let verification = stage.app.starting(&acme.live, body).await.expect(201);
    let swap = async {
        gateway.had(1).await;
        stage.installing(&released("generic_http", 2), json!({})).await.expect(201);
        let swapped = stage.post(&format!("{plugin}/approve"), json!({})).await.expect(200);
        assert_eq!(swapped["active"], swapped["releases"][1]["sha256"]);
        gateway.open();
    };
    tokio::join!(stage.app.run_jobs(), swap);
    let read = stage.app.read(&acme.live, &verification).await;
    assert_eq!(read["deliveries"][0]["status"], "sent", "{read}");
    assert_eq!(gateway.came().len(), 1);
    let before = stage.post(&format!("{plugin}/roll-back"), Value::Null).await.expect(200);
    assert_eq!(before["active"], before["releases"][0]["sha256"]);
    stage.app.clock.advance(crate::app::seconds(60));
    assert_eq!(stage.verified_by_sms(&acme).await["deliveries"][0]["status"], "sent");
}

#[tokio::test]
async fn it_is_on_for_those_that_are_named_and_off_for_all() {
    let stage = Stage::set().await;
    let (acme, globex) = (stage.app.tenant("Acme").await, stage.app.tenant("Globex").await);
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    let enable = |tenants: Value| stage.post(&format!("{plugin}/enable"), json!({ "tenants": tenants }));
    let nobody = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M";
    for wrong in [json!([]), json!([nobody])] {
        enable(wrong).await.expect(422);
    }
    enable(json!([acme.id])).await.expect(200);
    // Switched off and on it is on for the same, and for all only if that is said.
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    let on = stage.post(&format!("{plugin}/enable"), Value::Null).await.expect(200);
    assert_eq!(on["tenants"], json!([acme.id]));
    stage.post(&format!("{plugin}/enable"), json!({ "all": true, "tenants": [acme.id] })).await.expect(422);
    let all = stage.post(&format!("{plugin}/enable"), json!({ "all": true })).await.expect(200);
    assert_eq!(all["tenants"], Value::Null);
    enable(json!([acme.id])).await.expect(200);
    assert_eq!(stage.verified_by_sms(&acme).await["deliveries"][0]["status"], "sent");
    let start = |tenant: &TestTenant| stage.app.starting(&tenant.live, json!({ "to": ADA, "channels": ["sms"] }));
    let problem = start(&globex).await.expect(422);
    assert!(!problem.to_string().contains("sms,"), "it is not told of: {problem}");
    // What waits for it when it goes is not sent.
    stage.app.clock.advance(crate::app::seconds(60));
    let waiting = start(&acme).await.expect(201);
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    stage.app.run_jobs().await;
    let read = stage.app.read(&acme.live, &waiting).await;
    assert_eq!(read["deliveries"][0]["status"], "failed", "{read}");
    assert_eq!(gateway.came().len(), 1);
    start(&acme).await.expect(422);
}

#[tokio::test]
async fn what_is_removed_leaves_nothing_and_its_name_is_free() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    let remove = || stage.call(Method::DELETE, &plugin, Value::Null);
    remove().await.expect(422);
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    // Components that nothing names are kept for an hour, as somebody may be installing them.
    stage.app.clock.advance(crate::app::seconds(3601));
    let operator = stage.app.logged_in("operator@example.com").await;
    let stage = Stage { operator, ..stage };
    stage.call(Method::DELETE, &plugin, Value::Null).await.expect(204);
    stage.call(Method::GET, &plugin, Value::Null).await.expect(404);
    assert_eq!(stage.plugins().await, Vec::<Value>::new());
    let store = &stage.app.app.ports().store;
    let parts = wotp_core::ports::EntityList::of(wotp_core::ports::Owner::Platform);
    assert_eq!(store.list_entities("component_part", &parts).await.unwrap(), []);
    stage.install().await;
}

#[tokio::test]
async fn only_the_publisher_of_a_plugin_follows_it_up() {
    let stage = Stage::set().await;
    let bytes = component("generic_http");
    let signed = |manifest: String| json!({ "unsigned": false, "manifest": manifest });
    let first = stage.installing(&bytes, signed(manifest(&bytes, 1).await)).await.expect(201);
    assert!(first["publisher"].as_str().unwrap().starts_with("ed25519:"), "{first}");
    let next = released("generic_http", 2);
    let other = json!({ "unsigned": false, "manifest": manifest(&next, 1).await, "publisher": "ed25519:another" });
    let from_nobody = json!({ "publisher": first["publisher"] });
    for (body, whose) in [
        (signed(manifest(&next, 2).await), "signed by"),
        (json!({}), "nobody"),
        (other, first["publisher"].as_str().unwrap()),
        (from_nobody, "nobody signed"),
    ] {
        let problem = stage.installing(&next, body).await.expect(422);
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(whose), "{problem}");
    }
    assert_eq!(stage.plugins().await[0]["releases"].as_array().unwrap().len(), 1);
    let mut body = signed(manifest(&next, 1).await);
    body["publisher"] = first["publisher"].clone();
    let second = stage.installing(&next, body).await.expect(201);
    assert_eq!(second["releases"].as_array().unwrap().len(), 2);
}

/// Whoever signs what delivers already is who follows it up from then on; whoever does not sign it takes nothing away.
#[tokio::test]
async fn what_nobody_signed_may_be_signed_afterwards() {
    let stage = Stage::set().await;
    let bytes = component("generic_http");
    let signed = |manifest: String| json!({ "unsigned": false, "manifest": manifest });
    let installed = stage.installing(&bytes, json!({})).await.expect(201);
    assert_eq!(installed["publisher"], Value::Null);
    let plugin = format!("/{}", installed["id"].as_str().unwrap());
    stage.post(&format!("{plugin}/approve"), json!({ "hosts": ["sms.example.com"] })).await.expect(200);
    let afterwards = stage.installing(&bytes, signed(manifest(&bytes, 1).await)).await.expect(201);
    let publisher = &afterwards["publisher"];
    assert!(publisher.as_str().unwrap().starts_with("ed25519:"), "{afterwards}");
    assert_eq!(
        (&afterwards["releases"][0]["publisher"], &afterwards["active"]),
        (publisher, &installed["releases"][0]["sha256"])
    );
    assert_eq!(afterwards["releases"].as_array().unwrap().len(), 1);
    let next = released("generic_http", 2);
    for (component, body) in [(&bytes, json!({})), (&next, json!({})), (&next, signed(manifest(&next, 2).await))] {
        stage.installing(component, body).await.expect(422);
    }
    stage.installing(&next, signed(manifest(&next, 1).await)).await.expect(201);
}

#[tokio::test]
async fn the_log_tells_what_was_done_to_plugins() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    stage.installing(&released("generic_http", 2), json!({})).await.expect(201);
    for path in ["approve", "roll-back", "disable"] {
        stage.post(&format!("{plugin}/{path}"), json!({})).await.expect(200);
    }
    stage.call(Method::DELETE, &plugin, Value::Null).await.expect(204);
    audit::tell(&stage.app, None, audit::PLUGINS).await;
}
