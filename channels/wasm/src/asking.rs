//! What a provider has to be asked, since it does not tell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::domain::asking::Again;
use wotp_core::ports::{ASKING_MAX, Ask, Question, Standing};

use crate::breaker::{Change, Pass, Seen};
use crate::ears::receipt;
use crate::plugin::Plugin;
use crate::report::{self, Function};
use crate::sandbox::{self, Call, Errand};
use crate::since_v0_1_2::asking::exports::wotp::channel::status;

/// How many messages a channel asks about at once, of which so many calls may be under way: messages go before news of
/// messages.
pub fn asked_at_once(concurrency: usize) -> usize {
    (concurrency / 4).max(1)
}

/// What is left of the time of a question when the plugin is stopped.
const MARGIN: Duration = Duration::from_millis(250);

/// How long a plugin may ask: over before whoever waits gives up, so that it is counted.
pub(crate) fn time() -> Duration {
    ASKING_MAX.unsigned_abs().saturating_sub(MARGIN)
}

/// Nothing is known, and it is asked again when its time comes.
const NOTHING: Standing = Standing { receipt: None, again: Again::AsPlanned };

#[async_trait]
impl Ask for Plugin {
    /// What finds no place, or whose provider does not answer lately, is not asked: its time comes again, and queues
    /// would only grow. Nor is it where the plugin breaks down over whatever it is asked.
    async fn ask(&self, question: &Question) -> Standing {
        let Some(pre) = &self.component.asking else { return NOTHING };
        let Some(_place) = self.room.question(&self.share) else { return NOTHING };
        let now = self.grant.world.clock.now();
        if self.breaker.is_open(now) {
            return NOTHING;
        }
        let Ok(pass) = self.questions.admit(now) else { return NOTHING };
        let call = Call::new(&self.grant, Errand::Ask, time());
        let query = self.query(question);
        let said =
            report::counted(&self.name, Function::Status, Arc::clone(&call.effort), sandbox::ask(pre, call, query))
                .await;
        let (channel, delivery) = (self.name.as_str(), question.reference.delivery);
        self.held_out(pass, said.is_ok());
        let trouble = match said {
            Ok(Ok(answer)) => return Standing { receipt: answer.fate.map(receipt), again: again(answer.again) },
            Ok(Err(trouble)) => trouble,
            Err(stopped) => {
                let why = self.grant.without_people(&stopped.to_string());
                tracing::warn!(channel, %delivery, why, "a plugin was asked how a message fares, and did not answer");
                return Standing { receipt: None, again: Again::BrokeDown };
            }
        };
        let is_expected = matches!(trouble, status::Trouble::Temporary(_));
        let (standing, why) = of(trouble);
        let why = self.grant.without_people(&why);
        match is_expected {
            // There may be thousands of these.
            true => tracing::debug!(channel, %delivery, why, "a plugin could not ask how a message fares"),
            false => tracing::warn!(channel, %delivery, why, "a plugin could not ask how a message fares"),
        }
        standing
    }
}

impl Plugin {
    /// Notes whether the plugin came to an end with a question, whatever it said.
    pub(crate) fn held_out(&self, pass: Pass<'_>, held_out: bool) {
        let seen = if held_out { Seen::Answered } else { Seen::Silent };
        let Some(change) = pass.ended(seen, self.grant.world.clock.now()) else { return };
        let channel = self.name.as_str();
        match change {
            Change::Opened => tracing::warn!(
                channel,
                "a plugin breaks down each time it is asked about a message that was sent; it is asked once in 30 s from now on"
            ),
            Change::Closed => {
                tracing::info!(channel, "a plugin answers again what it is asked about messages that were sent")
            }
        }
    }

    fn query(&self, question: &Question) -> status::Query {
        let sent_at_milliseconds = milliseconds(question.sent_at);
        status::Query {
            id: question.reference.delivery.to_string(),
            reference: question.reference.to_string(),
            provider_id: question.provider_id.clone(),
            sent_at_milliseconds,
            asked: question.asked.into(),
            config: self.config.clone(),
        }
    }
}

/// Those of any time that people live to see are whole numbers of an `f64`.
pub(crate) fn milliseconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64
}

fn again(said: status::Again) -> Again {
    match said {
        status::Again::Later => Again::AsPlanned,
        status::Again::InSeconds(seconds) => Again::After(SignedDuration::from_secs(seconds.into())),
        status::Again::Never => Again::Never,
    }
}

/// What follows from a trouble, and what the plugin says of it.
fn of(trouble: status::Trouble) -> (Standing, String) {
    let standing = |again| Standing { receipt: None, again };
    match trouble {
        status::Trouble::UnknownMessage(why) => (standing(Again::Never), why),
        status::Trouble::Misconfigured(why) => (NOTHING, why),
        status::Trouble::Temporary(pause) => {
            (standing(Again::After(SignedDuration::from_secs(pause.seconds.into()))), pause.detail)
        }
    }
}
