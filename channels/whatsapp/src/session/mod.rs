//! One session: the client of one number, and where it stands.

mod account;
mod answers;
mod codes;
mod ear;
mod inbound;
mod keeper;
mod pairing;
mod sender;
mod sending;
mod standing;
mod todos;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wacore::iq::devices::RemoveCompanionDeviceSpec;
use whatsapp_rust::Client;
use whatsapp_rust::prelude::BotHandle;
use whatsapp_rust::types::events::{Event, EventHandler, EventInterest, EventKind};
use wotp_core::app::MemoryError;
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::ports::{Clock, Entropy, StoreError};

use crate::client;
use crate::directory::Directory;
use crate::entrance::Gate;
use crate::health::Report;
use crate::keys::Keys;
use crate::leases::Leases;
use crate::line::Dialer;
use crate::listen::{Listen, SessionId};
use crate::right::Right;
use crate::sent::Sent;
use crate::settings::Settings;
use crate::state::State;
use crate::status::{Away, Status, Unpaired};
use crate::version::{Version, WebVersion};
use crate::wishes::Wishes;

use codes::Codes;
use ear::Ear;
use inbound::{Inbound, TakenIn};
pub use pairing::PairError;
use sender::Sender;
pub use sending::Letter;
pub(crate) use sending::NotSent;
use standing::Said;
use todos::{Todo, Todos};

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
    /// Under which leases they are kept.
    pub leases: Arc<Leases>,
    /// Which of them are to be connected.
    pub wishes: Arc<dyn Wishes>,
    /// Which version of WhatsApp Web they say they are.
    pub version: Arc<Version>,
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
        leases: Leases,
        wishes: Arc<dyn Wishes>,
    ) -> Self {
        let (gate, version) = (Arc::new(Gate::new(settings.entrance)), Arc::new(Version::new(settings.version)));
        let (settings, leases) = (Arc::new(settings), Arc::new(leases));
        Self { settings, clock, entropy, keys, listener, leases, wishes, version, gate }
    }
}

/// The session cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is another process's.
    #[error("the session is another process's")]
    NotOurs,
    /// Nobody says whose it is.
    #[error("the store does not say whose the session is")]
    Lease(#[source] StoreError),
    /// What it keeps cannot be read.
    #[error("what the session keeps cannot be read")]
    Keys(#[from] MemoryError),
    /// The client cannot be set up with what was kept.
    #[error("the client cannot begin with what was kept")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Receipts of a session that wait to be taken: beyond it they are lost.
const REPORTS_MAX: usize = 1_024;

/// How long it may take to be told that a client was taken off its phone, once the connection has ended.
const REMOVED_WITHIN: Duration = Duration::from_secs(1);

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
    state: Arc<State>,
}

/// Ends a task when it is dropped.
struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A client that runs, and who watches over what it writes.
struct Running {
    bot: BotHandle,
    _watch: Ends,
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
    /// Whether somebody asked for a phone to be linked.
    asked: AtomicBool,
    /// Counts the clients: what an older one tells is not heard any more.
    life: AtomicU64,
    todos: Todos,
    /// Places for answers that are under way.
    answers: Arc<Semaphore>,
    /// For whose phone a code is shown.
    codes: Codes,
    /// What people wrote that was taken in, and comes again.
    taken_in: TakenIn,
    /// The version that the client says it is which was begun last.
    begun_with: Mutex<WebVersion>,
    /// The client that has given up, until it is ended.
    over: Mutex<Option<Over>>,
    /// Held while it begins or ends.
    turn: tokio::sync::Mutex<Option<Running>>,
    /// What was told of where it stands. Held meanwhile, so that nothing older is told after it.
    said: tokio::sync::Mutex<Said>,
    /// How the number fares has changed since it was told.
    fares: Notify,
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

    /// Whether WhatsApp wanted a newer version than it was begun with, and another is in use by now.
    fn has_newer_version(&self) -> bool {
        let outdated = matches!(*self.status.borrow(), Status::Disconnected { why: Away::Outdated, .. });
        outdated && *lock(&self.begun_with) != self.parts.version.current()
    }

    /// The client that runs, if it has given up.
    fn is_over(&self) -> Option<Over> {
        let life = self.life.load(Ordering::SeqCst);
        lock(&self.over).filter(|over| over.life == life)
    }

    fn todo(&self, todo: Todo) {
        self.todos.add(todo);
    }

    /// Begins. Where no phone is linked, it shows what links one if somebody asked for that. What fails is tried again after
    /// a while, as long as the session is this process's.
    async fn start(self: &Arc<Self>) -> Result<(), StartError> {
        let begun = self.try_to_start().await;
        let stopped = matches!(*self.status.borrow(), Status::Disconnected { why: Away::Stopped, .. });
        if begun.is_err() && (self.right.holds() || !stopped) {
            self.away(if self.right.holds() { Away::NotKept } else { Away::TakenOver });
        }
        begun
    }

    async fn try_to_start(self: &Arc<Self>) -> Result<(), StartError> {
        let mut running = self.turn.lock().await;
        if running.is_some() && self.is_over().is_none() {
            return Ok(());
        }
        self.end_in_turn(&mut running, false).await;
        let (lease, state) = self.open().await?;
        let settings = &self.parts.settings;
        let core = Arc::downgrade(self);
        let gone = Box::new(move |dialer: &Dialer| {
            if let Some(core) = core.upgrade() {
                core.has_no_line(dialer);
            }
        });
        let (url, gate, right) = (settings.url.clone(), Arc::clone(&self.parts.gate), Arc::clone(&self.right));
        let dialer = Arc::new(Dialer::new(url, gate, right, gone));
        let inbound = Inbound::new(self);
        let version = self.parts.version.current();
        *lock(&self.begun_with) = version;
        let built = client::build(settings, version, Arc::clone(&state) as _, Arc::clone(&dialer), inbound).await;
        let built = built.map_err(|error| StartError::Client(error.into()))?;
        if !lock(&self.sender).is_read() {
            let sender = Sender::read(&state, self.now(), &*self.parts.entropy).await?;
            *lock(&self.sender) = sender;
        }
        let client = built.client();
        if client.pn().is_none() && !self.asked.load(Ordering::SeqCst) {
            if !matches!(*self.status.borrow(), Status::Unpaired { .. } | Status::LoggedOut { .. }) {
                self.set(Status::Unpaired { why: Unpaired::NotAsked });
            }
            return Ok(());
        }
        let life = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        client.subscribe_handler(Arc::new(Ear::new(self, life))).detach();
        if client.pn().is_some() {
            self.set(Status::Connecting);
        } else {
            self.show_pairing();
        }
        let watch = watch(Arc::downgrade(self), life, lease, Arc::clone(&state));
        *lock(&self.live) = Some(Live { client, dialer, state });
        *running = Some(Running { bot: built.spawn(), _watch: Ends(tokio::spawn(watch)) });
        Ok(())
    }

    /// What the session remembers, for a client that begins, or for nobody: from here on no former client writes.
    async fn open(&self) -> Result<(ConnectionLease, Arc<State>), StartError> {
        if !self.parts.leases.part_from_former(&self.right).await.map_err(StartError::Lease)? {
            return Err(StartError::NotOurs);
        }
        let lease = self.right.lease();
        let memory = self.parts.keys.open(&lease).await?;
        Ok((lease, Arc::new(State::new(Arc::new(memory)))))
    }

    /// Erases the keys, once no client runs any more.
    async fn erase(&self) -> Result<(), StartError> {
        let (_, state) = self.open().await?;
        Ok(Sender::forget_all_else(&state).await?)
    }

    /// Ends the client, if one runs; `log_out` takes it off the phone, as far as it is connected. Whether the phone knows.
    async fn end(&self, log_out: bool) -> bool {
        let mut running = self.turn.lock().await;
        self.end_in_turn(&mut running, log_out).await
    }

    async fn end_in_turn(&self, running: &mut Option<Running>, log_out: bool) -> bool {
        let erase = self.is_over().is_some_and(|over| over.erase);
        let told = self.end_client(running, log_out).await;
        if erase && let Err(error) = self.erase().await {
            // The next login with them is refused, and then this comes again.
            let error: &dyn std::error::Error = &error;
            tracing::error!(connection = %self.id.connection, error, "the keys of a WhatsApp session that was logged out are still there");
        }
        told
    }

    async fn end_client(&self, running: &mut Option<Running>, log_out: bool) -> bool {
        // Nothing that it tells from now on counts.
        self.life.fetch_add(1, Ordering::SeqCst);
        self.go_offline();
        let live = lock(&self.live).take();
        let (Some(Running { bot, _watch }), Some(live)) = (running.take(), live) else { return false };
        let patience = self.parts.settings.patience.stop;
        if !self.right.holds() {
            // Another may log in: nothing of this one may reach WhatsApp any more.
            live.dialer.cut().await;
        }
        let mut told = false;
        if log_out && self.right.holds() {
            told = is_removed(&live.client, patience).await;
        }
        if log_out && !told {
            tracing::warn!(connection = %self.id.connection, "WhatsApp was not told that a session is logged out");
        }
        if self.right.holds() {
            self.note(&live.state).await;
        }
        // What does not end in time is dropped, and that aborts it.
        if timeout(patience, bot.shutdown()).await.is_err() {
            tracing::warn!(connection = %self.id.connection, "a WhatsApp session did not end in time");
        }
        live.dialer.cut().await;
        told
    }

    /// Writes down what was counted, as far as it can be written.
    async fn note(&self, state: &State) {
        let Some(unwritten) = lock(&self.sender).unwritten() else { return };
        if let Err(error) = unwritten.write(state, self.now()).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(connection = %self.id.connection, error, "what a WhatsApp session sent is not written down");
            lock(&self.sender).not_written(unwritten);
        }
    }
}

/// Asks WhatsApp to take a client off its phone. Whether it has: the client's own way to log out says nothing of that.
async fn is_removed(client: &Client, patience: Duration) -> bool {
    let Some(number) = client.pn().filter(|_| client.is_logged_in()) else { return false };
    let (tell, mut removed) = watch::channel(false);
    client.subscribe_handler(Arc::new(Removed(tell))).detach();
    match timeout(patience, client.execute(RemoveCompanionDeviceSpec::new(&number))).await {
        Ok(Ok(())) => true,
        // The connection ends with the answer, maybe before that is looked at, and says why.
        Ok(Err(_)) => matches!(timeout(REMOVED_WITHIN, removed.wait_for(|removed| *removed)).await, Ok(Ok(_))),
        Err(_) => false,
    }
}

/// Hears that a client was taken off its phone.
struct Removed(watch::Sender<bool>);

impl EventHandler for Removed {
    fn handle_event(&self, _: Arc<Event>) {
        self.0.send_replace(true);
    }

    fn interest(&self) -> EventInterest {
        EventInterest::of(&[EventKind::LoggedOut])
    }
}

/// Watches over what a client writes. Where something is refused, because another process has the session, the right to it
/// ends at once; where the client could not save itself for a while it is replaced.
async fn watch(core: Weak<Core>, life: u64, lease: ConnectionLease, state: Arc<State>) {
    tokio::select! {
        () = state.lost() => if let Some(core) = core.upgrade() {
            core.right.lost(&lease);
        },
        () = state.fails() => if let Some(core) = core.upgrade() {
            core.todo(Todo::NotKept { life });
        },
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
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let now = parts.clock.now();
        let core = Arc::new(Core {
            id,
            parts: parts.clone(),
            right,
            status: watch::Sender::new(Status::Unpaired { why: Unpaired::NotAsked }),
            online: watch::Sender::new(Online { up: false, login: 0 }),
            sent: Sent::new(reports),
            directory: Directory::new(Arc::clone(&parts.clock), parts.settings.allowance.look_ups_per_minute),
            sender: Mutex::new(Sender::unknown(now)),
            live: Mutex::new(None),
            asked: AtomicBool::new(false),
            life: AtomicU64::new(0),
            todos: Todos::default(),
            answers: Arc::new(Semaphore::new(answers::AT_ONCE)),
            codes: Codes::default(),
            taken_in: TakenIn::default(),
            begun_with: Mutex::new(parts.version.current()),
            over: Mutex::new(None),
            turn: tokio::sync::Mutex::new(None),
            said: tokio::sync::Mutex::default(),
            fares: Notify::new(),
        });
        let tasks = vec![
            tokio::spawn(keeper::keep(Arc::clone(&core))),
            tokio::spawn(standing::tell(Arc::clone(&core))),
            tokio::spawn(keeper::tell(Arc::clone(&core), reported)),
            tokio::spawn(pairing::go_on_showing(Arc::clone(&core))),
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
        self.core.asked.store(true, Ordering::SeqCst);
        self.core.pair_for_longer();
        self.core.start().await
    }

    /// Begins where a phone is linked, and does nothing where none is.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn resume(&self) -> Result<(), StartError> {
        self.core.start().await
    }

    /// Somebody else logged in with its keys when another process kept it, and nobody has asked for it to connect since: it
    /// stays like that, or the two would end each other's login over and over.
    pub(crate) async fn stays_replaced(&self, at: Timestamp) {
        self.core.set(Status::Replaced { at });
        self.core.tell_standing().await;
    }

    /// Ends the connection. The phone stays linked.
    pub async fn stop(&self) {
        self.end(Away::Stopped).await;
    }

    /// Ends the connection for good, so that another process may keep the session. The phone stays linked.
    pub(crate) async fn retire(&self) {
        let mut running = self.core.turn.lock().await;
        let linked = self.is_linked();
        self.core.end_in_turn(&mut running, false).await;
        // Whoever would begin it waits for this.
        self.core.right.end();
        self.has_ended(linked, Away::Stopped);
        // While the lease is still this process's.
        self.core.tell_standing().await;
    }

    /// Ends it because it is another process's now. Not a byte goes out any more, and no send is begun.
    pub async fn give_up(&self) {
        self.core.right.end();
        self.core.go_offline();
        self.end(Away::TakenOver).await;
    }

    async fn end(&self, why: Away) {
        let linked = self.is_linked();
        self.core.end(false).await;
        self.has_ended(linked, why);
    }

    fn is_linked(&self) -> bool {
        self.core.live().is_some_and(|live| live.client.pn().is_some())
    }

    fn has_ended(&self, linked: bool, why: Away) {
        // Whoever keeps it next is to know, and does not log in.
        let replaced = matches!(self.status(), Status::Replaced { .. });
        if linked && !replaced {
            self.core.away(why);
        } else if matches!(self.status(), Status::Pairing { .. }) {
            self.core.set(Status::Unpaired { why: Unpaired::NotAsked });
        }
    }

    /// Takes it off the phone and erases its keys, for good. Whether the phone knows: while there is no connection it shows
    /// the session until WhatsApp drops it.
    ///
    /// # Errors
    /// [`StartError`] when the keys are not erased: it has ended all the same, and this can be repeated.
    pub async fn log_out(&self) -> Result<bool, StartError> {
        let mut running = self.core.turn.lock().await;
        let told = self.core.end_in_turn(&mut running, true).await;
        self.core.erase().await?;
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

    /// Tells where it stands, unless that is known: whoever kept it before may have told something else.
    pub(crate) async fn tell_standing(&self) {
        self.core.tell_standing().await;
    }

    /// How its number fares as a sender.
    pub fn health(&self) -> Report {
        lock(&self.core.sender).report(&self.core.parts.settings.allowance, self.core.now())
    }
}
