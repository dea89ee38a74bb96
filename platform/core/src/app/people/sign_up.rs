use jiff::SignedDuration;
use serde_json::json;

use super::super::{App, FieldError, Refusal};
use super::Whence;
use super::brake::Device;
use super::house::CODE_LIFE_SECONDS;
use crate::domain::Timestamp;
use crate::domain::audit::{By, Deed};
use crate::domain::code::Code;
use crate::domain::id::{UserId, VerificationId};
use crate::domain::member::Member;
use crate::domain::password::Password;
use crate::domain::pending::{Pending, Then};
use crate::domain::permission::Role;
use crate::domain::service::Service;
use crate::domain::tenant;
use crate::domain::tenant::Tenant;
use crate::domain::user::{AccountEmail, PasswordHash, User, person_name};
use crate::domain::vault::{CodeHash, Purpose};
use crate::domain::verification::Status;
use crate::ports::{Change, Owner, Stored};

/// How long what waits for a code is kept after the code has expired: a wrong code is answered as such.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// A request for an account, and a tenant. Not to be printed, for its password.
#[derive(Clone)]
pub struct SignUp {
    /// The email address.
    pub email: String,
    /// The password.
    pub password: String,
    /// What the person is called; may be empty.
    pub name: String,
    /// What their tenant is called; none for somebody who begins without one, as when they are invited.
    pub tenant: Option<String>,
}

/// A code went to an email address.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// What the code is to come back with.
    pub verification: VerificationId,
    /// Until when.
    pub expires_at: Timestamp,
}

/// An account as it began.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// The person.
    pub user: User,
    /// Their tenant, which they own; none where they asked for none.
    pub tenant: Option<Tenant>,
}

/// What makes an account with a tenant of its own, and what the logs tell of it.
pub(super) fn account(user: &User, tenant: &Tenant, service: Service, now: Timestamp) -> (Vec<Deed>, Vec<Change>) {
    let member = Member { tenant: tenant.id, user: user.id, role: Role::Owner, joined_at: now };
    let deeds = vec![
        began(user),
        Deed::of(tenant.id, "tenant.create", tenant.id).after(json!({ "name": tenant.name, "plan": tenant.plan })),
        Deed::of(tenant.id, "service.create", service.id).after(super::super::services::shown(&service)),
        Deed::of(tenant.id, "member.create", user.id).after(json!({ "role": member.role })),
    ];
    let changes = vec![
        Change::insert(user),
        Change::InsertTenant(Box::new(tenant.clone())),
        Change::InsertService(Box::new(service)),
        Change::insert(&member),
    ];
    (deeds, changes)
}

fn began(user: &User) -> Deed {
    Deed::of_platform("user.create", user.id).after(json!({ "email": user.email_masked }))
}

impl App {
    /// Sends a code to an address; [`confirm_email`](Self::confirm_email) makes the account.
    ///
    /// It does not look whether there is an account already: the answer, the work and the mail are the same.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Rate`], [`Refusal::Address`], [`Refusal::Busy`], [`Refusal::Routing`]
    /// when no channel reaches email, [`Refusal::Store`].
    pub async fn sign_up(&self, request: SignUp, whence: &Whence) -> Result<Started, Refusal> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
        let email = AccountEmail::parse(&request.email).map_err(|error| wrong("email", error.to_string())).ok();
        let password = email.as_ref().and_then(|email| {
            Password::new(&request.password, email).map_err(|error| wrong("password", error.to_string())).ok()
        });
        let name = person_name(&request.name).map_err(|error| wrong("name", error.to_string())).ok();
        let tenant = request.tenant.as_deref().map(tenant::name).transpose();
        let tenant = tenant.map_err(|error| wrong("tenant", error.to_string())).ok();
        let (Some(email), Some(password), Some(name), Some(tenant)) = (email, password, name, tenant) else {
            return Err(Refusal::Invalid(errors));
        };
        // Before the hash, which costs more than anything else here.
        self.brake_mails(whence).await?;
        let place = self.hash_place(whence)?;
        let password = self.hash(&password).await?;
        drop(place);
        self.pend(&email, Then::SignUp { name, password, tenant }, None, None, whence).await
    }

    /// Makes the account that waited for this code, and its tenant if it is to have one.
    ///
    /// # Errors
    /// [`Refusal::Code`]; [`Refusal::Taken`] when there is an account, which only the owner of the address
    /// hears; [`Refusal::Store`].
    pub async fn confirm_email(&self, id: VerificationId, code: &str, whence: &Whence) -> Result<Confirmed, Refusal> {
        let (pending, email) = self.proven(id, code, |then| matches!(then, Then::SignUp { .. }), whence).await?;
        let Then::SignUp { name, password, tenant } = pending.then.clone() else { return Err(Refusal::Code) };
        let (now, entropy) = (self.now(), &*self.ports.entropy);
        let mut user = User::new(UserId::new(now, entropy), &email, &name, now, &self.ports.vault, entropy);
        user.password = Some(password);
        user.email_confirmed_at = Some(now);
        let drawn = tenant.map(|name| self.draw_tenant(&name, &self.ports.people.plan)).transpose()?;
        let (tenant, (deeds, mut changes)) = match drawn {
            Some((tenant, service)) => {
                let made = account(&user, &tenant, service, now);
                (Some(tenant), made)
            }
            None => (None, (vec![began(&user)], vec![Change::insert(&user)])),
        };
        changes.push(Change::delete(&pending));
        match self.commit(&whence.by(user.id), deeds, changes).await {
            Ok(()) => Ok(Confirmed { user, tenant }),
            Err(Refusal::Taken { kind: "user", .. }) => Err(Refusal::Taken { kind: "account", index: "email" }),
            Err(error) => Err(error),
        }
    }

    /// Keeps what is to happen when a code comes back, together with what the log tells of it, and sends the code.
    ///
    /// In this order: a code whose mail went out is for something, whatever crashes in between. What waits for one
    /// that was not sent goes by itself.
    pub(super) async fn pend(
        &self,
        email: &AccountEmail,
        then: Then,
        device: Option<&Device>,
        told: Option<(&By, Deed)>,
        whence: &Whence,
    ) -> Result<Started, Refusal> {
        self.count_code(email, device, whence).await?;
        let (now, entropy) = (self.now(), &*self.ports.entropy);
        let id = VerificationId::new(now, entropy);
        let answer_by =
            now.saturating_add(SignedDuration::from_secs(CODE_LIFE_SECONDS.into())).unwrap_or(Timestamp::MAX);
        let pending = Pending {
            id,
            email: self.ports.vault.seal(Purpose::Address, &id.to_bytes(), email.as_str(), entropy),
            then,
            answer_by: Some(answer_by),
            typed: None,
            proved_by: None,
            failures: 0,
            expires_at: answer_by.saturating_add(KEPT).unwrap_or(Timestamp::MAX),
        };
        let waits = vec![Change::insert(&pending)];
        match told {
            Some((by, deed)) => self.commit(by, vec![deed], waits).await?,
            None => self.ports.store.commit(waits).await?,
        }
        let sent = self.send_code(id, email, device, whence).await?;
        Ok(Started { verification: id, expires_at: sent.expires_at })
    }

    /// What waited for this code, and the address that it proves. A code that was right is right again, as long as
    /// what it was for has not happened: then what waits is deleted.
    ///
    /// # Errors
    /// [`Refusal::Code`], also where the code is for something else, which uses up nothing; [`Refusal::Store`].
    pub(super) async fn proven(
        &self,
        id: VerificationId,
        code: &str,
        is_for: impl Fn(&Then) -> bool + Send,
        whence: &Whence,
    ) -> Result<(Stored<Pending>, AccountEmail), Refusal> {
        let wrong = || {
            tracing::info!(verification = %id, ip = whence.ip.map(tracing::field::display), "a code for an account was wrong");
            Refusal::Code
        };
        let found = self.find::<Pending>(Owner::Platform, id.to_bytes()).await?;
        let mut pending = found.filter(|pending| is_for(&pending.then)).ok_or(Refusal::Code)?;
        let (vault, owner, guess) = (&self.ports.vault, id.to_bytes(), Code::typed(code));
        let matches = |hash: &CodeHash| vault.code_matches(&owner, &guess, hash);
        let mut checked = false;
        if pending.proved_by.is_none() {
            let house = self.house(whence).await?;
            let verification = match self.find_verification(&house, id).await {
                Ok(verification) => verification,
                Err(Refusal::NotFound(_)) => return Err(wrong()),
                Err(error) => return Err(error),
            };
            if verification.status == Status::Approved && pending.typed.is_some() {
                // Used up, and cut off before that was noted. Whether it is this code is seen below.
                pending.proved_by = pending.typed.take();
            } else {
                // Nothing but the right code is ever noted: what was noted and then approved, was approved by it.
                if verification.code.as_ref().is_some_and(|code| matches(&code.hash)) && pending.typed.is_none() {
                    pending.typed = Some(vault.hash_code(&owner, &guess));
                    pending = self.noted(pending).await?;
                }
                match self.check_verification(&house, id, code).await {
                    Ok(made) if made.valid => checked = true,
                    Ok(_) | Err(Refusal::NotFound(_)) => return Err(wrong()),
                    Err(error) => return Err(error),
                }
                pending.typed = None;
                pending.proved_by = Some(vault.hash_code(&owner, &guess));
            }
            pending = self.noted(pending).await?;
        }
        if !checked {
            if !pending.may_finish(self.now()) {
                return Err(wrong());
            }
            if !pending.proved_by.as_ref().is_some_and(matches) {
                pending.failures = pending.failures.saturating_add(1);
                self.ports.store.commit(vec![Change::replace(&pending)]).await?;
                return Err(wrong());
            }
        }
        let address = vault.open(Purpose::Address, &owner, &pending.email)?;
        let email = AccountEmail::parse(&address).map_err(|error| Refusal::field("email", error.to_string()))?;
        Ok((pending, email))
    }

    /// Stores what waits as it is now, and reads it again. Where another try was first, it noted the same.
    async fn noted(&self, pending: Stored<Pending>) -> Result<Stored<Pending>, Refusal> {
        self.is_made(vec![Change::replace(&pending)]).await?;
        self.find::<Pending>(Owner::Platform, pending.id.to_bytes()).await?.ok_or(Refusal::Code)
    }

    /// The hash of a new password.
    pub(in crate::app) async fn hash(&self, password: &Password) -> Result<PasswordHash, Refusal> {
        let mut salt = [0; 16];
        self.ports.entropy.fill(&mut salt);
        Ok(self.ports.passwords.hash(password, salt).await?)
    }
}
