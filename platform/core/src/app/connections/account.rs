//! How the account that a connection goes through stands at its provider.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ConnectionSeen, whole_tenant};
use crate::app::commit::tried_again;
use crate::app::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::account::{AccountChecked, AccountStanding};
use crate::domain::audit::{By, Deed};
use crate::domain::connection::Connection;
use crate::domain::id::ConnectionId;
use crate::ports::{Change, Unchecked};

/// Findings that the audit log holds of one look; first those that are not good.
const LOGGED_MAX: usize = 16;

/// What the audit log says of an account that was looked at.
#[derive(Serialize)]
struct Told<'a> {
    usable: bool,
    answered: bool,
    findings: BTreeMap<&'a str, &'a str>,
}

fn told(checked: &AccountChecked) -> Told<'_> {
    let AccountChecked { standing, unanswered, .. } = checked;
    let findings = &standing.findings;
    let by_weight = findings.iter().filter(|one| !one.good).chain(findings.iter().filter(|one| one.good));
    Told {
        usable: standing.usable,
        answered: unanswered.is_none(),
        findings: by_weight.take(LOGGED_MAX).map(|one| (one.name.as_str(), one.state.as_str())).collect(),
    }
}

impl App {
    /// Has the account of a connection looked at, and what it lacks made there where its settings ask for that. What was
    /// found is kept with the connection. Nothing is done where its channel looks at none.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::AccountsBusy`] where too many are looked at,
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn check_connection(&self, caller: &ApiCaller, id: ConnectionId) -> Result<ConnectionSeen, Refusal> {
        whole_tenant(caller)?;
        if let Some(live) = self.live_connection(caller.tenant.id, id).await? {
            return Ok(ConnectionSeen::from(self.seen_live(live.entity).await?));
        }
        let connection = self.connection(caller.tenant.id, id).await?.entity;
        let begun = self.now();
        let connection = match self.looked(&connection).await {
            Some(Err(Unchecked::Busy)) => return Err(Refusal::AccountsBusy),
            Some(looked) => self.note_account(connection, begun, looked, Some(&caller.by())).await?,
            None => connection,
        };
        Ok(self.seen(connection).await)
    }

    /// A connection whose settings are new, after its account was looked at. That comes to nothing where it fails: the
    /// connection is there.
    pub(super) async fn with_account(&self, connection: Connection) -> Connection {
        let begun = self.now();
        let looked = match self.looked(&connection).await {
            // Nobody was asked: there is nothing to keep.
            None | Some(Err(Unchecked::Busy)) => return connection,
            Some(looked) => looked,
        };
        match self.note_account(connection.clone(), begun, looked, None).await {
            Ok(noted) => noted,
            Err(error) => {
                let (id, error) = (connection.id, &error as &dyn std::error::Error);
                tracing::warn!(connection = %id, error, "how the account of a connection stands was not kept");
                connection
            }
        }
    }

    /// How the account stands; none where nobody can look.
    async fn looked(&self, connection: &Connection) -> Option<Result<AccountStanding, Unchecked>> {
        let running = self.way_through(connection).ok()?;
        let channel = self.channel_through(&running, connection).await.ok()?;
        Some(channel.account()?.check().await)
    }

    /// Keeps what was found by a look that began then, if the connection still has the settings that it was found with,
    /// whoever gave others looks anew, and unless a look that began later was kept before. The log tells of it where it is
    /// somebody's doing.
    pub(in crate::app) async fn note_account(
        &self,
        of: Connection,
        begun: Timestamp,
        looked: Result<AccountStanding, Unchecked>,
        by: Option<&By>,
    ) -> Result<Connection, Refusal> {
        let (of, looked) = (&of, &looked.map_err(|unchecked| unchecked.to_string()));
        tried_again(move || async move {
            let mut found = self.connection(of.tenant, of.id).await?;
            let is_later = |known: &AccountChecked| known.at > begun;
            if !found.leads_as(of) || found.account.as_ref().is_some_and(is_later) {
                return Ok(found.entity);
            }
            let checked = AccountChecked::next(found.entity.account.take(), looked.clone(), begun);
            let deed = Deed::of(of.tenant, "connection.check", of.id).after(told(&checked));
            found.entity.account = Some(checked);
            let changes = vec![Change::replace(&found)];
            match by {
                Some(by) => self.commit(by, vec![deed], changes).await?,
                None if self.is_made(changes).await? => {}
                None => return Err(Refusal::Conflict),
            }
            Ok(found.entity)
        })
        .await
    }
}
