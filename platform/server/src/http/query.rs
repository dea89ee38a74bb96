//! Query strings of listings: every name is known, and a wrong one is refused by name.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use wotp_core::app::ApiCaller;
use wotp_core::domain::cursor::Cursor;
use wotp_core::domain::id::ServiceId;
use wotp_core::domain::verification::Status;
use wotp_core::ports::Filter;

use super::body::field;
use super::misread::in_words;
use super::problem::ProblemField;
use super::verifications::refused;
use super::{Api, Problem};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;
const METADATA_MAX: usize = 20;

/// One page of a listing, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListPage<T> {
    /// What is on it.
    data: Vec<T>,
    /// Pass it as `cursor` for the next page; null on the last.
    #[schema(required, example = "AQGRG-Zb2t0-J1mhDqBrzKk")]
    next_cursor: Option<String>,
}

impl<T> ListPage<T> {
    pub(super) fn new(data: Vec<T>, last: Option<[u8; 16]>) -> Self {
        Self { data, next_cursor: last.map(|id| Cursor(id).to_string()) }
    }
}

/// A query whose names are all known; a wrong one is refused by name.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(params)| Self(params)).map_err(|rejection| misread(&rejection))
    }
}

/// The query of a path that has no parameters: one that is there is refused, so that a typing error, or a parameter of
/// other listings, is not one that silently does nothing.
pub(super) struct NoParams;

impl FromRequestParts<Arc<Api>> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let names = pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        let wrong = names.map(|name| ProblemField {
            field: unescape(name).unwrap_or_else(|| name.to_owned()),
            message: "is no parameter of this path".to_owned(),
        });
        match wrong.collect::<Vec<_>>() {
            none if none.is_empty() => Ok(Self),
            wrong => Err(Problem::invalid(wrong)),
        }
    }
}

/// Which parameter of a query does not hold, and what would be right.
fn misread(rejection: &QueryRejection) -> Problem {
    type OfParameter = serde_path_to_error::Error<serde::de::value::Error>;
    // The rejection's own words are about deserializing; what it comes from is about the parameter.
    let mut causes = std::iter::successors(rejection.source(), |cause| (*cause).source());
    match causes.find_map(|cause| cause.downcast_ref::<OfParameter>()) {
        Some(error) => {
            let (path, said) = (error.path().to_string(), error.inner().to_string());
            Problem::field(field(&path, &said).unwrap_or_else(|| "query".to_owned()), in_words(&said))
        }
        None => Problem::field("query", rejection.body_text()),
    }
}

/// How many are on a page, and after what it begins: of a listing that has no other parameters of its own here.
///
/// # Errors
/// A [`Problem`] that names the parameter.
pub(super) fn page(limit: Option<usize>, cursor: Option<&str>) -> Result<(usize, Option<[u8; 16]>), Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::field("limit", "is 1 to 100"));
    }
    let after = cursor.map(Cursor::parse).transpose().map_err(|error| Problem::field("cursor", error.to_string()))?;
    Ok((limit, after.map(|cursor| cursor.0)))
}

/// What a listing is asked for.
#[derive(Debug, Default)]
pub(super) struct ListQuery {
    pub(super) limit: usize,
    pub(super) after: Option<[u8; 16]>,
    status: Option<Status>,
    channel: Option<String>,
    address: Option<String>,
    service: Option<ServiceId>,
    created_from: Option<Timestamp>,
    created_before: Option<Timestamp>,
    metadata: BTreeMap<String, String>,
}

impl ListQuery {
    /// The filter it stands for. Messages have neither status nor metadata.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter.
    pub(super) fn filter(&self, api: &Api, caller: &ApiCaller, verifications: bool) -> Result<Filter, Problem> {
        if !verifications && (self.status.is_some() || !self.metadata.is_empty()) {
            return Err(Problem::field("query", "messages are not filtered by `status` or `metadata`"));
        }
        let index = |address: &String| api.app.address_index(caller, address).map_err(|refusal| refused(api, refusal));
        Ok(Filter {
            mode: None,
            service: self.service,
            status: self.status,
            channel: self.channel.clone(),
            address: self.address.as_ref().map(index).transpose()?,
            created_from: self.created_from,
            created_before: self.created_before,
            metadata: self.metadata.clone(),
        })
    }

    fn read(query: &str) -> Result<Self, Vec<ProblemField>> {
        let mut read = Self { limit: LIMIT_DEFAULT, ..Self::default() };
        let mut errors = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some((name, value)) = unescape(name).zip(unescape(value)) else {
                errors.push(ProblemField {
                    field: name.to_owned(),
                    message: "is not UTF-8 in percent encoding".to_owned(),
                });
                continue;
            };
            if let Err(message) = read.set(&name, value) {
                errors.push(ProblemField { field: name, message });
            }
        }
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = limit.ok_or("is 1 to 100")?;
            }
            "cursor" => self.after = Some(Cursor::parse(&value).map_err(|error| error.to_string())?.0),
            "status" => {
                let status = Status::ALL.into_iter().find(|status| status.name() == value);
                self.status = Some(status.ok_or("is pending, approved, expired, canceled or failed")?);
            }
            "channel" => self.channel = Some(value),
            "address" => self.address = Some(value),
            "service" => {
                self.service = Some(value.parse().map_err(|error: wotp_core::domain::id::IdError| error.to_string())?)
            }
            "created_from" => self.created_from = Some(moment(&value)?),
            "created_before" => self.created_before = Some(moment(&value)?),
            other => {
                let key = other
                    .strip_prefix("metadata[")
                    .and_then(|rest| rest.strip_suffix(']'))
                    .filter(|key| !key.is_empty());
                let key = key.ok_or("is no parameter of this path")?;
                if self.metadata.len() >= METADATA_MAX {
                    return Err("is one of more than 20 pairs".to_owned());
                }
                self.metadata.insert(key.to_owned(), value);
            }
        }
        Ok(())
    }
}

/// For a moment in a body or a query: `#[serde(default, deserialize_with = "moment_or_null")]`. The words of the
/// library that reads it are about how it reads.
pub(super) fn moment_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| moment(&text)).transpose().map_err(serde::de::Error::custom)
}

pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    // A plus sign that was not escaped arrives as a space.
    Timestamp::from_str(&text.replace(' ', "+")).map_err(|_| "is a moment as in `2026-11-22T12:00:00Z`".to_owned())
}

/// Percent-decoding of `application/x-www-form-urlencoded`.
pub(super) fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'+' => plain.push(b' '),
            b'%' => {
                let hex = text.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
                plain.push(u8::from_str_radix(hex, 16).ok()?);
                at += 2;
            }
            other => plain.push(*other),
        }
        at += 1;
    }
    String::from_utf8(plain).ok()
}

impl FromRequestParts<Arc<Api>> for ListQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        Self::read(parts.uri.query().unwrap_or_default()).map_err(Problem::invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(query: &str) -> Vec<String> {
        ListQuery::read(query).unwrap_err().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn every_parameter_is_read() {
        let query = ListQuery::read("limit=7&status=pending&channel=email&address=%2B12025550123&created_from=2026-11-22T12:00:00Z&metadata[order]=a+b").unwrap();
        assert_eq!(
            (query.limit, query.status, query.address.as_deref()),
            (7, Some(Status::Pending), Some("+12025550123"))
        );
        assert_eq!(query.metadata["order"], "a b");
        assert_eq!(ListQuery::read("").unwrap().limit, 20);
    }

    #[test]
    fn what_does_not_hold_is_named() {
        assert_eq!(wrong("limit=0&status=done&page=2"), ["limit", "status", "page"]);
        assert_eq!(wrong("cursor=%2"), ["cursor"]);
        assert_eq!(wrong("metadata[]=1"), ["metadata[]"]);
    }
}
