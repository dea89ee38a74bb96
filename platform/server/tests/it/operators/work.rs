//! What is under way on the nodes, and what is stuck.

use serde_json::{Value, json};
use wotp_core::domain::event::Event;
use wotp_core::ports::{Change, Entity as _, EntityList, EntityRow, Owner};

use super::{audited, of, told};
use crate::app::{NUMBER, TestApp, days, id, number, seconds};
use crate::people::{PASSWORD, TestPerson};
use crate::webhooks::stage;

#[tokio::test]
async fn a_verification_that_is_stuck_is_seen_tried_again_and_given_up() {
    stuck_work("/v1/verifications", &json!({}), "pending", "canceled").await;
}

#[tokio::test]
async fn a_message_that_is_stuck_is_seen_tried_again_and_given_up() {
    stuck_work("/v1/messages", &json!({ "content": "Hello" }), "queued", "failed").await;
}

/// Two are made at this path that get stuck: one is tried again, and one is given up, which changes how it stands.
async fn stuck_work(made_at: &str, new: &Value, before: &str, given_up: &str) {
    let (app, acme) = TestApp::start_with_tenant().await;
    let operator = app.operator().await;
    let make = async |n: usize| {
        let mut body = new.clone();
        body["to"] = json!(number(n));
        app.post(made_at).key(&acme.live).json(body).await.expect(201)
    };
    let stuck = async |operator: &TestPerson| {
        app.get("/operator/v1/work").by(operator).await.expect(200)["stuck"].as_array().unwrap().clone()
    };
    let (first, second) = (make(1).await, make(2).await);
    app.lose_jobs().await;
    assert_eq!(stuck(&operator).await, [Value::Null; 0]);
    app.clock.advance(seconds(75));
    let operator = &app.logged_in("operator@example.com").await;
    let seen = stuck(operator).await;
    assert_eq!(seen.iter().map(id).collect::<Vec<_>>(), [id(&first), id(&second)]);
    assert!(seen.iter().all(|one| one["tenant"] == acme.id.to_string()), "{seen:?}");
    let work = |of_it: &Value, what: &str| app.post(format!("{}/work/{}/{what}", of(&acme), id(of_it))).by(operator);
    let logged = async |action: &str| {
        let log = audited(&app, &acme).await;
        log.into_iter().filter(|entry| entry["action"] == action).collect::<Vec<_>>()
    };
    work(&first, "retry").await.expect(204);
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, number(1));
    work(&second, "discard").await.expect(204);
    work(&second, "retry").await.problem(409, "work_ended");
    assert_eq!(logged("work.retry").await.len(), 1, "and nothing is written of what was not done");
    work(&second, "discard").await.expect(204);
    let discarded = logged("work.discard").await;
    assert_eq!(discarded.len(), 1, "the second time nothing was given up");
    assert_eq!((&discarded[0]["target"], &discarded[0]["before"]), (&second["id"], &json!({ "status": before })));
    assert_eq!(stuck(operator).await, [Value::Null; 0]);
    let read = app.get(format!("{made_at}/{}", id(&second))).key(&acme.live).await.expect(200);
    assert_eq!(read["status"], given_up, "{read}");
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, number(1), "it does not go out any more");
    // Another tenant's is not found.
    let globex = app.tenant("Globex").await;
    for what in ["retry", "discard"] {
        let path = format!("{}/work/{}/{what}", of(&globex), id(&first));
        app.post(path).by(operator).await.problem(404, "not_found");
    }
}

/// What `GET /operator/v1/work` counts besides jobs: webhooks and news that wait, and rows set aside.
async fn waits(app: &TestApp, operator: &TestPerson) -> [u64; 3] {
    let work = app.get("/operator/v1/work").by(operator).await.expect(200);
    ["webhooks_waiting", "news_waiting", "set_aside"].map(|name| work[name].as_u64().unwrap())
}

#[tokio::test]
async fn webhooks_and_news_that_wait_are_counted_until_they_are_done() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let operator = app.operator().await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 0]);
    app.started(&acme.live, NUMBER).await;
    let [webhooks, news, _] = waits(&app, &operator).await;
    assert!(webhooks == 0 && news > 0, "{webhooks} {news}");
    let events = u64::try_from(app.app.fold(100).await.unwrap().events).unwrap();
    assert_eq!(waits(&app, &operator).await, [events, 0, 0], "they have no deliveries yet");
    // Whoever held the deliveries is gone, and they are due again when its holds end.
    drop(app.take_webhooks().await);
    assert_eq!(waits(&app, &operator).await, [0, 0, 0], "they are taken");
    app.clock.advance(seconds(21));
    assert_eq!(waits(&app, &operator).await, [events, 0, 0]);
    app.run_webhooks().await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 0]);
    assert_eq!(u64::try_from(receiver.received().len()).unwrap(), events);
    // What is due to be deleted waits for nobody.
    app.clock.advance(days(31));
    let operator = app.logged_in(&operator.email).await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 0]);
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_counted_by_every_node_until_they_are_mended() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (fellow, operator) = (app.fellow(), app.operator().await);
    let (store, owner) = (&app.app.ports().store, Owner::Tenant(acme.id));
    // As a newer program would write them.
    for id in [[1; 16], [2; 16]] {
        let doc = json!({ "what": "nobody knew" }).as_object().unwrap().clone();
        let (unique, listed, wake_at) = (Vec::new(), Vec::new(), Some(app.app.ports().clock.now()));
        let row = EntityRow { kind: Event::KIND, owner, id, version: 0, unique, listed, wake_at, doc };
        store.commit(vec![Change::Put(row)]).await.unwrap();
    }
    assert_eq!(waits(&app, &operator).await, [0, 0, 0], "nobody has looked");
    app.run_webhooks().await;
    for node in [&app, &fellow] {
        assert_eq!(waits(node, &operator).await, [0, 0, 2]);
    }
    let mended = store.find_entity(Event::KIND, owner, [1; 16]).await.unwrap().unwrap();
    store.commit(vec![Change::Delete(mended)]).await.unwrap();
    app.clock.advance(seconds(300));
    app.run_webhooks().await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 2], "it was set aside until a moment ago");
    app.clock.advance(seconds(60));
    assert_eq!(waits(&app, &operator).await, [0, 0, 1]);
    app.sweep().await;
    let kept = store.list_entities("set_aside", &EntityList::of(Owner::Platform)).await.unwrap();
    assert_eq!(kept.len(), 1, "what is not set aside any more leaves nothing behind");
}

#[tokio::test]
async fn the_nodes_are_listed() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let node = wotp_core::testing::builders::a_node(app.app.ports().clock.now());
    app.app.ports().store.note_node(&node).await.expect("noted");
    let nodes = app.get("/operator/v1/nodes").by(&operator).await.expect(200);
    assert_eq!((id(&nodes["data"][0]), &nodes["data"][0]["status"]), (node.id.to_string().as_str(), &json!("serving")));
    app.clock.advance(days(1));
    let operator = app.logged_in("operator@example.com").await;
    let nodes = app.get("/operator/v1/nodes").by(&operator).await.expect(200);
    assert_eq!(nodes["data"][0]["status"], "gone");
}

#[tokio::test]
async fn work_of_the_platforms_own_tenant_is_in_the_log_that_operators_read() {
    let app = TestApp::start().await;
    app.operator().await;
    let sign_up = json!({ "email": "new@example.com", "password": PASSWORD, "tenant": "New" });
    app.post("/v1/auth/sign-up").json(sign_up).await.expect(202);
    app.lose_jobs().await;
    app.clock.advance(seconds(75));
    let operator = app.logged_in("operator@example.com").await;
    let stuck = app.get("/operator/v1/work").by(&operator).await.expect(200)["stuck"][0].clone();
    let house = stuck["tenant"].as_str().unwrap();
    let path = format!("/operator/v1/tenants/{house}/work/{}", id(&stuck));
    for what in ["retry", "discard"] {
        app.post(format!("{path}/{what}")).by(&operator).await.expect(204);
        let told = told(&app, &operator, &format!("work.{what}")).await;
        assert_eq!((&told[0]["target"], &told[0]["after"]["tenant"]), (&stuck["id"], &stuck["tenant"]));
    }
    app.lose_jobs().await;
}
