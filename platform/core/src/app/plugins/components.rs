use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::component_part::ComponentPart;
use crate::domain::plugin::Plugin;
use crate::ports::{Change, Entity as _, EntityList, Owner, PluginFault, Store, StoreError, Stored};

/// Parts that are written at once: some megabytes.
const PARTS_AT_ONCE: usize = 32;
/// How long a component that no plugin names is kept: somebody may be installing it.
const ORPHANS_KEPT: SignedDuration = SignedDuration::from_hours(1);

impl App {
    /// Stores a component. Before the plugin that names it: what breaks off leaves parts that nothing names, which go
    /// when something is installed or removed later.
    pub(super) async fn store_component(&self, sha256: &str, component: &[u8]) -> Result<(), Refusal> {
        for parts in ComponentPart::split(sha256, component, self.now()).chunks(PARTS_AT_ONCE) {
            self.ports.store.commit(parts.iter().map(Change::put).collect()).await?;
        }
        Ok(())
    }

    /// A component that was stored.
    pub(super) async fn stored_component(&self, sha256: &str) -> Result<Vec<u8>, Refusal> {
        Ok(component_of(&*self.ports.store, sha256).await?)
    }

    /// Removes what this machine compiled of components that no plugin names: one that was removed, a release that there was
    /// no room for, or what was refused after it was compiled. Says of how many.
    ///
    /// # Errors
    /// [`Refusal::NoPlugins`], [`Refusal::Store`].
    pub async fn drop_compiled_orphans(&self) -> Result<usize, Refusal> {
        let named = self.named_components().await?;
        // As long as the components themselves are kept.
        let before = self.now().saturating_sub(ORPHANS_KEPT).unwrap_or(Timestamp::MIN);
        self.ports.plugins.keep_compiled(named, before).await.map_err(|fault| match fault {
            PluginFault::Unavailable(error) => Refusal::NoPlugins(error),
            fault => Refusal::NoPlugins(fault.into()),
        })
    }

    /// The components of all releases, by their SHA-256.
    async fn named_components(&self) -> Result<BTreeSet<String>, Refusal> {
        // All of them: the components of one that cannot be read here are still somebody's.
        let plugins = self.list::<Plugin>(&EntityList::of(Owner::Platform)).await?;
        let releases = plugins.into_iter().flat_map(|plugin| plugin.entity.releases);
        Ok(releases.map(|release| release.sha256).collect())
    }

    /// Deletes components that no plugin names.
    pub(super) async fn drop_orphans(&self) -> Result<(), Refusal> {
        let (index, value) = ComponentPart::firsts();
        let firsts = self.list::<ComponentPart>(&EntityList::by(index, value)).await?;
        let named = self.named_components().await?;
        let now = self.now();
        let is_recent = |part: &ComponentPart| now.duration_since(part.stored_at) < ORPHANS_KEPT;
        for first in firsts {
            if named.contains(&first.component) || is_recent(&first) {
                continue;
            }
            let (index, value) = ComponentPart::of(&first.component);
            let mut parts = self.list::<ComponentPart>(&EntityList::by(index, value)).await?;
            // Somebody may have begun to install it since the plugins were read.
            if parts.iter().any(|part| is_recent(part)) {
                continue;
            }
            // The first goes last: it is what the rest is found by.
            parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.place));
            for parts in parts.chunks(PARTS_AT_ONCE) {
                // One who is installing it again wrote it once more meanwhile, and keeps it.
                if !self.is_made(parts.iter().map(Change::delete).collect()).await? {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A component that was stored; [`StoreError::Damaged`] where that is not all of it, or something else.
pub(super) async fn component_of(store: &dyn Store, sha256: &str) -> Result<Vec<u8>, StoreError> {
    let (index, value) = ComponentPart::of(sha256);
    let rows = store.list_entities(ComponentPart::KIND, &EntityList::by(index, value)).await?;
    let parts = rows.into_iter().map(|row| Stored::read(row).map(|stored| stored.entity));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    ComponentPart::join(sha256, parts).ok_or_else(|| {
        let fault = format!("the component {sha256} is not as it was installed; install it again");
        StoreError::Damaged(fault.into())
    })
}
