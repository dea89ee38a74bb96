//! The pages that links lead to: one with a button, which approves, and those that say what became of a link.
//!
//! What is in the path is the secret, so it is in no log, metric or error of ours, which name routes only, and no page
//! tells it to another site.
//!
//! No token keeps other sites from posting here: whoever can post to this path knows the secret, and needs nobody's
//! browser to approve. Where a link is bound to a browser that does not hold, since the browser brings what the other
//! site lacks: so its cookie is `SameSite=Lax`, which a post from another site goes without, and what a browser says
//! comes from another site approves nothing.

mod page;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use wotp_core::app::{LinkPage, LinkState, Refusal};
use wotp_core::domain::id::VerificationId;
use wotp_core::domain::magic_link::MagicLink;

use super::Api;
use super::layers::Announced;
use super::people::cookies::{cookie, set};
use page::Shown;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

type Named = Result<Path<String>, PathRejection>;

/// The page of a link. Reading it changes nothing, whatever reads it.
pub(super) fn route() -> MethodRouter<Arc<Api>> {
    get(open).post(approve)
}

/// Where a browser is sent to be the one that a link is bound to.
pub(super) fn binding_route() -> MethodRouter<Arc<Api>> {
    get(bind)
}

async fn open(State(api): State<Arc<Api>>, path: Named, headers: HeaderMap) -> Response {
    let Some(link) = read(&api, path) else { return page::unknown(&headers) };
    let opened = api.app.open_link(&link, mark(&api, &headers, &link)).await;
    answer(opened, &headers)
}

async fn approve(State(api): State<Arc<Api>>, path: Named, headers: HeaderMap) -> Response {
    let Some(link) = read(&api, path) else { return page::unknown(&headers) };
    let mark = mark(&api, &headers, &link);
    if is_from_elsewhere(&headers) {
        // Our own page, so that a person who is there after all may press its button.
        return answer(api.app.open_link(&link, mark).await, &headers);
    }
    answer(api.app.approve_by_link(&link, mark).await, &headers)
}

async fn bind(State(api): State<Arc<Api>>, path: Named, headers: HeaderMap) -> Response {
    let pass = path.ok().and_then(|Path(text)| api.app.read_pass(&text));
    let Some(binding) = pass else { return page::unknown(&headers) };
    match api.app.bind_browser(&binding).await {
        Ok(Some(bound)) => {
            let mut given = HeaderMap::new();
            let (name, secure) = cookie_of(&api, binding.verification());
            let (mark, age) = (bound.mark, bound.life.as_secs().max(1));
            // Lax: the link is opened from a mail program's site, or from a chat's. For links only: however many of them a
            // browser is made to collect, the rest of this host never sees them.
            set(&mut given, format!("{name}={mark}; Path=/l/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"));
            let to = HeaderValue::from_str(&bound.return_url).expect("a URL was looked at when it came");
            given.insert(LOCATION, to);
            (StatusCode::SEE_OTHER, given).into_response()
        }
        Ok(None) => page::unknown(&headers),
        Err(refusal) => failed(&refusal, &headers),
    }
}

fn read(api: &Api, path: Named) -> Option<MagicLink> {
    path.ok().and_then(|Path(text)| api.app.read_link(&text))
}

/// The name of the cookie of one verification's binding, and what makes it travel over TLS only.
fn cookie_of(api: &Api, verification: VerificationId) -> (String, &'static str) {
    // The prefix makes a browser insist on TLS. `__Host-` would insist on the whole host as its path.
    if api.settings.cookie_secure {
        (format!("__Secure-wotp_link_{verification}"), "; Secure")
    } else {
        (format!("wotp_link_{verification}"), "")
    }
}

/// What the browser has of the binding of a link.
fn mark<'a>(api: &Api, headers: &'a HeaderMap, link: &MagicLink) -> Option<&'a str> {
    cookie(headers, &cookie_of(api, link.verification()).0)
}

/// Whether another site's page posts, as far as the browser says. Not by `Origin`: that is `null` for the button of our
/// page, which tells nobody where it is.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

fn answer(came: Result<LinkPage, Refusal>, headers: &HeaderMap) -> Response {
    match came {
        Ok(LinkPage { about: Some(about), state }) => {
            let status = match state {
                LinkState::Open | LinkState::Approved { .. } => StatusCode::OK,
                LinkState::Used | LinkState::Expired | LinkState::Canceled => StatusCode::GONE,
                LinkState::OtherBrowser => StatusCode::FORBIDDEN,
                LinkState::Unknown => StatusCode::NOT_FOUND,
            };
            page::shown(status, &about, Shown::State(&state))
        }
        Ok(LinkPage { about: None, .. }) => page::unknown(headers),
        Err(refusal) => failed(&refusal, headers),
    }
}

/// Something of ours is in the way: a person is told to try again, and the log says what it was.
fn failed(refusal: &Refusal, headers: &HeaderMap) -> Response {
    let mut response = page::later(headers);
    if matches!(refusal, Refusal::Maintenance { .. }) {
        response.extensions_mut().insert(Announced);
    } else {
        let error: &dyn std::error::Error = refusal;
        tracing::error!(error, "the page of a link could not be shown");
    }
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
