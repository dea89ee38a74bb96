//! What providers tell later, at `/hooks/{channel}/…`: whether it is a provider who calls, the channel knows.
//!
//! Some first ask whether a URL is ours, as WebSub has it (w3.org/TR/websub, 5.3): with a challenge, which is repeated
//! where the channel takes the call.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{self, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use wotp_core::app::HearRefusal;
use wotp_core::ports::{HEARD_BODY_MAX, HearError, Heard};

use super::verifications::refused;
use super::{Api, Problem, ProblemCode};

/// Headers that are for the connection, or hold what is between a person and us.
const OURS: [HeaderName; 5] =
    [header::AUTHORIZATION, header::COOKIE, header::CONNECTION, header::TRANSFER_ENCODING, header::PROXY_AUTHORIZATION];

/// Characters of a challenge that is repeated, at most.
const CHALLENGE_MAX: usize = 256;

/// The route, with room for what providers gather of many messages.
pub(super) fn route() -> MethodRouter<Arc<Api>> {
    get(hear).post(hear).layer(DefaultBodyLimit::max(HEARD_BODY_MAX))
}

async fn hear(
    State(api): State<Arc<Api>>,
    Path((channel, _)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let unknown =
        || Problem::new(ProblemCode::NotFound, "there is no channel that is told anything here").into_response();
    // As it came: the provider signed that, and no other spelling of it.
    let Some(path) = uri.path().strip_prefix("/hooks/").and_then(|rest| rest.strip_prefix(&format!("{channel}/")))
    else {
        return unknown();
    };
    let body = match body {
        Ok(body) => body.to_vec(),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Problem::new(ProblemCode::BodyTooLarge, "what a provider tells has at most 64 KiB").into_response();
        }
        Err(_) => return told(StatusCode::BAD_REQUEST, "the body did not come whole\n"),
    };
    let origin = api.settings.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    let whole = uri.path_and_query().map_or_else(|| uri.path(), |whole| whole.as_str());
    let heard = Heard {
        posted: method == Method::POST,
        url: format!("{origin}{whole}"),
        path: path.to_owned(),
        headers: texts(&headers),
        body,
    };
    let asked = challenge(&method, uri.query());
    match api.app.hear(&channel, heard).await {
        // Not 204: to some, anything but 200 is a failure.
        Ok(_) => asked.map_or_else(|| StatusCode::OK.into_response(), |asked| told(StatusCode::OK, asked)),
        Err(HearRefusal::Unknown) => unknown(),
        Err(HearRefusal::Channel(HearError::NotAuthentic)) => {
            told(StatusCode::UNAUTHORIZED, "this does not come from the provider\n")
        }
        Err(HearRefusal::Channel(HearError::Unreadable)) => told(StatusCode::BAD_REQUEST, "this cannot be read\n"),
        Err(HearRefusal::Channel(HearError::Busy)) => {
            Problem::new(ProblemCode::Unavailable, "too much is told at once; tell it again in a moment")
                .into_response()
        }
        Err(HearRefusal::Refusal(refusal)) => refused(&api, refusal).into_response(),
    }
}

/// What is to be repeated, where that is asked. Anybody may ask: nothing is repeated that is more than a word.
fn challenge(method: &Method, query: Option<&str>) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let parameters = query.filter(|_| method == Method::GET)?.split('&');
    let challenge = parameters.filter_map(|parameter| parameter.strip_prefix("hub.challenge=")).next()?;
    let is_word = (1..=CHALLENGE_MAX).contains(&challenge.len()) && challenge.bytes().all(is_plain);
    is_word.then(|| challenge.to_owned())
}

/// An answer for a machine of somebody else's, which reads no more than it asked for.
fn told(status: StatusCode, words: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words.into()).into_response()
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let theirs = headers.iter().filter(|(name, _)| !OURS.contains(name));
    let text =
        |(name, value): (&HeaderName, &HeaderValue)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()));
    theirs.filter_map(text).collect()
}
