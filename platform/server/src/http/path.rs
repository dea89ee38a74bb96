//! Parameters of a path.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::{Api, Problem, ProblemCode};

/// What the caller filled into the path: one text, or all of them in their order.
///
/// In place of axum's own extractor, whose refusals are plain text.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, api).await {
            Ok(Path(filled)) => Ok(Self(filled)),
            // As with an id that cannot be one: there is nothing of that name.
            Err(rejection) if rejection.status().is_client_error() => {
                Err(Problem::new(ProblemCode::NotFound, "the path is not UTF-8 in percent encoding: nothing is there"))
            }
            Err(rejection) => {
                let error: &dyn std::error::Error = &rejection;
                tracing::error!(error, "a route and its handler do not agree on what the path holds");
                let detail = "the operator finds the reason in the log, under this request's id";
                Err(Problem::new(ProblemCode::Internal, detail))
            }
        }
    }
}
