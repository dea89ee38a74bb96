//! How many codes for an account one client had sent to one address.
//!
//! For its own codes the platform counts like this, and takes an address for full only much later: whoever asks for
//! codes for somebody else's address uses up their own allowance, not the owner's.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::address_limits::{AddressHistory, AddressLimited, AddressLimits, LONG_WINDOW};
use crate::ports::{Entity, Owner};

/// What one client had sent to one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeSends {
    /// A keyed hash of both, as hexadecimal digits.
    name: String,
    /// When, within the last day.
    sends: Vec<Timestamp>,
}

impl Entity for CodeSends {
    const KIND: &'static str = "code_sends";

    fn id(&self) -> [u8; 16] {
        u128::from_str_radix(&self.name, 16).unwrap_or(0).to_be_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.sends.last().and_then(|last| last.saturating_add(LONG_WINDOW).ok())
    }
}

impl CodeSends {
    /// Nothing sent yet.
    pub fn new(id: [u8; 16]) -> Self {
        Self { name: format!("{:032x}", u128::from_be_bytes(id)), sends: Vec::new() }
    }

    /// Counts one more, within the limits that every address has by default.
    ///
    /// # Errors
    /// [`AddressLimited`] when it is one too many.
    pub fn take(&mut self, now: Timestamp) -> Result<(), AddressLimited> {
        self.sends.retain(|sent| now.duration_since(*sent) < LONG_WINDOW);
        let history = AddressHistory { sends: self.sends.clone(), ..AddressHistory::default() };
        AddressLimits::default().admit(&history, now)?;
        self.sends.push(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::seconds;

    #[test]
    fn ten_a_day_go_out_and_the_eleventh_waits_for_the_first_to_be_a_day_old() {
        let mut sends = CodeSends::new([7; 16]);
        assert_eq!(sends.id(), [7; 16]);
        for n in 0..10 {
            sends.take(seconds(n * 600)).unwrap();
        }
        assert_eq!(sends.take(seconds(6000)).unwrap_err().retry_at, seconds(86_400));
        sends.take(seconds(86_400)).unwrap();
        assert_eq!(sends.wake_at(), Some(seconds(2 * 86_400)));
    }
}
