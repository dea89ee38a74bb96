//! Who looks at much waits for a turn, and keeps nobody else waiting.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{EntityList, Owner};

use crate::app::{NUMBER, TestApp, id};

/// A check takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A tenant's turns, taken for as long as a test likes.
struct Taken {
    gates: Vec<mpsc::Sender<()>>,
    lookers: JoinSet<()>,
}

impl Taken {
    async fn of(app: &TestApp, tenant: TenantId) -> Self {
        let (entered, mut inside) = tokio::sync::mpsc::unbounded_channel();
        let (mut gates, mut lookers) = (Vec::new(), JoinSet::new());
        for _ in 0..2 {
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let (app, entered, list) = (app.app.clone(), entered.clone(), EntityList::of(Owner::Tenant(tenant)));
            lookers.spawn(async move {
                let visit = move |_| {
                    entered.send(()).unwrap();
                    let _ = gate.recv();
                    ControlFlow::Break(())
                };
                app.ports().store.visit_entities("audit_entry", &list, Box::new(visit)).await.unwrap();
            });
            inside.recv().await.unwrap();
        }
        Self { gates, lookers }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_by_address_waits_for_no_turn() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (_, code) = app.started(&acme.live, NUMBER).await;
    let Taken { gates, lookers } = Taken::of(&app, acme.id).await;
    // Of what is open, and then of what has ended.
    for valid in [true, false] {
        let check = app.post("/v1/verifications/check").key(&acme.live).json(json!({ "to": NUMBER, "code": code }));
        let checked = tokio::time::timeout(PATIENCE, check.into_future()).await.expect("it waits for a turn");
        assert_eq!(checked.expect(200)["valid"], valid);
    }
    drop(gates);
    lookers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listings_that_look_at_many_wait_for_a_turn_of_their_tenant() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let (owner, other) = (app.member(&acme, Role::Owner).await, app.member(&globex, Role::Owner).await);
    let endpoint = app.endpoint(&acme.live, json!({ "url": "https://example.com/webhooks" })).await;
    let taken = Taken::of(&app, acme.id).await;
    let attempts = format!("/v1/webhooks/endpoints/{}/attempts?status=delivered", id(&endpoint["endpoint"]));
    let mut waiting = Vec::new();
    for path in ["/v1/audit", "/v1/events", &attempts] {
        let mut listing = Box::pin(app.get(path).by(&owner).into_future());
        let others = async {
            for _ in 0..20 {
                app.get("/v1/audit").by(&other).await.expect(200);
            }
        };
        tokio::select! {
            biased;
            reply = &mut listing => panic!("{path} waits for no turn: {}", reply.status),
            () = others => {}
        }
        waiting.push(listing);
    }
    let Taken { gates, lookers } = taken;
    drop(gates);
    for reply in join_all(waiting).await {
        reply.expect(200);
    }
    lookers.join_all().await;
    app.run_jobs().await;
}
