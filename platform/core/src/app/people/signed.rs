use std::sync::Arc;

use super::super::authenticate::{served, served_for};
use super::super::{ApiCaller, App, Holder, Membership, Refusal};
use super::Whence;
use crate::domain::access_token::ClaimsRefusal;
use crate::domain::audit::By;
use crate::domain::id::{SessionId, TenantId, UserId};
use crate::domain::member::{BY_USER, Member};
use crate::domain::mode::Mode;
use crate::domain::permission::Permission;
use crate::domain::session::Session;
use crate::domain::tenant::{Standing, Tenant};
use crate::domain::user::User;
use crate::ports::{EntityList, Owner};

/// Why an access token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is not signed by one of our keys, or it is of the future, of another issuer, or for somebody else.
    #[error("the access token is not of this server")]
    Foreign,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// Its session is over.
    #[error("the session of the access token is over")]
    SessionOver,
}

/// A person with a session, as it was read within the last second.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Who.
    pub user: Arc<User>,
    /// In which session.
    pub session: Arc<Session>,
    /// Where they are members.
    pub members: Arc<[Member]>,
}

impl Signed {
    /// Whether they are a member of a tenant.
    pub fn is_in(&self, tenant: TenantId) -> bool {
        self.members.iter().any(|member| member.tenant == tenant)
    }
}

/// A person who is signed in, for one call.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: Arc<User>,
    /// In which session.
    pub session: Arc<Session>,
    /// Where they are members.
    pub members: Arc<[Member]>,
    /// From where they call.
    pub whence: Whence,
}

impl SignedIn {
    /// Who does what this call does, for the audit log.
    pub fn by(&self) -> By {
        self.whence.by(self.user.id)
    }

    /// Insists that they run the platform.
    ///
    /// # Errors
    /// [`Refusal::OperatorOnly`].
    pub fn require_operator(&self) -> Result<(), Refusal> {
        self.user.operator_since.map(|_| ()).ok_or(Refusal::OperatorOnly)
    }
}

impl App {
    /// Whose access token this is. The end of a session is seen at once, on other nodes within a second.
    ///
    /// # Errors
    /// [`Refusal::NoToken`], [`Refusal::Token`], [`Refusal::Store`].
    pub async fn authenticate_person(&self, token: Option<&str>, whence: Whence) -> Result<SignedIn, Refusal> {
        let token = token.ok_or(Refusal::NoToken)?;
        let foreign = || Refusal::Token(TokenRefusal::Foreign);
        let kid = self.ports.tokens.kid(token).ok_or_else(foreign)?;
        let key = self.signing_key(&kid).await?.ok_or_else(foreign)?;
        let claims = self.ports.tokens.read(token, &key.public).ok_or_else(foreign)?;
        let (user, session) = claims.check(&self.ports.people.issuer, self.now()).map_err(|refusal| match refusal {
            ClaimsRefusal::Expired => Refusal::Token(TokenRefusal::Expired),
            ClaimsRefusal::Foreign => foreign(),
        })?;
        self.in_session(user, session, whence).await
    }

    /// The person of a session that is open: whose access token it is, or was when a call began that goes on.
    ///
    /// # Errors
    /// [`Refusal::Token`], [`Refusal::Store`].
    pub async fn in_session(&self, user: UserId, session: SessionId, whence: Whence) -> Result<SignedIn, Refusal> {
        let now = self.now();
        let over = || Refusal::Token(TokenRefusal::SessionOver);
        let signed = match self.signed.find(&session, now) {
            Some(signed) => signed,
            None => {
                let forgotten = self.signed.forgotten();
                // The person first: a session that is kept when all others end is never older than they are.
                let owner = self.find::<User>(Owner::Platform, user.to_bytes()).await?.ok_or_else(over)?.entity;
                let found = self.find::<Session>(Owner::Platform, session.to_bytes()).await?;
                let found = found.filter(|found| found.is_of(&owner)).ok_or_else(over)?.entity;
                // One that cannot be read lets nobody in there, and keeps nobody out elsewhere.
                let members = self.list_readable::<Member>(&EntityList::by(BY_USER, user.to_bytes())).await?;
                let members = members.things.into_iter().map(|stored| stored.entity).collect();
                let signed = Signed { user: Arc::new(owner), session: Arc::new(found), members };
                self.signed.keep_unless_forgotten(forgotten, session, signed.clone(), now);
                signed
            }
        };
        if signed.user.id != user || !signed.session.is_open(now) {
            return Err(over());
        }
        let Signed { user, session, members } = signed;
        Ok(SignedIn { user, session, members, whence })
    }

    /// A person as a caller for a tenant: the one they name, or their only one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a tenant that they are not in, [`Refusal::Invalid`] when they are in more than
    /// one and name none, [`Refusal::Suspended`], [`Refusal::TenantDeleted`], [`Refusal::Store`].
    pub async fn authenticate_member(
        &self,
        person: &SignedIn,
        named: Option<&str>,
        mode: Mode,
    ) -> Result<ApiCaller, Refusal> {
        let caller = self.member_of(person, named, mode).await?;
        served(&caller.tenant)?;
        Ok(caller)
    }

    /// As [`authenticate_member`](Self::authenticate_member), for a call that takes this permission.
    ///
    /// # Errors
    /// As there. Whoever runs the platform reads what is suspended, and its owners may delete it.
    pub async fn authenticate_member_who_may(
        &self,
        person: &SignedIn,
        named: Option<&str>,
        mode: Mode,
        permission: Permission,
    ) -> Result<ApiCaller, Refusal> {
        let caller = self.member_of(person, named, mode).await?;
        let acting = matches!(&caller.holder, Holder::Member(member) if member.acting.is_some());
        match served(&caller.tenant) {
            Err(Refusal::Suspended(_)) if acting && !permission.changes() => {}
            Err(Refusal::Suspended(_)) if caller.may(permission) => served_for(&caller.tenant, permission)?,
            served => served?,
        }
        Ok(caller)
    }

    /// The first tenant that a person joined of those that are served, for whoever cannot name one: else of those
    /// that are suspended, else of those that were deleted. None where they have none.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn first_tenant(&self, person: &SignedIn) -> Result<Option<TenantId>, Refusal> {
        let mut joined: Vec<_> = person.members.iter().map(|member| (member.joined_at, member.tenant)).collect();
        joined.sort_unstable();
        let (mut suspended, mut deleted) = (None, None);
        for (_, id) in joined {
            match self.tenant_of(id).await?.map(|tenant| tenant.standing.clone()) {
                Some(Standing::Active) => return Ok(Some(id)),
                Some(Standing::Suspended(_)) => suspended = suspended.or(Some(id)),
                Some(Standing::Deleted { .. }) | None => deleted = deleted.or(Some(id)),
            }
        }
        Ok(suspended.or(deleted))
    }

    /// A person as a caller for a tenant, whether or not it is served.
    async fn member_of(&self, person: &SignedIn, named: Option<&str>, mode: Mode) -> Result<ApiCaller, Refusal> {
        let named = named
            .map(str::parse::<TenantId>)
            .transpose()
            .map_err(|error| Refusal::field("WOTP-Tenant", error.to_string()))?;
        let member = match (named, &*person.members) {
            (Some(named), members) => members.iter().find(|member| member.tenant == named),
            (None, [] | [_]) => person.members.first(),
            (None, _) => {
                let message =
                    "you are in more than one tenant; name one in the header, as in `ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M`";
                return Err(Refusal::field("WOTP-Tenant", message));
            }
        };
        let (id, role, acting) = match (member, named) {
            (Some(member), _) => (member.tenant, member.role, None),
            // An operator who acts as the tenant: for some minutes, and with the tenant told.
            (None, Some(named)) if person.user.operator_since.is_some() => {
                let access = self.find_access(person.user.id, named).await?.ok_or(Refusal::NotFound("tenant"))?;
                (named, access.role, Some(access.id))
            }
            (None, _) => return Err(Refusal::NotFound("tenant")),
        };
        let tenant = self.tenant_of(id).await?.ok_or(Refusal::NotFound("tenant"))?;
        let membership = Membership { user: person.user.id, role, session: person.session.id, mode, acting };
        let Whence { ip, request, .. } = person.whence.clone();
        Ok(ApiCaller { tenant, holder: Holder::Member(membership), ip, request })
    }

    /// A tenant, as it was within the last second.
    pub(in super::super) async fn tenant_of(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, Refusal> {
        let now = self.now();
        if let Some(tenant) = self.tenants.find(&id, now) {
            return Ok(Some(tenant));
        }
        let forgotten = self.tenants.forgotten();
        let found = self.ports.store.tenant(id).find_tenant().await?.map(Arc::new);
        if let Some(tenant) = &found {
            self.tenants.keep_unless_forgotten(forgotten, id, Arc::clone(tenant), now);
        }
        Ok(found)
    }
}
