//! Which adapter stands behind which port. The only part that names concrete ones.

mod channels;
pub mod embedded;
mod identity_providers;
mod live;
#[cfg(feature = "plugins")]
mod plugins;
#[cfg(feature = "nodes")]
mod shared;
#[cfg(feature = "nodes")]
mod watched;
#[cfg(feature = "whatsapp")]
mod whatsapp;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

pub use channels::{CONSOLE, channels, plugin_host};
pub use live::Live;
#[cfg(feature = "nodes")]
pub(crate) use shared::look_at_time;
#[cfg(feature = "nodes")]
pub use shared::{Fellows, connect_options, look_at_store, reach_queue};
use wotp_core::app::{App, Ports};
use wotp_core::domain::vault::Vault;
use wotp_core::ports::{Bulletin, Channel, Clock, Limiter, Queue, Store, StoreError};
#[cfg(feature = "nodes")]
use wotp_store::mongo::ConnectError;
use wotp_store::queue::RingReceiver;
#[cfg(feature = "nodes")]
use wotp_store::redis::RedisError;
use wotp_webhook::{HttpSender, Policy, SystemResolver};
use zeroize::Zeroizing;

use crate::config::{Config, QueuePlace, StorePlace};
use crate::data_folder::{DataFolder, FolderError};
use crate::database_lock::{Held, LockError};
use crate::people::{Argon2Passwords, EddsaTokens};
use crate::sealed::{self, SealError};
use crate::system::{OsEntropy, TokioTimer};
use embedded::OpenError;

/// An installation, put together.
pub struct Wired {
    /// The use cases.
    pub app: Arc<App>,
    /// The store behind them, to be closed when all is done.
    pub store: Arc<dyn Store>,
    /// Keeps accounts of tenants logged in, once it is begun.
    pub live: Live,
    /// Who else serves it.
    pub others: Others,
    /// The right to what an embedded installation was opened for, until it is dropped. The last to
    /// go: until the store is closed, nobody may put another in its place.
    pub alone: Option<Held>,
}

/// Who else serves an installation.
pub enum Others {
    /// Nobody: the workers are in this process, and hear the rings here.
    None(RingReceiver),
    /// Other nodes.
    #[cfg(feature = "nodes")]
    Nodes(Fellows),
}

/// What the installation is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To serve it, alone.
    Serve,
    /// For one command, maybe beside a running server.
    Command,
}

/// Why an installation cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// Its folder or its master key.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its URLs cannot be read any more.
    #[error("the store or the queue cannot be found: {0}")]
    Place(String),
    /// Its database.
    #[error("the database does not open")]
    Open(#[from] OpenError),
    /// How passwords are to be hashed.
    #[error("passwords cannot be hashed like that: {0}")]
    Hashing(String),
    /// The store that nodes share.
    #[cfg(feature = "nodes")]
    #[error("the store cannot be used")]
    Connect(#[from] ConnectError),
    /// The queue that nodes share.
    #[cfg(feature = "nodes")]
    #[error("the queue cannot be used")]
    Redis(#[from] RedisError),
    /// A store that nodes share, and nothing to reach it with.
    #[cfg(not(feature = "nodes"))]
    #[error("the store cannot be used: this program was built without the feature `nodes`, which MongoDB needs")]
    NoNodes,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its master key is another one.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Its database is served by an older program, under which it must not change.
    #[error("the server that runs is of an older version (its database has schema {found}, this program's is {known})")]
    OlderServer {
        /// Version of the database.
        found: usize,
        /// Version that this program works with.
        known: usize,
    },
    /// A restore was cut off.
    #[error("a restore of the database was cut off: {0} is still there")]
    RestoreUnfinished(PathBuf),
    /// Another store has taken its place.
    #[error("the database was moved away: {note}")]
    Moved {
        /// To where, and when.
        note: String,
        /// What says so.
        file: PathBuf,
    },
    /// Another process has its database.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its plans.
    #[error("the plans cannot be read")]
    Plans(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The console channel's thread.
    #[error("the console channel cannot be set up")]
    Console(#[source] std::io::Error),
    /// The email channel's settings.
    #[error("the email channel cannot be set up")]
    Email(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A plugin, or its settings.
    #[error("the channel `{name}` cannot be set up with its plugin")]
    Plugin {
        /// The channel's name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Plugins, and nothing to run them in.
    #[error("plugins cannot be run")]
    Plugins(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An identity provider's settings.
    #[error("the identity provider `{name}` cannot be set up")]
    IdentityProvider {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that the configuration names.
    #[error("{file}, which {key} names, cannot be read")]
    File {
        /// The key that names it.
        key: Cow<'static, str>,
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl WiringError {
    /// What to do about it, where the words of the error do not say.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Folder(error) => Some(error.help()),
            Self::RestoreUnfinished(_) => Some("run `wotp restore FILE --force` again with the same backup".to_owned()),
            Self::Moved { file, .. } => Some(format!(
                "name that MongoDB in store.url. To go back to this database instead, stop all nodes that use the other \
                 one for good, and remove {}: what was done there since is not in this one, so codes that went out go \
                 out again, and counts go on from where they were",
                file.display()
            )),
            #[cfg(not(feature = "nodes"))]
            Self::NoNodes => Some(
                "use a program that was built with it, as one is by default, or write sqlite:wotp.db in store.url"
                    .to_owned(),
            ),
            Self::Plugins(_) => Some("take the sections of plugins out, or use another program or machine".to_owned()),
            Self::Plugin { .. } => {
                Some("`wotp plugin check FILE` says what the plugin is and what it asks for".to_owned())
            }
            Self::File { .. } => Some("check that it is there and that the server may read it".to_owned()),
            Self::Lock(error) => Some(error.help().to_owned()),
            Self::OlderServer { .. } => Some(
                "restart the server with this version first, which brings the database up to date; or use the command \
                 of the server's version"
                    .to_owned(),
            ),
            Self::Seal(SealError::Closed(_)) => Some(
                "put back the master.key that belongs to it, or on a new node copy that of another: without it no \
                 address and no code can be read"
                    .to_owned(),
            ),
            Self::Open(_)
            | Self::Place(_)
            | Self::Store(_)
            | Self::Seal(SealError::Store(_))
            | Self::Plans(_)
            | Self::Hashing(_)
            | Self::Console(_)
            | Self::Email(_)
            | Self::IdentityProvider { .. } => None,
            #[cfg(feature = "nodes")]
            Self::Connect(_) | Self::Redis(_) => None,
        }
    }
}

/// A secret that lies in a file of its own, which `key` names.
fn secret_file(
    folder: &DataFolder,
    key: impl Into<Cow<'static, str>>,
    name: &str,
) -> Result<Zeroizing<String>, WiringError> {
    let file = folder.resolve(name);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(source) => return Err(WiringError::File { key: key.into(), file, source }),
    };
    // Editors end a file with a newline; no secret does.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
}

/// What the two kinds of installation differ in.
struct Adapters {
    store: Arc<dyn Store>,
    vault: Vault,
    queue: Arc<dyn Queue>,
    bulletin: Arc<dyn Bulletin>,
    limiter: Arc<dyn Limiter>,
    clock: Arc<dyn Clock>,
    others: Others,
}

/// Puts an installation together. Makes the master key and the database when both are missing.
///
/// # Errors
/// [`WiringError`].
pub async fn wire(
    config: &Config,
    folder: &DataFolder,
    purpose: Purpose,
    channels: Vec<Arc<dyn Channel>>,
) -> Result<Wired, WiringError> {
    let live = Live::of(&config.channels);
    // Whoever has linked a number wants messages to go out through it.
    let channels = live.channels().chain(channels).collect();
    let place = |(problem, _)| WiringError::Place(problem);
    let store = config.store_place(folder.path()).map_err(place)?;
    let queue = config.queue_place(folder.path()).map_err(place)?;
    let (adapters, alone) = match (store, queue) {
        (StorePlace::Embedded(database), _) => {
            let (adapters, alone) = embedded::open(&database, folder, purpose)?;
            (adapters, Some(alone))
        }
        #[cfg(feature = "nodes")]
        (StorePlace::Mongodb(store), QueuePlace::Redis(queue)) => {
            (shared::open(&store, &queue, config, folder, purpose).await?, None)
        }
        #[cfg(not(feature = "nodes"))]
        (StorePlace::Mongodb(_), QueuePlace::Redis(_)) => return Err(WiringError::NoNodes),
        (StorePlace::Mongodb(_), QueuePlace::Memory) => return Err(WiringError::Place("there is no Redis".to_owned())),
    };
    let Adapters { store, vault, queue, bulletin, limiter, clock, others } = adapters;
    sealed::agree(&*store, &vault).await?;
    let app = App::new(Ports {
        store: Arc::clone(&store),
        queue,
        bulletin,
        limiter,
        channels,
        plugins: plugin_host(config, folder, &vault)?,
        identity_providers: match purpose {
            Purpose::Serve => identity_providers::identity_providers(config, folder)?,
            // Nobody signs in by a command.
            Purpose::Command => Vec::new(),
        },
        vault,
        plans: config.catalogue(folder.path()).map_err(|problem| WiringError::Plans(problem.into()))?,
        tenant_rules: config.tenants.rules(),
        clock,
        entropy: Arc::new(OsEntropy),
        timer: Arc::new(TokioTimer),
        webhooks: Arc::new(HttpSender::new(
            Policy {
                allowed_networks: config.webhooks.allowed_networks.clone(),
                http_allowed: config.webhooks.http_allowed,
            },
            Arc::new(SystemResolver::default()),
        )),
        passwords: Arc::new(Argon2Passwords::new(config.auth.hashing()).map_err(WiringError::Hashing)?),
        tokens: Arc::new(EddsaTokens::new()),
        people: config.people(),
        public_url: config.public_url(),
        alone: alone.is_some(),
    });
    Ok(Wired { app: Arc::new(app), store, live, others, alone })
}
