//! What the host offers besides HTTP: a log, the time, randomness, marks of secrets.

use crate::sandbox::Call;
use crate::since_v0_1_0::wotp::channel::host::{self, Level};
use crate::since_v0_1_0::wotp::channel::types;

/// What a line costs at least of what may be written, in bytes: the log has more to write than the line.
const LINE_COST: usize = 64;
/// Most random bytes at once.
const RANDOM_MAX: usize = 1024;

impl types::Host for Call {}

impl host::Host for Call {
    async fn log(&mut self, level: Level, line: String) {
        let Some(left) = self.log_left.checked_sub(line.len().max(LINE_COST)) else {
            if std::mem::take(&mut self.log_left) > 0 {
                tracing::warn!(channel = self.grant.channel, "a plugin writes more than it may; the rest is dropped");
            }
            return;
        };
        self.log_left = left;
        let (channel, line) = (self.grant.channel.as_str(), self.redacted(&line));
        match level {
            Level::Debug => tracing::debug!(channel, line, "a plugin says"),
            Level::Info => tracing::info!(channel, line, "a plugin says"),
            Level::Warn => tracing::warn!(channel, line, "a plugin says"),
            Level::Error => tracing::error!(channel, line, "a plugin says"),
        }
    }

    /// Milliseconds are far below 2^53 for the next 280,000 years.
    async fn now_milliseconds(&mut self) -> f64 {
        self.grant.world.clock.now().as_millisecond() as f64
    }

    async fn random(&mut self, count: u32) -> Vec<u8> {
        let mut bytes = vec![0; RANDOM_MAX.min(count as usize)];
        self.grant.world.entropy.fill(&mut bytes);
        bytes
    }

    async fn secret(&mut self, name: String) -> Option<String> {
        let granted = self.grant.secrets.iter().any(|secret| secret.name == name);
        granted.then(|| self.marks.mark(&name))
    }
}
