//! MongoDB, as a replica set of one member or of three.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::PathBuf;
use std::process::Child;
use std::sync::OnceLock;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, Ended, on_free_port, scratch, until};

/// Where to reach the server that all tests of this run share: `TEST_MONGODB_URL` if that is set, else
/// one of this process's own.
pub fn mongo_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("TEST_MONGODB_URL").unwrap_or_else(|_| {
            static OWN: OnceLock<ReplicaSet> = OnceLock::new();
            OWN.get_or_init(|| ReplicaSet::start(1)).url("")
        })
    })
}

/// A database of its own on the shared server, dropped with it.
pub struct MongoDatabase {
    url: String,
    name: String,
}

impl MongoDatabase {
    /// A database that is not there yet.
    pub fn fresh() -> Self {
        // Not the process's number: those come again within a run, and Redis keeps what a test of that number left.
        let name = format!("test_{:016x}", RandomState::new().build_hasher().finish());
        let (server, options) =
            mongo_url().split_once("/?").expect("the URL has options, as in mongodb://HOST/?OPTIONS");
        Self { url: format!("{server}/{name}?{options}"), name }
    }

    /// A URL that names it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every document, as bytes, under the name of its collection.
    pub fn dump(&self) -> Vec<(String, Vec<u8>)> {
        let collections = self.rows(doc! { "listCollections": 1, "nameOnly": true });
        let names = collections.iter().map(|collection| collection.get_str("name").expect("a name").to_owned());
        let documents = |name: String| {
            let found = self.documents(&name);
            found.into_iter().map(move |row| (name.clone(), row.to_vec().expect("a document has bytes")))
        };
        names.flat_map(documents).collect()
    }

    /// Every document of a collection; some thousand at most.
    pub fn documents(&self, collection: &str) -> Vec<Document> {
        self.rows(doc! { "find": collection, "batchSize": 10_000 })
    }

    fn rows(&self, command: Document) -> Vec<Document> {
        let answer = self.run(command).expect("the server answers");
        let cursor = answer.get_document("cursor").expect("a cursor");
        assert_eq!(cursor.get_i64("id").ok(), Some(0), "all of it comes at once");
        cursor.get_array("firstBatch").expect("rows").iter().filter_map(Bson::as_document).cloned().collect()
    }

    /// Runs a command on it.
    ///
    /// # Errors
    /// What the server says.
    pub fn run(&self, command: Document) -> Result<Document, Error> {
        run(&self.url, &self.name, command)
    }
}

impl MongoDatabase {
    /// Ends what killed nodes left open: the database would be dropped only when the server does so, after a
    /// minute.
    fn end_dead_transactions(&self) {
        let silent = doc! { "type": "idleSession", "transaction.timeInactiveMicros": { "$gt": 2_000_000_i64 } };
        let pipeline = [doc! { "$currentOp": { "allUsers": true, "idleSessions": true } }, doc! { "$match": silent }];
        let found = run(&self.url, "admin", doc! { "aggregate": 1, "pipeline": pipeline.to_vec(), "cursor": {} });
        let Ok(found) = found else { return };
        let rows = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let ids = rows.into_iter().flatten().filter_map(|row| row.as_document()?.get_document("lsid").ok()?.get("id"));
        let sessions: Vec<Document> = ids.map(|id| doc! { "id": id.clone() }).collect();
        if !sessions.is_empty() {
            let _ = run(&self.url, "admin", doc! { "killSessions": sessions });
        }
    }
}

impl Drop for MongoDatabase {
    fn drop(&mut self) {
        self.end_dead_transactions();
        // A server that a test killed has nothing to drop.
        let _ = self.run(doc! { "dropDatabase": 1 });
    }
}

/// Runs one command on a connection of its own.
fn run(url: &str, database: &str, command: Document) -> Result<Document, Error> {
    let (url, database) = (url.to_owned(), database.to_owned());
    // A thread of its own: whoever asks may be on a runtime already.
    let work = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = Client::with_uri_str(&url).await?;
            client.database(&database).run_command(command).await
        })
    });
    work.join().expect("it does not panic")
}

/// The URL of one server alone, whatever it is in its set.
fn direct(port: u16) -> String {
    format!("mongodb://127.0.0.1:{port}/?directConnection=true")
}

/// One server.
pub struct Mongod {
    port: u16,
    folder: TempDir,
    options: Options,
    child: Option<Child>,
}

/// What a server is told besides where it is.
type Options = &'static [&'static str];

/// A small cache is enough for tests. Files of databases that were dropped are closed soon: by default they
/// stay open for a day, and a thousand tests open more of them than a process may have.
const FOR_TESTS: Options = &[
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--wiredTigerEngineConfigString",
    "file_manager=(close_idle_time=5,close_scan_interval=2,close_handle_minimum=0)",
];
/// So that commands can be made to fail.
const FAILING: Options = &["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "enableTestCommands=1"];
/// With what a small machine of production would give it.
const TO_MEASURE: Options = &["--wiredTigerCacheSizeGB", "1"];

impl Mongod {
    /// A server of a set that is yet to be formed; with no set's name, one that stands alone.
    pub fn start(set: Option<&str>) -> Self {
        Self::start_in(scratch("mongod"), set, FOR_TESTS)
    }

    fn start_in(folder: TempDir, set: Option<&str>, options: Options) -> Self {
        let (port, child) = on_free_port(|port| launch(port, &folder, set, options));
        Self { port, folder, options, child: Some(child) }
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Runs a command on it alone, whatever it is in its set.
    ///
    /// # Errors
    /// What the server says.
    pub fn run(&self, command: Document) -> Result<Document, Error> {
        self.run_on("admin", command)
    }

    /// As [`run`](Self::run), on one of its databases.
    ///
    /// # Errors
    /// What the server says.
    pub fn run_on(&self, database: &str, command: Document) -> Result<Document, Error> {
        run(&direct(self.port), database, command)
    }

    fn is_primary(&self) -> bool {
        let hello = self.child.is_some().then(|| self.run(doc! { "hello": 1 }).ok()).flatten();
        hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            process::kill(child);
        }
    }
}

/// Servers that keep the same.
pub struct ReplicaSet {
    members: Vec<Mongod>,
}

const SET: &str = "rs0";

impl ReplicaSet {
    /// A set with a primary. It elects another within about two seconds when that dies.
    pub fn start(members: usize) -> Self {
        Self::start_with(members, FOR_TESTS)
    }

    /// A set of one, whose commands fail as `configureFailPoint` says.
    pub fn start_failing() -> Self {
        Self::start_with(1, FAILING)
    }

    /// A set of one whose files are in `folder`: to be measured on a disk, where a sync has a price.
    pub fn start_on_disk(folder: TempDir) -> Self {
        Self::of(vec![Mongod::start_in(folder, Some(SET), TO_MEASURE)])
    }

    fn start_with(members: usize, options: Options) -> Self {
        Self::of((0..members).map(|_| Mongod::start_in(scratch("mongod"), Some(SET), options)).collect())
    }

    fn of(members: Vec<Mongod>) -> Self {
        let list: Vec<Document> =
            members.iter().zip(0..).map(|(member, id)| doc! { "_id": id, "host": member.address() }).collect();
        let settings = doc! { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 300 };
        let config = doc! { "_id": SET, "members": list, "settings": settings };
        members[0].run(doc! { "replSetInitiate": config }).expect("the set is formed");
        let set = Self { members };
        set.primary();
        set
    }

    /// A URL of it, with the name of a database or none.
    pub fn url(&self, database: &str) -> String {
        let hosts = self.members.iter().map(Mongod::address).collect::<Vec<_>>().join(",");
        format!("mongodb://{hosts}/{database}?replicaSet={SET}")
    }

    /// Runs a command on one of its databases.
    ///
    /// # Errors
    /// What the server says.
    pub fn run(&self, database: &str, command: Document) -> Result<Document, Error> {
        run(&self.url(database), database, command)
    }

    /// Waits until there is a primary; says which member it is.
    pub fn primary(&self) -> usize {
        until("the set has a primary", || self.members.iter().position(Mongod::is_primary))
    }

    /// One member.
    pub fn member(&self, index: usize) -> &Mongod {
        &self.members[index]
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kills a member, as `kill -9` does.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            process::kill(&mut child);
        }
    }

    /// Starts a member again that was killed.
    pub fn restart(&mut self, index: usize) {
        let member = &mut self.members[index];
        let child = launch(member.port, &member.folder, Some(SET), member.options).expect("its port is still its own");
        member.child = Some(child);
    }

    /// Stops a member's process without ending it, or lets it go on.
    pub fn freeze(&self, index: usize, frozen: bool) {
        let child = self.members[index].child.as_ref().expect("it runs");
        process::signal(child, if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// The primary steps down, for at least so many seconds.
    pub fn step_down(&self, seconds: i32) {
        let primary = self.primary();
        // It answers, or closes the connection, as it likes.
        let _ = self.members[primary].run(doc! { "replSetStepDown": seconds, "force": true });
    }
}

fn launch(port: u16, folder: &TempDir, set: Option<&str>, options: Options) -> Result<Child, Ended> {
    let mut arguments: Vec<String> = [
        "--dbpath",
        folder.path().to_str().expect("a temporary folder has a plain name"),
        "--port",
        &port.to_string(),
        "--bind_ip",
        "127.0.0.1",
        "--oplogSize",
        "128",
        "--quiet",
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    if let Some(set) = set {
        arguments.extend(["--replSet".to_owned(), set.to_owned()]);
    }
    let mut child = process::spawn(&binary(), &arguments);
    process::listening(port, &mut child, "mongod")?;
    // Somebody else may have taken the port and answer there.
    let pid = || run(&direct(port), "admin", doc! { "serverStatus": 1 }).ok()?.get_i64("pid").ok();
    until("mongod answers", || match (pid(), child.try_wait()) {
        (Some(pid), _) if pid == i64::from(child.id()) => Some(Ok(())),
        (_, Ok(Some(status))) => Some(Err(Ended(format!("mongod ended at once: {status}")))),
        _ => None,
    })?;
    Ok(child)
}

/// `TEST_MONGOD`, or where `.ci/prerequisites test` puts it, or on the PATH.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("TEST_MONGOD") {
        return named.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let installed = cache.map(|cache| cache.join("wotp/tools/bin/mongod")).filter(|file| file.exists());
    installed.unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("mongod")).find(|file| file.exists());
        found.expect("there is no mongod: run `make test`, which installs one, or set TEST_MONGOD")
    })
}
