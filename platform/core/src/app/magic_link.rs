use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::authenticate::served;
use super::guard::Happened;
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::code::Code;
use crate::domain::id::{TenantId, VerificationId};
use crate::domain::locale::Locale;
use crate::domain::magic_link::{BrowserBinding, MagicLink};
use crate::domain::mode::Mode;
use crate::domain::vault::{CodeHash, Purpose, VaultError};
use crate::domain::verification::{Status, Verification};
use crate::ports::ReplaceError;

/// Where pages of links are, after the installation's public URL.
pub const LINK_PATH: &str = "/l/";
/// Where browsers are bound, after the installation's public URL.
pub const BIND_PATH: &str = "/l/browser/";

/// What a link comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It waits for the button.
    Open,
    /// It was approved just now.
    Approved {
        /// Where the person may go on.
        redirect_url: Option<String>,
    },
    /// It was approved before.
    Used,
    /// It was not approved in time.
    Expired,
    /// It was called off.
    Canceled,
    /// It is bound to another browser.
    OtherBrowser,
    /// It is none of ours, or nothing is left of it, or its tenant is not served.
    Unknown,
}

/// What the page of a link shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPage {
    /// What it comes to.
    pub state: LinkState,
    /// For whom, in which language, to which address; none where that is nobody's to know.
    pub about: Option<LinkAbout>,
}

/// What a link is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAbout {
    /// Who asked for it.
    pub brand: String,
    /// The language of the message.
    pub locale: Locale,
    /// The address, masked; none once it is erased.
    pub to: Option<String>,
}

/// A browser that is sent through, to be the one that a link is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundBrowser {
    /// Where it goes on.
    pub return_url: String,
    /// What it is to keep.
    pub mark: String,
    /// For how long.
    pub life: SignedDuration,
}

impl LinkPage {
    fn unknown() -> Self {
        Self { state: LinkState::Unknown, about: None }
    }

    fn of(verification: Verification, state: LinkState) -> Self {
        let about = LinkAbout {
            brand: verification.policy.brand.clone(),
            locale: verification.policy.locale,
            to: verification.address.map(|address| address.masked),
        };
        Self { state, about: Some(about) }
    }
}

impl App {
    /// Reads the link of a path; nothing where it is none that this installation gave out.
    pub fn read_link(&self, text: &str) -> Option<MagicLink> {
        MagicLink::parse(text, &self.ports.vault)
    }

    /// Reads the pass of a path; nothing where it is none that this installation gave out.
    pub fn read_pass(&self, text: &str) -> Option<BrowserBinding> {
        BrowserBinding::parse(text, &self.ports.vault)
    }

    /// What a link comes to, for whoever opens it. Changes nothing: chat apps, mail scanners and browsers open links
    /// before anybody has seen them.
    ///
    /// `mark` is what the browser was given when it was bound to the link.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn open_link(&self, link: &MagicLink, mark: Option<&str>) -> Result<LinkPage, Refusal> {
        let Some(verification) = self.verification_of_link(link.tenant(), link.verification()).await? else {
            return Ok(LinkPage::unknown());
        };
        let state = self.state_of(&verification, link, mark, self.now());
        Ok(LinkPage::of(verification, state))
    }

    /// Approves by a link. Of any number of calls at most one is ever told [`LinkState::Approved`].
    ///
    /// # Errors
    /// [`Refusal::Maintenance`], [`Refusal::Store`].
    pub async fn approve_by_link(&self, link: &MagicLink, mark: Option<&str>) -> Result<LinkPage, Refusal> {
        self.may_change().await?;
        // Each round that is lost is somebody else's change: of a delivery, a resend, an end. Those are bounded.
        loop {
            let Some(mut verification) = self.verification_of_link(link.tenant(), link.verification()).await? else {
                return Ok(LinkPage::unknown());
            };
            let now = self.now();
            let state = self.state_of(&verification, link, mark, now);
            let overdue = verification.status == Status::Pending && !verification.is_open(now);
            if state != LinkState::Open && !overdue {
                return Ok(LinkPage::of(verification, state));
            }
            let refunded = verification.counted.refunded;
            let approved = verification.approve_by_link(|hash| self.is_secret_of(link, hash), now);
            let refund = verification.counted.refunded && !refunded;
            let replaced = self.ports.store.tenant(verification.tenant).replace(&mut verification, refund).await;
            self.changes.tell(verification.id);
            match replaced {
                Ok(()) => {
                    if approved {
                        self.note_for_watch(&verification, Happened::Approved).await;
                        let redirect_url = verification.link.as_ref().and_then(|link| link.redirect_url.clone());
                        return Ok(LinkPage::of(verification, LinkState::Approved { redirect_url }));
                    }
                    if refund {
                        self.note_for_watch(&verification, Happened::Undeliverable).await;
                    }
                    return Ok(LinkPage::of(verification, state));
                }
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Where a browser goes on that came with a pass, and what makes it the one that the link is bound to; nothing once the
    /// verification has ended: nobody is led anywhere for nothing.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn bind_browser(&self, binding: &BrowserBinding) -> Result<Option<BoundBrowser>, Refusal> {
        let verification = self.verification_of_link(binding.tenant(), binding.verification()).await?;
        let Some(verification) = verification else { return Ok(None) };
        let Some(return_url) = verification.link.as_ref().and_then(|link| link.return_url.clone()) else {
            return Ok(None);
        };
        let now = self.now();
        let life = verification.expires_at.duration_since(now);
        let bound = || BoundBrowser { return_url, mark: binding.mark(&self.ports.vault), life };
        Ok(verification.is_open(now).then(bound))
    }

    /// The URL that a verification's message carries, while it is of use; none where a code is typed in.
    ///
    /// # Errors
    /// [`Refusal::Vault`], [`Refusal::NoPublicUrl`].
    pub(super) fn link_of(&self, verification: &Verification) -> Result<Option<Zeroizing<String>>, Refusal> {
        let Some(stored) = verification.code.as_ref().filter(|_| verification.link.is_some()) else { return Ok(None) };
        let origin = self.public_url()?;
        let secret = self.ports.vault.open(Purpose::Link, &verification.id.to_bytes(), &stored.sealed)?;
        let link = MagicLink::with_secret(verification.tenant, verification.id, &Code::unsealed(secret));
        let link = link.ok_or(VaultError::Damaged)?.reveal(&self.ports.vault);
        Ok(Some(Zeroizing::new(format!("{origin}{LINK_PATH}{}", *link))))
    }

    /// The URL that a verification's message carries, for a test key, while it is of use.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn test_link(&self, verification: &Verification) -> Result<Option<Zeroizing<String>>, Refusal> {
        if verification.mode != Mode::Test {
            return Ok(None);
        }
        match self.link_of(verification) {
            // Whoever reads what was started before the setting went is not to be refused.
            Err(Refusal::NoPublicUrl) => Ok(None),
            link => link,
        }
    }

    /// The URL through which the browser is to be sent that a verification's link is bound to, while it is of use.
    ///
    /// # Errors
    /// [`Refusal::NoPublicUrl`].
    pub fn bind_url(&self, verification: &Verification) -> Result<Option<String>, Refusal> {
        let bound = verification.link.as_ref().is_some_and(|link| link.is_bound());
        if !bound || verification.status != Status::Pending {
            return Ok(None);
        }
        let pass = BrowserBinding::of(verification.tenant, verification.id).pass(&self.ports.vault);
        Ok(Some(format!("{}{BIND_PATH}{pass}", self.public_url()?)))
    }

    /// Where people reach the installation, without a slash at the end.
    ///
    /// # Errors
    /// [`Refusal::NoPublicUrl`].
    pub(super) fn public_url(&self) -> Result<&str, Refusal> {
        self.ports.public_url.as_deref().map(|url| url.trim_end_matches('/')).ok_or(Refusal::NoPublicUrl)
    }

    /// The verification that a link or a pass names, if its tenant is served.
    async fn verification_of_link(
        &self,
        tenant: TenantId,
        verification: VerificationId,
    ) -> Result<Option<Verification>, Refusal> {
        let Some(found) = self.tenant_of(tenant).await? else { return Ok(None) };
        if served(&found).is_err() {
            return Ok(None);
        }
        let verification = self.ports.store.tenant(tenant).find_verification(verification).await?;
        Ok(verification.filter(|verification| verification.link.is_some()))
    }

    fn is_secret_of(&self, link: &MagicLink, hash: &CodeHash) -> bool {
        self.ports.vault.code_matches(&link.verification().to_bytes(), &link.secret(), hash)
    }

    /// What a link comes to at `now`, by the record alone.
    fn state_of(&self, verification: &Verification, link: &MagicLink, mark: Option<&str>, now: Timestamp) -> LinkState {
        match verification.status {
            Status::Approved => LinkState::Used,
            Status::Canceled => LinkState::Canceled,
            Status::Expired => LinkState::Expired,
            // What the guard stopped, and what no channel took: whoever has the link has it from elsewhere.
            Status::Failed => LinkState::Unknown,
            Status::Pending if !verification.is_open(now) => LinkState::Expired,
            Status::Pending => {
                if !verification.code.as_ref().is_some_and(|code| self.is_secret_of(link, &code.hash)) {
                    return LinkState::Unknown;
                }
                let binding = BrowserBinding::of(verification.tenant, verification.id);
                let bound = verification.link.as_ref().is_some_and(|terms| terms.is_bound());
                let is_here = mark.is_some_and(|mark| binding.is_mark(mark, &self.ports.vault));
                if bound && !is_here { LinkState::OtherBrowser } else { LinkState::Open }
            }
        }
    }
}
