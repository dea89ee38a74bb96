//! Changing what this program knows of a document, and leaving what a newer one added.

use mongodb::bson::Document;
use serde::de::DeserializeOwned;
use wotp_core::domain::known_fields::of;

/// Adds to an update what makes the subdocument at `place` hold what `held` holds: each field of `T` is
/// set, or taken away if it is not in `held`. Fields that `T` does not know are left alone.
pub(super) fn change<T: DeserializeOwned>(place: &str, mut held: Document, set: &mut Document, unset: &mut Document) {
    for name in of::<T>() {
        let path = format!("{place}.{name}");
        match held.remove(name) {
            Some(value) => set.insert(path, value),
            None => unset.insert(path, 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{doc, serialize_to_bson};
    use wotp_core::domain::api_key::ApiKey;
    use wotp_core::domain::message::Message;
    use wotp_core::domain::mode::Mode;
    use wotp_core::domain::service::Service;
    use wotp_core::domain::tenant::Tenant;
    use wotp_core::domain::verification::Verification;
    use wotp_core::testing::builders::{a_key, a_message, a_service, a_tenant, a_verification, noon};

    use super::*;
    use crate::document::Document as _;

    /// That every field which is written is one that is known: another would never be stored.
    fn holds_all<T: DeserializeOwned>(held: impl serde::Serialize) {
        let held = serialize_to_bson(&held).unwrap();
        let names: Vec<_> = held.as_document().unwrap().keys().map(String::as_str).collect();
        let unknown: Vec<_> = names.iter().filter(|name| !of::<T>().contains(name)).collect();
        assert!(!names.is_empty() && unknown.is_empty(), "{unknown:?} of {names:?}");
    }

    #[test]
    fn every_field_that_is_written_is_known() {
        let tenant = a_tenant();
        holds_all::<Tenant>(&tenant);
        holds_all::<Service>(a_service(&tenant));
        holds_all::<ApiKey>(a_key(tenant.id, Mode::Live).0);
        holds_all::<<Verification as crate::document::Document>::State>(
            a_verification(tenant.id, "+447700900123", noon()).state(),
        );
        holds_all::<<Message as crate::document::Document>::State>(
            a_message(tenant.id, "+447700900123", noon()).state(),
        );
    }

    #[test]
    fn what_is_not_held_any_more_is_taken_away() {
        let (mut set, mut unset) = (Document::new(), Document::new());
        change::<<Message as crate::document::Document>::State>("state", doc! { "version": 2 }, &mut set, &mut unset);
        assert_eq!(set, doc! { "state.version": 2 });
        let left_out = doc! {
            "state.content": 1, "state.dispatch": 1, "state.asking": 1, "state.counted": 1, "state.guard": 1,
        };
        assert_eq!(unset, left_out);
    }
}
