//! Which of a tenant's numbers a message goes through.

use sha2::{Digest, Sha256};
use wotp_core::domain::id::DeliveryId;

use crate::health::Grade;
use crate::listen::SessionId;

/// A number that a message could go through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) session: SessionId,
    /// Whether it has written with the recipient.
    pub(crate) knows: bool,
    pub(crate) grade: Grade,
    /// How much it may send today.
    pub(crate) left_today: u32,
}

/// The numbers in the order in which they are tried. Who knows the recipient comes first, then who is well. Among equals
/// the message itself decides, each getting a part as large as what it has left; so a retry goes the same way as before,
/// unless much has changed.
pub(crate) fn ranked(delivery: DeliveryId, mut candidates: Vec<Candidate>) -> Vec<SessionId> {
    candidates.sort_by(|one, other| {
        let by_class = (!one.knows, one.grade).cmp(&(!other.knows, other.grade));
        by_class.then_with(|| draw(delivery, other).total_cmp(&draw(delivery, one)))
    });
    candidates.into_iter().map(|candidate| candidate.session).collect()
}

/// Weighted rendezvous hashing: of all draws the largest is a candidate's with a probability that is its weight's part.
/// Source: Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005, the logarithmic method.
fn draw(delivery: DeliveryId, candidate: &Candidate) -> f64 {
    let hash = Sha256::new_with_prefix(delivery.to_bytes()).chain_update(candidate.session.connection.to_bytes());
    let hash = hash.finalize();
    let bits = hash.iter().take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    // Strictly between 0 and 1.
    let chance = (f64::from(bits) + 0.5) / (f64::from(u32::MAX) + 1.0);
    -f64::from(candidate.left_today.max(1)) / chance.ln()
}

#[cfg(test)]
mod tests {
    use wotp_core::domain::id::{ConnectionId, TenantId};

    use super::*;

    fn candidate(nth: u8, left_today: u32) -> Candidate {
        let session =
            SessionId { tenant: TenantId::from_bytes([1; 16]), connection: ConnectionId::from_bytes([nth; 16]) };
        Candidate { session, knows: false, grade: Grade::Well, left_today }
    }

    fn delivery(n: u32) -> DeliveryId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        DeliveryId::from_bytes(bytes)
    }

    #[test]
    fn each_gets_a_part_as_large_as_what_it_has_left() {
        let candidates = vec![candidate(1, 100), candidate(2, 200), candidate(3, 700)];
        let mut parts = [0_u32; 3];
        for n in 0..10_000 {
            let first = ranked(delivery(n), candidates.clone())[0];
            parts[candidates.iter().position(|candidate| candidate.session == first).unwrap()] += 1;
        }
        // Within four standard deviations.
        for (part, expected) in parts.iter().zip([1_000, 2_000, 7_000]) {
            assert!(part.abs_diff(expected) < 200, "{parts:?}");
        }
    }

    #[test]
    fn the_same_message_goes_the_same_way_also_when_another_number_has_come_or_gone() {
        let all = vec![candidate(1, 100), candidate(2, 100), candidate(3, 100)];
        for n in 0..200 {
            let order = ranked(delivery(n), all.clone());
            assert_eq!(order, ranked(delivery(n), all.iter().rev().copied().collect()));
            let without = all.iter().filter(|candidate| candidate.session != order[2]).copied().collect();
            assert_eq!(ranked(delivery(n), without), order[..2]);
        }
    }

    #[test]
    fn who_knows_the_recipient_comes_first_and_then_who_is_well() {
        let knows = Candidate { knows: true, grade: Grade::Limited, ..candidate(1, 1) };
        let limited = Candidate { grade: Grade::Limited, ..candidate(2, 1_000_000) };
        let well = candidate(3, 1);
        for n in 0..50 {
            let order = ranked(delivery(n), vec![limited, well, knows]);
            assert_eq!(order, [knows.session, well.session, limited.session]);
        }
    }
}
