//! Maintenance: all is read as ever, nothing is changed, and who runs the platform goes on.

use serde_json::json;
use wotp_core::domain::audit::By;
use wotp_core::domain::permission::Role;

use super::callers::{Caller, nobody};
use super::operations::{Asks, OPERATIONS, Operation, calls};
use super::things::Names;
use super::{Stage, looks_at_the_body, same};

/// What changes something all the same: people, and operators among them, sign in and out.
const GOES_ON: [&str; 9] = [
    "/v1/auth/login",
    "/v1/auth/second-factor",
    "/v1/auth/oidc/{name}/start",
    "/v1/auth/oidc/complete",
    "/v1/auth/refresh",
    "/v1/auth/logout",
    "/api/auth/google",
    "/api/auth/refresh",
    "/api/auth/logout",
];

/// What is read by POST, since what it is about has no place in a path.
const READ_BY_POST: [&str; 2] = ["/v1/services/{id}/templates/preview", "/v1/invitations/preview"];

fn goes_on(operation: &Operation) -> bool {
    operation.asks == Asks::Operator || GOES_ON.contains(&operation.path)
}

fn reads(operation: &Operation) -> bool {
    operation.method == "get" || READ_BY_POST.contains(&operation.path)
}

impl Stage {
    async fn begin_maintenance(&self) {
        let begun = self.app.app.begin_maintenance(&By::command_line(), "a larger database", 5).await;
        begun.expect("it begins");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn during_maintenance_every_operation_reads_or_waits() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let owner = app.member(&stage.acme, Role::Owner).await;
    // Whoever reads events is noted, once a day, so that there are some.
    app.get("/v1/events").by(&owner).await.expect(200);
    let key = Caller::key("a key", &app.key(&stage.acme, |_| {}).await, |_| None);
    let (owner, nobody) = (Caller::person("an owner", &owner, stage.acme.id, |_| None), nobody());
    stage.begin_maintenance().await;
    let before = app.rows();
    let (mut wrong, mut waited) = (Vec::new(), 0);
    for operation in calls().filter(|operation| !goes_on(operation)) {
        let callers = match operation.asks {
            Asks::Nothing | Asks::Body => vec![&nobody],
            Asks::Caller(permission) if permission.scope().is_some() => vec![&owner, &key],
            _ => vec![&owner],
        };
        for caller in callers {
            let reply = caller.sends(stage.request(operation, &mut Names::of(&stage.things))).await;
            let checked = match operation.asks {
                _ if !reads(operation) => {
                    waited += 1;
                    stage.document.check(operation, &reply, 503, "maintenance")
                }
                Asks::Body => {
                    looks_at_the_body(&stage.document, operation, &reply);
                    Ok(())
                }
                _ => stage.document.serves(operation, &reply),
            };
            wrong.extend(checked.err().map(|error| format!("{operation} by {}: {error}", caller.name)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(waited > 80, "{waited}");
    assert!(app.next_job().await.is_none(), "nothing is sent");
    same(&before, &app.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn during_maintenance_people_sign_in_and_out_and_operators_go_on() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let owner = app.member(&stage.acme, Role::Owner).await;
    stage.begin_maintenance().await;
    for path in GOES_ON {
        let operation = OPERATIONS.iter().find(|operation| operation.path == path).expect("an operation");
        if operation.asks == Asks::Body {
            let reply = nobody().sends(stage.request(operation, &mut Names::of(&stage.things))).await;
            looks_at_the_body(&stage.document, operation, &reply);
        }
    }
    let session = app.logged_in(&owner.email).await;
    let refresh = app.post("/v1/auth/refresh").json(json!({ "refresh_token": session.refresh_token }));
    let next = refresh.await.expect(200)["refresh_token"].clone();
    app.post("/api/auth/refresh").json(json!({ "refreshToken": next })).await.expect(200);
    app.post("/api/auth/logout").key(&session.access_token).await.expect(200);
    app.post("/v1/auth/logout").json(json!({ "refresh_token": owner.refresh_token })).await.done();

    let operator = Caller::person("an operator", &stage.grantee, stage.acme.id, |_| None);
    // The last of them is the one that ends it.
    for operation in OPERATIONS.iter().filter(|operation| operation.asks == Asks::Operator) {
        let reply = operator.sends(stage.request(operation, &mut Names::of(&stage.things))).await;
        let checked = stage.document.serves(operation, &reply);
        checked.unwrap_or_else(|error| panic!("{operation}: {error}"));
    }
    app.post("/v1/tenants").by(&app.logged_in(&owner.email).await).json(json!({ "name": "Later" })).await.expect(201);
    app.run_jobs().await;
}
