//! The device that we are to the account.

use async_trait::async_trait;
use wacore::stats::StorageResourceReport;
use wacore::store::Device;
use wacore::store::error::Result;
use wacore::store::traits::DeviceStore;

use super::State;
use super::kind::Kind;

/// A connection is one device.
const ID: i32 = 1;

#[async_trait]
impl DeviceStore for State {
    async fn save(&self, device: &Device) -> Result<()> {
        let _changing = self.changing.lock().await;
        let saved = self.keep_whole(Kind::Device.only(), device).await;
        self.saved(&saved);
        saved
    }

    async fn load(&self) -> Result<Option<Device>> {
        self.find_whole(Kind::Device.only()).await
    }

    async fn exists(&self) -> Result<bool> {
        Ok(self.find(Kind::Device.only()).await?.is_some())
    }

    /// There is one from then on, and what there was stays.
    async fn create(&self) -> Result<i32> {
        let _changing = self.changing.lock().await;
        if self.find(Kind::Device.only()).await?.is_none() {
            self.keep_whole(Kind::Device.only(), &Device::new()).await?;
        }
        Ok(ID)
    }

    /// It is kept in a store that all share.
    async fn resource_report(&self) -> StorageResourceReport {
        StorageResourceReport { memory_bytes: Some(0), ..StorageResourceReport::default() }
    }
}
