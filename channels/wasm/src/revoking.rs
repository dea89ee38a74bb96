//! What a provider is to take back.

use async_trait::async_trait;
use jiff::SignedDuration;
use std::sync::Arc;
use tokio::time::Instant;
use wotp_core::domain::asking::Again;
use wotp_core::ports::{Question, Revoke};

use crate::asking::{milliseconds, time};
use crate::plugin::Plugin;
use crate::report::{self, Function};
use crate::sandbox::{self, Call, Errand};
use crate::since_v0_1_3::exports::wotp::channel::revoke;

#[async_trait]
impl Revoke for Plugin {
    /// What finds no place in time, or whose provider does not answer lately, comes again when its time has come; nor is one
    /// asked that breaks down over whatever it is asked.
    async fn revoke(&self, sent: &Question) -> Again {
        let Some(pre) = &self.component.revoking else { return Again::Never };
        let begun = Instant::now();
        // Many may be canceled at once, and each is asked for a few times only: they wait for each other.
        let Some(_place) = self.room.question_within(&self.share, time() / 2).await else { return Again::AsPlanned };
        let now = self.grant.world.clock.now();
        if self.breaker.is_open(now) {
            return Again::AsPlanned;
        }
        let Ok(pass) = self.questions.admit(now) else { return Again::AsPlanned };
        let call = Call::new(&self.grant, Errand::Revoke, time().saturating_sub(begun.elapsed()));
        let message = self.sent(sent);
        let said = report::counted(
            &self.name,
            Function::Revoke,
            Arc::clone(&call.effort),
            sandbox::revoke(pre, call, message),
        )
        .await;
        let (channel, delivery) = (self.name.as_str(), sent.reference.delivery);
        self.held_out(pass, said.is_ok());
        let (again, why) = match said {
            Ok(Ok(())) => return Again::Never,
            Ok(Err(trouble)) => of(trouble),
            Err(stopped) => (Again::BrokeDown, stopped.to_string()),
        };
        let why = self.grant.without_people(&why);
        match again {
            // There may be thousands of these while a provider is away.
            Again::After(_) => tracing::debug!(channel, %delivery, why, "a plugin could not take a message back yet"),
            Again::Never => tracing::info!(channel, %delivery, why, "a message cannot be taken back"),
            Again::AsPlanned | Again::BrokeDown => {
                tracing::warn!(channel, %delivery, why, "a plugin could not take a message back")
            }
        }
        again
    }
}

impl Plugin {
    fn sent(&self, question: &Question) -> revoke::Sent {
        revoke::Sent {
            id: question.reference.delivery.to_string(),
            reference: question.reference.to_string(),
            provider_id: question.provider_id.clone(),
            sent_at_milliseconds: milliseconds(question.sent_at),
            asked: question.asked.into(),
            config: self.config.clone(),
        }
    }
}

/// What follows from a trouble, and what the plugin says of it.
fn of(trouble: revoke::Trouble) -> (Again, String) {
    match trouble {
        revoke::Trouble::Impossible(why) => (Again::Never, why),
        revoke::Trouble::Misconfigured(why) => (Again::AsPlanned, why),
        revoke::Trouble::Temporary(pause) => {
            (Again::After(SignedDuration::from_secs(pause.seconds.into())), pause.detail)
        }
    }
}
