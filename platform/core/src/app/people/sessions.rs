use serde_json::json;

use super::super::{App, Refusal};
use super::{SignedIn, TokenRefusal, Whence};
use crate::domain::access_token::SigningKey;
use crate::domain::audit::{By, Deed};
use crate::domain::code_sends::CodeSends;
use crate::domain::id::{SessionId, UserId};
use crate::domain::identity::{SignInAttempt, SpentToken};
use crate::domain::invitation::InvitedTally;
use crate::domain::pending::Pending;
use crate::domain::second_factor::SignInChallenge;
use crate::domain::session::{BY_USER, RefreshToken, Session};
use crate::domain::user::User;
use crate::ports::{Change, CommitError, Entity, EntityList, IndexKey, Owner, Stored};

/// Sessions that are read at once.
const PAGE: usize = 1000;
/// Rows that are deleted in one commit.
const FORGOTTEN_AT_ONCE: usize = 100;

impl App {
    /// Ends the session of a refresh token. A token that is nobody's, or of a session that is over, changes
    /// nothing: whoever logs out is logged out.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn log_out(&self, token: &str, whence: &Whence) -> Result<(), Refusal> {
        let Some(token) = RefreshToken::parse(token) else { return Ok(()) };
        let found = self.find::<Session>(Owner::Platform, token.session().to_bytes()).await?;
        match found.filter(|session| session.knows(&token)) {
            Some(session) => {
                let by = whence.by(session.user);
                self.revoke(session, "session.log_out", &by).await
            }
            None => Ok(()),
        }
    }

    /// Ends the session that somebody calls in. One that is over meanwhile changes nothing, as there.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn log_out_here(&self, person: &SignedIn) -> Result<(), Refusal> {
        match self.find::<Session>(Owner::Platform, person.session.id.to_bytes()).await? {
            Some(session) => self.revoke(session, "session.log_out", &person.by()).await,
            None => Ok(()),
        }
    }

    /// The sessions of a person that let somebody in, the newest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_sessions(&self, person: &SignedIn) -> Result<Vec<Session>, Refusal> {
        let now = self.now();
        let user = self.person(person.user.id).await?;
        let all = self.sessions_of(user.id).await?.into_iter().map(|stored| stored.entity);
        Ok(all.filter(|session| session.is_open(now) && session.is_of(&user)).collect())
    }

    /// Ends one of a person's sessions: here at once, on other nodes within a second.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn revoke_session(&self, person: &SignedIn, id: SessionId) -> Result<(), Refusal> {
        let found = self.find::<Session>(Owner::Platform, id.to_bytes()).await?;
        let session = found.filter(|session| session.user == person.user.id).ok_or(Refusal::NotFound("session"))?;
        self.revoke(session, "session.revoke", &person.by()).await
    }

    /// Ends all of a person's sessions but this one, and every sign-in of theirs that is under way: at once, and
    /// however many there are.
    ///
    /// # Errors
    /// [`Refusal::Rate`], [`Refusal::Token`] when this one is over meanwhile, [`Refusal::Conflict`],
    /// [`Refusal::Store`].
    pub async fn revoke_other_sessions(&self, person: &SignedIn) -> Result<(), Refusal> {
        let (id, by) = (person.user.id, &person.by());
        self.brake_person(id).await?;
        let ended = self.in_turn(move || async move {
            let mut user = self.person(id).await?;
            let kept = self.own_session(person, &user).await?;
            // Whoever signs in now replaces the person too, so it is all of them.
            let now = self.now();
            let all = self.sessions_of(id).await?;
            let open = all.iter().filter(|session| session.is_open(now) && session.is_of(&user)).count();
            let deed = Deed::of_platform("session.revoke_others", id)
                .before(json!({ "sessions": open }))
                .after(json!({ "sessions": 1, "kept": kept.id }));
            let changes = Self::with_all_ended(&mut user, Some(kept), Vec::new());
            if open > 1 {
                return self.commit(by, vec![deed], changes).await;
            }
            // Nothing to tell of: what ends are sign-ins that are under way, and the log never had them.
            if self.is_made(changes).await? { Ok(()) } else { Err(Refusal::Conflict) }
        });
        ended.await?;
        self.changed_person(id).await;
        Ok(())
    }

    /// The changes by which all sessions of a person end but one, with every sign-in that is under way, beside
    /// others of the same commit. Their rows go by themselves, or with a login where they are many.
    pub(in crate::app) fn with_all_ended(
        user: &mut Stored<User>,
        kept: Option<Stored<Session>>,
        mut changes: Vec<Change>,
    ) -> Vec<Change> {
        user.epoch = user.epoch.saturating_add(1);
        changes.push(Change::replace(user));
        changes.extend(kept.map(|mut kept| {
            kept.epoch = user.epoch;
            Change::replace(&kept)
        }));
        changes
    }

    /// The session that somebody calls in, as it is now, unless it is over: `user` was read before.
    ///
    /// # Errors
    /// [`Refusal::Token`], [`Refusal::Store`].
    pub(super) async fn own_session(&self, person: &SignedIn, user: &User) -> Result<Stored<Session>, Refusal> {
        let found = self.find::<Session>(Owner::Platform, person.session.id.to_bytes()).await?;
        let open = found.filter(|session| session.is_open(self.now()) && session.is_of(user));
        open.ok_or(Refusal::Token(TokenRefusal::SessionOver))
    }

    async fn revoke(&self, mut session: Stored<Session>, action: &'static str, by: &By) -> Result<(), Refusal> {
        loop {
            if !session.is_open(self.now()) {
                return Ok(());
            }
            let (user, id) = (session.user, session.id);
            let deed =
                Deed::of_platform(action, id).before(told(&session)).after(json!({ "user": user, "revoked": true }));
            match self.end_session(session, deed, by).await {
                // It was refreshed at the same moment, which it is at most a few times.
                Err(Refusal::Conflict) => {}
                ended => return ended,
            }
            match self.find::<Session>(Owner::Platform, id.to_bytes()).await? {
                Some(again) => session = again,
                None => return Ok(()),
            }
        }
    }

    /// Ends a session that is as it was read.
    ///
    /// Nothing is kept of it: whoever signs in and out all day must not make the list of their sessions long.
    pub(super) async fn end_session(&self, session: Stored<Session>, deed: Deed, by: &By) -> Result<(), Refusal> {
        self.commit(by, vec![deed], vec![Change::delete(&session)]).await?;
        self.changed_person(session.user).await;
        Ok(())
    }

    /// How many sessions of a person are kept, also those that are over: at most `limit` are counted.
    pub(super) async fn count_sessions(&self, user: UserId, limit: usize) -> Result<usize, Refusal> {
        Ok(self.ports.store.count_listed(Session::KIND, &IndexKey::new(BY_USER, user.to_bytes()), limit).await?)
    }

    /// All sessions of a person that are kept, also those that are over, the newest first. One that cannot be read lets
    /// nobody in, and is not among them.
    pub(super) async fn sessions_of(&self, user: UserId) -> Result<Vec<Stored<Session>>, Refusal> {
        let mut all: Vec<Stored<Session>> = Vec::new();
        let mut list = EntityList::by(BY_USER, user.to_bytes()).newest(PAGE);
        loop {
            let page = self.list_readable::<Session>(&list).await?;
            all.extend(page.things);
            if page.count < PAGE {
                return Ok(all);
            }
            list.before = page.last;
        }
    }

    /// Deletes what is over: sessions, brakes, what waited for codes, keys, sign-ins. At most `limit` of each.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(in super::super) async fn forget_people(&self, limit: usize) -> Result<usize, Refusal> {
        Ok(self.forget_due::<Session>(limit).await?
            + self.tend_brakes(limit).await?
            + self.forget_due::<Pending>(limit).await?
            + self.forget_due::<InvitedTally>(limit).await?
            + self.forget_due::<CodeSends>(limit).await?
            + self.forget_due::<SigningKey>(limit).await?
            + self.forget_due::<SignInChallenge>(limit).await?
            + self.forget_due::<SignInAttempt>(limit).await?
            + self.forget_due::<SpentToken>(limit).await?)
    }

    /// Deletes at most `limit` things of a kind whose time is over.
    pub(in crate::app) async fn forget_due<E: Entity>(&self, limit: usize) -> Result<usize, Refusal> {
        let due = self.due::<E>(limit).await?;
        self.forget_all(&due).await
    }

    /// Deletes what is over, in as few commits as can be: each of them waits for what verifications wait for.
    pub(super) async fn forget_all<E: Entity>(&self, over: &[Stored<E>]) -> Result<usize, Refusal> {
        let mut forgotten = 0;
        for batch in over.chunks(FORGOTTEN_AT_ONCE) {
            match self.ports.store.commit(batch.iter().map(Change::delete).collect()).await {
                Ok(()) => forgotten += batch.len(),
                // One of them was used at the same moment, or another node was first: those that are left.
                Err(CommitError::Changed | CommitError::Taken { .. }) => {
                    for one in batch {
                        match self.ports.store.commit(vec![Change::delete(one)]).await {
                            Ok(()) => forgotten += 1,
                            Err(CommitError::Changed | CommitError::Taken { .. }) => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(forgotten)
    }
}

/// What the log tells of a session that ends.
pub(super) fn told(session: &Session) -> serde_json::Value {
    json!({
        "user": session.user,
        "transport": session.transport,
        "created_at": session.created_at,
        "refreshed_at": session.refreshed_at,
    })
}
