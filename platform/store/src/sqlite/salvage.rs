//! Reading what must not be lost with a file that is about to be replaced.

use std::path::Path;

use rusqlite::Connection;
use wotp_core::domain::api_key::ApiKey;
use wotp_core::ports::Entity;

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
    // The same in every version so far.
    read::all(&connect(path)?, "SELECT doc FROM api_key", &[]).map_err(|fault| failed(path, fault))
}

/// All things of a kind in a store, as [`salvage_keys`] does; none in one of a version that had none.
///
/// # Errors
/// [`OpenError`], when not all of them can be read.
pub fn salvage_entities<E: Entity>(path: &Path) -> Result<Vec<E>, OpenError> {
    let connection = connect(path)?;
    let tables: Result<u64, _> =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'entity'", [], |row| row.get(0));
    if tables.map_err(|error| OpenError::of(path, error))? == 0 {
        return Ok(Vec::new());
    }
    read::all(&connection, "SELECT doc FROM entity WHERE kind = ?", &[&E::KIND]).map_err(|fault| failed(path, fault))
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let connection = schema::connect_to_read(path).map_err(|error| OpenError::of(path, error))?;
    if schema::belongs(path, &connection)?.is_none() {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: "it is empty".to_owned() });
    }
    Ok(connection)
}

fn failed(path: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::Sql(error) => OpenError::of(path, error),
        other => OpenError::Damaged { path: path.to_owned(), detail: other.to_string() },
    }
}
