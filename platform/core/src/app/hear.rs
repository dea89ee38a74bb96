use super::{App, Refusal};
use crate::ports::{HearError, Heard, News, Reference};

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

impl App {
    /// Gives a channel what somebody sent to it, and records what the channel makes of it; says how much of it was new.
    ///
    /// The same may come any number of times, and in any order.
    ///
    /// # Errors
    /// [`HearRefusal`]. What was recorded before a failure stays: whoever sent it may send it again.
    pub async fn hear(&self, channel: &str, heard: Heard) -> Result<usize, HearRefusal> {
        let heard_by = self.channel(channel).ok_or_else(|| match self.is_awaited(channel) {
            true => HearRefusal::Channel(HearError::Busy),
            false => HearRefusal::Unknown,
        })?;
        let news = heard_by.ears().ok_or(HearRefusal::Unknown)?.hear(heard).await?;
        let mut new = 0;
        for News { reference, receipt } in news.into_iter().take(NEWS_MAX) {
            // One that names nothing is of a message of somebody else's, or of long ago.
            let Ok(Reference { tenant, item, delivery }) = reference.parse() else { continue };
            if self.record_receipt_of(Some(channel), tenant, item, delivery, receipt).await? {
                new += 1;
            }
        }
        Ok(new)
    }
}
