//! The `RateLimit` header fields (draft-ietf-httpapi-ratelimit-headers).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use wotp_core::domain::rate::{Rate, RateDecision};

/// What the tenant's bucket says after a call that was allowed; nothing when the plan has no rate.
pub(super) fn headers(taken: Option<(Rate, RateDecision)>, now: Timestamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some((rate, decision)) = taken else { return headers };
    let window = rate.burst.div_ceil(rate.per_second.max(1)).max(1);
    let policy = format!("\"tenant\";q={};w={window}", rate.burst);
    let full_in = u64::try_from(decision.at.duration_since(now).as_millis()).unwrap_or(0).div_ceil(1000);
    let state = format!("\"tenant\";r={};t={full_in}", decision.remaining);
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        let value = HeaderValue::from_str(&value).expect("digits and ASCII names");
        headers.insert(HeaderName::from_static(name), value);
    }
    headers
}
