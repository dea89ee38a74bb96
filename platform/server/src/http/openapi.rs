//! The OpenAPI 3.1 document, from the code. `sdk/openapi.json` is its committed copy.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{Array, ArrayItems, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr, Schema, SecurityRequirement};
use utoipa::{IntoResponses, OpenApi};

use super::problem::{ProblemBody, ProblemCode, ProblemField};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "WOTP",
        description = "Verifies that a person holds a phone number or an email address.\n\nErrors are RFC 9457 problem details with a stable `code`. Timestamps are RFC 3339 in UTC; durations say their unit in the name.",
        license(name = "AGPL-3.0-only", identifier = "AGPL-3.0-only")
    ),
    tags(
        (name = "Verifications", description = "Send a one-time code and check it."),
        (name = "Messages", description = "Direct messages through the same channels."),
        (name = "Services", description = "What your products look like to people: brand, code, channels, texts."),
        (name = "Webhooks", description = "Events of yours, sent to endpoints of yours, signed."),
        (name = "Events", description = "What happened."),
        (name = "Guard", description = "Where your codes may go and how many: rules against pumping, and a watch that acts by itself."),
        (name = "Keys", description = "For people: the API keys of a tenant. A session takes the place of the key; with more than one tenant, `WOTP-Tenant` says which.\n\nA key is shown once, when it is made. A change, a rotation or a revocation holds on all nodes within a second. Nobody gives a key a scope that they do not have themselves. When a key was last used is known to the minute, and a minute later."),
        (name = "Audit log", description = "For admins: who changed what in the tenant, in the order in which it was done. Entries hold no secrets and no addresses of people who are verified. Nobody can change or remove one; `wotp audit verify` finds an entry that was changed in the database."),
        (name = "Tenants", description = "For people: their tenants, teams and invitations. A session takes the place of the key; with more than one tenant, `WOTP-Tenant` says which.\n\nViewers look. Developers also build: services, templates, keys, endpoints. Admins also run the team. Owners also make owners, transfer the ownership and delete the tenant."),
        (name = "Usage", description = "What is allowed and what is used."),
        (name = "Sign-in", description = "Accounts of people, and their sessions.\n\nAn access token is a JWT of 15 minutes that goes into `Authorization: Bearer …` wherever an API key does; `GET /.well-known/jwks.json` has the keys to check it with. With more than one tenant, `WOTP-Tenant: ten_…` names the one that a call is about; `WOTP-Mode: test` makes it a call with test data.\n\nA refresh token lasts 7 days, works once, and is another each time. The one before leads to the same next token for 10 seconds, so that two tabs may refresh at once; later it is taken for a stolen copy, and ends the session. In a browser it travels in a cookie that no script can read; then `X-CSRF-Token` has to carry the session's `csrf_token`.\n\nWrong passwords are counted for the account at one IP address (5, then waits of 30 seconds to an hour) and from everywhere (50). A login with the `device_token` of an earlier one is counted by itself, so nobody can lock out an owner from where they signed in before."),
        (name = "WOTP-compatible", description = "The paths of the WOTP API: a WOTP client works by changing its base URL."),
        (name = "Operators", description = "For the people who run the platform: tenants, work, nodes, announcements, maintenance."),
        (name = "Health", description = "For load balancers and monitors."),
    ),
    components(schemas(ProblemBody, ProblemField, ProblemCode, super::compat::ErrorBody)),
)]
struct Description;

/// The document's head: title, security, tags.
pub(super) fn description() -> Document {
    let mut document = Description::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("wk_live_… or wk_test_…").build();
    components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    components
        .add_security_scheme("api_key_header", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    let session = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("session", SecurityScheme::Http(session));
    let none: [&str; 0] = [];
    document.security =
        Some(vec![SecurityRequirement::new("api_key", none), SecurityRequirement::new("api_key_header", none)]);
    document
}

/// The whole document as JSON, with a line feed at its end.
pub fn openapi_json() -> String {
    let (_, mut document) = super::documented().split_for_parts();
    complete(&mut document);
    let mut json = document.to_pretty_json().expect("the document serialises");
    json.push('\n');
    json
}

/// Says of every operation what the code has in one place for all of them.
fn complete(document: &mut Document) {
    let named = document.components.get_or_insert_default().schemas.clone();
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for schema in schemas.values_mut() {
        refer(schema, &named);
    }
    for (path, item) in &mut document.paths.paths {
        let reading = item.get.iter_mut().map(|operation| (operation, false));
        let changing = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        let changing = changing.into_iter().flatten().map(|operation| (operation, true));
        for (operation, changes) in reading.chain(changing) {
            either_header(operation);
            operation.parameters.iter_mut().flatten().for_each(parameter_without_null);
            // WOTP's own paths document their refusals themselves, in WOTP's shape.
            if !super::compat::speaks_at(path) {
                let store = if changes { StoreProblems::responses() } else { BTreeMap::new() };
                for (status, response) in AnyProblems::responses().into_iter().chain(store) {
                    operation.responses.responses.entry(status).or_insert(response);
                }
            }
        }
    }
}

/// utoipa writes a generic type's argument out; a reader and an SDK want it by its name.
fn refer(schema: &mut RefOr<Schema>, named: &BTreeMap<String, RefOr<Schema>>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for property in object.properties.values_mut() {
        let RefOr::T(Schema::Array(Array { items: ArrayItems::RefOrSchema(items), .. })) = property else { continue };
        let same = |(_, schema): &(&String, &RefOr<Schema>)| {
            matches!(schema, RefOr::T(Schema::Object(_))) && *schema == &**items
        };
        if let Some((name, _)) = named.iter().find(same) {
            **items = RefOr::Ref(Ref::from_schema_name(name));
        }
    }
}

/// A key that is asked for may come in either header, with the same scopes.
fn either_header(operation: &mut Operation) {
    let Some(security) = &mut operation.security else { return };
    let in_x_api_key = security.iter().filter_map(|requirement| {
        let requirement = serde_json::to_value(requirement).expect("a requirement serialises");
        let scopes = requirement.get("api_key")?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
        Some(SecurityRequirement::new("api_key_header", scopes.collect::<Vec<_>>()))
    });
    let in_x_api_key: Vec<_> = in_x_api_key.collect();
    security.extend(in_x_api_key);
}

/// A header or a query cannot say null: what is optional is left out.
fn parameter_without_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(object))), .. }) = parameter
        && let SchemaType::Array(types) = &object.schema_type
        && let [kind, Type::Null] = types.as_slice()
    {
        object.schema_type = SchemaType::Type(kind.clone());
    }
}

/// A body that does not hold.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum BodyProblems {
    /// `malformed_json`
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// `body_too_large`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// `unsupported_media_type`
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(ProblemBody),
    /// `invalid_request`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
}

/// A body that does not hold, of a call that sends something.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum SendProblems {
    /// `malformed_json`
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// `body_too_large`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// `unsupported_media_type`
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(ProblemBody),
    /// `invalid_request`, `unknown_channel`, `no_channel`, `idempotency_key_reused`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
}

/// A query that does not hold.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum QueryProblems {
    /// `invalid_request`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
}

/// A wait that does not hold, or that there is no place for.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum WaitProblems {
    /// `invalid_request`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// `too_many_waiting`, `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// A caller that may not.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum AuthProblems {
    /// `api_key_missing`, `api_key_malformed`, `api_key_unknown`, `api_key_revoked`, `api_key_expired`,
    /// `token_refused`, `token_expired`, `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `ip_not_allowed`, `scope_missing`, `service_not_allowed`, `role_missing`, `tenant_suspended`,
    /// `tenant_deleted`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
}

/// Somebody who is not signed in.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum PersonProblems {
    /// `token_missing`, `token_refused`, `token_expired`, `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `key_not_allowed`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
}

/// Somebody who is no member, or whose role is too low.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum MemberProblems {
    /// `token_missing`, `token_refused`, `token_expired`, `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `key_not_allowed`, `role_missing`, `tenant_suspended`, `tenant_deleted`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// `not_found`: the caller is not in the tenant that `WOTP-Tenant` names
    #[response(status = 404, content_type = "application/problem+json")]
    NoTenant(ProblemBody),
    /// `invalid_request`: the caller is in more than one tenant, and `WOTP-Tenant` names none
    #[response(status = 422, content_type = "application/problem+json")]
    Unnamed(ProblemBody),
}

/// Somebody who is no operator.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum OperatorProblems {
    /// `token_missing`, `token_refused`, `token_expired`, `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `key_not_allowed`, `operator_needed`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
}

/// A key that is over, or that somebody else changed at the same moment.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum KeyConflict {
    /// `api_key_over`, `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    Over(ProblemBody),
}

/// A code that is wrong.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum CodeProblems {
    /// `malformed_json`
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// `body_too_large`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// `unsupported_media_type`
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(ProblemBody),
    /// `invalid_request`, `code_wrong`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
}

/// Codes to one address, or by one client, that are too many.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum CodeLimits {
    /// `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// Codes that are too many, or somebody who has to wait until they may show that it is still they.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum EmailChangeProblems {
    /// `invalid_request`, `code_wrong`, `unknown_channel`, `no_channel`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// `login_delayed`, `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// A password that is wrong.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum LoginProblems {
    /// `credentials_wrong`
    #[response(status = 401, content_type = "application/problem+json")]
    Wrong(ProblemBody),
    /// `login_delayed`, `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Delayed(ProblemBody),
}

/// One client that asks too often.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum RateProblem {
    /// `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// A second factor that does not let anybody in.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum SignInProblems {
    /// `sign_in_over`
    #[response(status = 401, content_type = "application/problem+json")]
    Over(ProblemBody),
    /// `recovery_code_needed`
    #[response(status = 403, content_type = "application/problem+json")]
    RecoveryCode(ProblemBody),
    /// `login_delayed`, `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Delayed(ProblemBody),
}

/// Somebody who does not show that it is still they.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ReproofProblems {
    /// `token_missing`, `token_refused`, `token_expired`, `session_ended`, `credentials_wrong`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `key_not_allowed`, `recovery_code_needed`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// `login_delayed`, `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Delayed(ProblemBody),
}

/// A second factor that is on already, or changed at the same moment.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum SecondFactorConflict {
    /// `second_factor_active`, `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    Active(ProblemBody),
}

/// Somebody whom an identity provider does not make known.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ProviderProblems {
    /// `sign_in_over`, `provider_refused`
    #[response(status = 401, content_type = "application/problem+json")]
    Refused(ProblemBody),
    /// `email_not_verified`
    #[response(status = 403, content_type = "application/problem+json")]
    NotVerified(ProblemBody),
}

/// An identity provider that does not answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ProviderAway {
    /// `provider_unavailable`
    #[response(status = 502, content_type = "application/problem+json")]
    Away(ProblemBody),
}

/// A session that is over, or is somebody else's.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum SessionProblems {
    /// `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Ended(ProblemBody),
    /// `csrf_refused`
    #[response(status = 403, content_type = "application/problem+json")]
    Csrf(ProblemBody),
}

/// A page that is not the session's.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum CsrfProblem {
    /// `csrf_refused`
    #[response(status = 403, content_type = "application/problem+json")]
    Csrf(ProblemBody),
}

/// A value that something else has.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum TakenConflict {
    /// `taken`
    #[response(status = 409, content_type = "application/problem+json")]
    Taken(ProblemBody),
}

/// Something that is not there.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum NotFoundProblem {
    /// `not_found`
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
}

/// Two changes at the same moment.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ConflictProblem {
    /// `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
}

/// A verification that is over.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum EndedConflict {
    /// `verification_ended`
    #[response(status = 409, content_type = "application/problem+json")]
    Ended(ProblemBody),
}

/// A code that cannot be sent again.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ResendConflict {
    /// `verification_ended`, `no_sends_left`, `guard_blocked`
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
}

/// Too much, of verifications.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum StartLimits {
    /// `quota_exceeded`, `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// Too much, of resends.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ResendLimits {
    /// `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// Too much, of messages.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum MessageLimits {
    /// `quota_exceeded`, `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// What any call may meet.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum AnyProblems {
    /// `rate_limited`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
    /// `internal`
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// `unavailable`, `maintenance`
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// What a call that changes something may meet besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum StoreProblems {
    /// `store_full`
    #[response(status = 507, content_type = "application/problem+json")]
    Full(ProblemBody),
}

#[cfg(test)]
mod tests {
    use super::*;
    use wotp_core::domain::api_key::Scope;
    use wotp_core::domain::permission::Permission;

    fn document() -> Value {
        serde_json::from_str(&openapi_json()).unwrap()
    }

    fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| {
                let operations = item.as_object().unwrap().iter();
                operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
            })
            .collect()
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_committed_document_is_the_one_of_this_code() {
        let committed = include_str!("../../../../sdk/openapi.json");
        assert!(
            committed == openapi_json(),
            "sdk/openapi.json is stale; refresh it with `wotp openapi > sdk/openapi.json` and commit it"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let target = document.pointer(reference.strip_prefix('#').unwrap());
            assert!(target.is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_who_may_call_it() {
        let document = document();
        let mut names = Vec::new();
        for (path, method, operation) in operations(&document) {
            names.push(operation["operationId"].as_str().unwrap());
            let security = operation["security"].as_array().unwrap();
            if security[0].get("session").is_some() {
                assert_eq!(security.len(), 1, "{method} {path}");
                // What a member needs besides, by its name in the table.
                for needed in security[0]["session"].as_array().unwrap() {
                    let known = Permission::ALL.iter().any(|permission| permission.name() == needed);
                    assert!(known, "{method} {path}: {needed}");
                }
                assert!(operation["responses"].get("401").is_some(), "{method} {path}");
                continue;
            }
            let public = path.starts_with("/health/")
                || path.starts_with("/v1/auth/")
                || path.starts_with("/api/auth/")
                || ["/v1/limits", "/.well-known/jwks.json", "/v1/invitations/preview"].contains(&path);
            if public {
                assert_eq!(security, &[serde_json::json!({})], "{method} {path}");
                continue;
            }
            assert_eq!(security.len(), 2, "{method} {path}");
            for (requirement, scheme) in security.iter().zip(["api_key", "api_key_header"]) {
                let [scope] = requirement[scheme].as_array().unwrap().as_slice() else { panic!("{method} {path}") };
                assert!(scope.as_str().unwrap().parse::<Scope>().is_ok(), "{method} {path}: {scope}");
            }
            for status in ["401", "403", "429", "500"] {
                assert!(operation["responses"].get(status).is_some(), "{method} {path}: {status}");
            }
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn problems_are_documented_with_the_status_they_have() {
        let document = document();
        let mut documented = Vec::new();
        for (path, method, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap();
                for word in description.split('`') {
                    if let Some(code) = ProblemCode::ALL.iter().find(|code| code.id() == word) {
                        assert_eq!(code.status().as_str(), status, "{method} {path}: {word}");
                        documented.push(*code);
                    }
                }
            }
        }
        // These belong to no operation.
        documented.extend([ProblemCode::RouteNotFound, ProblemCode::MethodNotAllowed, ProblemCode::OperatorNeeded]);
        for code in ProblemCode::ALL {
            assert!(documented.contains(code), "{}", code.id());
        }
    }

    #[test]
    fn the_names_of_problems_are_those_that_replies_carry() {
        let document = document();
        let names: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.id()).collect();
        assert_eq!(document["components"]["schemas"]["ProblemCode"]["enum"], serde_json::json!(names));
    }

    #[test]
    fn no_schema_forbids_what_another_part_of_it_requires() {
        // `additionalProperties: false` inside `allOf` refuses the properties of its siblings.
        let document = document();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(schema.get("allOf").is_none(), "{name}");
        }
    }
}
