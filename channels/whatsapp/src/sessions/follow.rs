//! Does what is wanted of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use jiff::SignedDuration;
use tokio::time::{Instant, sleep_until};
use wotp_core::app::{OtherwiseWanted, Wanted, WantedConnect};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::ports::StoreError;

use super::{KeepError, Sessions};
use crate::leases::session;
use crate::listen::SessionId;
use crate::session::PairError;
use crate::status::Status;
use crate::wishes::Wishes;

/// When somebody asked for a session to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Before that was looked at the last time.
    Before,
    /// Since then, and so long ago that a QR would be shown to nobody.
    LongAgo,
    /// Since then.
    Now,
}

impl Sessions {
    /// Does what is wanted of a session, if this process has it, or can have it.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn follow(self: &Arc<Self>, id: SessionId, wanted: &Wanted) -> Result<(), KeepError> {
        match wanted {
            Wanted::Connect(connect) => self.connect(id, connect).await,
            Wanted::Leave => {
                self.log_out(id).await?;
                Ok(self.parts.wishes.left(id).await?)
            }
        }
    }

    /// Keeps a session here: it logs in, or shows what links a phone if somebody has just asked for it.
    async fn connect(self: &Arc<Self>, id: SessionId, connect: &WantedConnect) -> Result<(), KeepError> {
        let (session, asked, code) = {
            let _turn = self.turn(id).await;
            let session = self.own(id).await?;
            if let Some(at) = self.was_replaced(id, connect).await? {
                session.stays_replaced(at).await;
                return Ok(());
            }
            let asked = self.asked(id, connect);
            // In its turn, so that of two calls the later has a code.
            let code = if asked == Asked::Now { session.wants_code(connect.code_for.as_ref()) } else { None };
            (session, asked, code)
        };
        match (asked, code) {
            (Asked::Before, _) if matches!(session.status(), Status::Replaced { .. }) => {}
            (Asked::Before | Asked::LongAgo, _) => session.resume().await?,
            (Asked::Now, None) => session.start().await?,
            (Asked::Now, Some(code)) => {
                // It takes as long as WhatsApp does.
                tokio::spawn(async move {
                    match session.show_asked(code).await {
                        Ok(()) | Err(PairError::Linked | PairError::Overtaken) => {}
                        Err(error) => {
                            let error: &dyn std::error::Error = &error;
                            tracing::warn!(connection = %id.connection, error, "no code to link a phone is shown, but a QR");
                        }
                    }
                });
                return Ok(());
            }
        }
        session.tell_standing().await;
        Ok(())
    }

    /// When somebody else logged in with a session's keys, if nobody has asked for it to connect since. Looked at once, when
    /// it has just been taken.
    async fn was_replaced(&self, id: SessionId, connect: &WantedConnect) -> Result<Option<Timestamp>, StoreError> {
        if self.table().held.get(&id).is_none_or(|held| held.looked_back) {
            return Ok(None);
        }
        let replaced_at = self.parts.wishes.replaced_at(id).await?;
        let stays = replaced_at.filter(|at| connect.asked_at.is_none_or(|asked_at| asked_at <= *at));
        if let Some(held) = self.table().held.get_mut(&id) {
            held.looked_back = true;
            if stays.is_some() {
                held.asked_at = connect.asked_at;
            }
        }
        Ok(stays)
    }

    /// When somebody asked for a session to connect, from now on known.
    fn asked(&self, id: SessionId, connect: &WantedConnect) -> Asked {
        let (mut table, now) = (self.table(), self.parts.clock.now());
        let Some(held) = table.held.get_mut(&id).filter(|held| held.asked_at < connect.asked_at) else {
            return Asked::Before;
        };
        held.asked_at = connect.asked_at;
        let patience = SignedDuration::try_from(self.parts.settings.patience.pairing).unwrap_or(SignedDuration::MAX);
        match connect.asked_at {
            Some(asked_at) if now.duration_since(asked_at) < patience => Asked::Now,
            _ => Asked::LongAgo,
        }
    }

    /// Ends what is wanted no more, and does what is wanted of what nobody else has. Whether nothing was to be done.
    pub(super) async fn follow_wishes(self: &Arc<Self>) -> Result<bool, StoreError> {
        // Before what is wanted is read: one that is taken was wanted before.
        let here: BTreeSet<SessionId> = self.table().held.keys().copied().collect();
        let wanted: BTreeMap<SessionId, Wanted> = self.parts.wishes.all().await?.into_iter().collect();
        let mut done = wanted.keys().all(|id| here.contains(id));
        for id in here.iter().filter(|id| !wanted.contains_key(id)) {
            done = false;
            self.go_and_follow(*id, None);
        }
        let elsewhere = match wanted.keys().any(|id| !here.contains(id)) {
            true => self.parts.leases.of_others().await?,
            false => BTreeMap::new(),
        };
        self.table().elsewhere.clone_from(&elsewhere);
        // All of a tenant's are kept together: whoever has one of its messages then has all of its numbers.
        let here_of: BTreeSet<TenantId> = here.iter().map(|id| id.tenant).collect();
        let elsewhere_of: BTreeSet<TenantId> = elsewhere.keys().map(|id| id.tenant).collect();
        let is_free = |id: &SessionId| {
            !elsewhere.contains_key(id) && (here_of.contains(&id.tenant) || !elsewhere_of.contains(&id.tenant))
        };
        for (id, wanted) in wanted {
            let is_to_do = if here.contains(&id) { !self.is_followed(id, &wanted) } else { is_free(&id) };
            if is_to_do && !self.draining.load(Ordering::SeqCst) {
                done = false;
                self.go_and_follow(id, Some(wanted));
            }
        }
        Ok(done)
    }

    /// As [`follow_wishes`](Self::follow_wishes), for one session of which something else is wanted. What is wanted of all
    /// others is not read for it; who keeps others is, where none of the tenant's is here.
    pub(super) async fn follow_wish(self: &Arc<Self>, id: SessionId) -> Result<(), StoreError> {
        let (here, of_tenant) = {
            let table = self.table();
            (table.held.contains_key(&id), table.held.keys().any(|held| held.tenant == id.tenant))
        };
        let wanted = match (self.parts.wishes.find(id).await?, here) {
            (None, false) => return Ok(()),
            (None, true) => None,
            (Some(wanted), true) if self.is_followed(id, &wanted) => return Ok(()),
            (Some(wanted), true) => Some(wanted),
            (Some(wanted), false) => {
                let is_free = of_tenant || {
                    let elsewhere = self.parts.leases.of_others().await?;
                    let is_free = elsewhere.keys().all(|other| other.tenant != id.tenant);
                    self.table().elsewhere = elsewhere;
                    is_free
                };
                if !is_free || self.draining.load(Ordering::SeqCst) {
                    return Ok(());
                }
                Some(wanted)
            }
        };
        self.go_and_follow(id, wanted);
        Ok(())
    }

    /// Whether there is nothing to do for what is wanted of a session that is here.
    fn is_followed(&self, id: SessionId, wanted: &Wanted) -> bool {
        match wanted {
            Wanted::Connect(connect) => {
                self.table().held.get(&id).is_some_and(|held| held.asked_at >= connect.asked_at)
            }
            Wanted::Leave => false,
        }
    }

    /// Does what is wanted of a session, or ends it where nothing is, unless that is being done. Nobody waits for it: to take
    /// one off its phone may take a while.
    fn go_and_follow(self: &Arc<Self>, id: SessionId, wanted: Option<Wanted>) {
        if !self.table().followed.insert(id) {
            return;
        }
        let following = Following { sessions: Arc::clone(self), id };
        tokio::spawn(async move {
            let sessions = &following.sessions;
            // It is never closed.
            let place = sessions.places.acquire().await;
            let done = match &wanted {
                Some(wanted) => sessions.follow(id, wanted).await,
                None => {
                    sessions.let_go(id).await;
                    Ok(())
                }
            };
            drop(place);
            match done {
                Ok(()) | Err(KeepError::Elsewhere | KeepError::Draining) => {}
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(connection = %id.connection, error, "what is wanted of a WhatsApp session is not done");
                }
            }
        });
    }
}

/// That what is wanted of a session is being done.
struct Following {
    sessions: Arc<Sessions>,
    id: SessionId,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.sessions.table().followed.remove(&self.id);
    }
}

/// Keeps what is wanted.
pub(super) async fn go_on_keeping(sessions: Weak<Sessions>, wishes: Arc<dyn Wishes>) {
    let mut look_at = Instant::now();
    loop {
        let otherwise = tokio::select! {
            () = sleep_until(look_at) => OtherwiseWanted::Any,
            otherwise = wishes.changed() => otherwise,
        };
        let Some(sessions) = sessions.upgrade() else { return };
        let all = otherwise == OtherwiseWanted::Any;
        let followed = match otherwise {
            OtherwiseWanted::Any => sessions.follow_wishes().await,
            OtherwiseWanted::Of(changed) => {
                let mut followed = Ok(false);
                for of in changed {
                    followed = sessions.follow_wish(session(of)).await.and(followed);
                }
                followed
            }
        };
        // What is done for one is looked after soon; a look at all of them is not put off by it.
        let rest_until = Instant::now() + sessions.parts.leases.rests(matches!(followed, Ok(true)));
        look_at = if all { rest_until } else { look_at.min(rest_until) };
        if let Err(error) = followed {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "which WhatsApp sessions are wanted cannot be read");
        }
    }
}
