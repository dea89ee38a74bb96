//! What the client must know of others' devices, and of messages that are under way.
//!
//! Values of sent messages, and of messages that came and are not done with, begin with the moment at which they were
//! stored.

use async_trait::async_trait;
use wacore::store::error::Result;
use wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};
use wotp_core::app::{Memories, Memory};
use wotp_core::domain::vault::StateName;
use zeroize::Zeroizing;

use super::kind::{Kind, both};
use super::{State, bytes, number_first, text, whole};

#[async_trait]
impl ProtocolStore for State {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Result<Vec<(String, bool)>> {
        let found = self.list(Memories::Group(Kind::SenderKeyDevice as u8, group_jid.as_bytes())).await?;
        found.into_iter().map(|one| Ok((text(one.name)?, one.value.as_slice() == [1]))).collect()
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Result<()> {
        let _changing = self.changing.lock().await;
        let keep = entries.iter().map(|(device, has_key)| {
            let value: &[u8] = if *has_key { &[1] } else { &[0] };
            Memory::Keep(Kind::SenderKeyDevice.within(group_jid, device.as_bytes()), value)
        });
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.forget_listed(Memories::Group(Kind::SenderKeyDevice as u8, group_jid.as_bytes())).await
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Result<()> {
        if device_jids.is_empty() {
            return Ok(());
        }
        let _changing = self.changing.lock().await;
        let found = self.list(Memories::Kind(Kind::SenderKeyDevice as u8)).await?;
        let named = found.iter().filter(|one| device_jids.iter().any(|device| device.as_bytes() == one.name));
        let forget = named.map(|one| Memory::Forget(StateName { kind: one.kind, group: &one.group, name: &one.name }));
        self.change(&forget.collect::<Vec<_>>()).await
    }

    async fn clear_all_sender_key_devices(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.forget_listed(Memories::Kind(Kind::SenderKeyDevice as u8)).await
    }

    async fn get_lid_mapping(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        self.find_whole(Kind::LidMapping.named(lid)).await
    }

    async fn get_pn_mapping(&self, phone: &str) -> Result<Option<LidPnMappingEntry>> {
        let Some(lid) = self.find(Kind::PhoneOfLid.named(phone)).await? else { return Ok(None) };
        self.find_whole(Kind::LidMapping.named(lid.as_slice())).await
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Result<()> {
        self.put_lid_mappings(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        let _changing = self.changing.lock().await;
        let names: Vec<_> = entries.iter().map(|entry| Kind::LidMapping.named(&entry.lid)).collect();
        let before = self.memory.find_all(&names).await.map_err(super::failed)?;
        let before = before.iter().map(|value| value.as_deref().map(|value| whole(value)).transpose());
        let before: Vec<Option<LidPnMappingEntry>> = before.collect::<Result<_>>()?;
        let values = entries.iter().map(bytes).collect::<Result<Vec<_>>>()?;
        let mut changes = Vec::with_capacity(3 * entries.len());
        for (place, entry) in entries.iter().enumerate() {
            // In one call as well a later one replaces an earlier.
            let earlier = entries[..place].iter().rev().find(|earlier| earlier.lid == entry.lid);
            let old = earlier.or(before[place].as_ref());
            if let Some(old) = old.filter(|old| old.phone_number != entry.phone_number) {
                changes.push(Memory::Forget(Kind::PhoneOfLid.named(&old.phone_number)));
            }
            changes.push(Memory::Keep(Kind::PhoneOfLid.named(&entry.phone_number), entry.lid.as_bytes()));
            changes.push(Memory::Keep(names[place], &values[place]));
        }
        self.change(&changes).await
    }

    async fn get_all_lid_mappings(&self) -> Result<Vec<LidPnMappingEntry>> {
        let all = self.list(Memories::Kind(Kind::LidMapping as u8)).await?;
        all.iter().map(|one| whole(&one.value)).collect()
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Result<()> {
        self.keep(Kind::BaseKey.within(address, message_id.as_bytes()), base_key).await
    }

    async fn has_same_base_key(&self, address: &str, message_id: &str, current_base_key: &[u8]) -> Result<bool> {
        let saved = self.find(Kind::BaseKey.within(address, message_id.as_bytes())).await?;
        Ok(saved.is_some_and(|saved| saved.as_slice() == current_base_key))
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Result<()> {
        self.forget(Kind::BaseKey.within(address, message_id.as_bytes())).await
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Result<()> {
        self.keep_whole(Kind::DeviceList.named(&record.user), &record).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        let values = records.iter().map(bytes).collect::<Result<Vec<_>>>()?;
        let keep = records.iter().zip(&values);
        let keep = keep.map(|(record, value)| Memory::Keep(Kind::DeviceList.named(&record.user), value));
        self.change(&keep.collect::<Vec<_>>()).await
    }

    async fn get_devices(&self, user: &str) -> Result<Option<DeviceListRecord>> {
        self.find_whole(Kind::DeviceList.named(user)).await
    }

    async fn delete_devices(&self, user: &str) -> Result<()> {
        self.forget(Kind::DeviceList.named(user)).await
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.find(Kind::GroupMetadata.named(group_jid)).await?.map(|blob| blob.to_vec()))
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Result<()> {
        self.keep(Kind::GroupMetadata.named(group_jid), blob).await
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Result<()> {
        self.forget(Kind::GroupMetadata.named(group_jid)).await
    }

    async fn get_tc_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        self.find_whole(Kind::TcToken.named(jid)).await
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.keep_whole(Kind::TcToken.named(jid), entry).await
    }

    async fn delete_tc_token(&self, jid: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.forget(Kind::TcToken.named(jid)).await
    }

    async fn get_all_tc_token_jids(&self) -> Result<Vec<String>> {
        let all = self.list(Memories::Kind(Kind::TcToken as u8)).await?;
        all.into_iter().map(|one| text(one.name)).collect()
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        let _changing = self.changing.lock().await;
        let all = self.list(Memories::Kind(Kind::TcToken as u8)).await?;
        let mut expired = Vec::new();
        for one in &all {
            let entry: TcTokenEntry = whole(&one.value)?;
            let token_live = !entry.token.is_empty() && entry.token_timestamp >= token_cutoff;
            if !token_live && entry.sender_timestamp.is_none_or(|moment| moment < sender_cutoff) {
                expired.push(Memory::Forget(Kind::TcToken.named(&one.name)));
            }
        }
        self.change(&expired).await?;
        Ok(u32::try_from(expired.len()).unwrap_or(u32::MAX))
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Result<()> {
        let _changing = self.changing.lock().await;
        let before: Option<TcTokenEntry> = self.find_whole(Kind::TcToken.named(jid)).await?;
        let (token, token_timestamp, sent) = match before {
            Some(TcTokenEntry { token, token_timestamp, sender_timestamp }) => {
                (token, token_timestamp, sender_timestamp)
            }
            None => (Vec::new(), sender_timestamp, None),
        };
        let sender_timestamp = Some(sent.map_or(sender_timestamp, |sent| sent.max(sender_timestamp)));
        self.keep_whole(Kind::TcToken.named(jid), &TcTokenEntry { token, token_timestamp, sender_timestamp }).await
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Result<()> {
        let _changing = self.changing.lock().await;
        let before: Option<TcTokenEntry> = self.find_whole(Kind::TcToken.named(jid)).await?;
        let is_newer = |before: &TcTokenEntry| !before.token.is_empty() && token_timestamp < before.token_timestamp;
        if before.as_ref().is_some_and(is_newer) {
            return Ok(());
        }
        let sender_timestamp = before.and_then(|before| before.sender_timestamp);
        let entry = TcTokenEntry { token: token.to_vec(), token_timestamp, sender_timestamp };
        self.keep_whole(Kind::TcToken.named(jid), &entry).await
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Result<()> {
        let name = Kind::SentMessage.within(chat_jid, message_id.as_bytes());
        let now = wacore::time::now_secs();
        let mut sent = self.sent.lock().await;
        sent.note(name, now);
        self.keep(name, &dated(now, payload)).await
    }

    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        let name = Kind::SentMessage.within(chat_jid, message_id.as_bytes());
        let mut sent = self.sent.lock().await;
        let Some(value) = self.find(name).await? else { return Ok(None) };
        self.forget(name).await?;
        sent.gone(name);
        Ok(Some(number_first(&value)?.1.to_vec()))
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.sent.lock().await.forget(self, |stored| stored < cutoff_timestamp).await
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Result<()> {
        self.store_pending_inbound_batch(&[PendingInboundRow { chat, sender, id, message }]).await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        let Some(value) = self.find(Kind::PendingInbound.within(chat, &both(sender, id))).await? else {
            return Ok(None);
        };
        Ok(Some(number_first(&value)?.1.to_vec()))
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<()> {
        self.delete_pending_inbound_batch(&[PendingInboundKey { chat, sender, id }]).await
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.inbound.lock().await.forget(self, |stored| stored < cutoff_timestamp).await
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        let now = wacore::time::now_secs();
        let stored: Vec<_> = rows.iter().map(|row| (both(row.sender, row.id), dated(now, row.message))).collect();
        let mut inbound = self.inbound.lock().await;
        let mut keep = Vec::with_capacity(rows.len());
        for (row, (name, value)) in rows.iter().zip(&stored) {
            let name = Kind::PendingInbound.within(row.chat, name);
            inbound.note(name, now);
            keep.push(Memory::Keep(name, value));
        }
        self.change(&keep).await
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        let names: Vec<_> = keys.iter().map(|key| both(key.sender, key.id)).collect();
        let names: Vec<_> =
            keys.iter().zip(&names).map(|(key, name)| Kind::PendingInbound.within(key.chat, name)).collect();
        let mut inbound = self.inbound.lock().await;
        self.change(&names.iter().map(|name| Memory::Forget(*name)).collect::<Vec<_>>()).await?;
        names.iter().for_each(|name| inbound.gone(*name));
        Ok(())
    }
}

fn dated(moment: i64, value: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([&moment.to_be_bytes(), value].concat())
}
