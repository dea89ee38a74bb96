//! A plugin's component as it is stored: in parts, since a store takes no 20 MB in one piece.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Timestamp;
use crate::ports::{Entity, IndexKey, Owner};

/// Bytes of a component in one part.
pub const PART_BYTES: usize = 64 << 10;
/// The index that the first part of each component is listed in.
const FIRST: &str = "first";
const COMPONENT: &str = "component";

/// A part of a component. The same component has the same parts, however often it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentPart {
    /// SHA-256 of the whole, in hexadecimal.
    pub component: String,
    /// Which part, from 0.
    pub place: u32,
    /// Its bytes, in base64.
    pub bytes: String,
    /// When it was stored last.
    pub stored_at: Timestamp,
}

impl ComponentPart {
    /// A component in parts.
    pub fn split(sha256: &str, component: &[u8], now: Timestamp) -> Vec<Self> {
        let part = |(place, bytes)| Self {
            component: sha256.to_owned(),
            place: u32::try_from(place).unwrap_or(u32::MAX),
            bytes: BASE64.encode(bytes),
            stored_at: now,
        };
        component.chunks(PART_BYTES).enumerate().map(part).collect()
    }

    /// The component that these are all parts of; none when one is missing or is not as it was stored.
    pub fn join(sha256: &str, mut parts: Vec<Self>) -> Option<Vec<u8>> {
        parts.sort_unstable_by_key(|part| part.place);
        let mut component = Vec::with_capacity(parts.len() * PART_BYTES);
        for part in parts {
            BASE64.decode_vec(part.bytes, &mut component).ok()?;
        }
        (sha256_of(&component) == sha256).then_some(component)
    }

    /// Under what all parts of a component are listed.
    pub fn of(sha256: &str) -> (&'static str, Vec<u8>) {
        (COMPONENT, sha256.as_bytes().to_vec())
    }

    /// Under what the first parts of all components are listed.
    pub fn firsts() -> (&'static str, Vec<u8>) {
        (FIRST, Vec::new())
    }
}

/// The SHA-256 of a component, in hexadecimal.
pub fn sha256_of(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Entity for ComponentPart {
    const KIND: &'static str = "component_part";

    fn id(&self) -> [u8; 16] {
        let digest = Sha256::new().chain_update(&self.component).chain_update(self.place.to_be_bytes()).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn listed(&self) -> Vec<IndexKey> {
        let all = IndexKey::new(COMPONENT, &self.component);
        let first = (self.place == 0).then(|| IndexKey::new(FIRST, []));
        [all].into_iter().chain(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_the_same_after_it_was_in_parts_in_any_order() {
        for size in [1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES - 1] {
            let component: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let sha256 = sha256_of(&component);
            let mut parts = ComponentPart::split(&sha256, &component, Timestamp::UNIX_EPOCH);
            assert_eq!(parts.len(), size.div_ceil(PART_BYTES));
            parts.reverse();
            assert_eq!(ComponentPart::join(&sha256, parts), Some(component));
        }
    }

    #[test]
    fn what_is_missing_or_was_changed_is_no_component() {
        let component = vec![7; PART_BYTES + 1];
        let sha256 = sha256_of(&component);
        let parts = ComponentPart::split(&sha256, &component, Timestamp::UNIX_EPOCH);
        assert_eq!(ComponentPart::join(&sha256, parts[..1].to_vec()), None);
        let mut changed = parts;
        changed[1].bytes = BASE64.encode([8]);
        assert_eq!(ComponentPart::join(&sha256, changed), None);
    }

    #[test]
    fn parts_have_ids_of_their_own() {
        let parts = ComponentPart::split("a", &[0; 2 * PART_BYTES], Timestamp::UNIX_EPOCH);
        let other = ComponentPart::split("b", &[0; PART_BYTES], Timestamp::UNIX_EPOCH);
        assert_ne!(parts[0].id(), parts[1].id());
        assert_ne!(parts[0].id(), other[0].id());
    }
}
