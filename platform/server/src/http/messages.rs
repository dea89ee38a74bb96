//! `/v1/messages`: direct messages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{ApiCaller, SendMessage};
use wotp_core::domain::dispatch::DeliveryStatus;
use wotp_core::domain::id::MessageId;
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;

use super::auth::{Caller, MessagesRead, MessagesWrite};
use super::body::Body;
use super::guard::{NoteView, VerdictView, count_against};
use super::path::InPath;
use super::query::{ListPage, ListQuery};
use super::verifications::{DeliveryStatusName, DeliveryView, location, path_id, refused, shown_address};
use super::{Api, Problem, idempotency, rate_limit, to_the_end};

/// A direct message to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SendMessage)]
pub(super) struct SendBody {
    /// A phone number in E.164, or an email address.
    #[schema(example = "+12025550123", min_length = 3, max_length = 254)]
    to: String,
    /// What it says.
    #[schema(example = "Your order has arrived.", min_length = 1, max_length = 2048)]
    content: String,
    /// The service's id; the key's or the tenant's default when left out.
    service: Option<String>,
    /// Channels in the order they are tried; the service's when left out.
    #[serde(default)]
    #[schema(max_items = 10)]
    channels: Vec<String>,
    /// The connection that it goes out through, and no other: its id, or what you call it. For connections that are kept
    /// logged in, as to `whatsapp`; in place of `channels`. While it is not connected the message waits, for ten minutes.
    #[schema(example = "support")]
    connection: Option<String>,
    /// The IP address of your user, for the guard's rules. It is not kept.
    #[schema(example = "192.0.2.7")]
    ip: Option<String>,
}

/// A direct message. Its content is kept until it arrived, the last channel took it, or ten minutes are over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageView {
    /// Its id.
    #[schema(example = "msg_01J9ZK3V8X6W5T4S3R2Q1P0N9M", pattern = "^msg_[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    pub(super) id: String,
    /// Where it stands: as its best delivery. One that the guard stopped has failed.
    #[schema(value_type = DeliveryStatusName)]
    pub(super) status: DeliveryStatus,
    /// The address: masked, unless the key has `addresses:read`; null once retention has ended.
    #[schema(required, example = "+1********23")]
    pub(super) to: Option<String>,
    /// For which service.
    #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: String,
    /// The channel at hand.
    #[schema(required)]
    pub(super) channel: Option<String>,
    /// The connection that it was to go out through; null where none was named.
    #[schema(required)]
    connection: Option<String>,
    /// Every attempt, oldest first.
    deliveries: Vec<DeliveryView>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub(super) created_at: Timestamp,
    /// Whether it was sent with a test key: nothing reaches a person.
    test_mode: bool,
    /// What the guard decided; left out where no rule was against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictView>,
    /// What the guard's rules did; left out where none had anything to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<NoteView>,
}

pub(super) fn view(api: &Api, caller: &ApiCaller, message: Message) -> Result<MessageView, Problem> {
    Ok(MessageView {
        id: message.id.to_string(),
        status: message.status(),
        to: shown_address(api, caller, &message.id.to_bytes(), message.address.as_ref())?,
        service: message.service.to_string(),
        channel: message.dispatch.current().map(|delivery| delivery.channel.clone()),
        connection: message.connection.map(|id| id.to_string()),
        created_at: message.created_at,
        test_mode: message.mode == Mode::Test,
        verdict: VerdictView::of(&message.guard),
        timeline: message.guard.into_iter().map(NoteView::from).collect(),
        deliveries: message.dispatch.deliveries.into_iter().map(DeliveryView::from).collect(),
    })
}

/// Send a direct message.
///
/// One that the guard of the service stops has `failed`, with the reason in `verdict`: nothing is sent, and nothing
/// is counted. Of these and of verifications, 1,000 a day are stored; one more is `guard_blocked` (409): it names the
/// `rule`, and has no id.
#[utoipa::path(post, path = "/v1/messages", tag = "Messages", security(("api_key" = ["messages:write"])), request_body = SendBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names this request: repeated within 24 hours, it returns the first result", min_length = 1, max_length = 255)),
    responses(
        (status = 201, description = "Accepted", body = MessageView, headers(("Location" = String, description = "Its path"), ("RateLimit" = String, description = "What is left of the plan's rate"), ("RateLimit-Policy" = String, description = "The plan's rate"))),
        super::openapi::MessageProblems, super::openapi::AuthProblems, super::openapi::MessageLimits, super::openapi::UnkeptConflict,
        super::openapi::NotFoundProblem,
    ))]
pub(super) async fn send_message(
    State(api): State<Arc<Api>>,
    caller: Caller<MessagesWrite>,
    headers: HeaderMap,
    body: Body<SendBody>,
) -> Result<Response, Problem> {
    let idempotency = idempotency::key(&headers, body.fingerprint)?;
    let taken = api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let SendBody { to, content, service, channels, connection, ip } = body.value;
    let request = SendMessage { to, content, service, channels, connection, ip, idempotency };
    let message =
        to_the_end(&api, &caller, |app, caller| async move { app.send_message(&caller, request).await }).await?;
    count_against(&message.guard);
    let mut headers = rate_limit::headers(taken, message.created_at);
    headers.insert(header::LOCATION, location("/v1/messages/", &message.id.to_string()));
    Ok((StatusCode::CREATED, headers, Json(view(&api, &caller, message)?)).into_response())
}

/// List direct messages, newest first.
#[utoipa::path(get, path = "/v1/messages", tag = "Messages", security(("api_key" = ["messages:read"])), params(MessageListParams),
    responses((status = 200, description = "A page", body = ListPage<MessageView>), super::openapi::QueryProblems, super::openapi::AuthProblems))]
pub(super) async fn list_messages(
    State(api): State<Arc<Api>>,
    caller: Caller<MessagesRead>,
    query: ListQuery,
) -> Result<Json<ListPage<MessageView>>, Problem> {
    let filter = query.filter(&api, &caller, false)?;
    let after = query.after.map(MessageId::from_bytes);
    let page =
        api.app.list_messages(&caller, filter, after, query.limit).await.map_err(|refusal| refused(&api, refusal))?;
    let last = page.items.last().map(|message| message.id.to_bytes());
    let items = page.items.into_iter().map(|message| view(&api, &caller, message)).collect::<Result<_, _>>()?;
    Ok(Json(ListPage::new(items, last.filter(|_| page.more))))
}

/// Parameters of the listing of messages. All conditions hold together.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the documentation of what `ListQuery` reads")]
pub(super) struct MessageListParams {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only with a delivery through this channel.
    channel: Option<String>,
    /// Only to this address.
    address: Option<String>,
    /// Only of this service.
    service: Option<String>,
    /// Only accepted at or after this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<String>,
    /// Only accepted before this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<String>,
}

/// Read a direct message.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "Messages", security(("api_key" = ["messages:read"])), params(("id" = String, Path, description = "`msg_…`", example = "msg_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The message", body = MessageView), super::openapi::AuthProblems, super::openapi::NotFoundProblem))]
pub(super) async fn find_message(
    State(api): State<Arc<Api>>,
    caller: Caller<MessagesRead>,
    InPath(id): InPath<String>,
) -> Result<Json<MessageView>, Problem> {
    let message = api.app.find_message(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(&api, &caller, message)?))
}
