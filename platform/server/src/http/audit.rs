//! `/v1/audit`: who changed what in a tenant. Operators read the same of any, in `operator/audit.rs`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wotp_core::app::{App, AuditFilter, AuditFrom, AuditLine, AuditPage, Refusal};
use wotp_core::domain::audit::{Actor, AuditEntry, begins_an_action};
use wotp_core::domain::id::{ApiKeyId, UserId};
use wotp_core::ports::Owner;

use super::auth::{AuditRead, Member, is_an_id};
use super::problem::ProblemField;
use super::query::{ListPage, Params, moment_or_null, page};
use super::verifications::refused;
use super::{Api, Problem, openapi};

/// Entries that an export reads at once.
const EXPORTED_AT_ONCE: usize = 200;

/// What somebody is who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditActorType)]
enum ActorType {
    /// A person.
    User,
    /// A program, with a key of the tenant.
    ApiKey,
    /// Somebody who runs the platform.
    Operator,
    /// Somebody at the command line of the server.
    CommandLine,
    /// The platform itself, because time passed or a limit was reached.
    Platform,
}

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct ActorView {
    /// What they are.
    r#type: ActorType,
    /// Who: a person or a key; null for the others.
    #[schema(required, example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: Option<String>,
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct EntryView {
    /// Its id.
    #[schema(example = "aud_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Its place in the log, from 1.
    #[schema(example = 42)]
    place: u64,
    /// When it was done.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    at: Timestamp,
    /// Who did it.
    actor: ActorView,
    /// What was done.
    #[schema(example = "api_key.revoke")]
    action: String,
    /// To what.
    #[schema(example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    target: String,
    /// What it was, as far as it changed; null when it is new.
    #[schema(required, value_type = Option<Object>, example = json!({ "revoked_at": null }))]
    before: Option<Value>,
    /// What it is now, as far as it changed; null when it is gone.
    #[schema(required, value_type = Option<Object>, example = json!({ "revoked_at": "2026-11-22T12:00:00Z" }))]
    after: Option<Value>,
    /// From which address.
    #[schema(required, value_type = Option<String>, example = "192.0.2.7")]
    ip: Option<std::net::IpAddr>,
    /// In which call: its `X-Request-Id`.
    #[schema(required)]
    request_id: Option<String>,
    /// The digest of the entry before it; empty for the first.
    previous: String,
    /// The digest of all of it but this.
    digest: String,
}

/// An entry that cannot be read any more, in its place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnreadableAuditEntry)]
pub(crate) struct UnreadableView {
    /// Its place in the log, from 1.
    #[schema(example = 42)]
    place: u64,
    /// True.
    #[schema(example = true)]
    unreadable: bool,
}

/// What is at a place of the log: an entry, or that it cannot be read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AuditLine)]
pub(crate) enum LineView {
    /// What was done.
    Entry(Box<EntryView>),
    /// The store is damaged there. It is shown whatever is asked for.
    Unreadable(UnreadableView),
}

/// What is at a place of the log, as the API and an export show it.
fn view(line: AuditLine) -> LineView {
    match line {
        AuditLine::Entry(entry) => LineView::Entry(Box::new(entry_view(*entry))),
        AuditLine::Unreadable { place } => LineView::Unreadable(UnreadableView { place, unreadable: true }),
    }
}

fn entry_view(entry: AuditEntry) -> EntryView {
    let (kind, id) = match &entry.actor {
        Actor::User { user } => (ActorType::User, Some(user.to_string())),
        Actor::ApiKey { key } => (ActorType::ApiKey, Some(key.to_string())),
        Actor::Operator { user } => (ActorType::Operator, Some(user.to_string())),
        Actor::CommandLine => (ActorType::CommandLine, None),
        Actor::Platform => (ActorType::Platform, None),
    };
    EntryView {
        id: entry.id.to_string(),
        place: entry.place,
        at: entry.at,
        actor: ActorView { r#type: kind, id },
        action: entry.action,
        target: entry.target,
        before: entry.before,
        after: entry.after,
        ip: entry.ip,
        request_id: entry.request,
        previous: entry.previous,
        digest: entry.digest,
    }
}

/// Parameters of the audit log. All conditions hold together.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditListParams {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only what was done by this person or key; or `command_line`, or `platform`.
    actor: Option<String>,
    /// Only what was done whose name begins so, as in `api_key.`. The guide lists all names.
    action: Option<String>,
    /// Only what was done to this thing: its id.
    target: Option<String>,
    /// Only what was done then or later.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only what was done before.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    before: Option<Timestamp>,
}

/// Parameters of an export. All conditions hold together.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditExportParams {
    /// Only what was done by this person or key; or `command_line`, or `platform`.
    actor: Option<String>,
    /// Only what was done whose name begins so, as in `api_key.`. The guide lists all names.
    action: Option<String>,
    /// Only what was done to this thing: its id.
    target: Option<String>,
    /// Only what was done then or later.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only what was done before.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    before: Option<Timestamp>,
}

/// What is asked for of a log. What cannot be is refused, so that a typing error is not an empty page.
///
/// # Errors
/// A [`Problem`] that names each parameter.
pub(super) fn filter(
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    (from, before): (Option<Timestamp>, Option<Timestamp>),
) -> Result<AuditFilter, Problem> {
    const PLACES: [&str; 2] = ["maintenance", "database"];
    let is_actor = |text: &str| {
        text == Actor::CommandLine.name()
            || text == Actor::Platform.name()
            || text.parse::<UserId>().is_ok()
            || text.parse::<ApiKeyId>().is_ok()
    };
    let is_target = |text: &str| PLACES.contains(&text) || is_an_id(text);
    let rules = [
        (
            "actor",
            "is a person `usr_…`, a key `key_…`, `command_line` or `platform`",
            actor.as_deref().is_none_or(is_actor),
        ),
        (
            "action",
            "begins no action that there is, as `api_key.` does; `/docs` lists them",
            action.as_deref().is_none_or(begins_an_action),
        ),
        (
            "target",
            "is the id of a thing, as in `key_01J9ZK3V8X6W5T4S3R2Q1P0N9M`",
            target.as_deref().is_none_or(is_target),
        ),
    ];
    let wrong = rules.into_iter().filter(|(_, _, right)| !right);
    let wrong: Vec<_> = wrong
        .map(|(field, message, _)| ProblemField { field: field.to_owned(), message: message.to_owned() })
        .collect();
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    Ok(AuditFilter { actor, action, target, from, before })
}

/// List what was done, newest first.
///
/// A page may have fewer entries than asked for, or none, where a long stretch of the log holds little that
/// matches; go on as long as there is a `next_cursor`. An entry that cannot be read any more is shown as
/// `unreadable` in its place, whatever you ask for.
#[utoipa::path(get, path = "/v1/audit", tag = "Audit log", security(("session" = ["audit:read"])), params(AuditListParams),
    responses((status = 200, description = "A page", body = ListPage<LineView>), openapi::QueryProblems, openapi::MemberProblems))]
pub(super) async fn list_audit(
    State(api): State<Arc<Api>>,
    caller: Member<AuditRead>,
    Params(params): Params<AuditListParams>,
) -> Result<Json<ListPage<LineView>>, Problem> {
    let AuditListParams { limit, cursor, actor, action, target, from, before } = params;
    let page = page(limit, cursor.as_deref())?;
    let filter = filter(actor, action, target, (from, before))?;
    listed(&api, Owner::Tenant(caller.tenant.id), &filter, page).await
}

/// A page of an owner's log, newest first: so many entries, after this one.
pub(super) async fn listed(
    api: &Api,
    owner: Owner,
    filter: &AuditFilter,
    (limit, after): (usize, Option<[u8; 16]>),
) -> Result<Json<ListPage<LineView>>, Problem> {
    let found = api.app.audit_page(owner, filter, AuditFrom::Newest(after), limit).await;
    let found = found.map_err(|refusal| refused(api, refusal))?;
    Ok(Json(ListPage::new(found.entries.into_iter().map(view).collect(), found.next)))
}

/// Export the log, oldest first: one JSON object a line.
///
/// It is read as it is sent. An export that was cut off ends in the middle of the reply, not with a proper end.
#[utoipa::path(get, path = "/v1/audit/export", tag = "Audit log", security(("session" = ["audit:read"])), params(AuditExportParams),
    responses((status = 200, description = "All that matches", body = LineView, content_type = "application/x-ndjson"), openapi::QueryProblems, openapi::MemberProblems))]
pub(super) async fn export_audit(
    State(api): State<Arc<Api>>,
    caller: Member<AuditRead>,
    Params(params): Params<AuditExportParams>,
) -> Result<(HeaderMap, Body), Problem> {
    let AuditExportParams { actor, action, target, from, before } = params;
    let filter = filter(actor, action, target, (from, before))?;
    exported(&api, Owner::Tenant(caller.tenant.id), filter).await
}

/// All of an owner's log that matches, oldest first, as a file.
pub(super) async fn exported(api: &Api, owner: Owner, filter: AuditFilter) -> Result<(HeaderMap, Body), Problem> {
    // The first page before the reply begins, so that a store that is away is told as such.
    let first = api.app.audit_page(owner, &filter, AuditFrom::Oldest(None), EXPORTED_AT_ONCE).await;
    let first = first.map_err(|refusal| refused(api, refusal))?;
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.ndjson\"")),
    ]);
    Ok((headers, Body::from_stream(lines(Arc::clone(&api.app), owner, filter, first))))
}

/// What comes next of an export.
enum Next {
    Lines(AuditPage),
    From([u8; 16]),
}

/// The lines of an export, a page at a time: nothing is read before what was read is sent.
fn lines(
    app: Arc<App>,
    owner: Owner,
    filter: AuditFilter,
    first: AuditPage,
) -> impl Stream<Item = Result<Bytes, Refusal>> {
    stream::try_unfold(Some(Next::Lines(first)), move |next| {
        let (app, filter) = (Arc::clone(&app), filter.clone());
        async move {
            let found = match next {
                None => return Ok(None),
                Some(Next::Lines(found)) => found,
                Some(Next::From(end)) => {
                    app.audit_page(owner, &filter, AuditFrom::Oldest(Some(end)), EXPORTED_AT_ONCE).await?
                }
            };
            let next = found.next.map(Next::From);
            Ok(Some((text(found.entries), next)))
        }
    })
}

fn text(entries: Vec<AuditLine>) -> Bytes {
    let mut text = Vec::new();
    for entry in entries {
        text.extend(line(entry));
        text.push(b'\n');
    }
    text.into()
}

/// What is at a place of the log as a line of an export, without its end.
pub(crate) fn line(entry: AuditLine) -> Vec<u8> {
    serde_json::to_vec(&view(entry)).expect("an entry serialises")
}
