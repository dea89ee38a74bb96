//! What verifications and messages have in common for a store.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::{Dispatch, Turn};
use wotp_core::domain::id::{ServiceId, TenantId};
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::news::{MessageNews, News, VerificationNews};
use wotp_core::domain::quota::Counted;
use wotp_core::domain::verification::{Status, StoredAddress, Verification};
use wotp_core::ports::Item;

use crate::document::Document;

/// Counts are kept for a year of comparison and a month of grace, after a window of a month.
pub(crate) const USAGE_KEPT: SignedDuration = SignedDuration::from_hours(24 * (400 + 31));

/// Something that is kept as documents, with columns beside them to find it by.
pub(crate) trait Record: Document + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Whether its address has limits, and so a sequence.
    const SEQUENCE: bool;

    fn id(&self) -> [u8; 16];
    fn id_at(moment: Timestamp) -> [u8; 16];
    fn item(id: [u8; 16]) -> Item;
    fn tenant(&self) -> TenantId;
    fn version(&self) -> u64;
    fn version_mut(&mut self) -> &mut u64;
    fn mode(&self) -> Mode;
    /// `None` for what has no status.
    fn status(&self) -> Option<Status>;
    fn service(&self) -> ServiceId;
    fn address(&self) -> Option<&StoredAddress>;
    fn dispatch_mut(&mut self) -> &mut Dispatch;
    /// Whether a worker's hold keeps it from being due.
    fn is_leased(&self) -> bool;
    fn wake_at(&self) -> Timestamp;
    fn counted(&self) -> &Counted;
    fn counted_mut(&mut self) -> &mut Counted;
    fn created_at(&self) -> Timestamp;
    /// The caller's own notes; none of what has none.
    fn metadata(&self) -> Option<&BTreeMap<String, String>>;
    fn metadata_holds(&self, key: &str, value: &str) -> bool {
        self.metadata().and_then(|metadata| metadata.get(key)).is_some_and(|held| held == value)
    }
    fn went_through(&self, channel: &str) -> bool;
    /// Whether it is still under way, and so will be read again soon.
    fn is_under_way(&self) -> bool;
    /// What is to be told of it as one that is new.
    fn news_of_start(&self) -> Option<News>;
    /// What is to be told of it once it has this version.
    fn news_of_change(&self, version: u64) -> Option<News>;
    /// Whether what else stays as it is, is to be written again: its address is erased, or became known.
    fn is_rewritten(&self) -> bool;
    /// Forgets what happened, once that is stored.
    fn clear_news(&mut self);
}

macro_rules! shared {
    ($id:ident, $item:ident) => {
        fn id(&self) -> [u8; 16] {
            self.id.to_bytes()
        }
        fn id_at(moment: Timestamp) -> [u8; 16] {
            wotp_core::domain::id::$id::first_at(moment).to_bytes()
        }
        fn item(id: [u8; 16]) -> Item {
            Item::$item(wotp_core::domain::id::$id::from_bytes(id))
        }
        fn tenant(&self) -> TenantId {
            self.tenant
        }
        fn version(&self) -> u64 {
            self.version
        }
        fn version_mut(&mut self) -> &mut u64 {
            &mut self.version
        }
        fn mode(&self) -> Mode {
            self.mode
        }
        fn service(&self) -> ServiceId {
            self.service
        }
        fn address(&self) -> Option<&StoredAddress> {
            self.address.as_ref()
        }
        fn dispatch_mut(&mut self) -> &mut Dispatch {
            &mut self.dispatch
        }
        fn wake_at(&self) -> Timestamp {
            self.wake_at()
        }
        fn counted(&self) -> &Counted {
            &self.counted
        }
        fn counted_mut(&mut self) -> &mut Counted {
            &mut self.counted
        }
        fn created_at(&self) -> Timestamp {
            self.created_at
        }
        fn went_through(&self, channel: &str) -> bool {
            self.dispatch.deliveries.iter().any(|delivery| delivery.channel == channel)
        }
    };
}

impl Record for Verification {
    const SEQUENCE: bool = true;

    shared!(VerificationId, Verification);

    fn status(&self) -> Option<Status> {
        Some(self.status)
    }
    fn is_leased(&self) -> bool {
        matches!(self.dispatch.turn, Turn::Leased { .. })
    }
    fn is_under_way(&self) -> bool {
        self.status == Status::Pending
    }
    fn news_of_start(&self) -> Option<News> {
        Some(News::Verification(VerificationNews::of_start(self)))
    }
    fn news_of_change(&self, version: u64) -> Option<News> {
        VerificationNews::of_change(self, version).map(News::Verification)
    }
    fn is_rewritten(&self) -> bool {
        self.rewritten
    }
    fn clear_news(&mut self) {
        self.rewritten = false;
        self.news.clear();
        self.charged.clear();
    }
    fn metadata(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.metadata)
    }
}

impl Record for Message {
    const SEQUENCE: bool = false;

    shared!(MessageId, Message);

    fn status(&self) -> Option<Status> {
        None
    }
    fn is_leased(&self) -> bool {
        matches!(self.dispatch.turn, Turn::Leased { .. })
    }
    fn is_under_way(&self) -> bool {
        self.dispatch.turn != Turn::Settled
    }
    fn news_of_start(&self) -> Option<News> {
        self.news_of_change(self.version)
    }
    fn news_of_change(&self, version: u64) -> Option<News> {
        MessageNews::of_change(self, version).map(News::Message)
    }
    fn is_rewritten(&self) -> bool {
        self.address.is_none()
    }
    fn clear_news(&mut self) {
        self.news.clear();
    }
    fn metadata(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}
