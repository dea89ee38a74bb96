use serde_json::json;

use super::super::{App, Refusal};
use super::{SignedIn, Started, Whence};
use crate::domain::audit::{By, Deed};
use crate::domain::id::VerificationId;
use crate::domain::password::Password;
use crate::domain::pending::{Pending, Then};
use crate::domain::user::{AccountEmail, User};
use crate::domain::vault::Purpose;
use crate::ports::{Change, Owner, Stored};

/// How often a person is changed whom somebody else changes at the same moment.
const TRIES: usize = 4;
const CHANGED: &str = "The password of your account was changed. If that was not you, ask for a new password at once.";

impl App {
    /// Sends a code with which [`reset_password`](Self::reset_password) takes another password.
    ///
    /// It does not look whether there is an account: the answer, the work and the mail are the same.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Rate`], [`Refusal::Address`], [`Refusal::Store`].
    pub async fn request_password_reset(
        &self,
        email: &str,
        device: Option<&str>,
        whence: &Whence,
    ) -> Result<Started, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        self.brake_mails(whence).await?;
        // Looked for only by who says that they have signed in to it before.
        let device = match device {
            Some(token) => {
                let account = email.key(&self.ports.vault);
                let user = self.find_by::<User>("email", account.as_bytes()).await?;
                self.known_device(&account, user.map_or(0, |user| user.epoch), token)
            }
            None => None,
        };
        self.pend(&email, Then::Reset, device.as_ref(), None, whence).await
    }

    /// Gives an account another password, ends all its sessions and lifts its brakes.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the password, [`Refusal::Code`], [`Refusal::NotFound`] when there is no
    /// account, which only the owner of the address hears; [`Refusal::Busy`], [`Refusal::Store`].
    pub async fn reset_password(
        &self,
        id: VerificationId,
        code: &str,
        password: &str,
        whence: &Whence,
    ) -> Result<(), Refusal> {
        // The password first: one that is not taken must not cost the code.
        let pending = self.find::<Pending>(Owner::Platform, id.to_bytes()).await?.ok_or(Refusal::Code)?;
        if pending.then != Then::Reset {
            return Err(Refusal::Code);
        }
        let address = self.ports.vault.open(Purpose::Address, &id.to_bytes(), &pending.email)?;
        let email = AccountEmail::parse(&address).map_err(|error| Refusal::field("email", error.to_string()))?;
        let password =
            Password::new(password, &email).map_err(|error| Refusal::field("password", error.to_string()))?;
        // A place first: a code is not spent on being told to come back.
        let place = self.hash_place(whence)?;
        let (pending, email) = self.proven(id, code, |then| *then == Then::Reset, whence).await?;
        let hash = self.hash(&password).await?;
        drop(place);
        let account = email.key(&self.ports.vault);
        for _ in 0..TRIES {
            let Some(mut user) = self.find_by::<User>("email", account.as_bytes()).await? else {
                return Err(Refusal::NotFound("account"));
            };
            user.email_confirmed_at.get_or_insert(self.now());
            let by = whence.by(user.id);
            user.password = Some(hash.clone());
            let letter = self.letter(email.as_str(), CHANGED);
            let changes = vec![Change::delete(&pending), Change::insert(&letter)];
            let changes = Self::with_all_ended(&mut user, None, changes);
            match self.commit_password(&user, "user.reset_password", changes, &by).await {
                Err(Refusal::Conflict) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.forget_brakes(&self.brakes(&account, None, whence)).await?;
                    self.post([letter], whence).await;
                    return Ok(());
                }
            }
        }
        Err(Refusal::Conflict)
    }

    /// Gives a signed-in person another password, and ends their other sessions.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the new one, [`Refusal::Credentials`] for the old one, [`Refusal::Rate`],
    /// [`Refusal::Braked`], [`Refusal::Busy`], [`Refusal::Store`].
    pub async fn change_password(&self, person: &SignedIn, current: &str, new: &str) -> Result<(), Refusal> {
        let address = person.user.address(&self.ports.vault)?;
        let email = AccountEmail::parse(&address).map_err(|error| Refusal::field("email", error.to_string()))?;
        let new = Password::new(new, &email).map_err(|error| Refusal::field("new_password", error.to_string()))?;
        let place = self.hash_place(&person.whence)?;
        let user = self.compare_password(person, current).await?;
        self.brake_person(user.id).await?;
        let (user, hash, by, to) = (&user, &self.hash(&new).await?, &person.by(), email.as_str());
        let changed = self.in_turn(move || async move {
            // As it was proved: another password meanwhile is not overwritten by who did not know it.
            let mut user = self.again(user).await?;
            let kept = self.own_session(person, &user).await?;
            user.password = Some(hash.clone());
            let letter = self.letter(to, CHANGED);
            let changes = Self::with_all_ended(&mut user, Some(kept), vec![Change::insert(&letter)]);
            self.commit_password(&user, "user.change_password", changes, by).await?;
            Ok(letter)
        });
        drop(place);
        self.post([changed.await?], &person.whence).await;
        Ok(())
    }

    /// A signed-in person as they are now, when this is their password.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], [`Refusal::Braked`], [`Refusal::Busy`], [`Refusal::Store`].
    pub(super) async fn prove_password(&self, person: &SignedIn, password: &str) -> Result<Stored<User>, Refusal> {
        let _place = self.hash_place(&person.whence)?;
        self.compare_password(person, password).await
    }

    /// The same for who has a place for its hash.
    async fn compare_password(&self, person: &SignedIn, password: &str) -> Result<Stored<User>, Refusal> {
        let brakes = self.session_brakes(person);
        self.brake(&brakes).await?;
        let found = self.find::<User>(Owner::Platform, person.user.id.to_bytes()).await?;
        let user = found.ok_or(Refusal::NotFound("account"))?;
        let compared = match self.ports.passwords.compare(&Password::typed(password), user.password.as_ref()).await {
            Ok(compared) => compared,
            Err(error) => {
                self.uncount(&brakes).await?;
                return Err(error.into());
            }
        };
        if !compared.right {
            tracing::info!(user = %user.id, "a password of somebody who is signed in was wrong");
            return Err(Refusal::Credentials);
        }
        self.ease(&brakes).await?;
        Ok(user)
    }

    async fn commit_password(
        &self,
        user: &User,
        action: &'static str,
        changes: Vec<Change>,
        by: &By,
    ) -> Result<(), Refusal> {
        let deed = Deed::of_platform(action, user.id).after(json!({ "password": "changed", "sessions": "ended" }));
        self.commit(by, vec![deed], changes).await?;
        self.changed_person(user.id).await;
        Ok(())
    }
}
