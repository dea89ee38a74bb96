//! What kinds of things there are, and how they are named.

use wotp_core::domain::vault::StateName;

/// A kind of thing that is remembered. NEVER change a number: they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Identity = 1,
    Session = 2,
    PreKey = 3,
    SignedPreKey = 4,
    SenderKey = 5,
    SyncKey = 6,
    LatestSyncKey = 7,
    AppStateVersion = 8,
    MutationMac = 9,
    SenderKeyDevice = 10,
    LidMapping = 11,
    PhoneOfLid = 12,
    BaseKey = 13,
    DeviceList = 14,
    GroupMetadata = 15,
    TcToken = 16,
    SentMessage = 17,
    PendingInbound = 18,
    MsgSecret = 19,
    Device = 20,
    Note = 21,
    Sent = 22,
}

impl Kind {
    /// One that is found by its name alone.
    pub(super) fn named<N: AsRef<[u8]> + ?Sized>(self, name: &N) -> StateName<'_> {
        StateName { kind: self as u8, group: &[], name: name.as_ref() }
    }

    /// One of a group.
    pub(super) fn within<'a>(self, group: &'a str, name: &'a [u8]) -> StateName<'a> {
        StateName { kind: self as u8, group: group.as_bytes(), name }
    }

    /// The only one.
    pub(super) fn only(self) -> StateName<'static> {
        StateName { kind: self as u8, group: &[], name: &[] }
    }

    /// One of a user's devices, by its address: `user@server`, or `user:device@server`.
    pub(super) fn of_user(self, address: &str) -> StateName<'_> {
        let user = address.split(['@', ':']).next().unwrap_or_default();
        self.within(user, address.as_bytes())
    }
}

/// Two names as one: another for each two.
pub(super) fn both(first: &str, second: &str) -> Vec<u8> {
    let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], first.as_bytes(), second.as_bytes()].concat()
}
