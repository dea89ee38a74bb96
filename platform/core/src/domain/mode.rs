//! Live or test: decided by the key, kept with everything that the key starts.

use serde::{Deserialize, Serialize};

/// Whether real people are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Codes go out through channels.
    Live,
    /// Everything happens but the channel; replies carry `test_code`.
    Test,
}
