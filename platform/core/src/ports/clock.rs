use crate::domain::Timestamp;

/// What time it is. The only source of time there is.
pub trait Clock: Send + Sync {
    /// Now, in whole microseconds, so that what is stored is what was decided on.
    fn now(&self) -> Timestamp;
}
