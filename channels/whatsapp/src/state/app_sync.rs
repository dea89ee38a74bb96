//! What the account's devices tell each other of their settings.

use std::collections::HashMap;

use async_trait::async_trait;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::error::Result;
use wacore::store::traits::{AppStateSyncKey, AppSyncStore};
use wotp_core::app::{Memories, Memory};

use super::kind::Kind;
use super::{State, bytes};

#[async_trait]
impl AppSyncStore for State {
    async fn get_sync_key(&self, key_id: &[u8]) -> Result<Option<AppStateSyncKey>> {
        self.find_whole(Kind::SyncKey.named(key_id)).await
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Result<()> {
        let key = bytes(&key)?;
        let latest = Memory::Keep(Kind::LatestSyncKey.only(), key_id);
        self.change(&[Memory::Keep(Kind::SyncKey.named(key_id), &key), latest]).await
    }

    async fn get_version(&self, name: &str) -> Result<HashState> {
        Ok(self.find_whole(Kind::AppStateVersion.named(name)).await?.unwrap_or_default())
    }

    async fn set_version(&self, name: &str, state: HashState) -> Result<()> {
        self.keep_whole(Kind::AppStateVersion.named(name), &state).await
    }

    async fn put_mutation_macs(&self, name: &str, _: u64, mutations: &[AppStateMutationMAC]) -> Result<()> {
        let _changing = self.changing.lock().await;
        let keep =
            mutations.iter().map(|mac| Memory::Keep(Kind::MutationMac.within(name, &mac.index_mac), &mac.value_mac));
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.find(Kind::MutationMac.within(name, index_mac)).await?.map(|mac| mac.to_vec()))
    }

    async fn get_mutation_macs(&self, name: &str, index_macs: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<u8>>> {
        let names: Vec<_> = index_macs.iter().map(|mac| Kind::MutationMac.within(name, mac)).collect();
        let found = self.memory.find_all(&names).await.map_err(super::failed)?;
        Ok(index_macs.iter().zip(found).filter_map(|(index, mac)| Some((*index, mac?.to_vec()))).collect())
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Result<()> {
        let forget = index_macs.iter().map(|mac| Memory::Forget(Kind::MutationMac.within(name, mac)));
        self.change(&forget.collect::<Vec<_>>()).await
    }

    async fn clear_mutation_macs(&self, name: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.forget_listed(Memories::Group(Kind::MutationMac as u8, name.as_bytes())).await
    }

    async fn get_latest_sync_key_id(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.find(Kind::LatestSyncKey.only()).await?.map(|id| id.to_vec()))
    }
}
