//! `/openapi.json`, and `/docs`: the same as a page that works offline.
//!
//! The page is one file with its style and script in it, written once from the OpenAPI document. It
//! loads nothing, and its policy names the two by their hashes, so that nothing else can run on it.
//!
//! Both are large and the same for everybody, so they are compressed once, not for each call.

mod errors;
mod guide;
mod gzip;
mod reference;
mod render;
mod sample;
mod schema;

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(super) use render::{Text, put};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

static DOCUMENT: LazyLock<String> = LazyLock::new(super::openapi::openapi_json);

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(&DOCUMENT).expect("we wrote it");
    render::page(&document, STYLE, SCRIPT)
});

static DOCUMENT_GZIP: LazyLock<Vec<u8>> = LazyLock::new(|| gzip::compress(&DOCUMENT));

static PAGE_GZIP: LazyLock<Vec<u8>> = LazyLock::new(|| gzip::compress(&PAGE));

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    HeaderValue::from_str(&policy).expect("hashes in Base64 are ASCII")
});

/// How a policy names an inline style or script.
pub(super) fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// The OpenAPI document.
pub(super) async fn openapi_json(asked: HeaderMap) -> impl IntoResponse {
    text(&asked, "application/json", &DOCUMENT, &DOCUMENT_GZIP)
}

/// The documentation, for people.
pub(super) async fn page(asked: HeaderMap) -> impl IntoResponse {
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY.clone())];
    (policy, text(&asked, "text/html; charset=utf-8", &PAGE, &PAGE_GZIP))
}

/// A text as the client takes it.
fn text(
    asked: &HeaderMap,
    kind: &'static str,
    plain: &'static str,
    compressed: &'static LazyLock<Vec<u8>>,
) -> (HeaderMap, &'static [u8]) {
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ]);
    if !gzip::is_taken(asked) {
        return (headers, plain.as_bytes());
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    (headers, compressed)
}

#[cfg(test)]
mod tests;
