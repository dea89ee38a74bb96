//! `/openapi.json`, and `/docs`: the same as a page that works offline.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{Html, IntoResponse};

static DOCUMENT: LazyLock<String> = LazyLock::new(super::openapi::openapi_json);

/// The OpenAPI document.
pub(super) async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], DOCUMENT.as_str())
}

/// The documentation, for people.
pub(super) async fn page() -> impl IntoResponse {
    Html(DOCUMENT.as_str())
}
