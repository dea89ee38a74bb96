//! Keys of the Signal protocol: others' identities, sessions with their devices, and our own keys.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wacore::store::error::{Result, StoreError};
use wacore::store::traits::SignalStore;
use wotp_core::app::{Memories, Memory};
use wotp_core::domain::vault::OpenedState;

use super::kind::Kind;
use super::{State, cut_off};

#[async_trait]
impl SignalStore for State {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Result<()> {
        self.keep(Kind::Identity.of_user(address), &key).await
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Result<()> {
        let keep = identities.iter().map(|(address, key)| Memory::Keep(Kind::Identity.of_user(address), key));
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn load_identity(&self, address: &str) -> Result<Option<[u8; 32]>> {
        let found = self.find(Kind::Identity.of_user(address)).await?;
        found.map(|key| key.as_slice().try_into().map_err(|_| cut_off())).transpose()
    }

    async fn delete_identity(&self, address: &str) -> Result<()> {
        self.forget(Kind::Identity.of_user(address)).await
    }

    async fn get_session(&self, address: &str) -> Result<Option<Bytes>> {
        Ok(self.find(Kind::Session.of_user(address)).await?.map(|session| Bytes::copy_from_slice(&session)))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Result<()> {
        self.keep(Kind::Session.of_user(address), session).await
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Result<()> {
        let keep = sessions.iter().map(|(address, session)| Memory::Keep(Kind::Session.of_user(address), session));
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn delete_session(&self, address: &str) -> Result<()> {
        self.forget(Kind::Session.of_user(address)).await
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Result<bool> {
        for kind in [Kind::Session, Kind::Identity] {
            if !self.list(Memories::Group(kind as u8, user.as_bytes())).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn store_prekey(&self, id: u32, record: &[u8], _: bool) -> Result<()> {
        self.keep(Kind::PreKey.named(&id.to_be_bytes()), record).await
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], _: bool) -> Result<()> {
        let ids: Vec<[u8; 4]> = keys.iter().map(|(id, _)| id.to_be_bytes()).collect();
        let keep = ids.iter().zip(keys).map(|(id, (_, record))| Memory::Keep(Kind::PreKey.named(id), record));
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn load_prekey(&self, id: u32) -> Result<Option<Bytes>> {
        let found = self.find(Kind::PreKey.named(&id.to_be_bytes())).await?;
        Ok(found.map(|record| Bytes::copy_from_slice(&record)))
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        let names: Vec<[u8; 4]> = ids.iter().map(|id| id.to_be_bytes()).collect();
        let names: Vec<_> = names.iter().map(|name| Kind::PreKey.named(name)).collect();
        let found = self.memory.find_all(&names).await.map_err(super::failed)?;
        let there = ids.iter().zip(found).filter_map(|(id, record)| Some((*id, Bytes::copy_from_slice(&record?))));
        Ok(there.collect())
    }

    /// Nobody asks whether one was: the client counts, in what it keeps of the device. And one that was used up
    /// meanwhile must not come back.
    async fn mark_prekeys_uploaded(&self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    async fn remove_prekey(&self, id: u32) -> Result<()> {
        self.forget(Kind::PreKey.named(&id.to_be_bytes())).await
    }

    async fn get_max_prekey_id(&self) -> Result<u32> {
        let ids = self.list(Memories::Kind(Kind::PreKey as u8)).await?;
        ids.iter().try_fold(0, |most, one| Ok(id(one)?.max(most)))
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Result<()> {
        self.keep(Kind::SignedPreKey.named(&id.to_be_bytes()), record).await
    }

    async fn load_signed_prekey(&self, id: u32) -> Result<Option<Vec<u8>>> {
        Ok(self.find(Kind::SignedPreKey.named(&id.to_be_bytes())).await?.map(|record| record.to_vec()))
    }

    async fn load_all_signed_prekeys(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        let all = self.list(Memories::Kind(Kind::SignedPreKey as u8)).await?;
        all.iter().map(|one| Ok((id(one)?, one.value.to_vec()))).collect()
    }

    async fn remove_signed_prekey(&self, id: u32) -> Result<()> {
        self.forget(Kind::SignedPreKey.named(&id.to_be_bytes())).await
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Result<()> {
        self.keep(Kind::SenderKey.named(address), record).await
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Result<()> {
        let keep = sender_keys.iter().map(|(address, record)| Memory::Keep(Kind::SenderKey.named(&**address), record));
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn get_sender_key(&self, address: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.find(Kind::SenderKey.named(address)).await?.map(|record| record.to_vec()))
    }

    async fn delete_sender_key(&self, address: &str) -> Result<()> {
        self.forget(Kind::SenderKey.named(address)).await
    }
}

fn id(one: &OpenedState) -> std::result::Result<u32, StoreError> {
    one.name.as_slice().try_into().map(u32::from_be_bytes).map_err(|_| cut_off())
}
