//! Changes to what is kept as entities, each with its line in the audit log.

use std::error::Error;
use std::mem;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::lock;

use super::{App, Ports, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::{AuditEntry, AuditHead, By, Deed};
use crate::domain::id::AuditId;
use crate::domain::set_aside::SetAside;
use crate::domain::vault::{Vault, VaultError};
use crate::ports::{
    Change, CommitError, Entity, EntityList, EntityRow, Entropy, IndexKey, Owner, Store, StoreError, Stored,
};

/// How often a change is tried that somebody else's change was in the way of.
///
/// Each lost round is a change that somebody else made. These are more than the services, keys and endpoints that a
/// tenant has room for, of each: whoever only raced others who add one gets theirs, or is told that there is no room.
pub(super) const TRIES: usize = 256;

/// What comes of a change, from as many looks as it takes until nobody else's change is in the way.
pub(super) async fn tried_again<T, F>(mut change: impl FnMut() -> F + Send) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Refusal>> + Send,
{
    for _ in 1..TRIES {
        match change().await {
            Err(Refusal::Conflict) => {}
            done => return done,
        }
    }
    change().await
}

/// Chains of tenants share a lock with so few others that they do not wait for each other.
const LOCKS: usize = 64;

/// One after another within a node: what makes an entry of the same chain at the same moment waits for its
/// turn instead of trying again and again. Nodes settle it among themselves by what the store refuses.
pub(super) struct Chains {
    /// Its own: every sign-in waits for it, and no tenant is to hold these up.
    platform: lock::Mutex<()>,
    tenants: [lock::Mutex<()>; LOCKS],
}

impl Default for Chains {
    fn default() -> Self {
        Self { platform: lock::Mutex::default(), tenants: std::array::from_fn(|_| lock::Mutex::default()) }
    }
}

impl Chains {
    /// Waits for the turn of all of these.
    pub(super) async fn turn(&self, owners: impl Iterator<Item = Owner>) -> Vec<lock::MutexGuard<'_, ()>> {
        // The platform's comes last: whoever waits for a tenant's does not have it.
        let place = |owner| match owner {
            Owner::Tenant(tenant) => usize::from(tenant.to_bytes()[15]) % LOCKS,
            Owner::Platform => LOCKS,
        };
        let mut places: Vec<usize> = owners.map(place).collect();
        // In one order, or two could wait for each other.
        places.sort_unstable();
        places.dedup();
        let mut turns = Vec::with_capacity(places.len());
        for place in places {
            let lock = self.tenants.get(place).unwrap_or(&self.platform);
            turns.push(lock.lock().await);
        }
        turns
    }
}

/// A thing of a listing, by where it is stored, whatever it says of itself.
pub(super) struct Listed<E> {
    pub(super) owner: Owner,
    pub(super) id: [u8; 16],
    /// What it is, if it can be read.
    pub(super) thing: Result<Stored<E>, StoreError>,
}

impl<E: Entity> Listed<E> {
    fn read(row: EntityRow) -> Self {
        Self { owner: row.owner, id: row.id, thing: Stored::read(row) }
    }
}

/// What was listed, as far as it can be read.
pub(super) struct Readable<E> {
    pub(super) things: Vec<Stored<E>>,
    /// How many there were, whether or not they can be read.
    pub(super) count: usize,
    /// The id of the last of those, from which the next page goes on.
    pub(super) last: Option<[u8; 16]>,
}

impl<E: Entity> Readable<E> {
    /// What can be read of these; of the others it is said in the log that they are passed over.
    fn of(listed: impl IntoIterator<Item = Listed<E>>) -> Self {
        let mut readable = Self { things: Vec::new(), count: 0, last: None };
        for Listed { owner, id, thing } in listed {
            (readable.count, readable.last) = (readable.count + 1, Some(id));
            match thing {
                Ok(stored) => readable.things.push(stored),
                Err(error) => say_unreadable(E::KIND, owner, id, &error),
            }
        }
        readable
    }
}

/// Says that a thing was passed over.
pub(super) fn say_unreadable(kind: &'static str, owner: Owner, id: [u8; 16], error: &(dyn Error + 'static)) {
    let tenant = match owner {
        Owner::Platform => None,
        Owner::Tenant(tenant) => Some(tracing::field::display(tenant)),
    };
    let name = shown_id(id);
    tracing::error!(kind, name, tenant, error, "something in the store cannot be read; it is passed over");
}

/// An id whose kind is not known, for the log.
fn shown_id(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines that tell of deeds, at the ends of their chains as those are now, and how long these are.
async fn lines(
    store: &dyn Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    now: Timestamp,
    by: &By,
    deeds: &[Deed],
) -> Result<(Vec<Change>, Vec<(Owner, u64)>), Refusal> {
    let (mut changes, mut lengths) = (Vec::new(), Vec::<(Owner, u64)>::new());
    for owner in deeds.iter().map(|deed| deed.owner) {
        if lengths.iter().any(|(known, _)| *known == owner) {
            continue;
        }
        let row = store.find_entity(AuditHead::KIND, owner, owner.to_bytes()).await?;
        let head = row.map(Stored::<AuditHead>::read).transpose()?;
        lengths.push((owner, head.as_ref().map_or(0, |head| head.length)));
        let mut latest: Option<AuditHead> = head.as_ref().map(|head| head.entity.clone());
        for deed in deeds.iter().filter(|deed| deed.owner == owner) {
            let id = AuditId::new(now, entropy);
            let (entry, next) = AuditEntry::next(latest.as_ref(), deed.clone(), by, now, id, vault);
            changes.push(Change::insert(&entry));
            latest = Some(next);
        }
        changes.extend(match (head, latest) {
            (Some(mut head), Some(latest)) => {
                head.entity = latest;
                Some(Change::replace(&head))
            }
            (None, Some(latest)) => Some(Change::insert(&latest)),
            (_, None) => None,
        });
    }
    Ok((changes, lengths))
}

/// Makes changes together with the lines of the audit log that tell of them, in a store that nobody else has open:
/// all of it, or none.
///
/// # Errors
/// [`Refusal::Conflict`] when something is not as it was read, [`Refusal::Taken`], [`Refusal::Store`].
pub async fn commit_alone(
    store: &dyn Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    now: Timestamp,
    by: &By,
    deeds: &[Deed],
    changes: Vec<Change>,
) -> Result<(), Refusal> {
    let (mut all, _) = lines(store, vault, entropy, now, by, deeds).await?;
    all.extend(changes);
    Ok(store.commit(all).await?)
}

impl App {
    /// Makes changes together with the lines of the audit log that tell of them: all of it, or none.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when something is not as it was read, [`Refusal::Taken`], [`Refusal::Store`].
    pub(super) async fn commit(&self, by: &By, deeds: Vec<Deed>, changes: Vec<Change>) -> Result<(), Refusal> {
        let _turn = self.chains.turn(deeds.iter().map(|deed| deed.owner)).await;
        let mut tries = 0;
        loop {
            tries += 1;
            let Ports { store, vault, entropy, .. } = &self.ports;
            let (mut all, lengths) = lines(&**store, vault, &**entropy, self.now(), by, &deeds).await?;
            all.extend(changes.iter().cloned());
            match self.ports.store.commit(all).await {
                Ok(()) => {
                    self.tell_of(&changes);
                    return Ok(());
                }
                Err(CommitError::Changed | CommitError::Taken { kind: AuditHead::KIND | AuditEntry::KIND, .. })
                    if tries < TRIES =>
                {
                    // Only when the chain grew: what the caller read is the caller's to read again.
                    let mut grew = false;
                    for (owner, length) in lengths {
                        let head = self.find::<AuditHead>(owner, owner.to_bytes()).await?;
                        grew |= head.map_or(0, |head| head.length) != length;
                    }
                    if !grew {
                        return Err(Refusal::Conflict);
                    }
                }
                // So many at one moment that this one lost each round: nothing is wrong with it.
                Err(CommitError::Taken { kind: AuditHead::KIND | AuditEntry::KIND, .. }) => {
                    return Err(Refusal::Conflict);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes changes that the audit log tells nothing of; says whether all was still as it was read.
    pub(super) async fn is_made(&self, changes: Vec<Change>) -> Result<bool, Refusal> {
        match self.ports.store.commit(changes).await {
            Ok(()) => Ok(true),
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(false),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// A thing of an owner.
    pub(super) async fn find<E: Entity>(&self, owner: Owner, id: [u8; 16]) -> Result<Option<Stored<E>>, Refusal> {
        let row = self.ports.store.find_entity(E::KIND, owner, id).await?;
        Ok(row.map(Stored::read).transpose()?)
    }

    /// The one thing that has this value in a unique index.
    pub(super) async fn find_by<E: Entity>(
        &self,
        index: &'static str,
        value: impl AsRef<[u8]> + Send,
    ) -> Result<Option<Stored<E>>, Refusal> {
        let row = self.ports.store.find_unique(E::KIND, &IndexKey::new(index, value)).await?;
        Ok(row.map(Stored::read).transpose()?)
    }

    /// Things of a kind, in the order of their ids.
    pub(super) async fn list<E: Entity>(&self, list: &EntityList) -> Result<Vec<Stored<E>>, Refusal> {
        let rows = self.ports.store.list_entities(E::KIND, list).await?;
        Ok(rows.into_iter().map(Stored::read).collect::<Result<_, _>>()?)
    }

    /// As [`list`](Self::list), for whom the rest is of use where some cannot be read: a newer program may have written
    /// them, or they are damaged. It is said in the log.
    pub(super) async fn list_readable<E: Entity>(&self, list: &EntityList) -> Result<Readable<E>, Refusal> {
        let rows = self.ports.store.list_entities(E::KIND, list).await?;
        Ok(Readable::of(rows.into_iter().map(Listed::read)))
    }

    /// Things of a kind, read in the turn of whose they are, and on no thread that answers calls: for whoever may look
    /// at many to find few.
    pub(super) async fn list_in_turn<E: Entity>(&self, list: &EntityList) -> Result<Vec<Listed<E>>, Refusal> {
        let listed = Arc::new(Mutex::new(Vec::new()));
        let reading = Arc::clone(&listed);
        let visit = move |row| {
            reading.lock().unwrap_or_else(PoisonError::into_inner).push(Listed::read(row));
            ControlFlow::Continue(())
        };
        self.ports.store.visit_entities(E::KIND, list, Box::new(visit)).await?;
        Ok(mem::take(&mut *listed.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// As [`list_in_turn`](Self::list_in_turn), what can be read of it.
    pub(super) async fn list_readable_in_turn<E: Entity>(&self, list: &EntityList) -> Result<Readable<E>, Refusal> {
        Ok(Readable::of(self.list_in_turn(list).await?))
    }

    /// What was found, where it can be read. That it cannot is said in the log, as of what is listed.
    pub(super) fn readable<E: Entity, T>(
        owner: Owner,
        id: [u8; 16],
        found: Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        match found {
            Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                say_unreadable(E::KIND, owner, id, &error);
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// A sealed text of a thing, where it opens. That it does not is said in the log, as of what cannot be read.
    pub(super) fn unsealed<E: Entity>(thing: &E, text: Result<String, VaultError>) -> Option<String> {
        text.inspect_err(|error| say_unreadable(E::KIND, thing.owner(), thing.id(), error)).ok()
    }

    /// Things of a kind whose time has come, the longest due first. What this program cannot read is set aside.
    pub(super) async fn due<E: Entity>(&self, limit: usize) -> Result<Vec<Stored<E>>, Refusal> {
        let rows = self.ports.store.due_entities(E::KIND, self.now(), limit).await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in rows {
            let (owner, id) = (row.owner, row.id);
            match Stored::read(row) {
                Ok(stored) => due.push(stored),
                Err(error) => self.set_aside(E::KIND, owner, id, &error).await,
            }
        }
        Ok(due)
    }

    /// Lets a thing wait that is due and that this program cannot read, or whatever it needs, so that it keeps none
    /// waiting behind it. It is looked at again in a while, by a newer program or once it was mended.
    pub(super) async fn set_aside(&self, kind: &'static str, owner: Owner, id: [u8; 16], error: &StoreError) {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
        let name = shown_id(id);
        tracing::error!(
            kind,
            name,
            error = error as &dyn Error,
            "what is due cannot be read, and is set aside for five minutes"
        );
        let (now, store) = (self.now(), &self.ports.store);
        let note = SetAside::new(kind, owner, id, now);
        let put_off = store.put_off(kind, owner, id, now, note.until).await.map_err(CommitError::from);
        let noted = match put_off {
            Ok(()) => store.commit(vec![Change::put(&note)]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::error!(kind, name, error = &error as &dyn Error, "it could not be set aside");
        }
    }

    /// How many things were set aside since this was last asked.
    pub fn count_set_aside(&self) -> u64 {
        self.set_aside.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::domain::id::TenantId;

    #[test]
    fn a_chain_waits_for_itself_and_the_platforms_for_no_tenants() {
        let chains = Chains::default();
        let turn = |owners: &[Owner]| chains.turn(owners.iter().copied()).now_or_never();
        for last in 0..=u8::MAX {
            let tenant = Owner::Tenant(TenantId::from_bytes([last; 16]));
            let held = turn(&[tenant]).expect("nobody has it");
            assert!(turn(&[tenant]).is_none());
            let mut both = Box::pin(chains.turn([Owner::Platform, tenant].into_iter()));
            assert!((&mut both).now_or_never().is_none());
            assert!(turn(&[Owner::Platform]).is_some(), "{last}");
            drop((both, held));
            let held = turn(&[Owner::Platform]).expect("nobody has it");
            assert!(turn(&[Owner::Platform]).is_none() && turn(&[tenant, Owner::Platform]).is_none());
            assert!(turn(&[tenant]).is_some(), "{last}");
            drop(held);
        }
    }
}
