//! The one table: every operation of the document, whom it is for, and what it names.

use serde_json::{Value, json};
use wotp_core::domain::permission::Permission::{self, *};

use super::things::{Names, Thing};
use crate::people::PASSWORD;

/// Whom an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Everybody.
    Nothing,
    /// Everybody: who it is says what is in the body.
    Body,
    /// Members of a tenant who have the permission, and keys that have its scope if there is one.
    Caller(Permission),
    /// Members of a tenant who have the permission; no key.
    Member(Permission),
    /// Whoever is signed in, whatever their tenants; no key.
    Person,
    /// Members of the tenant that the path names who have the permission, whatever stands of that tenant; no key.
    PersonIn(Permission),
    /// Whoever runs the platform; no key.
    Operator,
}

/// What comes of naming a thing that is another tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A refusal: this status and problem.
    Refused(u16, &'static str),
    /// A success that says nothing of it, and does nothing to it.
    Nothing,
}

/// One operation of the document.
pub struct Operation {
    pub method: &'static str,
    /// As the document writes it.
    pub path: &'static str,
    pub asks: Asks,
    /// What the parameters of the path name, in their order.
    ids: &'static [Thing],
    /// What the query names.
    filters: &'static [(&'static str, Thing)],
    /// What `Last-Event-ID` names.
    pub header: Option<(&'static str, Thing)>,
    query: &'static str,
    body: fn(&mut Names<'_>) -> Value,
    pub foreign: Foreign,
    /// What it answers whom it is for, where that is no success.
    pub instead: Option<(u16, &'static str)>,
}

const fn op(method: &'static str, path: &'static str, asks: Asks) -> Operation {
    Operation {
        method,
        path,
        asks,
        ids: &[],
        filters: &[],
        header: None,
        query: "",
        body: |_| Value::Null,
        foreign: Foreign::Refused(404, "not_found"),
        instead: None,
    }
}

impl Operation {
    const fn of(self, ids: &'static [Thing]) -> Self {
        Self { ids, ..self }
    }

    const fn filtered(self, filters: &'static [(&'static str, Thing)]) -> Self {
        Self { filters, ..self }
    }

    const fn after(self, header: &'static str, thing: Thing) -> Self {
        Self { header: Some((header, thing)), ..self }
    }

    const fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    const fn with(self, body: fn(&mut Names<'_>) -> Value) -> Self {
        Self { body, ..self }
    }

    /// Naming what is another's succeeds, and shows and does nothing.
    const fn finds_nothing(self) -> Self {
        Self { foreign: Foreign::Nothing, ..self }
    }

    const fn refuses_others(self, status: u16, code: &'static str) -> Self {
        Self { foreign: Foreign::Refused(status, code), ..self }
    }

    const fn answers(self, status: u16, code: &'static str) -> Self {
        Self { instead: Some((status, code)), ..self }
    }

    /// Its path with these names, its query and its body.
    pub fn write(&self, names: &mut Names<'_>) -> Written {
        let mut path = String::new();
        let mut rest = self.path;
        let mut ids = self.ids.iter();
        while let Some((before, parameter)) = rest.split_once('{') {
            let (_, after) = parameter.split_once('}').expect("a parameter ends");
            let thing = ids.next().unwrap_or_else(|| panic!("{self}: say what its path names"));
            path += before;
            path += &names.name(*thing);
            rest = after;
        }
        assert!(ids.next().is_none(), "{self}: its path names less");
        path += rest;
        let mut query: Vec<String> = self.query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        query.extend(
            self.filters.iter().map(|(name, thing)| format!("{name}={}", names.name(*thing).replace('+', "%2B"))),
        );
        if !query.is_empty() {
            path += "?";
            path += &query.join("&");
        }
        let header = self.header.map(|(name, thing)| (name, names.name(thing)));
        Written { path, header, body: (self.body)(names) }
    }

    /// What it names.
    pub fn things(&self) -> Vec<Thing> {
        let mut names = Names::unknown();
        self.write(&mut names);
        names.asked()
    }

    /// Whether it names a thing within another.
    pub fn is_nested(&self) -> bool {
        self.ids.len() > 1
    }

    /// Whether no operator who acts for the tenant can call it, whatever the role.
    pub fn is_for_members(&self) -> bool {
        // Whoever may look may leave, and an operator is not in the tenant.
        self.path == "/v1/tenant/leave" || self.permission().is_some_and(Permission::is_for_members)
    }

    /// The permission that it asks for.
    pub fn permission(&self) -> Option<Permission> {
        match self.asks {
            Asks::Caller(permission) | Asks::Member(permission) | Asks::PersonIn(permission) => Some(permission),
            Asks::Nothing | Asks::Body | Asks::Person | Asks::Operator => None,
        }
    }

    /// The fields and parameters by which it names things besides its path.
    pub fn filters(&self) -> impl Iterator<Item = &'static str> {
        self.filters.iter().map(|(name, _)| *name).chain(self.header.map(|(name, _)| name))
    }

    /// Whether its errors have WOTP's shape.
    pub fn speaks_wotp(&self) -> bool {
        self.path.starts_with("/api/")
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.to_uppercase(), self.path)
    }
}

/// A request as far as the operation says what is in it.
pub struct Written {
    pub path: String,
    pub header: Option<(&'static str, String)>,
    pub body: Value,
}

const LISTED: &[(&str, Thing)] = &[("service", Thing::Service), ("address", Thing::Address)];
const AUDITED: &[(&str, Thing)] = &[("actor", Thing::Member), ("target", Thing::Key)];
const AUDITED_ANYWHERE: &[(&str, Thing)] =
    &[("tenant", Thing::Tenant), ("actor", Thing::Member), ("target", Thing::Key)];

/// Every operation. One that the document has and this table has not fails the walk, and so does the reverse.
pub const OPERATIONS: &[Operation] = &[
    op("post", "/v1/verifications", Asks::Caller(VerificationsWrite))
        .with(|own| json!({ "to": "+447700900101", "service": own.name(Thing::Service) })),
    op("get", "/v1/verifications", Asks::Caller(VerificationsRead)).filtered(LISTED).finds_nothing(),
    op("post", "/v1/verifications/check", Asks::Caller(VerificationsWrite))
        .with(|own| json!({ "to": own.name(Thing::Address), "code": own.code(), "service": own.name(Thing::Service) })),
    op("get", "/v1/verifications/{id}", Asks::Caller(VerificationsRead)).of(&[Thing::Verification]),
    op("post", "/v1/verifications/{id}/check", Asks::Caller(VerificationsWrite))
        .of(&[Thing::Verification])
        .with(|own| json!({ "code": own.code() })),
    op("post", "/v1/verifications/{id}/resend", Asks::Caller(VerificationsWrite)).of(&[Thing::Verification]),
    op("post", "/v1/verifications/{id}/cancel", Asks::Caller(VerificationsWrite)).of(&[Thing::Verification]),
    op("post", "/v1/verifications/{id}/simulate-message", Asks::Caller(VerificationsWrite))
        .of(&[Thing::Verification])
        .with(|_| json!({ "from": "+447700900101" }))
        // It is one with a code.
        .answers(422, "invalid_request"),
    op("post", "/v1/messages", Asks::Caller(MessagesWrite))
        .with(|own| json!({ "to": "+447700900101", "content": "Hello", "service": own.name(Thing::Service) })),
    op("get", "/v1/messages", Asks::Caller(MessagesRead)).filtered(LISTED).finds_nothing(),
    op("get", "/v1/messages/{id}", Asks::Caller(MessagesRead)).of(&[Thing::Message]),
    op("get", "/v1/services", Asks::Caller(ServicesRead)),
    op("post", "/v1/services", Asks::Caller(ServicesWrite)).with(|_| json!({ "name": "Another" })),
    op("get", "/v1/services/{id}", Asks::Caller(ServicesRead)).of(&[Thing::Service]),
    op("patch", "/v1/services/{id}", Asks::Caller(ServicesWrite))
        .of(&[Thing::Service])
        .with(|_| json!({ "brand": "Taken over" })),
    op("get", "/v1/services/{id}/templates", Asks::Caller(ServicesRead)).of(&[Thing::Service]),
    op("post", "/v1/services/{id}/templates", Asks::Caller(ServicesWrite))
        .of(&[Thing::Service])
        .with(|_| json!({ "locale": "en", "text": "Taken over {{code}}" })),
    op("delete", "/v1/services/{id}/templates", Asks::Caller(ServicesWrite)).of(&[Thing::Template]).query("locale=en"),
    op("post", "/v1/services/{id}/templates/preview", Asks::Caller(ServicesRead))
        .of(&[Thing::Service])
        .with(|_| json!({ "locale": "en" })),
    op("get", "/v1/webhooks/endpoints", Asks::Caller(WebhooksRead)),
    op("post", "/v1/webhooks/endpoints", Asks::Caller(WebhooksWrite))
        .with(|own| json!({ "url": "https://example.com/another", "service": own.name(Thing::Service) })),
    op("get", "/v1/webhooks/endpoints/{id}", Asks::Caller(WebhooksRead)).of(&[Thing::Endpoint]),
    op("patch", "/v1/webhooks/endpoints/{id}", Asks::Caller(WebhooksWrite))
        .of(&[Thing::Endpoint])
        .with(|own| json!({ "description": "Taken over", "service": own.name(Thing::Service) })),
    op("delete", "/v1/webhooks/endpoints/{id}", Asks::Caller(WebhooksWrite)).of(&[Thing::Endpoint]),
    op("post", "/v1/webhooks/endpoints/{id}/rotate", Asks::Caller(WebhooksWrite)).of(&[Thing::Endpoint]),
    op("get", "/v1/webhooks/endpoints/{id}/attempts", Asks::Caller(WebhooksRead)).of(&[Thing::Endpoint]),
    op("post", "/v1/webhooks/endpoints/{id}/test", Asks::Caller(WebhooksWrite)).of(&[Thing::Endpoint]),
    op("post", "/v1/webhooks/endpoints/{id}/replay", Asks::Caller(WebhooksWrite))
        .of(&[Thing::Endpoint])
        .with(|own| json!({ "event": own.name(Thing::Event) })),
    op("delete", "/v1/webhooks/endpoints/{id}/replay", Asks::Caller(WebhooksWrite)).of(&[Thing::Endpoint]),
    op("get", "/v1/channels", Asks::Caller(ConnectionsRead)),
    op("get", "/v1/connections", Asks::Caller(ConnectionsRead)),
    op("post", "/v1/connections", Asks::Caller(ConnectionsWrite))
        .with(|_| json!({ "channel": "sms" }))
        .answers(422, "invalid_request"),
    op("get", "/v1/connections/{id}", Asks::Caller(ConnectionsRead)).of(&[Thing::Connection]),
    op("patch", "/v1/connections/{id}", Asks::Caller(ConnectionsWrite))
        .of(&[Thing::Connection])
        .with(|_| json!({ "name": "Taken over" })),
    op("delete", "/v1/connections/{id}", Asks::Caller(ConnectionsWrite)).of(&[Thing::Connection]),
    op("post", "/v1/connections/{id}/check", Asks::Caller(ConnectionsWrite)).of(&[Thing::Connection]),
    op("get", "/v1/connections/{id}/stream", Asks::Caller(ConnectionsRead)).of(&[Thing::LiveConnection]),
    op("post", "/v1/connections/{id}/connect", Asks::Caller(ConnectionsWrite))
        .of(&[Thing::LiveConnection])
        .with(|_| json!({ "accept_risk": true })),
    op("post", "/v1/connections/{id}/disconnect", Asks::Caller(ConnectionsWrite)).of(&[Thing::LiveConnection]),
    op("get", "/v1/events", Asks::Caller(EventsRead)),
    op("get", "/v1/events/stream", Asks::Caller(EventsRead))
        .filtered(&[("service", Thing::Service)])
        .after("Last-Event-ID", Thing::Event)
        .finds_nothing(),
    op("get", "/v1/events/{id}", Asks::Caller(EventsRead)).of(&[Thing::Event]),
    op("get", "/v1/services/{id}/guard", Asks::Caller(GuardRead)).of(&[Thing::Service]),
    op("put", "/v1/services/{id}/guard", Asks::Caller(GuardWrite))
        .of(&[Thing::Service])
        .with(|_| json!({ "mode": "shadow" })),
    op("get", "/v1/services/{id}/guard/entries", Asks::Caller(GuardRead)).of(&[Thing::Service]),
    op("post", "/v1/services/{id}/guard/entries", Asks::Caller(GuardWrite))
        .of(&[Thing::Service])
        .with(|_| json!({ "effect": "block", "prefix": "+99" })),
    op("delete", "/v1/services/{id}/guard/entries/{entry}", Asks::Caller(GuardWrite))
        .of(&[Thing::Service, Thing::GuardEntry]),
    op("get", "/v1/services/{id}/guard/destinations", Asks::Caller(GuardRead)).of(&[Thing::Service]),
    op("post", "/v1/services/{id}/guard/destinations/{destination}/release", Asks::Caller(GuardWrite))
        .of(&[Thing::Service, Thing::Destination]),
    op("get", "/v1/usage", Asks::Caller(UsageRead)),
    op("get", "/v1/analytics", Asks::Caller(AnalyticsRead)).filtered(&[("service", Thing::Service)]).finds_nothing(),
    op("get", "/v1/keys", Asks::Member(KeysRead)),
    op("post", "/v1/keys", Asks::Member(KeysWrite))
        .with(|own| json!({ "name": "another", "service": own.name(Thing::Service) })),
    op("get", "/v1/keys/{id}", Asks::Member(KeysRead)).of(&[Thing::Key]),
    op("patch", "/v1/keys/{id}", Asks::Member(KeysWrite))
        .of(&[Thing::Key])
        .with(|own| json!({ "name": "taken over", "service": own.name(Thing::Service) })),
    op("delete", "/v1/keys/{id}", Asks::Member(KeysWrite)).of(&[Thing::Key]),
    op("post", "/v1/keys/{id}/rotate", Asks::Member(KeysWrite)).of(&[Thing::Key]).with(|_| json!({})),
    op("get", "/v1/audit", Asks::Member(AuditRead)).filtered(AUDITED).finds_nothing(),
    op("get", "/v1/audit/export", Asks::Member(AuditRead)).filtered(AUDITED).finds_nothing(),
    op("get", "/v1/tenant", Asks::Member(TenantRead)),
    op("patch", "/v1/tenant", Asks::Member(TenantWrite)).with(|_| json!({ "name": "Taken over" })),
    op("delete", "/v1/tenant", Asks::Member(TenantDelete)),
    op("post", "/v1/tenant/leave", Asks::Member(TenantRead)),
    op("post", "/v1/tenant/transfer", Asks::Member(OwnershipTransfer))
        .with(|own| json!({ "user": own.name(Thing::Member) })),
    op("get", "/v1/tenant/members", Asks::Member(MembersRead)),
    op("patch", "/v1/tenant/members/{user}", Asks::Member(MembersWrite))
        .of(&[Thing::Member])
        .with(|_| json!({ "role": "developer" })),
    op("delete", "/v1/tenant/members/{user}", Asks::Member(MembersWrite)).of(&[Thing::Member]),
    op("get", "/v1/tenant/invitations", Asks::Member(MembersRead)),
    op("post", "/v1/tenant/invitations", Asks::Member(MembersWrite))
        .with(|_| json!({ "email": "another@example.com", "role": "viewer" })),
    op("post", "/v1/tenant/invitations/{id}/resend", Asks::Member(MembersWrite)).of(&[Thing::Invitation]),
    op("delete", "/v1/tenant/invitations/{id}", Asks::Member(MembersWrite)).of(&[Thing::Invitation]),
    op("get", "/v1/tenant/operator-accesses", Asks::Member(TenantRead)),
    op("get", "/v1/tenants", Asks::Person),
    op("post", "/v1/tenants", Asks::Person).with(|_| json!({ "name": "Another" })),
    op("post", "/v1/tenants/{id}/restore", Asks::PersonIn(TenantDelete)).of(&[Thing::Tenant]),
    // For whoever deleted it, and nobody did.
    op("get", "/v1/tenants/{id}/erasure", Asks::Person).of(&[Thing::Tenant]).answers(404, "not_found"),
    // Whoever holds the token of somebody else's invitation is told that it is for another address.
    op("post", "/v1/invitations/accept", Asks::Person)
        .with(|own| json!({ "token": own.name(Thing::InvitationToken) }))
        .refuses_others(403, "other_email")
        .answers(403, "other_email"),
    op("post", "/v1/invitations/preview", Asks::Body),
    op("get", "/v1/announcements", Asks::Person),
    op("get", "/v1/me", Asks::Person),
    op("patch", "/v1/me", Asks::Person).with(|_| json!({ "name": "Ada" })),
    op("post", "/v1/me/email", Asks::Person)
        .with(|_| json!({ "email": "another-address@example.com", "password": PASSWORD })),
    // Only what went out for a change of one's own address proves it.
    op("post", "/v1/me/email/confirm", Asks::Person)
        .with(|own| json!({ "verification": own.name(Thing::Verification), "code": own.code() }))
        .refuses_others(422, "code_wrong")
        .answers(422, "code_wrong"),
    op("post", "/v1/me/erase", Asks::Person).with(|_| json!({ "password": PASSWORD })),
    op("post", "/v1/me/password", Asks::Person)
        .with(|_| json!({ "current_password": PASSWORD, "new_password": "quite another sentence" })),
    op("get", "/v1/me/second-factor", Asks::Person),
    // Whoever has a password is asked for that alone.
    op("post", "/v1/me/second-factor", Asks::Person)
        .with(|own| json!({ "password": PASSWORD, "verification": own.name(Thing::Verification), "code": own.code() }))
        .finds_nothing(),
    op("post", "/v1/me/second-factor/code", Asks::Person),
    op("post", "/v1/me/second-factor/confirm", Asks::Person)
        .with(|_| json!({ "code": "000000" }))
        .answers(404, "not_found"),
    op("post", "/v1/me/second-factor/recovery-codes", Asks::Person)
        .with(|_| json!({ "password": PASSWORD }))
        .answers(404, "not_found"),
    op("post", "/v1/me/second-factor/disable", Asks::Person)
        .with(|_| json!({ "password": PASSWORD }))
        .answers(404, "not_found"),
    op("get", "/v1/me/identities", Asks::Person),
    op("delete", "/v1/me/identities/{id}", Asks::Person).of(&[Thing::Identity]),
    op("get", "/v1/me/sessions", Asks::Person),
    op("delete", "/v1/me/sessions", Asks::Person),
    op("delete", "/v1/me/sessions/{id}", Asks::Person).of(&[Thing::Session]),
    op("post", "/api/otp/send", Asks::Caller(VerificationsWrite)).with(|_| json!({ "phone": "+447700900102" })),
    op("post", "/api/otp/verify", Asks::Caller(VerificationsWrite))
        .with(|own| json!({ "phone": own.name(Thing::Address), "otp": own.code() }))
        .finds_nothing(),
    op("post", "/api/message/send", Asks::Caller(MessagesWrite))
        .with(|_| json!({ "phone": "+447700900102", "content": "Hello" })),
    op("post", "/api/whatsapp/connect", Asks::Caller(ConnectionsWrite))
        .with(|own| json!({ "sessionId": own.name(Thing::LiveConnection), "acceptRisk": true })),
    op("get", "/api/whatsapp/status", Asks::Caller(ConnectionsRead)).filtered(&[("sessionId", Thing::LiveConnection)]),
    op("post", "/api/whatsapp/disconnect", Asks::Caller(ConnectionsWrite))
        .with(|own| json!({ "sessionId": own.name(Thing::LiveConnection) })),
    op("get", "/api/message/logs", Asks::Caller(MessagesRead)).filtered(LISTED).finds_nothing(),
    op("get", "/api/user/usage", Asks::Caller(UsageRead)),
    op("get", "/api/user/logs", Asks::Caller(VerificationsRead)).filtered(LISTED).finds_nothing(),
    op("get", "/api/user/me", Asks::Member(UsageRead)),
    op("post", "/api/apikey/create", Asks::Caller(KeysWrite)).with(|_| json!({ "name": "another" })),
    op("get", "/api/apikey/list", Asks::Caller(KeysRead)),
    op("delete", "/api/apikey/{id}", Asks::Caller(KeysWrite)).of(&[Thing::Key]),
    op("get", "/api/user/stats", Asks::Member(AnalyticsRead)),
    op("post", "/api/auth/google", Asks::Body),
    op("post", "/api/auth/refresh", Asks::Body),
    op("post", "/api/auth/logout", Asks::Person),
    op("post", "/v1/auth/sign-up", Asks::Body),
    op("post", "/v1/auth/confirm-email", Asks::Body),
    op("post", "/v1/auth/login", Asks::Body),
    op("post", "/v1/auth/second-factor", Asks::Body),
    op("get", "/v1/auth/oidc", Asks::Nothing),
    op("post", "/v1/auth/oidc/{name}/start", Asks::Body).of(&[Thing::Provider]),
    op("post", "/v1/auth/oidc/complete", Asks::Body),
    op("post", "/v1/auth/refresh", Asks::Body),
    op("post", "/v1/auth/logout", Asks::Body),
    op("post", "/v1/auth/password-reset", Asks::Body),
    op("post", "/v1/auth/password-reset/confirm", Asks::Body),
    op("get", "/.well-known/jwks.json", Asks::Nothing),
    op("get", "/v1/limits", Asks::Nothing),
    op("get", "/health/live", Asks::Nothing),
    op("get", "/health/ready", Asks::Nothing),
    op("get", "/operator/v1/tenants", Asks::Operator),
    op("get", "/operator/v1/tenants/{id}", Asks::Operator).of(&[Thing::Tenant]),
    op("patch", "/operator/v1/tenants/{id}", Asks::Operator).of(&[Thing::Tenant]).with(|_| json!({ "plan": "pro" })),
    op("post", "/operator/v1/tenants/{id}/suspend", Asks::Operator)
        .of(&[Thing::Tenant])
        .with(|_| json!({ "reason": "unpaid" })),
    op("post", "/operator/v1/tenants/{id}/resume", Asks::Operator).of(&[Thing::Tenant]),
    op("post", "/operator/v1/tenants/{id}/accesses", Asks::Operator)
        .of(&[Thing::Tenant])
        .with(|_| json!({ "reason": "you asked", "minutes": 5 })),
    op("delete", "/operator/v1/tenants/{id}/accesses/{access}", Asks::Operator).of(&[Thing::Tenant, Thing::Access]),
    op("post", "/operator/v1/tenants/{id}/work/{item}/retry", Asks::Operator).of(&[Thing::Tenant, Thing::Verification]),
    op("post", "/operator/v1/tenants/{id}/work/{item}/discard", Asks::Operator)
        .of(&[Thing::Tenant, Thing::Verification]),
    op("get", "/operator/v1/audit", Asks::Operator).filtered(AUDITED_ANYWHERE),
    op("get", "/operator/v1/audit/export", Asks::Operator).filtered(AUDITED_ANYWHERE),
    op("get", "/operator/v1/erasures", Asks::Operator),
    op("get", "/operator/v1/work", Asks::Operator),
    op("get", "/operator/v1/nodes", Asks::Operator),
    op("get", "/operator/v1/plugins", Asks::Operator),
    op("post", "/operator/v1/plugins", Asks::Operator)
        .with(|_| json!({ "component": "", "unsigned": true }))
        .answers(422, "invalid_request"),
    op("get", "/operator/v1/plugins/{id}", Asks::Operator).of(&[Thing::Plugin]).answers(404, "not_found"),
    op("patch", "/operator/v1/plugins/{id}", Asks::Operator)
        .of(&[Thing::Plugin])
        .with(|_| json!({}))
        .answers(404, "not_found"),
    op("delete", "/operator/v1/plugins/{id}", Asks::Operator).of(&[Thing::Plugin]).answers(404, "not_found"),
    op("get", "/operator/v1/plugins/{id}/config-schema", Asks::Operator).of(&[Thing::Plugin]).answers(404, "not_found"),
    op("post", "/operator/v1/plugins/{id}/approve", Asks::Operator)
        .of(&[Thing::Plugin])
        .with(|_| json!({}))
        .answers(404, "not_found"),
    op("post", "/operator/v1/plugins/{id}/roll-back", Asks::Operator).of(&[Thing::Plugin]).answers(404, "not_found"),
    op("post", "/operator/v1/plugins/{id}/enable", Asks::Operator)
        .of(&[Thing::Plugin])
        .with(|_| json!({}))
        .answers(404, "not_found"),
    op("post", "/operator/v1/plugins/{id}/disable", Asks::Operator).of(&[Thing::Plugin]).answers(404, "not_found"),
    op("get", "/operator/v1/announcements", Asks::Operator),
    op("post", "/operator/v1/announcements", Asks::Operator).with(|_| json!({ "title": "Soon", "level": "info" })),
    op("delete", "/operator/v1/announcements/{id}", Asks::Operator).of(&[Thing::Announcement]),
    op("get", "/operator/v1/maintenance", Asks::Operator),
    op("put", "/operator/v1/maintenance", Asks::Operator)
        .with(|_| json!({ "message": "a larger database", "minutes": 5 })),
    op("delete", "/operator/v1/maintenance", Asks::Operator),
];

/// The same operations on what else they take in the same place.
const ALSO: &[Operation] = &[
    // One that rests sends nothing.
    op("post", "/v1/messages", Asks::Caller(MessagesWrite))
        .with(|own| json!({ "to": "+447700900101", "content": "Hello", "connection": own.name(Thing::LiveConnection) }))
        .answers(422, "not_connected"),
    op("post", "/api/message/send", Asks::Caller(MessagesWrite))
        .with(
            |own| json!({ "phone": "+447700900102", "content": "Hello", "sessionId": own.name(Thing::LiveConnection) }),
        )
        .answers(422, "not_connected"),
    // What has gone out is tried no more.
    op("post", "/operator/v1/tenants/{id}/work/{item}/retry", Asks::Operator)
        .of(&[Thing::Tenant, Thing::Message])
        .answers(409, "work_ended"),
    op("post", "/operator/v1/tenants/{id}/work/{item}/discard", Asks::Operator).of(&[Thing::Tenant, Thing::Message]),
];

/// Every call that is walked: each operation, on each kind of thing that it takes.
pub fn calls() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(ALSO)
}
