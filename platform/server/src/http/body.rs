//! Request bodies: JSON, bounded, and refused by the name of what is wrong.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::problem::{Problem, ProblemCode};

/// A JSON body, and the SHA-256 of its bytes.
pub(super) struct Body<T> {
    /// What it says.
    pub(super) value: T,
    /// Tells the same request from another under the same idempotency key.
    pub(super) fingerprint: [u8; 32],
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let json = essence.eq_ignore_ascii_case("application/json")
            || (essence.starts_with("application/") && essence.ends_with("+json"));
        if !json {
            return Err(Problem::new(
                ProblemCode::UnsupportedMediaType,
                "send the body as JSON, with `Content-Type: application/json`",
            ));
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status().as_u16() {
                413 => Problem::new(ProblemCode::BodyTooLarge, "a body has at most 16 KiB"),
                _ => Problem::new(ProblemCode::MalformedJson, "the body did not arrive whole"),
            })?;
        Ok(Self { value: parse(&bytes)?, fingerprint: Sha256::digest(&bytes).into() })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            // Without the position: a person looks for the name.
            let message = inner.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            Problem::field(field(&path, message), message)
        } else {
            Problem::new(ProblemCode::MalformedJson, format!("the body cannot be read: {inner}"))
        }
    })?;
    json.end().map_err(|_| Problem::new(ProblemCode::MalformedJson, "the body goes on after its JSON value"))?;
    Ok(value)
}

/// The field that a message is about: for an unknown or a missing one, serde names the object.
fn field(path: &str, message: &str) -> String {
    let named =
        ["unknown field `", "missing field `"].iter().find_map(|start| message.strip_prefix(start)?.split('`').next());
    match (path, named) {
        (".", Some(name)) => name.to_owned(),
        (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
        (".", None) => "body".to_owned(),
        (path, _) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "n")]
        _n: u8,
    }

    fn fields(json: &str) -> (ProblemCode, Vec<String>) {
        let problem = parse::<Outer>(json.as_bytes()).unwrap_err();
        (problem.code(), problem.body("").errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let invalid = |name: &str| (ProblemCode::InvalidRequest, vec![name.to_owned()]);
        assert_eq!(fields(r#"{"inner":{"n":1},"ohter":1}"#), invalid("ohter"));
        assert_eq!(fields(r#"{"inner":{"n":1,"m":2}}"#), invalid("inner.m"));
        assert_eq!(fields(r#"{"inner":{"n":"x"}}"#), invalid("inner.n"));
        assert_eq!(fields(r#"{"inner":{"n":256}}"#), invalid("inner.n"));
        assert_eq!(fields("{}"), invalid("inner"));
        assert_eq!(fields("[]"), invalid("body"));
        assert_eq!(fields("{").0, ProblemCode::MalformedJson);
        assert_eq!(fields(r#"{"inner":{"n":1}} x"#).0, ProblemCode::MalformedJson);
    }
}
