//! Nobody is signed in by a backup.
//!
//! Its sessions may have been ended since, because somebody had stolen them, and its refresh tokens have turned
//! since. So a session goes on only as the database that is replaced has it; and recovery codes, and codes of an
//! app, that were used since stay used.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;
use wotp_core::app::Refusal;
use wotp_core::domain::Timestamp;
use wotp_core::domain::audit::Deed;
use wotp_core::domain::id::{SessionId, UserId};
use wotp_core::domain::operator_access::OperatorAccess;
use wotp_core::domain::second_factor::SecondFactor;
use wotp_core::domain::session::Session;
use wotp_core::domain::user::User;
use wotp_core::ports::{Change, Entity, EntityList, Owner, Stored};

use super::ended::Staged;
use crate::wiring::embedded;

/// Things that are looked at, and changed, at once.
const BATCH: usize = 256;

/// Who is signed in to the database that goes, and by what.
#[derive(Default)]
pub(super) struct People {
    sessions: HashMap<SessionId, Session>,
    second_factors: HashMap<UserId, SecondFactor>,
    epochs: HashMap<UserId, u64>,
}

impl People {
    /// As far as it can be read: whoever is not found here signs in again.
    pub(super) fn of(database: &Path) -> Self {
        let sessions: Vec<Session> = embedded::salvage_entities(database).unwrap_or_default();
        let factors: Vec<SecondFactor> = embedded::salvage_entities(database).unwrap_or_default();
        let users: Vec<User> = embedded::salvage_entities(database).unwrap_or_default();
        Self {
            epochs: users.into_iter().map(|user| (user.id, user.epoch)).collect(),
            sessions: sessions.into_iter().map(|session| (session.id, session)).collect(),
            second_factors: factors.into_iter().map(|factor| (factor.user, factor)).collect(),
        }
    }

    /// Whether it still lets somebody in there: an account's epoch ends sessions whose rows are still kept.
    fn lets_in(&self, session: &Session, now: Timestamp) -> bool {
        let epoch = self.epochs.get(&session.user);
        session.is_open(now) && epoch.is_some_and(|epoch| session.epoch >= *epoch)
    }
}

/// What became of sessions and of operators who acted as a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SignedOut {
    /// Sessions that go on.
    pub(super) kept: usize,
    /// Sessions of the backup that do not.
    pub(super) ended: usize,
    /// Operators who do not act as a tenant any more.
    pub(super) accesses: usize,
}

/// Leaves of sessions those that `replaced` still holds, ends all acting as a tenant, and uses up the codes of
/// second factors that were used since.
///
/// # Errors
/// [`Refusal::Store`].
pub(super) async fn sign_out(staged: &Staged<'_>, replaced: &People) -> Result<SignedOut, Refusal> {
    raise_epochs(staged, replaced).await?;
    let mut done = end_sessions(staged, replaced).await?;
    use_up_codes(staged, replaced).await?;
    done.accesses = end_accesses(staged).await?;
    Ok(done)
}

async fn end_sessions(staged: &Staged<'_>, replaced: &People) -> Result<SignedOut, Refusal> {
    let mut done = SignedOut::default();
    let mut changes = Vec::new();
    for mut session in everything::<Session>(staged).await? {
        let goes_on = replaced.sessions.get(&session.id).is_some_and(|held| replaced.lets_in(held, staged.now));
        if !goes_on && session.is_open(staged.now) {
            session.revoked_at = Some(staged.now);
            changes.push(Change::replace(&session));
            done.ended += 1;
        }
    }
    let mut held: Vec<&Session> =
        replaced.sessions.values().filter(|held| replaced.lets_in(held, staged.now)).collect();
    held.sort_by_key(|held| held.id);
    for session in held {
        // An account that began after the backup is not there any more.
        if staged.store.find_entity(User::KIND, Owner::Platform, session.user.to_bytes()).await?.is_some() {
            changes.push(Change::put(session));
            done.kept += 1;
        }
    }
    in_batches(staged, changes).await?;
    Ok(done)
}

/// An epoch that goes back would let in again what it ended, and the next one would not end what was of later ones.
async fn raise_epochs(staged: &Staged<'_>, replaced: &People) -> Result<(), Refusal> {
    let mut changes = Vec::new();
    for mut user in everything::<User>(staged).await? {
        if let Some(epoch) = replaced.epochs.get(&user.id).filter(|epoch| **epoch > user.epoch) {
            user.epoch = *epoch;
            changes.push(Change::replace(&user));
        }
    }
    in_batches(staged, changes).await
}

/// A second factor that is still the same is what it became.
async fn use_up_codes(staged: &Staged<'_>, replaced: &People) -> Result<(), Refusal> {
    let mut changes = Vec::new();
    for mut factor in everything::<SecondFactor>(staged).await? {
        let became = replaced.second_factors.get(&factor.user).filter(|became| became.begun_at == factor.begun_at);
        if let Some(became) = became.filter(|became| **became != factor.entity) {
            factor.entity = became.clone();
            changes.push(Change::replace(&factor));
        }
    }
    in_batches(staged, changes).await
}

async fn end_accesses(staged: &Staged<'_>) -> Result<usize, Refusal> {
    let mut ended = 0;
    for mut access in everything::<OperatorAccess>(staged).await? {
        if access.ends_at <= staged.now {
            continue;
        }
        let (tenant, id, before) = (access.tenant, access.id, json!({ "ends_at": access.ends_at }));
        access.ends_at = staged.now;
        let after = json!({ "tenant": tenant, "ends_at": access.ends_at, "restored": true });
        let deeds = [Deed::of(tenant, "operator_access.end", id), Deed::of_platform("operator_access.end", id)];
        let deeds = deeds.map(|deed| deed.before(&before).after(&after));
        staged.commit(&deeds, vec![Change::replace(&access)]).await?;
        ended += 1;
    }
    Ok(ended)
}

/// All things of a kind, whoever owns them.
async fn everything<E: Entity>(staged: &Staged<'_>) -> Result<Vec<Stored<E>>, Refusal> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let holds = Vec::new();
        let list = EntityList { owner: None, by: None, from: None, before, holds, newest_first: true, limit: BATCH };
        let rows = staged.store.list_entities(E::KIND, &list).await?;
        let Some(last) = rows.last() else { return Ok(all) };
        before = Some(last.id);
        for row in rows {
            all.push(Stored::read(row)?);
        }
    }
}

async fn in_batches(staged: &Staged<'_>, changes: Vec<Change>) -> Result<(), Refusal> {
    for batch in changes.chunks(BATCH) {
        staged.commit(&[], batch.to_vec()).await?;
    }
    Ok(())
}
