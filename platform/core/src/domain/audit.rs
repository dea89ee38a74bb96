//! The audit log: who changed what, in chains that show when an entry was changed, removed or moved.
//!
//! Each owner has a chain of its own. An entry carries the digest of the one before it, and a head says
//! how long the chain is, so that its end cannot be cut off unseen. Digests are keyed with a key that the
//! database has not: whoever can only write to the database cannot forge a chain.

mod actions;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Timestamp;
use super::id::{ApiKeyId, AuditId, TenantId, UserId};
use super::vault::Vault;
use crate::ports::{Entity, IndexKey, Owner};

pub use actions::{ACTIONS, Action, Log, begins_an_action};

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

impl Actor {
    /// The one name under which what it did is found: its id, or what it is.
    pub fn name(&self) -> String {
        match self {
            Self::User { user } | Self::Operator { user } => user.to_string(),
            Self::ApiKey { key } => key.to_string(),
            Self::CommandLine => "command_line".to_owned(),
            Self::Platform => "platform".to_owned(),
        }
    }
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
    /// What was done: one of [`ACTIONS`].
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

    /// What it was and what it is now, as far as the two differ. The caller leaves out secrets and addresses.
    #[must_use]
    pub fn between(self, before: impl Serialize, after: impl Serialize) -> Self {
        let mut values = (serde_json::to_value(before).ok(), serde_json::to_value(after).ok());
        if let (Some(before), Some(after)) = (&mut values.0, &mut values.1) {
            leave_differences(before, after);
        }
        Self { before: values.0, after: values.1, ..self }
    }
}

/// Takes out of two objects what is the same in both, and so on within them.
fn leave_differences(before: &mut Value, after: &mut Value) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return };
    before.retain(|name, old| {
        let Some(new) = after.get_mut(name) else { return true };
        if old == new {
            after.remove(name);
            return false;
        }
        leave_differences(old, new);
        true
    });
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

    /// Its place in the chain: no two entries have one, and what is listed is in the order of the chain.
    fn id(&self) -> [u8; 16] {
        place_id(self.place)
    }

    fn owner(&self) -> Owner {
        owner(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![by_actor(&self.actor.name()), by_target(&self.target)]
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

/// The id under which a store keeps the entry at a place of an owner's chain.
pub fn place_id(place: u64) -> [u8; 16] {
    u128::from(place).to_be_bytes()
}

/// The place that [`place_id`] was made of.
pub fn place_of(id: [u8; 16]) -> u64 {
    u64::try_from(u128::from_be_bytes(id)).unwrap_or(u64::MAX)
}

/// Under what the entries of an actor are listed.
pub fn by_actor(name: &str) -> IndexKey {
    key("actor", name)
}

/// Under what the entries about a target are listed.
pub fn by_target(target: &str) -> IndexKey {
    key("target", target)
}

/// As much of a text as an index takes. Whoever looks compares the whole text.
fn key(index: &'static str, text: &str) -> IndexKey {
    IndexKey::new(index, &text.as_bytes()[..text.len().min(200)])
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
        debug_assert!(actions::is_known(deed.action), "{} is not in the list of actions", deed.action);
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
    /// What is stored is no entry.
    #[error("entry {place}, or one that follows it, cannot be read")]
    Unreadable {
        /// The place of the first that it can be.
        place: u64,
    },
    /// The end of the chain is not there, or the head is not what was written.
    #[error(
        "{found} entries were found, and the head of the log tells of another end: the end was cut off, or the head was changed or removed"
    )]
    End {
        /// Entries that were found.
        found: u64,
    },
}

/// Walks a chain, entry by entry.
#[derive(Debug)]
pub struct AuditWalk {
    tenant: Option<TenantId>,
    place: u64,
    digest: Digest,
}

impl AuditWalk {
    /// At the beginning of an owner's chain.
    pub fn of(owner: Owner) -> Self {
        Self { tenant: tenant(owner), place: 0, digest: Digest::new() }
    }

    /// The place of the last entry that was taken; 0 before the first.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The digest of the last entry that was taken; empty before the first.
    pub fn digest(&self) -> &str {
        &self.digest
    }

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
        if entry.tenant != self.tenant || entry.place != place || entry.previous != self.digest {
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
    pub fn end(&self, head: Option<&AuditHead>, vault: &Vault) -> Result<u64, AuditFault> {
        let holds = match head {
            None => self.place == 0,
            Some(head) => {
                head.tenant == self.tenant
                    && head.length == self.place
                    && head.digest == self.digest
                    && head.seal == head.seal_by(vault)
            }
        };
        if holds { Ok(self.place) } else { Err(AuditFault::End { found: self.place }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{entropy, noon, vault};
    use serde_json::json;

    fn chain(length: u64) -> (Owner, Vec<AuditEntry>, AuditHead) {
        let tenant = TenantId::new(noon(), entropy());
        let mut head: Option<AuditHead> = None;
        let mut entries = Vec::new();
        for number in 0..length {
            let deed = Deed::of(tenant, "service.change", format!("svc_{number}")).after(json!({ "name": number }));
            let id = AuditId::new(noon(), entropy());
            let (entry, next) = AuditEntry::next(head.as_ref(), deed, &By::command_line(), noon(), id, vault());
            entries.push(entry);
            head = Some(next);
        }
        (Owner::Tenant(tenant), entries, head.expect("a chain has an entry"))
    }

    fn walk(owner: Owner, entries: &[AuditEntry], head: Option<&AuditHead>) -> Result<u64, AuditFault> {
        let mut walk = AuditWalk::of(owner);
        for entry in entries {
            walk.step(entry, vault())?;
        }
        walk.end(head, vault())
    }

    #[test]
    fn a_chain_that_nobody_touched_holds() {
        let (owner, entries, head) = chain(5);
        assert_eq!(walk(owner, &entries, Some(&head)), Ok(5));
        assert_eq!(walk(owner, &[], None), Ok(0));
    }

    #[test]
    fn each_field_that_is_changed_is_found() {
        let (owner, entries, head) = chain(3);
        let changes: [fn(&mut AuditEntry); 9] = [
            |entry| entry.at = Timestamp::UNIX_EPOCH,
            |entry| entry.actor = Actor::Platform,
            |entry| entry.action = "service.create".to_owned(),
            |entry| entry.target = "svc_9".to_owned(),
            |entry| entry.before = Some(json!(null)),
            |entry| entry.after = None,
            |entry| entry.ip = Some(IpAddr::from([127, 0, 0, 1])),
            |entry| entry.request = Some(String::new()),
            |entry| entry.previous = "0".repeat(64),
        ];
        for change in changes {
            let mut entries = entries.clone();
            change(&mut entries[1]);
            let id = entries[1].id;
            assert_eq!(walk(owner, &entries, Some(&head)), Err(AuditFault::Changed { place: 2, id }));
        }
    }

    #[test]
    fn what_is_removed_reordered_or_put_between_is_found() {
        let (owner, entries, head) = chain(4);
        let gone: Vec<_> = entries.iter().filter(|entry| entry.place != 2).cloned().collect();
        assert_eq!(walk(owner, &gone, Some(&head)), Err(AuditFault::Missing { place: 2 }));
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        assert_eq!(walk(owner, &swapped, Some(&head)), Err(AuditFault::Missing { place: 2 }));
        let mut twice = entries.clone();
        twice.insert(2, entries[1].clone());
        let id = entries[1].id;
        assert_eq!(walk(owner, &twice, Some(&head)), Err(AuditFault::Moved { place: 3, id }));
        assert_eq!(walk(owner, &entries[..3], Some(&head)), Err(AuditFault::End { found: 3 }));
        assert_eq!(walk(owner, &entries, None), Err(AuditFault::End { found: 4 }));
    }

    #[test]
    fn another_owners_chain_is_not_taken_for_ones_own() {
        let (owner, _, _) = chain(2);
        let (_, theirs, head) = chain(2);
        let id = theirs[0].id;
        assert_eq!(walk(owner, &theirs, Some(&head)), Err(AuditFault::Moved { place: 1, id }));
        assert_eq!(walk(owner, &[], Some(&head)), Err(AuditFault::End { found: 0 }));
    }

    #[test]
    fn a_head_that_is_wound_back_by_hand_is_found() {
        let (owner, entries, head) = chain(3);
        let wound = AuditHead { length: 2, digest: entries[1].digest.clone(), ..head };
        assert_eq!(walk(owner, &entries[..2], Some(&wound)), Err(AuditFault::End { found: 2 }));
    }

    #[test]
    fn only_what_differs_is_told() {
        let tenant = TenantId::from_bytes([1; 16]);
        let before = json!({ "name": "Shop", "code": { "length": 6, "checks": 5 }, "gone": 1, "same": [1] });
        let after = json!({ "name": "Shop", "code": { "length": 8, "checks": 5 }, "new": 2, "same": [1] });
        let deed = Deed::of(tenant, "service.change", "svc_1").between(before, after);
        assert_eq!(deed.before, Some(json!({ "code": { "length": 6 }, "gone": 1 })));
        assert_eq!(deed.after, Some(json!({ "code": { "length": 8 }, "new": 2 })));
    }
}
