//! What the node needs to know that keeps live connections, and what it says of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::app::fold::Told;
use crate::app::{App, Refusal, erase_connection_memory};
use crate::domain::Timestamp;
use crate::domain::connection_lease::ConnectionLease;
use crate::domain::erasure::Erasure;
use crate::domain::event::{ConnectionData, Fact};
use crate::domain::id::{ConnectionId, TenantId};
use crate::domain::live_connection::{
    Connect, ConnectionNews, KeptStanding, LiveConnection, LiveStatus, Standing, Wish,
};
use crate::domain::phone::Phone;
use crate::domain::vault::Purpose;
use crate::ports::{
    Change, CommitError, Entity as _, EntityRow, Owner, StateChange, StateError, StoreError, Stored, TenantAccount,
};

/// What is wanted of a live connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To be logged in.
    Connect(WantedConnect),
    /// To be logged out for good. Whoever has done that says so ([`App::live_connection_left`]).
    Leave,
}

/// How it is to log in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WantedConnect {
    /// When somebody last asked for it, and so for a phone to be linked where none is; none where that cannot be read.
    pub asked_at: Option<Timestamp>,
    /// Whose phone is to be linked by a code that is typed on it; none for a QR.
    pub code_for: Option<Phone>,
}

/// Of what something else is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherwiseWanted {
    /// Of these.
    Of(Vec<TenantAccount>),
    /// Of any: of so many that it is less to read all, or of all of a tenant's.
    Any,
}

/// Beyond so many changes that nobody has looked at, all that is wanted is read.
const CHANGED_MAX: usize = 64;
/// Most deleted tenants whose connections are let go.
const DELETED_MAX: usize = 10_000;

/// Who waits for something to be wanted, by calls to this node.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    told: Mutex<Unheard>,
}

/// What is to be told to whoever waits.
#[derive(Debug, Default)]
struct Unheard {
    of: Vec<TenantAccount>,
    any: bool,
    waker: Option<Waker>,
}

impl Wishes {
    /// Something else is wanted of a connection; of any, where none is named.
    pub(super) fn tell(&self, of: Option<TenantAccount>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match of {
            Some(of) if told.of.contains(&of) => {}
            Some(of) if told.of.len() < CHANGED_MAX => told.of.push(of),
            Some(_) | None => told.any = true,
        }
        if let Some(waker) = told.waker.take() {
            waker.wake();
        }
    }

    async fn told(&self) -> OtherwiseWanted {
        std::future::poll_fn(|context| {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let (of, any) = (std::mem::take(&mut told.of), std::mem::take(&mut told.any));
            if any {
                return Poll::Ready(OtherwiseWanted::Any);
            }
            if !of.is_empty() {
                return Poll::Ready(OtherwiseWanted::Of(of));
            }
            told.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl App {
    /// All live connections of which something is wanted. Of one that cannot be read, as a newer program wrote it, it is
    /// known that it is to be logged in, and no more. Those of a tenant that is deleted are not to be, until it is had back:
    /// their phones stay linked. Those of one that is suspended are, since WhatsApp drops what does not log in for weeks:
    /// what was accepted before still goes out, and nobody is answered meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn wanted_connections(&self) -> Result<Vec<(TenantAccount, Wanted)>, StoreError> {
        let rows = self.ports.store.list_entities(LiveConnection::KIND, &LiveConnection::all_wanted()).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // Few, and fewer than the tenants that have connections: so it is not those that are read.
        let erasures = self.ports.store.due_entities(Erasure::KIND, Timestamp::MAX, DELETED_MAX).await?;
        let deleted: BTreeSet<TenantId> = erasures.iter().map(|row| TenantId::from_bytes(row.id)).collect();
        let wanted = rows.into_iter().filter_map(|row| {
            let of = account(&row)?;
            Some((of, self.wanted(of, Stored::read(row))?))
        });
        Ok(wanted.filter(|(of, wanted)| *wanted == Wanted::Leave || !deleted.contains(&of.tenant)).collect())
    }

    /// What is wanted of one live connection; nothing where none is.
    ///
    /// # Errors
    /// [`StoreError`], also where it cannot be read.
    pub async fn wanted_connection(&self, of: TenantAccount) -> Result<Option<Wanted>, StoreError> {
        let (store, owner) = (&self.ports.store, Owner::Tenant(of.tenant));
        let row = store.find_entity(LiveConnection::KIND, owner, of.connection.to_bytes()).await?;
        let Some(row) = row else { return Ok(None) };
        let wanted = self.wanted(of, Ok(Stored::read(row)?));
        if !matches!(wanted, Some(Wanted::Connect(_))) {
            return Ok(wanted);
        }
        let erasure = store.find_entity(Erasure::KIND, Owner::Platform, of.tenant.to_bytes()).await?;
        Ok(wanted.filter(|_| erasure.is_none()))
    }

    fn wanted(&self, of: TenantAccount, found: Result<Stored<LiveConnection>, StoreError>) -> Option<Wanted> {
        match found.map(|stored| stored.entity.wish) {
            Ok(Wish::Leave) => Some(Wanted::Leave),
            Ok(Wish::Connect(connect)) => Some(Wanted::Connect(self.wanted_connect(of.connection, &connect))),
            Ok(Wish::Rest) => None,
            Err(_) => Some(Wanted::Connect(WantedConnect::default())),
        }
    }

    fn wanted_connect(&self, id: ConnectionId, connect: &Connect) -> WantedConnect {
        let open = |sealed| self.ports.vault.open(Purpose::Address, &id.to_bytes(), sealed).ok();
        let code_for = connect.code_for.as_ref().and_then(open).and_then(|number| Phone::parse(&number).ok());
        WantedConnect { asked_at: Some(connect.asked_at), code_for }
    }

    /// Waits until something else is wanted by a call to this node, since the last time that this was waited for; of which
    /// it is. By one who waits.
    pub async fn wanted_connections_changed(&self) -> OtherwiseWanted {
        self.live_connections.wishes.told().await
    }

    /// When somebody else logged in with the keys of a connection, if that is what was said last of where it stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn connection_replaced_at(&self, of: TenantAccount) -> Result<Option<Timestamp>, StoreError> {
        let standing = self.kept_standing(of).await?.map(|kept| kept.standing);
        Ok(standing.filter(|standing| standing.status == LiveStatus::Replaced).map(|standing| standing.since))
    }

    /// Says where a connection stands, for the node that keeps it under this lease, and tells its tenant what does not pass
    /// by itself: more than once where the node dies in between, since an event cannot be stored with what a connection
    /// remembers.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when another node keeps it, [`Refusal::Store`], [`Refusal::Vault`].
    pub async fn tell_standing(&self, lease: &ConnectionLease, standing: &Standing) -> Result<(), Refusal> {
        let before = self.kept_standing(lease.of).await?;
        if before.as_ref().is_some_and(|before| before.says_more_than(standing)) {
            return Ok(());
        }
        // What is written is refused to a former keeper, and what is told is not written there.
        let newest = self.ports.store.find_connection_lease(lease.of).await?;
        if newest.is_none_or(|newest| newest.fence != lease.fence) {
            return Err(Refusal::Conflict);
        }
        let (kept, news) = KeptStanding::next(before.as_ref(), standing.clone());
        if !news.is_empty() {
            self.tell_connection_news(lease.of, standing, news).await?;
        }
        let vault = self.ports.vault.of_connection(lease.of);
        let text = serde_json::to_vec(&kept).expect("it has names for keys");
        let row = vault.seal(Standing::NAME, &text, &*self.ports.entropy);
        self.ports.store.write_state(lease, vec![StateChange::Put(row)]).await.map_err(|error| match error {
            StateError::Fenced => Refusal::Conflict,
            StateError::Store(error) => error.into(),
        })
    }

    async fn tell_connection_news(
        &self,
        of: TenantAccount,
        standing: &Standing,
        news: Vec<ConnectionNews>,
    ) -> Result<(), Refusal> {
        // Of one that is being deleted nothing is told, least of all that it is logged out.
        let Some(connection) = self.live_connection(of.tenant, of.connection).await? else { return Ok(()) };
        if !self.listens(of.tenant).await? {
            return Ok(());
        }
        let now = self.now();
        let data = || ConnectionData::of(&connection, standing);
        let told = news.into_iter().filter_map(|news| {
            let fact = match news {
                ConnectionNews::Health => Fact::ConnectionHealth(data()),
                ConnectionNews::Status(LiveStatus::Connected) => Fact::ConnectionConnected(data()),
                ConnectionNews::Status(LiveStatus::Disconnected) => Fact::ConnectionDisconnected(data()),
                ConnectionNews::Status(LiveStatus::LoggedOut) => Fact::ConnectionLoggedOut(data()),
                ConnectionNews::Status(LiveStatus::Replaced) => Fact::ConnectionReplaced(data()),
                ConnectionNews::Status(LiveStatus::Banned) => Fact::ConnectionBanned(data()),
                ConnectionNews::Status(LiveStatus::Unpaired | LiveStatus::Pairing | LiveStatus::Connecting) => {
                    return None;
                }
            };
            Some(Told { tenant: of.tenant, service: None, at: now, fact })
        });
        let events = self.events(told.collect(), now);
        match self.ports.store.commit(events.iter().map(Change::insert).collect()).await {
            Ok(()) => {
                self.webhooks.bell().ring();
                Ok(())
            }
            Err(CommitError::Changed | CommitError::Taken { .. }) => Err(Refusal::Conflict),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// A connection that was to be logged out for good is: nothing is left of it.
    ///
    /// # Errors
    /// [`StoreError`]. It is still wanted to leave then.
    pub async fn live_connection_left(&self, of: TenantAccount) -> Result<(), StoreError> {
        erase_connection_memory(&*self.ports.store, of).await?;
        let owner = Owner::Tenant(of.tenant);
        let row = self.ports.store.find_entity(LiveConnection::KIND, owner, of.connection.to_bytes()).await?;
        let Some(row) = row else { return Ok(()) };
        let found = Stored::<LiveConnection>::read(row)?;
        if found.wish != Wish::Leave {
            return Ok(());
        }
        match self.ports.store.commit(vec![Change::delete(&found)]).await {
            // Somebody else has seen to it, or is about to.
            Ok(()) | Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}

/// Which one a row is.
fn account(row: &EntityRow) -> Option<TenantAccount> {
    let tenant = row.owner.tenant()?;
    Some(TenantAccount { tenant, connection: ConnectionId::from_bytes(row.id) })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn connection(n: u8) -> TenantAccount {
        TenantAccount { tenant: TenantId::from_bytes([1; 16]), connection: ConnectionId::from_bytes([n; 16]) }
    }

    #[test]
    fn what_is_told_before_somebody_waits_is_heard_and_once() {
        let wishes = Wishes::default();
        let told = || wishes.told().now_or_never();
        assert_eq!(told(), None);
        for n in [1, 2, 1] {
            wishes.tell(Some(connection(n)));
        }
        assert_eq!(told(), Some(OtherwiseWanted::Of(vec![connection(1), connection(2)])));
        assert_eq!(told(), None);
        wishes.tell(Some(connection(1)));
        wishes.tell(None);
        assert_eq!(told(), Some(OtherwiseWanted::Any), "that holds the one");
        assert_eq!(told(), None);
    }

    #[test]
    fn of_so_many_that_changed_unheard_no_list_is_made() {
        let wishes = Wishes::default();
        (0..=64).for_each(|n| wishes.tell(Some(connection(n))));
        assert_eq!(wishes.told().now_or_never(), Some(OtherwiseWanted::Any));
    }
}
