use serde_json::json;

use super::super::{App, Refusal};
use super::{SignedIn, Started, Whence};
use crate::domain::audit::Deed;
use crate::domain::id::VerificationId;
use crate::domain::password::Password;
use crate::domain::pending::{Pending, Then};
use crate::domain::user::{AccountEmail, PasswordHash, User};
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
    pub async fn request_password_reset(&self, email: &str, whence: &Whence) -> Result<Started, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        self.pend(&email, Then::Reset, whence).await
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
        let (pending, email) = self.proven(id, code, whence).await?;
        let hash = self.hash(&password).await?;
        let account = email.key(&self.ports.vault);
        for _ in 0..TRIES {
            let Some(mut user) = self.find_by::<User>("email", account.as_bytes()).await? else {
                return Err(Refusal::NotFound("account"));
            };
            user.email_confirmed_at.get_or_insert(self.now());
            match self.set_password(user, hash.clone(), "user.reset_password", Some(&pending), whence).await {
                Err(Refusal::Conflict) => {}
                Err(error) => return Err(error),
                Ok(user) => {
                    self.revoke_sessions(user.id, None, &whence.by(user.id)).await?;
                    self.forget_brakes(&self.brakes(&account, None, whence)).await?;
                    self.tell(email.as_str(), CHANGED, whence).await;
                    return Ok(());
                }
            }
        }
        Err(Refusal::Conflict)
    }

    /// Gives a signed-in person another password, and ends their other sessions.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the new one, [`Refusal::Credentials`] for the old one, [`Refusal::Braked`],
    /// [`Refusal::Busy`], [`Refusal::Store`].
    pub async fn change_password(&self, person: &SignedIn, current: &str, new: &str) -> Result<(), Refusal> {
        let address = person.user.address(&self.ports.vault)?;
        let email = AccountEmail::parse(&address).map_err(|error| Refusal::field("email", error.to_string()))?;
        let new = Password::new(new, &email).map_err(|error| Refusal::field("new_password", error.to_string()))?;
        let user = self.prove_password(person, current).await?;
        let hash = self.hash(&new).await?;
        self.set_password(user, hash, "user.change_password", None, &person.whence).await?;
        self.revoke_other_sessions(person).await?;
        self.tell(email.as_str(), CHANGED, &person.whence).await;
        Ok(())
    }

    /// A signed-in person as they are now, when this is their password.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], [`Refusal::Braked`], [`Refusal::Busy`], [`Refusal::Store`].
    pub(super) async fn prove_password(&self, person: &SignedIn, password: &str) -> Result<Stored<User>, Refusal> {
        let brakes = self.brakes(&person.user.email_key, None, &person.whence);
        self.brake(&brakes).await?;
        let found = self.find::<User>(Owner::Platform, person.user.id.to_bytes()).await?;
        let user = found.ok_or(Refusal::NotFound("account"))?;
        let compared = self.ports.passwords.compare(&Password::typed(password), user.password.as_ref()).await?;
        if !compared.right {
            tracing::info!(user = %user.id, "a password of somebody who is signed in was wrong");
            return Err(Refusal::Credentials);
        }
        self.ease(&brakes).await?;
        Ok(user)
    }

    async fn set_password(
        &self,
        mut user: Stored<User>,
        hash: PasswordHash,
        action: &'static str,
        pending: Option<&Stored<Pending>>,
        whence: &Whence,
    ) -> Result<User, Refusal> {
        user.password = Some(hash);
        user.credentials_changed_at = Some(self.now());
        let deed = Deed::of_platform(action, user.id).after(json!({ "password": "changed" }));
        let mut changes = vec![Change::replace(&user)];
        changes.extend(pending.map(Change::delete));
        self.commit(&whence.by(user.id), vec![deed], changes).await?;
        self.changed_person(user.id).await;
        Ok(user.entity)
    }
}
