//! Announcements: what operators tell everybody who is signed in.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::AnnouncementId;
use crate::ports::{Entity, Owner};

/// Longest title, in characters.
pub const TITLE_LENGTH_MAX: usize = 120;
/// Longest text, in characters.
pub const TEXT_LENGTH_MAX: usize = 4000;

/// How much an announcement matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something may not work as usual.
    Warning,
    /// Something does not work.
    Critical,
}

/// What operators tell everybody, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its id.
    pub id: AnnouncementId,
    /// In one line.
    pub title: String,
    /// The rest.
    pub text: String,
    /// How much it matters.
    pub level: Level,
    /// From when on it is shown.
    pub starts_at: Timestamp,
    /// When it is not shown any more; none means until it is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl Announcement {
    /// Whether it is shown at `now`.
    pub fn is_shown(&self, now: Timestamp) -> bool {
        self.starts_at <= now && self.ends_at.is_none_or(|end| now < end)
    }
}

impl Entity for Announcement {
    const KIND: &'static str = "announcement";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }
}
