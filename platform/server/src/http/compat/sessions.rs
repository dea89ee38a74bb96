//! WOTP's paths for WhatsApp sessions: `/api/whatsapp`.
//!
//! WOTP's session is our connection to `whatsapp`, which its tenant calls as it likes. What a reply has besides `success` and
//! `message` is ours.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{ApiCaller, ConnectLive, LiveSeen};
use wotp_core::domain::phone::Phone;

use super::CompatProblems;
use crate::http::auth::{Caller, ConnectionsRead, ConnectionsWrite, Privilege as _};
use crate::http::body::MaybeBody;
use crate::http::connections::session::{SessionStatusName, SessionView};
use crate::http::query::Params;
use crate::http::verifications::refused;
use crate::http::{Api, Problem, to_the_end};

/// The channel that WOTP's sessions are of.
const WHATSAPP: &str = "whatsapp";

/// A session that is to log in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = WotpConnect)]
pub(in crate::http) struct ConnectBody {
    /// What you call it, or the id of its connection. Left out, it is the only one that you have. One is made where there is
    /// none of this name.
    #[serde(rename = "sessionId")]
    #[schema(example = "support", min_length = 1, max_length = 64)]
    session_id: Option<String>,
    /// True once for each session: that WhatsApp does not allow programs like this one, and may ban a number that uses one.
    /// Take a number that you can do without.
    #[serde(rename = "acceptRisk")]
    #[schema(example = true)]
    accept_risk: bool,
    /// The number of the phone, to link it by a code that is typed on it; left out, it scans a QR.
    #[schema(example = "+12025550100")]
    phone: Option<String>,
}

/// Which session.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = WotpSession)]
pub(in crate::http) struct SessionBody {
    /// What you call it, or the id of its connection. Left out, it is the only one that you have.
    #[serde(rename = "sessionId")]
    #[schema(example = "support")]
    session_id: Option<String>,
}

/// Which session.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SessionParams {
    /// What you call it, or the id of its connection. Left out, it is the only one that you have.
    #[serde(rename = "sessionId")]
    #[param(example = "support")]
    session_id: Option<String>,
}

/// Where a session stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpSessionReply)]
pub(in crate::http) struct SessionReply {
    /// True.
    #[schema(example = true)]
    success: bool,
    /// Where it stands, and what to do, in words.
    #[schema(example = "WhatsApp is connected")]
    message: String,
    /// What you call it; null where you have none.
    #[serde(rename = "sessionId")]
    #[schema(required, example = "support")]
    session_id: Option<String>,
    /// The id of its connection; null where you have none.
    #[serde(rename = "connectionId")]
    #[schema(required, example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    connection_id: Option<String>,
    /// In one word; `disconnected` where you have none.
    status: SessionStatusName,
    /// The number that it is linked to, while it is connected.
    #[schema(required, example = "+12025550100")]
    phone: Option<String>,
    /// What the QR holds that your phone scans. For whoever may change connections.
    #[schema(required, example = "2@…")]
    qr: Option<String>,
    /// The QR as a picture, for the `src` of an image: a PNG in a `data:` URL.
    #[serde(rename = "qrImage")]
    #[schema(required, example = "data:image/png;base64,…")]
    qr_image: Option<String>,
    /// The code to type on your phone. For whoever may change connections.
    #[serde(rename = "pairCode")]
    #[schema(required, example = "ABCD1234")]
    pair_code: Option<String>,
}

impl SessionReply {
    /// As it is shown to a caller, who sees what links a phone if they may change connections.
    fn of(seen: Option<LiveSeen>, caller: &ApiCaller) -> Self {
        let Some(seen) = seen else { return Self::none() };
        let session = SessionView::of(&seen, caller.may(ConnectionsWrite::PERMISSION));
        let (qr, qr_image) = session.qr.as_ref().map(|qr| (qr.text.clone(), qr.png.clone())).unzip();
        Self {
            success: true,
            message: session.problem(seen.served).unwrap_or_else(|| "WhatsApp is connected".to_owned()),
            session_id: Some(seen.connection.name),
            connection_id: Some(seen.connection.id.to_string()),
            status: session.status,
            phone: session.number,
            qr,
            qr_image,
            pair_code: session.code.map(|code| code.text),
        }
    }

    /// Of whoever has none.
    fn none() -> Self {
        Self {
            success: true,
            message: "there is no session: `POST /api/whatsapp/connect` makes one".to_owned(),
            session_id: None,
            connection_id: None,
            status: SessionStatusName::Disconnected,
            phone: None,
            qr: None,
            qr_image: None,
            pair_code: None,
        }
    }
}

/// Have a session log in, or show what links your phone.
///
/// One that there is not yet is made, as `POST /v1/connections` does, within the plan's limit. It answers at once: ask
/// `/api/whatsapp/status` for the QR, or the code, and whether it is connected.
///
/// WhatsApp does not allow programs like this one and may ban a number that uses one, above all a new one that writes to
/// many strangers. So the first call for a session accepts that with `acceptRisk`.
#[utoipa::path(post, path = "/api/whatsapp/connect", tag = "WOTP-compatible", security(("api_key" = ["connections:write"])), request_body = Option<ConnectBody>,
    responses((status = 200, description = "It is about to", body = SessionReply), CompatProblems))]
pub(in crate::http) async fn whatsapp_connect(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    MaybeBody(body): MaybeBody<ConnectBody>,
) -> Result<Json<SessionReply>, Problem> {
    let ConnectBody { session_id, accept_risk, phone } = body;
    let code_for = phone.map(|number| Phone::parse(&number)).transpose();
    let code_for = code_for.map_err(|error| Problem::field("phone", error.to_string()))?;
    let connect = ConnectLive { accept_risk, code_for };
    let seen = to_the_end(&api, &caller, move |app, caller| async move {
        app.connect_called(&caller, WHATSAPP, session_id.as_deref(), connect).await
    });
    Ok(Json(SessionReply::of(Some(seen.await?), &caller)))
}

/// Read where a session stands.
#[utoipa::path(get, path = "/api/whatsapp/status", tag = "WOTP-compatible", security(("api_key" = ["connections:read"])), params(SessionParams),
    responses((status = 200, description = "Where it stands", body = SessionReply), CompatProblems))]
pub(in crate::http) async fn whatsapp_status(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsRead>,
    Params(params): Params<SessionParams>,
) -> Result<Json<SessionReply>, Problem> {
    let seen = api.app.live_called(&caller, WHATSAPP, params.session_id.as_deref()).await;
    Ok(Json(SessionReply::of(seen.map_err(|refusal| refused(&api, refusal))?, &caller)))
}

/// End the login of a session, until you have it connect. The phone stays linked.
#[utoipa::path(post, path = "/api/whatsapp/disconnect", tag = "WOTP-compatible", security(("api_key" = ["connections:write"])), request_body = Option<SessionBody>,
    responses((status = 200, description = "It is about to", body = SessionReply), CompatProblems))]
pub(in crate::http) async fn whatsapp_disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    MaybeBody(body): MaybeBody<SessionBody>,
) -> Result<Json<SessionReply>, Problem> {
    let found = api.app.live_called(&caller, WHATSAPP, body.session_id.as_deref()).await;
    let seen = match found.map_err(|refusal| refused(&api, refusal))? {
        Some(found) => {
            let id = found.connection.id;
            let ended =
                to_the_end(&api, &caller, move |app, caller| async move { app.disconnect_live(&caller, id).await });
            Some(ended.await?)
        }
        None => None,
    };
    Ok(Json(SessionReply::of(seen, &caller)))
}
