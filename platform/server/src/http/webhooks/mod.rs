//! `/v1/webhooks`: where events go, and what became of them.

pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod schemas;

use wotp_core::domain::cursor::Cursor;

use super::Problem;

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

pub(super) fn limit_default() -> usize {
    LIMIT_DEFAULT
}

/// How many on a page.
pub(super) fn limit(asked: usize) -> Result<usize, Problem> {
    if (1..=LIMIT_MAX).contains(&asked) { Ok(asked) } else { Err(Problem::field("limit", "is 1 to 100")) }
}

/// Reads a cursor that we gave.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<[u8; 16]>, Problem> {
    let cursor = text.map(Cursor::parse).transpose().map_err(|error| Problem::field("cursor", error.to_string()))?;
    Ok(cursor.map(|cursor| cursor.0))
}
