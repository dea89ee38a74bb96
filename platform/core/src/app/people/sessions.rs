use serde_json::json;

use super::super::{App, Refusal};
use super::{SignedIn, Whence};
use crate::domain::access_token::SigningKey;
use crate::domain::audit::{By, Deed};
use crate::domain::id::{SessionId, UserId};
use crate::domain::identity::SignInAttempt;
use crate::domain::invitation::InvitedTally;
use crate::domain::login_brake::LoginBrake;
use crate::domain::pending::Pending;
use crate::domain::second_factor::SignInChallenge;
use crate::domain::session::{BY_USER, RefreshToken, Session};
use crate::ports::{Change, CommitError, Entity, EntityList, Owner, Stored};

/// Most sessions that are listed, and ended at once.
const SESSIONS_MAX: usize = 1000;

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

    /// The sessions of a person that let somebody in, the newest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_sessions(&self, person: &SignedIn) -> Result<Vec<Session>, Refusal> {
        let now = self.now();
        let all = self.sessions_of(person.user.id).await?;
        Ok(all.into_iter().map(|stored| stored.entity).filter(|session| session.is_open(now)).collect())
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

    /// Ends all of a person's sessions but this one.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn revoke_other_sessions(&self, person: &SignedIn) -> Result<(), Refusal> {
        self.revoke_sessions(person.user.id, Some(person.session.id), &person.by()).await
    }

    /// Ends all sessions of a person, but `except`.
    pub(in crate::app) async fn revoke_sessions(
        &self,
        user: UserId,
        except: Option<SessionId>,
        by: &By,
    ) -> Result<(), Refusal> {
        for session in self.sessions_of(user).await? {
            if Some(session.id) != except {
                self.revoke(session, "session.revoke", by).await?;
            }
        }
        Ok(())
    }

    async fn revoke(&self, mut session: Stored<Session>, action: &'static str, by: &By) -> Result<(), Refusal> {
        loop {
            if !session.is_open(self.now()) {
                return Ok(());
            }
            let (user, id) = (session.user, session.id);
            let deed = Deed::of_platform(action, id).after(json!({ "user": user, "revoked": true }));
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
    pub(super) async fn end_session(&self, mut session: Stored<Session>, deed: Deed, by: &By) -> Result<(), Refusal> {
        session.revoked_at = Some(self.now());
        let user = session.user;
        self.commit(by, vec![deed], vec![Change::replace(&session)]).await?;
        self.changed_person(user).await;
        Ok(())
    }

    pub(super) async fn sessions_of(&self, user: UserId) -> Result<Vec<Stored<Session>>, Refusal> {
        self.list(&EntityList::by(BY_USER, user.to_bytes()).newest(SESSIONS_MAX)).await
    }

    /// Deletes what is over: sessions, brakes, what waited for codes, keys, sign-ins. At most `limit` of each.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(in super::super) async fn forget_people(&self, limit: usize) -> Result<usize, Refusal> {
        Ok(self.forget_due::<Session>(limit).await?
            + self.forget_due::<LoginBrake>(limit).await?
            + self.forget_due::<Pending>(limit).await?
            + self.forget_due::<InvitedTally>(limit).await?
            + self.forget_due::<SigningKey>(limit).await?
            + self.forget_due::<SignInChallenge>(limit).await?
            + self.forget_due::<SignInAttempt>(limit).await?)
    }

    async fn forget_due<E: Entity>(&self, limit: usize) -> Result<usize, Refusal> {
        let mut forgotten = 0;
        for over in self.due::<E>(limit).await? {
            match self.ports.store.commit(vec![Change::delete(&over)]).await {
                Ok(()) => forgotten += 1,
                // It was used at the same moment, or another node was first.
                Err(CommitError::Changed | CommitError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(forgotten)
    }
}
