//! Names of things: a prefix that says the kind, then a ULID.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use super::Timestamp;
use crate::ports::Entropy;

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not {} {kind} id: expected `{prefix}` followed by 26 characters, as in `{prefix}01J9ZK3V8X6W5T4S3R2Q1P0N9M`",
    article(.kind)
)]
pub struct IdError {
    /// What was expected, as in `verification`.
    pub kind: &'static str,
    /// The prefix of that kind, as in `ver_`.
    pub prefix: &'static str,
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}

fn parse(text: &str, kind: &'static str, prefix: &'static str) -> Result<Ulid, IdError> {
    let error = IdError { kind, prefix };
    let body = text.strip_prefix(prefix).ok_or(error.clone())?;
    let ulid = Ulid::from_string(body).map_err(|_| error.clone())?;
    // One spelling per id: `ulid` also reads lower case, and wraps above 128 bits.
    let mut canonical = [0; ulid::ULID_LEN];
    if ulid.array_to_str(&mut canonical) == body { Ok(ulid) } else { Err(error) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Ulid);

        impl $name {
            #[doc = concat!("What every ", $kind, " id starts with.")]
            pub const PREFIX: &str = $prefix;

            /// A new id. Ids of later milliseconds sort later.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut random = [0; 10];
                entropy.fill(&mut random);
                let mut low = [0; 16];
                low[6..].copy_from_slice(&random);
                Self::at(now, u128::from_be_bytes(low))
            }

            /// The first id that `moment` could have: the lower bound of a range by time.
            pub fn first_at(moment: Timestamp) -> Self {
                Self::at(moment, 0)
            }

            fn at(moment: Timestamp, low: u128) -> Self {
                let millis = u128::try_from(moment.as_millisecond()).unwrap_or(0);
                Self(Ulid((millis << 80) | low))
            }

            /// The id without its prefix, in the order of the ids: 16 bytes.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.0.to_be_bytes()
            }

            /// The id that [`to_bytes`](Self::to_bytes) came from.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Ulid(u128::from_be_bytes(bytes)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; ulid::ULID_LEN];
                f.write_str($prefix)?;
                f.write_str(self.0.array_to_str(&mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $kind, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A customer organisation.
    TenantId = "tenant", "ten_";
    /// One product of a tenant that verifies people.
    ServiceId = "service", "svc_";
    /// An API key, never the key itself.
    ApiKeyId = "key", "key_";
    /// One attempt to verify one address.
    VerificationId = "verification", "ver_";
    /// A direct message.
    MessageId = "message", "msg_";
    /// One call to the API.
    RequestId = "request", "req_";
    /// One attempt through one channel; also the message id that a channel is given, so that a
    /// retry of the same delivery is the same message to the provider.
    DeliveryId = "delivery", "dlv_";
    /// One run of the server: a process that is started again has another.
    NodeId = "node", "nod_";
    /// A person: a member of tenants, or an operator.
    UserId = "user", "usr_";
    /// A session of a person, from login to logout.
    SessionId = "session", "ses_";
    /// An invitation to a tenant.
    InvitationId = "invitation", "inv_";
    /// An entry of the audit log.
    AuditId = "audit entry", "aud_";
    /// A fact that a tenant is told.
    EventId = "event", "evt_";
    /// A webhook endpoint of a tenant.
    EndpointId = "endpoint", "whe_";
    /// Something that operators tell everybody.
    AnnouncementId = "announcement", "ann_";
    /// That an operator may act as a tenant.
    AccessId = "access", "acc_";
    /// What becomes of one event at one endpoint.
    WebhookDeliveryId = "webhook delivery", "whd_";
    /// A wish to have a range of events once more.
    ReplayId = "replay", "whr_";
    /// An entry of a guard's list.
    GuardEntryId = "guard entry", "gde_";
    /// A destination that a guard watches: the same for the same prefix or country of a service.
    DestinationId = "destination", "gdd_";
    /// What a node counts for a guard.
    CountId = "count", "gdc_";
    /// A sign-in that waits for the second factor.
    ChallengeId = "challenge", "chl_";
    /// A sign-in that is under way at an identity provider.
    AttemptId = "attempt", "att_";
    /// What a person is to an identity provider.
    IdentityId = "identity", "idn_";
    /// What the platform is to write to somebody.
    LetterId = "letter", "let_";
    /// A plugin that was installed.
    PluginId = "plugin", "plg_";
    /// A connection of a tenant to a channel.
    ConnectionId = "connection", "con_";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_survives_text_and_bytes(raw in any::<[u8; 16]>()) {
            let id = VerificationId::from_bytes(raw);
            prop_assert_eq!(id.to_string().parse::<VerificationId>().unwrap(), id);
            prop_assert_eq!(id.to_bytes(), raw);
        }

        #[test]
        fn any_text_is_an_id_or_an_error(text in "\\PC{0,40}") {
            if let Ok(id) = text.parse::<VerificationId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let error = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M".parse::<VerificationId>().unwrap_err();
        assert_eq!(error.prefix, "ver_");
        assert!(error.to_string().starts_with("not a verification id: expected `ver_`"), "{error}");
        let error = "x".parse::<InvitationId>().unwrap_err();
        assert!(error.to_string().starts_with("not an invitation id"), "{error}");
    }

    #[test]
    fn a_second_spelling_of_an_id_is_refused() {
        assert!("ver_01j9zk3v8x6w5t4s3r2q1p0n9m".parse::<VerificationId>().is_err());
        assert!("ver_91J9ZK3V8X6W5T4S3R2Q1P0N9M".parse::<VerificationId>().is_err());
    }
}
