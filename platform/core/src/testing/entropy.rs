//! Randomness that is the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::ports::Entropy;

/// SHA-256 of a seed and a counter: looks random, never repeats, and a failing test fails again.
///
/// ```
/// use wotp_core::{ports::Entropy, testing::SeededEntropy};
/// let (mut one, mut same) = ([0; 40], [0; 40]);
/// SeededEntropy::new(7).fill(&mut one);
/// SeededEntropy::new(7).fill(&mut same);
/// assert_eq!(one, same);
/// ```
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    next: AtomicU64,
}

impl SeededEntropy {
    /// Another seed is another sequence.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = self.next.fetch_add(1, Ordering::Relaxed);
            let hash = Sha256::new_with_prefix(self.seed.to_be_bytes()).chain_update(block.to_be_bytes()).finalize();
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }
}
