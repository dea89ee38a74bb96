//! A login without a password, for whoever develops against an installation of their own.

use super::super::{App, Refusal};
use super::sign_up::account;
use super::{Opened, Whence};
use crate::domain::id::UserId;
use crate::domain::session::Transport;
use crate::domain::user::{AccountEmail, User};

/// The one account that is signed in to like this. From the domain that belongs to nobody.
const EMAIL: &str = "dev@example.com";
const NAME: &str = "Developer";

impl App {
    /// Signs the developer in, and makes their account and tenant the first time. Whoever offers this has seen
    /// to it that the installation is for development.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn log_in_for_development(&self, whence: &Whence) -> Result<Opened, Refusal> {
        let email = AccountEmail::parse(EMAIL).map_err(|error| Refusal::field("email", error.to_string()))?;
        loop {
            let found = self.find_by::<User>("email", email.key(&self.ports.vault).as_bytes()).await?;
            if let Some(user) = found {
                return self.open_session(user, Transport::Body, None, None, whence).await;
            }
            match self.make_developer(&email, whence).await {
                // Two at once: one of them made it.
                Ok(()) | Err(Refusal::Taken { kind: "user", .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    async fn make_developer(&self, email: &AccountEmail, whence: &Whence) -> Result<(), Refusal> {
        self.may_change().await?;
        let (now, entropy) = (self.now(), &*self.ports.entropy);
        let mut user = User::new(UserId::new(now, entropy), email, NAME, now, &self.ports.vault, entropy);
        user.email_confirmed_at = Some(now);
        let (tenant, service) = self.draw_tenant(NAME, &self.ports.people.plan)?;
        let (deeds, changes) = account(&user, &tenant, service, now);
        self.commit(&whence.by(user.id), deeds, changes).await
    }
}
