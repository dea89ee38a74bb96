//! Sign-in by an identity provider.

use std::sync::Arc;

use serde_json::json;

use super::super::{App, Refusal};
use super::{Opened, SignInStep, Whence};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::id::UserId;
use crate::domain::identity::{
    BY_SUBJECT, BrowserSecret, LinkedIdentity, SignInAttempt, SpentToken, TOKEN_AGE_MAX, subject_key,
};
use crate::domain::opaque::Opaque;
use crate::domain::rate::Rate;
use crate::domain::session::Transport;
use crate::domain::template;
use crate::domain::user::{AccountEmail, User};
use crate::ports::{
    AuthorizationAsked, Change, CodeRedeemed, CommitError, Identity, IdentityError, IdentityProvider, Owner, Stored,
};

/// Longest name that is taken from a provider, in characters.
const NAME_LENGTH_MAX: usize = 100;

/// Sign-ins that one address of a client may begin; nobody has to come back to them.
const ATTEMPTS: Rate = Rate { per_second: 1, burst: 100 };

/// A sign-in that is to begin.
pub struct BeginSignIn<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The page that the person comes back to; none means the provider's first.
    pub redirect_uri: Option<&'a str>,
    /// How the session's refresh token is to travel.
    pub transport: Transport,
}

/// A sign-in that began.
pub struct SignInBegun {
    /// Where the person goes.
    pub authorization_url: String,
    /// What their browser is to hold, and nobody else.
    pub browser_secret: String,
    /// Until when they may come back.
    pub expires_at: Timestamp,
}

/// What a person comes back with.
pub struct FinishSignIn<'a> {
    /// What went to the provider and back.
    pub state: &'a str,
    /// The provider's code.
    pub code: &'a str,
    /// Who says that it sent them back, if it says so (RFC 9207).
    pub issuer: Option<&'a str>,
    /// What their browser holds.
    pub browser_secret: Option<&'a str>,
    /// The device token of an earlier login from here.
    pub device: Option<&'a str>,
}

impl App {
    /// The identity providers that people may sign in with.
    pub fn identity_providers(&self) -> &[Arc<dyn IdentityProvider>] {
        &self.ports.identity_providers
    }

    fn provider(&self, name: &str) -> Option<&dyn IdentityProvider> {
        self.ports.identity_providers.iter().find(|provider| provider.name() == name).map(|provider| &**provider)
    }

    /// Begins a sign-in by a provider.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] when the page is not among those that the operator named,
    /// [`Refusal::Provider`], [`Refusal::Rate`], [`Refusal::Store`].
    pub async fn begin_sign_in(&self, begin: BeginSignIn<'_>, whence: &Whence) -> Result<SignInBegun, Refusal> {
        let provider = self.provider(begin.provider).ok_or(Refusal::NotFound("identity provider"))?;
        let pages = provider.redirect_uris();
        let page = match begin.redirect_uri {
            Some(named) => pages.iter().find(|page| *page == named),
            None => pages.first(),
        };
        let page = page.ok_or_else(|| {
            Refusal::field("redirect_uri", format!("write one of those that the operator allows: {}", pages.join(", ")))
        })?;
        self.brake_client("attempts", ATTEMPTS, whence).await?;
        let now = self.now();
        let (attempt, state, browser) =
            SignInAttempt::begin(provider.name(), page, begin.transport, now, &*self.ports.entropy);
        let asked = AuthorizationAsked {
            redirect_uri: page,
            state: &state.reveal(),
            nonce: &browser.nonce(),
            code_challenge: &browser.code_challenge(),
        };
        let authorization_url = provider.authorization_url(asked, now).await?;
        self.ports.store.commit(vec![Change::insert(&attempt)]).await?;
        Ok(SignInBegun { authorization_url, browser_secret: browser.0.reveal(), expires_at: attempt.expires_at })
    }

    /// Signs in a person who came back from a provider, or asks for their second factor: somebody who is known,
    /// somebody whose account has the address that the provider vouches for, or somebody new.
    ///
    /// An attempt is over with the first answer that comes from its browser, whatever becomes of it.
    ///
    /// # Errors
    /// [`Refusal::SignInOver`] when there is no such attempt of this browser any more, [`Refusal::Provider`],
    /// [`Refusal::EmailNotVerified`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn finish_sign_in(&self, finish: FinishSignIn<'_>, whence: &Whence) -> Result<SignInStep, Refusal> {
        let device = finish.device;
        let (user, attempt) = self.identify(finish, whence).await.inspect_err(|refusal| {
            // ASVS 16.3.1. With its sources, which say nothing of the person.
            let error: &dyn std::error::Error = refusal;
            tracing::info!(
                ip = whence.ip.map(tracing::field::display),
                error,
                "a sign-in by an identity provider was refused"
            );
        })?;
        self.after_first_factor(user, &attempt.provider, attempt.transport, device, None, whence).await
    }

    /// Signs in a person by an ID token that their page got from a provider by itself, as WOTP's clients do: whom
    /// [`finish_sign_in`](Self::finish_sign_in) would sign in. A token works once.
    ///
    /// Nothing binds it to a browser, as an attempt is bound; so the session's tokens go into the reply's body and
    /// never into a cookie, and nobody is signed in unawares.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such a provider, [`Refusal::SignInOver`] for a token that was used,
    /// [`Refusal::SecondFactorNeeded`], [`Refusal::Provider`], [`Refusal::EmailNotVerified`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn sign_in_by_token(&self, provider: &str, id_token: &str, whence: &Whence) -> Result<Opened, Refusal> {
        let signed_in = async {
            let provider = self.provider(provider).ok_or(Refusal::NotFound("identity provider"))?;
            let now = self.now();
            let identity = provider.identify_by_token(id_token, TOKEN_AGE_MAX, now).await?;
            match self.ports.store.commit(vec![Change::insert(&SpentToken::new(id_token, now))]).await {
                Ok(()) => {}
                Err(CommitError::Changed | CommitError::Taken { .. }) => return Err(Refusal::SignInOver),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
            let user = self.person_behind(provider, &identity, whence).await?;
            if self.active_factor(user.id).await?.is_some() {
                return Err(Refusal::SecondFactorNeeded);
            }
            self.open_session(user, Transport::Body, None, None, whence).await
        };
        // ASVS 16.3.1. With its sources, which say nothing of the person.
        signed_in.await.inspect_err(|refusal| {
            let error: &dyn std::error::Error = refusal;
            let ip = whence.ip.map(tracing::field::display);
            tracing::info!(ip, error, "a sign-in by an ID token was refused");
        })
    }

    async fn identify(
        &self,
        finish: FinishSignIn<'_>,
        whence: &Whence,
    ) -> Result<(Stored<User>, SignInAttempt), Refusal> {
        let now = self.now();
        let state = Opaque::parse(finish.state).ok_or(Refusal::SignInOver)?;
        let browser = finish.browser_secret.and_then(Opaque::parse).map(BrowserSecret).ok_or(Refusal::SignInOver)?;
        let attempt = self.find_by::<SignInAttempt>("state", state.hash()).await?.ok_or(Refusal::SignInOver)?;
        // Whoever has only seen the state ends nobody's attempt.
        if !attempt.is_of(&browser, now) {
            return Err(Refusal::SignInOver);
        }
        match self.ports.store.commit(vec![Change::delete(&attempt)]).await.map_err(Refusal::from) {
            // The same answer came twice: one of them goes on.
            Err(Refusal::Conflict) => return Err(Refusal::SignInOver),
            deleted => deleted?,
        }
        let provider = self.provider(&attempt.provider).ok_or(Refusal::SignInOver)?;
        if finish.issuer.is_some_and(|issuer| issuer != provider.issuer()) {
            return Err(Refusal::Provider(IdentityError::Token("another issuer sent the person back".into())));
        }
        let redeemed = CodeRedeemed {
            code: finish.code,
            redirect_uri: &attempt.redirect_uri,
            code_verifier: &browser.code_verifier(),
            nonce: &browser.nonce(),
        };
        let identity = provider.identify(redeemed, now).await?;
        let user = self.person_behind(provider, &identity, whence).await?;
        Ok((user, attempt.entity))
    }

    async fn person_behind(
        &self,
        provider: &dyn IdentityProvider,
        identity: &Identity,
        whence: &Whence,
    ) -> Result<Stored<User>, Refusal> {
        let key = subject_key(provider.issuer(), &identity.subject);
        if let Some(user) = self.linked_person(key).await? {
            return Ok(user);
        }
        // An address that nobody verified may be anybody's: it neither finds an account nor begins one.
        let email = identity.email.as_deref().filter(|_| identity.email_verified).ok_or(Refusal::EmailNotVerified)?;
        let email = AccountEmail::parse(email).map_err(|_| Refusal::EmailNotVerified)?;
        // People who are known sign in during maintenance too; whom this changes something for do not.
        self.may_change().await?;
        let (now, vault, dice) = (self.now(), &self.ports.vault, &*self.ports.entropy);
        let known = self.find_by::<User>("email", email.key(vault).as_bytes()).await?;
        let mut changes = Vec::new();
        let mut deeds = Vec::new();
        let user = match &known {
            Some(user) => {
                let mut confirmed = user.clone();
                confirmed.email_confirmed_at.get_or_insert(now);
                // In any case: nobody is linked to an account that is erased, or moves, at this moment.
                changes.push(Change::replace(&confirmed));
                user.id
            }
            None => {
                let name = identity.name.as_deref().unwrap_or_default();
                let name: String = name.chars().filter(|c| !template::is_control(*c)).take(NAME_LENGTH_MAX).collect();
                let mut user = User::new(UserId::new(now, dice), &email, name.trim(), now, vault, dice);
                user.email_confirmed_at = Some(now);
                changes.push(Change::insert(&user));
                deeds.push(
                    Deed::of_platform("user.create", user.id)
                        .after(json!({ "email": user.email_masked, "provider": provider.name() })),
                );
                user.id
            }
        };
        let link = LinkedIdentity::new(user, provider.issuer(), &identity.subject, now, dice);
        deeds.push(
            Deed::of_platform("identity.link", user).after(json!({ "id": link.id, "provider": provider.name() })),
        );
        changes.push(Change::insert(&link));
        let words = format!(
            "From now on you can sign in with {} as well. If that was not you, ask for a new password at once.",
            provider.display_name()
        );
        let letter = known.as_ref().and_then(|known| self.letter_to(known, &words));
        changes.extend(letter.as_ref().map(Change::insert));
        match self.commit(&whence.by(user), deeds, changes).await {
            // Two sign-ins of one person at once: the other one has linked them.
            Err(Refusal::Taken { .. }) => {}
            made => {
                made?;
                self.post(letter, whence).await;
            }
        }
        self.linked_person(key).await?.ok_or(Refusal::Conflict)
    }

    /// Whom an identity is linked to, as they were while it was.
    async fn linked_person(&self, key: [u8; 32]) -> Result<Option<Stored<User>>, Refusal> {
        let Some(linked) = self.find_by::<LinkedIdentity>(BY_SUBJECT, key).await? else { return Ok(None) };
        let user = self.person(linked.user).await?;
        // Unlinking raises the epoch: of a person who was read after it, it would end nothing.
        let still = self.find_by::<LinkedIdentity>(BY_SUBJECT, key).await?;
        Ok(still.filter(|still| still.user == user.id).map(|_| user))
    }

    /// A person who is known to be there.
    pub(super) async fn person(&self, user: UserId) -> Result<Stored<User>, Refusal> {
        self.find::<User>(Owner::Platform, user.to_bytes()).await?.ok_or(Refusal::SignInOver)
    }
}
