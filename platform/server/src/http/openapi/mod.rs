//! The OpenAPI 3.1 document, from the code. `sdk/openapi.json` is its committed copy.

mod problems;

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{Array, ArrayItems, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr, Schema, SecurityRequirement};
use utoipa::{IntoResponses, OpenApi};

pub(super) use self::problems::*;
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
        (name = "Connections", description = "Your own accounts at the channels: messages go out through them."),
        (name = "Webhooks", description = "Events of yours, sent to endpoints of yours, signed."),
        (name = "Events", description = "What happened."),
        (name = "Guard", description = "Where your codes may go and how many: rules against pumping, and a watch that acts by itself."),
        (name = "Keys", description = "For people: the API keys of a tenant. A session takes the place of the key; with more than one tenant, `WOTP-Tenant` says which.\n\nA key is shown once, when it is made. A change, a rotation or a revocation holds on all nodes within a second. Nobody gives a key a scope that they do not have themselves. When a key was last used is known to the minute, and a minute later."),
        (name = "Audit log", description = "For admins: who changed what in the tenant, in the order in which it was done. Entries hold no secrets and no addresses of people who are verified. Nobody can change or remove one; `wotp audit verify` finds an entry that was changed in the database."),
        (name = "Tenants", description = "For people: their tenants, teams and invitations. A session takes the place of the key; with more than one tenant, `WOTP-Tenant` says which.\n\nViewers look. Developers also build: services, templates, keys, endpoints. Admins also run the team. Owners also make owners, transfer the ownership and delete the tenant."),
        (name = "Usage", description = "What is allowed and what is used."),
        (name = "Sign-in", description = "Accounts of people, and their sessions.\n\nAn access token is a JWT of 15 minutes that goes into `Authorization: Bearer …` wherever an API key does; `GET /.well-known/jwks.json` has the keys to check it with. With more than one tenant, `WOTP-Tenant: ten_…` names the one that a call is about; `WOTP-Mode: test` makes it a call with test data.\n\nA refresh token lasts 7 days, works once, and is another each time. The one before leads to the same next token for 10 seconds, so that two tabs may refresh at once; later it is taken for a stolen copy, and ends the session. In a browser it travels in a cookie that no script can read; then `X-CSRF-Token` has to carry the session's `csrf_token`.\n\nWrong passwords are counted for the account at one IP address (5, then waits of 30 seconds to an hour) and from everywhere (50). A login with the `device_token` of an earlier one is counted by itself, so nobody can lock out an owner from where they signed in before."),
        (name = "WOTP-compatible", description = "The paths of the WOTP API: a WOTP client works by changing its base URL."),
        (name = "Operators", description = "For the people who run the platform: tenants, plugins, work, nodes, announcements, maintenance."),
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
    let mut document = super::documented();
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
            body_without_null(operation);
            operation.parameters.iter_mut().flatten().for_each(parameter_without_null);
            // WOTP's own paths document their refusals themselves, in WOTP's shape.
            if !super::compat::speaks_at(path) {
                let store = if changes { StoreProblems::responses() } else { BTreeMap::new() };
                let members = if takes_a_key(operation) { TenantProblems::responses() } else { BTreeMap::new() };
                for (status, response) in AnyProblems::responses().into_iter().chain(store).chain(members) {
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

/// Whether programs may call it: then members may too, and say for which tenant.
fn takes_a_key(operation: &Operation) -> bool {
    let security = serde_json::to_value(&operation.security).expect("requirements serialise");
    security.as_array().is_some_and(|all| all.iter().any(|requirement| requirement.get("api_key").is_some()))
}

/// A body that may be left out is left out; it is not null.
fn body_without_null(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(choice))) = &content.schema
            && let [named @ RefOr::Ref(_), RefOr::T(Schema::Object(_))] = choice.items.as_slice()
        {
            content.schema = Some(named.clone());
        }
    }
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

#[cfg(test)]
mod tests;
