//! An installation that nodes share: a real MongoDB and a real Redis on loopback, nodes, and tenants.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use tempfile::TempDir;
use wotp_test_servers::{Redis, ReplicaSet};

use crate::api::Tenant;
use crate::load::{Beside, Target};
use crate::process::Server;
use crate::scenario::Mode;
use crate::stand::{Side, Stand, StandError, target};

/// The database of the platform, and that of the bare server.
const DATABASE: &str = "wotp";
const BARE_DATABASE: &str = "bare";
/// The plans that tenants are on. The limits of the first are never reached. Of the second everything but
/// the first use is overage, which is never lent.
const PLANS: &str = r#"
[plans.load]
name = "Load"
on_quota = "refuse"
limits = { verifications_month = 1000000000000, verifications_day = 1000000000000, messages_month = 1000000000000, messages_day = 1000000000000, test_day = 1000000000000, rate_per_second = 1000000000, rate_burst = 1000000000 }

[plans.overage]
name = "Overage"
on_quota = "overage"
overage = { cap_multiple = 1000000000000 }
limits = { verifications_month = 1, verifications_day = 1000000000000, rate_per_second = 1000000000, rate_burst = 1000000000 }
"#;
/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// The plan whose uses are lent to nodes in pieces of at most 4,096, and counted in their tallies: its limits
/// are looked at for every piece.
pub const LENT: &str = "load";
/// The plan whose uses are counted one by one, in the counts of the day and of the month, as those of every
/// plan are near a limit.
pub const EXACT: &str = "overage";

/// The servers, the tenants, and where nodes have their folders.
pub struct Shared {
    /// What an installation consists of beside its nodes.
    pub servers: Servers,
    /// Who calls, on the plan [`LENT`].
    pub tenants: Vec<Tenant>,
    // Last: what runs in it must be gone before it is removed.
    folder: TempDir,
}

/// MongoDB and Redis.
pub struct Servers {
    mongod: ReplicaSet,
    redis: Redis,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("tenants", &self.tenants.len()).finish_non_exhaustive()
    }
}

impl Servers {
    /// Where the platform's store is.
    pub fn store_url(&self) -> String {
        self.mongod.url(DATABASE)
    }

    /// Where its queue is.
    pub fn queue_url(&self) -> String {
        self.redis.url()
    }

    /// Whom to count beside a node.
    pub fn beside(&self) -> [Option<Beside>; 2] {
        [("mongod", self.mongod.member(0).id()), ("redis", self.redis.pid())]
            .map(|(name, pid)| Some(Beside { name, pid }))
    }

    /// What the platform's documents take on MongoDB's disk, compressed as they are there, and what their
    /// indexes take, in bytes.
    ///
    /// # Errors
    /// What the server says.
    pub fn stored_bytes(&self) -> Result<(u64, u64), mongodb::error::Error> {
        // So that what is in memory only is counted too.
        self.mongod.run("admin", doc! { "fsync": 1 })?;
        let said = self.mongod.run(DATABASE, doc! { "dbStats": 1 })?;
        let bytes = |field| said.get(field).and_then(number).unwrap_or(0);
        Ok((bytes("storageSize"), bytes("indexSize")))
    }
}

/// A number, however the server wrote it.
fn number(value: &Bson) -> Option<u64> {
    let whole = value.as_i64().or_else(|| value.as_i32().map(i64::from));
    whole.and_then(|whole| u64::try_from(whole).ok()).or_else(|| value.as_f64().map(|number| number as u64))
}

impl Stand {
    /// MongoDB with its files on the disk of the scratch folder, Redis, and so many tenants.
    ///
    /// # Errors
    /// [`StandError`].
    pub fn shared(&self, tenants: usize) -> Result<Shared, StandError> {
        let folder = self.folder()?;
        let disk = tempfile::Builder::new().prefix("mongod-").tempdir_in(folder.path())?;
        let servers = Servers { mongod: ReplicaSet::start_on_disk(disk), redis: Redis::start() };
        let mut shared = Shared { servers, tenants: Vec::new(), folder };
        shared.tenants = self.tenants(&shared, tenants, LENT)?;
        Ok(shared)
    }

    /// So many new tenants on a plan: [`LENT`] or [`EXACT`].
    ///
    /// # Errors
    /// [`StandError`].
    pub fn tenants(&self, shared: &Shared, count: usize, plan: &str) -> Result<Vec<Tenant>, StandError> {
        let data = self.node_folder(shared, 0)?;
        let create = |_| {
            let mut command = self.wotp();
            command.envs(shared.settings());
            self.tenant_of(command, &data, plan)
        };
        (0..count).map(create).collect()
    }

    /// The folder of a node, made when it is not there.
    fn node_folder(&self, shared: &Shared, nth: usize) -> Result<PathBuf, StandError> {
        let data = shared.folder.path().join(format!("node-{nth}"));
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("plans.toml"), PLANS)?;
        Ok(data)
    }

    /// A node, ready, and as its callers see it: which keys they have, and which way life cycles go.
    ///
    /// # Errors
    /// [`StandError`].
    pub async fn node(&self, shared: &Shared, nth: usize) -> Result<Node, StandError> {
        let (command, log) = self.node_serving(shared, nth)?;
        let server = Server::spawn(command, &log)?;
        let mode = Self::ready(&server, &shared.tenants).await?;
        Ok(Node { target: Target { beside: shared.servers.beside(), ..target(&server) }, mode, delivers: true, server })
    }

    /// What serves as a node, and where its log is.
    ///
    /// # Errors
    /// [`StandError::Folder`].
    pub fn node_serving(&self, shared: &Shared, nth: usize) -> Result<(Command, PathBuf), StandError> {
        let data = self.node_folder(shared, nth)?;
        let mut command = self.serving(&data);
        command.envs(shared.settings());
        Ok((command, data.join("bench-serve.log")))
    }

    /// A node with a store in memory, and a tenant on it.
    ///
    /// # Errors
    /// [`StandError`].
    pub async fn stub_node(&self, redis: &Redis, nth: usize) -> Result<(Node, StubFolder), StandError> {
        let folder = tempfile::Builder::new().prefix("wotp-bench-").tempdir_in(MEMORY)?;
        let tenant = self.create_tenant(folder.path())?;
        let data = folder.path().to_string_lossy();
        let (url, name) = (redis.url(), format!("stub{nth}"));
        let words = ["stub-node", "--listen", "127.0.0.1:0", "--data", &data, "--queue", &url, "--name", &name];
        let server = Server::spawn(Self::own(words)?, &self.scratch.join(format!("bench-stub-{nth}.log")))?;
        let mode = Self::ready(&server, std::slice::from_ref(&tenant)).await?;
        let beside = [Some(Beside { name: "redis", pid: redis.pid() }), None];
        let node = Node { target: Target { beside, ..target(&server) }, mode, delivers: true, server };
        Ok((node, StubFolder { tenant, _folder: folder }))
    }

    /// The bare server on the same MongoDB.
    ///
    /// # Errors
    /// [`StandError`].
    pub async fn bare_node(&self, shared: &Shared) -> Result<Node, StandError> {
        let url = shared.servers.mongod.url(BARE_DATABASE);
        let command = Self::own(["bare-mongo", "--listen", "127.0.0.1:0", "--store", &url])?;
        let server = Server::spawn(command, &shared.folder.path().join("bench-bare.log"))?;
        crate::stand::wait_until_ready(server.address()).await?;
        Ok(Node {
            target: Target { beside: shared.servers.beside(), ..target(&server) },
            mode: Mode::OwnCode,
            delivers: false,
            server,
        })
    }
}

/// What a node with a store in memory leaves behind.
#[derive(Debug)]
pub struct StubFolder {
    /// Who calls it.
    pub tenant: Tenant,
    _folder: TempDir,
}

/// A node under load.
#[derive(Debug)]
pub struct Node {
    /// Its process, and those that work for it.
    pub target: Target,
    /// Which way life cycles go on it, if it is one of the platform.
    pub mode: Mode,
    delivers: bool,
    server: Server,
}

impl Node {
    /// As the first `count` of `tenants` call it.
    pub fn side(&self, tenants: &[Tenant], count: usize) -> Side {
        let keys: Vec<String> = tenants.iter().take(count).map(|tenant| tenant.live_key.clone()).collect();
        Side { target: self.target, keys: Arc::from(keys), delivers: self.delivers }
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Shared {
    /// What tells a process of the platform where all is.
    fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("WOTP_STORE__URL", self.servers.store_url()),
            ("WOTP_QUEUE__URL", self.servers.queue_url()),
            ("WOTP_STORE__MASTER_KEY_FILE", master_key(self.folder.path()).display().to_string()),
            ("WOTP_PLANS__FILE", "plans.toml".to_owned()),
            ("WOTP_PLANS__DEFAULT", LENT.to_owned()),
        ]
    }
}

/// Made by the first process that needs it.
fn master_key(folder: &Path) -> PathBuf {
    folder.join("master.key")
}
