use jiff::SignedDuration;

use super::guard::Happened;
use super::{ApiCaller, App, Refusal};
use crate::domain::address::Address;
use crate::domain::code::Code;
use crate::domain::id::VerificationId;
use crate::domain::magic_link::Method;
use crate::domain::service::EXPIRY_MAX_SECONDS;
use crate::domain::verification::{Status, Verification};
use crate::ports::{Filter, ReplaceError};

/// Most open verifications of an address that a code is compared with: a service allows at most 20
/// sends in 10 minutes.
const OPEN_MAX: usize = 20;
/// Newest verifications of an address among which those with a code are looked for.
const LOOKED_AT_MAX: usize = 500;

/// What came of a check.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Whether the code was right, in time, and not used before.
    pub valid: bool,
    /// The verification afterwards.
    pub verification: Verification,
}

impl App {
    /// Checks a code against a verification. Of any number of checks at most one is ever valid.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::HasLink`], [`Refusal::IsInbound`], [`Refusal::Store`].
    pub async fn check_verification(
        &self,
        caller: &ApiCaller,
        id: VerificationId,
        code: &str,
    ) -> Result<Checked, Refusal> {
        let guess = Code::typed(code);
        let owner = id.to_bytes();
        // Each round that is lost is a guess that somebody else made, and those are bounded.
        loop {
            let mut verification = self.find_verification(caller, id).await?;
            match verification.method() {
                Method::Code => {}
                Method::Link => return Err(Refusal::HasLink),
                Method::Inbound => return Err(Refusal::IsInbound),
            }
            let before = (verification.status, verification.checks_used, verification.counted.refunded);
            let valid = verification.check(|hash| self.ports.vault.code_matches(&owner, &guess, hash), self.now());
            let refund = verification.counted.refunded && !before.2;
            if before.0 != Status::Pending {
                return Ok(Checked { valid: false, verification });
            }
            let replaced = self.store_of(caller).replace(&mut verification, refund).await;
            self.changes.tell(id);
            match replaced {
                Ok(()) => {
                    if valid {
                        self.note_for_watch(&verification, Happened::Approved).await;
                    } else if refund {
                        self.note_for_watch(&verification, Happened::Undeliverable).await;
                    }
                    return Ok(Checked { valid, verification });
                }
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Checks a code against the verifications of an address that are open.
    ///
    /// A wrong code is counted on each of them, or several open ones would multiply the guesses. An
    /// older code that is still open is right too, so that a second request for a code does not
    /// make the first one useless while it is on its way. Those that a link or a message approves have no code, and are
    /// none of them.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::NotFound`], [`Refusal::HasLink`] or [`Refusal::IsInbound`] where the address was
    /// sent no code, [`Refusal::Store`].
    pub async fn check_address(
        &self,
        caller: &ApiCaller,
        to: &str,
        code: &str,
        service: Option<&str>,
    ) -> Result<Checked, Refusal> {
        let address = Address::parse(to).map_err(|error| Refusal::field("to", error.to_string()))?;
        let service = self.service_for(caller, service).await?;
        let filter = Filter {
            mode: Some(caller.mode()),
            service: Some(service.id),
            address: Some(self.ports.vault.index(caller.tenant.id, &address)),
            ..Filter::default()
        };
        let now = self.now();
        let store = self.store_of(caller);
        // What is open was started within the longest life of a code; an address may have had any
        // number before.
        let created_from = now.saturating_sub(SignedDuration::from_secs(EXPIRY_MAX_SECONDS.into())).ok();
        let pending = Filter { status: Some(Status::Pending), created_from, ..filter.clone() };
        // Those that a message approves have no limit by address, and are not to hide those with a code.
        let mut open = store.verifications_to_check(&pending, LOOKED_AT_MAX).await?;
        open.retain(|verification| verification.is_open(now) && verification.method().is_code());
        open.truncate(OPEN_MAX);
        let guess = Code::typed(code);
        let is_right = |verification: &Verification| {
            let hash = verification.code.as_ref().map(|code| &code.hash);
            hash.is_some_and(|hash| self.ports.vault.code_matches(&verification.id.to_bytes(), &guess, hash))
        };
        if let Some(right) = open.iter().find(|verification| is_right(verification)) {
            return self.check_verification(caller, right.id, code).await;
        }
        // It was compared with all of them, so it is a guess at each; the newest one answers.
        for older in open.iter().skip(1) {
            self.check_verification(caller, older.id, code).await?;
        }
        let newest = match open.first() {
            Some(newest) => Some(newest.id),
            None => {
                let latest = store.verifications_to_check(&filter, LOOKED_AT_MAX).await?;
                let with_code = latest.iter().find(|verification| verification.method().is_code());
                with_code.or(latest.first()).map(|verification| verification.id)
            }
        };
        self.check_verification(caller, newest.ok_or(Refusal::NotFound("verification"))?, code).await
    }
}
