//! Codes of an authenticator app: RFC 6238 as all of them know it, with HMAC-SHA-1, six digits and steps
//! of 30 seconds.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Timestamp;
use super::code::Code;
use crate::ports::Entropy;

/// Bytes of a secret: 160 bits.
///
/// Source: RFC 4226, section 4: at least 128 bits, 160 recommended.
pub const SECRET_SIZE: usize = 20;
/// Seconds for which a code is the current one. Source: RFC 6238, section 5.2.
pub const STEP_SECONDS: i64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Steps by which the app's clock may be off, to either side. Source: RFC 6238, section 5.2: at most one.
const DRIFT: u64 = 1;

/// What stays as it is in a part of a URI. Source: RFC 3986, section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the authenticator app and the server share.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Zeroizing<[u8; SECRET_SIZE]>);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// The step that a moment is in.
fn step_of(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_second().div_euclid(STEP_SECONDS)).unwrap_or(0)
}

impl TotpSecret {
    /// Draws a new one.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_SIZE]);
        entropy.fill(&mut *bytes);
        Self(bytes)
    }

    /// Reads what [`to_base32`](Self::to_base32) gave; nothing when it is something else.
    pub fn from_base32(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(text.as_bytes()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// As it is typed into an app: 32 capital letters and digits.
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&*self.0))
    }

    /// The code of a step.
    fn code_of(&self, step: u64) -> Zeroizing<String> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&*self.0).expect("HMAC accepts any key length");
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        // Dynamic truncation. Source: RFC 4226, section 5.3.
        let offset = usize::from(digest[digest.len() - 1] & 0x0f);
        let mut four = [0; 4];
        four.copy_from_slice(&digest[offset..offset + 4]);
        let number = u32::from_be_bytes(four) & 0x7fff_ffff;
        Zeroizing::new(format!("{:06}", number % 1_000_000))
    }

    /// The step that a guess is the code of: that of `now` or one beside it, and none that was `used` or lies
    /// before it, since a code is accepted once.
    pub fn step_of_code(&self, guess: &Code, now: Timestamp, used: Option<u64>) -> Option<u64> {
        let current = step_of(now);
        let steps = current.saturating_sub(DRIFT)..=current.saturating_add(DRIFT);
        let mut found = None;
        // All are compared, so that the time it takes does not tell which one it was.
        for step in steps.filter(|step| used.is_none_or(|used| *step > used)) {
            if bool::from(self.code_of(step).as_bytes().ct_eq(guess.as_str().as_bytes())) {
                found = Some(step);
            }
        }
        found
    }

    /// What a QR code for an authenticator app holds: `issuer` is what the platform is called, `account` whose
    /// it is.
    ///
    /// Source: "Key URI Format" of Google Authenticator, which the other apps follow.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let [issuer, account] = [issuer, account].map(|text| utf8_percent_encode(text, UNRESERVED));
        let secret = self.to_base32();
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
            &*secret
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The secret of the RFC's appendices.
    fn secret() -> TotpSecret {
        TotpSecret(Zeroizing::new(*b"12345678901234567890"))
    }

    fn step(code: &str, second: i64, used: Option<u64>) -> Option<u64> {
        secret().step_of_code(&Code::typed(code), at(second), used)
    }

    /// RFC 6238, appendix B, the rows of SHA-1: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (second, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let expected = u64::try_from(second / STEP_SECONDS).unwrap();
            assert_eq!(step(&code[2..], second, None), Some(expected), "at {second}");
        }
    }

    /// RFC 4226, appendix D: the codes of the first ten steps.
    #[test]
    fn codes_are_those_of_the_counter_that_they_build_on() {
        let codes =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (step, code) in codes.into_iter().enumerate() {
            assert_eq!(*secret().code_of(u64::try_from(step).unwrap()), code);
        }
    }

    #[test]
    fn a_clock_may_be_off_by_one_step_and_no_more() {
        let code = "081804"; // of the step that ends at 1,111,111,110
        for (second, found) in [(-60, false), (-59, true), (-29, true), (0, true), (1, true), (30, true), (31, false)] {
            let second = 1_111_111_109 + second;
            assert_eq!(step(code, second, None).is_some(), found, "at {second}");
        }
    }

    #[test]
    fn a_step_that_was_used_and_those_before_it_are_refused() {
        let current = 1_111_111_109 / 30;
        assert_eq!(step("081804", 1_111_111_109, Some(current - 1)), Some(current));
        assert_eq!(step("081804", 1_111_111_109, Some(current)), None);
        assert_eq!(step("081804", 1_111_111_109, Some(current + 1)), None);
    }

    #[test]
    fn what_is_no_code_matches_nothing() {
        for text in ["", "81804", "0081804", "94287082", "abcdef"] {
            assert_eq!(step(text, 1_111_111_109, None), None, "{text}");
        }
        assert!(step(" 081-804 ", 1_111_111_109, None).is_some(), "as people type it");
    }

    /// `printf 12345678901234567890 | base32`
    #[test]
    fn the_uri_is_what_apps_read() {
        let base32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(*secret().to_base32(), base32);
        assert_eq!(TotpSecret::from_base32(base32), Some(secret()));
        assert_eq!(TotpSecret::from_base32("GEZDGNBV"), None);
        assert_eq!(
            *secret().uri("Acme & Co", "ann+x@example.com"),
            format!(
                "otpauth://totp/Acme%20%26%20Co:ann%2Bx%40example.com?secret={base32}&issuer=Acme%20%26%20Co\
                 &algorithm=SHA1&digits=6&period=30"
            )
        );
    }
}
