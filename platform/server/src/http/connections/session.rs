//! Connections that are kept logged in, as linked WhatsApp numbers: where they stand, and what is wanted of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{ConnectLive, LiveSeen};
use wotp_core::domain::live_connection::{
    LiveStatus, SenderGrade, SenderHealth, SenderHeld, Shown, ShownCode, Standing,
};
use wotp_core::domain::phone::Phone;

use super::ConnectionView;
use crate::http::auth::{Caller, ConnectionsWrite};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::qr::Qr;
use crate::http::verifications::path_id;
use crate::http::{Api, Problem, openapi, to_the_end};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SessionStatus)]
pub(in crate::http) enum SessionStatusName {
    /// No phone is linked.
    Unpaired,
    /// It waits for your phone: scan `qr`, or type `code`.
    Pairing,
    /// It is linked, and logs in.
    Connecting,
    /// It is logged in.
    Connected,
    /// It is linked, and not logged in.
    Disconnected,
    /// It was taken off the phone: connect it to link one anew.
    LoggedOut,
    /// Somebody else logged in with its keys.
    Replaced,
    /// WhatsApp has banned the number.
    Banned,
}

impl From<LiveStatus> for SessionStatusName {
    fn from(status: LiveStatus) -> Self {
        match status {
            LiveStatus::Unpaired => Self::Unpaired,
            LiveStatus::Pairing => Self::Pairing,
            LiveStatus::Connecting => Self::Connecting,
            LiveStatus::Connected => Self::Connected,
            LiveStatus::Disconnected => Self::Disconnected,
            LiveStatus::LoggedOut => Self::LoggedOut,
            LiveStatus::Replaced => Self::Replaced,
            LiveStatus::Banned => Self::Banned,
        }
    }
}

/// A QR that links a phone: whoever has it can link theirs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionQr)]
pub(in crate::http) struct QrView {
    /// What it holds.
    #[schema(example = "2@…")]
    pub(in crate::http) text: String,
    /// It, as an SVG.
    #[schema(example = "<svg …")]
    svg: String,
    /// It as a picture, for the `src` of an image: a PNG in a `data:` URL.
    #[schema(example = "data:image/png;base64,…")]
    pub(in crate::http) png: String,
    /// Then it is of no use, and another follows.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl QrView {
    /// None where WhatsApp says more than fits into one.
    fn of(Shown { text, expires_at }: Shown) -> Option<Self> {
        let qr = Qr::of(&text)?;
        Some(Self { svg: qr.svg(), png: qr.png_url(), text, expires_at })
    }
}

/// A code that links a phone: whoever has it can link theirs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionCode)]
pub(in crate::http) struct CodeView {
    /// The code to type.
    #[schema(example = "ABCD1234")]
    pub(in crate::http) text: String,
    /// Then it is of no use, and another follows.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<ShownCode> for CodeView {
    fn from(ShownCode { text, expires_at, .. }: ShownCode) -> Self {
        Self { text, expires_at }
    }
}

/// How a number fares as a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SessionGrade)]
pub(in crate::http) enum SessionGradeName {
    /// It sends to anybody.
    Well,
    /// It sends to people that it has written with, and to nobody else.
    Limited,
    /// It sends to nobody.
    Held,
}

/// What holds a number back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionHeld)]
struct HeldView {
    /// In a word.
    #[schema(example = "time_locked")]
    reason: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// What that is, and what to do.
    #[schema(example = "WhatsApp lets this number write to nobody new for now: …")]
    advice: String,
}

/// How a number fares as a sender, with WhatsApp and by our own measure, which holds back before WhatsApp does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionHealth)]
struct HealthView {
    /// In one word.
    grade: SessionGradeName,
    /// What holds it back: nothing when it is well.
    reasons: Vec<HeldView>,
    /// Messages that went out in the last 24 hours.
    sent_today: u32,
    /// How many more may today.
    left_today: u32,
    /// How many of those to people who never wrote with the number.
    strangers_left_today: u32,
}

impl From<SenderHealth> for HealthView {
    fn from(health: SenderHealth) -> Self {
        let held =
            |held: SenderHeld| HeldView { advice: held.advice().to_owned(), reason: held.reason, until: held.until };
        Self {
            grade: match health.grade {
                SenderGrade::Well => SessionGradeName::Well,
                SenderGrade::Limited => SessionGradeName::Limited,
                SenderGrade::Held => SessionGradeName::Held,
            },
            reasons: health.reasons.into_iter().map(held).collect(),
            sent_today: health.sent_today,
            left_today: health.left_today,
            strangers_left_today: health.strangers_left_today,
        }
    }
}

/// Where a connection stands that is kept logged in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(in crate::http) struct SessionView {
    /// In one word.
    pub(in crate::http) status: SessionStatusName,
    /// Why, where that can be said: `timed_out` or `failed` of what is unpaired; `lost`, `unavailable`, `refused`,
    /// `outdated`, `stopped`, `taken_over` or `not_kept` of what is disconnected; `strangers`, `blocked`, `same_message` or
    /// `other` of what is banned.
    #[schema(required, example = "lost")]
    reason: Option<String>,
    /// Since when; null before somebody had it connect.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// When that ends by itself: linking, or a ban. Null where it does not.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// The number that it is linked to, while it is connected.
    #[schema(required, example = "+12025550100")]
    pub(in crate::http) number: Option<String>,
    /// The QR that your phone scans. For whoever may change connections.
    #[schema(required)]
    pub(in crate::http) qr: Option<QrView>,
    /// The code to type on your phone. For whoever may change connections.
    #[schema(required)]
    pub(in crate::http) code: Option<CodeView>,
    /// How the number fares as a sender; null before it is known.
    #[schema(required)]
    health: Option<HealthView>,
    /// Whether it is to be connected.
    wanted: bool,
    /// When somebody of yours accepted that WhatsApp may ban such a number.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    risk_accepted_at: Option<Timestamp>,
}

impl SessionView {
    /// As it is shown to whoever may link a phone, or not.
    pub(in crate::http) fn of(seen: &LiveSeen, links: bool) -> Self {
        let mut view = Self {
            status: SessionStatusName::Unpaired,
            reason: None,
            since: None,
            until: None,
            number: None,
            qr: None,
            code: None,
            health: None,
            wanted: seen.connection.connects(),
            risk_accepted_at: seen.connection.risk_accepted_at,
        };
        let Some(standing) = seen.standing.clone() else { return view };
        let Standing { status, reason, since, until, number, qr, code, health } = standing;
        (view.status, view.reason, view.since) = (status.into(), reason, Some(since));
        view.health = health.map(HealthView::from);
        if seen.kept {
            view.until = until;
            view.number = number.map(|number| format!("+{}", number.digits()));
            if links {
                (view.qr, view.code) = (qr.and_then(QrView::of), code.map(CodeView::from));
            }
        } else if matches!(status, LiveStatus::Connecting | LiveStatus::Connected) {
            // The node that said so is gone.
            (view.status, view.reason) = (SessionStatusName::Disconnected, Some("not_kept".to_owned()));
        } else if status == LiveStatus::Pairing {
            view.status = SessionStatusName::Unpaired;
        }
        view
    }

    /// Why nothing gets out through it, whose channel is switched on or not.
    pub(in crate::http) fn problem(&self, served: bool) -> Option<String> {
        if !served {
            return Some("the operator has switched the channel off: nothing logs in until it is on again".to_owned());
        }
        let words = match (self.status, self.reason.as_deref()) {
            (SessionStatusName::Connected, _) => match &self.health {
                Some(health) if health.grade == SessionGradeName::Held => health.reasons.first()?.advice.as_str(),
                _ => return None,
            },
            (SessionStatusName::Unpaired, Some("timed_out")) => "nobody linked a phone in time: have it connect again",
            (SessionStatusName::Unpaired, Some("failed")) => "the phone could not be linked: have it connect again",
            (SessionStatusName::Unpaired, _) if self.wanted && self.since.is_none() => {
                "it is about to show what links your phone"
            }
            (SessionStatusName::Unpaired, _) => "no phone is linked: have it connect",
            (SessionStatusName::Pairing, _) => {
                "it waits for your phone: scan the QR, or type the code, under Linked devices"
            }
            (SessionStatusName::Connecting, _) => "it logs in",
            (SessionStatusName::Disconnected, _) if !self.wanted => "it is disconnected: have it connect",
            (SessionStatusName::Disconnected, Some("outdated")) => {
                "WhatsApp wants a newer version: it logs in once one is known, and where that lasts the operator has to see to it"
            }
            (SessionStatusName::Disconnected, Some("refused")) => {
                "WhatsApp refused the login; it is tried again by itself"
            }
            (SessionStatusName::Disconnected, _) => "the connection to WhatsApp is lost; it comes back by itself",
            (SessionStatusName::LoggedOut, _) => {
                "it was taken off the phone: have it connect, and link the phone again"
            }
            (SessionStatusName::Replaced, _) => {
                "somebody else logged in with its keys: have it connect again, and if that was none of yours, take it off \
                 the phone"
            }
            (SessionStatusName::Banned, _) => {
                "WhatsApp has banned the number: see on the phone what it says, and use another"
            }
        };
        Some(words.to_owned())
    }
}

/// How a connection is to log in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ConnectSession)]
pub(in crate::http) struct ConnectBody {
    /// True once for each connection: that WhatsApp does not allow programs like this one, and may ban a number that uses
    /// one. Take a number that you can do without.
    #[schema(example = true)]
    accept_risk: bool,
    /// The number of the phone, to link it by a code that is typed on it; left out, it scans a QR.
    #[schema(example = "+12025550100")]
    code_for: Option<String>,
}

/// Have a connection log in, or show what links your phone.
///
/// Where no phone is linked, it shows a QR and, if you give the number of your phone, a code as well, for ten minutes; each
/// is renewed before it expires. Follow `/v1/connections/{id}/stream` to see them. Scan or type it on the phone under Linked
/// devices, as for WhatsApp Web. A code that is shown for the same phone stays, and another is asked for every 30 seconds at
/// most.
///
/// WhatsApp does not allow programs like this one and may ban a number that uses one, above all a new one that writes to
/// many strangers. So the first call accepts that with `accept_risk`.
#[utoipa::path(post, path = "/v1/connections/{id}/connect", tag = "Connections", security(("api_key" = ["connections:write"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = ConnectBody,
    responses((status = 202, description = "It is about to", body = ConnectionView), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::LinkLimits))]
pub(in crate::http) async fn connect_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    InPath(id): InPath<String>,
    body: Body<ConnectBody>,
) -> Result<(StatusCode, Json<ConnectionView>), Problem> {
    let ConnectBody { accept_risk, code_for } = body.value;
    let code_for = code_for.map(|number| Phone::parse(&number)).transpose();
    let code_for = code_for.map_err(|error| Problem::field("code_for", error.to_string()))?;
    let (id, connect) = (path_id(&id)?, ConnectLive { accept_risk, code_for });
    let seen =
        to_the_end(&api, &caller, move |app, caller| async move { app.connect_live(&caller, id, connect).await })
            .await?;
    Ok((StatusCode::ACCEPTED, Json(ConnectionView::live(seen, true))))
}

/// End the login of a connection, until you have it connect. The phone stays linked.
#[utoipa::path(post, path = "/v1/connections/{id}/disconnect", tag = "Connections", security(("api_key" = ["connections:write"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 202, description = "It is about to", body = ConnectionView), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn disconnect_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    InPath(id): InPath<String>,
) -> Result<(StatusCode, Json<ConnectionView>), Problem> {
    let id = path_id(&id)?;
    let seen =
        to_the_end(&api, &caller, move |app, caller| async move { app.disconnect_live(&caller, id).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(ConnectionView::live(seen, true))))
}
