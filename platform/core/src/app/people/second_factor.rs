//! A person's second factor: begun, confirmed, answered at sign-in, renewed and switched off.

use serde_json::json;
use zeroize::Zeroizing;

use super::super::{App, Guessed, Refusal};
use super::brake::Brakes;
use super::{Opened, SignedIn, Started, Whence};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::code::Code;
use crate::domain::id::{UserId, VerificationId};
use crate::domain::letter::Letter;
use crate::domain::opaque::Opaque;
use crate::domain::pending::Then;
use crate::domain::recovery_code;
use crate::domain::second_factor::{Proof, SecondFactor, SignInChallenge, Verdict};
use crate::domain::session::Transport;
use crate::domain::totp::TotpSecret;
use crate::domain::user::{AccountEmail, User};
use crate::ports::{Change, CommitError, Owner, Stored};

/// What authenticator apps call us.
const ISSUER: &str = "WOTP";
/// How often an answer is tried beside others for the same person. Each lost round is an answer that was counted,
/// of which a challenge takes five, or a login.
const ROUNDS: usize = 16;
const ON: &str = "A second factor was switched on for your account, and its other sessions ended. If that was not you, ask for a new password at once.";
const OFF: &str =
    "The second factor of your account was switched off. If that was not you, ask for a new password at once.";
const RECOVERED: &str =
    "A recovery code was used to sign in to your account. If that was not you, ask for a new password at once.";

/// What a person's second factor is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondFactorState {
    /// Since when it is asked for; none while it is not.
    pub active_since: Option<Timestamp>,
    /// Recovery codes that were not used.
    pub recovery_codes_left: usize,
}

/// A second factor that is begun, for its owner's authenticator app.
pub struct Enrolment {
    /// As it is typed into an app.
    pub secret: Zeroizing<String>,
    /// As a QR code holds it.
    pub uri: Zeroizing<String>,
}

/// What comes of a first factor that was right.
pub enum SignInStep {
    /// A session: nothing more is asked.
    Open(Box<Opened>),
    /// The second factor is asked for.
    SecondFactor {
        /// What its answer comes with.
        challenge: Opaque,
        /// Until when.
        expires_at: Timestamp,
    },
}

/// What shows that a person is still the one who signed in.
pub enum Reproof<'a> {
    /// Their password.
    Password(&'a str),
    /// A code of their app, or a recovery code.
    Code(&'a str),
}

impl App {
    /// What a person's second factor is like.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn second_factor(&self, person: &SignedIn) -> Result<SecondFactorState, Refusal> {
        let factor = self.active_factor(person.user.id).await?;
        Ok(SecondFactorState {
            active_since: factor.as_ref().and_then(|factor| factor.active_since),
            recovery_codes_left: factor.map_or(0, |factor| factor.recovery_codes.len()),
        })
    }

    /// Sends the code that somebody without a password begins a second factor with, to the address of their account.
    ///
    /// # Errors
    /// [`Refusal::Rate`], [`Refusal::Address`], [`Refusal::Routing`], [`Refusal::Store`].
    pub async fn request_second_factor_code(&self, person: &SignedIn) -> Result<Started, Refusal> {
        self.brake_mails(&person.whence).await?;
        let address = person.user.address(&self.ports.vault)?;
        let email = AccountEmail::parse(&address).map_err(|error| Refusal::field("email", error.to_string()))?;
        self.pend(&email, Then::EnrolSecondFactor { session: person.session.id }, None, None, &person.whence).await
    }

    /// Begins a second factor, over one that was begun and not confirmed. Whoever has a password shows it, and whoever
    /// has none a code that went to the account's address: a session that was left open must not be enough to lock its
    /// owner out.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorActive`], [`Refusal::Credentials`], [`Refusal::Code`], [`Refusal::Invalid`] when the
    /// password or the code is missing, [`Refusal::Rate`], [`Refusal::Braked`], [`Refusal::Busy`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn enrol_second_factor(
        &self,
        person: &SignedIn,
        password: Option<&str>,
        mailed: Option<(VerificationId, &str)>,
    ) -> Result<Enrolment, Refusal> {
        let user = person.user.id;
        let known = self.find::<SecondFactor>(Owner::Platform, user.to_bytes()).await?;
        if known.as_ref().is_some_and(|factor| factor.is_active()) {
            return Err(Refusal::SecondFactorActive);
        }
        let known_user = self.person(user).await?;
        let mut changes = Vec::new();
        if known_user.password.is_some() {
            let password = password.ok_or_else(|| Refusal::field("password", "write your password"))?;
            self.prove_password(person, password).await?;
            self.brake_person(user).await?;
        } else {
            let (id, code) =
                mailed.ok_or_else(|| Refusal::field("code", "write the code that went to your address"))?;
            let session = person.session.id;
            let is_for = move |then: &Then| *then == Then::EnrolSecondFactor { session };
            let (pending, _) = self.proven(id, code, is_for, &person.whence).await?;
            changes.push(Change::delete(&pending));
        }
        let account = Zeroizing::new(person.user.address(&self.ports.vault)?);
        let secret = TotpSecret::draw(&*self.ports.entropy);
        let begun = SecondFactor::begin(user, &secret, self.now(), &self.ports.vault, &*self.ports.entropy);
        let mut deed = Deed::of_platform("second_factor.enrol", user).after(told(&begun));
        if let Some(known) = &known {
            deed = deed.before(told(known));
        }
        let change = match known {
            Some(mut known) => {
                known.entity = begun;
                Change::replace(&known)
            }
            None => Change::insert(&begun),
        };
        // With the person as they are: one who is erased at this moment leaves no secret behind.
        changes.extend([change, Change::replace(&known_user)]);
        self.commit(&person.by(), vec![deed], changes).await?;
        Ok(Enrolment { secret: secret.to_base32(), uri: secret.uri(ISSUER, &account) })
    }

    /// Switches a second factor on, with the first code of the app, and ends all other sessions and every sign-in that
    /// is under way: nobody is to stay who came in without it. Returns the recovery codes, for the only time.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorActive`], [`Refusal::NotFound`] when none was begun, [`Refusal::Code`],
    /// [`Refusal::Braked`], [`Refusal::RecoveryCodeNeeded`], [`Refusal::Token`] when the session is over meanwhile,
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn confirm_second_factor(&self, person: &SignedIn, code: &str) -> Result<Vec<String>, Refusal> {
        let user = person.user.id;
        let found = self.find::<SecondFactor>(Owner::Platform, user.to_bytes()).await?;
        let begun = found.ok_or(Refusal::NotFound("second factor"))?;
        if begun.is_active() {
            return Err(Refusal::SecondFactorActive);
        }
        let mut factor = begun.clone();
        self.take_code(&mut factor, code, person).await?;
        factor.active_since = Some(self.now());
        let codes = factor.draw_recovery_codes(&self.ports.vault, &*self.ports.entropy);
        let letter = self.letter_to(&person.user, ON);
        for _ in 0..ROUNDS {
            match self.try_activate(person, &factor, letter.as_ref()).await {
                // A login or a refresh of theirs was faster. Where it was another code, this one is not looked at again.
                Err(Refusal::Conflict)
                    if self.find(Owner::Platform, user.to_bytes()).await?.as_ref() == Some(&begun) => {}
                Err(refusal) => return Err(refusal),
                Ok(()) => {
                    self.changed_person(user).await;
                    self.post(letter, &person.whence).await;
                    return Ok(shown(&codes));
                }
            }
        }
        Err(Refusal::Conflict)
    }

    async fn try_activate(
        &self,
        person: &SignedIn,
        factor: &Stored<SecondFactor>,
        letter: Option<&Letter>,
    ) -> Result<(), Refusal> {
        let mut user = self.person(factor.user).await?;
        let kept = self.own_session(person, &user).await?;
        let deed = Deed::of_platform("second_factor.activate", factor.user)
            .after(json!({ "recovery_codes": factor.recovery_codes.len(), "sessions": "ended" }));
        let mut changes = Self::with_all_ended(&mut user, Some(kept), vec![Change::replace(factor)]);
        changes.extend(letter.map(Change::insert));
        self.commit(&person.by(), vec![deed], changes).await
    }

    /// Replaces all recovery codes. Returns the new ones, for the only time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when no second factor is on, [`Refusal::Credentials`], [`Refusal::Code`],
    /// [`Refusal::Rate`], [`Refusal::Braked`], [`Refusal::RecoveryCodeNeeded`], [`Refusal::Busy`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn renew_recovery_codes(&self, person: &SignedIn, reproof: Reproof<'_>) -> Result<Vec<String>, Refusal> {
        let mut factor = self.reproved_factor(person, reproof).await?;
        let left = factor.recovery_codes.len();
        let codes = factor.draw_recovery_codes(&self.ports.vault, &*self.ports.entropy);
        let deed = Deed::of_platform("second_factor.renew_recovery_codes", person.user.id)
            .before(json!({ "recovery_codes": left }))
            .after(json!({ "recovery_codes": codes.len() }));
        self.commit(&person.by(), vec![deed], vec![Change::replace(&factor)]).await?;
        Ok(shown(&codes))
    }

    /// Switches a second factor off, and forgets it.
    ///
    /// # Errors
    /// As [`renew_recovery_codes`](Self::renew_recovery_codes).
    pub async fn disable_second_factor(&self, person: &SignedIn, reproof: Reproof<'_>) -> Result<(), Refusal> {
        let factor = self.reproved_factor(person, reproof).await?;
        let deed = Deed::of_platform("second_factor.disable", person.user.id).before(told(&factor));
        let letter = self.letter_to(&person.user, OFF);
        let changes = [Change::delete(&factor)].into_iter().chain(letter.as_ref().map(Change::insert));
        self.commit(&person.by(), vec![deed], changes.collect()).await?;
        self.post(letter, &person.whence).await;
        Ok(())
    }

    /// What follows when a first factor was right: a session, or the question for the second factor. `counted` is
    /// where it was counted as a wrong one, or is under way as a guess.
    pub(super) async fn after_first_factor(
        &self,
        user: Stored<User>,
        first_factor: &str,
        transport: Transport,
        device: Option<&str>,
        counted: Option<&Brakes>,
        whence: &Whence,
    ) -> Result<SignInStep, Refusal> {
        if self.active_factor(user.id).await?.is_none() {
            return Ok(SignInStep::Open(Box::new(self.open_session(user, transport, device, counted, whence).await?)));
        }
        let (challenge, token) =
            SignInChallenge::pose(&user, first_factor, transport, self.now(), &*self.ports.entropy);
        for _ in 0..ROUNDS {
            let mut changes = self.eased(counted).await?;
            changes.push(Change::insert(&challenge));
            match self.ports.store.commit(changes).await {
                Ok(()) => return Ok(SignInStep::SecondFactor { challenge: token, expires_at: challenge.expires_at }),
                // Somebody guesses at the same moment.
                Err(CommitError::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::Conflict)
    }

    /// Answers the question for the second factor, and opens the session that was asked for. Who signs in is
    /// known by the challenge alone, so that an answer tells nobody whose it is.
    ///
    /// # Errors
    /// [`Refusal::SignInOver`] when nobody may answer it any more, [`Refusal::Code`], [`Refusal::Braked`],
    /// [`Refusal::RecoveryCodeNeeded`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn answer_second_factor(
        &self,
        challenge: &str,
        code: &str,
        device: Option<&str>,
        whence: &Whence,
    ) -> Result<Opened, Refusal> {
        let hash = Opaque::parse(challenge).ok_or(Refusal::SignInOver)?.hash();
        let guess = Code::typed(code);
        for _ in 0..ROUNDS {
            match self.try_challenge(&hash, &guess, device, whence).await {
                // Another answer, or login, was faster: this one has not been looked at.
                Err(Refusal::Conflict) => {}
                Err(refusal) => return Err(refusal),
                Ok((opened, letter)) => {
                    self.post(letter, whence).await;
                    return Ok(opened);
                }
            }
        }
        Err(Refusal::Conflict)
    }

    async fn try_challenge(
        &self,
        hash: &str,
        guess: &Code,
        device: Option<&str>,
        whence: &Whence,
    ) -> Result<(Opened, Option<Letter>), Refusal> {
        let now = self.now();
        let found = self.find_by::<SignInChallenge>("token", hash).await?;
        let mut challenge = found.filter(|challenge| challenge.is_open(now)).ok_or(Refusal::SignInOver)?;
        if let Some(opens_at) = challenge.retry_at.filter(|opens_at| *opens_at > now) {
            return Err(Refusal::Braked { opens_at, guessed: Guessed::Code });
        }
        // Its first factor is worth nothing any more.
        let user = self.person(challenge.user).await?;
        if user.epoch != challenge.epoch {
            return Err(Refusal::SignInOver);
        }
        // Switched off meanwhile: whoever signs in begins again, and is not asked any more.
        let mut factor = self.active_factor(challenge.user).await?.ok_or(Refusal::SignInOver)?;
        let by = whence.by(challenge.user);
        match factor.attempt(guess, now, &self.ports.vault)? {
            Verdict::Right(proof) => {
                let deed = Deed::of_platform("second_factor.answer", challenge.user).after(json!({
                    "after": challenge.first_factor, "with": proof, "recovery_codes": factor.recovery_codes.len(),
                }));
                // With the session: a code that is used up has let somebody in.
                let recovered = proof == Proof::RecoveryCode;
                let letter = if recovered { self.letter_to(&user, RECOVERED) } else { None };
                let mut used = vec![Change::delete(&challenge), Change::replace(&factor)];
                used.extend(letter.as_ref().map(Change::insert));
                let opened =
                    self.try_open_session(&user, challenge.transport, device, vec![deed], used, whence).await?;
                Ok((opened, letter))
            }
            Verdict::Wrong => {
                challenge.fail(now);
                // It takes the first factor to get here, so nobody else can fill the log with it.
                let deed = Deed::of_platform("second_factor.refuse", challenge.user)
                    .after(json!({ "after": challenge.first_factor, "wrong_codes": factor.failures }));
                self.commit(&by, vec![deed], vec![Change::replace(&challenge), Change::replace(&factor)]).await?;
                Err(Refusal::Code)
            }
            Verdict::Wait { until } => Err(wait(until)),
        }
    }

    /// The second factor that is asked of a person, if one is.
    pub(super) async fn active_factor(&self, user: UserId) -> Result<Option<Stored<SecondFactor>>, Refusal> {
        let factor = self.find::<SecondFactor>(Owner::Platform, user.to_bytes()).await?;
        Ok(factor.filter(|factor| factor.is_active()))
    }

    /// Insists that a person shows that they are still there. A code that was right is used up, whatever comes
    /// of what it was shown for.
    ///
    /// # Errors
    /// [`Refusal::Credentials`]; [`Refusal::NotFound`] for a code when no second factor is on;
    /// [`Refusal::Code`], [`Refusal::Braked`], [`Refusal::RecoveryCodeNeeded`], [`Refusal::Busy`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub(super) async fn reprove(&self, person: &SignedIn, reproof: Reproof<'_>) -> Result<(), Refusal> {
        let code = match reproof {
            Reproof::Password(password) => return self.prove_password(person, password).await.map(|_| ()),
            Reproof::Code(code) => code,
        };
        let mut factor = self.active_factor(person.user.id).await?.ok_or(Refusal::NotFound("second factor"))?;
        self.take_code(&mut factor, code, person).await?;
        let deed = Deed::of_platform("second_factor.answer", person.user.id)
            .after(json!({ "after": "session", "recovery_codes": factor.recovery_codes.len() }));
        self.commit(&person.by(), vec![deed], vec![Change::replace(&factor)]).await
    }

    /// A person's second factor, when they have shown that they are still there. The caller keeps it, since a
    /// code that was right is used up.
    async fn reproved_factor(&self, person: &SignedIn, reproof: Reproof<'_>) -> Result<Stored<SecondFactor>, Refusal> {
        let mut factor = self.active_factor(person.user.id).await?.ok_or(Refusal::NotFound("second factor"))?;
        self.brake_person(person.user.id).await?;
        match reproof {
            Reproof::Password(password) => _ = self.prove_password(person, password).await?,
            Reproof::Code(code) => self.take_code(&mut factor, code, person).await?,
        }
        Ok(factor)
    }

    /// Looks at a code of somebody who is signed in. A wrong one is kept; a right one the caller keeps.
    ///
    /// In a session wrong codes wait like wrong passwords, recovery codes among them: whoever signed up could else fill
    /// the log with them, which nothing is deleted from.
    async fn take_code(&self, factor: &mut Stored<SecondFactor>, code: &str, by: &SignedIn) -> Result<(), Refusal> {
        let brakes = self.session_brakes(by);
        self.brake(&brakes).await?;
        match factor.attempt(&Code::typed(code), self.now(), &self.ports.vault)? {
            Verdict::Right(_) => self.ease(&brakes).await,
            Verdict::Wrong => {
                let deed = Deed::of_platform("second_factor.refuse", factor.user)
                    .after(json!({ "wrong_codes": factor.failures }));
                self.commit(&by.by(), vec![deed], vec![Change::replace(factor)]).await?;
                Err(Refusal::Code)
            }
            Verdict::Wait { until } => {
                self.uncount(&brakes).await?;
                Err(wait(until))
            }
        }
    }
}

fn wait(until: Option<Timestamp>) -> Refusal {
    until.map_or(Refusal::RecoveryCodeNeeded, |opens_at| Refusal::Braked { opens_at, guessed: Guessed::Code })
}

/// What the log tells of a second factor.
fn told(factor: &SecondFactor) -> serde_json::Value {
    json!({
        "begun_at": factor.begun_at,
        "active_since": factor.active_since,
        "recovery_codes": factor.recovery_codes.len(),
    })
}

fn shown(codes: &[Code]) -> Vec<String> {
    codes.iter().map(recovery_code::shown).collect()
}
