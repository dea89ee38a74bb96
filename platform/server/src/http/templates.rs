//! `/v1/services/{id}/templates`: a tenant's own texts.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::NewTemplate;
use wotp_core::domain::locale::Locale;
use wotp_core::domain::template::CustomTemplate;

use super::auth::{Caller, ServicesRead, ServicesWrite};
use super::body::Body;
use super::path::InPath;
use super::verifications::{path_id, refused};
use super::{Api, Problem};

/// A text to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTemplate)]
pub(super) struct TemplateBody {
    /// For one channel; for any when left out.
    #[schema(example = "email", min_length = 1, max_length = 64)]
    channel: Option<String>,
    /// In this language (BCP 47).
    #[schema(example = "en")]
    locale: String,
    /// For channels that show one; ours when left out.
    #[schema(example = "{{code}} is your {{brand}} code", max_length = 150)]
    subject: Option<String>,
    /// With `{{code}}`; also `{{brand}}`, `{{expiry}}`, `{{expires_in_minutes}}`, `{{do_not_share}}`.
    #[schema(example = "{{code}} is your {{brand}} code. {{expiry}}", min_length = 1, max_length = 1000)]
    text: String,
}

/// A text to preview: the built-in one for `locale` when `text` is left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreviewTemplate)]
pub(super) struct PreviewBody {
    /// In this language (BCP 47).
    #[schema(example = "en")]
    locale: String,
    /// For channels that show one.
    #[schema(max_length = 150)]
    subject: Option<String>,
    /// With `{{code}}`.
    #[schema(example = "{{code}} is your {{brand}} code. {{expiry}}", max_length = 1000)]
    text: Option<String>,
}

/// A published text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
pub(super) struct TemplateView {
    /// For one channel; null for any.
    #[schema(required, example = "email")]
    channel: Option<String>,
    /// In this language.
    #[schema(example = "en")]
    locale: String,
    /// Counts up with each publication for the same channel and language; the newest is sent.
    #[schema(example = 1)]
    version: u32,
    /// For channels that show one.
    #[schema(required)]
    subject: Option<String>,
    /// The text.
    #[schema(example = "{{code}} is your {{brand}} code. {{expiry}}")]
    text: String,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// The texts in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TemplateList {
    /// The newest for each channel and language.
    data: Vec<TemplateView>,
}

/// What a text looks like, with the code 123456.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Preview {
    /// For channels that show one.
    #[schema(example = "123456 is your Acme code")]
    subject: String,
    /// The whole message.
    #[schema(example = "123456 is your Acme code. It expires in 5 minutes.")]
    text: String,
    /// Its language.
    #[schema(example = "en")]
    locale: String,
    /// Its length as an SMS Retriever counts it.
    #[schema(example = 50)]
    text_size_bytes: usize,
}

/// Which texts to withdraw.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WithdrawParams {
    /// The language.
    #[param(example = "en")]
    locale: String,
    /// The channel; the texts for any channel when left out.
    channel: Option<String>,
}

impl From<&CustomTemplate> for TemplateView {
    fn from(template: &CustomTemplate) -> Self {
        Self {
            channel: template.channel.clone(),
            locale: template.locale.to_string(),
            version: template.version,
            subject: template.subject.clone(),
            text: template.text.clone(),
            created_at: template.created_at,
        }
    }
}

fn locale(text: &str) -> Result<Locale, Problem> {
    text.parse().map_err(|error: wotp_core::domain::locale::LocaleError| Problem::field("locale", error.to_string()))
}

/// A channel need not be there yet, but has to be a name.
fn channel(name: Option<String>) -> Result<Option<String>, Problem> {
    let named = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
    };
    if name.as_ref().is_none_or(named) {
        Ok(name)
    } else {
        Err(Problem::field("channel", "is the name of a channel, as in `email`"))
    }
}

/// List the texts in force.
#[utoipa::path(get, path = "/v1/services/{id}/templates", tag = "Services", security(("api_key" = ["services:read"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The newest text for each channel and language", body = TemplateList), super::openapi::AuthProblems, super::openapi::NotFoundProblem))]
pub(super) async fn list_templates(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesRead>,
    InPath(id): InPath<String>,
) -> Result<Json<TemplateList>, Problem> {
    let service = api.app.find_service(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(TemplateList { data: service.templates.current().map(TemplateView::from).collect() }))
}

/// Publish a text: the next version for its channel and language.
#[utoipa::path(post, path = "/v1/services/{id}/templates", tag = "Services", security(("api_key" = ["services:write"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = TemplateBody,
    responses((status = 201, description = "Published", body = TemplateView), super::openapi::BodyProblems, super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::ConflictProblem))]
pub(super) async fn publish_template(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesWrite>,
    InPath(id): InPath<String>,
    body: Body<TemplateBody>,
) -> Result<(StatusCode, Json<TemplateView>), Problem> {
    let body = body.value;
    let new = NewTemplate {
        channel: channel(body.channel)?,
        locale: locale(&body.locale)?,
        subject: body.subject,
        text: body.text,
    };
    let published =
        api.app.publish_template(&caller, path_id(&id)?, new).await.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::CREATED, Json(TemplateView::from(&published))))
}

/// Withdraw the texts for one channel and language: the built-in text is sent again.
#[utoipa::path(delete, path = "/v1/services/{id}/templates", tag = "Services", security(("api_key" = ["services:write"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M"), WithdrawParams),
    responses((status = 204, description = "Withdrawn"), super::openapi::QueryProblems, super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::ConflictProblem))]
pub(super) async fn withdraw_template(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesWrite>,
    InPath(id): InPath<String>,
    query: Result<Query<WithdrawParams>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let Query(query) = query.map_err(|error| Problem::field("query", error.body_text()))?;
    let locale = locale(&query.locale)?;
    api.app
        .withdraw_template(&caller, path_id(&id)?, query.channel.as_deref(), &locale)
        .await
        .map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Preview a text without publishing it.
#[utoipa::path(post, path = "/v1/services/{id}/templates/preview", tag = "Services", security(("api_key" = ["services:read"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = PreviewBody,
    responses((status = 200, description = "What it looks like", body = Preview), super::openapi::BodyProblems, super::openapi::AuthProblems, super::openapi::NotFoundProblem))]
pub(super) async fn preview_template(
    State(api): State<Arc<Api>>,
    caller: Caller<ServicesRead>,
    InPath(id): InPath<String>,
    body: Body<PreviewBody>,
) -> Result<Json<Preview>, Problem> {
    let body = body.value;
    let locale = locale(&body.locale)?;
    let new = body.text.map(|text| NewTemplate { channel: None, locale, subject: body.subject, text });
    let rendered = api
        .app
        .preview_template(&caller, path_id(&id)?, locale, new)
        .await
        .map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(Preview {
        text_size_bytes: rendered.text.len(),
        subject: rendered.subject,
        text: rendered.text,
        locale: rendered.locale.to_string(),
    }))
}
