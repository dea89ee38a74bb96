//! What the platform stands on in a test: the embedded store, or with `TEST_STORE=mongodb` a database
//! of its own on a real MongoDB, and a real Redis.

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params};
use tempfile::TempDir;
use tokio::sync::watch;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Job, Limiter, Queue, Store};
use wotp_store::limiter::{MemoryLimiter, RedisLimiter};
use wotp_store::mongo::{ConnectOptions, MongoStore};
use wotp_store::queue::{ListenOptions, MemoryQueue, RedisQueue, RingReceiver};
use wotp_store::redis::Redis;
use wotp_store::sqlite::{OpenOptions, SqliteStore};
use wotp_test_servers::bson::spec::BinarySubtype;
use wotp_test_servers::bson::{Binary, doc};
use wotp_test_servers::{MongoDatabase, redis_url};

/// The adapters that a test runs on.
pub struct Backend {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub limiter: Arc<dyn Limiter>,
    pub bell: Bell,
    pub kept: Kept,
}

impl Backend {
    /// The one that this run is about.
    pub async fn start(queue_size: usize) -> Self {
        match std::env::var("TEST_STORE").as_deref() {
            Err(_) | Ok("sqlite") => Self::embedded(queue_size),
            Ok("mongodb") => Self::shared().await,
            Ok(other) => panic!("TEST_STORE is `{other}`: write sqlite or mongodb"),
        }
    }

    fn embedded(queue_size: usize) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).expect("a new store");
        let (queue, rings) = MemoryQueue::new(queue_size);
        Self {
            store: Arc::new(store),
            queue: Arc::new(queue),
            limiter: Arc::new(MemoryLimiter::new()),
            bell: Bell { rings, redis: None },
            kept: Kept::Folder(folder),
        }
    }

    async fn shared() -> Self {
        let database = MongoDatabase::fresh();
        let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.expect("a new store");
        let redis = Redis::at(redis_url(), Some(database.name())).expect("a URL of Redis");
        let queue = RedisQueue::new(redis.clone());
        let (listening, stop) = watch::channel(false);
        let (rings, _) = queue.listen(NodeId::from_bytes([1; 16]), ListenOptions::default(), stop);
        Self {
            store: Arc::new(store),
            queue: Arc::new(queue),
            limiter: Arc::new(RedisLimiter::new(redis)),
            bell: Bell { rings, redis: Some(listening) },
            kept: Kept::Database(database),
        }
    }
}

/// A limiter whose server is not there: nobody listens on the port for anything at all.
pub fn unreachable_limiter() -> Arc<dyn Limiter> {
    Arc::new(RedisLimiter::new(Redis::at("redis://127.0.0.1:1", None).expect("a URL of Redis")))
}

/// Where the rings of a test come out.
pub struct Bell {
    rings: RingReceiver,
    /// Listening ends with it.
    redis: Option<watch::Sender<bool>>,
}

impl Bell {
    /// The next job, if one waits anywhere in the queue.
    pub async fn next_job(&mut self, queue: &dyn Queue) -> Option<Job> {
        loop {
            if let Some(ring) = self.rings.try_next() {
                let job = ring.job;
                ring.done();
                return Some(job);
            }
            // In Redis it may be on its way here; or it was done, and Redis hears so in a moment.
            if self.redis.is_none() || queue.depth().await.expect("the queue answers") == 0 {
                return None;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Jobs that wait here.
    pub fn waiting(&mut self) -> usize {
        std::iter::from_fn(|| self.rings.try_next()).count()
    }
}

/// Where the store keeps what it holds; gone with the test.
pub enum Kept {
    Folder(TempDir),
    Database(MongoDatabase),
}

impl Kept {
    /// All of it: names and bytes.
    pub fn stolen(&self) -> Vec<(String, Vec<u8>)> {
        match self {
            Self::Folder(folder) => {
                let read = |entry: std::io::Result<std::fs::DirEntry>| {
                    let path = entry.expect("a file").path();
                    (path.display().to_string(), std::fs::read(&path).expect("a file that can be read"))
                };
                std::fs::read_dir(folder.path()).expect("the store's folder").map(read).collect()
            }
            Self::Database(database) => database.dump(),
        }
    }

    /// From now on the store itself takes no row of this kind of entity, of which it has none; with no kind, all again.
    pub fn refuse(&self, kind: Option<&str>) {
        match self {
            Self::Folder(folder) => {
                let database = Connection::open(folder.path().join("wotp.db")).expect("a database");
                let undo = "DROP TRIGGER IF EXISTS refused";
                database.execute_batch(undo).expect("a trigger can be dropped");
                if let Some(kind) = kind {
                    let refuse = format!(
                        "CREATE TRIGGER refused BEFORE INSERT ON entity WHEN NEW.kind = '{kind}'
                         BEGIN SELECT RAISE(FAIL, 'refused'); END"
                    );
                    database.execute_batch(&refuse).expect("a trigger");
                }
            }
            Self::Database(database) => {
                // No place on earth can be read from a text. A rule for documents would not do: the platform has such
                // itself, and tries again.
                let index =
                    doc! { "name": "refused", "key": { "k": "2dsphere" }, "partialFilterExpression": { "k": kind } };
                let change = match kind {
                    Some(_) => doc! { "createIndexes": "entities", "indexes": [index] },
                    None => doc! { "dropIndexes": "entities", "index": "refused" },
                };
                database.run(change).expect("an index");
            }
        }
    }

    /// Plants beside a verification one with this id that is due as it is, and that no program can read: of one that
    /// was made here the embedded store remembers what it wrote.
    pub fn plant_unreadable(&self, beside: [u8; 16], id: [u8; 16]) {
        match self {
            Self::Folder(folder) => {
                let mut database = Connection::open(folder.path().join("wotp.db")).expect("a database");
                let change = database.transaction().expect("a transaction");
                for (table, set) in [("verification", "id = ?2"), ("verification_state", "doc = coalesce('?', ?2)")] {
                    let same = "SELECT * FROM {} WHERE number = (SELECT number FROM verification WHERE id = ?)";
                    change
                        .execute(&format!("CREATE TEMP TABLE planted AS {}", same.replace("{}", table)), [beside])
                        .unwrap();
                    change
                        .execute(&format!("UPDATE planted SET number = number + ?1, {set}"), params![1000, id])
                        .unwrap();
                    change
                        .execute_batch(&format!("INSERT INTO {table} SELECT * FROM planted; DROP TABLE planted"))
                        .unwrap();
                }
                change.commit().expect("a change");
            }
            Self::Database(database) => {
                let name = |id: [u8; 16]| Binary { subtype: BinarySubtype::Generic, bytes: id.to_vec() };
                let mut all = database.documents("verifications").into_iter();
                let beside = name(beside).into();
                let mut planted = all.find(|one| one.get("_id") == Some(&beside)).expect("a verification");
                planted.extend(doc! { "_id": name(id), "state": {} });
                // It was not asked for with a key of its own, nor is it one of those of its address.
                planted.remove("idem");
                planted.remove("q");
                let inserted = database.run(doc! { "insert": "verifications", "documents": [planted] });
                assert_eq!(inserted.expect("a document").get_i32("n").ok(), Some(1));
            }
        }
    }

    /// Leaves nothing of what a tenant's row says that could be read.
    pub fn damage_tenant(&self, id: [u8; 16]) {
        match self {
            Self::Folder(folder) => {
                let database = Connection::open(folder.path().join("wotp.db")).expect("a database");
                let changed = database.execute("UPDATE tenant SET doc = '?' WHERE id = ?", [id]);
                assert_eq!(changed.expect("a change"), 1);
            }
            Self::Database(database) => {
                let id = Binary { subtype: BinarySubtype::Generic, bytes: id.to_vec() };
                let change = doc! { "q": { "_id": id }, "u": { "$set": { "doc": {} } } };
                let changed = database.run(doc! { "update": "tenants", "updates": [change] });
                assert_eq!(changed.expect("a change").get_i32("nModified").ok(), Some(1));
            }
        }
    }

    /// Every row that is stored, in an order of their own: table and content.
    pub fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let mut rows = match self {
            Self::Folder(folder) => rows_of(&folder.path().join("wotp.db")).expect("a database that can be read"),
            Self::Database(database) => database.dump(),
        };
        rows.sort();
        rows
    }
}

/// Every row of a SQLite database, as it is committed.
fn rows_of(file: &Path) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for table in tables {
        let mut all = database.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = all.column_count();
        let mut found = all.query([])?;
        while let Some(row) = found.next()? {
            let mut content = Vec::new();
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => content.push(0),
                    ValueRef::Integer(number) => content.extend(number.to_be_bytes()),
                    ValueRef::Real(number) => content.extend(number.to_be_bytes()),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => content.extend(bytes),
                }
                content.push(b'|');
            }
            rows.push((table.clone(), content));
        }
    }
    Ok(rows)
}
