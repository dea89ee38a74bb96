use sha2::{Digest as _, Sha256};

use crate::app::{App, IdempotencyKey, Refusal, SendMessage, Whence};
use crate::domain::id::UserId;
use crate::domain::member::Member;
use crate::domain::permission::Role;
use crate::domain::template;
use crate::domain::tenant::Tenant;
use crate::domain::user::User;
use crate::domain::webhook::delivery::WebhookDelivery;
use crate::domain::webhook::endpoint::Failing;
use crate::domain::webhook::notice::{EndpointNotice, NoticeReason};
use crate::ports::{Change, Entity as _, EntityList, Owner, StoreError, Stored};

/// Notices that are looked at in one round.
const BATCH: usize = 16;

impl App {
    /// Writes to the owners and admins of tenants whose endpoints the platform disabled, or that do not keep up;
    /// says of how many endpoints it told them.
    ///
    /// Several nodes may do it at once, and any of them may stop at any moment: a mail is a message with an
    /// idempotency key of its notice and its reader, so each goes out once.
    pub(in crate::app) async fn send_notices(&self) -> Result<usize, Refusal> {
        let mut told = 0;
        for notice in self.due::<EndpointNotice>(BATCH).await? {
            let (endpoint, owner, id) = (notice.endpoint, notice.owner(), notice.id());
            let outcome = match notice.told_at {
                Some(_) => self.is_made(vec![Change::delete(&notice)]).await.map(|_| false),
                None => self.send_notice(notice).await,
            };
            match outcome {
                Ok(one) => told += usize::from(one),
                // One that cannot be sent must not keep all others waiting behind it.
                Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                    self.set_aside(EndpointNotice::KIND, owner, id, &error).await;
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%endpoint, error, "nobody was told yet what became of a webhook endpoint");
                }
            }
        }
        Ok(told)
    }

    /// What is written beside a delivery that is given up because its endpoint does not keep up; none where that
    /// was told within the last week.
    pub(super) async fn notice_of(&self, expired: &WebhookDelivery) -> Result<Option<Change>, Refusal> {
        let (tenant, endpoint) = (expired.tenant, expired.endpoint);
        let told = self.find::<EndpointNotice>(Owner::Tenant(tenant), EndpointNotice::behind(endpoint)).await?;
        let notice = || EndpointNotice::new(tenant, endpoint, expired.event, NoticeReason::Behind, self.now());
        Ok(told.is_none().then(|| Change::insert(&notice())))
    }

    /// Writes to whom it is for; says whether nothing is left to do of it. Whoever cannot be written to for a moment
    /// is tried again for most of a day: the platform's own quota is used up, a channel is full, a key is missing.
    async fn send_notice(&self, mut notice: Stored<EndpointNotice>) -> Result<bool, Refusal> {
        if !notice.is_over(self.now()) && !self.send_notice_to_all(&notice).await? {
            notice.try_again(self.now());
            // Where it is not made, another node did the same.
            self.is_made(vec![Change::replace(&notice)]).await?;
            return Ok(false);
        }
        let done = match notice.reason {
            NoticeReason::Behind => {
                notice.told_at = Some(self.now());
                Change::replace(&notice)
            }
            NoticeReason::Gone | NoticeReason::Failing => Change::delete(&notice),
        };
        // Where it is not, another node did the same.
        self.is_made(vec![done]).await?;
        Ok(true)
    }

    /// Writes to owners and admins, and says whether all were or are not to be written to.
    async fn send_notice_to_all(&self, notice: &EndpointNotice) -> Result<bool, Refusal> {
        let owner = Owner::Tenant(notice.tenant);
        let Some(tenant) = self.ports.store.tenant(notice.tenant).find_tenant().await? else { return Ok(true) };
        let failing = self.find::<Failing>(owner, notice.endpoint.to_bytes()).await?.is_some();
        let content = text(&tenant, notice, failing);
        let mut all = true;
        for member in self.list_readable::<Member>(&EntityList::of(owner)).await?.things {
            if member.role >= Role::Admin {
                all &= self.send_notice_to(member.user, notice, &content).await?;
            }
        }
        Ok(all)
    }

    /// Writes to one person, and says whether they were or are not to be written to. What cannot be sent to them is in
    /// the log, and keeps nobody else from being told.
    async fn send_notice_to(&self, user: UserId, notice: &EndpointNotice, content: &str) -> Result<bool, Refusal> {
        let sent = async {
            let Some(person) = self.find::<User>(Owner::Platform, user.to_bytes()).await? else { return Ok(()) };
            let key = format!("webhook_notice {} {user}", notice.event);
            let fingerprint = Sha256::digest(&key).into();
            let message = SendMessage {
                to: person.address(&self.ports.vault)?,
                content: content.to_owned(),
                idempotency: Some(IdempotencyKey { key, fingerprint }),
                ..SendMessage::default()
            };
            self.send_message(&self.house(&Whence::default()).await?, message).await.map(|_| ())
        };
        match sent.await {
            Ok(()) => Ok(true),
            // The store is away: the next round tries again.
            Err(Refusal::Store(error)) if !matches!(error, StoreError::Damaged(_)) => Err(error.into()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%user, endpoint = %notice.endpoint, error, "a person could not be told of an endpoint");
                Ok(false)
            }
        }
    }
}

/// What they read. The tenant's name is somebody's words: what could be a link is left out, and the URL too.
fn text(tenant: &Tenant, notice: &EndpointNotice, failing: bool) -> String {
    let name = if template::holds_link(&tenant.name) { "your team" } else { &tenant.name };
    let why = match notice.reason {
        NoticeReason::Gone => "it answered that it is gone (410)",
        NoticeReason::Failing => "it has taken nothing for five days",
        // It is not that it is too slow: it answers nothing, and will be disabled for that.
        NoticeReason::Behind if failing => {
            return format!(
                "A webhook endpoint of {name} takes nothing: events that waited for it for four days are not delivered \
                 any more.\n\n\
                 Endpoint: {endpoint}\n\n\
                 Once it has taken nothing for five days it is disabled. Let your server take webhooks again, and have \
                 it sent what it missed: events are kept for 30 days.",
                endpoint = notice.endpoint,
            );
        }
        NoticeReason::Behind => {
            return format!(
                "A webhook endpoint of {name} takes less than what happens: events that waited for it for four days \
                 are not delivered any more.\n\n\
                 Endpoint: {endpoint}\n\n\
                 It is still told of what happens. Let your server answer sooner, or the endpoint be told of fewer \
                 events, and have it sent what it missed: events are kept for 30 days.",
                endpoint = notice.endpoint,
            );
        }
    };
    format!(
        "WOTP disabled a webhook endpoint of {name}, because {why}.\n\n\
         Endpoint: {endpoint}\n\n\
         It is told of nothing any more. Once your server takes webhooks again, enable the endpoint, and have it \
         sent what it missed: events are kept for 30 days.",
        endpoint = notice.endpoint,
    )
}
