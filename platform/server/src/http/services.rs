//! `/v1/services`: what a tenant's products look like to people.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wotp_core::app::ServiceChange;
use wotp_core::domain::service::{Service, Settings};

use super::auth::{Caller, ServicesRead, ServicesWrite};
use super::body::{Body, object_or_null};
use super::path::InPath;
use super::query::NoParams;
use super::verifications::{CodeKindName, location, path_id, refused};
use super::{Api, Problem};

/// What a service's codes are like.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CodeChange)]
struct CodeBody {
    /// What codes are made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<CodeKindName>,
    /// Characters. Below 6 is below NIST SP 800-63B-4, and marked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 4, maximum = 12)]
    length: Option<u8>,
    /// Life in seconds. Over 600 needs `long_expiry_allowed`, is below NIST and ASVS, and marked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 30, maximum = 3600)]
    expires_in_seconds: Option<u32>,
    /// Guesses allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10)]
    checks: Option<u8>,
    /// Whether a call may bring its own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_allowed: Option<bool>,
    /// Whether a code may live for up to an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    long_expiry_allowed: Option<bool>,
}

/// How often one address may be written to.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddressLimitsChange)]
struct AddressLimitsBody {
    /// Sends within 10 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 20)]
    sends_per_10_minutes: Option<u32>,
    /// Sends within 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    sends_per_day: Option<u32>,
    /// Pauses after the first, second, third … send; the last one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 10)]
    cool_down_seconds: Option<Vec<u32>>,
}

/// How long things are kept after a verification or message has ended.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RetentionChange)]
struct RetentionBody {
    /// Days until addresses, metadata and contents are erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    addresses_days: Option<u32>,
    /// Days until the rest is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    records_days: Option<u32>,
}

/// A service to create, or what to change of one: what is left out stays, or is the default.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceChange)]
pub(super) struct ServiceBody {
    /// What you call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Web shop", min_length = 1, max_length = 100)]
    name: Option<String>,
    /// What people read as the sender; the name when left out at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Acme", min_length = 1, max_length = 40)]
    brand: Option<String>,
    /// The language when neither the call nor the number says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "en")]
    locale: Option<String>,
    /// Channels in order; empty means all that are there. One that is not there is passed over until it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["email", "console"]), max_items = 10)]
    channels: Option<Vec<String>>,
    /// How long to wait for a channel's acknowledgement before the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 3, maximum = 60)]
    failover_after_seconds: Option<u32>,
    /// What codes are like.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object_or_null")]
    code: Option<CodeBody>,
    /// How often one address may be written to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object_or_null")]
    address_limits: Option<AddressLimitsBody>,
    /// How long things are kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object_or_null")]
    retention: Option<RetentionBody>,
    /// Host for the last line of WebOTP; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    #[schema(value_type = Option<String>, example = "example.com")]
    web_origin: Option<Option<String>>,
    /// Your Android app's 11-character hash for the SMS Retriever; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    #[schema(value_type = Option<String>, example = "FA+9qCX9VSu")]
    sms_retriever_hash: Option<Option<String>>,
    /// Whether templates may hold links.
    #[serde(skip_serializing_if = "Option::is_none")]
    links_allowed: Option<bool>,
    /// Whether people who write to your number to confirm themselves are told what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound_replies: Option<bool>,
}

/// Tells a field that is null from one that is left out.
mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Option<String>>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

/// What a service's codes are like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CodeSettings)]
struct CodeView {
    /// What codes are made of.
    kind: CodeKindName,
    /// Characters.
    #[schema(example = 6)]
    length: u8,
    /// Life in seconds.
    #[schema(example = 300)]
    expires_in_seconds: u32,
    /// Guesses allowed.
    #[schema(example = 5)]
    checks: u8,
    /// Whether a call may bring its own code.
    custom_allowed: bool,
    /// Whether a code may live for up to an hour.
    long_expiry_allowed: bool,
}

/// How often one address may be written to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AddressLimits)]
struct AddressLimitsView {
    /// Sends within 10 minutes.
    #[schema(example = 5)]
    sends_per_10_minutes: u32,
    /// Sends within 24 hours.
    #[schema(example = 10)]
    sends_per_day: u32,
    /// Pauses after the first, second, third … send; the last one repeats.
    #[schema(example = json!([30, 60, 120]))]
    cool_down_seconds: Vec<u32>,
}

/// How long things are kept after a verification or message has ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Retention)]
struct RetentionView {
    /// Days until addresses, metadata and contents are erased.
    #[schema(example = 30)]
    addresses_days: u32,
    /// Days until the rest is deleted.
    #[schema(example = 90)]
    records_days: u32,
}

/// One product of a tenant that verifies people.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(super) struct ServiceView {
    /// Its id.
    #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What you call it.
    #[schema(example = "Web shop")]
    name: String,
    /// What people read as the sender.
    #[schema(example = "Acme")]
    brand: String,
    /// The language when neither the call nor the number says one.
    #[schema(example = "en")]
    locale: String,
    /// Channels in order; empty means all that are there.
    #[schema(example = json!(["email", "console"]))]
    channels: Vec<String>,
    /// How long to wait for a channel's acknowledgement before the next.
    #[schema(example = 8)]
    failover_after_seconds: u32,
    /// What codes are like.
    code: CodeView,
    /// How often one address may be written to.
    address_limits: AddressLimitsView,
    /// How long things are kept.
    retention: RetentionView,
    /// Host for the last line of WebOTP.
    #[schema(required, example = "example.com")]
    web_origin: Option<String>,
    /// Your Android app's hash for the SMS Retriever.
    #[schema(required)]
    sms_retriever_hash: Option<String>,
    /// Whether templates may hold links.
    links_allowed: bool,
    /// Whether people who write to your number to confirm themselves are told what came of it.
    #[schema(example = true)]
    inbound_replies: bool,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

fn view(service: Service) -> ServiceView {
    let Settings {
        brand,
        locale,
        channels,
        failover_after_seconds,
        code,
        address_limits,
        retention,
        web_origin,
        sms_retriever_hash,
        links_allowed,
        inbound_replies,
    } = service.settings;
    ServiceView {
        id: service.id.to_string(),
        name: service.name,
        brand,
        locale: locale.to_string(),
        channels,
        failover_after_seconds,
        code: CodeView {
            kind: code.kind.into(),
            length: code.length,
            expires_in_seconds: code.expires_in_seconds,
            checks: code.checks,
            custom_allowed: code.custom_allowed,
            long_expiry_allowed: code.long_expiry_allowed,
        },
        address_limits: AddressLimitsView {
            sends_per_10_minutes: address_limits.sends_per_10_minutes,
            sends_per_day: address_limits.sends_per_day,
            cool_down_seconds: address_limits.cool_down_seconds,
        },
        retention: RetentionView { addresses_days: retention.addresses_days, records_days: retention.records_days },
        web_origin,
        sms_retriever_hash,
        links_allowed,
        inbound_replies,
        created_at: service.created_at,
        updated_at: service.updated_at,
    }
}

impl ServiceBody {
    /// `settings` with what this body says put over it (RFC 7396, JSON merge patch).
    fn over(&self, settings: &Settings) -> Result<Settings, serde_json::Error> {
        let mut merged = serde_json::to_value(settings)?;
        let mut patch = serde_json::to_value(self)?;
        if let Value::Object(fields) = &mut patch {
            fields.remove("name");
        }
        merge(&mut merged, patch);
        serde_json::from_value(merged)
    }
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// Checks what the merge itself can refuse, so that it is refused by name.
fn check(body: &ServiceBody) -> Result<(), Problem> {
    use wotp_core::domain::locale::Locale;
    match body.locale.as_deref().map(str::parse::<Locale>) {
        Some(Err(error)) => Err(Problem::field("locale", error.to_string())),
        _ => Ok(()),
    }
}

fn settings_over(body: &ServiceBody, settings: &Settings) -> Settings {
    body.over(settings).expect("the body's types are those of the settings, and its locale was checked")
}

/// List services, oldest first.
#[utoipa::path(get, path = "/v1/services", tag = "Services", security(("api_key" = ["services:read"])), responses((status = 200, description = "All services", body = ServiceList), super::openapi::AuthProblems))]
pub(super) async fn list_services(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesRead>,
    _: NoParams,
) -> Result<Json<ServiceList>, Problem> {
    let services = api.app.list_services(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(ServiceList { data: services.into_iter().map(view).collect() }))
}

/// All services.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServiceList {
    /// Every service that the key may see.
    data: Vec<ServiceView>,
}

/// Create a service.
#[utoipa::path(post, path = "/v1/services", tag = "Services", security(("api_key" = ["services:write"])), request_body = ServiceBody,
    responses((status = 201, description = "Created", body = ServiceView, headers(("Location" = String, description = "Its path"))), super::openapi::BodyProblems, super::openapi::AuthProblems, super::openapi::LimitConflict))]
pub(super) async fn create_service(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesWrite>,
    body: Body<ServiceBody>,
) -> Result<(StatusCode, HeaderMap, Json<ServiceView>), Problem> {
    let mut body = body.value;
    check(&body)?;
    if body.brand.is_none() {
        body.brand.clone_from(&body.name);
    }
    let settings = settings_over(&body, &Settings::default());
    let change = ServiceChange { name: body.name, settings: Some(settings) };
    let service = api.app.create_service(&caller, change).await.map_err(|refusal| refused(&api, refusal))?;
    let headers = HeaderMap::from_iter([(header::LOCATION, location("/v1/services/", &service.id.to_string()))]);
    Ok((StatusCode::CREATED, headers, Json(view(service))))
}

/// Read a service.
#[utoipa::path(get, path = "/v1/services/{id}", tag = "Services", security(("api_key" = ["services:read"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The service", body = ServiceView), super::openapi::AuthProblems, super::openapi::NotFoundProblem))]
pub(super) async fn find_service(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesRead>,
    InPath(id): InPath<String>,
) -> Result<Json<ServiceView>, Problem> {
    let service = api.app.find_service(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(service)))
}

/// Change a service.
///
/// What is left out stays. Verifications under way keep the settings they started with.
#[utoipa::path(patch, path = "/v1/services/{id}", tag = "Services", security(("api_key" = ["services:write"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = ServiceBody,
    responses((status = 200, description = "Changed", body = ServiceView), super::openapi::BodyProblems, super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::ConflictProblem))]
pub(super) async fn change_service(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesWrite>,
    InPath(id): InPath<String>,
    body: Body<ServiceBody>,
) -> Result<Json<ServiceView>, Problem> {
    let body = body.value;
    check(&body)?;
    let change = |service: &Service| ServiceChange {
        name: body.name.clone(),
        settings: Some(settings_over(&body, &service.settings)),
    };
    let service =
        api.app.change_service(&caller, path_id(&id)?, change).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(service)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let before =
            Settings { brand: "Acme".to_owned(), web_origin: Some("example.com".to_owned()), ..Settings::default() };
        let body: ServiceBody = serde_json::from_str(r#"{"code":{"length":8},"web_origin":null}"#).unwrap();
        let after = settings_over(&body, &before);
        let mut expected = Settings { web_origin: None, ..before };
        expected.code.length = 8;
        assert_eq!(after, expected);
    }

    #[test]
    fn an_empty_patch_changes_nothing() {
        let before = Settings { brand: "Acme".to_owned(), ..Settings::default() };
        assert_eq!(settings_over(&ServiceBody::default(), &before), before);
    }
}
