//! The cookies of a session, and what keeps other pages from using them.
//!
//! A browser sends a cookie whoever's page asks. `SameSite=Strict` keeps other sites out; a token that only
//! the session's own pages know, and the page's origin, keep out what runs on another port or a subdomain.

use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use wotp_core::app::{Opened, Refusal};
use wotp_core::domain::session::{RefreshToken, Transport};

use super::super::verifications::refused;
use super::super::{Api, Problem};

const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Where the refresh token is sent to.
const REFRESH_PATH: &str = "/v1/auth";
/// Where the secret of a sign-in by an identity provider is sent to.
const SIGN_IN_PATH: &str = "/v1/auth/oidc";
/// How long a browser is known from which somebody signed in: 400 days, the longest that browsers keep.
const DEVICE_SECONDS: i64 = 400 * 24 * 60 * 60;

/// The names of the cookies.
struct Names {
    refresh: &'static str,
    csrf: &'static str,
    device: &'static str,
    sign_in: &'static str,
    secure: &'static str,
}

fn names(api: &Api) -> Names {
    // The prefix makes a browser insist on TLS, also against a page that sets them itself.
    if api.settings.cookie_secure {
        Names {
            refresh: "__Secure-wotp_refresh",
            csrf: "__Secure-wotp_csrf",
            device: "__Secure-wotp_device",
            sign_in: "__Secure-wotp_sign_in",
            secure: "; Secure",
        }
    } else {
        Names { refresh: "wotp_refresh", csrf: "wotp_csrf", device: "wotp_device", sign_in: "wotp_sign_in", secure: "" }
    }
}

/// A cookie that came.
pub(in crate::http) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Gives a browser a cookie. It is ASCII.
pub(in crate::http) fn set(headers: &mut HeaderMap, cookie: String) {
    let value = HeaderValue::from_str(&cookie).expect("tokens are ASCII");
    headers.append(SET_COOKIE, value);
}

/// Gives a browser the cookies of a session.
pub(super) fn give(api: &Api, opened: &Opened, headers: &mut HeaderMap) {
    let Names { refresh, csrf, device, secure, .. } = names(api);
    let age = opened.session.expires_at.duration_since(api.app.ports().clock.now()).as_secs().max(0);
    let token = opened.refresh_token.reveal();
    set(headers, format!("{refresh}={token}; Path={REFRESH_PATH}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"));
    let token = &opened.csrf_token;
    // Not HttpOnly: the page reads it, and says it in a header.
    set(headers, format!("{csrf}={token}; Path=/; Max-Age={age}; SameSite=Strict{secure}"));
    if let Some(token) = &opened.device_token {
        set(
            headers,
            format!(
                "{device}={token}; Path={REFRESH_PATH}; Max-Age={DEVICE_SECONDS}; HttpOnly; SameSite=Strict{secure}"
            ),
        );
    }
}

/// Takes the cookies of a session from a browser. It stays known.
pub(super) fn take(api: &Api, headers: &mut HeaderMap) {
    let Names { refresh, csrf, secure, .. } = names(api);
    set(headers, format!("{refresh}=; Path={REFRESH_PATH}; Max-Age=0; HttpOnly; SameSite=Strict{secure}"));
    set(headers, format!("{csrf}=; Path=/; Max-Age=0; SameSite=Strict{secure}"));
}

/// The device token that a browser has.
pub(super) fn device(api: &Api, headers: &HeaderMap) -> Option<String> {
    cookie(headers, names(api).device).map(str::to_owned)
}

/// Gives a browser what makes it the one that a sign-in at an identity provider began in.
pub(super) fn give_sign_in(api: &Api, secret: &str, age_seconds: i64, headers: &mut HeaderMap) {
    let Names { sign_in, secure, .. } = names(api);
    // Strict: it is a page of ours that sends it, after the provider has sent the person there.
    set(
        headers,
        format!("{sign_in}={secret}; Path={SIGN_IN_PATH}; Max-Age={age_seconds}; HttpOnly; SameSite=Strict{secure}"),
    );
}

/// What a browser has of a sign-in that it began.
pub(super) fn sign_in<'a>(api: &Api, headers: &'a HeaderMap) -> Option<&'a str> {
    cookie(headers, names(api).sign_in)
}

/// Takes that from a browser.
pub(super) fn take_sign_in(api: &Api, headers: &mut HeaderMap) {
    let Names { sign_in, secure, .. } = names(api);
    set(headers, format!("{sign_in}=; Path={SIGN_IN_PATH}; Max-Age=0; HttpOnly; SameSite=Strict{secure}"));
}

/// The refresh token of a call, and how it came: in the body, else in the cookie.
///
/// # Errors
/// `csrf_refused` when it came in the cookie, and not from a page of the session.
pub(super) fn refresh_token(
    api: &Api,
    headers: &HeaderMap,
    body: Option<String>,
) -> Result<Option<(String, Transport)>, Problem> {
    if let Some(token) = body {
        return Ok(Some((token, Transport::Body)));
    }
    let Some(token) = cookie(headers, names(api).refresh) else { return Ok(None) };
    let csrf = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = RefreshToken::parse(token).map(|token| token.session());
    let known = session.is_some_and(|session| api.app.ports().vault.csrf_matches(session, csrf));
    if !known || !from_own_page(api, headers) {
        tracing::info!(session = session.map(tracing::field::display), "a session's cookie came from another page");
        return Err(refused(api, Refusal::Csrf));
    }
    Ok(Some((token.to_owned(), Transport::Cookie)))
}

/// Whether a page of ours asks, as far as the browser says.
fn from_own_page(api: &Api, headers: &HeaderMap) -> bool {
    if headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if api.settings.cors_origins.iter().any(|allowed| allowed == origin) {
        return true;
    }
    match &api.settings.public_url {
        Some(public) => public == origin,
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            host.is_some_and(|host| origin.split_once("://").is_some_and(|(_, of_page)| of_page == host))
        }
    }
}
