//! Test keys: nobody writes, and whoever integrates pretends that somebody did.

use serde_json::{Value, json};

use super::{DONE, ELSEWHERE, PERSON, Scene};
use crate::app::{NUMBER, path};
use crate::client::Request;

fn simulate(scene: &Scene, key: &str, verification: &Value, body: Value) -> Request {
    scene.app.post(format!("{}/simulate-message", path(verification))).key(key).json(body)
}

#[tokio::test]
async fn a_test_key_needs_no_number_is_told_the_token_and_pretends_that_somebody_wrote() {
    let scene = Scene::set().await;
    let mut globex = scene.app.tenant("Globex").await;
    globex.live = scene.app.key(&globex, |_| {}).await;
    let started = scene.app.starting(&globex.test, json!({ "to": NUMBER, "method": "inbound" })).await.expect(201);
    assert_eq!((&started["test_mode"], &started["inbound"]["number"]), (&json!(true), &json!("+447700900000")));
    let token = started["test_token"].as_str().unwrap();
    assert_eq!(started["inbound"]["message"]["token"], token);
    assert_eq!(scene.app.read(&globex.test, &started).await["test_token"], token);

    let said = |body: Value| simulate(&scene, &globex.test, &started, body);
    let nothing = said(json!({ "from": NUMBER, "text": "hello" })).await.expect(200);
    assert_eq!((&nothing["approved"], &nothing["reply"]), (&json!(false), &Value::Null));
    let reply = ELSEWHERE.replace("Acme", "Globex");
    let other = said(json!({ "from": "+447700900123", "text": format!("Hi, {token}!") })).await.expect(200);
    assert_eq!((&other["approved"], &other["reply"]), (&json!(false), &json!(reply)));
    assert_eq!(other["verification"]["inbound"]["other_numbers"], 1);
    assert_eq!(said(json!({ "from": "12" })).await.wrong_fields(), ["from"]);
    // What they were asked to write.
    let approved = said(json!({ "from": NUMBER })).await.expect(200);
    assert_eq!((&approved["approved"], &approved["reply"]), (&json!(true), &json!(DONE.replace("Acme", "Globex"))));
    assert_eq!(approved["verification"]["status"], "approved");
    assert!(approved["verification"].get("test_token").is_none(), "{approved}");
    let again = said(json!({ "from": NUMBER, "text": token })).await.expect(200);
    assert_eq!(again["approved"], false);
}

#[tokio::test]
async fn what_a_phone_writes_approves_nothing_of_a_test_key_and_nobody_pretends_with_others() {
    let scene = Scene::set().await;
    let body = json!({ "to": NUMBER, "method": "inbound" });
    let test = scene.app.starting(&scene.acme.test, body).await.expect(201);
    assert_eq!(scene.writes(PERSON, test["test_token"].as_str().unwrap()).await, None);
    assert_eq!(scene.app.read(&scene.acme.test, &test).await["status"], "pending");

    let (live, token) = scene.started(NUMBER).await;
    let pretended = json!({ "from": NUMBER, "text": token });
    let refused = simulate(&scene, &scene.acme.live, &live, pretended.clone()).await;
    assert_eq!(refused.wrong_fields(), ["id"]);
    simulate(&scene, &scene.acme.test, &live, pretended.clone()).await.problem(404, "not_found");
    // Nor within another.
    let refused = simulate(&scene, &scene.acme.test, &test, pretended).await.expect(200);
    assert_eq!(refused["approved"], false);
    assert_eq!(scene.status(&live).await, "pending");
    let with_code = scene.app.starting(&scene.acme.test, json!({ "to": NUMBER })).await.expect(201);
    let refused = simulate(&scene, &scene.acme.test, &with_code, json!({ "from": NUMBER })).await;
    assert_eq!(refused.wrong_fields(), ["id"]);
    scene.app.run_jobs().await;
}
