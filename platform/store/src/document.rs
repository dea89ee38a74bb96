//! A record as it is stored: a document that stays as it was made, and one of what changes.
//!
//! A verification changes twice within moments of its start, when it is delivered and when it is
//! checked, and most of it does not change then.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use wotp_core::domain::Timestamp;
use wotp_core::domain::asking::Asking;
use wotp_core::domain::dispatch::Dispatch;
use wotp_core::domain::guard::GuardNote;
use wotp_core::domain::id::{ApiKeyId, ConnectionId, MessageId, ServiceId, TenantId, VerificationId};
use wotp_core::domain::inbound::InboundTerms;
use wotp_core::domain::locale::Locale;
use wotp_core::domain::magic_link::LinkTerms;
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::news::Charge;
use wotp_core::domain::quota::Counted;
use wotp_core::domain::service::Retention;
use wotp_core::domain::vault::{CodeHash, Sealed};
use wotp_core::domain::verification::{FailureReason, Policy, Status, StoredAddress, StoredCode, Verification};

/// Something that is kept as two documents. Each store has its own format for them.
pub(crate) trait Document: Sized {
    /// What stays, as it is read.
    type Fixed: DeserializeOwned + Send + Sync;
    /// What changes, as it is read.
    type State: DeserializeOwned + Send + Sync;

    /// What stays: only redaction writes it again.
    fn fixed(&self) -> impl Serialize;
    /// What changes.
    fn state(&self) -> impl Serialize;
    /// The record that these two hold.
    fn of(fixed: Self::Fixed, state: Self::State) -> Self;
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FixedVerification<'a> {
    id: VerificationId,
    tenant: TenantId,
    service: ServiceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<ApiKeyId>,
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Cow<'a, StoredAddress>>,
    policy: Cow<'a, Policy>,
    expires_at: Timestamp,
    #[serde(default, deserialize_with = "either_form", skip_serializing_if = "is_empty")]
    metadata: Cow<'a, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Cow<'a, LinkTerms>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inbound: Option<Cow<'a, InboundTerms>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct VerificationState<'a> {
    version: u64,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, StoredCode>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent_token: Option<Cow<'a, CodeHash>>,
    checks_used: u8,
    sends: Cow<'a, [Timestamp]>,
    dispatch: Cow<'a, Dispatch>,
    counted: Counted,
    /// Here although it stays: with it the state alone tells what an address's limits look at.
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero")]
    other_numbers: u8,
    #[serde(default, skip_serializing_if = "no_notes")]
    guard: Cow<'a, [GuardNote]>,
    #[serde(default, skip_serializing_if = "no_charges")]
    charges: Cow<'a, [Charge]>,
    #[serde(default, skip_serializing_if = "no_asking")]
    asking: Cow<'a, [Asking]>,
    #[serde(default, skip_serializing_if = "no_asking")]
    revoking: Cow<'a, [Asking]>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FixedMessage<'a> {
    id: MessageId,
    tenant: TenantId,
    service: ServiceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<ApiKeyId>,
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Cow<'a, StoredAddress>>,
    brand: Cow<'a, str>,
    locale: Locale,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionId>,
    ack_timeout_seconds: u32,
    retention: Cow<'a, Retention>,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct MessageState<'a> {
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Cow<'a, Sealed>>,
    dispatch: Cow<'a, Dispatch>,
    counted: Counted,
    #[serde(default, skip_serializing_if = "no_notes")]
    guard: Cow<'a, [GuardNote]>,
    #[serde(default, skip_serializing_if = "no_asking")]
    asking: Cow<'a, [Asking]>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

fn no_notes(guard: &[GuardNote]) -> bool {
    guard.is_empty()
}

fn no_charges(charges: &[Charge]) -> bool {
    charges.is_empty()
}

fn no_asking(asking: &[Asking]) -> bool {
    asking.is_empty()
}

fn is_empty(metadata: &BTreeMap<String, String>) -> bool {
    metadata.is_empty()
}

/// Metadata as an object, or as a text of JSON, where a store has no words for their names.
fn either_form<'de, D: Deserializer<'de>>(stored: D) -> Result<Cow<'static, BTreeMap<String, String>>, D::Error> {
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("names with texts, or these as JSON")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            serde_json::from_str(text).map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(MapAccessDeserializer::new(map))
        }
    }

    stored.deserialize_any(Either).map(Cow::Owned)
}

impl Document for Verification {
    type Fixed = FixedVerification<'static>;
    type State = VerificationState<'static>;

    fn fixed(&self) -> impl Serialize {
        FixedVerification {
            id: self.id,
            tenant: self.tenant,
            service: self.service,
            key: self.key,
            mode: self.mode,
            address: self.address.as_ref().map(Cow::Borrowed),
            policy: Cow::Borrowed(&*self.policy),
            expires_at: self.expires_at,
            metadata: Cow::Borrowed(&self.metadata),
            link: self.link.as_ref().map(Cow::Borrowed),
            inbound: self.inbound.as_ref().map(Cow::Borrowed),
            country: self.country.as_deref().map(Cow::Borrowed),
        }
    }

    fn state(&self) -> impl Serialize {
        VerificationState {
            version: self.version,
            status: self.status,
            reason: self.reason,
            code: self.code.as_ref().map(Cow::Borrowed),
            spent_token: self.spent_token.as_ref().map(Cow::Borrowed),
            checks_used: self.checks_used,
            sends: Cow::Borrowed(&self.sends),
            dispatch: Cow::Borrowed(&self.dispatch),
            counted: self.counted,
            created_at: self.created_at,
            ended_at: self.ended_at,
            other_numbers: self.other_numbers,
            guard: Cow::Borrowed(&self.guard),
            charges: Cow::Borrowed(&self.charges),
            asking: Cow::Borrowed(&self.asking),
            revoking: Cow::Borrowed(&self.revoking),
        }
    }

    fn of(fixed: Self::Fixed, state: Self::State) -> Self {
        Self {
            id: fixed.id,
            tenant: fixed.tenant,
            service: fixed.service,
            key: fixed.key,
            version: state.version,
            mode: fixed.mode,
            address: fixed.address.map(Cow::into_owned),
            policy: Arc::new(fixed.policy.into_owned()),
            status: state.status,
            reason: state.reason,
            code: state.code.map(Cow::into_owned),
            spent_token: state.spent_token.map(Cow::into_owned),
            checks_used: state.checks_used,
            sends: state.sends.into_owned(),
            dispatch: state.dispatch.into_owned(),
            counted: state.counted,
            created_at: state.created_at,
            expires_at: fixed.expires_at,
            ended_at: state.ended_at,
            metadata: fixed.metadata.into_owned(),
            link: fixed.link.map(Cow::into_owned),
            inbound: fixed.inbound.map(Cow::into_owned),
            other_numbers: state.other_numbers,
            guard: state.guard.into_owned(),
            country: fixed.country.map(Cow::into_owned),
            charges: state.charges.into_owned(),
            asking: state.asking.into_owned(),
            revoking: state.revoking.into_owned(),
            rewritten: false,
            news: Vec::new(),
            charged: Vec::new(),
        }
    }
}

impl Document for Message {
    type Fixed = FixedMessage<'static>;
    type State = MessageState<'static>;

    fn fixed(&self) -> impl Serialize {
        FixedMessage {
            id: self.id,
            tenant: self.tenant,
            service: self.service,
            key: self.key,
            mode: self.mode,
            address: self.address.as_ref().map(Cow::Borrowed),
            brand: Cow::Borrowed(&self.brand),
            locale: self.locale,
            connection: self.connection,
            ack_timeout_seconds: self.ack_timeout_seconds,
            retention: Cow::Borrowed(&self.retention),
            created_at: self.created_at,
        }
    }

    fn state(&self) -> impl Serialize {
        MessageState {
            version: self.version,
            content: self.content.as_ref().map(Cow::Borrowed),
            dispatch: Cow::Borrowed(&self.dispatch),
            counted: self.counted,
            guard: Cow::Borrowed(&self.guard),
            asking: Cow::Borrowed(&self.asking),
        }
    }

    fn of(fixed: Self::Fixed, state: Self::State) -> Self {
        Self {
            id: fixed.id,
            tenant: fixed.tenant,
            service: fixed.service,
            key: fixed.key,
            version: state.version,
            mode: fixed.mode,
            address: fixed.address.map(Cow::into_owned),
            content: state.content.map(Cow::into_owned),
            brand: fixed.brand.into_owned(),
            locale: fixed.locale,
            connection: fixed.connection,
            ack_timeout_seconds: fixed.ack_timeout_seconds,
            retention: fixed.retention.into_owned(),
            dispatch: state.dispatch.into_owned(),
            counted: state.counted,
            guard: state.guard.into_owned(),
            created_at: fixed.created_at,
            asking: state.asking.into_owned(),
            news: Vec::new(),
        }
    }
}
