//! How often something happened in the last hour and the last day.

use std::collections::VecDeque;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use wotp_core::domain::Timestamp;

/// Counted together: what is in the window is true to within so much, and never too little.
const PIECE_SECONDS: i64 = 300;
const HOUR_PIECES: i64 = 12;
const DAY_PIECES: i64 = 288;

/// Counts by pieces of five minutes, of which the last day is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// Which piece, and how often; the oldest first.
    pieces: VecDeque<(i64, u32)>,
}

fn piece(at: Timestamp) -> i64 {
    at.as_second().div_euclid(PIECE_SECONDS)
}

/// Whether a piece is within the last so many: not one that was counted when the clock was ahead by more than a little, or
/// that would hold the number until then.
fn counts(piece: i64, now: i64, pieces: i64) -> bool {
    (now - pieces..=now + 1).contains(&piece)
}

impl Window {
    pub(super) fn count(&mut self, now: Timestamp) {
        let now = piece(now);
        // Should the clock have gone back, what was counted at a later time was so at this one.
        let mut ahead = 0;
        while self.pieces.back().is_some_and(|(piece, _)| *piece > now) {
            ahead += self.pieces.pop_back().map_or(0, |(_, times)| times);
        }
        match self.pieces.back_mut().filter(|(piece, _)| *piece == now) {
            Some((_, times)) => *times += ahead + 1,
            None => self.pieces.push_back((now, ahead + 1)),
        }
        while self.pieces.front().is_some_and(|(piece, _)| *piece < now - DAY_PIECES) {
            self.pieces.pop_front();
        }
    }

    /// Takes back one that was counted at `at`.
    pub(super) fn uncount(&mut self, at: Timestamp) {
        let at = piece(at);
        // The piece itself, as long as it is there: from a later one it would be taken too early.
        if let Some((_, times)) = self.pieces.iter_mut().find(|(piece, times)| *piece >= at && *times > 0) {
            *times -= 1;
        }
    }

    fn since(&self, now: Timestamp, pieces: i64) -> u32 {
        let now = piece(now);
        self.pieces.iter().filter(|(piece, _)| counts(*piece, now, pieces)).map(|(_, times)| times).sum()
    }

    pub(super) fn in_hour(&self, now: Timestamp) -> u32 {
        self.since(now, HOUR_PIECES)
    }

    pub(super) fn in_day(&self, now: Timestamp) -> u32 {
        self.since(now, DAY_PIECES)
    }

    pub(super) fn hour_frees(&self, now: Timestamp) -> Timestamp {
        self.frees(now, HOUR_PIECES)
    }

    pub(super) fn day_frees(&self, now: Timestamp) -> Timestamp {
        self.frees(now, DAY_PIECES)
    }

    /// When the oldest that still counts does no more.
    fn frees(&self, now: Timestamp, pieces: i64) -> Timestamp {
        let at = piece(now);
        let oldest = self.pieces.iter().find(|(piece, times)| counts(*piece, at, pieces) && *times > 0);
        let oldest = oldest.map_or(at, |(piece, _)| *piece);
        let frees = Timestamp::from_second((oldest + pieces + 1) * PIECE_SECONDS).unwrap_or(Timestamp::MAX);
        frees.max(now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX))
    }
}
