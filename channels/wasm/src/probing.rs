//! Whether a message would reach anybody, asked before it is sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use wotp_core::ports::Outgoing;

use crate::breaker::Seen;
use crate::plugin::Plugin;
use crate::report::{self, Function};
use crate::sandbox::{self, Call, Errand};
use crate::since_v0_1_0::exports::wotp::channel::delivery::Message;
use crate::since_v0_1_2::probing::exports::wotp::channel::probe::Answer;
use crate::since_v0_1_2::probing::wotp::channel::probed;

/// Longest that it may take. It takes of the delivery's time, and no more than a quarter of it: a provider that does not
/// say whether somebody can be reached may deliver all the same.
const TIME_MAX: Duration = Duration::from_secs(2);
/// What it may take all the same where a quarter is less, up to half of the delivery's time: a quarter of a second for the
/// request, and as much for the plugin itself.
const TIME_MIN: Duration = Duration::from_millis(500);
/// Longest token, in characters.
const TOKEN_MAX: usize = 256;

impl probed::Host for Call {
    async fn token(&mut self) -> Option<String> {
        match &self.errand {
            Errand::Deliver { token, .. } => token.clone(),
            Errand::Look | Errand::Hear | Errand::Ask | Errand::Revoke | Errand::Check | Errand::Probe(_) => None,
        }
    }
}

/// The provider says that a message would reach nobody.
pub(crate) struct Nobody {
    /// What was seen of the provider.
    pub seen: Seen,
    /// What the plugin says, for the log.
    pub detail: String,
}

/// What a plugin says of whether somebody can be reached. Texts are without what no log may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachable {
    /// They can, with what the provider gives along.
    Yes(Option<String>),
    /// Nobody has the address, or not here.
    No(String),
    /// It cannot tell.
    Unknown(String),
    /// Nothing: it crashed, or was stopped.
    Stopped(String),
}

impl Plugin {
    /// What it says of whether a message would reach anybody; none where it does not ask.
    pub async fn reachable(&self, outgoing: &Outgoing) -> Option<Reachable> {
        Some(self.asked_beforehand(outgoing, &self.message(outgoing)).await?.0)
    }

    /// What the provider gives along for a message that can reach somebody, or that it cannot tell of; none where it
    /// gives nothing, and where the plugin does not ask.
    ///
    /// Each try asks anew: who has no account today may have one tomorrow, and a token is good for one message.
    pub(crate) async fn probed(&self, outgoing: &Outgoing, message: &Message) -> Result<Option<String>, Nobody> {
        let Some((said, seen)) = self.asked_beforehand(outgoing, message).await else { return Ok(None) };
        let why = match said {
            Reachable::Yes(token) => return Ok(token),
            Reachable::No(detail) => return Err(Nobody { seen, detail }),
            Reachable::Unknown(why) | Reachable::Stopped(why) => why,
        };
        // It is delivered all the same, and says then what is wrong.
        tracing::debug!(channel = self.name, why, "a plugin could not tell whether somebody can be reached");
        Ok(None)
    }

    async fn asked_beforehand(&self, outgoing: &Outgoing, message: &Message) -> Option<(Reachable, Seen)> {
        let pre = self.component.probing.as_ref()?;
        let call = Call::new(&self.grant, Errand::Probe(Box::new(outgoing.clone())), time_of(self.timeout));
        let (sight, effort) = (Arc::clone(&call.sight), Arc::clone(&call.effort));
        let said = async { sandbox::probe(pre, call, message.clone()).await.map(Ok::<_, Infallible>) };
        let said = report::counted(&self.name, Function::Probe, effort, said).await;
        let redacted = |text: &str| self.grant.redacted(text, Some(outgoing));
        let said = match said {
            Ok(Ok(Answer::Yes(token))) => Reachable::Yes(token.filter(|token| token.chars().count() <= TOKEN_MAX)),
            Ok(Ok(Answer::No(why))) => Reachable::No(redacted(&why)),
            Ok(Ok(Answer::Unknown(why))) => Reachable::Unknown(redacted(&why)),
            Err(stopped) => Reachable::Stopped(redacted(&stopped.to_string())),
        };
        Some((said, sight.seen()))
    }
}

/// How long it may take of a delivery that may take so long.
fn time_of(delivery: Duration) -> Duration {
    (delivery / 4).clamp(TIME_MIN, TIME_MAX).min(delivery / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_quarter_of_the_delivery_and_of_a_short_one_up_to_half() {
        for (delivery, probe) in [(20_000, 2000), (4000, 1000), (2000, 500), (1500, 500), (1000, 500), (600, 300)] {
            let expected = Duration::from_millis(probe);
            assert_eq!(time_of(Duration::from_millis(delivery)), expected, "{delivery}");
        }
    }
}
