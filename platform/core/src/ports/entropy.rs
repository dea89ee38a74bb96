use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroizing;

/// Randomness that nobody can predict. The only source of randomness there is.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` from a generator approved for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// Bytes that are drawn at once: what a start of a verification takes.
const DRAWN: usize = 144;

/// Randomness for one use case, drawn at once and given out piece by piece, since each question to
/// the system costs as much as the rest of making an id.
///
/// It must not outlive the use case: a machine that is resumed twice from one snapshot would give
/// the same bytes twice.
pub struct Drawn<'a> {
    source: &'a dyn Entropy,
    bytes: Zeroizing<[u8; DRAWN]>,
    given: AtomicUsize,
}

impl<'a> Drawn<'a> {
    /// Draws from `source`.
    pub fn from(source: &'a dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; DRAWN]);
        source.fill(&mut *bytes);
        Self { source, bytes, given: AtomicUsize::new(0) }
    }
}

impl Entropy for Drawn<'_> {
    /// No byte is given twice. When it runs out it asks the source.
    fn fill(&self, bytes: &mut [u8]) {
        let from = self.given.fetch_add(bytes.len(), Ordering::Relaxed);
        match self.bytes.get(from..from.saturating_add(bytes.len())) {
            Some(drawn) => bytes.copy_from_slice(drawn),
            None => self.source.fill(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up, so that a byte that was given twice shows.
    struct Counting(AtomicUsize);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            let from = self.0.fetch_add(bytes.len(), Ordering::Relaxed);
            for (n, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::try_from((from + n) % 251).unwrap();
            }
        }
    }

    #[test]
    fn no_byte_is_given_twice_and_it_never_runs_out() {
        let source = Counting(AtomicUsize::new(0));
        let drawn = Drawn::from(&source);
        let mut given = Vec::new();
        for size in [10, 24, 32, 24, 10, 24, 8, 16, 24] {
            let mut bytes = vec![0; size];
            drawn.fill(&mut bytes);
            given.extend(bytes);
        }
        // 132 bytes fit; then 16 were asked of the source, and 24 more.
        let expected: Vec<u8> = (0..132).chain(144..184).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert_eq!(given, expected);
    }
}
