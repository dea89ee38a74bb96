//! Roles: who may what, and who sees whom.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wotp_core::domain::id::UserId;
use wotp_core::domain::permission::Role;

use super::{Somebody, Team, member_path};
use crate::app::{TestApp, id};

#[tokio::test]
async fn each_role_may_what_the_table_says_and_no_more() {
    let team = Team::set().await;
    team.invite(&team.owner, "grace@example.com", "viewer").await.expect(201);
    team.app.run_jobs().await;
    let invitations = team.ask(&team.owner, "get", "/v1/tenant/invitations").await.expect(200);
    let invitation = format!("/v1/tenant/invitations/{}", id(&invitations["data"][0]));
    let nobody = format!("/v1/tenant/members/{}", UserId::from_bytes([7; 16]));
    let body = |path: &str, method: &str| match (method, path) {
        ("patch", "/v1/tenant") => json!({ "name": "Acme" }),
        ("patch", _) => json!({ "role": "viewer" }),
        ("post", "/v1/tenant/transfer") => json!({ "user": UserId::from_bytes([7; 16]) }),
        ("post", "/v1/tenant/invitations") => json!({ "email": "no address", "role": "viewer" }),
        _ => Value::Null,
    };
    let operations = [
        ("get", "/v1/tenant", Role::Viewer),
        ("get", "/v1/tenant/members", Role::Viewer),
        ("get", "/v1/tenant/invitations", Role::Viewer),
        ("patch", "/v1/tenant", Role::Admin),
        ("patch", &nobody, Role::Admin),
        ("delete", &nobody, Role::Admin),
        ("post", "/v1/tenant/invitations", Role::Admin),
        ("post", &format!("{invitation}/resend"), Role::Admin),
        ("post", "/v1/tenant/transfer", Role::Owner),
    ];
    let before = (team.roles().await, team.app.outbox.letters().len());
    for (method, path, least) in operations {
        let whoever = [&team.viewer, &team.developer, &team.admin, &team.owner];
        for (who, role) in whoever.into_iter().zip(Role::ALL) {
            let mut request = team.ask(who, method, path);
            let body = body(path, method);
            if !body.is_null() {
                request = request.json(body);
            }
            let reply = request.await;
            if *role < least {
                let problem = reply.problem(403, "role_missing");
                assert!(problem["detail"].as_str().unwrap().contains(least.name()), "{problem}");
            } else {
                assert!(!matches!(reply.status, 401 | 403), "{} may {method} {path}: {}", role.name(), reply.text);
            }
        }
    }
    for (method, path) in [("delete", "/v1/tenant"), ("delete", &invitation)] {
        for who in [&team.viewer, &team.developer] {
            team.ask(who, method, path).await.problem(403, "role_missing");
        }
    }
    team.ask(&team.admin, "delete", "/v1/tenant").await.problem(403, "role_missing");
    assert_eq!(team.roles().await, before.0);
    assert_eq!(team.app.outbox.letters().len(), before.1);
}

#[tokio::test]
async fn a_key_is_told_that_teams_are_for_people() {
    let (app, tenant) = TestApp::start_with_tenant().await;
    let key = app.key(&tenant, |_| ()).await;
    for (method, path) in [
        ("get", "/v1/tenants"),
        ("get", "/v1/tenant"),
        ("delete", "/v1/tenant"),
        ("get", "/v1/tenant/members"),
        ("post", "/v1/tenant/leave"),
        ("get", "/v1/tenant/invitations"),
    ] {
        let request = app.request(method.to_uppercase().parse().unwrap(), path);
        request.clone().key(&key).await.problem(403, "key_not_allowed");
        request.await.problem(401, "token_missing");
    }
}

#[tokio::test]
async fn only_owners_make_and_change_owners_and_nobody_raises_themself() {
    let team = Team::set().await;
    team.change_role(&team.admin, &team.admin, "owner").await.problem(403, "role_missing");
    team.change_role(&team.admin, &team.developer, "owner").await.problem(403, "role_missing");
    team.change_role(&team.admin, &team.owner, "viewer").await.problem(403, "role_missing");
    team.ask(&team.admin, "delete", member_path(&team.owner)).await.problem(403, "role_missing");
    team.invite(&team.admin, "grace@example.com", "owner").await.problem(403, "role_missing");
    for who in [&team.developer, &team.viewer] {
        team.change_role(who, who, "admin").await.problem(403, "role_missing");
    }
    let raised = team.change_role(&team.admin, &team.viewer, "admin").await.expect(200);
    assert_eq!((raised["role"].as_str(), raised["email"].as_str()), (Some("admin"), Some("viewer@example.com")));
    team.change_role(&team.owner, &team.admin, "owner").await.expect(200);
    team.change_role(&team.admin, &team.owner, "viewer").await.expect(200);
    team.change_role(&team.owner, &team.owner, "owner").await.problem(403, "role_missing");
    assert_eq!(team.owners().await, 1);
}

#[tokio::test]
async fn viewers_see_who_is_there_and_not_their_addresses() {
    let team = Team::set().await;
    let emails = |list: &Value| {
        let data = list["data"].as_array().unwrap();
        data.iter().map(|member| member["email"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let whole = emails(&team.ask(&team.admin, "get", "/v1/tenant/members").await.expect(200));
    assert!(whole.contains("owner@example.com") && whole.len() == 4, "{whole:?}");
    let masked = emails(&team.ask(&team.viewer, "get", "/v1/tenant/members").await.expect(200));
    assert!(masked.iter().all(|email| email.contains('*') && !email.contains("owner@")), "{masked:?}");
}

#[tokio::test]
async fn a_member_who_is_removed_or_lowered_is_so_at_once() {
    let team = Team::set().await;
    team.ask(&team.developer, "get", "/v1/services").await.expect(200);
    let started = |who: &Somebody| team.ask(who, "post", "/v1/services").json(json!({ "name": "Shop" }));
    started(&team.developer).await.expect(201);
    team.change_role(&team.admin, &team.developer, "viewer").await.expect(200);
    started(&team.developer).await.problem(403, "role_missing");
    team.ask(&team.admin, "delete", member_path(&team.developer)).await.done();
    team.ask(&team.developer, "get", "/v1/services").await.problem(404, "not_found");
    team.ask(&team.admin, "delete", member_path(&team.developer)).await.problem(404, "not_found");
    // Their session goes on.
    let list = team.developer.call(&team.app, "get", "/v1/tenants").await.expect(200);
    assert_eq!(list["data"], json!([]));
}
