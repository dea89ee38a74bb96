//! Long waits of all sessions end together: a thousand sessions at rest wake the process a few times a second, and not once
//! for each.

use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wacore::runtime::{AbortHandle, Runtime};
use whatsapp_rust::prelude::TokioRuntime;

/// How far apart the moments are at which long waits end: so much longer they last at most.
const APART: Duration = Duration::from_millis(500);
/// Waits that are shorter are left as they are.
const LONG: Duration = Duration::from_secs(10);

/// The first moment, not before `at`, at which long waits end.
pub(crate) fn together(at: Instant) -> Instant {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since = at.saturating_duration_since(*BEGAN).as_millis();
    let beyond = (since % APART.as_millis()) as u64;
    if beyond == 0 { at } else { at + APART - Duration::from_millis(beyond) }
}

/// What clients run on.
pub(crate) struct Paced;

impl Runtime for Paced {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> AbortHandle {
        TokioRuntime.spawn(future)
    }

    fn spawn_detached(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn_detached(future);
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if duration < LONG {
            return TokioRuntime.sleep(duration);
        }
        Box::pin(sleep_until(together(Instant::now() + duration)))
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        TokioRuntime.spawn_blocking(work)
    }

    fn yield_now(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        TokioRuntime.yield_now()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn long_waits_end_together_and_hardly_later_and_short_ones_as_they_are() {
        let begun = Instant::now();
        let mut woke = BTreeSet::new();
        let waits = (0..50).map(|nth| Duration::from_millis(15_000 + 10 * nth));
        for (wait, sleep) in waits.clone().zip(waits.map(|wait| Paced.sleep(wait)).collect::<Vec<_>>()) {
            sleep.await;
            assert!(begun.elapsed() >= wait && begun.elapsed() <= wait + APART, "{wait:?}: {:?}", begun.elapsed());
            woke.insert(begun.elapsed());
        }
        assert!(woke.len() <= 2, "{woke:?}");

        let begun = Instant::now();
        Paced.sleep(LONG - Duration::from_millis(1)).await;
        assert_eq!(begun.elapsed(), LONG - Duration::from_millis(1));
    }
}
