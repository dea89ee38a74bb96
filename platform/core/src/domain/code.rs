//! One-time codes: what they are made of, how they are drawn, and how a guess is read.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ports::Entropy;

/// Fewest characters that a service may choose.
pub const LENGTH_MIN: u8 = 4;
/// Most characters.
pub const LENGTH_MAX: u8 = 12;
/// Below this many characters a code is marked as below NIST.
///
/// Source: NIST SP 800-63B-4, out-of-band authenticators: at least 6 decimal digits.
pub const LENGTH_NIST: u8 = 6;

/// What a code is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeKind {
    /// Digits.
    #[default]
    Numeric,
    /// Capital letters and digits, without those that look alike.
    Alphanumeric,
    /// Capital letters, without those that look alike.
    Alpha,
}

impl CodeKind {
    /// The characters that a code of this kind is drawn from.
    ///
    /// Letters and digits that people confuse are left out of the mixed kinds:
    /// 0 and O, 1, I and L, 2 and Z, 5 and S, 8 and B.
    pub fn alphabet(self) -> &'static [u8] {
        match self {
            Self::Numeric => b"0123456789",
            Self::Alphanumeric => b"ACDEFGHJKMNPQRTUVWXY34679",
            Self::Alpha => b"ACDEFGHJKMNPQRTUVWXY",
        }
    }
}

/// A code in clear: for the template and the channel, for as short as can be.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// Why a code that the caller chose is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Too short or too long.
    #[error("a code has 4 to 12 characters")]
    Length,
    /// It holds something other than ASCII letters and digits.
    #[error("a code holds digits and the letters A to Z only")]
    Character,
}

impl Code {
    /// Draws a code. Every code of that kind and length is equally likely.
    ///
    /// Takes `length` characters, whatever the bounds of a service's setting.
    pub fn draw(kind: CodeKind, length: u8, entropy: &dyn Entropy) -> Self {
        let alphabet = kind.alphabet();
        // Bytes from here on would favour the first characters of the alphabet (modulo bias).
        let fair = 256 - 256 % alphabet.len();
        let length = usize::from(length);
        let mut code = Zeroizing::new(String::with_capacity(length));
        let mut random = Zeroizing::new([0; 32]);
        while code.len() < length {
            entropy.fill(&mut *random);
            let fair_bytes = random.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
            let missing = length - code.len();
            code.extend(fair_bytes.take(missing).map(|byte| char::from(alphabet[byte % alphabet.len()])));
        }
        Self(code)
    }

    /// A code that the caller chose.
    ///
    /// # Errors
    /// [`CodeError`] when it is not 4 to 12 ASCII letters and digits.
    pub fn chosen(text: &str) -> Result<Self, CodeError> {
        if text.len() < usize::from(LENGTH_MIN) || text.len() > usize::from(LENGTH_MAX) {
            return Err(CodeError::Length);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(CodeError::Character);
        }
        Ok(Self(Zeroizing::new(text.to_ascii_uppercase())))
    }

    /// What a person typed, as it is compared: spaces and dashes out, capital letters.
    ///
    /// ```
    /// use wotp_core::domain::code::Code;
    /// assert_eq!(Code::typed(" 123-456 ").as_str(), "123456");
    /// ```
    pub fn typed(text: &str) -> Self {
        let kept = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        Self(Zeroizing::new(kept.map(|c| c.to_ascii_uppercase()).collect()))
    }

    /// A code that was sealed by us, as it was.
    pub fn unsealed(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The code in clear.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Bytes that count up: every byte value equally often.
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn each_character_is_drawn_equally_often() {
        for kind in [CodeKind::Numeric, CodeKind::Alphanumeric, CodeKind::Alpha] {
            let entropy = Counting(AtomicU8::new(0));
            let fair = u8::try_from(256 - 256 % kind.alphabet().len()).unwrap_or(u8::MAX);
            // One code that uses up each fair byte value exactly once.
            let mut counts = std::collections::BTreeMap::new();
            for c in Code::draw(kind, fair, &entropy).as_str().chars() {
                *counts.entry(c).or_insert(0u32) += 1;
            }
            let least = counts.values().min();
            assert_eq!(counts.len(), kind.alphabet().len(), "{kind:?}");
            assert_eq!(least, counts.values().max(), "{kind:?}: {counts:?}");
        }
    }

    #[test]
    fn a_typed_code_is_compared_without_spaces_and_case() {
        assert_eq!(Code::typed("ac-de 34").as_str(), "ACDE34");
        assert_eq!(Code::typed("１２３").as_str(), "１２３");
    }

    #[test]
    fn a_chosen_code_is_checked() {
        assert_eq!(Code::chosen("123"), Err(CodeError::Length));
        assert_eq!(Code::chosen("1234567890123"), Err(CodeError::Length));
        assert_eq!(Code::chosen("12 34"), Err(CodeError::Character));
        assert_eq!(Code::chosen("ab12").unwrap().as_str(), "AB12");
    }

    #[test]
    fn debug_output_hides_the_code() {
        assert_eq!(format!("{:?}", Code::typed("123456")), "Code(…)");
    }

    proptest! {
        #[test]
        fn a_drawn_code_has_its_length_and_alphabet(seed in any::<u8>(), length in 4u8..=12) {
            for kind in [CodeKind::Numeric, CodeKind::Alphanumeric, CodeKind::Alpha] {
                let code = Code::draw(kind, length, &Counting(AtomicU8::new(seed)));
                prop_assert_eq!(code.as_str().len(), usize::from(length));
                prop_assert!(code.as_str().bytes().all(|b| kind.alphabet().contains(&b)));
            }
        }
    }
}
