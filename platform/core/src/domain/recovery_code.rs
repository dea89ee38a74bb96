//! Recovery codes: what lets a person in who has lost their authenticator app. Each works once.
//!
//! Stored is an HMAC under a key that the database has not, bound to the person. No slow hash: 116 random
//! bits cannot be guessed, not even by whoever has both the database and the key, and a look at ten slow hashes
//! for each try would be a way to keep the server busy. Source: NIST SP 800-63B-4 asks for 64 bits and any
//! hash, OWASP ASVS 6.5.2 for a slow one below 112 bits.

use super::code::{Code, CodeKind};
use super::id::UserId;
use super::vault::{CodeHash, Vault};
use crate::ports::Entropy;

/// How many a person gets.
pub const COUNT: usize = 10;
/// Characters of one: 25 of 25 kinds are 116 bits.
const LENGTH: u8 = 25;
/// Characters between two dashes.
const GROUP: usize = 5;

/// Draws a set of them.
pub fn draw(entropy: &dyn Entropy) -> Vec<Code> {
    (0..COUNT).map(|_| Code::draw(CodeKind::Alphanumeric, LENGTH, entropy)).collect()
}

/// As a person reads it, as in `ACDEF-GHJKM-NPQRT-UVWXY-34679`. To be shown once.
pub fn shown(code: &Code) -> String {
    let groups: Vec<&str> =
        code.as_str().as_bytes().chunks(GROUP).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join("-")
}

/// Whether a text can be one at all: anything else is a code of the app.
pub fn has_form(guess: &Code) -> bool {
    guess.as_str().len() == usize::from(LENGTH)
}

/// What is stored of one.
pub fn hash(user: UserId, code: &Code, vault: &Vault) -> CodeHash {
    vault.hash_code(&user.to_bytes(), code)
}

/// Where in a person's set a guess is.
pub fn find(user: UserId, guess: &Code, hashes: &[CodeHash], vault: &Vault) -> Option<usize> {
    let user = user.to_bytes();
    let mut found = None;
    // All are compared, so that the time it takes does not tell which one it was.
    for (place, hash) in hashes.iter().enumerate() {
        if vault.code_matches(&user, guess, hash) {
            found = Some(place);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::vault::MasterKey;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(37, std::sync::atomic::Ordering::Relaxed).wrapping_mul(151);
            }
        }
    }

    #[test]
    fn a_set_has_ten_codes_of_more_than_112_bits() {
        let codes = draw(&Counting(0.into()));
        assert_eq!(codes.len(), COUNT);
        let bits =
            f64::from(LENGTH) * f64::from(u32::try_from(CodeKind::Alphanumeric.alphabet().len()).unwrap()).log2();
        assert!(bits > 112.0, "{bits}");
        for code in &codes {
            let shown = shown(code);
            assert_eq!(shown.len(), 29, "{shown}");
            assert_eq!(&Code::typed(&shown.to_lowercase()), code, "as people type it");
            assert!(has_form(&Code::typed(&shown)));
        }
        assert!(!has_form(&Code::typed("123 456")));
    }

    #[test]
    fn a_code_is_found_in_its_owners_set_only() {
        let vault = Vault::new(&[MasterKey { id: 1, bytes: [9; 32].into() }]).unwrap();
        let [ann, ben] = [[1; 16], [2; 16]].map(UserId::from_bytes);
        let texts = ["ACDEFGHJKMNPQRTUVWXY34679", "34679ACDEFGHJKMNPQRTUVWXY"].map(Code::typed);
        let hashes: Vec<CodeHash> = texts.iter().map(|code| hash(ann, code, &vault)).collect();
        assert_eq!(find(ann, &texts[1], &hashes, &vault), Some(1));
        assert_eq!(find(ben, &texts[1], &hashes, &vault), None);
        assert_eq!(find(ann, &Code::typed("ACDEFGHJKMNPQRTUVWXY34677"), &hashes, &vault), None);
        let stored: BTreeSet<String> = hashes.iter().map(|hash| serde_json::to_string(hash).unwrap()).collect();
        assert!(stored.iter().all(|hash| !hash.contains("ACDEF") && !hash.contains("34679")));
    }
}
