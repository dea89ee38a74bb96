//! Tenants and their teams: who may what, what races, and what is left in the end.

mod erasing;
mod invitations;
mod owners;
mod roles;

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{LogIn, SignInStep, Whence};
use wotp_core::domain::audit::{AuditEntry, AuditHead, AuditWalk};
use wotp_core::domain::id::{TenantId, UserId};
use wotp_core::domain::member::Member;
use wotp_core::domain::password::Password;
use wotp_core::domain::permission::Role;
use wotp_core::domain::session::Transport;
use wotp_core::domain::user::{AccountEmail, User};
use wotp_core::ports::{Change, Entity, EntityList, Owner, Stored};

use crate::app::{TestApp, id, seconds};
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
        self.token = match app.app.log_in(log_in, &Whence::default()).await.unwrap() {
            SignInStep::Open(opened) => opened.access_token,
            SignInStep::SecondFactor { .. } => panic!("they have no second factor"),
        };
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
        Self::of(TestApp::start().await).await
    }

    async fn of(app: TestApp) -> Self {
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
            "service.create",
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
    let renamed = &log[2];
    assert_eq!(renamed.before.as_ref().unwrap()["name"], "Acme");
    assert_eq!(renamed.after.as_ref().unwrap()["name"], "Acme & Sons");
    assert!(renamed.request.is_some() && renamed.ip.is_some());

    let ports = team.app.app.ports();
    let mut walk = AuditWalk::of(Owner::Tenant(team.tenant));
    log.iter().for_each(|entry| walk.step(entry, &ports.vault).unwrap());
    let owner = Owner::Tenant(team.tenant);
    let head = ports.store.find_entity(AuditHead::KIND, owner, owner.to_bytes()).await.unwrap();
    let head = head.map(|row| Stored::<AuditHead>::read(row).unwrap().entity);
    walk.end(head.as_ref(), &ports.vault).unwrap();
}
