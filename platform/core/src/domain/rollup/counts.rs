//! What is counted of verifications.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::Histogram;
use crate::domain::magic_link::Method;
use crate::domain::news::What;
use crate::domain::verification::FailureReason;

/// What came of verifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Started, at the channel that was first in line; one that a guard stopped at none.
    pub started: u64,
    /// That came to the channel at all, first or after another one.
    pub tried: u64,
    /// How often a code was to go out through the channel: first, by a resend, or after another channel.
    pub sends: u64,
    /// Whose code the channel's server was the first to acknowledge.
    pub sent: u64,
    /// Whose code reached the device through the channel first. Not every channel can tell.
    pub delivered: u64,
    /// Approved, at the channel that was used last.
    pub approved: u64,
    /// Failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Whose time ran out.
    pub expired: u64,
    /// Called off.
    pub canceled: u64,
    /// From the start until a channel's server acknowledged.
    pub sent_after: Histogram,
    /// From the start until a code reached the device.
    pub delivered_after: Histogram,
    /// From the start until the right code was typed.
    pub approved_after: Histogram,
}

impl Counts {
    /// Stopped by a guard before anything was sent.
    pub fn blocked(&self) -> u64 {
        self.failed.get(FailureReason::Blocked.name()).copied().unwrap_or(0)
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            started,
            tried,
            sends,
            sent,
            delivered,
            approved,
            failed,
            expired,
            canceled,
            sent_after,
            delivered_after,
            approved_after,
        } = other;
        self.started += started;
        self.tried += tried;
        self.sends += sends;
        self.sent += sent;
        self.delivered += delivered;
        self.approved += approved;
        for (reason, count) in failed {
            *self.failed.entry(reason.clone()).or_default() += count;
        }
        self.expired += expired;
        self.canceled += canceled;
        self.sent_after.add(sent_after);
        self.delivered_after.add(delivered_after);
        self.approved_after.add(approved_after);
    }

    pub(super) fn note(&mut self, what: What, method: Method, reason: Option<FailureReason>, after: SignedDuration) {
        match what {
            // Stopped by a guard before it came to any channel, or nothing is to go out: the person writes.
            What::Started if reason == Some(FailureReason::Blocked) || method == Method::Inbound => self.started += 1,
            What::Started => {
                self.started += 1;
                self.tried += 1;
                self.sends += 1;
            }
            What::Next => {
                self.tried += 1;
                self.sends += 1;
            }
            What::Again => self.sends += 1,
            What::Sent => {
                self.sent += 1;
                self.sent_after.record(after);
            }
            What::Delivered => {
                self.delivered += 1;
                self.delivered_after.record(after);
            }
            What::Approved => {
                self.approved += 1;
                self.approved_after.record(after);
            }
            What::Failed | What::Blocked => {
                let reason = reason.map_or("unknown", FailureReason::name);
                *self.failed.entry(reason.to_owned()).or_default() += 1;
            }
            What::Expired => self.expired += 1,
            What::Canceled => self.canceled += 1,
        }
    }
}
