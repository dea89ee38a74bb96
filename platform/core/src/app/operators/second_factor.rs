use serde_json::json;

use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::second_factor::SecondFactor;
use crate::domain::user::{AccountEmail, User};
use crate::ports::{Change, Owner};

const RESET: &str = "The second factor of your account was taken away by whoever runs this service, and all your \
    sessions were ended. If you did not ask for that, ask for a new password at once.";

impl App {
    /// Takes the second factor from somebody who lost both their app and their recovery codes, ends their
    /// sessions, and tells them. They sign in with their first factor then, and begin another second one.
    ///
    /// Whoever does this has made sure by other means that it is they who ask.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the address; [`Refusal::NotFound`] when there is no account, or it has no second
    /// factor; [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn reset_second_factor(&self, by: &By, email: &str) -> Result<User, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        let key = email.key(&self.ports.vault);
        let user = self.in_turn(move || async move {
            let found = self.find_by::<User>("email", key.as_bytes()).await?;
            let mut user = found.ok_or(Refusal::NotFound("account"))?;
            let factor = self.find::<SecondFactor>(Owner::Platform, user.id.to_bytes()).await?;
            let factor = factor.ok_or(Refusal::NotFound("second factor"))?;
            let deed = Deed::of_platform("second_factor.reset", user.id)
                .before(json!({ "active_since": factor.active_since }));
            // A command has no channels, and may not write messages beside a server: the sweep sends it.
            let letter = self.letter_to(&user, RESET);
            let mut changes = App::with_all_ended(&mut user, None, vec![Change::delete(&factor)]);
            changes.extend(letter.as_ref().map(Change::insert));
            self.commit(by, vec![deed], changes).await?;
            Ok(user.entity)
        });
        let user = user.await?;
        self.changed_person(user.id).await;
        Ok(user)
    }
}
