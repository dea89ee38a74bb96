//! `/v1/auth/login`, `/v1/auth/refresh`, `/v1/auth/logout`, and the keys of access tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{LogIn, Opened, Refusal, TokenRefusal};
use wotp_core::domain::session::Transport;

use super::super::auth::{FromAtAnyTime, MaybePerson};
use super::super::body::{Body, MaybeBody};
use super::super::to_the_end::whoever_hangs_up;
use super::super::verifications::refused;
use super::super::{Api, Problem, ProblemCode, openapi};
use super::cookies;
use super::second_factor::{SignInView, stepped};

/// How a refresh token travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TokenTransport)]
pub(in super::super) enum TransportName {
    /// In a cookie that no script can read: for browsers.
    #[default]
    Cookie,
    /// In the body: for programs.
    Body,
}

impl TransportName {
    pub(super) fn transport(self) -> Transport {
        match self {
            Self::Cookie => Transport::Cookie,
            Self::Body => Transport::Body,
        }
    }
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogIn)]
pub(in super::super) struct LogInBody {
    /// The email address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The password.
    #[schema(format = Password, example = "correct horse battery")]
    password: String,
    /// How the refresh token is to travel.
    #[serde(default)]
    token_transport: TransportName,
    /// `device_token` of an earlier login from here; a browser sends it by itself.
    #[serde(default)]
    device_token: Option<String>,
}

/// A session that lets somebody in.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub(in super::super) struct OpenedView {
    /// For `Authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// How long it holds.
    #[schema(example = 900)]
    expires_in_seconds: i64,
    /// The session.
    #[schema(example = "ses_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    session: String,
    /// Who signed in.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    user: String,
    /// When the session ends by itself.
    #[schema(value_type = String, format = DateTime, example = "2026-11-29T12:00:00Z")]
    session_expires_at: Timestamp,
    /// For the next access token; null when it travels in a cookie.
    #[schema(required)]
    refresh_token: Option<String>,
    /// For `X-CSRF-Token` beside the cookie; null when there is none.
    #[schema(required)]
    csrf_token: Option<String>,
    /// To send with the next login from here, the one that came while it holds; null where it travels in a cookie, and
    /// where nobody logged in.
    #[schema(required)]
    device_token: Option<String>,
}

/// A refresh token, where it does not travel in a cookie.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Refresh)]
pub(in super::super) struct RefreshBody {
    /// The token; left out when it travels in a cookie.
    #[serde(default)]
    refresh_token: Option<String>,
}

/// The keys that access tokens are signed with: a JSON Web Key Set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeySet)]
pub(in super::super) struct KeySetView {
    /// The keys: those whose tokens may hold, and the next one a day before its time.
    keys: Vec<KeyView>,
}

/// One key: ed25519, by RFC 8037.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublicKey)]
struct KeyView {
    /// Always `OKP`.
    #[schema(example = "OKP")]
    kty: &'static str,
    /// Always `Ed25519`.
    #[schema(example = "Ed25519")]
    crv: &'static str,
    /// Always `EdDSA`.
    #[schema(example = "EdDSA")]
    alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    purpose: &'static str,
    /// What tokens call it.
    #[schema(example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0")]
    kid: String,
    /// Its public half, base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
}

/// What a session gives, in its body and in cookies.
pub(super) fn given(api: &Api, opened: Opened) -> (HeaderMap, Json<OpenedView>) {
    let mut headers = HeaderMap::new();
    let in_body = opened.session.transport == Transport::Body;
    if !in_body {
        cookies::give(api, &opened, &mut headers);
    }
    let now = api.app.ports().clock.now();
    let view = OpenedView {
        token_type: "Bearer",
        expires_in_seconds: opened.access_expires_at.duration_since(now).as_secs(),
        session: opened.session.id.to_string(),
        user: opened.user.id.to_string(),
        session_expires_at: opened.session.expires_at,
        refresh_token: in_body.then(|| opened.refresh_token.reveal()),
        csrf_token: (!in_body).then_some(opened.csrf_token),
        device_token: opened.device_token.filter(|_| in_body),
        access_token: opened.access_token,
    };
    (headers, Json(view))
}

/// Sign in with a password.
///
/// The answer, and the time it takes, are the same whether or not there is an account. Who has a second factor is
/// asked for it: then there is no session yet, and `POST /v1/auth/second-factor` goes on.
#[utoipa::path(post, path = "/v1/auth/login", tag = "Sign-in", security(()), request_body = LogInBody, responses(
    (status = 200, description = "Signed in, or the question for the second factor", body = SignInView, headers(("Set-Cookie" = String, description = "With `cookie`: the refresh token, the CSRF token and the device token"))),
    openapi::BodyProblems, openapi::LoginProblems, openapi::ConflictProblem,
))]
pub(in super::super) async fn log_in(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    headers: HeaderMap,
    body: Body<LogInBody>,
) -> Result<(HeaderMap, Json<SignInView>), Problem> {
    let LogInBody { email, password, token_transport, device_token } = body.value;
    let transport = token_transport.transport();
    let device = device_token.or_else(|| cookies::device(&api, &headers));
    let request = LogIn { email, password, transport, device };
    let step = whoever_hangs_up(&api, move |app| async move { app.log_in(request, &from.0).await }).await?;
    Ok(stepped(&api, step))
}

/// Refresh: another access token, and the next refresh token.
///
/// A refresh token works once. For 10 seconds it leads to the same next one, so that two tabs may refresh at
/// once; after that it is taken for a stolen copy, and the session ends for whoever has a token of it.
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "Sign-in", security(()), request_body = Option<RefreshBody>,
    params(("X-CSRF-Token" = Option<String>, Header, description = "`csrf_token` of the session, with the cookie")),
    responses(
        (status = 200, description = "Refreshed", body = OpenedView, headers(("Set-Cookie" = String, description = "With the cookie: the next one"))),
        openapi::BodyProblems, openapi::SessionProblems,
    ))]
pub(in super::super) async fn refresh(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    headers: HeaderMap,
    MaybeBody(body): MaybeBody<RefreshBody>,
) -> Result<(HeaderMap, Json<OpenedView>), Problem> {
    let over = || refused(&api, Refusal::Token(TokenRefusal::SessionOver));
    let found = cookies::refresh_token(&api, &headers, body.refresh_token)?;
    let (token, transport) = found.ok_or_else(over)?;
    let opened = api.app.refresh(&token, transport, &from.0).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(given(&api, opened))
}

/// Log out: ends the session, on all nodes within a second.
///
/// The session is the refresh token's; where none comes, in the body or in a cookie, the access token's. A session
/// that is over already is no reason to complain; an access token that has expired is, since its session may go on.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "Sign-in", security(()), request_body = Option<RefreshBody>,
    params(("X-CSRF-Token" = Option<String>, Header, description = "`csrf_token` of the session, with the cookie")),
    responses(
        (status = 204, description = "Logged out", headers(("Set-Cookie" = String, description = "With the cookie: takes it away"))),
        openapi::BodyProblems, openapi::LogoutProblems,
    ))]
pub(in super::super) async fn log_out(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    MaybePerson(person): MaybePerson,
    headers: HeaderMap,
    MaybeBody(body): MaybeBody<RefreshBody>,
) -> Result<(StatusCode, HeaderMap), Problem> {
    let mut given = HeaderMap::new();
    if let Some((token, transport)) = cookies::refresh_token(&api, &headers, body.refresh_token)? {
        api.app.log_out(&token, &from.0).await.map_err(|refusal| refused(&api, refusal))?;
        if transport == Transport::Cookie {
            cookies::take(&api, &mut given);
        }
    } else {
        match person {
            Some(Ok(person)) => {
                api.app.log_out_here(&person).await.map_err(|refusal| refused(&api, refusal))?;
            }
            Some(Err(problem)) if problem.code() != ProblemCode::SessionEnded => return Err(problem),
            Some(Err(_)) | None => {}
        }
    }
    Ok((StatusCode::NO_CONTENT, given))
}

/// Read the keys that access tokens are signed with.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Sign-in", security(()), responses((status = 200, description = "A JSON Web Key Set", body = KeySetView)))]
pub(in super::super) async fn signing_keys(
    State(api): State<Arc<Api>>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<KeySetView>), Problem> {
    let keys = api.app.public_keys().await.map_err(|refusal| refused(&api, refusal))?;
    let view = |key: wotp_core::app::PublicKey| KeyView {
        kty: "OKP",
        crv: "Ed25519",
        alg: "EdDSA",
        purpose: "sig",
        kid: key.kid,
        x: key.public,
    };
    let fresh = HeaderValue::from_static("public, max-age=3600");
    Ok(([(CACHE_CONTROL, fresh)], Json(KeySetView { keys: keys.into_iter().map(view).collect() })))
}
