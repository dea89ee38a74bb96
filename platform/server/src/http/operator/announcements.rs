//! What operators tell everybody.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::Announced;
use wotp_core::domain::announcement::{Announcement, Level};

use crate::http::auth::{Operator, Person};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::query::moment_or_null;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// How much an announcement matters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AnnouncementLevel)]
enum LevelName {
    /// Good to know.
    Info,
    /// Something may not work as usual.
    Warning,
    /// Something does not work.
    Critical,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Info => Self::Info,
            LevelName::Warning => Self::Warning,
            LevelName::Critical => Self::Critical,
        }
    }
}

impl From<Level> for LevelName {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Critical => Self::Critical,
        }
    }
}

/// What operators tell everybody who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Announcement)]
pub(super) struct AnnouncementView {
    /// Its id.
    #[schema(example = "ann_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// In one line.
    title: String,
    /// The rest, as plain text.
    text: String,
    /// How much it matters.
    level: LevelName,
    /// From when on it is shown.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// When it is not shown any more; null until it is withdrawn.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    ends_at: Option<Timestamp>,
}

impl From<Announcement> for AnnouncementView {
    fn from(announcement: Announcement) -> Self {
        Self {
            id: announcement.id.to_string(),
            title: announcement.title,
            text: announcement.text,
            level: announcement.level.into(),
            starts_at: announcement.starts_at,
            ends_at: announcement.ends_at,
        }
    }
}

/// Announcements.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnnouncementList)]
pub(super) struct AnnouncementList {
    /// Newest first.
    data: Vec<AnnouncementView>,
}

impl From<Vec<Announcement>> for AnnouncementList {
    fn from(all: Vec<Announcement>) -> Self {
        Self { data: all.into_iter().map(AnnouncementView::from).collect() }
    }
}

/// List every announcement, those that are over too.
#[utoipa::path(get, path = "/operator/v1/announcements", tag = "Operators", security(("session" = [])),
    responses((status = 200, description = "All of them", body = AnnouncementList), openapi::OperatorProblems))]
pub(in crate::http) async fn list_announcements(
    State(api): State<Arc<Api>>,
    _: Operator,
) -> Result<Json<AnnouncementList>, Problem> {
    Ok(Json(api.app.announcements().await.map_err(|refusal| refused(&api, refusal))?.into()))
}

/// What to announce.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAnnouncement)]
pub(super) struct AnnounceBody {
    /// In one line.
    #[schema(min_length = 1, max_length = 120, example = "Slow deliveries by email")]
    title: String,
    /// The rest, as plain text.
    #[serde(default)]
    #[schema(max_length = 4000)]
    text: String,
    /// How much it matters.
    level: LevelName,
    /// From when on; now when left out.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// Until when; until it is withdrawn when left out.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
}

/// Announce something to everybody who is signed in.
#[utoipa::path(post, path = "/operator/v1/announcements", tag = "Operators", security(("session" = [])), request_body = AnnounceBody,
    responses((status = 201, description = "Announced", body = AnnouncementView), openapi::BodyProblems, openapi::OperatorProblems))]
pub(in crate::http) async fn announce(
    State(api): State<Arc<Api>>,
    operator: Operator,
    Body { value, .. }: Body<AnnounceBody>,
) -> Result<(StatusCode, Json<AnnouncementView>), Problem> {
    let announced = Announced {
        title: value.title,
        text: value.text,
        level: value.level.into(),
        starts_at: value.starts_at,
        ends_at: value.ends_at,
    };
    let announcement = api.app.announce(&operator.by(), announced).await.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::CREATED, Json(announcement.into())))
}

/// Withdraw an announcement.
#[utoipa::path(delete, path = "/operator/v1/announcements/{id}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The announcement")),
    responses((status = 204, description = "It is gone"), openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn withdraw_announcement(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let gone = api.app.withdraw_announcement(&operator.by(), path_id(&id)?).await;
    gone.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| refused(&api, refusal))
}

/// Read the announcements that are shown now.
#[utoipa::path(get, path = "/v1/announcements", tag = "Sign-in", security(("session" = [])),
    responses((status = 200, description = "Those that are shown now", body = AnnouncementList), openapi::PersonProblems))]
pub(in crate::http) async fn shown_announcements(
    State(api): State<Arc<Api>>,
    _: Person,
) -> Result<Json<AnnouncementList>, Problem> {
    Ok(Json(api.app.shown_announcements().await.map_err(|refusal| refused(&api, refusal))?.into()))
}
