//! Why a move does not begin or end, and what to do about it.

use wotp_core::domain::Timestamp;
use wotp_core::ports::StoreError;

use crate::holding::Kind;
use crate::mongo::{ConnectError, FillError};

/// How a thing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Only the source has it.
    Missing,
    /// Only the target has it.
    Extra,
    /// They have something else under its name.
    Other,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing in the target",
            Self::Extra => "is in the target and not in the source",
            Self::Other => "is another in the target than in the source",
        })
    }
}

/// Why a move does not begin, or did not end. [`help`](Self::help) says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The target cannot be reached.
    #[error("the target cannot be used")]
    Connect(#[from] ConnectError),
    /// Something is there already.
    #[error("the target is not empty: it holds {0} already")]
    Holds(&'static str),
    /// Another move was begun there.
    #[error(
        "the target holds an unfinished move, begun {0}, of another database, or of this one before it was used again"
    )]
    Other(Timestamp),
    /// A node works on it.
    #[error("a node runs on the target, on the machine {0}")]
    Node(String),
    /// Others seal with another key.
    #[error("the target was used with another master key number {0} than this database")]
    Key(u8),
    /// The source says that it was moved, and the target does not.
    #[error("this database was moved away already, and the target knows nothing of it")]
    Unknown,
    /// What is stored in the source is damaged.
    #[error("{kind} {name} cannot be read", kind = kind.name())]
    Unreadable {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// It has something that BSON has no words for.
    #[error("{kind} {name} cannot be stored in MongoDB: a name in it, of its metadata, has the character NUL", kind = kind.name())]
    Unfit {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Source and target are not the same.
    #[error("{kind} {name} {difference}", kind = kind.name())]
    Differs {
        /// Its kind.
        kind: Kind,
        /// The first that differs.
        name: String,
        /// How.
        difference: Difference,
    },
    /// What is in the target is not what a node could work with.
    #[error("{kind} {name} cannot be read back from the target: {why}", kind = kind.name())]
    Broken {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The source cannot be read.
    #[error("the source cannot be read")]
    Source(#[source] StoreError),
    /// The target does not do what it is asked.
    #[error("the target fails")]
    Target(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl MoveError {
    /// What to do about it, where its words do not say.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Connect(_) | Self::Source(_) => None,
            Self::Holds(_) => Some(
                "a move needs a database of its own: name another in the URL, or drop this one in MongoDB's shell \
                 (db.dropDatabase()) if nothing in it is needed",
            ),
            Self::Other(_) => Some(
                "go on with that one from the database that it was begun with; or drop the target in MongoDB's shell \
                 (db.dropDatabase()) and run the same command again",
            ),
            Self::Node(_) => Some("stop all nodes of the target; one that was killed counts as there for 10 seconds"),
            Self::Key(_) => Some("use the data folder whose master.key the target was used with, or drop the target"),
            Self::Unknown => Some(
                "name the target that it was moved to; to move it anew, remove the file beside it whose name ends in \
                 .moved",
            ),
            Self::Unreadable { .. } | Self::Unfit { .. } => Some(
                "the same command with --leave-unreadable goes on without such, and says which it left; the source \
                 keeps them",
            ),
            Self::Differs { .. } | Self::Broken { .. } => Some(
                "something else wrote to the target, or it lost something: drop it in MongoDB's shell \
                 (db.dropDatabase()) and run the same command again. Until then no node starts on it",
            ),
            Self::Target(_) => Some("look at MongoDB's log; the same command again goes on where it was"),
        }
    }
}

impl From<FillError> for MoveError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Holds(what) => Self::Holds(what),
            FillError::Other(since) => Self::Other(since),
            FillError::Node(host) => Self::Node(host),
            FillError::Key(key) => Self::Key(key),
            FillError::Unknown => Self::Unknown,
            other @ (FillError::Schema(_) | FillError::Fault(_)) => Self::Target(Box::new(other)),
        }
    }
}
