//! Invitations: who may become what in a tenant, by a token that went to their address.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Timestamp;
use super::id::{InvitationId, TenantId, UserId};
use super::permission::Role;
use super::quota::Window;
use super::user::AccountEmail;
use super::vault::{AddressIndex, Purpose, Sealed, Vault, VaultError};
use crate::ports::{Entity, Entropy, IndexKey, Owner};

/// How long an invitation can be accepted after it was last sent.
pub const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long after a send the next one is refused.
pub const COOL_DOWN: SignedDuration = SignedDuration::from_mins(1);

/// The index by which an invitation is found by its token: SHA-256.
pub const BY_TOKEN: &str = "token";
/// The index by which it is found by tenant and address: see [`address_key`].
pub const BY_ADDRESS: &str = "address";
/// The index by which all invitations to an address are listed, whoever sent them.
pub const BY_EMAIL: &str = "email";

const PREFIX: &str = "wi_";
const TOKEN_SIZE: usize = 32;

/// What the invited person shows: 256 random bits.
pub struct InvitationToken(Zeroizing<[u8; TOKEN_SIZE]>);

impl fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationToken(…)")
    }
}

impl InvitationToken {
    /// A new one.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; TOKEN_SIZE]);
        entropy.fill(&mut *bytes);
        Self(bytes)
    }

    /// Reads what [`reveal`](Self::reveal) gave; nothing when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim().strip_prefix(PREFIX)?).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// The token, for the mail.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*self.0))
    }

    /// What is kept of it: SHA-256. It is random enough to need no more.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(*self.0).into()
    }
}

/// An invitation that nobody accepted yet. It goes when it is accepted, revoked or over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// To which tenant.
    pub tenant: TenantId,
    /// As what.
    pub role: Role,
    /// Whose account may accept it.
    pub email_key: AddressIndex,
    /// The address, sealed.
    pub email: Sealed,
    /// The address as lists show it.
    pub email_masked: String,
    /// Who sent it first.
    pub invited_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// When it was last sent.
    pub sent_at: Timestamp,
    /// From when on it cannot be accepted.
    pub expires_at: Timestamp,
    token: [u8; 32],
}

/// Under what the invitation of an address to a tenant is found: an address is invited once.
pub fn address_key(tenant: TenantId, email: &AddressIndex) -> Vec<u8> {
    [&tenant.to_bytes()[..], email.as_bytes()].concat()
}

impl Entity for Invitation {
    const KIND: &'static str = "invitation";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(BY_TOKEN, self.token), IndexKey::new(BY_ADDRESS, address_key(self.tenant, &self.email_key))]
    }

    /// Whoever erases their account takes the address back from everywhere.
    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(BY_EMAIL, self.email_key.as_bytes())]
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

impl Invitation {
    /// A new one, and the token that goes to the address.
    pub fn new(
        tenant: TenantId,
        email: &AccountEmail,
        role: Role,
        by: UserId,
        now: Timestamp,
        vault: &Vault,
        entropy: &dyn Entropy,
    ) -> (Self, InvitationToken) {
        let (id, token) = (InvitationId::new(now, entropy), InvitationToken::draw(entropy));
        let invitation = Self {
            id,
            tenant,
            role,
            email_key: email.key(vault),
            email: vault.seal(Purpose::Address, &id.to_bytes(), email.as_str(), entropy),
            email_masked: email.masked(),
            invited_by: by,
            created_at: now,
            sent_at: now,
            expires_at: end(now),
            token: token.hash(),
        };
        (invitation, token)
    }

    /// Whether it can be accepted.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Prepares another send: another token, which makes the one before worthless, and its whole life again.
    ///
    /// # Errors
    /// From when on it would be allowed.
    pub fn resend(&mut self, now: Timestamp, entropy: &dyn Entropy) -> Result<InvitationToken, Timestamp> {
        let next_at = self.sent_at.saturating_add(COOL_DOWN).unwrap_or(Timestamp::MAX);
        if now < next_at {
            return Err(next_at);
        }
        let token = InvitationToken::draw(entropy);
        self.token = token.hash();
        self.sent_at = now;
        self.expires_at = end(now);
        Ok(token)
    }

    /// The whole address: for whoever invites, and to write to it.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn address(&self, vault: &Vault) -> Result<String, VaultError> {
        vault.open(Purpose::Address, &self.id.to_bytes(), &self.email)
    }
}

fn end(sent_at: Timestamp) -> Timestamp {
    sent_at.saturating_add(LIFE).unwrap_or(Timestamp::MAX)
}

/// Most invitations that one person sends to one address in a UTC day, from however many tenants.
pub const INVITED_BY_ONE_MAX: u32 = 3;
/// From so many on that went to one address in a UTC day, each further one is of somebody who sent it none yet:
/// nobody's mailbox is to be filled, and nobody is to be kept from being invited by whoever fills it.
pub const INVITED_OFTEN: u32 = 5;
/// Most people who invite one address in a UTC day.
pub const INVITING_MAX: usize = 20;

/// Which invitations went to an address today, from all tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitedTally {
    address: [u8; 16],
    /// The day, by its start.
    pub day: Timestamp,
    /// How many each person sent.
    #[serde(default)]
    by: BTreeMap<UserId, u32>,
}

impl Entity for InvitedTally {
    const KIND: &'static str = "invited_tally";

    fn id(&self) -> [u8; 16] {
        self.address
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(Window::day(self.day).ends)
    }
}

impl InvitedTally {
    /// Under what the one of an address is kept: it does not tell the address.
    pub fn id_of(email: &AddressIndex, vault: &Vault) -> [u8; 16] {
        vault.veil("invited", &[email.as_bytes()])
    }

    /// Nothing sent yet.
    pub fn new(email: &AddressIndex, vault: &Vault, now: Timestamp) -> Self {
        Self { address: Self::id_of(email, vault), day: Window::day(now).starts, by: BTreeMap::new() }
    }

    /// Counts one more, of this person.
    ///
    /// # Errors
    /// When the next day begins, if that is too many for this one.
    pub fn take(&mut self, by: UserId, now: Timestamp) -> Result<(), Timestamp> {
        let day = Window::day(now);
        if self.day != day.starts {
            self.day = day.starts;
            self.by.clear();
        }
        let may = match self.by.get(&by) {
            Some(own) => *own < INVITED_BY_ONE_MAX && self.by.values().sum::<u32>() < INVITED_OFTEN,
            None => self.by.len() < INVITING_MAX,
        };
        if !may {
            return Err(day.ends);
        }
        *self.by.entry(by).or_default() += 1;
        Ok(())
    }
}

/// How many invitations a tenant sent today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationTally {
    /// Which tenant.
    pub tenant: TenantId,
    /// The day, by its start.
    pub day: Timestamp,
    /// So many.
    pub sent: u32,
}

impl Entity for InvitationTally {
    const KIND: &'static str = "invitation_tally";

    /// One for each tenant.
    fn id(&self) -> [u8; 16] {
        self.tenant.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

impl InvitationTally {
    /// Nothing sent yet.
    pub fn new(tenant: TenantId, now: Timestamp) -> Self {
        Self { tenant, day: Window::day(now).starts, sent: 0 }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// When the next day begins, if `max` were sent in this one.
    pub fn take(&mut self, max: u32, now: Timestamp) -> Result<(), Timestamp> {
        let day = Window::day(now);
        if self.day != day.starts {
            (self.day, self.sent) = (day.starts, 0);
        }
        if self.sent >= max {
            return Err(day.ends);
        }
        self.sent += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{entropy, noon, seconds, vault};

    fn invited() -> (Invitation, InvitationToken) {
        let email = AccountEmail::parse("grace@example.com").unwrap();
        let (tenant, by) = (TenantId::new(noon(), entropy()), UserId::new(noon(), entropy()));
        Invitation::new(tenant, &email, Role::Developer, by, noon(), vault(), entropy())
    }

    #[test]
    fn a_token_survives_its_text_and_is_not_in_what_is_kept() {
        let (invitation, token) = invited();
        let read = InvitationToken::parse(&format!(" {}\n", token.reveal())).unwrap();
        assert_eq!(read.hash(), invitation.token);
        let kept = serde_json::to_string(&invitation).unwrap();
        assert!(!kept.contains(&token.reveal()) && !kept.contains("grace"), "{kept}");
        for bad in ["", "wi_", "wi_AAAA", &token.reveal()[3..]] {
            assert!(InvitationToken::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn another_send_makes_the_token_before_worthless_and_begins_the_seven_days_anew() {
        let (mut invitation, first) = invited();
        assert_eq!(invitation.resend(seconds(59), entropy()).unwrap_err(), seconds(60));
        let second = invitation.resend(seconds(60), entropy()).unwrap();
        assert_ne!(first.hash(), second.hash());
        assert_eq!(invitation.token, second.hash());
        let week = 7 * 86_400;
        assert!(invitation.is_open(seconds(week + 59)) && !invitation.is_open(seconds(week + 60)));
    }

    #[test]
    fn of_a_days_invitations_the_first_too_many_waits_for_the_next_day() {
        let mut tally = InvitationTally::new(TenantId::new(noon(), entropy()), noon());
        tally.take(2, noon()).unwrap();
        tally.take(2, seconds(1)).unwrap();
        assert_eq!(tally.take(2, seconds(2)).unwrap_err(), seconds(12 * 3600));
        tally.take(2, seconds(12 * 3600)).unwrap();
        assert_eq!(tally.sent, 1);
    }

    #[test]
    fn whoever_fills_a_mailbox_is_stopped_and_others_still_invite_it() {
        let email = AccountEmail::parse("grace@example.com").unwrap().key(vault());
        let mut tally = InvitedTally::new(&email, vault(), noon());
        let somebody = || UserId::new(noon(), entropy());
        let (eve, mallory) = (somebody(), somebody());
        let midnight = seconds(12 * 3600);
        for _ in 0..INVITED_BY_ONE_MAX {
            tally.take(eve, noon()).unwrap();
        }
        assert_eq!(tally.take(eve, noon()), Err(midnight));
        tally.take(mallory, noon()).unwrap();
        tally.take(mallory, noon()).unwrap();
        assert_eq!(tally.take(mallory, noon()), Err(midnight), "it was invited often");
        for _ in 2..INVITING_MAX {
            let acme = somebody();
            tally.take(acme, noon()).unwrap();
            assert_eq!(tally.take(acme, noon()), Err(midnight));
        }
        assert_eq!(tally.take(somebody(), noon()), Err(midnight), "of so many nobody is asked in earnest");
        tally.take(eve, midnight).unwrap();
    }
}
