//! `/openapi.json`, and `/docs`: the same as a page that works offline.
//!
//! The page is one file with its style and script in it, written once from the OpenAPI document. It
//! loads nothing, and its policy names the two by their hashes, so that nothing else can run on it.

mod errors;
mod guide;
mod reference;
mod render;
mod sample;
mod schema;

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

static DOCUMENT: LazyLock<String> = LazyLock::new(super::openapi::openapi_json);

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(&DOCUMENT).expect("we wrote it");
    render::page(&document, STYLE, SCRIPT)
});

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    HeaderValue::from_str(&policy).expect("hashes in Base64 are ASCII")
});

/// How a policy names an inline style or script.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// The OpenAPI document.
pub(super) async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], DOCUMENT.as_str())
}

/// The documentation, for people.
pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Html(PAGE.as_str()))
}

#[cfg(test)]
mod tests;
