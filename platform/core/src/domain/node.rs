//! The processes that serve one installation together.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::NodeId;

/// A node that was not heard of for so long is gone: what it owned is somebody else's to take.
pub const GONE_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// Answers the HTTP API.
    Api,
    /// Delivers, and does what the passing of time asks for.
    Worker,
}

impl Role {
    /// Whether it answers the HTTP API.
    pub fn serves_api(self) -> bool {
        self != Self::Worker
    }

    /// Whether it delivers and sweeps.
    pub fn works(self) -> bool {
        self != Self::Api
    }

    /// Its name, as in `all`.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}

/// One run of the server, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What it does.
    pub role: Role,
    /// The machine that it runs on, for people.
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last said that it is there.
    pub seen_at: Timestamp,
    /// Whether it is stopping: it finishes what it has and takes nothing new.
    pub draining: bool,
}

impl Node {
    /// How it is, as people are told: `serving`, `draining` or `gone`.
    pub fn status(&self, now: Timestamp) -> &'static str {
        match (self.is_gone(now), self.draining) {
            (true, _) => "gone",
            (false, true) => "draining",
            (false, false) => "serving",
        }
    }

    /// Whether it has not been heard of for too long.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen_at) >= GONE_AFTER
    }
}
