use crate::domain::Timestamp;

/// What time it is. The only source of time there is.
pub trait Clock: Send + Sync {
    /// Now, in whole microseconds, so that what is stored is what was decided on.
    ///
    /// Never before a moment that it told earlier: between two of them lies at least the time that
    /// really passed. A restart may go back.
    fn now(&self) -> Timestamp;
}
