//! The audit log: who changed what, in chains that show when an entry was changed, removed or moved.
//!
//! Each owner has a chain of its own. An entry carries the digest of the one before it, and a head says
//! how long the chain is, so that its end cannot be cut off unseen. Digests are keyed with a key that the
//! database has not: whoever can only write to the database cannot forge a chain.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Timestamp;
use super::id::{ApiKeyId, AuditId, TenantId, UserId};
use super::vault::Vault;
use crate::ports::{Entity, IndexKey, Owner};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A person.
    User {
        /// Who.
        user: UserId,
    },
    /// A program, with a key of the tenant.
    ApiKey {
        /// Which key.
        key: ApiKeyId,
    },
    /// An operator of the platform.
    Operator {
        /// Who.
        user: UserId,
    },
    /// Somebody at the command line of the server.
    CommandLine,
    /// The platform itself, because time passed or a limit was reached.
    Platform,
}

/// Who did something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// In which call.
    pub request: Option<String>,
}

impl By {
    /// Somebody at the command line.
    pub fn command_line() -> Self {
        Self { actor: Actor::CommandLine, ip: None, request: None }
    }

    /// The platform itself.
    pub fn platform() -> Self {
        Self { actor: Actor::Platform, ip: None, request: None }
    }
}

/// What was done, before it is in a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// In whose log it goes.
    pub owner: Owner,
    /// What was done, as in `api_key.create`: the thing, then the use case.
    pub action: &'static str,
    /// To what: the id as the API shows it.
    pub target: String,
    /// What it was, without secrets; none when it is new.
    pub before: Option<Value>,
    /// What it is now, without secrets; none when it is gone.
    pub after: Option<Value>,
}

impl Deed {
    /// Something that was done to a thing of a tenant.
    pub fn of(tenant: TenantId, action: &'static str, target: impl ToString) -> Self {
        Self { owner: Owner::Tenant(tenant), action, target: target.to_string(), before: None, after: None }
    }

    /// Something that was done to a thing of the platform.
    pub fn of_platform(action: &'static str, target: impl ToString) -> Self {
        Self { owner: Owner::Platform, action, target: target.to_string(), before: None, after: None }
    }

    /// What it was. The caller leaves out secrets and addresses.
    #[must_use]
    pub fn before(self, before: impl Serialize) -> Self {
        Self { before: serde_json::to_value(before).ok(), ..self }
    }

    /// What it is now. The caller leaves out secrets and addresses.
    #[must_use]
    pub fn after(self, after: impl Serialize) -> Self {
        Self { after: serde_json::to_value(after).ok(), ..self }
    }
}

/// 32 bytes, as hexadecimal digits in JSON.
pub type Digest = String;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// Whose log it is in; none means the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its place in the chain, from 1.
    pub place: u64,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// In which call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The digest of the entry before it; empty for the first.
    pub previous: Digest,
    /// The digest of all of it but this.
    pub digest: Digest,
}

/// How long a chain is, and with what it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Whose; none means the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its entries.
    pub length: u64,
    /// The digest of the last of them.
    pub digest: Digest,
    /// The digest of the head itself, so that it cannot be wound back by hand.
    pub seal: Digest,
}

fn owner(tenant: Option<TenantId>) -> Owner {
    tenant.map_or(Owner::Platform, Owner::Tenant)
}

fn tenant(owner: Owner) -> Option<TenantId> {
    match owner {
        Owner::Platform => None,
        Owner::Tenant(tenant) => Some(tenant),
    }
}

impl Entity for AuditEntry {
    const KIND: &'static str = "audit_entry";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        owner(self.tenant)
    }

    /// No two entries have one place in a chain.
    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("place", place_key(self.owner(), self.place))]
    }
}

impl Entity for AuditHead {
    const KIND: &'static str = "audit_head";

    /// One for each owner.
    fn id(&self) -> [u8; 16] {
        self.owner().to_bytes()
    }

    fn owner(&self) -> Owner {
        owner(self.tenant)
    }
}

/// Under what the entry at a place of an owner's chain is found.
pub fn place_key(owner: Owner, place: u64) -> Vec<u8> {
    [&owner.to_bytes()[..], &place.to_be_bytes()].concat()
}

impl AuditEntry {
    /// The entry that follows `head`, and the head after it.
    pub fn next(
        head: Option<&AuditHead>,
        deed: Deed,
        by: &By,
        at: Timestamp,
        id: AuditId,
        vault: &Vault,
    ) -> (Self, AuditHead) {
        let mut entry = Self {
            id,
            tenant: tenant(deed.owner),
            place: head.map_or(0, |head| head.length).saturating_add(1),
            at,
            actor: by.actor.clone(),
            action: deed.action.to_owned(),
            target: deed.target,
            before: deed.before,
            after: deed.after,
            ip: by.ip,
            request: by.request.clone(),
            previous: head.map(|head| head.digest.clone()).unwrap_or_default(),
            digest: Digest::new(),
        };
        entry.digest = entry.digest_by(vault);
        let mut head =
            AuditHead { tenant: entry.tenant, length: entry.place, digest: entry.digest.clone(), seal: Digest::new() };
        head.seal = head.seal_by(vault);
        (entry, head)
    }

    /// The digest that it should have.
    fn digest_by(&self, vault: &Vault) -> Digest {
        let bare = Self { digest: Digest::new(), ..self.clone() };
        // Objects are maps in the order of their names, so the same entry is the same bytes.
        let value = serde_json::to_value(bare).unwrap_or_default();
        vault.audit_digest(value.to_string().as_bytes())
    }
}

impl AuditHead {
    fn seal_by(&self, vault: &Vault) -> Digest {
        let bare = Self { seal: Digest::new(), ..self.clone() };
        let value = serde_json::to_value(bare).unwrap_or_default();
        vault.audit_digest(value.to_string().as_bytes())
    }
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// An entry is not what was written.
    #[error("entry {place} ({id}) was changed")]
    Changed {
        /// Its place.
        place: u64,
        /// Its id.
        id: AuditId,
    },
    /// An entry is not there.
    #[error("entry {place} is missing")]
    Missing {
        /// Its place.
        place: u64,
    },
    /// Entries are not in the order in which they were written.
    #[error("entry {place} ({id}) does not follow the entry before it")]
    Moved {
        /// Its place.
        place: u64,
        /// Its id.
        id: AuditId,
    },
    /// The end of the chain is not there, or the head is not what was written.
    #[error("the chain has {found} entries, and its head does not say so")]
    End {
        /// Entries that were found.
        found: u64,
    },
}

/// Walks a chain, entry by entry.
#[derive(Debug, Default)]
pub struct AuditWalk {
    place: u64,
    digest: Digest,
}

impl AuditWalk {
    /// Takes the next entry.
    ///
    /// # Errors
    /// [`AuditFault`] when it is not what was written there.
    pub fn step(&mut self, entry: &AuditEntry, vault: &Vault) -> Result<(), AuditFault> {
        let place = self.place.saturating_add(1);
        if entry.place > place {
            return Err(AuditFault::Missing { place });
        }
        if entry.digest != entry.digest_by(vault) {
            return Err(AuditFault::Changed { place, id: entry.id });
        }
        if entry.place != place || entry.previous != self.digest {
            return Err(AuditFault::Moved { place, id: entry.id });
        }
        self.place = place;
        self.digest.clone_from(&entry.digest);
        Ok(())
    }

    /// Says that there are no more entries, and how many there were.
    ///
    /// # Errors
    /// [`AuditFault::End`] when the head says otherwise.
    pub fn end(self, head: Option<&AuditHead>, vault: &Vault) -> Result<u64, AuditFault> {
        let holds = match head {
            None => self.place == 0,
            Some(head) => head.length == self.place && head.digest == self.digest && head.seal == head.seal_by(vault),
        };
        if holds { Ok(self.place) } else { Err(AuditFault::End { found: self.place }) }
    }
}
