//! By whom else a person signs in, and how they end that.

use serde_json::json;

use super::super::{App, Refusal};
use super::SignedIn;
use crate::domain::audit::Deed;
use crate::domain::id::IdentityId;
use crate::domain::identity::{BY_USER, LinkedIdentity};
use crate::ports::{Change, EntityList, Owner};

impl App {
    /// The identities by which a person can sign in, the oldest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_identities(&self, person: &SignedIn) -> Result<Vec<LinkedIdentity>, Refusal> {
        let list = EntityList::by(BY_USER, person.user.id.to_bytes());
        let all = self.list_readable::<LinkedIdentity>(&list).await?;
        Ok(all.things.into_iter().map(|stored| stored.entity).collect())
    }

    /// Takes one of them away, and ends all other sessions, since nobody knows which of them it began. Whoever has
    /// no other way in takes a password, by a reset.
    ///
    /// A provider that still vouches for the account's address links them anew at the next sign-in.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Rate`], [`Refusal::Token`] when the session is over meanwhile,
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn unlink_identity(&self, person: &SignedIn, id: IdentityId) -> Result<(), Refusal> {
        let by = &person.by();
        self.brake_person(person.user.id).await?;
        let unlinked = self.in_turn(move || async move {
            let found = self.find::<LinkedIdentity>(Owner::Platform, id.to_bytes()).await?;
            let link = found.filter(|link| link.user == person.user.id).ok_or(Refusal::NotFound("identity"))?;
            let mut user = self.person(link.user).await?;
            let kept = self.own_session(person, &user).await?;
            let deed =
                Deed::of_platform("identity.unlink", link.user).before(json!({ "id": link.id, "issuer": link.issuer }));
            let words = format!(
                "Nobody signs in to your account by {} any more. If that was not you, ask for a new password at once.",
                link.issuer
            );
            let letter = self.letter_to(&user, &words);
            let mut changes = Self::with_all_ended(&mut user, Some(kept), vec![Change::delete(&link)]);
            changes.extend(letter.as_ref().map(Change::insert));
            self.commit(by, vec![deed], changes).await?;
            Ok((user.id, letter))
        });
        let (user, letter) = unlinked.await?;
        self.changed_person(user).await;
        self.post(letter, &person.whence).await;
        Ok(())
    }
}
