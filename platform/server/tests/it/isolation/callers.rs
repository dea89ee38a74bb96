//! Everybody whom an operation may have to refuse, and what each is told.

use axum::http::Method;
use wotp_core::app::NewKeySettings;
use wotp_core::domain::access_token::Claims;
use wotp_core::domain::api_key::{Scope, Secret};
use wotp_core::domain::audit::By;
use wotp_core::domain::id::{AccessId, TenantId};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::permission::{Permission, Role};
use wotp_core::ports::AccessTokens as _;
use wotp_server::people::EddsaTokens;

use super::operations::{Asks, Operation};
use crate::app::{TestApp, TestTenant, seconds};
use crate::client::Request;
use crate::people::{PASSWORD, TestPerson, claims, signing_key};

/// A refusal: status and problem.
pub type Refusal = (u16, &'static str);

/// What an operation refuses a caller with, if it does.
pub type Refuses = Box<dyn Fn(&Operation) -> Option<Refusal> + Send + Sync>;

/// Somebody, as their requests say who they are.
pub struct Caller {
    pub name: String,
    credential: Option<String>,
    tenant: Option<TenantId>,
    /// How an operation refuses them; nothing where it does not.
    refusal: Refuses,
}

impl Caller {
    fn new(
        name: impl Into<String>,
        credential: Option<String>,
        refusal: impl Fn(&Operation) -> Option<Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), credential, tenant: None, refusal: Box::new(refusal) }
    }

    /// A person whose calls name this tenant.
    pub fn person(
        name: impl Into<String>,
        person: &TestPerson,
        tenant: TenantId,
        refusal: impl Fn(&Operation) -> Option<Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self { tenant: Some(tenant), ..Self::new(name, Some(person.access_token.clone()), refusal) }
    }

    pub fn key(
        name: impl Into<String>,
        key: &str,
        refusal: impl Fn(&Operation) -> Option<Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Some(key.to_owned()), refusal)
    }

    pub fn refusal(&self, operation: &Operation) -> Option<Refusal> {
        (self.refusal)(operation)
    }

    /// The request as theirs.
    pub fn sends(&self, mut request: Request) -> Request {
        if let Some(credential) = &self.credential {
            request = request.key(credential);
        }
        match self.tenant {
            Some(tenant) => request.header("wotp-tenant", &tenant.to_string()),
            None => request,
        }
    }
}

/// Refused wherever anybody has to say who they are. Where the body says that, what is refused in it, such as a refresh
/// token that is over or somebody else's, is in `people`.
pub fn everywhere(refusal: Refusal) -> impl Fn(&Operation) -> Option<Refusal> + Send + Sync {
    move |operation| (!matches!(operation.asks, Asks::Nothing | Asks::Body)).then_some(refusal)
}

/// Whoever is signed in and not in the tenant: it is not there for them.
pub fn outsider(operation: &Operation) -> Option<Refusal> {
    match operation.asks {
        Asks::Nothing | Asks::Body | Asks::Person => None,
        Asks::Caller(_) | Asks::Member(_) | Asks::PersonIn(_) => Some((404, "not_found")),
        Asks::Operator => Some((403, "operator_needed")),
    }
}

/// An operator who is not in the tenant, and may not act as it now.
fn operator(operation: &Operation) -> Option<Refusal> {
    outsider(operation).filter(|_| operation.asks != Asks::Operator)
}

/// A member with a role.
fn member(role: Role) -> impl Fn(&Operation) -> Option<Refusal> + Send + Sync {
    move |operation| match operation.asks {
        Asks::Operator => Some((403, "operator_needed")),
        _ => operation.permission().filter(|permission| !role.may(*permission)).map(|_| (403, "role_missing")),
    }
}

/// An operator who acts as a member with a role, but for what is left to members: nobody's member.
pub fn acting(role: Role) -> impl Fn(&Operation) -> Option<Refusal> + Send + Sync {
    move |operation| match operation.asks {
        Asks::PersonIn(_) => Some((404, "not_found")),
        Asks::Operator => None,
        _ if operation.is_for_members() => Some((403, "members_only")),
        _ => operation.permission().filter(|permission| !role.may(*permission)).map(|_| (403, "role_missing")),
    }
}

/// A key that may do everything a key can.
fn key(operation: &Operation) -> Option<Refusal> {
    match operation.asks {
        Asks::Nothing | Asks::Body => None,
        Asks::Caller(permission) if permission.scope().is_some() => None,
        _ => Some((403, "key_not_allowed")),
    }
}

/// A member of a tenant that is served no more: nobody there, and a person as before.
pub fn unserved(role: Role, code: &'static str) -> impl Fn(&Operation) -> Option<Refusal> + Send + Sync {
    move |operation| match operation.asks {
        Asks::Nothing | Asks::Body | Asks::Person => None,
        Asks::Operator => Some((403, "operator_needed")),
        // Its owners have it back, and may delete what is suspended.
        Asks::PersonIn(permission) => (!role.may(permission)).then_some((403, "role_missing")),
        Asks::Member(Permission::TenantDelete) if role == Role::Owner && code == "tenant_suspended" => None,
        Asks::Caller(_) | Asks::Member(_) => Some((403, code)),
    }
}

/// An operator who acts as a tenant that is served no more: what is suspended they look at, as far as the role goes.
pub fn acting_unserved(role: Role, code: &'static str) -> impl Fn(&Operation) -> Option<Refusal> + Send + Sync {
    let looking = acting(role);
    move |operation| match operation.asks {
        Asks::Caller(permission) | Asks::Member(permission) if permission.changes() || code == "tenant_deleted" => {
            Some((403, code))
        }
        _ => looking(operation),
    }
}

/// Who calls with nothing at all.
pub fn nobody() -> Caller {
    Caller::new("nobody", None, |operation| match operation.asks {
        Asks::Nothing | Asks::Body => None,
        Asks::Caller(_) => Some((401, "api_key_missing")),
        _ => Some((401, "token_missing")),
    })
}

/// Whoever calls about a tenant and is refused, as long as the tenant is served.
///
/// Time goes on meanwhile: what is to hold is made afterwards.
pub async fn everybody(app: &TestApp, tenant: &TestTenant) -> Vec<Caller> {
    let expired = app.member(tenant, Role::Owner).await;
    app.clock.advance(seconds(15 * 60));
    let briefly = appoint(app, "briefly@example.com").await;
    act(app, &briefly, tenant, Role::Admin, 1).await;
    let mut all = keys(app, tenant).await;
    app.clock.advance(seconds(61));
    all.push(nobody());
    all.push(Caller::person("whose token has expired", &expired, tenant.id, everywhere((401, "token_expired"))));
    all.extend(forged(app, tenant).await);
    all.extend(outsiders(app, tenant).await);
    all.push(Caller::person("an operator who may act no more", &briefly, tenant.id, operator));
    all.extend(operators(app, tenant).await);
    for role in Role::ALL {
        let who = app.member(tenant, *role).await;
        all.push(Caller::person(format!("a member: {}", role.name()), &who, tenant.id, member(*role)));
    }
    all
}

/// Keys that are refused everywhere, or where a key cannot do it.
async fn keys(app: &TestApp, tenant: &TestTenant) -> Vec<Caller> {
    let mut all = vec![
        Caller::key("a mistyped key", "wk_live_mistyped", everywhere((401, "api_key_malformed"))),
        Caller::key("a key", &app.key(tenant, |_| {}).await, key),
    ];
    let unknown = Secret::draw(Mode::Live, &*app.app.ports().entropy);
    all.push(Caller::key("an unknown key", unknown.reveal(), everywhere((401, "api_key_unknown"))));
    let now = app.app.ports().clock.now();
    let soon = now.saturating_add(seconds(1)).expect("within the calendar");
    let expired = app.key(tenant, |settings| settings.expires_at = Some(soon)).await;
    all.push(Caller::key("an expired key", &expired, everywhere((401, "api_key_expired"))));
    let (by, settings) = (By::command_line(), NewKeySettings::named("revoked", Mode::Live));
    let revoked = app.app.issue_key(&by, tenant.id, settings).await.expect("a new key");
    app.app.revoke_key(&by, tenant.id, revoked.key.id).await.expect("revoked");
    all.push(Caller::key("a revoked key", revoked.secret.reveal(), everywhere((401, "api_key_revoked"))));
    let networks = vec!["203.0.113.0/24".parse().expect("a network")];
    let bound = app.key(tenant, |settings| settings.allowed_ips = networks).await;
    all.push(Caller::key("a key from elsewhere", &bound, everywhere((403, "ip_not_allowed"))));
    for scope in Scope::ALL {
        let lacking = app.key(tenant, |settings| _ = settings.scopes.remove(scope)).await;
        all.push(Caller::key(format!("a key without {}", scope.name()), &lacking, move |operation| {
            match operation.asks {
                Asks::Caller(permission) if permission.scope() == Some(*scope) => Some((403, "scope_missing")),
                // What is for people alone refuses it as it does any key.
                _ => key(operation),
            }
        }));
    }
    all
}

/// Tokens that are none, and of sessions that are over.
async fn forged(app: &TestApp, tenant: &TestTenant) -> Vec<Caller> {
    let owner = app.member(tenant, Role::Owner).await;
    let refused = |name: &str, token: String| {
        let caller = Caller::new(name, Some(token), everywhere((401, "token_refused")));
        Caller { tenant: Some(tenant.id), ..caller }
    };
    let (claims, key, tokens) = (claims(&owner), signing_key(app).await, EddsaTokens::new());
    let another = tokens.sign(&claims, &key.kid, &[7; 32]);
    let seed = key.seed(&app.app.ports().vault).expect("it opens");
    let elsewhere = Claims { iss: "another".to_owned(), ..claims };
    let elsewhere = tokens.sign(&elsewhere, &key.kid, &seed);
    let over = app.logged_in(&owner.email).await;
    app.get("/v1/me").key(&over.access_token).await.expect(200);
    app.post("/api/auth/logout").key(&over.access_token).await.expect(200);
    vec![
        refused("whose token is garbage", "eyJgarbage".to_owned()),
        refused("whose token another key signed", another),
        refused("whose token is of another issuer", elsewhere),
        Caller::person("whose session is over", &over, tenant.id, everywhere((401, "session_ended"))),
    ]
}

/// People who are not in the tenant, or were until a moment ago.
async fn outsiders(app: &TestApp, tenant: &TestTenant) -> Vec<Caller> {
    let owner = app.member(tenant, Role::Owner).await;
    app.account("alone@example.com").await;
    let alone = app.logged_in("alone@example.com").await;
    let elsewhere = app.tenant("Umbrella").await;
    let stranger = app.member(&elsewhere, Role::Owner).await;
    let removed = app.member(tenant, Role::Admin).await;
    app.get("/v1/tenant").by(&removed).await.expect(200);
    let path = format!("/v1/tenant/members/{}", removed.user);
    app.request(Method::DELETE, path).by(&owner).await.done();
    let left = app.member(tenant, Role::Owner).await;
    app.get("/v1/tenant").by(&left).await.expect(200);
    app.post("/v1/tenant/leave").by(&left).await.done();
    let named = |name, person| Caller::person(name, person, tenant.id, outsider);
    vec![
        named("a person without a tenant", &alone),
        Caller { tenant: None, ..named("a person without a tenant, naming none", &alone) },
        named("another tenant's owner", &stranger),
        named("who was removed a moment ago", &removed),
        named("who left a moment ago", &left),
    ]
}

async fn operators(app: &TestApp, tenant: &TestTenant) -> Vec<Caller> {
    let mut all = Vec::new();
    let idle = appoint(app, "idle@example.com").await;
    all.push(Caller::person("an operator", &idle, tenant.id, operator));
    let stopped = appoint(app, "stopped@example.com").await;
    let access = act(app, &stopped, tenant, Role::Admin, 60).await;
    app.get("/v1/tenant").by(&TestPerson { tenant: Some(tenant.id), ..stopped.clone() }).await.expect(200);
    let ended = app.app.stop_acting(&By::command_line(), stopped.user, tenant.id, access).await;
    ended.expect("it has ended");
    all.push(Caller::person("an operator who stopped acting", &stopped, tenant.id, operator));
    let elsewhere = app.tenant("Hooli").await;
    let astray = appoint(app, "astray@example.com").await;
    act(app, &astray, &elsewhere, Role::Admin, 60).await;
    all.push(Caller::person("an operator who acts as another tenant", &astray, tenant.id, operator));
    let dismissed = appoint(app, "dismissed@example.com").await;
    act(app, &dismissed, tenant, Role::Admin, 60).await;
    app.get("/v1/tenant").by(&TestPerson { tenant: Some(tenant.id), ..dismissed.clone() }).await.expect(200);
    app.app.dismiss_operator(&By::command_line(), &dismissed.email).await.expect("dismissed");
    all.push(Caller::person("who was an operator a moment ago", &dismissed, tenant.id, outsider));
    all
}

/// Operators who act as the tenant, and what refuses each by the role: each of their calls is in its audit log, refused
/// or not.
pub async fn acting_operators<R>(app: &TestApp, tenant: &TestTenant, refused: impl Fn(Role) -> R) -> Vec<Caller>
where
    R: Fn(&Operation) -> Option<Refusal> + Send + Sync + 'static,
{
    let mut all = Vec::new();
    for role in [Role::Viewer, Role::Developer, Role::Admin] {
        let who = appoint(app, &format!("acting-{}@example.com", role.name())).await;
        act(app, &who, tenant, role, 60).await;
        all.push(Caller::person(format!("an operator as {}", role.name()), &who, tenant.id, refused(role)));
    }
    all
}

/// Somebody who runs the platform, and is signed in.
pub async fn appoint(app: &TestApp, email: &str) -> TestPerson {
    app.app.appoint_operator(&By::command_line(), email, Some(PASSWORD)).await.expect("a new operator");
    app.logged_in(email).await
}

/// Lets an operator act as a tenant.
pub async fn act(app: &TestApp, operator: &TestPerson, tenant: &TestTenant, role: Role, minutes: u32) -> AccessId {
    let by = By::command_line();
    let access = app.app.act_as_tenant(&by, operator.user, tenant.id, role, "you asked", minutes).await;
    access.expect("an access").id
}
