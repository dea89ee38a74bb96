use serde_json::json;

use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::UserId;
use crate::domain::password::Password;
use crate::domain::user::{AccountEmail, User};
use crate::ports::{Change, EntityList};

/// Operators that are listed at most: they are few.
const LISTED_MAX: usize = 1000;

impl App {
    /// Makes somebody an operator. Who has no account gets one, with this password and an address that
    /// counts as confirmed: whoever can do this runs the server.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the address or the password; [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn appoint_operator(&self, by: &By, email: &str, password: Option<&str>) -> Result<User, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        let now = self.now();
        let found = self.find_by::<User>("email", email.key(&self.ports.vault).as_bytes()).await?;
        let (user, change) = match found {
            Some(found) if found.operator_since.is_some() => return Ok(found.entity),
            Some(mut found) => {
                found.operator_since = Some(now);
                (found.entity.clone(), Change::replace(&found))
            }
            None => {
                let password = password.ok_or_else(|| {
                    Refusal::field("password", "there is no account with this address: a new one needs a password")
                })?;
                let password = Password::new(password, &email);
                let password = password.map_err(|error| Refusal::field("password", error.to_string()))?;
                let (vault, entropy) = (&self.ports.vault, &*self.ports.entropy);
                let mut user = User::new(UserId::new(now, entropy), &email, "", now, vault, entropy);
                user.password = Some(self.hash(&password).await?);
                user.email_confirmed_at = Some(now);
                user.operator_since = Some(now);
                let change = Change::insert(&user);
                (user, change)
            }
        };
        let deed = Deed::of_platform("operator.appoint", user.id).after(json!({ "email": user.email_masked }));
        self.commit(by, vec![deed], vec![change]).await?;
        self.changed_person(user.id).await;
        Ok(user)
    }

    /// Takes the right to run the platform from somebody; their account stays.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when no operator has this address; [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn dismiss_operator(&self, by: &By, email: &str) -> Result<User, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        let found = self.find_by::<User>("email", email.key(&self.ports.vault).as_bytes()).await?;
        let found = found.filter(|user| user.operator_since.is_some());
        let mut user = found.ok_or(Refusal::NotFound("operator"))?;
        user.operator_since = None;
        let deed = Deed::of_platform("operator.dismiss", user.id).before(json!({ "email": user.email_masked }));
        self.commit(by, vec![deed], vec![Change::replace(&user)]).await?;
        self.changed_person(user.id).await;
        Ok(user.entity)
    }

    /// Every operator, the longest known first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn operators(&self) -> Result<Vec<User>, Refusal> {
        let mut list = EntityList::by("operator", [1]);
        list.limit = LISTED_MAX;
        Ok(self.list::<User>(&list).await?.into_iter().map(|stored| stored.entity).collect())
    }
}
