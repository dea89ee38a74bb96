//! Argon2id, on threads of its own.
//!
//! A hash takes tens of milliseconds of a processor and megabytes of memory. On the runtime's threads, a few
//! logins would stop everything else; on threads without bound, many logins would. So there are few, of low
//! priority, and a short queue before them; who finds it full is told to come back. One client, by its address,
//! gets a quarter of it, so that nobody keeps everybody else out.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use tokio::sync::oneshot;
use wotp_core::domain::password::Password;
use wotp_core::domain::user::PasswordHash;
use wotp_core::ports::{Compared, HashPlace, Passwords, PasswordsError};

/// How passwords are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashSettings {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes of it.
    pub lanes: u32,
    /// Hashes at once.
    pub threads: usize,
    /// Hashes that may wait.
    pub waiting_max: usize,
}

impl HashSettings {
    /// Whether Argon2 takes these.
    ///
    /// # Errors
    /// In words, why not.
    pub fn params(&self) -> Result<Params, String> {
        Params::new(self.memory_kib, self.passes, self.lanes, None).map_err(|error| error.to_string())
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// One client has one place of so many.
const SHARE: usize = 4;

/// Who holds how many places.
#[derive(Default)]
struct Places {
    held: usize,
    by_client: HashMap<Vec<u8>, usize>,
}

/// A place, until it is dropped.
struct Held {
    places: Arc<Mutex<Places>>,
    client: Vec<u8>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.held = places.held.saturating_sub(1);
        if let Some(held) = places.by_client.get_mut(&self.client) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                places.by_client.remove(&self.client);
            }
        }
    }
}

/// Hashes passwords with Argon2id.
pub struct Argon2Passwords {
    hasher: Arc<Argon2<'static>>,
    settings: HashSettings,
    jobs: OnceLock<SyncSender<Job>>,
    places: Arc<Mutex<Places>>,
}

impl Argon2Passwords {
    /// A hasher with these parameters. Its threads start when it is first used.
    ///
    /// # Errors
    /// In words, why Argon2 does not take the parameters.
    pub fn new(settings: HashSettings) -> Result<Self, String> {
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, settings.params()?);
        Ok(Self { hasher: Arc::new(hasher), settings, jobs: OnceLock::new(), places: Arc::default() })
    }

    fn jobs(&self) -> &SyncSender<Job> {
        self.jobs.get_or_init(|| {
            let (jobs, waiting) = sync_channel::<Job>(self.settings.waiting_max);
            let waiting = Arc::new(Mutex::new(waiting));
            for n in 0..self.settings.threads.max(1) {
                let waiting = Arc::clone(&waiting);
                let named = std::thread::Builder::new().name(format!("password-{n}"));
                if let Err(error) = named.spawn(move || work(&waiting)) {
                    tracing::error!(%error, "a thread for hashing passwords does not start");
                }
            }
            jobs
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce(&Argon2<'static>) -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, PasswordsError> {
        let (reply, answer) = oneshot::channel();
        let hasher = Arc::clone(&self.hasher);
        let job: Job = Box::new(move || {
            // Whoever hung up meanwhile costs nothing more.
            if !reply.is_closed() {
                let _ = reply.send(hash(&hasher));
            }
        });
        self.jobs().try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => PasswordsError::Busy,
            TrySendError::Disconnected(_) => PasswordsError::Failed("no thread is left to hash passwords".into()),
        })?;
        let hashed =
            answer.await.map_err(|_| PasswordsError::Failed("a thread that hashed a password ended".into()))?;
        hashed.map_err(|error| PasswordsError::Failed(Box::new(error)))
    }
}

/// Does jobs until nobody can send another.
fn work(waiting: &Mutex<Receiver<Job>>) {
    // What answers requests goes first. On Linux this is about one thread; elsewhere it would be about all.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "hashing passwords keeps its priority");
    }
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

#[async_trait]
impl Passwords for Argon2Passwords {
    fn place(&self, client: &[u8]) -> Result<HashPlace, PasswordsError> {
        // As many as wait. Those that are being hashed have left the queue, so that there is room for what takes no
        // place: the command line, and hashes that are made anew.
        let all = self.settings.waiting_max.max(1);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = places.by_client.get(client).copied().unwrap_or(0);
        if places.held >= all || of_client >= (all / SHARE).max(1) {
            return Err(PasswordsError::Busy);
        }
        places.held += 1;
        places.by_client.insert(client.to_vec(), of_client + 1);
        Ok(HashPlace::new(Held { places: Arc::clone(&self.places), client: client.to_vec() }))
    }

    async fn hash(&self, password: &Password, salt: [u8; 16]) -> Result<PasswordHash, PasswordsError> {
        let password = password.clone();
        self.run(move |hasher| {
            let hash = hasher.hash_password_with_salt(password.reveal().as_bytes(), &salt)?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    async fn compare(&self, password: &Password, hash: Option<&PasswordHash>) -> Result<Compared, PasswordsError> {
        let password = password.clone();
        let Some(hash) = hash.cloned() else {
            // As long as a comparison takes.
            let hashed = self.run(move |hasher| hasher.hash_password_with_salt(password.reveal().as_bytes(), &[0; 16]));
            hashed.await?;
            return Ok(Compared { right: false, outdated: false });
        };
        self.run(move |hasher| {
            let hash = Phc::new(&hash.0)?;
            // With the parameters of the hash, which may be older ones.
            let right = match hasher.verify_password(password.reveal().as_bytes(), &hash) {
                Ok(()) => true,
                Err(password_hash::Error::PasswordInvalid) => false,
                Err(error) => return Err(error),
            };
            let now = hasher.params();
            let same = Params::try_from(&hash).is_ok_and(|params| {
                let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
                costs(&params) == costs(now)
            });
            Ok(Compared { right, outdated: !same || hash.algorithm.as_str() != "argon2id" })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(passes: u32, waiting_max: usize) -> Argon2Passwords {
        let settings = HashSettings { memory_kib: 8, passes, lanes: 1, threads: 1, waiting_max };
        Argon2Passwords::new(settings).unwrap()
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_in_phc_form_and_knows_its_password() {
        let hasher = hasher(1, 4);
        let right = Password::typed("correct horse");
        let hash = hasher.hash(&right, [7; 16]).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.0);
        let compared = hasher.compare(&right, Some(&hash)).await.unwrap();
        assert_eq!(compared, Compared { right: true, outdated: false });
        let compared = hasher.compare(&Password::typed("wrong horse"), Some(&hash)).await.unwrap();
        assert_eq!(compared, Compared { right: false, outdated: false });
        assert!(!hasher.compare(&right, None).await.unwrap().right);
    }

    #[tokio::test]
    async fn a_hash_with_other_parameters_is_compared_with_its_own_and_outdated() {
        let theirs = hasher(2, 4).hash(&Password::typed("correct horse"), [7; 16]).await.unwrap();
        let compared = hasher(1, 4).compare(&Password::typed("correct horse"), Some(&theirs)).await.unwrap();
        assert_eq!(compared, Compared { right: true, outdated: true });
    }

    #[test]
    fn one_client_gets_a_quarter_of_the_places_and_gives_them_back() {
        let hasher = hasher(1, 8);
        let first = [hasher.place(b"a").unwrap(), hasher.place(b"a").unwrap()];
        assert!(matches!(hasher.place(b"a"), Err(PasswordsError::Busy)));
        let others: Vec<_> = (0..6u8).map(|client| hasher.place(&[client]).unwrap()).collect();
        assert!(matches!(hasher.place(b"b"), Err(PasswordsError::Busy)), "eight are taken");
        drop(first);
        let again = hasher.place(b"a").unwrap();
        drop((others, again));
        assert!(hasher.places.lock().unwrap().by_client.is_empty());
    }

    #[tokio::test]
    async fn beyond_its_queue_it_is_busy() {
        let hasher = hasher(1, 1);
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (began, begun) = std::sync::mpsc::channel();
        let working: Job = Box::new(move || {
            began.send(()).unwrap();
            let _ = held.recv();
        });
        hasher.jobs().try_send(working).unwrap();
        begun.recv().unwrap();
        hasher.jobs().try_send(Box::new(|| {})).unwrap();
        let refused = hasher.hash(&Password::typed("correct horse"), [7; 16]).await;
        assert!(matches!(refused, Err(PasswordsError::Busy)));
        drop(hold);
    }
}
