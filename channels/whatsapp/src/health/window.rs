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

impl Window {
    pub(super) fn count(&mut self, now: Timestamp) {
        // Never behind what was counted last, should the clock have gone back.
        let newest = self.pieces.back().map_or(i64::MIN, |(piece, _)| *piece);
        let now = piece(now).max(newest);
        match self.pieces.back_mut().filter(|(piece, _)| *piece == now) {
            Some((_, times)) => *times += 1,
            None => self.pieces.push_back((now, 1)),
        }
        while self.pieces.front().is_some_and(|(piece, _)| *piece < now - DAY_PIECES) {
            self.pieces.pop_front();
        }
    }

    /// Takes back one that was counted at `at`.
    pub(super) fn uncount(&mut self, at: Timestamp) {
        let at = piece(at);
        if let Some((_, times)) = self.pieces.iter_mut().rev().find(|(piece, times)| *piece >= at && *times > 0) {
            *times -= 1;
        }
    }

    fn since(&self, now: Timestamp, pieces: i64) -> u32 {
        let from = piece(now) - pieces;
        self.pieces.iter().rev().take_while(|(piece, _)| *piece >= from).map(|(_, times)| times).sum()
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
        let from = piece(now) - pieces;
        let oldest = self.pieces.iter().find(|(piece, times)| *piece >= from && *times > 0);
        let oldest = oldest.map_or(piece(now), |(piece, _)| *piece);
        let frees = Timestamp::from_second((oldest + pieces + 1) * PIECE_SECONDS).unwrap_or(Timestamp::MAX);
        frees.max(now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX))
    }
}
