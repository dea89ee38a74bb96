//! Opening a file: whose it is, how old it is, and bringing it up to date.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::{Kind, kind};

/// "WOTP" in ASCII: tells our files from other programs'. NEVER change it.
pub(super) const APPLICATION_ID: i32 = 0x574F_5450;

/// Each brings a file from the version of its index to the next. NEVER change one that was released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
];

/// The version of the files that this program writes.
pub const VERSION: usize = MIGRATIONS.len();

/// Each changed page is written whole, and most changes are of a few hundred bytes. Measured: 8 KB
/// costs the same processor and writes a quarter more.
const PAGE_SIZE: u32 = 4096;
/// How long to wait for another process's write: the command line's are milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS: usize = 128;
/// Memory for pages of each connection that reads: the upper levels of the indexes. There are
/// several, every write of the writer empties them, and the system's own page cache is behind them.
const READER_CACHE_SIZE_BYTES: u32 = 2 << 20;
/// Files up to this size are checked whole at each start: 64 MB take about 100 ms. Larger ones would
/// delay it, and the log protects them from crashes as well; `wotp doctor` checks any size.
const CHECKED_SIZE_BYTES: u64 = 64 << 20;
/// What is checked of larger files: tables that every request needs, and that are small. One that was
/// cut off does not get that far: SQLite compares its length with its head when it opens it.
///
/// The rest is not checked later either, beside the requests: a check reads from one moment of the
/// store, and until it is done the log of what is written meanwhile cannot be used again.
const CHECKED_TABLES: [&str; 3] = ["tenant", "service", "api_key"];

/// What is to become of a file whose schema is older than this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OlderSchema {
    /// It is brought up to date. A program of the older version could not go on with it, so nobody
    /// else may have it open.
    BringUpToDate,
    /// It is left as it is and does not open.
    Refuse,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Whether to create the file when there is none.
    pub create: bool,
    /// Memory for pages of the connection that writes, in bytes. It is taken as it is needed.
    pub cache_size_bytes: u32,
    /// Most that the file may grow to, in bytes; the store answers that it is full before that.
    pub max_size_bytes: Option<u64>,
    /// Whether to check a small file whole, about a millisecond a megabyte, and of a large one what
    /// every request needs. Off for a command beside a running server, which has done so.
    pub check: bool,
    /// What is to become of an older file. A new one is made up to date in any case.
    pub older: OlderSchema,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            create: true,
            cache_size_bytes: 16 << 20,
            max_size_bytes: None,
            check: true,
            older: OlderSchema::BringUpToDate,
        }
    }
}

/// Why a store does not open. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file, and it was not to be created.
    #[error("there is no store at {0}: start the server once, or restore a backup")]
    Missing(PathBuf),
    /// The folder is not there.
    #[error("the folder of {0} does not exist: create it, or name another data folder")]
    FolderMissing(PathBuf),
    /// Another program's file.
    #[error("{0} is an SQLite file of another program: name another data folder")]
    Foreign(PathBuf),
    /// A file of a newer WOTP.
    #[error(
        "{path} was written by a newer WOTP (its schema is {found}, this program knows {known}): run the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest version that this program knows.
        known: usize,
    },
    /// A file of an older WOTP, which was not to be changed.
    #[error(
        "{path} was written by an older WOTP (its schema is {found}, this program's is {known}): start the server of \
         this version once, which brings it up to date"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The version that this program works with.
        known: usize,
    },
    /// It is no database, or it is broken.
    #[error("{path} is damaged or no database ({detail}): restore a backup with `wotp restore`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It may not be written.
    #[error("{path} cannot be opened for writing: check the owner and the permissions of the file and its folder")]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// There is no room for it.
    #[error("there is no room on the disk of {path}: make some")]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Anything else.
    #[error("{path} does not open")]
    Other {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The system gives no thread.
    #[error("the store's thread does not start")]
    Thread {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl OpenError {
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match kind(&source) {
            Kind::Full => Self::Full { path, source },
            Kind::ReadOnly => Self::ReadOnly { path, source },
            Kind::Damaged => Self::Damaged { path, detail: source.to_string() },
            Kind::Other => Self::Other { path, source },
        }
    }
}

/// A connection that may write, to a file that is known to be ours.
pub(super) fn connect(path: &Path, options: &OpenOptions) -> Result<Connection, OpenError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        configure(&connection, options.cache_size_bytes)?;
        // Every commit is flushed: what was answered survives a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Nothing here refers to anything by foreign key.
        connection.pragma_update(None, "foreign_keys", false)?;
        Ok(connection)
    };
    open().map_err(|error| OpenError::of(path, error))
}

/// A connection that only reads.
pub(super) fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection, READER_CACHE_SIZE_BYTES)?;
    Ok(connection)
}

fn configure(connection: &Connection, cache_size_bytes: u32) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it SQLite prepares a statement over a partial index again for every new value: a tenth
    // of an admission's cost, for a plan that is the same each time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Negative means kibibytes.
    connection.pragma_update(None, "cache_size", -i64::from(cache_size_bytes / 1024))?;
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// The version of the file, which is ours and not newer than we are; none when it is empty.
pub(super) fn belongs(path: &Path, connection: &Connection) -> Result<Option<usize>, OpenError> {
    let read = || {
        let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((objects, pragma(connection, "application_id")?, pragma(connection, "user_version")?))
    };
    let (objects, application, version) = read().map_err(|error| OpenError::of(path, error))?;
    if objects == 0 && application == 0 {
        return Ok(None);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    if found > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    Ok(Some(found))
}

/// The version of the file; 0 when it is empty.
fn version(path: &Path, connection: &Connection) -> Result<usize, OpenError> {
    Ok(belongs(path, connection)?.unwrap_or(0))
}

/// Brings a file to `target`; one that is there already stays as it is.
pub(super) fn migrate(path: &Path, connection: &mut Connection, target: usize) -> Result<(), OpenError> {
    if version(path, connection)? >= target {
        return Ok(());
    }
    let sql = |error| OpenError::of(path, error);
    // Another process may be doing the same: whoever gets the lock second finds it done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    let from = version(path, &transaction)?;
    // That a new file gets its tables is no news.
    if (1..target).contains(&from) {
        tracing::info!(from, to = target, "the store's schema is brought up to date");
    }
    for step in MIGRATIONS.iter().take(target).skip(from) {
        transaction.execute_batch(step).map_err(sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(sql)?;
    let version = i64::try_from(target.max(from)).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", version).map_err(sql)?;
    transaction.commit().map_err(sql)
}

/// Opens a file for writing, at this program's version.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Connection, OpenError> {
    if !path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        return Err(OpenError::FolderMissing(path.to_owned()));
    }
    let exists = path.metadata().is_ok_and(|file| file.len() > 0);
    if !exists && !options.create {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let mut connection = connect(path, options)?;
    let sql = |error| OpenError::of(path, error);
    // Before anything is written: it might be somebody else's.
    match belongs(path, &connection)? {
        None => connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(sql)?,
        Some(found) if found < VERSION && options.older == OlderSchema::Refuse => {
            return Err(OpenError::Older { path: path.to_owned(), found, known: VERSION });
        }
        Some(_) => {}
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
    if options.check {
        check_at_start(path, &connection, CHECKED_SIZE_BYTES)?;
    }
    migrate(path, &mut connection, VERSION)?;
    if let Some(size) = options.max_size_bytes {
        let page_size = pragma(&connection, "page_size").map_err(sql)?.max(1);
        let pages = i64::try_from(size).unwrap_or(i64::MAX) / page_size;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(sql)?;
    }
    Ok(connection)
}

/// Checks a file of up to `whole_size_bytes` whole, and the most important tables of a larger one.
fn check_at_start(path: &Path, connection: &Connection, whole_size_bytes: u64) -> Result<(), OpenError> {
    if path.metadata().is_ok_and(|file| file.len() <= whole_size_bytes) {
        return check(path, connection, "quick_check(1)");
    }
    CHECKED_TABLES.iter().try_for_each(|table| check(path, connection, &format!("quick_check({table})")))
}

/// Runs one of SQLite's checks.
pub(super) fn check(path: &Path, connection: &Connection, pragma: &str) -> Result<(), OpenError> {
    let found: String = connection
        .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
        .map_err(|error| OpenError::of(path, error))?;
    if found == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), detail: found }) }
}

/// The write-ahead log that belongs to a file.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

#[cfg(test)]
#[path = "migrations/tests.rs"]
mod migration_tests;

#[cfg(test)]
mod tests {
    use rusqlite::types::ValueRef;
    use tempfile::TempDir;
    use wotp_core::domain::Timestamp;
    use wotp_core::domain::id::ConnectionId;
    use wotp_core::domain::mode::Mode;
    use wotp_core::ports::{
        ConnectionStates as _, Filter, StateChange, StateKey, StateRange, StateRow, Store as _, TenantAccount,
    };
    use wotp_core::testing::builders::{
        a_message, a_node, a_service, a_stored_key, a_tenant, a_verification, admission, an_idempotency,
        message_admission, noon, seconds,
    };

    use super::*;
    use crate::sqlite::{SqliteStore, salvage_keys};

    /// What a store of each version held, written by the program of that time: `FIXTURES[n]` goes into
    /// a file of version `n + 1`. A migration that comes without one does not compile.
    const FIXTURES: [&str; VERSION] = [
        include_str!("migrations/0001.fixture.sql"),
        include_str!("migrations/0002.fixture.sql"),
        include_str!("migrations/0003.fixture.sql"),
        include_str!("migrations/0004.fixture.sql"),
        include_str!("migrations/0005.fixture.sql"),
        include_str!("migrations/0006.fixture.sql"),
        include_str!("migrations/0007.fixture.sql"),
    ];

    fn written_by(version: usize, folder: &TempDir) -> PathBuf {
        let path = folder.path().join(format!("version-{version}.db"));
        let mut connection = connect(&path, &OpenOptions::default()).unwrap();
        migrate(&path, &mut connection, version).unwrap();
        connection.execute_batch(FIXTURES[version - 1]).unwrap();
        path
    }

    #[tokio::test]
    async fn a_file_of_every_version_is_brought_up_to_date_and_keeps_what_it_holds() {
        let folder = TempDir::new().unwrap();
        for version in 1..=VERSION {
            let store = SqliteStore::open(written_by(version, &folder), OpenOptions::default()).unwrap();
            let stats = store.stats().await.unwrap();
            assert_eq!((stats.schema_version, stats.tenants, stats.idempotency_keys), (VERSION, 1, 1));
            let tenant = store.tenants().await.unwrap().remove(0);
            let door = store.tenant(tenant.id);
            assert_eq!(door.services().await.unwrap().len(), 1);
            assert_eq!(door.keys(None, 9).await.unwrap().items.len(), 1);
            assert_eq!(door.working_keys(noon()).await.unwrap().len(), 1);
            let verification = door.verifications(&Filter::default(), None, 9).await.unwrap().items.remove(0);
            let address = verification.address.as_ref().map(|address| address.index);
            let same = door.verifications(&Filter { address, ..Filter::default() }, None, 9).await.unwrap();
            assert_eq!(same.items, [verification]);
            assert_eq!(door.messages(&Filter::default(), None, 9).await.unwrap().items.len(), 1);
            assert_eq!(store.due(Timestamp::MAX, 9).await.unwrap().len(), 2);
            let leases = store.connection_leases().await.unwrap();
            assert_eq!(leases.len(), usize::from(version >= 7));
            for lease in leases {
                let state = store.list_state(lease.of, StateRange::All, None, 9).await.unwrap();
                assert_eq!(state.iter().map(|row| row.value.len()).collect::<Vec<_>>(), [16]);
            }
        }
    }

    /// A file of ours from before the first version, as a first start that was cut off may leave one.
    fn of_version_0(folder: &TempDir) -> PathBuf {
        let path = folder.path().join("version-0.db");
        let connection = connect(&path, &OpenOptions::default()).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        path
    }

    #[test]
    fn an_older_file_is_left_as_it_is_when_it_is_not_to_be_changed() {
        let folder = TempDir::new().unwrap();
        let options = OpenOptions { older: OlderSchema::Refuse, ..OpenOptions::default() };
        let files = (1..VERSION).map(|version| (version, written_by(version, &folder)));
        for (version, path) in [(0, of_version_0(&folder))].into_iter().chain(files) {
            let before = std::fs::read(&path).unwrap();
            let error = open(&path, &options).unwrap_err();
            assert!(matches!(error, OpenError::Older { found, known: VERSION, .. } if found == version), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
            // Whoever may change it brings it up to date, and from then on it opens for all.
            open(&path, &OpenOptions::default()).unwrap();
            open(&path, &options).unwrap();
        }
    }

    #[test]
    fn of_a_large_file_what_every_request_needs_is_checked_at_the_start() {
        let folder = TempDir::new().unwrap();
        let path = written_by(VERSION, &folder);
        let sound = std::fs::read(&path).unwrap();
        let (size, pages): (usize, Vec<(String, usize)>) = {
            let connection = Connection::open(&path).unwrap();
            let sql = "SELECT name, rootpage FROM sqlite_schema
                       WHERE tbl_name IN ('tenant', 'service', 'api_key') OR name = 'verification'";
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let size = usize::try_from(pragma(&connection, "page_size").unwrap()).unwrap();
            (size, rows.collect::<Result<_, _>>().unwrap())
        };
        for (name, page) in pages {
            let mut damaged = sound.clone();
            damaged[(page - 1) * size..][..8].fill(0xEE);
            std::fs::write(&path, damaged).unwrap();
            let connection = connect(&path, &OpenOptions::default()).unwrap();
            let (large, small) = (check_at_start(&path, &connection, 0), check_at_start(&path, &connection, 1 << 20));
            assert!(matches!(small, Err(OpenError::Damaged { .. })), "{name}");
            assert_eq!(large.is_ok(), name == "verification", "{name}: {large:?}");
        }
    }

    #[test]
    fn a_large_file_that_was_cut_off_does_not_open() {
        let folder = TempDir::new().unwrap();
        let path = written_by(VERSION, &folder);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - usize::try_from(PAGE_SIZE).unwrap()]).unwrap();
        let options = OpenOptions { check: false, ..OpenOptions::default() };
        assert!(matches!(open(&path, &options), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn the_keys_of_every_version_can_be_read_without_changing_the_file() {
        let folder = TempDir::new().unwrap();
        for version in 1..=VERSION {
            let path = written_by(version, &folder);
            let before = std::fs::read(&path).unwrap();
            let keys = salvage_keys(&path).unwrap();
            assert_eq!(keys.iter().map(|key| key.shown.as_str()).collect::<Vec<_>>(), ["wk_live_GuMo"]);
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn a_new_file_is_made_and_one_of_this_version_opens_without_changing_older_ones() {
        let folder = TempDir::new().unwrap();
        let options = OpenOptions { older: OlderSchema::Refuse, ..OpenOptions::default() };
        for path in [folder.path().join("new.db"), written_by(VERSION, &folder)] {
            let connection = open(&path, &options).unwrap();
            assert_eq!(version(&path, &connection).unwrap(), VERSION);
        }
    }

    #[test]
    fn a_new_file_and_one_that_grew_up_have_the_same_schema() {
        let folder = TempDir::new().unwrap();
        let schema = |path: &Path| {
            let connection = open(path, &OpenOptions::default()).unwrap();
            let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.collect::<Result<Vec<(String, Option<String>)>, _>>().unwrap()
        };
        let new = schema(&folder.path().join("new.db"));
        for version in 1..=VERSION {
            assert_eq!(schema(&written_by(version, &folder)), new);
        }
    }

    /// Prints a fixture for the newest version: run it once when a migration is added, and NEVER
    /// replace the fixture of a version that was released.
    ///
    /// `cargo test -p wotp-store -- --ignored --nocapture print_a_fixture`
    #[tokio::test]
    #[ignore = "a tool, not a test"]
    async fn print_a_fixture() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let store = SqliteStore::open(&path, OpenOptions::default()).unwrap();
        let tenant = a_tenant();
        let key = a_stored_key(tenant.id, Mode::Live);
        store.create_tenant(&tenant, &a_service(&tenant), &[key]).await.unwrap();
        let door = store.tenant(tenant.id);
        let mut verification = admission(a_verification(tenant.id, "+12025550123", noon()));
        verification.idempotency = Some(an_idempotency(1, 1, noon()));
        door.admit(verification).await.unwrap();
        door.admit_message(message_admission(a_message(tenant.id, "+12025550123", noon()))).await.unwrap();
        let node = a_node(noon());
        store.note_node(&node).await.unwrap();
        store.take_lease("sweep", node.id, noon(), seconds(10)).await.unwrap();
        store.keep_key_check(1, [1; 32]).await.unwrap();
        let of = TenantAccount { tenant: tenant.id, connection: ConnectionId::from_bytes([1; 16]) };
        let lease = store.take_connection(of, node.id, noon(), seconds(10)).await.unwrap().unwrap();
        let key = StateKey { kind: 1, group: [1; 16], name: [1; 16] };
        store.write_state(&lease, vec![StateChange::Put(StateRow { key, value: vec![1; 16] })]).await.unwrap();
        let connection = Connection::open(&path).unwrap();
        let tables = ["tenant", "service", "api_key", "verification", "message", "usage", "idempotency"];
        for table in tables.into_iter().chain([
            "verification_state",
            "message_state",
            "verification_address_log",
            "message_address_log",
            "node",
            "lease",
            "key_check",
            "entity",
            "entity_key",
            "entity_unique",
            "outbox",
            "connection_lease",
            "connection_state",
        ]) {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_names().collect::<Vec<_>>().join(", ");
            let width = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values: Vec<String> = (0..width)
                    .map(|column| match row.get_ref(column).unwrap() {
                        ValueRef::Null => "NULL".to_owned(),
                        ValueRef::Integer(number) => number.to_string(),
                        ValueRef::Blob(bytes) => {
                            format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
                        }
                        other => format!("'{}'", other.as_str().unwrap().replace('\'', "''")),
                    })
                    .collect();
                println!("INSERT INTO {table} ({columns}) VALUES ({});", values.join(", "));
            }
        }
    }
}
