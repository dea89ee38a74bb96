//! Live connections by what their tenant calls them, for callers that keep no ids.

use super::{ConnectLive, LiveSeen};
use crate::app::connections::{NewConnection, whole_tenant};
use crate::app::plugins::Given;
use crate::app::{ApiCaller, App, Refusal};
use crate::domain::id::ConnectionId;
use crate::domain::live_connection::LiveConnection;
use crate::domain::routing::RoutingError;

/// Connections that a refusal lists, for whoever is to name one.
const LISTED: usize = 10;

/// The one that has this id or this name.
fn called<'a>(all: &[&'a LiveConnection], name: &str) -> Result<Option<&'a LiveConnection>, Refusal> {
    let name = name.trim();
    if let Ok(id) = name.parse::<ConnectionId>() {
        return Ok(all.iter().find(|connection| connection.id == id).copied());
    }
    let mut named = all.iter().filter(|connection| connection.name == name);
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => {
            Err(Refusal::field("connection", "is what several of them are called: give the id of one"))
        }
        (one, _) => Ok(one.copied()),
    }
}

/// The one that has this id or this name, or the only one where none is named.
fn meant<'a>(all: &[&'a LiveConnection], name: Option<&str>) -> Result<Option<&'a LiveConnection>, Refusal> {
    match (name, all) {
        (Some(name), _) => called(all, name),
        (None, []) => Ok(None),
        (None, [one]) => Ok(Some(one)),
        (None, _) => {
            let listed = all.iter().take(LISTED).map(|one| format!("`{}` ({})", one.name, one.id));
            let listed = listed.collect::<Vec<_>>().join(", ");
            Err(Refusal::field("connection", format!("is missing: say which of your {}, as {listed}", all.len())))
        }
    }
}

impl App {
    /// The tenant's connection to a channel that has this id, or that the tenant calls so; the only one, where none is named.
    /// None, where there is none and none is named.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] where several could be meant, [`Refusal::OtherService`],
    /// [`Refusal::Store`].
    pub async fn live_called(
        &self,
        caller: &ApiCaller,
        channel: &str,
        name: Option<&str>,
    ) -> Result<Option<LiveSeen>, Refusal> {
        whole_tenant(caller)?;
        let (all, _) = self.live_connections_now(caller.tenant.id).await?;
        let of_channel: Vec<_> = all.iter().filter(|connection| connection.channel == channel).collect();
        match (meant(&of_channel, name)?, name) {
            (Some(found), _) => Ok(Some(self.seen_live(found.clone()).await?)),
            (None, Some(_)) => Err(Refusal::NotFound("connection")),
            (None, None) => Ok(None),
        }
    }

    /// Has the tenant's connection to a channel log in that has this id, or that the tenant calls so, or the only one; and
    /// makes it first where there is none.
    ///
    /// # Errors
    /// As of [`live_called`](Self::live_called), [`create_connection`](Self::create_connection) and
    /// [`connect_live`](Self::connect_live); where the risk is not accepted, nothing was made.
    pub async fn connect_called(
        &self,
        caller: &ApiCaller,
        channel: &str,
        name: Option<&str>,
        connect: ConnectLive,
    ) -> Result<LiveSeen, Refusal> {
        let found = match self.live_called(caller, channel, name).await {
            // An id that is nobody's is no name for a new one.
            Err(Refusal::NotFound(_)) if name.is_some_and(|name| name.trim().parse::<ConnectionId>().is_err()) => None,
            found => found?,
        };
        let id = match found {
            Some(seen) => seen.connection.id,
            None => {
                connect.accepts_risk()?;
                if !self.keeps_accounts(channel) {
                    let known = self.channels().into_iter().map(|channel| channel.name).collect::<Vec<_>>().join(", ");
                    return Err(Refusal::Routing(RoutingError::Unknown { name: channel.to_owned(), known }));
                }
                let given = Given::default();
                let new = NewConnection { channel: channel.to_owned(), name: name.map(str::to_owned), given };
                self.create_live_connection(caller, new, true).await?.id
            }
        };
        self.connect_live(caller, id, connect).await
    }

    /// The connection that a message is to go out through: it is to be logged in, wherever it stands just now.
    pub(in crate::app) async fn live_to_send_through(
        &self,
        caller: &ApiCaller,
        name: &str,
    ) -> Result<LiveConnection, Refusal> {
        whole_tenant(caller)?;
        let all = self.live_connections_of(caller.tenant.id).await?;
        let Some(found) = called(&all.iter().collect::<Vec<_>>(), name)? else {
            if let Ok(id) = name.trim().parse() {
                // One of a plugin is there, and is no such.
                self.find_connection(caller, id).await?;
                let words = "is one that is not kept logged in: name its channel in `channels` instead";
                return Err(Refusal::field("connection", words));
            }
            return Err(Refusal::NotFound("connection"));
        };
        if found.connects() { Ok(found.clone()) } else { Err(Refusal::NotConnected) }
    }
}
