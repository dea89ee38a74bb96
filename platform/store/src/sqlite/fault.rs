//! What went wrong in SQLite, in the words of the port.

use rusqlite::ErrorCode;
use rusqlite::ffi;
use wotp_core::ports::StoreError;

use crate::turns::NoTurn;

/// A command or a read that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
    #[error(transparent)]
    NoTurn(#[from] NoTurn),
    #[error("the writer of the store panicked")]
    Panicked,
    #[error("the store is closed")]
    Closed,
    #[error("a record of another tenant was handed in")]
    Foreign,
    #[error("two records have the id {0}")]
    Twice(String),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Document(_) | Fault::Twice(_) => Self::Damaged(Box::new(fault)),
            Fault::Sql(error) => match kind(error) {
                Kind::Full => Self::Full(Box::new(fault)),
                Kind::ReadOnly => Self::ReadOnly(Box::new(fault)),
                Kind::Damaged => Self::Damaged(Box::new(fault)),
                Kind::Other => Self::Unavailable(Box::new(fault)),
            },
            Fault::NoTurn(_) | Fault::Panicked | Fault::Closed | Fault::Foreign => Self::Unavailable(Box::new(fault)),
        }
    }
}

/// What an SQLite error asks of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    ReadOnly,
    Damaged,
    Other,
}

pub(super) fn kind(error: &rusqlite::Error) -> Kind {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => match (code.code, code.extended_code) {
            // SQLite turns ENOSPC of a write into SQLITE_FULL itself; the shared-memory file of the
            // write-ahead log is the exception, and it only fails to grow for want of space.
            (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Kind::Full,
            (ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied, _) => Kind::ReadOnly,
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Kind::Damaged,
            _ => Kind::Other,
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => Kind::Damaged,
        _ => Kind::Other,
    }
}
