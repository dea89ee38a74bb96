//! Secrets of messages, by which what answers them is read.
//!
//! A value is the moment at which it goes (0 for never), that of the message, and the secret.

use std::collections::BTreeMap;

use async_trait::async_trait;
use wacore::store::error::Result;
use wacore::store::traits::{MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts};
use wotp_core::app::Memory;
use wotp_core::domain::vault::StateName;
use zeroize::Zeroizing;

use super::kind::{Kind, both};
use super::{State, number_first};

#[async_trait]
impl MsgSecretStore for State {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Result<usize> {
        let names: Vec<Vec<u8>> = entries.iter().map(|entry| both(&entry.sender, &entry.msg_id)).collect();
        let names: Vec<_> =
            entries.iter().zip(&names).map(|(entry, name)| Kind::MsgSecret.within(&entry.chat, name)).collect();
        let mut secrets = self.secrets.lock().await;
        let before = self.memory.find_all(&names).await.map_err(super::failed)?;
        // Of several in one call each is merged with the one before.
        let mut merged: BTreeMap<(&[u8], &[u8]), (i64, i64, &[u8])> = BTreeMap::new();
        for ((entry, name), before) in entries.iter().zip(&names).zip(&before) {
            let key = (name.group, name.name);
            let before = match (merged.get(&key), before) {
                (Some((expires, message, _)), _) => Some((*expires, *message)),
                (None, Some(value)) => {
                    let (expires, rest) = number_first(value)?;
                    Some((expires, number_first(rest)?.0))
                }
                (None, None) => None,
            };
            let (expires, message) = before.map_or((entry.expires_at, entry.message_ts), |(expires, message)| {
                let expires = merge_msg_secret_expiry(expires, entry.expires_at);
                (expires, merge_msg_secret_message_ts(message, entry.message_ts))
            });
            merged.insert(key, (expires, message, &entry.secret));
        }
        let values: Vec<(StateName<'_>, i64, Zeroizing<Vec<u8>>)> = merged
            .into_iter()
            .map(|((group, name), (expires, message, secret))| {
                let value = [&expires.to_be_bytes()[..], &message.to_be_bytes(), secret].concat();
                (StateName { kind: Kind::MsgSecret as u8, group, name }, expires, Zeroizing::new(value))
            })
            .collect();
        // Known of before they are there: one that is not in the end is forgotten without harm.
        for (name, expires, _) in &values {
            secrets.note(*name, *expires);
        }
        self.change(&values.iter().map(|(name, _, value)| Memory::Keep(*name, value)).collect::<Vec<_>>()).await?;
        Ok(entries.len())
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get_msg_secret_with_ts(chat, sender, msg_id).await?.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<(Vec<u8>, i64)>> {
        let name = both(sender, msg_id);
        let Some(value) = self.find(Kind::MsgSecret.within(chat, &name)).await? else { return Ok(None) };
        let (message, secret) = number_first(number_first(&value)?.1)?;
        Ok(Some((secret.to_vec(), message)))
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Result<u32> {
        let mut secrets = self.secrets.lock().await;
        secrets.forget(self, |expires| expires != 0 && expires <= cutoff_timestamp).await
    }
}
