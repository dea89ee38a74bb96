use serde_json::json;

use super::super::{App, Refusal};
use super::brake::Brakes;
use super::{SignInStep, Whence, sessions};
use crate::domain::Timestamp;
use crate::domain::access_token::Claims;
use crate::domain::audit::Deed;
use crate::domain::password::Password;
use crate::domain::rate::Rate;
use crate::domain::session::{RefreshToken, Session, Transport, Turned};
use crate::domain::user::{AccountEmail, User};
use crate::ports::{Change, CommitError, Owner, Stored};

/// How often a session is turned, or opened, beside others of the same person at the same moment.
const TRIES: usize = 16;
/// Sessions that a person has at most: with one more the oldest ends.
const SESSIONS_MAX: usize = 100;
/// Logins that one address of a client may try, over all accounts: enough for an office that begins its day, and too
/// few to try a list of stolen passwords.
const LOGINS: Rate = Rate { per_second: 1, burst: 100 };
/// Rows of sessions that are over which a login deletes at most.
const SWEPT_MAX: usize = 100;

/// A request to sign in. Not to be printed, for its password.
#[derive(Clone)]
pub struct LogIn {
    /// The email address.
    pub email: String,
    /// The password.
    pub password: String,
    /// How the refresh token is to travel.
    pub transport: Transport,
    /// The device token of an earlier login from here.
    pub device: Option<String>,
}

/// A session that lets somebody in.
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Who.
    pub user: User,
    /// For each call.
    pub access_token: String,
    /// Until when it holds.
    pub access_expires_at: Timestamp,
    /// For the next access token.
    pub refresh_token: RefreshToken,
    /// What a page says beside the cookie.
    pub csrf_token: String,
    /// For the next login from here: the one that came, while it holds. None where nobody logged in.
    pub device_token: Option<String>,
}

impl App {
    /// Signs a person in with their password, or asks for their second factor.
    ///
    /// It hashes one password whether or not there is an account, and answers the same.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], [`Refusal::Braked`], [`Refusal::Rate`], [`Refusal::Busy`], [`Refusal::Conflict`] when
    /// the password was changed at the same moment, [`Refusal::Store`].
    pub async fn log_in(&self, request: LogIn, whence: &Whence) -> Result<SignInStep, Refusal> {
        let (user, brakes) = self.with_password(&request, whence).await?;
        let LogIn { transport, device, .. } = &request;
        let next =
            self.after_first_factor(user, "password", *transport, device.as_deref(), Some(&brakes), whence).await;
        // Where the store takes nothing, a right one is as a wrong one to those beside it.
        if !matches!(next, Err(Refusal::Store(_))) {
            self.let_go(&brakes).await;
        }
        next
    }

    /// The person whose password this is, and where it is under way as a guess; a new hash of it is made where the
    /// old one is outdated.
    async fn with_password(&self, request: &LogIn, whence: &Whence) -> Result<(Stored<User>, Brakes), Refusal> {
        // Whatever it is, it is nobody's address: counted and hashed as if it were one would be too much.
        let email = AccountEmail::parse(&request.email).map_err(|error| Refusal::field("email", error.to_string()))?;
        let account = email.key(&self.ports.vault);
        self.brake_client("logins", LOGINS, whence).await?;
        let _place = self.hash_place(whence)?;
        let user = self.find_by::<User>("email", account.as_bytes()).await?;
        let epoch = user.as_ref().map_or(0, |user| user.epoch);
        let device = request.device.as_deref().and_then(|token| self.known_device(&account, epoch, token));
        let mut brakes = self.brakes(&account, device.as_ref(), whence);
        self.begin_guess(&mut brakes).await.inspect_err(|refusal| {
            tracing::info!(ip = whence.ip.map(tracing::field::display), reason = %refusal, "a login was braked");
        })?;
        let password = Password::typed(&request.password);
        let hash = user.as_ref().and_then(|user| user.password.as_ref());
        let compared = match self.ports.passwords.compare(&password, hash).await {
            Ok(compared) => compared,
            Err(error) => {
                self.uncount(&brakes).await?;
                return Err(error.into());
            }
        };
        let Some(mut user) = user.filter(|_| compared.right) else {
            self.guessed_wrong(&brakes).await?;
            // ASVS 16.3.1. Not in the audit log: whoever guesses could fill it.
            tracing::info!(ip = whence.ip.map(tracing::field::display), "a login was refused");
            return Err(Refusal::Credentials);
        };
        if compared.outdated {
            match self.hashed_again(user, &password).await {
                Ok(hashed) => user = hashed,
                Err(error) => {
                    self.uncount(&brakes).await?;
                    return Err(error);
                }
            }
        }
        Ok((user, brakes))
    }

    /// The person with a hash of their password as it is made now.
    async fn hashed_again(&self, mut user: Stored<User>, password: &Password) -> Result<Stored<User>, Refusal> {
        let as_compared = user.password.clone();
        user.password = Some(self.hash(password).await?);
        match self.ports.store.commit(vec![Change::replace(&user)]).await {
            Ok(()) => {
                tracing::info!(user = %user.id, "a password was hashed again, with the parameters of now");
                self.again(&user).await
            }
            // The next login does it.
            Err(CommitError::Changed) => {
                user.password = as_compared;
                Ok(user)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a session of a person who has proved who they are, unless what they proved it with was replaced
    /// meanwhile: hashing a password takes long enough for a reset to end all sessions in between. With it goes what
    /// `counted` the password, or holds it as under way.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub(super) async fn open_session(
        &self,
        mut user: Stored<User>,
        transport: Transport,
        device: Option<&str>,
        counted: Option<&Brakes>,
        whence: &Whence,
    ) -> Result<Opened, Refusal> {
        for _ in 0..TRIES {
            let eased = self.eased(counted).await?;
            match self.try_open_session(&user, transport, device, Vec::new(), eased, whence).await {
                // Another login of theirs, mostly, or somebody who guesses.
                Err(Refusal::Conflict) => user = self.again(&user).await?,
                opened => return opened,
            }
        }
        Err(Refusal::Conflict)
    }

    /// A person as they are now, if all that they had proved still holds.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub(super) async fn again(&self, user: &User) -> Result<Stored<User>, Refusal> {
        let now = self.find::<User>(Owner::Platform, user.id.to_bytes()).await?;
        now.filter(|now| now.epoch == user.epoch).ok_or(Refusal::Conflict)
    }

    /// Begins a session in one commit with what proved who they are: with the person as they are, so that whoever
    /// erases the account, or replaces its password, comes before or after, and logins come one after another.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub(super) async fn try_open_session(
        &self,
        user: &Stored<User>,
        transport: Transport,
        device: Option<&str>,
        mut deeds: Vec<Deed>,
        mut changes: Vec<Change>,
        whence: &Whence,
    ) -> Result<Opened, Refusal> {
        let now = self.now();
        let life = self.ports.people.session_life;
        let (session, token) = Session::begin(user, transport, life, now, &*self.ports.entropy);
        let session = session.from_where(whence.agent.as_deref(), whence.ip);
        // Few have so many, and each is a row to be read: those that are over go by the sweep as well.
        let many = self.count_sessions(user.id, SESSIONS_MAX).await? >= SESSIONS_MAX;
        let all = if many { self.sessions_of(user.id).await? } else { Vec::new() };
        let (open, over): (Vec<_>, Vec<_>) =
            all.iter().partition(|session| session.is_open(now) && session.is_of(user));
        changes.extend(over.into_iter().take(SWEPT_MAX).map(Change::delete));
        let ends = open.len() >= SESSIONS_MAX;
        for oldest in open.into_iter().skip(SESSIONS_MAX.saturating_sub(1)) {
            let told = json!({ "user": user.id, "revoked": true, "sessions_max": SESSIONS_MAX });
            deeds.push(Deed::of_platform("session.revoke", oldest.id).before(sessions::told(oldest)).after(told));
            changes.push(Change::delete(oldest));
        }
        let told = json!({ "user": user.id, "transport": session.transport });
        deeds.push(Deed::of_platform("session.create", session.id).after(told));
        changes.extend([Change::insert(&session), Change::replace(user)]);
        // One after another, since a store may delete with a command of its own.
        changes.sort_by_key(|change| matches!(change, Change::Delete(_)));
        self.commit(&whence.by(user.id), deeds, changes).await?;
        if ends {
            self.changed_person(user.id).await;
        }
        tracing::info!(user = %user.id, session = %session.id, "a person signed in");
        let device = self.device_token(user, device);
        self.opened(session, user.entity.clone(), token, Some(device)).await
    }

    /// Turns a refresh token into an access token and the next refresh token.
    ///
    /// Two that come with the same token at the same moment get the same next one. A copy of an older one
    /// ends the session.
    ///
    /// # Errors
    /// [`Refusal::Token`], [`Refusal::Store`].
    pub async fn refresh(&self, token: &str, transport: Transport, whence: &Whence) -> Result<Opened, Refusal> {
        let over = || Refusal::Token(super::TokenRefusal::SessionOver);
        let token = RefreshToken::parse(token).ok_or_else(over)?;
        for _ in 0..TRIES {
            let found = self.find::<Session>(Owner::Platform, token.session().to_bytes()).await?;
            // A token that travels in a cookie works from there only.
            let mut session = found.filter(|session| session.transport == transport).ok_or_else(over)?;
            let user = self.find::<User>(Owner::Platform, session.user.to_bytes()).await?.ok_or_else(over)?;
            if !session.is_of(&user) {
                // The one that is kept when all others end changes together with its person.
                let again = self.find::<Session>(Owner::Platform, session.id.to_bytes()).await?;
                session = again.filter(|session| session.is_of(&user)).ok_or_else(over)?;
            }
            let now = self.now();
            let life = self.ports.people.session_life;
            let next = match session.turn(&token, life, now, &self.ports.vault) {
                Turned::Next(next) => {
                    session.entity = session.entity.clone().from_where(whence.agent.as_deref(), whence.ip);
                    match self.ports.store.commit(vec![Change::replace(&session)]).await {
                        Ok(()) => next,
                        Err(CommitError::Changed) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                Turned::Again(next) => next,
                Turned::Refused => return Err(over()),
                Turned::Reused => {
                    let user = session.user;
                    let deed = Deed::of_platform("session.reuse_detected", session.id)
                        .before(sessions::told(&session))
                        .after(json!({ "user": session.user, "revoked": true }));
                    tracing::warn!(user = %session.user, session = %session.id, ip = whence.ip.map(tracing::field::display), "an old refresh token was used: its session is over");
                    match self.end_session(session, deed, &whence.by(user)).await {
                        Err(Refusal::Conflict) => continue,
                        ended => ended?,
                    }
                    return Err(over());
                }
            };
            return self.opened(session.entity, user.entity, next, None).await;
        }
        Err(Refusal::Conflict)
    }

    async fn opened(
        &self,
        session: Session,
        user: User,
        refresh_token: RefreshToken,
        device_token: Option<String>,
    ) -> Result<Opened, Refusal> {
        let now = self.now();
        let life = self.ports.people.access_life;
        let claims = Claims::new(&self.ports.people.issuer, user.id, session.id, life, now);
        Ok(Opened {
            access_token: self.sign(&claims).await?,
            access_expires_at: now.saturating_add(life).unwrap_or(Timestamp::MAX),
            csrf_token: self.ports.vault.csrf_token(session.id),
            session,
            user,
            refresh_token,
            device_token,
        })
    }
}
