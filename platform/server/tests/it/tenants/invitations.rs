//! Invitations: for one address, once, for a week.

use serde_json::json;
use wotp_core::domain::audit::By;
use wotp_core::domain::id::TenantId;

use super::{Somebody, Team, member_path, somebody};
use crate::app::{TestApp, days, id, seconds};
use crate::client::{Reply, race};

#[tokio::test]
async fn an_invitation_is_for_the_address_that_it_went_to_and_works_once() {
    let team = Team::set().await;
    let app = &team.app;
    let sent = team.invite(&team.admin, "Grace@Example.com", "developer").await.expect(201);
    assert_eq!((sent["email"].as_str(), sent["role"].as_str()), (Some("grace@example.com"), Some("developer")));
    let token = team.token().await;
    assert_eq!(app.outbox.last().to, "grace@example.com");
    assert!(!sent.to_string().contains(&token), "the token goes by mail only");

    let preview = |token: &str| app.post("/v1/invitations/preview").json(json!({ "token": token }));
    let seen = preview(&token).await.expect(200);
    assert_eq!((seen["tenant_name"].as_str(), seen["role"].as_str()), (Some("Acme"), Some("developer")));
    assert!(!seen.to_string().contains("grace@example.com"), "{seen}");
    preview("wi_hN2kq9Qh3cJ1n0i8b6JxWl0Jm3v6bQ9sT5yXcE2aR4U").await.problem(404, "not_found");
    preview("nonsense").await.problem(404, "not_found");

    let accept = json!({ "token": token });
    app.post("/v1/invitations/accept").json(accept.clone()).await.problem(401, "token_missing");
    let mallory = somebody(app, "mallory").await;
    let accepts = |who: &Somebody| who.call(app, "post", "/v1/invitations/accept").json(accept.clone());
    accepts(&mallory).await.problem(403, "other_email");
    let grace = somebody(app, "grace").await;
    grace.call(app, "get", "/v1/tenants").await.expect(200);
    let replies = race((0..4).map(|_| accepts(&grace))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{replies:?}");
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 404 | 409)), "{replies:?}");
    assert_eq!(team.ask(&grace, "get", "/v1/tenant").await.expect(200)["name"], "Acme");
    accepts(&grace).await.problem(404, "not_found");
    preview(&token).await.problem(404, "not_found");
    team.invite(&team.owner, "grace@example.com", "admin").await.problem(409, "already_member");
    assert_eq!(team.ask(&team.owner, "get", "/v1/tenant/invitations").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn an_invitation_is_sent_again_taken_back_and_over_after_a_week() {
    let mut team = Team::set().await;
    team.invite(&team.admin, "grace@example.com", "viewer").await.expect(201);
    let first = team.token().await;
    team.invite(&team.admin, "grace@example.com", "developer").await.problem(409, "taken");
    let list = team.ask(&team.viewer, "get", "/v1/tenant/invitations").await.expect(200);
    assert!(!list.to_string().contains("grace@"), "{list}");
    let invitation = format!("/v1/tenant/invitations/{}", id(&list["data"][0]));
    let resend = format!("{invitation}/resend");
    let refused = team.ask(&team.admin, "post", &resend).await;
    refused.problem(429, "cool_down");
    team.app.clock.advance(seconds(60));
    team.ask(&team.admin, "post", &resend).await.expect(200);
    let second = team.token().await;
    let preview = |team: &Team, token: &str| team.app.post("/v1/invitations/preview").json(json!({ "token": token }));
    preview(&team, &first).await.problem(404, "not_found");
    preview(&team, &second).await.expect(200);
    team.ask(&team.admin, "delete", &invitation).await.done();
    preview(&team, &second).await.problem(404, "not_found");
    team.ask(&team.admin, "post", &resend).await.problem(404, "not_found");

    team.invite(&team.admin, "grace@example.com", "viewer").await.expect(201);
    let third = team.token().await;
    team.app.clock.advance(days(7));
    team.admin.sign_in(&team.app).await;
    preview(&team, &third).await.problem(404, "not_found");
    // Whether or not the sweep came by, the address can be invited again.
    team.invite(&team.admin, "grace@example.com", "viewer").await.expect(201);
    let fourth = team.token().await;
    team.app.sweep().await;
    preview(&team, &fourth).await.expect(200);
    team.app.clock.advance(days(7));
    team.app.sweep().await;
    let actions: Vec<_> = team.log().await.into_iter().map(|entry| entry.action).collect();
    assert!(actions.iter().any(|action| action == "invitation.expire"), "{actions:?}");
}

#[tokio::test]
async fn an_invitation_to_a_suspended_tenant_is_not_there_until_the_tenant_is_resumed() {
    let team = Team::set().await;
    let (app, by) = (&team.app, By::command_line());
    team.invite(&team.admin, "grace@example.com", "viewer").await.expect(201);
    let token = json!({ "token": team.token().await });
    let grace = somebody(app, "grace").await;
    let preview = || app.post("/v1/invitations/preview").json(token.clone());
    let accept = || grace.call(app, "post", "/v1/invitations/accept").json(token.clone());
    app.app.suspend_tenant(&by, team.tenant, "unpaid").await.expect("suspended");
    preview().await.problem(404, "not_found");
    accept().await.problem(404, "not_found");
    app.app.resume_tenant(&by, team.tenant).await.expect("resumed");
    preview().await.expect(200);
    accept().await.expect(200);
}

#[tokio::test]
async fn a_tenant_sends_as_many_invitations_a_day_as_it_may() {
    let app = TestApp::with().tenant_rules(|rules| rules.invitations_per_day = 3).start().await;
    let ada = somebody(&app, "ada").await;
    let tenant = ada.creates(&app, "Acme").await;
    let invite = |n: usize| {
        let body = json!({ "email": format!("grace{n}@example.com"), "role": "viewer" });
        ada.asks(&app, tenant, "post", "/v1/tenant/invitations").json(body)
    };
    let replies = race((0..5).map(invite)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 3, "{replies:?}");
    for refused in replies.iter().filter(|reply| reply.status != 201) {
        refused.problem(429, "invitations_used");
        assert!(!refused.header("retry-after").is_empty());
    }
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 3);
}

#[tokio::test]
async fn an_invitation_goes_when_whoever_sent_it_may_not_send_it_any_more() {
    let team = Team::set().await;
    let open = async || {
        let list = team.ask(&team.owner, "get", "/v1/tenant/invitations").await.expect(200);
        let emails = list["data"].as_array().unwrap().iter().map(|one| one["email"].as_str().unwrap().to_owned());
        // Invitations of one moment are in no order.
        emails.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    team.invite(&team.admin, "grace@example.com", "developer").await.expect(201);
    let token = team.token().await;
    team.invite(&team.owner, "heidi@example.com", "developer").await.expect(201);
    team.change_role(&team.owner, &team.admin, "developer").await.expect(200);
    assert_eq!(open().await, ["heidi@example.com"], "only what the former admin sent is gone");
    let grace = somebody(&team.app, "grace").await;
    let accept = json!({ "token": token });
    grace.call(&team.app, "post", "/v1/invitations/accept").json(accept).await.problem(404, "not_found");
    let revoked = team.log().await.into_iter().filter(|entry| entry.action == "invitation.revoke").count();
    assert_eq!(revoked, 1);

    // Who leaves takes theirs along, and an owner who becomes an admin those that make owners.
    team.change_role(&team.owner, &team.admin, "owner").await.expect(200);
    team.invite(&team.admin, "ivan@example.com", "owner").await.expect(201);
    team.invite(&team.admin, "judy@example.com", "viewer").await.expect(201);
    team.change_role(&team.owner, &team.admin, "admin").await.expect(200);
    assert_eq!(open().await, ["heidi@example.com", "judy@example.com"]);
    team.ask(&team.admin, "post", "/v1/tenant/leave").await.done();
    assert_eq!(open().await, ["heidi@example.com"]);
    team.app.run_jobs().await;
}

#[tokio::test]
async fn an_invitation_that_is_accepted_while_its_sender_is_removed_makes_no_member_of_theirs() {
    let team = Team::set().await;
    team.invite(&team.admin, "grace@example.com", "admin").await.expect(201);
    let token = team.token().await;
    let grace = somebody(&team.app, "grace").await;
    let accept = grace.call(&team.app, "post", "/v1/invitations/accept").json(json!({ "token": token }));
    let remove = team.ask(&team.owner, "delete", member_path(&team.admin));
    let replies = race([accept, remove]).await;
    // Whichever was first: who is in was let in by somebody who was in.
    let is_in = team.roles().await.iter().any(|(user, _)| *user == grace.id);
    assert_eq!(is_in, replies[0].status == 200, "{replies:?}");
    assert_eq!(replies[1].status, 204, "{replies:?}");
    let log = team.log().await;
    let position = |action: &str| log.iter().position(|entry| entry.action == action);
    assert!(!is_in || position("invitation.accept") < position("member.remove"));
}

#[tokio::test]
async fn nobodys_mailbox_is_filled_with_invitations_by_however_many_tenants() {
    let app = TestApp::start().await;
    let ada = somebody(&app, "ada").await;
    let mut tenants = Vec::new();
    for n in 0..8 {
        tenants.push(ada.creates(&app, &format!("Acme {n}")).await);
    }
    let invite = |tenant: &TenantId, email: &str| {
        ada.asks(&app, *tenant, "post", "/v1/tenant/invitations").json(json!({ "email": email, "role": "viewer" }))
    };
    let replies = race(tenants.iter().map(|tenant| invite(tenant, "grace@example.com"))).await;
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status != 201).collect();
    assert_eq!(refused.len(), 5, "{replies:?}");
    for reply in refused {
        reply.problem(429, "invited_often");
        assert!(!reply.header("retry-after").is_empty());
    }
    invite(&tenants[0], "heidi@example.com").await.expect(201);
    // Nor does whoever fills it keep others from inviting.
    let judy = somebody(&app, "judy").await;
    let tenant = judy.creates(&app, "Initech").await;
    let invited = judy.asks(&app, tenant, "post", "/v1/tenant/invitations");
    invited.json(json!({ "email": "grace@example.com", "role": "viewer" })).await.expect(201);
    app.run_jobs().await;
}
