//! What went wrong in MongoDB, in the words of the port.

use std::sync::Arc;

use mongodb::bson;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use wotp_core::ports::StoreError;

use crate::turns::NoTurn;

/// The code of a write that met a unique index.
const DUPLICATE_KEY: i32 = 11000;
/// The code of a write that a collection's validator refused.
const VALIDATION_FAILED: i32 = 121;
/// The code of a transaction that met another one's write.
const WRITE_CONFLICT: i32 = 112;
/// The code for a transaction that the server does not know any more.
const NO_SUCH_TRANSACTION: i32 = 251;

/// The code for a disk that is full.
const OUT_OF_DISK_SPACE: i32 = 14031;

/// A command or a read that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("MongoDB: {}", without_address(.0))]
    Mongo(Box<Error>),
    #[error("a stored document cannot be read")]
    Read(#[from] bson::error::Error),
    #[error("a stored document is not as it should be: {0}")]
    Shape(&'static str),
    #[error("{0} requests wait for MongoDB already")]
    Busy(usize),
    #[error(transparent)]
    NoTurn(#[from] NoTurn),
    #[error("MongoDB refused one change (code {0})")]
    Statement(i32),
    #[error("MongoDB did not answer in time")]
    Late,
    #[error("the store is closed, or a task of it panicked")]
    Closed,
    #[error("a record of another tenant was handed in")]
    Foreign,
    /// What went wrong with a batch, for each that was in it.
    #[error(transparent)]
    Shared(Arc<Self>),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Mongo(Box::new(error))
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        let cause = match &fault {
            Fault::Shared(shared) => shared,
            own => own,
        };
        match cause {
            Fault::Read(_) | Fault::Shape(_) => Self::Damaged(Box::new(fault)),
            Fault::Mongo(error) => match *error.kind {
                ErrorKind::BsonDeserialization(_) => Self::Damaged(Box::new(fault)),
                _ if codes(error).contains(&OUT_OF_DISK_SPACE) => Self::Full(Box::new(fault)),
                _ => Self::Unavailable(Box::new(fault)),
            },
            Fault::Statement(_)
            | Fault::Busy(_)
            | Fault::NoTurn(_)
            | Fault::Late
            | Fault::Closed
            | Fault::Foreign
            | Fault::Shared(_) => Self::Unavailable(Box::new(fault)),
        }
    }
}

/// The driver's words, cut off before they list servers and options.
fn without_address(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } => "no primary is to be found".to_owned(),
        kind => kind.to_string(),
    }
}

/// Every code that an error carries.
fn codes(error: &Error) -> Vec<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => vec![command.code],
        ErrorKind::Write(WriteFailure::WriteError(write)) => vec![write.code],
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => vec![concern.code],
        ErrorKind::InsertMany(many) => many.write_errors.iter().flatten().map(|error| error.code).collect(),
        _ => Vec::new(),
    }
}

/// A unique index refused a write.
pub(super) fn is_duplicate(error: &Error) -> bool {
    codes(error).contains(&DUPLICATE_KEY)
}

/// Unique indexes refused some writes of many, and nothing else went wrong with any.
#[cfg(feature = "sqlite")]
pub(super) fn is_all_duplicates(error: &Error) -> bool {
    let codes = codes(error);
    !codes.is_empty() && codes.iter().all(|code| *code == DUPLICATE_KEY)
}

/// Another transaction wrote the same.
pub(super) fn is_conflict(error: &Error) -> bool {
    codes(error).contains(&WRITE_CONFLICT)
}

/// The server gave the transaction up, or was another one.
pub(super) fn is_gone(error: &Error) -> bool {
    codes(error).contains(&NO_SUCH_TRANSACTION)
}

/// Whether a statement of an `update` command found nothing to change: it then tried to insert, and
/// met the record itself, or the validator that keeps half a record out.
pub(super) fn found_nothing(code: i32) -> bool {
    matches!(code, DUPLICATE_KEY | VALIDATION_FAILED)
}
