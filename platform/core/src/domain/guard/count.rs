//! What nodes count for the guard, each by itself: how much of a cap is used, and what was started and approved.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::Timestamp;
use crate::domain::id::{CountId, ServiceId, TenantId};
use crate::domain::quota::Window;
use crate::ports::{Entity, IndexKey, Owner};

/// A stretch of time that uses are counted in, `[starts, ends)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first moment in it.
    pub starts: Timestamp,
    /// The first moment after it.
    pub ends: Timestamp,
}

impl Span {
    /// The minute of the clock that `now` lies in.
    pub fn minute(now: Timestamp) -> Self {
        Self::of_seconds(now, 60)
    }

    /// The hour of the clock that `now` lies in, UTC.
    pub fn hour(now: Timestamp) -> Self {
        Self::of_seconds(now, 3600)
    }

    /// The day that `now` lies in, UTC.
    pub fn day(now: Timestamp) -> Self {
        let day = Window::day(now);
        Self { starts: day.starts, ends: day.ends }
    }

    fn of_seconds(now: Timestamp, seconds: i64) -> Self {
        let starts = now.as_second().div_euclid(seconds) * seconds;
        let moment = |second| Timestamp::from_second(second).unwrap_or(now);
        Self { starts: moment(starts), ends: moment(starts + seconds) }
    }
}

/// What is used of a cap in a span, as one node counted it. No other node writes to it, so nodes that serve one
/// attack do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseCount {
    /// Whose cap it is.
    pub tenant: TenantId,
    /// At which service.
    pub service: ServiceId,
    /// What is counted: a keyed mark of the rule and of what it is about, never an address.
    pub mark: CountId,
    /// Who counted.
    pub node: CountId,
    /// When the span begins.
    pub starts: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// How much is used.
    pub used: u64,
}

impl UseCount {
    /// The index that all nodes' counts of one span are found by.
    pub const SPAN: &'static str = "span";

    /// The value in that index.
    pub fn span(mark: CountId, starts: Timestamp) -> Vec<u8> {
        [mark.to_bytes().as_slice(), &starts.as_second().to_be_bytes()].concat()
    }
}

impl Entity for UseCount {
    const KIND: &'static str = "guard_use";

    fn id(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(Self::span(self.mark, self.starts));
        hash.update(self.node.to_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        *digest.first_chunk().expect("a digest has 32 bytes")
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(Self::SPAN, Self::span(self.mark, self.starts))]
    }

    /// A minute after its span, when no node counts in it any more, or up to a quarter of the span later: those of
    /// a day are many and all end at once, and are not to be deleted all at once.
    fn wake_at(&self) -> Option<Timestamp> {
        let quarter = self.ends.duration_since(self.starts).as_secs() / 4;
        let part = u16::from_be_bytes(*self.id().first_chunk().unwrap_or(&[0; 2]));
        let later = quarter.saturating_mul(part.into()) >> 16;
        self.ends.saturating_add(SignedDuration::from_secs(60 + later)).ok()
    }
}

/// What was started and approved of a prefix in a minute, as far as a node has not told it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The number without its last four digits.
    pub prefix: String,
    /// Its country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The minute in which the verifications were started, since 1970.
    pub minute: i64,
    /// How many were. Below nothing where it turned out that codes could not be delivered.
    pub started: i64,
    /// How many of these were approved.
    pub approved: i64,
}

/// What one node saw of a service since it last told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenBatch {
    /// Its id.
    pub id: CountId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which service.
    pub service: ServiceId,
    /// When it was told.
    pub at: Timestamp,
    /// What was seen.
    pub seen: Vec<Seen>,
}

impl SeenBatch {
    /// Most that one batch holds.
    pub const SEEN_MAX: usize = 100;
}

impl Entity for SeenBatch {
    const KIND: &'static str = "guard_seen";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// At once: the watch takes it in and deletes it.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_day_are_forgotten_one_after_another() {
        let Span { starts, ends } = Span::day("2026-11-22T12:34:56Z".parse().unwrap());
        let wakes = (0..100u8).map(|n| {
            let [tenant, mark, node] = [[1; 16], [n; 16], [3; 16]];
            let (tenant, service) = (TenantId::from_bytes(tenant), ServiceId::from_bytes([2; 16]));
            let (mark, node) = (CountId::from_bytes(mark), CountId::from_bytes(node));
            UseCount { tenant, service, mark, node, starts, ends, used: 1 }.wake_at().unwrap().duration_since(ends)
        });
        let wakes: Vec<i64> = wakes.map(|after| after.as_secs()).collect();
        assert!(wakes.iter().all(|after| (60..=60 + 6 * 3600).contains(after)), "{wakes:?}");
        let hours: std::collections::BTreeSet<i64> = wakes.iter().map(|after| after / 3600).collect();
        assert!(hours.len() >= 5, "all over six hours: {wakes:?}");
    }

    #[test]
    fn spans_are_those_of_the_clock() {
        let now: Timestamp = "2026-11-22T12:34:56Z".parse().unwrap();
        let shown = |span: Span| (span.starts.to_string(), span.ends.to_string());
        assert_eq!(shown(Span::minute(now)), ("2026-11-22T12:34:00Z".into(), "2026-11-22T12:35:00Z".into()));
        assert_eq!(shown(Span::hour(now)), ("2026-11-22T12:00:00Z".into(), "2026-11-22T13:00:00Z".into()));
        assert_eq!(shown(Span::day(now)), ("2026-11-22T00:00:00Z".into(), "2026-11-23T00:00:00Z".into()));
    }
}
