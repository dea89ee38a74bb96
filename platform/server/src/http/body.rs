//! Request bodies: JSON, bounded, and refused by the name of what is wrong.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::misread::in_words;
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
        if !is_json(&request) {
            return Err(not_json());
        }
        let bytes = whole(request, state).await?;
        Ok(Self { value: parse(&bytes)?, fingerprint: Sha256::digest(&bytes).into() })
    }
}

/// A JSON body that may be left out: a page that posts with its cookie alone has nothing to say.
pub(super) struct MaybeBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(&request);
        let bytes = whole(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json {
            return Err(not_json());
        }
        parse(&bytes).map(Self)
    }
}

fn is_json(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn not_json() -> Problem {
    Problem::new(ProblemCode::UnsupportedMediaType, "send the body as JSON, with `Content-Type: application/json`")
}

async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status().as_u16() {
        413 => {
            Problem::new(ProblemCode::BodyTooLarge, "a body has at most 16 KiB, and one that installs a plugin 43 MB")
        }
        _ => Problem::new(ProblemCode::MalformedJson, "the body did not arrive whole"),
    })
}

/// Reads a `T` from an object only.
///
/// serde's derive also takes a list of the values in the order of the fields. No schema of ours
/// says so, and an order of fields is not a promise that we want to keep.
struct FromObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FromObject<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// As [`FromObject`], where null says as much as nothing.
struct FromObjectOrNull<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FromObjectOrNull<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_map(FromObject(PhantomData)).map(Some)
    }
}

/// For an object within a body: `#[serde(default, deserialize_with = "object_or_null")]`.
pub(super) fn object_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(FromObjectOrNull(PhantomData))
}

fn from_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, serde_path_to_error::Error<D::Error>> {
    let mut track = serde_path_to_error::Track::new();
    serde_path_to_error::Deserializer::new(deserializer, &mut track)
        .deserialize_map(FromObject(PhantomData))
        .map_err(|error| serde_path_to_error::Error::new(track.path(), error))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = from_object(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            // Without the position: a person looks for the name.
            let message = inner.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            Problem::field(field(&path, message).unwrap_or_else(|| "body".to_owned()), in_words(message))
        } else {
            Problem::new(ProblemCode::MalformedJson, format!("the body cannot be read: {inner}"))
        }
    })?;
    json.end().map_err(|_| Problem::new(ProblemCode::MalformedJson, "the body goes on after its JSON value"))?;
    Ok(value)
}

/// The field that a message is about; none where it is about all of it. For one that is unknown, missing or there twice
/// serde names the object.
pub(super) fn field(path: &str, message: &str) -> Option<String> {
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    match (path, named) {
        (".", Some(name)) => Some(name.to_owned()),
        (path, Some(name)) if !path.ends_with(name) => Some(format!("{path}.{name}")),
        (".", None) => None,
        (path, _) => Some(path.to_owned()),
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
        #[serde(default, rename = "other", deserialize_with = "object_or_null")]
        _other: Option<Inner>,
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
        assert_eq!(fields(r#"{"inner":{"n":1},"inner":{"n":1}}"#), invalid("inner"));
        assert_eq!(fields(r#"{"inner":{"n":1,"n":2}}"#), invalid("inner.n"));
        assert_eq!(fields("[]"), invalid("body"));
        assert_eq!(fields(r#"{"inner":{"n":1},"other":{"m":1}}"#), invalid("other.m"));
        assert_eq!(fields("{").0, ProblemCode::MalformedJson);
        assert_eq!(fields(r#"{"inner":{"n":1}} x"#).0, ProblemCode::MalformedJson);
    }

    #[test]
    fn values_without_their_names_are_not_an_object() {
        let invalid = |name: &str| (ProblemCode::InvalidRequest, vec![name.to_owned()]);
        assert_eq!(fields(r#"[{"n":1}]"#), invalid("body"));
        assert_eq!(fields(r#"{"inner":{"n":1},"other":[1]}"#), invalid("other"));
        assert!(parse::<Outer>(br#"{"inner":{"n":1},"other":null}"#).is_ok());
        assert!(parse::<Outer>(br#"{"inner":{"n":1},"other":{"n":2}}"#).is_ok());
    }
}
