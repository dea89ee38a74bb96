//! Tenants and their teams: who may what, what races, and what is left in the end.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{LogIn, Whence};
use wotp_core::domain::audit::{AuditEntry, AuditHead, AuditWalk};
use wotp_core::domain::id::{TenantId, UserId};
use wotp_core::domain::member::Member;
use wotp_core::domain::password::Password;
use wotp_core::domain::permission::Role;
use wotp_core::domain::session::Transport;
use wotp_core::domain::user::{AccountEmail, User};
use wotp_core::ports::{Change, Entity, EntityList, Owner, Stored};
use wotp_core::testing::builders::an_invitation;

use crate::app::{NUMBER, TestApp, days, id, seconds};
use crate::client::{Reply, Request, race};

const PASSWORD: &str = "correct horse battery";

/// Somebody who is signed in.
struct Somebody {
    id: UserId,
    email: String,
    token: String,
}

/// An account whose address is confirmed.
async fn somebody(app: &TestApp, name: &str) -> Somebody {
    let email = AccountEmail::parse(&format!("{name}@example.com")).unwrap();
    let ports = app.app.ports();
    let (now, entropy) = (ports.clock.now(), &*ports.entropy);
    let mut user = User::new(UserId::new(now, entropy), &email, name, now, &ports.vault, entropy);
    user.email_confirmed_at = Some(now);
    user.password = Some(ports.passwords.hash(&Password::typed(PASSWORD), [9; 16]).await.unwrap());
    ports.store.commit(vec![Change::insert(&user)]).await.unwrap();
    let mut somebody = Somebody { id: user.id, email: email.as_str().to_owned(), token: String::new() };
    somebody.sign_in(app).await;
    somebody
}

impl Somebody {
    async fn sign_in(&mut self, app: &TestApp) {
        let (email, password) = (self.email.clone(), PASSWORD.to_owned());
        let log_in = LogIn { email, password, transport: Transport::Body, device: None };
        self.token = app.app.log_in(log_in, &Whence::default()).await.unwrap().access_token;
    }

    /// A call of theirs, about none of their tenants.
    fn call(&self, app: &TestApp, method: &str, path: impl Into<String>) -> Request {
        app.request(method.to_uppercase().parse::<Method>().unwrap(), path).key(&self.token)
    }

    /// A call of theirs about a tenant.
    fn asks(&self, app: &TestApp, tenant: TenantId, method: &str, path: impl Into<String>) -> Request {
        self.call(app, method, path).header("wotp-tenant", &tenant.to_string())
    }

    async fn creates(&self, app: &TestApp, name: &str) -> TenantId {
        let created = self.call(app, "post", "/v1/tenants").json(json!({ "name": name })).await.expect(201);
        id(&created["tenant"]).parse().unwrap()
    }

    async fn becomes(&self, app: &TestApp, tenant: TenantId, role: Role) {
        let joined_at = app.app.ports().clock.now();
        let member = Member { tenant, user: self.id, role, joined_at };
        app.app.ports().store.commit(vec![Change::insert(&member)]).await.unwrap();
        // What a session is in is looked at within a second.
        app.clock.advance(seconds(1));
    }
}

/// A tenant with one member of each role.
struct Team {
    app: TestApp,
    tenant: TenantId,
    owner: Somebody,
    admin: Somebody,
    developer: Somebody,
    viewer: Somebody,
}

impl Team {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let owner = somebody(&app, "owner").await;
        let tenant = owner.creates(&app, "Acme").await;
        let [admin, developer, viewer] =
            [somebody(&app, "admin").await, somebody(&app, "developer").await, somebody(&app, "viewer").await];
        for (who, role) in [(&admin, Role::Admin), (&developer, Role::Developer), (&viewer, Role::Viewer)] {
            who.becomes(&app, tenant, role).await;
        }
        Self { app, tenant, owner, admin, developer, viewer }
    }

    fn ask(&self, who: &Somebody, method: &str, path: impl Into<String>) -> Request {
        who.asks(&self.app, self.tenant, method, path)
    }

    fn change_role(&self, by: &Somebody, of: &Somebody, role: &str) -> Request {
        self.ask(by, "patch", member_path(of)).json(json!({ "role": role }))
    }

    /// The role of each member, as the owner of the store sees it.
    async fn roles(&self) -> Vec<(UserId, Role)> {
        let list = EntityList::of(Owner::Tenant(self.tenant));
        let rows = self.app.app.ports().store.list_entities(Member::KIND, &list).await;
        let read = |row| Stored::<Member>::read(row).unwrap().entity;
        rows.unwrap().into_iter().map(read).map(|member| (member.user, member.role)).collect()
    }

    async fn owners(&self) -> usize {
        self.roles().await.iter().filter(|(_, role)| *role == Role::Owner).count()
    }

    async fn invite(&self, by: &Somebody, email: &str, role: &str) -> Reply {
        self.ask(by, "post", "/v1/tenant/invitations").json(json!({ "email": email, "role": role })).await
    }

    /// The token in the newest mail.
    async fn token(&self) -> String {
        self.app.run_jobs().await;
        let text = self.app.outbox.last().text;
        text.lines().find(|line| line.starts_with("wi_")).expect("the mail has a token").to_owned()
    }

    async fn log(&self) -> Vec<AuditEntry> {
        log(&self.app, Owner::Tenant(self.tenant)).await
    }
}

async fn log(app: &TestApp, owner: Owner) -> Vec<AuditEntry> {
    let rows = app.app.ports().store.list_entities(AuditEntry::KIND, &EntityList::of(owner)).await.unwrap();
    let mut entries: Vec<_> = rows.into_iter().map(|row| Stored::<AuditEntry>::read(row).unwrap().entity).collect();
    entries.sort_by_key(|entry| entry.place);
    entries
}

fn member_path(of: &Somebody) -> String {
    format!("/v1/tenant/members/{}", of.id)
}

#[tokio::test]
async fn a_person_creates_tenants_and_names_the_one_that_a_call_is_about() {
    let app = TestApp::start().await;
    let ada = somebody(&app, "ada").await;
    ada.call(&app, "get", "/v1/tenant").await.problem(404, "not_found");
    let acme = ada.creates(&app, "Acme").await;
    assert_eq!(ada.call(&app, "get", "/v1/tenant").await.expect(200)["name"], "Acme", "it is the only one");
    let globex = ada.creates(&app, "Globex").await;
    let list = ada.call(&app, "get", "/v1/tenants").await.expect(200);
    let named = |own: &Value| (own["tenant"]["name"].as_str().unwrap().to_owned(), own["role"].clone());
    let names: BTreeSet<_> = list["data"].as_array().unwrap().iter().map(|own| named(own).0).collect();
    assert_eq!(names, BTreeSet::from(["Acme".to_owned(), "Globex".to_owned()]));
    assert!(list["data"].as_array().unwrap().iter().all(|own| own["role"] == "owner"));
    ada.call(&app, "get", "/v1/tenant").await.problem(422, "invalid_request");
    for (tenant, name) in [(acme, "Acme"), (globex, "Globex")] {
        let found = ada.asks(&app, tenant, "get", "/v1/tenant").await.expect(200);
        assert_eq!((found["name"].as_str(), found["state"].as_str()), (Some(name), Some("active")));
        let services = ada.asks(&app, tenant, "get", "/v1/services").await.expect(200);
        assert_eq!(services["data"].as_array().unwrap().len(), 1);
        assert_eq!(services["data"][0]["id"], found["default_service"]);
    }
    let fields = ada.call(&app, "post", "/v1/tenants").json(json!({ "name": " ", "plan": "pro" })).await;
    fields.problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_tenants_that_race_a_person_gets_as_many_as_one_may_own() {
    let app = TestApp::with().tenant_rules(|rules| rules.owned_max = 3).start().await;
    let ada = somebody(&app, "ada").await;
    let requests = (0..12).map(|n| ada.call(&app, "post", "/v1/tenants").json(json!({ "name": format!("Acme {n}") })));
    let replies = race(requests).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 3);
    for refused in replies.iter().filter(|reply| reply.status != 201) {
        refused.problem(409, "limit_reached");
    }
    let list = ada.call(&app, "get", "/v1/tenants").await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 3);
}

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
async fn another_tenants_people_do_not_exist() {
    let team = Team::set().await;
    let (app, tenant) = (&team.app, team.tenant);
    let mallory = somebody(app, "mallory").await;
    let own = mallory.creates(app, "Globex").await;
    team.invite(&team.owner, "grace@example.com", "viewer").await.expect(201);
    app.run_jobs().await;
    let invitations = team.ask(&team.owner, "get", "/v1/tenant/invitations").await.expect(200);
    let invitation = format!("/v1/tenant/invitations/{}", id(&invitations["data"][0]));
    for (method, path) in [
        ("get", "/v1/tenant".to_owned()),
        ("delete", "/v1/tenant".to_owned()),
        ("get", "/v1/tenant/members".to_owned()),
        ("post", "/v1/tenant/leave".to_owned()),
        ("delete", invitation.clone()),
    ] {
        mallory.asks(app, tenant, method, path).await.problem(404, "not_found");
    }
    for (method, path) in [
        ("delete", member_path(&team.viewer)),
        ("delete", invitation.clone()),
        ("post", format!("{invitation}/resend")),
    ] {
        mallory.asks(app, own, method, path).await.problem(404, "not_found");
    }
    let raise = mallory.asks(app, own, "patch", member_path(&mallory)).json(json!({ "role": "owner" }));
    raise.await.expect(200);
    let promote = mallory.asks(app, own, "patch", member_path(&team.viewer)).json(json!({ "role": "owner" }));
    promote.await.problem(404, "not_found");
    for path in
        [format!("/v1/tenants/{tenant}/restore"), format!("/v1/tenants/{}/restore", TenantId::from_bytes([1; 16]))]
    {
        mallory.call(app, "post", path).await.problem(404, "not_found");
    }
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    mallory.call(app, "get", format!("/v1/tenants/{tenant}/erasure")).await.problem(404, "not_found");
    mallory.call(app, "post", format!("/v1/tenants/{tenant}/restore")).await.problem(404, "not_found");
    let list = mallory.call(app, "get", "/v1/tenants").await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
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
async fn the_last_owner_stays() {
    let team = Team::set().await;
    team.ask(&team.owner, "post", "/v1/tenant/leave").await.problem(409, "last_owner");
    team.change_role(&team.owner, &team.owner, "admin").await.problem(409, "last_owner");
    team.ask(&team.owner, "delete", member_path(&team.owner)).await.problem(409, "last_owner");
    team.ask(&team.viewer, "post", "/v1/tenant/leave").await.done();
    team.change_role(&team.owner, &team.admin, "owner").await.expect(200);
    team.ask(&team.owner, "post", "/v1/tenant/leave").await.done();
    team.ask(&team.owner, "get", "/v1/tenant").await.problem(404, "not_found");
    assert_eq!(team.owners().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_owners_who_leave_at_once_one_stays() {
    for round in 0..8 {
        let team = Team::set().await;
        team.change_role(&team.owner, &team.admin, "owner").await.expect(200);
        let (owner, admin) = (&team.owner, &team.admin);
        let requests = match round % 4 {
            0 => [team.ask(owner, "post", "/v1/tenant/leave"), team.ask(admin, "post", "/v1/tenant/leave")],
            1 => [team.change_role(owner, owner, "viewer"), team.change_role(admin, admin, "viewer")],
            2 => [team.change_role(owner, admin, "viewer"), team.change_role(admin, owner, "viewer")],
            _ => [team.ask(owner, "delete", member_path(admin)), team.ask(admin, "delete", member_path(owner))],
        };
        let replies = race(requests).await;
        let made = replies.iter().filter(|reply| reply.status < 300).count();
        assert_eq!(made, 1, "{round}: {replies:?}");
        assert_eq!(team.owners().await, 1, "{round}");
    }
}

#[tokio::test]
async fn changes_of_different_members_that_race_are_all_made() {
    let team = Team::set().await;
    let requests = [
        team.change_role(&team.owner, &team.developer, "viewer"),
        team.change_role(&team.owner, &team.viewer, "developer"),
        team.change_role(&team.owner, &team.admin, "owner"),
        team.ask(&team.owner, "patch", "/v1/tenant").json(json!({ "name": "Acme & Sons" })),
    ];
    for reply in race(requests).await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let roles = team.roles().await;
    let role = |who: &Somebody| roles.iter().find(|(user, _)| *user == who.id).unwrap().1;
    assert_eq!((role(&team.developer), role(&team.viewer)), (Role::Viewer, Role::Developer));
    assert_eq!(role(&team.admin), Role::Owner);
    assert_eq!(team.ask(&team.owner, "get", "/v1/tenant").await.expect(200)["name"], "Acme & Sons");
}

#[tokio::test]
async fn ownership_goes_to_another_member_whole() {
    let team = Team::set().await;
    let transfer = |by: &Somebody, to: UserId| team.ask(by, "post", "/v1/tenant/transfer").json(json!({ "user": to }));
    transfer(&team.owner, team.owner.id).await.problem(422, "invalid_request");
    transfer(&team.owner, UserId::from_bytes([7; 16])).await.problem(404, "not_found");
    let new = transfer(&team.owner, team.viewer.id).await.expect(200);
    assert_eq!(
        (new["user"].as_str(), new["role"].as_str()),
        (Some(team.viewer.id.to_string().as_str()), Some("owner"))
    );
    let roles = team.roles().await;
    let role = |who: &Somebody| roles.iter().find(|(user, _)| *user == who.id).unwrap().1;
    assert_eq!((role(&team.viewer), role(&team.owner)), (Role::Owner, Role::Admin));
    transfer(&team.owner, team.admin.id).await.problem(403, "role_missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_ownership_that_is_transferred_while_the_new_owner_leaves_is_not_lost() {
    for _ in 0..6 {
        let team = Team::set().await;
        let transfer = json!({ "user": team.viewer.id });
        let requests = [
            team.ask(&team.owner, "post", "/v1/tenant/transfer").json(transfer),
            team.ask(&team.viewer, "post", "/v1/tenant/leave"),
        ];
        let statuses: BTreeSet<_> = race(requests).await.into_iter().map(|reply| reply.status).collect();
        assert_eq!(team.owners().await, 1);
        // Either the transfer came first, and the last owner stays; or the leave did.
        assert!([BTreeSet::from([200, 409]), BTreeSet::from([204, 404])].contains(&statuses), "{statuses:?}");
    }
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
async fn a_deleted_tenant_refuses_its_keys_and_members_at_once_and_comes_back_as_it_was() {
    let team = Team::set().await;
    let app = &team.app;
    let key = {
        let settings = wotp_core::app::NewKeySettings::named("key", wotp_core::domain::mode::Mode::Live);
        app.app.issue_key(team.tenant, settings).await.unwrap().secret.reveal().to_owned()
    };
    let (verification, code) = app.started(&key, NUMBER).await;
    team.invite(&team.owner, "grace@example.com", "viewer").await.expect(201);
    let token = team.token().await;

    let deleted = team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    assert_eq!(
        (deleted["state"].as_str(), deleted["erased_at"].as_str()),
        (Some("deleted"), Some("2026-12-06T12:00:03Z"))
    );
    app.checking(&key, &verification, &code).await.problem(403, "tenant_deleted");
    for who in [&team.owner, &team.viewer] {
        team.ask(who, "get", "/v1/tenant").await.problem(403, "tenant_deleted");
        let list = who.call(app, "get", "/v1/tenants").await.expect(200);
        assert_eq!(list["data"][0]["tenant"]["state"], "deleted");
    }
    app.post("/v1/invitations/preview").json(json!({ "token": token })).await.problem(404, "not_found");
    let erasure = team.owner.call(app, "get", format!("/v1/tenants/{}/erasure", team.tenant)).await.expect(200);
    assert_eq!((erasure["finished_at"].clone(), erasure["erased"]["members"].clone()), (Value::Null, Value::Null));

    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.admin.call(app, "post", &restore).await.problem(403, "role_missing");
    let replies = race((0..3).map(|_| team.owner.call(app, "post", &restore))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(team.ask(&team.viewer, "get", "/v1/tenant").await.expect(200)["state"], "active");
    assert_eq!(app.checking(&key, &verification, &code).await.expect(200)["valid"], true);
    team.owner.call(app, "get", format!("/v1/tenants/{}/erasure", team.tenant)).await.problem(404, "not_found");
    app.clock.advance(days(30));
    app.sweep().await;
    assert!(app.app.ports().store.tenant(team.tenant).find_tenant().await.unwrap().is_some());
}

#[tokio::test]
async fn after_the_grace_all_of_a_tenant_is_erased_and_a_report_stays() {
    let mut team = Team::set().await;
    let (other, other_key) = {
        let other = team.app.tenant("Globex").await;
        let live = other.live.clone();
        (other, live)
    };
    let settings = wotp_core::app::NewKeySettings::named("key", wotp_core::domain::mode::Mode::Live);
    let key = team.app.app.issue_key(team.tenant, settings).await.unwrap().secret.reveal().to_owned();
    team.app.started(&key, NUMBER).await;
    team.app.started(&other_key, NUMBER).await;
    team.invite(&team.owner, "grace@example.com", "viewer").await.expect(201);
    team.app.run_jobs().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    // More than one step erases, so that others are served between.
    let invitation = |_| Change::insert(&an_invitation(team.tenant, Role::Viewer));
    team.app.app.ports().store.commit((0..600).map(invitation).collect()).await.unwrap();
    let mut steps = 0;
    while team.app.sweep().await.erased > 0 {
        steps += 1;
        assert!(steps < 50, "it goes on for ever");
        let reply = team.app.get("/v1/usage").key(&other_key).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    assert!(steps > 2, "{steps}");

    team.owner.sign_in(&team.app).await;
    let report = team.owner.call(&team.app, "get", format!("/v1/tenants/{}/erasure", team.tenant)).await.expect(200);
    assert!(report["finished_at"].is_string(), "{report}");
    assert_eq!(report["deleted_by"], team.owner.id.to_string());
    let erased = &report["erased"];
    assert_eq!((&erased["keys"], &erased["services"]), (&json!(1), &json!(1)));
    assert_eq!(erased["verifications"], 1);
    assert!(erased["others"].as_u64().unwrap() > 600, "invitations, members and the log: {report}");
    let told = log(&team.app, Owner::Platform).await;
    let told = told.iter().find(|entry| entry.action == "tenant.erase").expect("the platform's log tells of it");
    assert_eq!((&told.target, &told.after.as_ref().unwrap()["erased"]), (&team.tenant.to_string(), erased));

    assert_eq!(team.log().await, []);
    assert_eq!(team.roles().await, []);
    assert!(team.app.app.ports().store.tenant(team.tenant).find_tenant().await.unwrap().is_none());
    team.app.get("/v1/usage").key(&key).await.problem(401, "api_key_unknown");
    assert_eq!(team.owner.call(&team.app, "get", "/v1/tenants").await.expect(200)["data"], json!([]));
    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.owner.call(&team.app, "post", restore).await.problem(404, "not_found");
    assert_eq!(
        team.app.get("/v1/services").key(&other_key).await.expect(200)["data"][0]["id"],
        other.service.to_string()
    );
}

#[tokio::test]
async fn what_has_begun_to_be_erased_does_not_come_back() {
    let mut team = Team::set().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    team.owner.sign_in(&team.app).await;
    // Due, though no sweep came by.
    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.owner.call(&team.app, "post", &restore).await.problem(403, "tenant_deleted");
}

#[tokio::test]
async fn the_log_tells_all_of_it_and_no_address() {
    let team = Team::set().await;
    team.ask(&team.admin, "patch", "/v1/tenant").json(json!({ "name": "Acme & Sons" })).await.expect(200);
    team.change_role(&team.owner, &team.viewer, "developer").await.expect(200);
    team.invite(&team.admin, "grace@example.com", "viewer").await.expect(201);
    let token = team.token().await;
    let grace = somebody(&team.app, "grace").await;
    let accept = json!({ "token": token });
    grace.call(&team.app, "post", "/v1/invitations/accept").json(accept).await.expect(200);
    team.ask(&grace, "post", "/v1/tenant/leave").await.done();
    team.ask(&team.admin, "delete", member_path(&team.developer)).await.done();
    team.ask(&team.owner, "post", "/v1/tenant/transfer").json(json!({ "user": team.admin.id })).await.expect(200);
    team.ask(&team.admin, "delete", "/v1/tenant").await.expect(200);
    team.admin.call(&team.app, "post", format!("/v1/tenants/{}/restore", team.tenant)).await.expect(200);

    let log = team.log().await;
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "tenant.create",
            "tenant.rename",
            "member.change_role",
            "invitation.create",
            "invitation.accept",
            "member.leave",
            "member.remove",
            "ownership.transfer",
            "tenant.delete",
            "tenant.restore",
        ]
    );
    let whole = serde_json::to_string(&log).unwrap();
    assert!(!whole.contains("grace@example.com") && !whole.contains(&token), "{whole}");
    let renamed = &log[1];
    assert_eq!(renamed.before.as_ref().unwrap()["name"], "Acme");
    assert_eq!(renamed.after.as_ref().unwrap()["name"], "Acme & Sons");
    assert!(renamed.request.is_some() && renamed.ip.is_some());

    let ports = team.app.app.ports();
    let mut walk = AuditWalk::default();
    log.iter().for_each(|entry| walk.step(entry, &ports.vault).unwrap());
    let owner = Owner::Tenant(team.tenant);
    let head = ports.store.find_entity(AuditHead::KIND, owner, owner.to_bytes()).await.unwrap();
    let head = head.map(|row| Stored::<AuditHead>::read(row).unwrap().entity);
    walk.end(head.as_ref(), &ports.vault).unwrap();
}
