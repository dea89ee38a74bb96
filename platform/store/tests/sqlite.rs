//! What only a file has: crashes, full disks, other programs, other processes.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use wotp_core::domain::id::{ConnectionId, NodeId, TenantId, VerificationId};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::quota::{Resource, Window};
use wotp_core::domain::tenant::Tenant;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{
    Admission, AdmitError, Change, ConnectionStates as _, Entities as _, Filter, StateChange, StateKey, StateRow,
    Store, StoreError, TenantAccount,
};
use wotp_core::testing::builders::{
    a_service, a_stored_key, a_tenant, a_verification, admission, entropy, noon, seconds,
};
use wotp_store::sqlite::{BackupError, OpenError, OpenOptions, SqliteStore, backup, verify};

const TO: &str = "+12025550123";

struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("wotp.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.file(), OpenOptions::default()).unwrap()
    }

    fn refusal(&self) -> OpenError {
        match SqliteStore::open(self.file(), OpenOptions::default()) {
            Ok(_) => panic!("it should not open"),
            Err(error) => error,
        }
    }
}

fn tenant() -> TenantId {
    TenantId::new(noon(), entropy())
}

async fn start(store: &dyn Store, tenant: TenantId) -> Result<Verification, AdmitError> {
    let new = admission(a_verification(tenant, TO, noon()));
    match store.tenant(tenant).admit(new).await? {
        Admission::Admitted(verification) | Admission::Repeated(verification) => Ok(verification),
    }
}

async fn used(store: &dyn Store, tenant: TenantId) -> u64 {
    store.tenant(tenant).usage(Resource::Verifications, &[Window::day(noon())]).await.unwrap()[0].used
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_reopening_and_the_log_is_gone() {
    let home = Home::new();
    let tenant = tenant();
    let verification = start(&home.open(), tenant).await.unwrap();
    assert!(!home.path("wotp.db-wal").exists(), "a clean end leaves one file");
    let store = home.open();
    assert_eq!(store.tenant(tenant).find_verification(verification.id).await.unwrap(), Some(verification));
    assert_eq!(used(&store, tenant).await, 1);
}

/// A copy of the files at any moment is what a power cut leaves.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_cut_at_any_moment() {
    let home = Home::new();
    let store = Arc::new(home.open());
    let tenant = tenant();
    for cut in 0..10 {
        let mut calls = JoinSet::new();
        for _ in 0..32 {
            let store = Arc::clone(&store);
            calls.spawn(async move { start(&*store, tenant).await.unwrap().id });
        }
        let mut answered = Vec::new();
        for _ in 0..16 {
            answered.push(calls.join_next().await.unwrap().unwrap());
        }
        // The log last would lose nothing; first, it may be older than the file, which no crash
        // makes. So the file first, while the log only grows: no checkpoint comes so early.
        let after = TempDir::new().unwrap();
        for name in ["wotp.db", "wotp.db-wal"] {
            std::fs::copy(home.path(name), after.path().join(name)).unwrap();
        }
        calls.join_all().await;
        let recovered = SqliteStore::open(after.path().join("wotp.db"), OpenOptions::default()).unwrap();
        for id in &answered {
            assert!(recovered.tenant(tenant).find_verification(*id).await.unwrap().is_some(), "lost at cut {cut}");
        }
        let stored = recovered.stats().await.unwrap().verifications;
        assert_eq!(used(&recovered, tenant).await, stored, "usage is what was admitted");
    }
}

#[tokio::test]
async fn another_programs_file_is_refused_and_left_alone() {
    let home = Home::new();
    let other = Connection::open(home.file()).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    let before = std::fs::read(home.file()).unwrap();
    assert!(matches!(home.refusal(), OpenError::Foreign(_)));
    assert_eq!(std::fs::read(home.file()).unwrap(), before);
}

#[tokio::test]
async fn a_newer_programs_file_is_refused_by_both_numbers() {
    let home = Home::new();
    drop(home.open());
    let known = verify(&home.file()).unwrap();
    Connection::open(home.file()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    match home.refusal() {
        OpenError::Newer { found: 99, known: k, .. } => assert_eq!(k, known),
        other => panic!("it is of the future: {other}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_called_damaged() {
    let home = Home::new();
    std::fs::write(home.file(), "this is no database, however you read it".repeat(100)).unwrap();
    let error = home.refusal();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("wotp restore"), "{error}");
}

#[tokio::test]
async fn a_small_file_that_was_damaged_in_a_crash_is_noticed_at_the_start() {
    let home = Home::new();
    let store = home.open();
    let tenant = tenant();
    for _ in 0..50 {
        start(&store, tenant).await.unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(home.file()).unwrap();
    // Page 1 is the schema; behind it, every page starts with its kind.
    for page in bytes.chunks_mut(8192).skip(1) {
        page[..8].fill(0xEE);
    }
    std::fs::write(home.file(), bytes).unwrap();
    std::fs::write(home.path("wotp.db-wal"), [0; 32]).unwrap();
    assert!(matches!(home.refusal(), OpenError::Damaged { .. }));
    assert!(matches!(verify(&home.file()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_missing_file_or_folder_is_called_missing() {
    let home = Home::new();
    let options = OpenOptions { create: false, ..OpenOptions::default() };
    assert!(matches!(SqliteStore::open(home.file(), options), Err(OpenError::Missing(_))));
    let nowhere = home.path("nowhere").join("wotp.db");
    assert!(matches!(SqliteStore::open(nowhere, OpenOptions::default()), Err(OpenError::FolderMissing(_))));
    assert!(matches!(verify(&home.file()), Err(OpenError::Missing(_))));
}

/// Root may write to any folder, but nobody may to this one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_may_not_be_written_to_is_called_so() {
    let error = SqliteStore::open(Path::new("/proc/self/wotp.db"), OpenOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("permissions"), "{error}");
}

#[tokio::test]
async fn while_writes_fail_reading_goes_on_and_writing_comes_back() {
    let home = Home::new();
    let tenant = tenant();
    let store = home.open();
    let verification = start(&store, tenant).await.unwrap();
    let other = Connection::open(home.file()).unwrap();
    // Every insert fails from now on.
    other
        .execute_batch("CREATE TRIGGER frozen BEFORE INSERT ON verification BEGIN SELECT RAISE(FAIL, 'frozen'); END")
        .unwrap();
    assert!(matches!(start(&store, tenant).await, Err(AdmitError::Store(StoreError::Unavailable(_)))));
    assert_eq!(store.tenant(tenant).find_verification(verification.id).await.unwrap(), Some(verification));
    assert_eq!(used(&store, tenant).await, 1);
    other.execute_batch("DROP TRIGGER frozen").unwrap();
    start(&store, tenant).await.unwrap();
    assert_eq!(used(&store, tenant).await, 2);
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_once_there_is_room() {
    let home = Home::new();
    let options = OpenOptions { max_size_bytes: Some(400_000), ..OpenOptions::default() };
    let store = SqliteStore::open(home.file(), options).unwrap();
    let tenant = tenant();
    let mut kept = Vec::new();
    let full = loop {
        match start(&store, tenant).await {
            Ok(verification) => kept.push(verification.id),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000, "400 kB do not hold a thousand");
    };
    assert!(matches!(full, AdmitError::Store(StoreError::Full(_))), "{full:?}");
    assert_eq!(used(&store, tenant).await, kept.len() as u64, "what was refused is not counted");
    for id in kept.iter().take(40) {
        store.tenant(tenant).delete_verification(*id).await.unwrap();
    }
    start(&store, tenant).await.unwrap();
    assert_eq!(used(&store, tenant).await, kept.len() as u64 + 1);
}

/// One command of a group breaks in SQLite itself; its neighbours do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_breaks_does_not_break_its_neighbours() {
    let home = Home::new();
    let store = Arc::new(home.open());
    let tenant = tenant();
    let taken = start(&*store, tenant).await.unwrap();
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let (store, taken) = (Arc::clone(&store), taken.clone());
        calls.spawn(async move {
            // An id that exists already breaks a unique index: nothing that a caller could cause.
            let broken = n % 10 == 0;
            let verification = if broken { taken } else { a_verification(tenant, TO, noon()) };
            let outcome = store.tenant(tenant).admit(admission(verification)).await;
            assert_eq!(outcome.is_err(), broken, "{outcome:?}");
        });
    }
    calls.join_all().await;
    assert_eq!(used(&*store, tenant).await, 181);
    assert_eq!(store.stats().await.unwrap().verifications, 181);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_while_writing_is_whole_and_counts_what_it_holds() {
    let home = Home::new();
    let store = Arc::new(home.open());
    let tenant = tenant();
    for _ in 0..100 {
        start(&*store, tenant).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        writers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                start(&*store, tenant).await.unwrap();
            }
        });
    }
    for name in ["one.db", "two.db"] {
        let (from, to) = (home.file(), home.path(name));
        let mut reported = Vec::new();
        // As another process does it: by path, without the store.
        let reported = tokio::task::spawn_blocking(move || {
            backup(&from, &to, |progress| reported.push(progress)).unwrap();
            reported
        })
        .await
        .unwrap();
        let last = reported.last().unwrap();
        assert_eq!(last.copied, last.total);
    }
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    for name in ["one.db", "two.db"] {
        assert!(!home.path(&format!("{name}-wal")).exists(), "a backup is one file");
        let copy = SqliteStore::open(home.path(name), OpenOptions::default()).unwrap();
        let stats = copy.stats().await.unwrap();
        assert!(stats.verifications >= 100);
        assert_eq!(used(&copy, tenant).await, stats.verifications, "usage is what was admitted");
    }
    assert!(matches!(store.backup(&home.path("one.db"), |_| ()), Err(BackupError::Exists(_))));
}

#[cfg(unix)]
#[tokio::test]
async fn a_backup_is_for_its_owner_only_and_leaves_nothing_when_it_fails() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let store = home.open();
    store.backup(&home.path("copy.db"), |_| ()).unwrap();
    assert_eq!(home.path("copy.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(store.backup(&home.path("no").join("copy.db"), |_| ()), Err(BackupError::Write { .. })));
    std::fs::write(home.path("foreign.db"), "no database".repeat(1000)).unwrap();
    assert!(matches!(backup(&home.path("foreign.db"), &home.path("x.db"), |_| ()), Err(BackupError::Open(_))));
    assert!(!home.path("x.db").exists() && !home.path("x.db.partial").exists());
}

/// The command line beside the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_creates_tenants_and_keys_while_the_first_serves() {
    let home = Home::new();
    let server = Arc::new(home.open());
    let busy = tenant();
    let mut serving = JoinSet::new();
    for _ in 0..4 {
        let server = Arc::clone(&server);
        serving.spawn(async move {
            for _ in 0..50 {
                start(&*server, busy).await.unwrap();
            }
        });
    }
    let beside = OpenOptions { check: false, ..OpenOptions::default() };
    for _ in 0..5 {
        let command = SqliteStore::open(home.file(), beside.clone()).unwrap();
        let new = a_tenant();
        let (key, hash) = a_stored_key(new.id, Mode::Live);
        command.create_tenant(&new, &a_service(&new), &[(key, hash)]).await.unwrap();
        drop(command);
        let holder = server.find_key(&hash).await.unwrap().expect("the server sees it at once");
        assert_eq!(holder.tenant, new);
        start(&*server, new.id).await.unwrap();
        assert_eq!(used(&*server, new.id).await, 1);
    }
    serving.join_all().await;
    assert_eq!(used(&*server, busy).await, 200);
    assert_eq!(server.tenants().await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_waits_when_the_store_is_dropped_is_done_first() {
    let home = Home::new();
    let tenant = tenant();
    let store = home.open();
    let id = {
        let new = admission(a_verification(tenant, TO, noon()));
        let id = new.verification.id;
        let door = store.tenant(tenant);
        let mut call = door.admit(new);
        // Handed to the writer, and its caller gone before the answer.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await;
        drop(polled);
        id
    };
    drop(store);
    assert!(home.open().tenant(tenant).find_verification(id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_log_does_not_grow_without_end() {
    let home = Home::new();
    let store = Arc::new(home.open());
    let tenant = tenant();
    let one = a_verification(tenant, TO, noon());
    let mut longest = 0;
    for _ in 0..8 {
        let mut calls = JoinSet::new();
        for n in 0..1000 {
            let id = VerificationId::new(seconds(n), entropy());
            let (store, new) = (Arc::clone(&store), admission(Verification { id, ..one.clone() }));
            calls.spawn(async move { store.tenant(tenant).admit(new).await.unwrap() });
        }
        calls.join_all().await;
        longest = longest.max(store.stats().await.unwrap().log_size_bytes);
    }
    let page = store.tenant(tenant).verifications(&Filter::default(), None, 1).await.unwrap();
    assert!(page.more);
    assert!(longest < 128 << 20, "the log grew to {longest} bytes");
}

#[tokio::test]
async fn what_a_newer_program_added_to_tenants_services_and_keys_stays() {
    let home = Home::new();
    let store = SqliteStore::open(home.file(), OpenOptions::default()).unwrap();
    let tenant = a_tenant();
    let (mut key, hash) = a_stored_key(tenant.id, Mode::Live);
    key.expires_at = Some(seconds(3600));
    store.create_tenant(&tenant, &a_service(&tenant), &[(key.clone(), hash)]).await.unwrap();
    let connection = Connection::open(home.file()).unwrap();
    for table in ["tenant", "service", "api_key"] {
        let sql = format!("UPDATE {table} SET doc = json_set(doc, '$.color', json('{{\"name\":\"red\"}}'))");
        assert_eq!(connection.execute(&sql, []).unwrap(), 1);
    }
    let mut service = store.tenant(tenant.id).find_service(tenant.default_service).await.unwrap().unwrap();
    service.name = "Login".to_owned();
    store.tenant(tenant.id).replace_service(&mut service).await.unwrap();
    service.name = "Sign-in".to_owned();
    key.expires_at = None;
    let named = Tenant { name: "Acme Limited".to_owned(), ..tenant.clone() };
    let changes = vec![
        Change::ReplaceTenant(Box::new(named)),
        Change::ReplaceService(Box::new(service)),
        Change::ReplaceKey(Box::new(key)),
    ];
    store.commit(changes).await.unwrap();
    for table in ["tenant", "service", "api_key"] {
        let color = format!("SELECT doc ->> '$.color.name' FROM {table}");
        let color: Option<String> = connection.query_row(&color, [], |row| row.get(0)).unwrap();
        assert_eq!(color.as_deref(), Some("red"), "{table}");
    }
    let found = store.find_key(&hash).await.unwrap().unwrap();
    assert_eq!((found.key.expires_at, found.tenant.name.as_str()), (None, "Acme Limited"), "its own come and go");
    let service = store.tenant(tenant.id).find_service(tenant.default_service).await.unwrap().unwrap();
    assert_eq!(service.name, "Sign-in");
}

/// Under these the writer of the test below keeps one number, in one write each time.
const KEPT: [StateKey; 2] =
    [StateKey { kind: 1, group: [1; 16], name: [1; 16] }, StateKey { kind: 2, group: [2; 16], name: [2; 16] }];

async fn kept(store: &SqliteStore) -> Option<u32> {
    let lease = store.connection_leases().await.unwrap().pop()?;
    let values = store.read_state(lease.of, &KEPT).await.unwrap();
    assert_eq!(values[0], values[1], "both or none");
    values[0].as_deref().map(|value| u32::from_be_bytes(value.try_into().unwrap()))
}

/// What the process does that is killed.
async fn write_until_killed(file: std::ffi::OsString) {
    use std::io::Write as _;
    let mut told = std::io::stdout();
    let store = SqliteStore::open(PathBuf::from(file), OpenOptions::default()).unwrap();
    let last = kept(&store).await.unwrap_or(0);
    let of =
        TenantAccount { tenant: store.tenants().await.unwrap()[0].id, connection: ConnectionId::from_bytes([1; 16]) };
    store.recover(seconds(1)).await.unwrap();
    let holder = NodeId::new(noon(), entropy());
    let lease = store.take_connection(of, holder, seconds(1), seconds(60)).await.unwrap().unwrap();
    for number in last + 1.. {
        let put = |key: &StateKey| StateChange::Put(StateRow { key: *key, value: number.to_be_bytes().to_vec() });
        store.write_state(&lease, KEPT.iter().map(put).collect()).await.unwrap();
        writeln!(told, "told {number}").unwrap();
    }
}

#[tokio::test]
async fn what_a_connection_is_to_remember_survives_kill_9_at_any_moment() {
    use std::io::{BufRead as _, BufReader};
    // It starts itself once more for each process that it kills.
    if let Some(file) = std::env::var_os("KILLED_FILE") {
        return write_until_killed(file).await;
    }
    let home = Home::new();
    let tenant = a_tenant();
    home.open().create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
    let mut fence = 0;
    for round in 0..5 {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_a_connection_is_to_remember_survives_kill_9_at_any_moment", "--nocapture"])
            .env("KILLED_FILE", home.file())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut told = lines.filter_map(|line| line.strip_prefix("told ").map(|number| number.parse().unwrap()));
        let mut last: u32 = told.nth(20 + 13 * round).unwrap();
        writer.kill().unwrap();
        writer.wait().unwrap();
        last = told.last().unwrap_or(last);
        let store = home.open();
        let found = kept(&store).await.unwrap();
        // One more may be there of which it was not told any more.
        assert!(found == last || found == last + 1, "told of {last}, found {found}");
        let lease = store.connection_leases().await.unwrap().remove(0);
        assert!(lease.fence > fence, "each process has a fence of its own");
        fence = lease.fence;
    }
}
