//! The audit log, read: page by page, and as a whole to see whether it is what was written.

use super::commit::{Listed, say_unreadable};
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::{AuditEntry, AuditFault, AuditHead, AuditWalk, by_actor, by_target, place_id, place_of};
use crate::ports::{Entity, EntityList, IndexKey, Owner, StoreError, Stored};

/// Entries that are read at once.
const READ: usize = 200;
/// Entries that one page looks at, at most: one that matches few ends early, and says where it goes on.
const LOOKED_AT_MAX: usize = 5000;

/// Which entries are wanted; what is none matters not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Done by: an id, `command_line` or `platform`.
    pub actor: Option<String>,
    /// Whose action begins so, as in `api_key.`.
    pub action: Option<String>,
    /// Done to: an id.
    pub target: Option<String>,
    /// Done then or later.
    pub from: Option<Timestamp>,
    /// Done before.
    pub before: Option<Timestamp>,
}

impl AuditFilter {
    fn matches(&self, entry: &AuditEntry) -> bool {
        self.actor.as_ref().is_none_or(|actor| entry.actor.name() == *actor)
            && self.action.as_ref().is_none_or(|action| entry.action.starts_with(action))
            && self.target.as_ref().is_none_or(|target| entry.target == *target)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.before.is_none_or(|before| entry.at < before)
    }

    fn index(&self) -> Option<IndexKey> {
        self.target.as_deref().map(by_target).or_else(|| self.actor.as_deref().map(by_actor))
    }
}

/// Where a page of the log begins, and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFrom {
    /// The newest entry, or the one before the end of another page.
    Newest(Option<[u8; 16]>),
    /// The oldest entry, or the one after the end of another page.
    Oldest(Option<[u8; 16]>),
}

/// What is at a place of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum AuditLine {
    /// What was written there.
    Entry(Box<AuditEntry>),
    /// What cannot be read any more. It is shown whatever is asked for, and the rest of the log with it: whoever
    /// damages an entry is not to hide it, or what is behind it.
    Unreadable {
        /// Its place in the chain.
        place: u64,
    },
}

/// Some of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// Entries that match: fewer than asked for, or none, where a long stretch of the log matches little.
    pub entries: Vec<AuditLine>,
    /// The end of this page, for the next; none at the end of the log.
    pub next: Option<[u8; 16]>,
}

/// What a walk along a chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Whose chain it is.
    pub owner: Owner,
    /// Entries that are what was written, one after another from the first.
    pub sound: u64,
    /// The digest of the last of them: kept elsewhere, it shows later whether the chain was wound back as a
    /// whole.
    pub digest: String,
    /// The first that is wrong.
    pub fault: Option<AuditFault>,
}

impl App {
    /// A page of an owner's log.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn audit_page(
        &self,
        owner: Owner,
        filter: &AuditFilter,
        from: AuditFrom,
        limit: usize,
    ) -> Result<AuditPage, Refusal> {
        let (newest_first, mut last) = match from {
            AuditFrom::Newest(last) => (true, last),
            AuditFrom::Oldest(last) => (false, last),
        };
        let mut entries = Vec::new();
        let mut looked_at = 0;
        loop {
            let list = EntityList {
                by: filter.index(),
                from: last.filter(|_| !newest_first).map(after),
                before: last.filter(|_| newest_first),
                newest_first,
                limit: READ,
                ..EntityList::of(owner)
            };
            let read = self.list_in_turn::<AuditEntry>(&list).await?;
            let ended = read.len() < READ;
            looked_at += read.len();
            // Where it is stored, whatever it says of itself: pages go on also where somebody changed it.
            for Listed { id, thing, .. } in read {
                let line = match thing {
                    Ok(stored) => AuditLine::Entry(Box::new(stored.entity)),
                    Err(error) => {
                        say_unreadable(AuditEntry::KIND, owner, id, &error);
                        AuditLine::Unreadable { place: place_of(id) }
                    }
                };
                let shown = match &line {
                    AuditLine::Entry(entry) => filter.matches(entry),
                    AuditLine::Unreadable { .. } => true,
                };
                if shown {
                    // There is one more than is asked for: it begins the next page.
                    if entries.len() == limit {
                        return Ok(AuditPage { entries, next: last });
                    }
                    entries.push(line);
                }
                last = Some(id);
            }
            if ended || looked_at >= LOOKED_AT_MAX {
                return Ok(AuditPage { entries, next: last.filter(|_| !ended) });
            }
        }
    }

    /// Everybody who may have a log: the platform, every tenant, and whoever has the head of one.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn audit_owners(&self) -> Result<Vec<Owner>, Refusal> {
        let mut owners = vec![Owner::Platform];
        owners.extend(self.ports.store.tenants().await?.into_iter().map(|tenant| Owner::Tenant(tenant.id)));
        let mut list = EntityList { owner: None, limit: READ, ..EntityList::of(Owner::Platform) };
        loop {
            // By what they are stored under: what a head says of itself is what is looked at later.
            let heads = self.ports.store.list_entities(AuditHead::KIND, &list).await?;
            owners.extend(heads.iter().map(|head| head.owner));
            match heads.last() {
                Some(last) if heads.len() == READ => {
                    list.from = Some(after(last.id));
                }
                _ => break,
            }
        }
        owners.sort_unstable();
        owners.dedup();
        Ok(owners)
    }

    /// Walks an owner's whole chain, also while it grows.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store does not answer. What is wrong with the chain is in the report.
    pub async fn verify_audit(&self, owner: Owner) -> Result<AuditReport, Refusal> {
        let mut walk = AuditWalk::of(owner);
        let fault = self.walk(owner, &mut walk).await?;
        let (sound, digest) = (walk.place(), walk.digest().to_owned());
        Ok(AuditReport { owner, sound, digest, fault })
    }

    async fn walk(&self, owner: Owner, walk: &mut AuditWalk) -> Result<Option<AuditFault>, Refusal> {
        let vault = &self.ports.vault;
        let mut known: Option<u64> = None;
        loop {
            let unreadable = AuditFault::Unreadable { place: walk.place().saturating_add(1) };
            let head = match self.find::<AuditHead>(owner, owner.to_bytes()).await {
                Ok(head) => head,
                Err(Refusal::Store(StoreError::Damaged(_))) => {
                    return Ok(Some(AuditFault::End { found: walk.place() }));
                }
                Err(refusal) => return Err(refusal),
            };
            let length = head.as_ref().map_or(0, |head| head.length);
            // An entry that is there and that no head tells of, even when it is read again, is no news.
            let all = known == Some(length);
            // From 0 on, where no entry belongs, so that one that is there is found.
            let mut from = if walk.place() == 0 { 0 } else { walk.place().saturating_add(1) };
            loop {
                let list = EntityList {
                    from: Some(place_id(from)),
                    before: (!all).then(|| place_id(length.saturating_add(1))),
                    limit: READ,
                    ..EntityList::of(owner)
                };
                let rows = match self.ports.store.list_entities(AuditEntry::KIND, &list).await {
                    Ok(rows) => rows,
                    Err(StoreError::Damaged(_)) => return Ok(Some(unreadable)),
                    Err(error) => return Err(error.into()),
                };
                let ended = rows.len() < READ;
                for row in rows {
                    let Ok(entry) = Stored::<AuditEntry>::read(row) else {
                        return Ok(Some(AuditFault::Unreadable { place: walk.place().saturating_add(1) }));
                    };
                    if let Err(fault) = walk.step(&entry, vault) {
                        return Ok(Some(fault));
                    }
                }
                if walk.place() > 0 {
                    from = walk.place().saturating_add(1);
                }
                if ended {
                    break;
                }
            }
            let beyond = EntityList { from: Some(place_id(from)), limit: 1, ..EntityList::of(owner) };
            let more = match self.ports.store.list_entities(AuditEntry::KIND, &beyond).await {
                Ok(rows) => !rows.is_empty(),
                Err(StoreError::Damaged(_)) => true,
                Err(error) => return Err(error.into()),
            };
            if all || !more {
                return Ok(walk.end(head.as_deref(), vault).err());
            }
            known = Some(length);
        }
    }
}

/// The id that comes next.
pub(super) fn after(id: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(id).saturating_add(1).to_be_bytes()
}
