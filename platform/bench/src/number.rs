//! Phone numbers for load: unique, and valid by libphonenumber's rules.
//!
//! The numbers reserved for fiction (`+1 202 555 0100` to `0199`) are too few for a million
//! verifications of which each must have an address of its own, or the limits per address would be what
//! is measured. So these are ordinary North American numbers. That is tolerable here and nowhere else,
//! because the driver starts its server with the console channel writing to nowhere and no other channel:
//! nothing can reach the people who hold them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Area codes without exceptions of their own in libphonenumber's pattern.
const AREAS: [u64; 16] = [212, 213, 214, 215, 303, 312, 404, 415, 503, 602, 612, 617, 702, 713, 801, 919];
/// Exchanges `2XX` to `9XX` without `555` (fiction, directory services) and those in `11` (services).
static EXCHANGE: LazyLock<Vec<u64>> = LazyLock::new(|| (200..1000).filter(|n| *n != 555 && n % 100 != 11).collect());
const EXCHANGES: u64 = 800 - 1 - 8;
const PER_EXCHANGE: u64 = 10_000;

/// How many different numbers there are.
pub const COUNT: u64 = AREAS.len() as u64 * EXCHANGES * PER_EXCHANGE;

/// First index that load uses; those below belong to verifications stored beforehand.
pub const FIRST_OF_LOAD: u64 = 10_000_000;

/// Scatters neighbours over the whole space, so that no index of the store profits from an order that
/// real addresses do not have. A prime above every factor of [`COUNT`], so that it is a permutation.
const STRIDE: u64 = 48_271_193;

/// The number with this index, in E.164. Different indices below [`COUNT`] give different numbers.
pub fn e164(index: u64) -> String {
    let scattered = (index % COUNT) * STRIDE % COUNT;
    let (rest, line) = (scattered / PER_EXCHANGE, scattered % PER_EXCHANGE);
    let area = AREAS[(rest / EXCHANGES) as usize];
    let exchange = EXCHANGE[(rest % EXCHANGES) as usize];
    format!("+1{area}{exchange}{line:04}")
}

/// Hands out each number once, to any number of callers.
#[derive(Debug)]
pub struct Numbers(AtomicU64);

impl Numbers {
    /// Numbers for load, none of which is stored beforehand.
    pub const fn for_load() -> Self {
        Self(AtomicU64::new(FIRST_OF_LOAD))
    }

    /// A number that nobody else gets from here.
    pub fn take(&self) -> String {
        e164(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlibphonenumber::PHONE_NUMBER_UTIL;
    use std::collections::HashSet;

    #[test]
    fn every_number_is_different_and_valid() {
        let mut seen = HashSet::new();
        for index in (0..20_000).chain(FIRST_OF_LOAD..FIRST_OF_LOAD + 20_000) {
            let number = e164(index);
            let parsed = PHONE_NUMBER_UTIL.parse(&number, None).unwrap();
            assert!(PHONE_NUMBER_UTIL.is_valid_number(&parsed), "{number}");
            assert!(seen.insert(number));
        }
    }

    #[test]
    fn the_exchanges_are_as_many_as_the_arithmetic_says() {
        assert_eq!(EXCHANGE.len() as u64, EXCHANGES);
    }

    #[test]
    fn the_stride_is_a_permutation() {
        let (mut a, mut b) = (COUNT, STRIDE);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        assert_eq!(a, 1, "the stride and the count have a common factor");
    }
}
