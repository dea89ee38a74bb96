//! What the host saw of a call, for metrics and for what follows from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;
use wotp_outbound::NoAnswer;

use crate::breaker::Seen;
use crate::sandbox::Stopped;
use crate::turns::Effort;

/// Statuses of a proxy whose server is not there. Source: RFC 9110, 15.6.3 to 15.6.5.
const OF_A_PROXY: std::ops::RangeInclusive<u16> = 502..=504;

/// What a plugin was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Validate,
    Deliver,
    Webhook,
    Status,
    Probe,
    Revoke,
    Check,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Deliver => "deliver",
            Self::Webhook => "webhook",
            Self::Status => "status",
            Self::Probe => "probe",
            Self::Revoke => "revoke",
            Self::Check => "check",
        }
    }
}

/// What was seen of the provider, written while the call runs: who waits for it may give up and ask nobody.
#[derive(Debug, Default)]
pub(crate) struct Sight(AtomicU8);

const ANSWERED: u8 = 1;
const SILENT: u8 = 2;

impl Sight {
    /// What a request came to, named for metrics.
    pub(crate) fn note(&self, came: Result<u16, NoAnswer>) -> &'static str {
        let (seen, outcome) = match came {
            Ok(status) if OF_A_PROXY.contains(&status) => (Some(SILENT), "5xx"),
            Ok(status) => (Some(ANSWERED), class_of(status)),
            // Ours to mend, and nothing of the provider.
            Err(NoAnswer::NotAllowed | NoAnswer::NotPublic | NoAnswer::OutOfSockets) => (None, "not_made"),
            Err(NoAnswer::Unresolved | NoAnswer::NotConnected | NoAnswer::Tls) => (Some(SILENT), "unreachable"),
            Err(NoAnswer::Timeout) => (Some(SILENT), "timeout"),
            Err(NoAnswer::Broken) => (Some(SILENT), "broken"),
            Err(NoAnswer::TooLarge) => (Some(ANSWERED), "too_large"),
        };
        if let Some(seen) = seen {
            self.0.store(seen, Ordering::Relaxed);
        }
        outcome
    }

    pub(crate) fn seen(&self) -> Seen {
        match self.0.load(Ordering::Relaxed) {
            ANSWERED => Seen::Answered,
            SILENT => Seen::Silent,
            _ => Seen::Nothing,
        }
    }
}

fn class_of(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

/// Counts a request. Hosts are those that were approved, so there are few.
pub(crate) fn requested(channel: &str, host: &str, outcome: &'static str) {
    let labels = [("channel", channel.to_owned()), ("host", host.to_owned()), ("outcome", outcome.to_owned())];
    metrics::counter!("wotp_plugin_requests_total", &labels).increment(1);
}

/// Runs a call and counts it: how it ended, how long it took, and how long it computed.
pub(crate) async fn counted<T, E>(
    channel: &str,
    function: Function,
    effort: Arc<Effort>,
    call: impl Future<Output = Result<Result<T, E>, Stopped>>,
) -> Result<Result<T, E>, Stopped> {
    let begun = Instant::now();
    let result = call.await;
    let outcome = match &result {
        Ok(Ok(_)) => "ok",
        Ok(Err(_)) => "error",
        Err(Stopped::Trap(_)) => "crashed",
        Err(Stopped::Running) => "computed_too_long",
        Err(Stopped::Deadline) => "timeout",
    };
    let of = |name: &'static str, value: &'static str| [("channel", channel.to_owned()), (name, value.to_owned())];
    let function = of("function", function.name());
    let [named, call_of] = function.clone();
    metrics::counter!("wotp_plugin_calls_total", &[named, call_of, ("outcome", outcome.to_owned())]).increment(1);
    metrics::histogram!("wotp_plugin_call_seconds", &function).record(begun.elapsed().as_secs_f64());
    metrics::histogram!("wotp_plugin_computing_seconds", &function).record(effort.computed().as_secs_f64());
    result
}

/// Shows whether a channel is left alone.
pub(crate) fn left_alone(channel: &str, left: bool) {
    metrics::gauge!("wotp_plugin_left_alone", "channel" => channel.to_owned()).set(f64::from(u8::from(left)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_tells_whether_the_provider_is_there() {
        let sight = Sight::default();
        assert_eq!(sight.seen(), Seen::Nothing);
        for (came, outcome, seen) in [
            (Err(NoAnswer::NotPublic), "not_made", Seen::Nothing),
            (Err(NoAnswer::Timeout), "timeout", Seen::Silent),
            (Ok(200), "2xx", Seen::Answered),
            (Ok(503), "5xx", Seen::Silent),
            // An error of the provider's own may be due to what was sent.
            (Ok(500), "5xx", Seen::Answered),
            (Err(NoAnswer::NotConnected), "unreachable", Seen::Silent),
            (Err(NoAnswer::TooLarge), "too_large", Seen::Answered),
            (Err(NoAnswer::Broken), "broken", Seen::Silent),
            (Ok(999), "other", Seen::Answered),
        ] {
            assert_eq!((sight.note(came), sight.seen()), (outcome, seen), "{came:?}");
        }
    }
}
