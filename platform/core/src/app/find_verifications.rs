use super::{ApiCaller, App, Refusal};
use crate::domain::address::Address;
use crate::domain::id::VerificationId;
use crate::domain::vault::{AddressIndex, Purpose};
use crate::domain::verification::{StoredAddress, Verification};
use crate::ports::{Filter, Page};

impl App {
    /// One verification that the caller's key may see: of its tenant, mode and service.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_verification(&self, caller: &ApiCaller, id: VerificationId) -> Result<Verification, Refusal> {
        let found = self.store_of(caller).find_verification(id).await?;
        let visible = |verification: &Verification| {
            verification.mode == caller.mode() && caller.service().is_none_or(|bound| verification.service == bound)
        };
        found.filter(visible).ok_or(Refusal::NotFound("verification"))
    }

    /// A page of verifications that the caller's key may see, newest first.
    ///
    /// # Errors
    /// [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn list_verifications(
        &self,
        caller: &ApiCaller,
        filter: Filter,
        after: Option<VerificationId>,
        limit: usize,
    ) -> Result<Page<Verification>, Refusal> {
        let filter = self.visible(caller, filter)?;
        Ok(self.store_of(caller).verifications(&filter, after, limit).await?)
    }

    /// Narrows a filter to what the caller's key may see.
    pub(super) fn visible(&self, caller: &ApiCaller, mut filter: Filter) -> Result<Filter, Refusal> {
        filter.mode = Some(caller.mode());
        if let Some(bound) = caller.service() {
            if filter.service.is_some_and(|named| named != bound) {
                return Err(Refusal::OtherService);
            }
            filter.service = Some(bound);
        }
        Ok(filter)
    }

    /// The index of an address, for a filter.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn address_index(&self, caller: &ApiCaller, address: &str) -> Result<AddressIndex, Refusal> {
        let address = Address::parse(address).map_err(|error| Refusal::field("address", error.to_string()))?;
        Ok(self.ports.vault.index(caller.tenant.id, &address))
    }

    /// The whole address of a verification; none once it is erased.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn address_of(&self, verification: &Verification) -> Result<Option<Address>, Refusal> {
        self.open_address(&verification.id.to_bytes(), verification.address.as_ref())
    }

    /// The whole address of anything that has one. `owner` is its id.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn open_address(&self, owner: &[u8; 16], stored: Option<&StoredAddress>) -> Result<Option<Address>, Refusal> {
        let Some(stored) = stored else { return Ok(None) };
        let text = self.ports.vault.open(Purpose::Address, owner, &stored.sealed)?;
        Ok(Some(Address::admitted(text, stored.kind, stored.region.as_deref())))
    }
}
