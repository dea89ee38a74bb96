//! What people change about their own accounts: their name, and the address that they are found by.

use serde_json::json;

use super::super::{App, Refusal};
use super::{Reproof, SignedIn, Started};
use crate::domain::audit::Deed;
use crate::domain::id::VerificationId;
use crate::domain::pending::{Pending, Then};
use crate::domain::user::{AccountEmail, User, person_name};
use crate::ports::{Change, Owner};

const MOVED_HERE: &str = "This is the email address of your account from now on. Sign in with it.";

impl App {
    /// Changes what a person is called; nothing for no name.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Rate`], [`Refusal::NotFound`] when the account was erased meanwhile, [`Refusal::Conflict`],
    /// [`Refusal::Store`].
    pub async fn rename_person(&self, person: &SignedIn, name: &str) -> Result<User, Refusal> {
        let name = person_name(name).map_err(|error| Refusal::field("name", error.to_string()))?;
        self.brake_person(person.user.id).await?;
        let (id, by, name) = (person.user.id, &person.by(), &name);
        self.in_turn(move || async move {
            let found = self.find::<User>(Owner::Platform, id.to_bytes()).await?;
            let mut user = found.ok_or(Refusal::NotFound("account"))?;
            if user.name == *name {
                return Ok(user.entity);
            }
            user.name.clone_from(name);
            // Not which: the log outlives a person who erases their account.
            let deed = Deed::of_platform("user.rename", id).after(json!({ "name": "changed" }));
            self.commit(by, vec![deed], vec![Change::replace(&user)]).await?;
            self.changed_person(id).await;
            Ok(user.entity)
        })
        .await
    }

    /// Sends a code to the address that a person's account is to move to, and tells the one that it is at.
    ///
    /// It does not look whether somebody has an account there: the answer, the work and the mail are the same.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the address; [`Refusal::Credentials`], [`Refusal::Code`] and the others of a
    /// reproof; [`Refusal::Rate`], [`Refusal::Address`], [`Refusal::Routing`], [`Refusal::Store`].
    pub async fn request_email_change(
        &self,
        person: &SignedIn,
        email: &str,
        reproof: Reproof<'_>,
    ) -> Result<Started, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        let from = person.user.email_key;
        if email.key(&self.ports.vault) == from {
            return Err(Refusal::field("email", "is the address of your account already"));
        }
        self.brake_mails(&person.whence).await?;
        self.brake_person(person.user.id).await?;
        self.reprove(person, reproof).await?;
        let then = Then::ChangeEmail { session: person.session.id, from };
        let by = person.by();
        let deed = Deed::of_platform("user.request_email_change", person.user.id)
            .before(json!({ "email": person.user.email_masked }))
            .after(json!({ "asked_for": email.masked() }));
        let started = self.pend(&email, then, None, Some((&by, deed)), &person.whence).await?;
        let words = format!(
            "Somebody who is signed in to your account asked to change its email address to {}. If that was not \
             you, ask for a new password at once: then the change is not made.",
            email.masked()
        );
        // Of itself, since the code is out by now: whoever asked hears of it, whatever becomes of the letter.
        let letter = self.letter_to(&person.user, &words);
        if let Err(error) = self.ports.store.commit(letter.iter().map(Change::insert).collect()).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(user = %person.user.id, error, "a letter could not be stored; it is sent without that");
        }
        self.post(letter, &person.whence).await;
        Ok(started)
    }

    /// Moves a person's account to the address that the code went to, and ends their other sessions. Only the
    /// session that asked can do it.
    ///
    /// # Errors
    /// [`Refusal::Code`], also when the account moved meanwhile; [`Refusal::Taken`] when another account has the
    /// address, which only its owner hears; [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn confirm_email_change(
        &self,
        person: &SignedIn,
        id: VerificationId,
        code: &str,
    ) -> Result<User, Refusal> {
        // Before the code is looked at: nobody else uses it up.
        let waiting = self.find::<Pending>(Owner::Platform, id.to_bytes()).await?.ok_or(Refusal::Code)?;
        let Then::ChangeEmail { session, from } = waiting.then else { return Err(Refusal::Code) };
        if session != person.session.id {
            return Err(Refusal::Code);
        }
        let (pending, email) =
            self.proven(id, code, |then| matches!(then, Then::ChangeEmail { .. }), &person.whence).await?;
        let (pending, email, by) = (&pending, &email, &person.by());
        let moved = self.in_turn(move || async move {
            let found = self.find::<User>(Owner::Platform, person.user.id.to_bytes()).await?;
            let mut user = found.filter(|user| user.email_key == from).ok_or(Refusal::Code)?;
            let before = user.entity.clone();
            user.move_to(email, self.now(), &self.ports.vault, &*self.ports.entropy);
            let deed = Deed::of_platform("user.change_email", user.id)
                .before(json!({ "email": before.email_masked }))
                .after(json!({ "email": user.email_masked }));
            let kept = self.own_session(person, &user).await?;
            let words = format!(
                "The email address of your account was changed to {}. If that was not you, write at once to whoever \
                 runs this service.",
                user.email_masked
            );
            let letters: Vec<_> =
                self.letter_to(&before, &words).into_iter().chain(self.letter_to(&user, MOVED_HERE)).collect();
            let mut changes = Self::with_all_ended(&mut user, Some(kept), vec![Change::delete(pending)]);
            changes.extend(letters.iter().map(Change::insert));
            match self.commit(by, vec![deed], changes).await {
                Err(Refusal::Taken { .. }) => Err(Refusal::Taken { kind: "account", index: "email" }),
                committed => committed.map(|()| (letters, user.entity)),
            }
        });
        let (letters, user) = moved.await?;
        self.changed_person(user.id).await;
        // What was guessed at the address before is nothing that its owner has to wait for.
        self.forget_brakes(&self.brakes(&user.email_key, None, &person.whence)).await?;
        self.post(letters, &person.whence).await;
        Ok(user)
    }
}
