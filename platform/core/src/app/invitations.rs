use serde_json::json;

use super::authenticate::served;
use super::team::{Team, may_handle, membership};
use super::{ApiCaller, App, OwnTenant, Refusal, SignedIn, Whence};
use crate::domain::Timestamp;
use crate::domain::address::AddressKind;
use crate::domain::audit::Deed;
use crate::domain::id::{InvitationId, TenantId, UserId};
use crate::domain::invitation::{
    BY_ADDRESS, BY_TOKEN, Invitation, InvitationTally, InvitationToken, InvitedTally, LIFE, address_key,
};
use crate::domain::letter::Letter;
use crate::domain::member::{self, Member};
use crate::domain::permission::{Permission, Role};
use crate::domain::routing;
use crate::domain::template;
use crate::domain::tenant::Tenant;
use crate::domain::user::{AccountEmail, User};
use crate::domain::vault::AddressIndex;
use crate::ports::{Change, EntityList, Owner, Stored};

/// An invitation, as the team sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentInvitation {
    /// It.
    pub invitation: Invitation,
    /// The address: whole for whoever may change members, else masked.
    pub email: String,
}

/// What an invitation says to whoever holds its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationPreview {
    /// To which tenant.
    pub tenant: TenantId,
    /// What the tenant is called.
    pub tenant_name: String,
    /// As what.
    pub role: Role,
    /// Whose account may accept it, masked.
    pub email_masked: String,
    /// From when on it cannot be accepted.
    pub expires_at: Timestamp,
}

impl App {
    /// Invites somebody by email. The token goes to the address and is shown to nobody else.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Role`], [`Refusal::AlreadyMember`], [`Refusal::Taken`] when the
    /// address is invited already, [`Refusal::LimitReached`], [`Refusal::InvitationsUsed`],
    /// [`Refusal::Routing`] when no channel reaches email, [`Refusal::Store`].
    pub async fn invite_member(&self, caller: &ApiCaller, email: &str, role: Role) -> Result<SentInvitation, Refusal> {
        let email = AccountEmail::parse(email).map_err(|error| Refusal::field("email", error.to_string()))?;
        self.reaches_email()?;
        let to = &email;
        let (invitation, letter) = self.in_turn(move || self.try_invite_member(caller, to, role)).await?;
        self.post([letter], &whence_of(caller)).await;
        Ok(SentInvitation { invitation, email: email.as_str().to_owned() })
    }

    async fn try_invite_member(
        &self,
        caller: &ApiCaller,
        email: &AccountEmail,
        role: Role,
    ) -> Result<(Invitation, Letter), Refusal> {
        let (now, vault) = (self.now(), &self.ports.vault);
        let team = self.team(caller.tenant.id).await?;
        let tenant = team.tenant.id;
        let who = membership(caller)?;
        may_handle(team.role(who, Permission::MembersWrite)?, role)?;
        team.has_room()?;
        let email_key = email.key(vault);
        if let Some(user) = self.find_by::<User>("email", email_key.as_bytes()).await?
            && team.find(user.id).is_some()
        {
            return Err(Refusal::AlreadyMember);
        }
        let mut changes = Vec::new();
        match self.find_by::<Invitation>(BY_ADDRESS, address_key(tenant, &email_key)).await? {
            Some(open) if open.is_open(now) => {
                return Err(Refusal::Taken { kind: "invitation", index: "address" });
            }
            // The sweep has not come by yet.
            Some(over) => changes.push(Change::delete(&over)),
            None => {}
        }
        let (invitation, token) = Invitation::new(tenant, email, role, who.user, now, vault, &*self.ports.entropy);
        let letter = self.invitation_letter(email, &team.tenant, &invitation, &token);
        changes.extend([Change::insert(&invitation), Change::insert(&letter)]);
        changes.extend(self.counted_send(tenant, who.user, &email_key, now).await?);
        let deed = Deed::of(tenant, "invitation.create", invitation.id).after(shown(&invitation));
        self.commit_to_team(&team, &caller.by(), vec![deed], changes).await?;
        Ok((invitation, letter))
    }

    /// Sends an invitation again, with another token; the one before is worthless then.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Role`], [`Refusal::InvitationCoolDown`], [`Refusal::InvitationsUsed`],
    /// [`Refusal::Routing`], [`Refusal::Store`].
    pub async fn resend_invitation(&self, caller: &ApiCaller, id: InvitationId) -> Result<SentInvitation, Refusal> {
        let resent = self.in_turn(move || async move {
            let now = self.now();
            let (team, mut invitation) = self.invitation_to_handle(caller, id).await?;
            let address = invitation.address(&self.ports.vault)?;
            let to = AccountEmail::parse(&address).map_err(|error| Refusal::field("email", error.to_string()))?;
            self.reaches_email()?;
            let before = shown(&invitation);
            let token = invitation.resend(now, &*self.ports.entropy);
            let token = token.map_err(|next_at| Refusal::InvitationCoolDown { next_at })?;
            let by = membership(caller)?.user;
            let mut changes = self.counted_send(team.tenant.id, by, &invitation.email_key, now).await?.to_vec();
            let letter = self.invitation_letter(&to, &team.tenant, &invitation, &token);
            changes.extend([Change::replace(&invitation), Change::insert(&letter)]);
            let deed = Deed::of(team.tenant.id, "invitation.resend", id).before(before).after(shown(&invitation));
            self.commit_to_team(&team, &caller.by(), vec![deed], changes).await?;
            Ok((letter, invitation.entity, address))
        });
        let (letter, invitation, email) = resent.await?;
        self.post([letter], &whence_of(caller)).await;
        Ok(SentInvitation { invitation, email })
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Role`], [`Refusal::Store`].
    pub async fn revoke_invitation(&self, caller: &ApiCaller, id: InvitationId) -> Result<(), Refusal> {
        self.in_turn(move || async move {
            let (team, invitation) = self.invitation_to_handle(caller, id).await?;
            let deed = Deed::of(team.tenant.id, "invitation.revoke", id).before(shown(&invitation));
            self.commit_to_team(&team, &caller.by(), vec![deed], vec![Change::delete(&invitation)]).await
        })
        .await
    }

    async fn invitation_to_handle(
        &self,
        caller: &ApiCaller,
        id: InvitationId,
    ) -> Result<(Team, Stored<Invitation>), Refusal> {
        let team = self.team(caller.tenant.id).await?;
        let own = team.role(membership(caller)?, Permission::MembersWrite)?;
        let found = self.find::<Invitation>(Owner::Tenant(team.tenant.id), id.to_bytes()).await?;
        let open = found.filter(|invitation| invitation.is_open(self.now()));
        let invitation = open.ok_or(Refusal::NotFound("invitation"))?;
        may_handle(own, invitation.role)?;
        Ok((team, invitation))
    }

    /// Every open invitation of the tenant, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_invitations(&self, caller: &ApiCaller) -> Result<Vec<SentInvitation>, Refusal> {
        let now = self.now();
        let found = self.list_readable::<Invitation>(&EntityList::of(Owner::Tenant(caller.tenant.id))).await?;
        let open = found.things.into_iter().filter(|invitation| invitation.is_open(now));
        let shown = open.map(|Stored { entity: invitation, .. }| {
            let whole = match caller.may(Permission::MembersWrite) {
                true => Self::unsealed(&invitation, invitation.address(&self.ports.vault)),
                false => None,
            };
            let email = whole.unwrap_or_else(|| invitation.email_masked.clone());
            SentInvitation { invitation, email }
        });
        Ok(shown.collect())
    }

    /// What an invitation says, for whoever holds its token.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], whatever it is that is not there; [`Refusal::Store`].
    pub async fn preview_invitation(&self, token: &str) -> Result<InvitationPreview, Refusal> {
        let (invitation, tenant) = self.invitation_with(token).await?;
        Ok(InvitationPreview {
            tenant: tenant.id,
            tenant_name: tenant.name,
            role: invitation.role,
            email_masked: invitation.email_masked.clone(),
            expires_at: invitation.expires_at,
        })
    }

    async fn invitation_with(&self, token: &str) -> Result<(Stored<Invitation>, Tenant), Refusal> {
        let none = || Refusal::NotFound("invitation");
        let token = InvitationToken::parse(token).ok_or_else(none)?;
        let found = self.find_by::<Invitation>(BY_TOKEN, token.hash()).await?;
        let invitation = found.filter(|invitation| invitation.is_open(self.now())).ok_or_else(none)?;
        let tenant = self.ports.store.tenant(invitation.tenant).find_tenant().await?;
        // Whoever is not in the tenant yet need not know what became of it.
        let tenant = tenant.filter(|tenant| served(tenant).is_ok()).ok_or_else(none)?;
        Ok((invitation, tenant))
    }

    /// Makes a person, whose confirmed address was invited, a member.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherEmail`], [`Refusal::AlreadyMember`],
    /// [`Refusal::LimitReached`], [`Refusal::Store`].
    pub async fn accept_invitation(&self, person: &SignedIn, token: &str) -> Result<OwnTenant, Refusal> {
        let (user, by) = (person.user.id, &person.by());
        self.in_turn(move || async move {
            let (invitation, tenant) = self.invitation_with(token).await?;
            let user = self.find::<User>(Owner::Platform, user.to_bytes()).await?;
            let user = user.ok_or(Refusal::NotFound("person"))?;
            if user.email_key != invitation.email_key || user.email_confirmed_at.is_none() {
                return Err(Refusal::OtherEmail);
            }
            let team = self.team(tenant.id).await?;
            if team.find(user.id).is_some() {
                return Err(Refusal::AlreadyMember);
            }
            // Whoever sent it may have left, or be less, since a moment ago.
            if !may_send(team.find(invitation.invited_by).map(|sender| sender.role), invitation.role) {
                return Err(Refusal::NotFound("invitation"));
            }
            team.has_room()?;
            let member = Member { tenant: tenant.id, user: user.id, role: invitation.role, joined_at: self.now() };
            let deed = Deed::of(tenant.id, "invitation.accept", invitation.id);
            let deed = deed.after(json!({ "user": user.id, "role": member.role }));
            // With the person as they are: one who is erased at this moment joins nothing.
            let changes = vec![Change::insert(&member), Change::delete(&invitation), Change::replace(&user)];
            self.commit_to_team(&team, by, vec![deed], changes).await?;
            self.changed_person(user.id).await;
            Ok(OwnTenant { tenant: team.tenant, role: member.role, joined_at: member.joined_at })
        })
        .await
    }

    /// What tells somebody that they are invited, for as long as they are by this token.
    fn invitation_letter(
        &self,
        to: &AccountEmail,
        tenant: &Tenant,
        invitation: &Invitation,
        token: &InvitationToken,
    ) -> Letter {
        let letter = self.letter(to.as_str(), &text(tenant, invitation, token));
        Letter { invitation: Some(token.hash()), ..letter }
    }

    /// Known before anything is changed.
    fn reaches_email(&self) -> Result<(), Refusal> {
        let found = routing::route(&[], &[], &self.channel_infos, AddressKind::Email);
        found.map(|_| ()).map_err(Refusal::Routing)
    }

    /// Counts a send against the tenant's day and the address's.
    async fn counted_send(
        &self,
        tenant: TenantId,
        by: UserId,
        email: &AddressIndex,
        now: Timestamp,
    ) -> Result<[Change; 2], Refusal> {
        let max = self.ports.tenant_rules.invitations_per_day;
        let refused = |next_at| Refusal::InvitationsUsed { max, next_at };
        let vault = &self.ports.vault;
        let sent = match self.find::<InvitationTally>(Owner::Tenant(tenant), tenant.to_bytes()).await? {
            Some(mut tally) => {
                tally.take(max, now).map_err(refused)?;
                Change::replace(&tally)
            }
            None => {
                let mut tally = InvitationTally::new(tenant, now);
                tally.take(max, now).map_err(refused)?;
                Change::insert(&tally)
            }
        };
        let often = |next_at| Refusal::InvitedOften { next_at };
        let went = match self.find::<InvitedTally>(Owner::Platform, InvitedTally::id_of(email, vault)).await? {
            Some(mut tally) => {
                tally.take(by, now).map_err(often)?;
                Change::replace(&tally)
            }
            None => {
                let mut tally = InvitedTally::new(email, vault, now);
                tally.take(by, now).map_err(often)?;
                Change::insert(&tally)
            }
        };
        Ok([sent, went])
    }

    /// The end of each open invitation that a member sent and, with what they are from now on, could not send
    /// any more; none means that they leave. With its lines for the audit log.
    pub(super) async fn unsendable(
        &self,
        team: &Team,
        by: UserId,
        role: Option<Role>,
    ) -> Result<(Vec<Deed>, Vec<Change>), Refusal> {
        let tenant = team.tenant.id;
        // One that cannot be read here is left: whoever reads it looks again at what its sender may.
        let open = self.list_readable::<Invitation>(&EntityList::of(Owner::Tenant(tenant))).await?.things;
        let over = open.iter().filter(|invitation| invitation.invited_by == by && !may_send(role, invitation.role));
        let deed = |invitation: &&Stored<Invitation>| {
            Deed::of(tenant, "invitation.revoke", invitation.id).before(shown(invitation))
        };
        Ok((over.clone().map(|invitation| deed(&invitation)).collect(), over.map(Change::delete).collect()))
    }

    /// Every tenant that a person is in, and what they are there. A membership that cannot be read lets nobody in, and
    /// is not among them.
    pub(super) async fn memberships(&self, user: UserId) -> Result<Vec<Stored<Member>>, Refusal> {
        Ok(self.list_readable::<Member>(&EntityList::by(member::BY_USER, user.to_bytes())).await?.things)
    }
}

/// Whether a member with this role may invite somebody as that.
fn may_send(own: Option<Role>, role: Role) -> bool {
    own.is_some_and(|own| own.may(Permission::MembersWrite) && may_handle(own, role).is_ok())
}

/// Where a caller calls from.
fn whence_of(caller: &ApiCaller) -> Whence {
    Whence { ip: caller.ip, request: caller.request.clone(), agent: None }
}

/// What the log tells of an invitation.
pub(super) fn shown(invitation: &Invitation) -> serde_json::Value {
    json!({ "email": invitation.email_masked, "role": invitation.role, "expires_at": invitation.expires_at })
}

/// What the invited person reads. The tenant's name is somebody's words: what could be a link is left out.
fn text(tenant: &Tenant, invitation: &Invitation, token: &InvitationToken) -> String {
    let name = if template::holds_link(&tenant.name) { "a team" } else { &tenant.name };
    format!(
        "You are invited to join {name} on WOTP, as {role}.\n\n\
         Sign in with this email address where your team uses WOTP, and accept the invitation with this token:\n\n\
         {token}\n\n\
         If you have no account there, sign up with this address first.\n\n\
         It is good for {days} days. If you do not know who invites you, ignore this message.",
        role = invitation.role.name(),
        token = token.reveal(),
        days = LIFE.as_hours() / 24,
    )
}
