//! Changing what this program knows of a document, and leaving what a newer one added.

use mongodb::bson::Document;
use serde::de::value::Error as Unused;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The names of the fields of a struct, as it is stored.
pub(super) fn of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It fails always: it only hears what is asked for.
    let _ = T::deserialize(Asked(&mut names));
    names
}

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

/// Gives nothing, and notes which fields a struct wants.
struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Unused;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unused> {
        Err(Unused::custom("there is nothing"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unused> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
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
        assert_eq!(unset, doc! { "state.content": 1, "state.dispatch": 1, "state.counted": 1 });
    }
}
