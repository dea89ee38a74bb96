//! Reading what must not be lost with a file that is about to be replaced.

use std::path::Path;

use rusqlite::{Connection, params};
use wotp_core::domain::api_key::ApiKey;
use wotp_core::ports::{Entity, IndexKey};

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
    if !has_entities(path, &connection)? {
        return Ok(Vec::new());
    }
    read::all(&connection, "SELECT doc FROM entity WHERE kind = ?", &[&E::KIND]).map_err(|fault| failed(path, fault))
}

/// The values under which things of a kind are listed, of those that begin as `key` does; none in a store of a version
/// that had none.
///
/// # Errors
/// [`OpenError`], when not all of them can be read.
pub fn salvage_values<E: Entity>(path: &Path, key: &IndexKey) -> Result<Vec<Vec<u8>>, OpenError> {
    let connection = connect(path)?;
    if !has_entities(path, &connection)? {
        return Ok(Vec::new());
    }
    let read = || {
        let sql = "SELECT DISTINCT value FROM entity_key WHERE kind = ?1 AND name = ?2 AND substr(value, 1, ?3) = ?4";
        let values = params![E::KIND, key.index, key.value.len(), key.value];
        let mut find = connection.prepare(sql)?;
        find.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<Vec<Vec<u8>>>>()
    };
    read().map_err(|error| OpenError::of(path, error))
}

fn has_entities(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let tables: Result<u64, _> =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'entity'", [], |row| row.get(0));
    Ok(tables.map_err(|error| OpenError::of(path, error))? > 0)
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
