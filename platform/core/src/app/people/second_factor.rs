//! A person's second factor: begun, confirmed, answered at sign-in, renewed and switched off.

use serde_json::json;
use zeroize::Zeroizing;

use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::{Actor, By, Deed};
use crate::domain::code::Code;
use crate::domain::id::UserId;
use crate::domain::opaque::Opaque;
use crate::domain::recovery_code;
use crate::domain::second_factor::{Proof, SecondFactor, SignInChallenge, Verdict};
use crate::domain::totp::TotpSecret;
use crate::ports::{Change, Owner, Stored};

/// What authenticator apps call us.
const ISSUER: &str = "WOTP";
/// How often an answer is tried beside others for the same person. Each lost round is an answer of somebody
/// else's that was counted, and a challenge takes five.
const ROUNDS: usize = 8;

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
    pub async fn second_factor(&self, user: UserId) -> Result<SecondFactorState, Refusal> {
        let factor = self.active_factor(user).await?;
        Ok(SecondFactorState {
            active_since: factor.as_ref().and_then(|factor| factor.active_since),
            recovery_codes_left: factor.map_or(0, |factor| factor.recovery_codes.len()),
        })
    }

    /// Begins a second factor, over one that was begun and not confirmed. Whoever has a password shows it: a
    /// session that was left open must not be enough to lock its owner out.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorActive`], [`Refusal::Invalid`] when the password is not right, [`Refusal::Wait`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn enrol_second_factor(
        &self,
        user: UserId,
        password: Option<&str>,
        by: &By,
    ) -> Result<Enrolment, Refusal> {
        let known = self.find::<SecondFactor>(Owner::Platform, user.to_bytes()).await?;
        if known.as_ref().is_some_and(|factor| factor.is_active()) {
            return Err(Refusal::SecondFactorActive);
        }
        let person = self.person(user).await?;
        if person.password.is_some() {
            let password = password.ok_or_else(|| Refusal::field("password", "write your password"))?;
            self.check_password(&person, password, by).await?;
        }
        let account = Zeroizing::new(person.address(&self.ports.vault)?);
        let secret = TotpSecret::draw(&*self.ports.entropy);
        let begun = SecondFactor::begin(user, &secret, self.now(), &self.ports.vault, &*self.ports.entropy);
        let change = match known {
            Some(mut known) => {
                known.entity = begun;
                Change::replace(&known)
            }
            None => Change::insert(&begun),
        };
        self.commit(by, vec![Deed::of_platform("second_factor.enrol", user)], vec![change]).await?;
        Ok(Enrolment { secret: secret.to_base32(), uri: secret.uri(ISSUER, &account) })
    }

    /// Switches a second factor on, with the first code of the app. Returns the recovery codes, for the only
    /// time.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorActive`], [`Refusal::NotFound`] when none was begun, [`Refusal::Invalid`] when the
    /// code is wrong, [`Refusal::Wait`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn confirm_second_factor(&self, user: UserId, code: &str, by: &By) -> Result<Vec<String>, Refusal> {
        let found = self.find::<SecondFactor>(Owner::Platform, user.to_bytes()).await?;
        let mut factor = found.ok_or(Refusal::NotFound("second factor"))?;
        if factor.is_active() {
            return Err(Refusal::SecondFactorActive);
        }
        self.take_code(&mut factor, code, by).await?;
        factor.active_since = Some(self.now());
        let codes = factor.draw_recovery_codes(&self.ports.vault, &*self.ports.entropy);
        let deed = Deed::of_platform("second_factor.activate", user).after(json!({ "recovery_codes": codes.len() }));
        self.commit(by, vec![deed], vec![Change::replace(&factor)]).await?;
        Ok(shown(&codes))
    }

    /// Replaces all recovery codes. Returns the new ones, for the only time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when no second factor is on, [`Refusal::Invalid`] when the password or the code is
    /// wrong, [`Refusal::Wait`], [`Refusal::RecoveryCodeNeeded`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn renew_recovery_codes(
        &self,
        user: UserId,
        reproof: Reproof<'_>,
        by: &By,
    ) -> Result<Vec<String>, Refusal> {
        let mut factor = self.reproved_factor(user, reproof, by).await?;
        let left = factor.recovery_codes.len();
        let codes = factor.draw_recovery_codes(&self.ports.vault, &*self.ports.entropy);
        let deed = Deed::of_platform("second_factor.renew_recovery_codes", user)
            .before(json!({ "recovery_codes": left }))
            .after(json!({ "recovery_codes": codes.len() }));
        self.commit(by, vec![deed], vec![Change::replace(&factor)]).await?;
        Ok(shown(&codes))
    }

    /// Switches a second factor off, and forgets it.
    ///
    /// # Errors
    /// As [`renew_recovery_codes`](Self::renew_recovery_codes).
    pub async fn disable_second_factor(&self, user: UserId, reproof: Reproof<'_>, by: &By) -> Result<(), Refusal> {
        let factor = self.reproved_factor(user, reproof, by).await?;
        self.commit(by, vec![Deed::of_platform("second_factor.disable", user)], vec![Change::delete(&factor)]).await
    }

    /// Answers the challenge of a sign-in, which is over when the answer is right. Who signs in is in the
    /// challenge, so nobody learns from an answer whose it is.
    ///
    /// # Errors
    /// [`Refusal::SignInOver`] when nobody may answer it any more, [`Refusal::SecondFactorWrong`],
    /// [`Refusal::Wait`], [`Refusal::RecoveryCodeNeeded`], [`Refusal::Store`].
    pub(super) async fn answer_challenge(
        &self,
        token: &str,
        code: &str,
        by: &By,
    ) -> Result<(SignInChallenge, Proof), Refusal> {
        let hash = Opaque::parse(token).ok_or(Refusal::SignInOver)?.hash();
        let guess = Code::typed(code);
        for _ in 0..ROUNDS {
            match self.try_challenge(&hash, &guess, by).await {
                // Another answer was faster: this one has not been looked at.
                Err(Refusal::Conflict) => {}
                answered => return answered,
            }
        }
        Err(Refusal::Conflict)
    }

    async fn try_challenge(&self, hash: &str, guess: &Code, by: &By) -> Result<(SignInChallenge, Proof), Refusal> {
        let now = self.now();
        let found = self.find_by::<SignInChallenge>("token", hash).await?;
        let mut challenge = found.filter(|challenge| challenge.is_open(now)).ok_or(Refusal::SignInOver)?;
        if let Some(until) = challenge.retry_at.filter(|until| *until > now) {
            return Err(Refusal::Wait { until });
        }
        // Switched off meanwhile: whoever signs in begins again, and is not asked any more.
        let mut factor = self.active_factor(challenge.user).await?.ok_or(Refusal::SignInOver)?;
        let by = By { actor: Actor::User { user: challenge.user }, ..by.clone() };
        match factor.attempt(guess, now, &self.ports.vault)? {
            Verdict::Right(proof) => {
                let deed = Deed::of_platform("second_factor.answer", challenge.user)
                    .after(json!({ "with": proof, "recovery_codes": factor.recovery_codes.len() }));
                self.commit(&by, vec![deed], vec![Change::delete(&challenge), Change::replace(&factor)]).await?;
                Ok((challenge.entity, proof))
            }
            Verdict::Wrong => {
                challenge.fail(now);
                let deed = Deed::of_platform("second_factor.refuse", challenge.user)
                    .after(json!({ "wrong_codes": factor.failures }));
                self.commit(&by, vec![deed], vec![Change::replace(&challenge), Change::replace(&factor)]).await?;
                Err(Refusal::SecondFactorWrong)
            }
            Verdict::Wait { until } => Err(wait(until)),
        }
    }

    /// The second factor that is asked of a person, if one is.
    pub(super) async fn active_factor(&self, user: UserId) -> Result<Option<Stored<SecondFactor>>, Refusal> {
        let factor = self.find::<SecondFactor>(Owner::Platform, user.to_bytes()).await?;
        Ok(factor.filter(|factor| factor.is_active()))
    }

    /// A person's second factor, when they have shown that they are still there. With a code that was right the
    /// caller has to keep it.
    async fn reproved_factor(
        &self,
        user: UserId,
        reproof: Reproof<'_>,
        by: &By,
    ) -> Result<Stored<SecondFactor>, Refusal> {
        let mut factor = self.active_factor(user).await?.ok_or(Refusal::NotFound("second factor"))?;
        match reproof {
            Reproof::Password(password) => {
                let person = self.person(user).await?;
                self.check_password(&person, password, by).await?;
            }
            Reproof::Code(code) => self.take_code(&mut factor, code, by).await?,
        }
        Ok(factor)
    }

    /// Looks at a code of somebody who is signed in. A wrong one is kept; a right one the caller keeps.
    async fn take_code(&self, factor: &mut Stored<SecondFactor>, code: &str, by: &By) -> Result<(), Refusal> {
        match factor.attempt(&Code::typed(code), self.now(), &self.ports.vault)? {
            Verdict::Right(_) => Ok(()),
            Verdict::Wrong => {
                let deed = Deed::of_platform("second_factor.refuse", factor.user)
                    .after(json!({ "wrong_codes": factor.failures }));
                self.commit(by, vec![deed], vec![Change::replace(factor)]).await?;
                Err(Refusal::field("code", "this is not the code that the app shows now; each is taken once"))
            }
            Verdict::Wait { until } => Err(wait(until)),
        }
    }
}

fn wait(until: Option<Timestamp>) -> Refusal {
    until.map_or(Refusal::RecoveryCodeNeeded, |until| Refusal::Wait { until })
}

fn shown(codes: &[Code]) -> Vec<String> {
    codes.iter().map(recovery_code::shown).collect()
}
