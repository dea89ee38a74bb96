//! Live connections: a tenant's accounts that a node keeps logged in, as linked WhatsApp numbers.
//!
//! Whoever calls says what is wanted, and the node that keeps the account makes it so (`keep.rs`): the call may come to any
//! node, and what was wanted survives them all.

mod called;
mod handed_over;
mod keep;
mod leave;

use std::sync::Arc;

use serde::Serialize;

pub use keep::{OtherwiseWanted, Wanted, WantedConnect};

use super::cache::Cache;
use super::{ApiCaller, App, ConnectionChange, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::dispatch::LeaseToken;
use crate::domain::id::{ConnectionId, TenantId};
use crate::domain::inbound;
use crate::domain::live_connection::{
    Connect, KeptStanding, LiveConnection, LiveStatus, OwnNumber, ShownCode, Standing, Wish,
};
use crate::domain::phone::Phone;
use crate::domain::tenant::{self, Tenant};
use crate::domain::vault::Purpose;
use crate::ports::{Change, EntityList, Owner, StateRow, StoreError, Stored, TenantAccount};

/// A live connection, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSeen {
    /// It.
    pub connection: LiveConnection,
    /// Where it stands, as the node said last that keeps it; none where none ever did.
    pub standing: Option<Standing>,
    /// Whether a node keeps it now.
    pub kept: bool,
    /// Whether its channel is switched on: nobody keeps it otherwise.
    pub served: bool,
}

/// How a connection is to log in.
pub struct ConnectLive {
    /// Whether the caller accepts that such an account may be banned, where nobody of the tenant has yet.
    pub accept_risk: bool,
    /// Whose phone is to be linked by a code that is typed on it; none for a QR.
    pub code_for: Option<Phone>,
}

impl LiveSeen {
    /// Whether it has ended without a phone since somebody last asked for it, so that asking again harms no number.
    fn was_unlinked_since(&self) -> bool {
        let Wish::Connect(Connect { asked_at, .. }) = &self.connection.wish else { return false };
        self.standing.as_ref().is_some_and(|standing| {
            let unlinked = matches!(standing.status, LiveStatus::Unpaired | LiveStatus::LoggedOut);
            unlinked && *asked_at < standing.since
        })
    }
}

impl ConnectLive {
    /// Refuses whoever does not accept the risk.
    fn accepts_risk(&self) -> Result<(), Refusal> {
        let words = "is to be true once: WhatsApp does not allow programs like this one, and may ban a number that uses \
                     one; take a number that you can do without";
        if self.accept_risk { Ok(()) } else { Err(Refusal::field("accept_risk", words)) }
    }
}

/// What of live connections is kept in memory.
#[derive(Default)]
pub(super) struct State {
    lists: Cache<TenantId, Arc<Vec<LiveConnection>>>,
    wishes: keep::Wishes,
    handed_over: handed_over::HandedOver,
}

impl State {
    /// Has the connections of a tenant read again, of all where none is named.
    pub(super) fn forget(&self, tenant: Option<TenantId>) {
        self.lists.forget(|list| list.first().is_none_or(|one| tenant.is_none_or(|tenant| one.tenant == tenant)));
    }

    /// A tenant was deleted, or had back: its connections are let go, or kept.
    pub(super) fn tell_of_tenant(&self) {
        self.wishes.tell(None);
    }

    /// Whether this node may hand a delivery over under this hold, and takes down that it does.
    pub(super) fn may_hand_over(&self, hold: LeaseToken, now: Timestamp) -> bool {
        self.handed_over.may(hold, now)
    }
}

/// What the audit log says of a live connection: not its number.
#[derive(Serialize)]
struct Told<'a> {
    channel: &'a str,
    name: &'a str,
    auto_reply: Option<&'a str>,
    /// When it was last asked to be logged in; none where it is not to be.
    connect_asked_at: Option<Timestamp>,
}

fn told(connection: &LiveConnection) -> Told<'_> {
    let connect_asked_at = match &connection.wish {
        Wish::Connect(connect) => Some(connect.asked_at),
        Wish::Rest | Wish::Leave => None,
    };
    let LiveConnection { channel, name, auto_reply, .. } = connection;
    Told { channel, name, auto_reply: auto_reply.as_deref(), connect_asked_at }
}

impl App {
    /// Whether a channel is one whose accounts are kept logged in.
    pub(super) fn keeps_accounts(&self, channel: &str) -> bool {
        self.ports.channels.iter().any(|one| one.name() == channel && one.keeps_accounts())
    }

    /// The live connections of a tenant, oldest first, as of the last second; those that are to be gone are left out.
    pub(super) async fn live_connections_of(&self, tenant: TenantId) -> Result<Arc<Vec<LiveConnection>>, Refusal> {
        let lists = &self.live_connections.lists;
        if let Some(known) = lists.find(&tenant, self.now()) {
            return Ok(known);
        }
        let forgotten = lists.forgotten();
        let list = Arc::new(self.live_connections_now(tenant).await?.0);
        lists.keep_unless_forgotten(forgotten, tenant, Arc::clone(&list), self.now());
        Ok(list)
    }

    /// The live connections of a tenant, and how many more cannot be read.
    pub(super) async fn live_connections_now(&self, tenant: TenantId) -> Result<(Vec<LiveConnection>, usize), Refusal> {
        let read = self.list_readable::<LiveConnection>(&EntityList::of(Owner::Tenant(tenant))).await?;
        let unreadable = read.count - read.things.len();
        let all = read.things.into_iter().map(|stored| stored.entity);
        Ok((all.filter(|connection| connection.wish != Wish::Leave).collect(), unreadable))
    }

    /// Makes a connection that nothing is wanted of yet. Its tenant was seen to have room for one more.
    pub(super) async fn insert_live_connection(
        &self,
        caller: &ApiCaller,
        tenant: Tenant,
        connection: &LiveConnection,
    ) -> Result<(), Refusal> {
        let deed = Deed::of(connection.tenant, "connection.create", connection.id).after(told(connection));
        let changes = vec![Change::insert(connection), Change::ReplaceTenant(Box::new(tenant))];
        self.commit(&caller.by(), vec![deed], changes).await
    }

    pub(super) async fn live_connection(
        &self,
        tenant: TenantId,
        id: ConnectionId,
    ) -> Result<Option<Stored<LiveConnection>>, Refusal> {
        let found = self.find::<LiveConnection>(Owner::Tenant(tenant), id.to_bytes()).await?;
        Ok(found.filter(|connection| connection.wish != Wish::Leave))
    }

    /// A live connection, and where it stands.
    pub(super) async fn seen_live(&self, connection: LiveConnection) -> Result<LiveSeen, Refusal> {
        let of = TenantAccount { tenant: connection.tenant, connection: connection.id };
        let mut standing = self.kept_standing(of).await?.map(|kept| kept.standing);
        if let Some(standing) = &mut standing {
            standing.code.take_if(|code| self.is_for_another(code, &connection));
        }
        let lease = self.ports.store.find_connection_lease(of).await?;
        let kept = lease.is_some_and(|lease| lease.is_in_force(self.now()));
        let served = self.keeps_accounts(&connection.channel);
        Ok(LiveSeen { connection, standing, kept, served })
    }

    /// Whether a code is for another phone than the one that somebody wants linked by now, as in the moment before whoever
    /// keeps the connection knows of that.
    fn is_for_another(&self, code: &ShownCode, connection: &LiveConnection) -> bool {
        let Wish::Connect(Connect { code_for: Some(sealed), .. }) = &connection.wish else { return false };
        let wanted = self.ports.vault.open(Purpose::Address, &connection.id.to_bytes(), sealed);
        let shown_for = code.number.as_ref().map(OwnNumber::digits);
        shown_for.is_some_and(|number| wanted.is_ok_and(|wanted| wanted.trim_start_matches('+') != number))
    }

    /// What was said last of where a connection stands.
    pub(super) async fn kept_standing(&self, of: TenantAccount) -> Result<Option<KeptStanding>, StoreError> {
        let vault = self.ports.vault.of_connection(of);
        let key = vault.key(Standing::NAME);
        let value = self.ports.store.read_state(of, &[key]).await?.pop().flatten();
        let opened = value.and_then(|value| {
            let opened = vault.open(&StateRow { key, value });
            opened.inspect_err(|error| tracing::error!(connection = %of.connection, %error, "where a connection stands cannot be read")).ok()
        });
        // What a newer program says of it this one may not know.
        Ok(opened.and_then(|opened| serde_json::from_slice(&opened.value).ok()))
    }

    /// Has a connection log in; where no phone is linked, it shows what links one, for some minutes. Where a code for the
    /// same phone is still shown, or somebody has only just asked for the same, nothing is asked for.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] where the risk is not accepted or the channel is switched off,
    /// [`Refusal::LinkCode`], [`Refusal::OtherService`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn connect_live(
        &self,
        caller: &ApiCaller,
        id: ConnectionId,
        connect: ConnectLive,
    ) -> Result<LiveSeen, Refusal> {
        let mut found = self.own_live_connection(caller, id).await?;
        if !self.keeps_accounts(&found.channel) {
            let words = format!("is to `{}`, which the operator has switched off: nothing could log in", found.channel);
            return Err(Refusal::field("id", words));
        }
        let before = found.entity.clone();
        let now = self.now();
        if found.risk_accepted_at.is_none() {
            connect.accepts_risk()?;
            found.risk_accepted_at = Some(now);
        }
        if let Some(phone) = &connect.code_for {
            let seen = self.seen_live(before.clone()).await?;
            if self.shows_code_for(&seen, phone) {
                return Ok(seen);
            }
            if let Some(next_at) = found.next_code_at().filter(|next_at| now < *next_at) {
                return Err(Refusal::LinkCode { next_at });
            }
            found.code_asked_at = Some(now);
        } else if found.entity.risk_accepted_at == before.risk_accepted_at && before.has_just_been_asked_for(now) {
            let seen = self.seen_live(before.clone()).await?;
            if !seen.was_unlinked_since() {
                return Ok(seen);
            }
        }
        let seal =
            |phone: Phone| self.ports.vault.seal(Purpose::Address, &id.to_bytes(), phone.e164(), &*self.ports.entropy);
        found.wish = Wish::Connect(Connect { asked_at: now, code_for: connect.code_for.map(seal) });
        self.wish(caller, "connection.connect", before, found).await
    }

    /// Whether a code to be typed on this phone is shown, and still of use.
    fn shows_code_for(&self, seen: &LiveSeen, phone: &Phone) -> bool {
        let Wish::Connect(Connect { code_for: Some(sealed), .. }) = &seen.connection.wish else { return false };
        let shown = seen.standing.as_ref().filter(|standing| seen.kept && standing.status == LiveStatus::Pairing);
        let code = shown.and_then(|standing| standing.code.as_ref());
        code.is_some_and(|code| self.now() < code.expires_at)
            && self
                .ports
                .vault
                .open(Purpose::Address, &seen.connection.id.to_bytes(), sealed)
                .is_ok_and(|number| number.as_str() == phone.e164())
    }

    /// Ends the login of a connection, and leaves it alone until somebody has it connect; the phone stays linked.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::OtherService`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn disconnect_live(&self, caller: &ApiCaller, id: ConnectionId) -> Result<LiveSeen, Refusal> {
        let mut found = self.own_live_connection(caller, id).await?;
        let before = found.entity.clone();
        if before.wish == Wish::Rest {
            return self.seen_live(before).await;
        }
        found.wish = Wish::Rest;
        self.wish(caller, "connection.disconnect", before, found).await
    }

    /// Has a connection taken off its phone, and erased then, with its keys: by the node that keeps it, or that could, and
    /// without a word to the phone where none has in a day.
    pub(super) async fn leave_live(
        &self,
        caller: &ApiCaller,
        mut found: Stored<LiveConnection>,
    ) -> Result<(), Refusal> {
        let deed = Deed::of(found.tenant, "connection.delete", found.id).before(told(&found));
        found.wish = Wish::Leave;
        found.updated_at = self.now();
        let of = TenantAccount { tenant: found.tenant, connection: found.id };
        self.commit_wish(caller, of, deed, Change::replace(&found)).await
    }

    /// Gives a connection another name, and another answer to whoever writes to it.
    pub(super) async fn change_live(
        &self,
        caller: &ApiCaller,
        mut found: Stored<LiveConnection>,
        change: ConnectionChange,
    ) -> Result<LiveSeen, Refusal> {
        let before = found.entity.clone();
        if let Some(name) = change.name {
            found.name = tenant::name(&name).map_err(|error| Refusal::field("name", error.to_string()))?;
        }
        if let Some(reply) = change.auto_reply {
            let reply = reply.map(|text| inbound::auto_reply(&text)).transpose();
            found.auto_reply = reply.map_err(|error| Refusal::field("auto_reply", error.to_string()))?;
        }
        if found.entity == before {
            return self.seen_live(before).await;
        }
        self.wish(caller, "connection.change", before, found).await
    }

    /// A live connection as it is for whoever may change it.
    async fn own_live_connection(
        &self,
        caller: &ApiCaller,
        id: ConnectionId,
    ) -> Result<Stored<LiveConnection>, Refusal> {
        super::connections::whole_tenant(caller)?;
        if let Some(found) = self.live_connection(caller.tenant.id, id).await? {
            return Ok(found);
        }
        // One of a plugin is there, and is no such.
        self.find_connection(caller, id).await?;
        Err(Refusal::field(
            "id",
            "is a connection that is not kept logged in: it sends whenever there is something to send",
        ))
    }

    /// Stores a change that a caller made, and has it followed at once by this node, by others within seconds.
    async fn wish(
        &self,
        caller: &ApiCaller,
        action: &'static str,
        before: LiveConnection,
        mut found: Stored<LiveConnection>,
    ) -> Result<LiveSeen, Refusal> {
        found.updated_at = self.now();
        let deed = Deed::of(before.tenant, action, before.id).between(told(&before), told(&found));
        let of = TenantAccount { tenant: before.tenant, connection: before.id };
        self.commit_wish(caller, of, deed, Change::replace(&found)).await?;
        self.seen_live(found.entity).await
    }

    async fn commit_wish(
        &self,
        caller: &ApiCaller,
        of: TenantAccount,
        deed: Deed,
        change: Change,
    ) -> Result<(), Refusal> {
        let stored = self.commit(&caller.by(), vec![deed], vec![change]).await;
        // Also where that failed: it may be stored all the same, and to look is cheap.
        self.live_connections.wishes.tell(Some(of));
        stored?;
        self.changed(of.tenant).await;
        Ok(())
    }
}
