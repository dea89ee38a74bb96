//! Which adapter stands behind which port. The only file that names concrete ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wotp_channel_console::{Console, Output};
use wotp_channel_email::Email;
use wotp_core::app::{App, Ports};
use wotp_core::domain::vault::Vault;
use wotp_core::ports::{Channel, Unheard};
use wotp_store::limiter::MemoryLimiter;
use wotp_store::queue::{MemoryQueue, RingReceiver};
use wotp_store::sqlite::{OlderSchema, OpenError, OpenOptions, SqliteStore};
use zeroize::Zeroizing;

/// What only the embedded store can do: copies and checks of its file.
pub use wotp_store::sqlite as embedded;

use crate::config::{self, Config, ConsoleOutput};
use crate::data_folder::{DataFolder, FolderError, restoring_file};
use crate::database_lock::{self, Held, LockError};
use crate::system::{OsEntropy, SystemClock, TokioTimer};

/// Rings that may wait for a worker. Beyond that requests are as fast as ever, and the sweep rings
/// again: 16 MB when full.
const QUEUE_CAPACITY: usize = 100_000;

/// The channel that prints.
pub const CONSOLE: &str = Console::NAME;

/// An installation, put together.
pub struct Wired {
    /// The use cases.
    pub app: Arc<App>,
    /// The store behind them, for what only this kind of store can do.
    pub store: Arc<SqliteStore>,
    /// Where the workers hear the rings.
    pub backend: RingReceiver,
    /// The right to what the installation was opened for, until it is dropped. The last to go: until
    /// the store is closed, nobody may put another in its place.
    pub alone: Held,
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
    /// Its database.
    #[error("the database does not open")]
    Store(#[from] OpenError),
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
    /// A file that the email channel needs.
    #[error("{file}, which {key} names, cannot be read")]
    File {
        /// The key that names it.
        key: &'static str,
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
            Self::File { .. } => Some("check that it is there and that the server may read it".to_owned()),
            Self::Lock(error) => Some(error.help().to_owned()),
            Self::OlderServer { .. } => Some(
                "restart the server with this version first, which brings the database up to date; or use the command \
                 of the server's version"
                    .to_owned(),
            ),
            Self::Store(_) | Self::Plans(_) | Self::Console(_) | Self::Email(_) => None,
        }
    }
}

/// The channels that are switched on, in the order they are tried when nobody says another.
///
/// # Errors
/// [`WiringError::Console`], [`WiringError::Email`], [`WiringError::File`].
pub fn channels(config: &Config, folder: &DataFolder) -> Result<Vec<Arc<dyn Channel>>, WiringError> {
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    if let Some(settings) = &config.channels.email {
        let email = Email::new(email(settings, folder)?).map_err(|error| WiringError::Email(error.into()))?;
        channels.push(Arc::new(email));
    }
    let console = &config.channels.console;
    if console.enabled {
        let output = match console.output {
            ConsoleOutput::Stdout => Output::Stdout,
            ConsoleOutput::Nowhere => Output::Nowhere,
        };
        channels.push(Arc::new(Console::new(output).map_err(WiringError::Console)?));
    }
    Ok(channels)
}

fn email(settings: &config::Email, folder: &DataFolder) -> Result<wotp_channel_email::Settings, WiringError> {
    let read = |key: &'static str, name: &str| {
        let file = folder.resolve(name);
        std::fs::read(&file).map_err(|source| WiringError::File { key, file, source })
    };
    let password = match settings.password_file.as_str() {
        "" => None,
        name => {
            let bytes = Zeroizing::new(read("channels.email.password_file", name)?);
            // Editors end a file with a newline; no password does.
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
            Some(text.into())
        }
    };
    let certificate = match settings.certificate_file.as_str() {
        "" => None,
        name => Some(read("channels.email.certificate_file", name)?),
    };
    Ok(wotp_channel_email::Settings {
        port: settings.port,
        tls: match settings.tls {
            config::Tls::Tls => wotp_channel_email::Tls::Tls,
            config::Tls::Starttls => wotp_channel_email::Tls::StartTls,
            config::Tls::None => wotp_channel_email::Tls::None,
        },
        username: Some(settings.username.clone()).filter(|name| !name.is_empty()),
        password,
        extra_root_certificate_pem: certificate,
        ..wotp_channel_email::Settings::new(&settings.host, &settings.from)
    })
}

/// Opens a database beside the server that may be running.
fn open_for_command(database: &Path) -> Result<SqliteStore, WiringError> {
    let options = OpenOptions {
        // A running server has checked it; and a command reads little.
        check: false,
        cache_size_bytes: 2 << 20,
        older: OlderSchema::Refuse,
        ..OpenOptions::default()
    };
    match SqliteStore::open(database, options.clone()) {
        Err(OpenError::Older { found, known, .. }) => {
            // Until it is open: an older server that starts meanwhile is kept away, and then finds
            // it newer than itself.
            let _alone = database_lock::to_serve(database).map_err(|error| match error {
                LockError::Served(_) => WiringError::OlderServer { found, known },
                other => other.into(),
            })?;
            Ok(SqliteStore::open(database, OpenOptions { older: OlderSchema::BringUpToDate, ..options })?)
        }
        opened => Ok(opened?),
    }
}

/// Puts an installation together. Makes the master key and the database when both are missing.
///
/// # Errors
/// [`WiringError`].
pub fn wire(
    config: &Config,
    folder: &DataFolder,
    purpose: Purpose,
    channels: Vec<Arc<dyn Channel>>,
) -> Result<Wired, WiringError> {
    let database = config.database(folder.path());
    let alone = match purpose {
        Purpose::Serve => database_lock::to_serve(&database)?,
        Purpose::Command => database_lock::to_use(&database)?,
    };
    // Of a restore that is gone: one that is under way has the locks.
    let restoring = restoring_file(&database);
    if restoring.exists() {
        return Err(WiringError::RestoreUnfinished(restoring));
    }
    let keys = folder.master_keys(&database, &OsEntropy)?;
    let vault = Vault::new(&keys).expect("a master key file without keys is refused");
    let store = Arc::new(match purpose {
        Purpose::Serve => SqliteStore::open(&database, OpenOptions::default())?,
        Purpose::Command => open_for_command(&database)?,
    });
    let (queue, backend) = MemoryQueue::new(match purpose {
        Purpose::Serve => QUEUE_CAPACITY,
        Purpose::Command => 1,
    });
    let app = App::new(Ports {
        store: Arc::clone(&store) as _,
        queue: Arc::new(queue),
        bulletin: Arc::new(Unheard),
        limiter: Arc::new(MemoryLimiter::default()),
        channels,
        vault,
        plans: config.catalogue(folder.path()).map_err(|problem| WiringError::Plans(problem.into()))?,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        timer: Arc::new(TokioTimer),
    });
    Ok(Wired { app: Arc::new(app), store, backend, alone })
}
