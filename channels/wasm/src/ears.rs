//! What a provider tells a plugin later, by calling us.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use wotp_core::domain::dispatch::{DeliveryFailure, Receipt};
use wotp_core::ports::{HEARD_BODY_MAX, Hear, HearError, Heard, Hearing, News};

use crate::plugin::Plugin;
use crate::report::{self, Function};
use crate::sandbox::{self, Call, Errand};
use crate::since_v0_1_0::wotp::channel::http;
use crate::since_v0_1_1::exports::wotp::channel::webhook;
use crate::since_v0_1_1::wotp::channel::receipts::{Failure, Fate};

/// Calls that a plugin hears at once: each waits for nobody, so few get through many.
pub const HEARING_MAX: u32 = 4;
/// Longest that one may take. It makes no requests.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Longest path, in bytes.
const PATH_MAX: usize = 1024;
/// Headers.
const HEADERS_MAX: usize = 64;

#[async_trait]
impl Hear for Plugin {
    async fn hear(&self, heard: Heard) -> Result<Hearing, HearError> {
        let Some(pre) = &self.component.hearing else { return Err(HearError::Unreadable) };
        if heard.body.len() > HEARD_BODY_MAX || heard.path.len() > PATH_MAX || heard.headers.len() > HEADERS_MAX {
            return Err(HearError::Unreadable);
        }
        // Anybody may call, and nobody who waits gets anything of it: who has to may call again.
        let _place = self.room.hearing.try_acquire().map_err(|_| HearError::Busy)?;
        let call = Call::new(&self.grant, Errand::Hear, TIME_MAX);
        let (told, effort, changed) = (self.told(heard), Arc::clone(&call.effort), Arc::clone(&call.account_changed));
        let received = sandbox::hear(pre, call, told);
        let channel = self.grant.channel.as_str();
        match report::counted(channel, Function::Webhook, effort, received).await {
            Ok(Ok(receipts)) => {
                let news = receipts.into_iter().map(news).collect();
                Ok(Hearing { news, account_changed: changed.load(Ordering::Relaxed) })
            }
            Ok(Err(refusal)) => {
                let (error, why) = match &refusal {
                    webhook::Refusal::NotAuthentic(why) => (HearError::NotAuthentic, why),
                    webhook::Refusal::Unreadable(why) => (HearError::Unreadable, why),
                };
                // Strangers can write as many of these as they like.
                tracing::debug!(channel, why = self.grant.without_people(why), "a callback was refused");
                Err(error)
            }
            Err(stopped) => {
                tracing::warn!(channel, error = %self.grant.without_people(&stopped.to_string()), "a callback was not heard");
                Err(HearError::Busy)
            }
        }
    }
}

impl Plugin {
    fn told(&self, heard: Heard) -> webhook::Call {
        let header = |(name, value): (String, String)| http::Header { name, value };
        webhook::Call {
            method: if heard.posted { http::Method::Post } else { http::Method::Get },
            url: heard.url,
            path: heard.path,
            headers: heard.headers.into_iter().map(header).collect(),
            body: heard.body,
            config: self.config.clone(),
        }
    }
}

fn news(said: webhook::Receipt) -> News {
    News { reference: said.reference, receipt: receipt(said.fate) }
}

/// What a plugin says of a message, as we say it.
pub(crate) fn receipt(fate: Fate) -> Receipt {
    match fate {
        Fate::Sent => Receipt::Sent,
        Fate::Delivered => Receipt::Delivered,
        Fate::Read => Receipt::Read,
        Fate::Failed(failure) => Receipt::Failed(match failure {
            Failure::InvalidRecipient => DeliveryFailure::InvalidRecipient,
            Failure::Rejected => DeliveryFailure::Rejected,
            Failure::Misconfigured => DeliveryFailure::Misconfigured,
            Failure::Unavailable => DeliveryFailure::Unavailable,
        }),
    }
}
