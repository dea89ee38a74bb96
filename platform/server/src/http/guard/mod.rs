//! `/v1/services/{id}/guard`: where a service's codes may go, how many, and what the guard did.

pub(super) mod destinations;
pub(super) mod entries;
pub(super) mod settings;
mod timeline;

pub(crate) use timeline::count_against;
pub(super) use timeline::{NoteView, VerdictView};
