use super::{ApiCaller, App, Refusal};
use crate::domain::address::Address;
use crate::domain::code::Code;
use crate::domain::id::VerificationId;
use crate::domain::verification::{Status, Verification};
use crate::ports::{Filter, ReplaceError};

/// How many of an address's newest verifications are looked at for the one to check.
const CANDIDATES: usize = 10;

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
    /// [`Refusal::NotFound`], [`Refusal::Store`].
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
            let before = (verification.status, verification.checks_used, verification.counted.refunded);
            let valid = verification.check(|hash| self.ports.vault.code_matches(&owner, &guess, hash), self.now());
            let refund = verification.counted.refunded && !before.2;
            if before.0 != Status::Pending {
                return Ok(Checked { valid: false, verification });
            }
            match self.store_of(caller).replace(&mut verification, refund).await {
                Ok(()) => return Ok(Checked { valid, verification }),
                Err(ReplaceError::Conflict) => {}
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Checks a code against the verifications of an address: the newest that is open decides.
    ///
    /// An older code that is still open is right too, so that a second request for a code does not
    /// make the first one useless while it is on its way.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::NotFound`], [`Refusal::Store`].
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
        let found = self.store_of(caller).verifications(&filter, None, CANDIDATES).await?.items;
        let guess = Code::typed(code);
        let open = || found.iter().filter(|verification| verification.is_open(now));
        let right = open().find(|verification| {
            let hash = verification.code.as_ref().map(|code| &code.hash);
            hash.is_some_and(|hash| self.ports.vault.code_matches(&verification.id.to_bytes(), &guess, hash))
        });
        let chosen = right.or_else(|| open().next()).or(found.first()).ok_or(Refusal::NotFound("verification"))?;
        self.check_verification(caller, chosen.id, code).await
    }
}
