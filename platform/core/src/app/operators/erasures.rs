use crate::app::{App, Refusal};
use crate::domain::erasure::Erasure;
use crate::ports::{EntityList, Owner};

impl App {
    /// Erasures, those that wait and those that are done, of the newest tenants first; after the tenant with this
    /// id, where that is given.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn erasures(&self, after: Option<[u8; 16]>, limit: usize) -> Result<Vec<Erasure>, Refusal> {
        let list = EntityList { before: after, newest_first: true, limit, ..EntityList::of(Owner::Platform) };
        Ok(self.list::<Erasure>(&list).await?.into_iter().map(|stored| stored.entity).collect())
    }
}
