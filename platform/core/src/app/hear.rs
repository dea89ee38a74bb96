use super::channels::{Found, Way};
use super::record_receipt::Teller;
use super::{App, Refusal};
use crate::domain::connection::Connection;
use crate::ports::{CheckAccount, HearError, Heard, Hearing, News, Reference};

/// News of one call that are looked at.
const NEWS_MAX: usize = 100;

/// Why nothing was taken of what somebody sent to a channel.
#[derive(Debug, thiserror::Error)]
pub enum HearRefusal {
    /// There is no such channel here, or none that is told anything.
    #[error("there is no channel that is told anything by this name")]
    Unknown,
    /// The channel says why.
    #[error(transparent)]
    Channel(#[from] HearError),
    /// It was not recorded.
    #[error(transparent)]
    Refusal(#[from] Refusal),
}

/// Who hears what somebody sent.
struct Listener {
    way: Way,
    /// The connection that the channel is through, if it is through one. It may say whatever it likes, so it tells of messages
    /// of its own tenant and of no other's.
    connection: Option<Connection>,
}

impl App {
    /// Gives a channel what somebody sent to it, and records what the channel makes of it; says how much of it was new.
    /// `hook` is the name of the channel, or the id of a tenant's connection. Where the channel is told that its account is
    /// not as it was, that is looked at.
    ///
    /// The same may come any number of times, and in any order.
    ///
    /// # Errors
    /// [`HearRefusal`]. What was recorded before a failure stays: whoever sent it may send it again.
    pub async fn hear(&self, hook: &str, heard: Heard) -> Result<usize, HearRefusal> {
        let Listener { way: Way { channel, account }, connection } = self.listener(hook).await?;
        let only = connection.as_ref().map(|connection| connection.tenant);
        let Hearing { news, account_changed } = channel.ears().ok_or(HearRefusal::Unknown)?.hear(heard).await?;
        let (mut new, teller) = (0, Teller { channel: channel.name(), account });
        for News { reference, receipt } in news.into_iter().take(NEWS_MAX) {
            // One that names nothing is of a message of somebody else's, or of long ago.
            let Ok(Reference { tenant, item, delivery }) = reference.parse() else { continue };
            if only.is_some_and(|only| tenant != only) {
                continue;
            }
            if self.record_receipt_of(Some(teller), tenant, item, delivery, receipt).await? {
                new += 1;
            }
        }
        if let Some(account) = channel.account().filter(|_| account_changed) {
            self.look_again(channel.name(), account, connection).await?;
        }
        Ok(new)
    }

    /// Looks at an account of which its provider told that it is not as it was. Where that comes to nothing, the provider is
    /// to tell it again.
    async fn look_again(
        &self,
        channel: &str,
        account: &dyn CheckAccount,
        connection: Option<Connection>,
    ) -> Result<(), HearRefusal> {
        let begun = self.now();
        let standing = account.check().await.map_err(|_| HearRefusal::Channel(HearError::Busy))?;
        match connection {
            Some(connection) => {
                // One that was deleted meanwhile needs none.
                match self.note_account(connection, begun, Ok(standing), None).await {
                    Ok(_) | Err(Refusal::NotFound(_)) => Ok(()),
                    Err(refusal) => Err(refusal.into()),
                }
            }
            None => {
                if let Err(why) = standing.holds() {
                    tracing::warn!(channel, why, "no message gets out through the operator's account at a provider");
                }
                Ok(())
            }
        }
    }

    async fn listener(&self, hook: &str) -> Result<Listener, HearRefusal> {
        let Ok(id) = hook.parse() else {
            return match self.operators_channel(hook) {
                Found::Way(way) => Ok(Listener { way, connection: None }),
                Found::Awaited => Err(HearRefusal::Channel(HearError::Busy)),
                Found::Nothing => Err(HearRefusal::Unknown),
            };
        };
        let (connection, channel) = self.hooked(id).await?.ok_or(HearRefusal::Unknown)?;
        match channel {
            Some(channel) => {
                let way = Way { channel, account: Some(connection.id) };
                Ok(Listener { way, connection: Some(connection) })
            }
            None if self.is_awaited(&connection.channel) => Err(HearRefusal::Channel(HearError::Busy)),
            None => Err(HearRefusal::Unknown),
        }
    }
}
