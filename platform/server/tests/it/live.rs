//! Replies that wait.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::{NUMBER, TestApp, TestTenant, number, path};
use crate::loopback::{Arriving, Loopback};

struct Scene {
    app: TestApp,
    tenant: TestTenant,
    served: Loopback,
    verification: Value,
    code: String,
}

impl Scene {
    async fn set() -> Self {
        let (app, tenant) = TestApp::start_with_tenant().await;
        let served = Loopback::serve(app.router()).await;
        let (verification, code) = app.started(&tenant.live, NUMBER).await;
        Self { app, tenant, served, verification, code }
    }

    async fn waiting(&self, seconds: u64) -> Arriving {
        let path = format!("{}?wait={seconds}", path(&self.verification));
        let reply = self.served.get(&path, &self.tenant.live, &[]).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        reply
    }
}

async fn body(reply: &mut Arriving) -> Value {
    serde_json::from_str(&reply.body().await.expect("it is whole")).expect("it is JSON")
}

#[tokio::test]
async fn a_wait_ends_with_the_change_and_says_what_it_is() {
    let scene = Scene::set().await;
    let began = Instant::now();
    let mut guessed = scene.waiting(30).await;
    let wrong = scene.app.checking(&scene.tenant.live, &scene.verification, "000000").await.expect(200);
    assert_eq!(body(&mut guessed).await["checks"], json!({ "used": 1, "allowed": 5 }));
    assert_eq!(wrong["valid"], false);

    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(scene.waiting(30).await);
    }
    let right = scene.app.checking(&scene.tenant.live, &scene.verification, &scene.code).await.expect(200);
    for reply in &mut all {
        let told = body(reply).await;
        assert_eq!(told["status"], "approved");
        assert_eq!(told, right["verification"]);
    }
    // It has ended, so nothing is waited for.
    assert_eq!(body_at_once(&scene).await["status"], "approved");
    assert!(began.elapsed().as_secs() < 20, "nobody waited for the end of the time");
}

async fn body_at_once(scene: &Scene) -> Value {
    let path = format!("{}?wait=60", path(&scene.verification));
    scene.app.get(path).key(&scene.tenant.live).await.expect(200)
}

#[tokio::test]
async fn what_another_node_did_is_seen_too() {
    let scene = Scene::set().await;
    let mut reply = scene.waiting(30).await;
    // Past the use cases of this node, which would say so.
    let store = scene.app.app.ports().store.tenant(scene.tenant.id);
    let id = crate::app::id(&scene.verification).parse().expect("an id");
    let mut verification = store.find_verification(id).await.expect("the store answers").expect("it is there");
    assert!(verification.cancel(scene.app.app.ports().clock.now()));
    store.replace(&mut verification, false).await.expect("nobody else changed it");
    assert_eq!(body(&mut reply).await["status"], "canceled");
}

#[tokio::test]
async fn deliveries_and_expiry_end_a_wait_too() {
    let (app, tenant) = TestApp::start_with_tenant().await;
    let served = Loopback::serve(app.router()).await;
    let verification = app.starting(&tenant.live, json!({ "to": NUMBER })).await.expect(201);
    let waiting = format!("{}?wait=30", path(&verification));
    let mut reply = served.get(&waiting, &tenant.live, &[]).await;
    app.run_jobs().await;
    assert_eq!(body(&mut reply).await["deliveries"][0]["status"], "sent");
    let mut reply = served.get(&waiting, &tenant.live, &[]).await;
    app.clock.advance(crate::app::seconds(301));
    app.sweep().await;
    assert_eq!(body(&mut reply).await["status"], "expired");
}

#[tokio::test]
async fn when_the_time_is_up_it_is_as_it_was_though_that_is_longer_than_a_request_may_take() {
    let (app, tenant) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&tenant.live, NUMBER).await;
    // Only the call that waits is held to it: a start may take longer on a busy machine.
    let hurried = app.router_with(|http| http.request_timeout = std::time::Duration::from_millis(200));
    let served = Loopback::serve(hurried).await;
    let began = Instant::now();
    let mut reply = served.get(&format!("{}?wait=1", path(&verification)), &tenant.live, &[]).await;
    assert_eq!(body(&mut reply).await, app.read(&tenant.live, &verification).await);
    assert!(began.elapsed().as_millis() >= 1000);
}

#[tokio::test]
async fn a_wait_has_bounds_and_sees_no_more_than_a_look() {
    let scene = Scene::set().await;
    let of = |query: &str| format!("{}?{query}", path(&scene.verification));
    for (query, field) in [("wait=61", "wait"), ("wait=soon", "wait"), ("weight=3", "weight")] {
        let reply = scene.app.get(of(query)).key(&scene.tenant.live).await;
        assert_eq!(reply.wrong_fields(), [field]);
    }
    let globex = scene.app.tenant("Globex").await;
    for key in [&globex.live, &scene.tenant.test] {
        scene.app.get(of("wait=30")).key(key).await.problem(404, "not_found");
    }
    scene.app.get(of("wait=30")).await.problem(401, "api_key_missing");
    // One tenant's waiting takes no place from another's, and those who hang up leave theirs.
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(scene.waiting(60).await);
    }
    let refused = scene.app.get(of("wait=30")).key(&scene.tenant.live).await;
    refused.problem(429, "too_many_waiting");
    assert_eq!(refused.retry_after(), 5);
    let theirs = scene.app.starting(&globex.live, json!({ "to": number(1) })).await.expect(201);
    scene.app.run_jobs().await;
    let mut reply = scene.served.get(&format!("{}?wait=30", path(&theirs)), &globex.live, &[]).await;
    scene.app.post(format!("{}/cancel", path(&theirs))).key(&globex.live).await.expect(200);
    assert_eq!(body(&mut reply).await["status"], "canceled");
    drop(waiting);
    loop {
        let reply = scene.served.get(&of("wait=1"), &scene.tenant.live, &[]).await;
        if reply.status == 200 {
            break;
        }
        assert_eq!(reply.status, 429);
    }
}

#[tokio::test]
async fn a_node_that_is_about_to_stop_answers_at_once() {
    let scene = Scene::set().await;
    let began = Instant::now();
    let mut reply = scene.waiting(60).await;
    scene.app.ready.store(false, Ordering::Release);
    assert_eq!(body(&mut reply).await["status"], "pending");
    assert_eq!(body(&mut scene.waiting(60).await).await["status"], "pending");
    assert!(began.elapsed().as_secs() < 20);
}
