//! One session: the client of one number, and where it stands.

mod ear;
mod keeper;
mod pairing;
mod sender;
mod sending;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use whatsapp_rust::Client;
use whatsapp_rust::prelude::BotHandle;
use wotp_core::domain::Timestamp;
use wotp_core::ports::{Clock, Entropy};

use crate::client;
use crate::directory::Directory;
use crate::entrance::Gate;
use crate::health::Report;
use crate::keys::{Kept, Keys, KeysError};
use crate::line::Dialer;
use crate::listen::{Listen, SessionId};
use crate::right::Right;
use crate::sent::Sent;
use crate::settings::Settings;
use crate::status::{Away, Status, Unpaired};

use ear::{Ear, Inbound};
use keeper::Todo;
pub use pairing::PairError;
use sender::Sender;
pub use sending::Letter;

/// What all sessions of a process share.
#[derive(Clone)]
pub struct Parts {
    /// How they are set up.
    pub settings: Arc<Settings>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Where they keep their keys.
    pub keys: Arc<dyn Keys>,
    /// Who is told what happens.
    pub listener: Arc<dyn Listen>,
    gate: Arc<Gate>,
}

impl Parts {
    /// For all sessions of this process: they share one entrance.
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        keys: Arc<dyn Keys>,
        listener: Arc<dyn Listen>,
    ) -> Self {
        let gate = Arc::new(Gate::new(settings.entrance));
        Self { settings: Arc::new(settings), clock, entropy, keys, listener, gate }
    }
}

/// The session cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is another process's.
    #[error("the session is another process's")]
    NotOurs,
    /// What it keeps cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The client cannot be set up with what was kept.
    #[error("the client cannot begin with what was kept")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether a connection is there, and which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Online {
    up: bool,
    /// Counts the logins.
    login: u64,
}

/// A client that runs.
#[derive(Clone)]
struct Live {
    client: Arc<Client>,
    dialer: Arc<Dialer>,
    kept: Kept,
}

/// A client that has given up.
#[derive(Clone, Copy)]
struct Over {
    life: u64,
    /// It was logged out: its keys are worth nothing.
    erase: bool,
}

/// What the parts of a session share.
struct Core {
    id: SessionId,
    parts: Parts,
    right: Arc<Right>,
    status: watch::Sender<Status>,
    online: watch::Sender<Online>,
    sent: Arc<Sent>,
    directory: Directory,
    sender: Mutex<Sender>,
    live: Mutex<Option<Live>>,
    /// Counts the clients: what an older one tells is not heard any more.
    life: AtomicU64,
    todo: mpsc::UnboundedSender<Todo>,
    /// The tenant's number, while a code for it is shown.
    code_for: Mutex<Option<String>>,
    /// The client that has given up, until it is ended.
    over: Mutex<Option<Over>>,
    /// Held while it begins or ends.
    turn: tokio::sync::Mutex<Option<BotHandle>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn live(&self) -> Option<Live> {
        lock(&self.live).clone()
    }

    fn set(&self, status: Status) {
        tracing::debug!(connection = %self.id.connection, status = status.name(), "a WhatsApp session has changed");
        self.status.send_replace(status);
    }

    fn away(&self, why: Away) {
        self.set(Status::Disconnected { why, since: self.now() });
    }

    fn go_offline(&self) {
        self.online.send_if_modified(|online| std::mem::replace(&mut online.up, false));
    }

    /// The connection of a login has ended; there may be a later one by now.
    fn login_is_over(&self, login: u64) {
        self.online.send_if_modified(|online| online.login == login && std::mem::replace(&mut online.up, false));
    }

    /// The client that runs, if it has given up.
    fn is_over(&self) -> Option<Over> {
        let life = self.life.load(Ordering::SeqCst);
        lock(&self.over).filter(|over| over.life == life)
    }

    /// The session could not be told what to do when it has ended.
    fn todo(&self, todo: Todo) {
        let _ = self.todo.send(todo);
    }

    /// Begins. Where no phone is linked, `pair` says whether to show what links one.
    async fn start(self: &Arc<Self>, pair: bool) -> Result<(), StartError> {
        let mut bot = self.turn.lock().await;
        if bot.is_some() && self.is_over().is_none() {
            return Ok(());
        }
        self.end_in_turn(&mut bot, false).await;
        if !self.right.holds() {
            return Err(StartError::NotOurs);
        }
        let kept = self.parts.keys.open(self.id, self.right.fence()).await?;
        let settings = &self.parts.settings;
        let dialer = Arc::new(Dialer::new(settings.url.clone(), Arc::clone(&self.parts.gate), Arc::clone(&self.right)));
        let inbound = Inbound::new(self);
        let built = client::build(settings, Arc::clone(&kept.backend), Arc::clone(&dialer), inbound).await;
        let built = built.map_err(|error| StartError::Client(error.into()))?;
        if !lock(&self.sender).is_read() {
            let sender = Sender::read(&kept, self.now(), &*self.parts.entropy).await?;
            *lock(&self.sender) = sender;
        }
        let client = built.client();
        if client.pn().is_none() && !pair {
            return Ok(());
        }
        let life = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        client.subscribe_handler(Arc::new(Ear::new(self, life))).detach();
        if client.pn().is_some() {
            self.set(Status::Connecting);
        } else {
            self.show_pairing();
        }
        *lock(&self.live) = Some(Live { client, dialer, kept });
        *bot = Some(built.spawn());
        Ok(())
    }

    /// Ends the client, if one runs; `log_out` takes it off the phone, as far as it is connected. Whether the phone knows.
    async fn end(&self, log_out: bool) -> bool {
        let mut bot = self.turn.lock().await;
        self.end_in_turn(&mut bot, log_out).await
    }

    async fn end_in_turn(&self, bot: &mut Option<BotHandle>, log_out: bool) -> bool {
        let erase = self.is_over().is_some_and(|over| over.erase);
        let told = self.end_client(bot, log_out).await;
        if erase && let Err(error) = self.parts.keys.erase(self.id, self.right.fence()).await {
            // The next login with them is refused, and then this comes again.
            let error: &dyn std::error::Error = &error;
            tracing::error!(connection = %self.id.connection, error, "the keys of a WhatsApp session that was logged out are still there");
        }
        told
    }

    async fn end_client(&self, bot: &mut Option<BotHandle>, log_out: bool) -> bool {
        // Nothing that it tells from now on counts.
        self.life.fetch_add(1, Ordering::SeqCst);
        self.go_offline();
        let live = lock(&self.live).take();
        let (Some(bot), Some(live)) = (bot.take(), live) else { return false };
        let patience = self.parts.settings.patience.stop;
        if !self.right.holds() {
            // Another may log in: nothing of this one may reach WhatsApp any more.
            live.dialer.cut().await;
        }
        let told = log_out && live.client.is_logged_in() && self.right.holds();
        if told && timeout(patience, live.client.logout()).await.is_err() {
            tracing::warn!(connection = %self.id.connection, "WhatsApp did not take a logout in time");
        }
        if self.right.holds() {
            self.note(&live.kept).await;
        }
        // What does not end in time is dropped, and that aborts it.
        if timeout(patience, bot.shutdown()).await.is_err() {
            tracing::warn!(connection = %self.id.connection, "a WhatsApp session did not end in time");
        }
        live.dialer.cut().await;
        told
    }

    /// Writes down what was counted, as far as it can be written.
    async fn note(&self, kept: &Kept) {
        let Some(unwritten) = lock(&self.sender).unwritten() else { return };
        if let Err(error) = unwritten.write(kept).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(connection = %self.id.connection, error, "what a WhatsApp session sent is not written down");
            lock(&self.sender).not_written(unwritten);
        }
    }
}

/// One session. It runs until it is stopped; dropped, it ends at once.
pub struct Session {
    core: Arc<Core>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(live) = self.core.live() {
            live.client.signal_shutdown_sync();
        }
    }
}

impl Session {
    /// A session that has not begun. `right` says how long it may run.
    pub fn new(id: SessionId, parts: &Parts, right: Arc<Right>) -> Self {
        let (todo, to_do) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let now = parts.clock.now();
        let core = Arc::new(Core {
            id,
            parts: parts.clone(),
            right,
            status: watch::Sender::new(Status::Unpaired { why: Unpaired::NotAsked }),
            online: watch::Sender::new(Online { up: false, login: 0 }),
            sent: Sent::new(reports),
            directory: Directory::new(Arc::clone(&parts.clock)),
            sender: Mutex::new(Sender::unknown(now)),
            live: Mutex::new(None),
            life: AtomicU64::new(0),
            todo,
            code_for: Mutex::new(None),
            over: Mutex::new(None),
            turn: tokio::sync::Mutex::new(None),
        });
        let tasks = vec![
            tokio::spawn(keeper::keep(Arc::clone(&core), to_do)),
            tokio::spawn(keeper::tell(Arc::clone(&core), reported)),
        ];
        Self { core, tasks }
    }

    /// Which it is.
    pub fn id(&self) -> SessionId {
        self.core.id
    }

    /// Begins: logs in where a phone is linked, else shows what links one. One that has begun goes on.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self) -> Result<(), StartError> {
        self.core.start(true).await
    }

    /// Begins where a phone is linked, and does nothing where none is.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn resume(&self) -> Result<(), StartError> {
        self.core.start(false).await
    }

    /// Ends the connection. The phone stays linked.
    pub async fn stop(&self) {
        self.end(Away::Stopped).await;
    }

    /// Ends it because it is another process's now. Not a byte goes out any more, and no send is begun.
    pub async fn give_up(&self) {
        self.core.right.end();
        self.core.go_offline();
        self.end(Away::TakenOver).await;
    }

    async fn end(&self, why: Away) {
        let linked = self.core.live().is_some_and(|live| live.client.pn().is_some());
        self.core.end(false).await;
        if linked {
            self.core.away(why);
        } else if matches!(self.status(), Status::Pairing { .. }) {
            self.core.set(Status::Unpaired { why: Unpaired::NotAsked });
        }
    }

    /// Takes it off the phone and erases its keys, for good. Whether the phone knows: while there is no connection it shows
    /// the session until WhatsApp drops it.
    ///
    /// # Errors
    /// [`KeysError`] when the keys are not erased: it has ended all the same, and this can be repeated.
    pub async fn log_out(&self) -> Result<bool, KeysError> {
        let told = self.core.end(true).await;
        self.core.parts.keys.erase(self.core.id, self.core.right.fence()).await?;
        self.core.set(Status::LoggedOut { at: self.core.now() });
        Ok(told)
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.core.status.borrow().clone()
    }

    /// Where it stands, from now on: whoever waits for a change gets the newest.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.core.status.subscribe()
    }

    /// How its number fares as a sender.
    pub fn health(&self) -> Report {
        lock(&self.core.sender).report(&self.core.parts.settings.allowance, self.core.now())
    }
}
