//! Reading what must not be lost with a file that is about to be replaced.

use std::path::Path;

use wotp_core::domain::api_key::ApiKey;

use super::fault::Fault;
use super::read;
use super::schema::{self, OpenError};

/// All API keys in a store, of this version or an older one, in no order. Changes nothing, and goes
/// without a check of the whole file: of one that is damaged elsewhere, the keys can still be read.
///
/// Blocks until it is done.
///
/// # Errors
/// [`OpenError`], when not all of them can be read.
pub fn salvage_keys(path: &Path) -> Result<Vec<ApiKey>, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let sql = |error| OpenError::of(path, error);
    let connection = schema::connect_to_read(path).map_err(sql)?;
    if schema::belongs(path, &connection)?.is_none() {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: "it is empty".to_owned() });
    }
    // The same in every version so far.
    read::all(&connection, "SELECT doc FROM api_key", &[]).map_err(|fault| match fault {
        Fault::Sql(error) => sql(error),
        other => OpenError::Damaged { path: path.to_owned(), detail: other.to_string() },
    })
}
