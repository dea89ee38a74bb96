//! Maintenance: while it is on, everything can be read and nothing is changed.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::ports::{Entity, Owner};

/// Longest message, in characters.
pub const MESSAGE_LENGTH_MAX: usize = 300;

/// That the platform is being worked on. There is one, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Since when.
    pub since: Timestamp,
    /// When it is expected to be over: what callers are told to wait for.
    pub until: Timestamp,
    /// What callers are told.
    pub message: String,
}

impl Maintenance {
    /// The id of the one.
    pub const ID: [u8; 16] = [0; 16];
}

impl Entity for Maintenance {
    const KIND: &'static str = "maintenance";

    fn id(&self) -> [u8; 16] {
        Self::ID
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }
}
