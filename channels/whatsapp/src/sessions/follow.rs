//! Does what is wanted of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use wotp_core::app::{OtherwiseWanted, Wanted, WantedConnect};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::{NodeId, TenantId};
use wotp_core::ports::StoreError;

use super::{Held, KeepError, Sessions};
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
        let now = self.parts.clock.now();
        let stays = replaced_at.filter(|replaced_at| match connect.asked_at {
            // By a clock that was put right since, which says nothing of the order.
            Some(asked_at) if asked_at <= now && now < *replaced_at => !self.is_lately(asked_at, now),
            asked_at => asked_at.is_none_or(|asked_at| asked_at <= *replaced_at),
        });
        if let Some(held) = self.table().held.get_mut(&id) {
            held.looked_back = true;
            if stays.is_some() {
                held.asked_at = connect.asked_at;
            }
        }
        // Who asks from now on asks later.
        Ok(stays.map(|replaced_at| replaced_at.min(now)))
    }

    /// Whether somebody asked so lately that they are shown what links a phone.
    fn is_lately(&self, asked_at: Timestamp, now: Timestamp) -> bool {
        let patience = SignedDuration::try_from(self.parts.settings.patience.pairing).unwrap_or(SignedDuration::MAX);
        now.duration_since(asked_at) < patience
    }

    /// When somebody asked for a session to connect, from now on known.
    fn asked(&self, id: SessionId, connect: &WantedConnect) -> Asked {
        let (mut table, now) = (self.table(), self.parts.clock.now());
        let since = |held: &&mut Held| is_asked_since(held.asked_at, connect.asked_at, now);
        let Some(held) = table.held.get_mut(&id).filter(since) else { return Asked::Before };
        held.asked_at = connect.asked_at;
        match connect.asked_at {
            Some(asked_at) if self.is_lately(asked_at, now) => Asked::Now,
            _ => Asked::LongAgo,
        }
    }

    /// Ends what is wanted no more, or is another's to keep, and does what is wanted of what nobody else has. Whether nothing
    /// was to be done.
    ///
    /// All of a tenant's are kept together: whoever has one of its messages then has all of its numbers. They go by the
    /// tenant's anchor, the first of those that are to be connected. Whoever has it takes the others, and whoever has others
    /// without it lets them go.
    pub(super) async fn follow_wishes(self: &Arc<Self>) -> Result<bool, StoreError> {
        // Before what is wanted is read: one that is taken was wanted before. One that is being cut off is to be taken anew.
        let here: BTreeSet<SessionId> = {
            let table = self.table();
            table.held.iter().filter(|(_, held)| held.right.holds()).map(|(id, _)| *id).collect()
        };
        let wanted: BTreeMap<SessionId, Wanted> = self.parts.wishes.all().await?.into_iter().collect();
        let mut done = wanted.keys().all(|id| here.contains(id));
        for id in here.iter().filter(|id| !wanted.contains_key(id)) {
            done = false;
            self.go_and_follow(*id, None, Vec::new());
        }
        let elsewhere = match wanted.keys().any(|id| !here.contains(id)) {
            true => self.parts.leases.of_others().await?,
            false => BTreeMap::new(),
        };
        self.table().elsewhere.clone_from(&elsewhere);
        let anchors = anchors(&wanted);
        let leaves = self.leaves_to_others(&anchors, &here, &elsewhere);
        let here_of: BTreeSet<TenantId> = here.iter().map(|id| id.tenant).collect();
        let elsewhere_of: BTreeSet<TenantId> = elsewhere.keys().map(|id| id.tenant).collect();
        let mut begin = Vec::new();
        // What follows an anchor that is free: of several processes that see all of them free, one gets them all.
        let mut then: BTreeMap<SessionId, Vec<(SessionId, Wanted)>> = BTreeMap::new();
        for (id, wanted) in wanted {
            let anchor = anchors.get(&id.tenant).filter(|anchor| **anchor != id);
            if here.contains(&id) {
                let is_anothers =
                    matches!(wanted, Wanted::Connect(_)) && leaves.contains(&id.tenant) && anchor.is_some();
                if is_anothers && self.may_be_moved(id) {
                    begin.push((id, None));
                } else if !self.is_followed(id, &wanted) {
                    begin.push((id, Some(wanted)));
                }
            } else if !elsewhere.contains_key(&id) {
                match anchor {
                    Some(anchor) if here.contains(anchor) => begin.push((id, Some(wanted))),
                    Some(anchor) => then.entry(*anchor).or_default().push((id, wanted)),
                    None if here_of.contains(&id.tenant) || !elsewhere_of.contains(&id.tenant) => {
                        begin.push((id, Some(wanted)));
                    }
                    None => {}
                }
            }
        }
        for (id, wanted) in begin {
            if wanted.is_none() || !self.draining.load(Ordering::SeqCst) {
                done = false;
                self.go_and_follow(id, wanted, then.remove(&id).unwrap_or_default());
            }
        }
        Ok(done)
    }

    /// Tenants whose anchor another process has, as it had when this was looked at the last time: what is here of those is
    /// that one's. Not at first sight, since that one may have it for a moment only.
    fn leaves_to_others(
        &self,
        anchors: &BTreeMap<TenantId, SessionId>,
        here: &BTreeSet<SessionId>,
        elsewhere: &BTreeMap<SessionId, NodeId>,
    ) -> BTreeSet<TenantId> {
        let apart: BTreeMap<TenantId, NodeId> =
            here.iter().filter_map(|id| Some((id.tenant, *elsewhere.get(anchors.get(&id.tenant)?)?))).collect();
        let before = std::mem::replace(&mut self.table().apart, apart.clone());
        apart.into_iter().filter(|(tenant, node)| before.get(tenant) == Some(node)).map(|(tenant, _)| tenant).collect()
    }

    /// Whether a session may go to another process now: not while somebody is about to link a phone, which lasts minutes.
    fn may_be_moved(&self, id: SessionId) -> bool {
        let table = self.table();
        table.held.get(&id).is_some_and(|held| !matches!(held.session.status(), Status::Pairing { .. }))
    }

    /// As [`follow_wishes`](Self::follow_wishes), for one session of which something else is wanted. What is wanted of all
    /// others is not read for it; who keeps others is, unless all that anybody is known to keep of the tenant is here. Where
    /// others keep some, the next look at all of them says whose it is.
    pub(super) async fn follow_wish(self: &Arc<Self>, id: SessionId) -> Result<(), StoreError> {
        let (here, all_here) = {
            let table = self.table();
            let holds = |id: &SessionId| table.held.get(id).is_some_and(|held| held.right.holds());
            let some_here = table.held.keys().any(|held| held.tenant == id.tenant && holds(held));
            (holds(&id), some_here && table.elsewhere.keys().all(|other| other.tenant != id.tenant))
        };
        let wanted = match (self.parts.wishes.find(id).await?, here) {
            (None, false) => return Ok(()),
            (None, true) => None,
            (Some(wanted), true) if self.is_followed(id, &wanted) => return Ok(()),
            (Some(wanted), true) => Some(wanted),
            (Some(wanted), false) => {
                let is_free = all_here || {
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
        self.go_and_follow(id, wanted, Vec::new());
        Ok(())
    }

    /// Whether there is nothing to do for what is wanted of a session that is here.
    fn is_followed(&self, id: SessionId, wanted: &Wanted) -> bool {
        let now = self.parts.clock.now();
        match wanted {
            Wanted::Connect(connect) => {
                let table = self.table();
                table.held.get(&id).is_some_and(|held| !is_asked_since(held.asked_at, connect.asked_at, now))
            }
            Wanted::Leave => false,
        }
    }

    /// Does what is wanted of a session, or ends it where nothing is, unless that is being done; and of others then, if it is
    /// here. Nobody waits for it: to take one off its phone may take a while.
    fn go_and_follow(self: &Arc<Self>, id: SessionId, wanted: Option<Wanted>, then: Vec<(SessionId, Wanted)>) {
        if !self.table().followed.insert(id) {
            return;
        }
        let following = Following { sessions: Arc::clone(self), id };
        tokio::spawn(async move {
            let sessions = &following.sessions;
            let leaves = wanted == Some(Wanted::Leave);
            // They are never closed.
            let place = if leaves { &sessions.leaving } else { &sessions.places }.acquire().await;
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
                Err(KeepError::NotTold) => {
                    tracing::debug!(connection = %id.connection, "a WhatsApp session waits to be taken off its phone");
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(connection = %id.connection, error, "what is wanted of a WhatsApp session is not done");
                }
            }
            if sessions.find(id).is_some() {
                for (id, wanted) in then {
                    sessions.go_and_follow(id, Some(wanted), Vec::new());
                }
            }
        });
    }
}

/// Of each tenant the first session that is to be connected. One that is to leave goes with it, or where there is none with
/// whoever has it.
fn anchors(wanted: &BTreeMap<SessionId, Wanted>) -> BTreeMap<TenantId, SessionId> {
    let mut anchors = BTreeMap::new();
    for id in wanted.iter().filter(|(_, wanted)| matches!(wanted, Wanted::Connect(_))).map(|(id, _)| id) {
        anchors.entry(id.tenant).or_insert(*id);
    }
    anchors
}

/// Whether somebody has asked for a session to connect since it was `followed`. What was followed and lies ahead was asked by
/// a clock that was put right since, which says nothing of the order: anything else is later than that.
pub(super) fn is_asked_since(followed: Option<Timestamp>, asked_at: Option<Timestamp>, now: Timestamp) -> bool {
    followed < asked_at || (followed > Some(now) && followed != asked_at)
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
pub(super) async fn go_on_keeping(sessions: Weak<Sessions>, wishes: Arc<dyn Wishes>, lost: Arc<Notify>) {
    let mut look_at = Instant::now();
    loop {
        let otherwise = tokio::select! {
            () = sleep_until(look_at) => OtherwiseWanted::Any,
            () = lost.notified() => OtherwiseWanted::Any,
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
