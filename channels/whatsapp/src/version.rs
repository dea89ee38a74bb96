//! The version of WhatsApp Web that sessions say they are.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Where WhatsApp Web says which one it is.
pub const VERSION_URL: &str = "https://web.whatsapp.com/sw.js";

/// One that was current when this was written, for whoever cannot ask.
pub const VERSION_KNOWN: WebVersion = (2, 3000, 1_026_131_876);

/// A version of WhatsApp Web.
pub type WebVersion = (u32, u32, u32);

/// Least time between two times that WhatsApp is asked, whatever it refuses; and after so long it is asked again where it
/// did not say, or says what it refuses, longer from time to time.
const ASKED_APART: Duration = Duration::from_secs(60);
/// Longest that it is not asked while nobody knows.
const ASKED_WITHIN: Duration = Duration::from_secs(3_600);

/// The version that is in use, of all sessions of a process.
pub struct Version {
    current: watch::Sender<WebVersion>,
    /// The last that WhatsApp refused.
    refused: watch::Sender<Option<WebVersion>>,
}

impl Version {
    /// This one, until another is said to be current.
    pub fn new(version: WebVersion) -> Self {
        Self { current: watch::Sender::new(version), refused: watch::Sender::new(None) }
    }

    /// Which it is.
    pub fn current(&self) -> WebVersion {
        *self.current.borrow()
    }

    /// Whoever waits for another.
    pub(crate) fn watch(&self) -> watch::Receiver<WebVersion> {
        self.current.subscribe()
    }

    /// WhatsApp wants a newer one than this.
    pub(crate) fn is_refused(&self, version: WebVersion) {
        self.refused.send_if_modified(|refused| refused.replace(version) != Some(version));
    }

    /// Keeps it current, for as long as it is polled: asks when it is refused, and again where nothing was said, at first
    /// too if it `is_known` from nobody.
    pub async fn keep_current<A: Future<Output = Option<WebVersion>>>(&self, is_known: bool, ask: impl Fn() -> A) {
        let (mut asked_at, mut refused) = (Instant::now(), self.refused.subscribe());
        let mut wait = (!is_known).then_some(ASKED_APART);
        loop {
            let current = self.current();
            // Of one that was in use before, something is known already.
            let is_refused = |refused: &Option<WebVersion>| *refused == Some(current);
            let known = is_refused(&refused.borrow_and_update());
            match wait {
                Some(wait) if known => sleep(wait).await,
                Some(wait) => _ = timeout(wait, refused.wait_for(is_refused)).await,
                None => _ = refused.wait_for(is_refused).await,
            }
            sleep_until(asked_at + ASKED_APART).await;
            let said = ask().await;
            asked_at = Instant::now();
            wait = match said {
                Some(said) if said != current => {
                    self.current.send_replace(said);
                    None
                }
                Some(_) if !is_refused(&refused.borrow_and_update()) => None,
                _ => Some(wait.map_or(ASKED_APART, |wait| (wait * 2).min(ASKED_WITHIN))),
            };
        }
    }
}

/// The version that stands in what [`VERSION_URL`] answers.
pub fn version_in(answer: &str) -> Option<WebVersion> {
    // Where it finds no number, the parser makes one up.
    wacore::version::parse_sw_js(answer).filter(|(_, _, revision)| *revision > 0)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps a version current that was 1 at first, with these answers one after the other, and none then. After how many
    /// seconds it was asked.
    fn kept(is_known: bool, answers: &[Option<u32>]) -> (Arc<Version>, Arc<Mutex<Vec<u64>>>) {
        let version = Arc::new(Version::new((2, 3000, 1)));
        let (asked, began) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let (keeps, asks, answers) = (Arc::clone(&version), Arc::clone(&asked), answers.to_vec());
        tokio::spawn(async move {
            let ask = || {
                let mut asks = asks.lock().unwrap();
                asks.push(began.elapsed().as_secs());
                ready(answers.get(asks.len() - 1).copied().flatten().map(|revision| (2, 3000, revision)))
            };
            keeps.keep_current(is_known, ask).await;
        });
        (version, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn where_whatsapp_did_not_say_it_is_asked_again_and_less_often_from_time_to_time() {
        let (version, asked) = kept(false, &[]);
        sleep(Duration::from_hours(4)).await;
        let first = [60, 180, 420, 900, 1_860, 3_780];
        assert_eq!(asked.lock().unwrap()[..6], first);
        assert_eq!(asked.lock().unwrap()[6..], [7_380, 10_980], "an hour later each");
        assert_eq!(version.current(), (2, 3000, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_says_is_used_and_it_is_not_asked_any_more() {
        let (version, asked) = kept(false, &[None, Some(7)]);
        let mut watch = version.watch();
        sleep(Duration::from_hours(4)).await;
        assert_eq!(*asked.lock().unwrap(), [60, 180]);
        assert_eq!((version.current(), watch.has_changed().unwrap()), ((2, 3000, 7), true));
        assert_eq!(*watch.borrow_and_update(), (2, 3000, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn where_it_is_refused_whatsapp_is_asked_at_once_however_many_say_so() {
        let (version, asked) = kept(true, &[Some(2), Some(3)]);
        sleep(Duration::from_hours(9)).await;
        assert!(asked.lock().unwrap().is_empty());
        for _ in 0..1_000 {
            version.is_refused((2, 3000, 1));
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!((version.current(), asked.lock().unwrap().len()), ((2, 3000, 2), 1));
        // Some that began with the one before are refused now.
        version.is_refused((2, 3000, 1));
        sleep(Duration::from_hours(1)).await;
        assert_eq!(asked.lock().unwrap().len(), 1);
        version.is_refused((2, 3000, 2));
        sleep(Duration::from_secs(1)).await;
        assert_eq!((version.current(), asked.lock().unwrap().len()), ((2, 3000, 3), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn as_long_as_it_says_what_it_refuses_it_is_asked_again_later() {
        let (version, asked) = kept(true, &[Some(1), None, Some(1), Some(5)]);
        sleep(Duration::from_secs(1_000)).await;
        version.is_refused((2, 3000, 1));
        sleep(Duration::from_hours(4)).await;
        assert_eq!(*asked.lock().unwrap(), [1_000, 1_060, 1_180, 1_420]);
        assert_eq!(version.current(), (2, 3000, 5));
    }

    #[test]
    fn a_version_is_found_and_none_is_made_up() {
        let answer = r#"self.__swData=JSON.parse("{\\"client_revision\\":1026131999}");"#;
        assert_eq!(version_in(answer), Some((2, 3000, 1_026_131_999)));
        for answer in ["", "<html>Not found</html>", "assets-manifest-98765 "] {
            assert_eq!(version_in(answer), None, "{answer}");
        }
    }
}
