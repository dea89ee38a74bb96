/// Randomness that nobody can predict. The only source of randomness there is.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` from a generator approved for secrets.
    fn fill(&self, bytes: &mut [u8]);
}
