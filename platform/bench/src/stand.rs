//! The stand that everything is measured on: data folders, the two servers, a tenant with keys.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::api::{self, ApiError, Requests, Tenant};
use crate::client::{CallError, Client};
use crate::load::Target;
use crate::process::{ProcessError, Server};
use crate::report::chain;
use crate::scenario::Mode;

/// How long a server may take from listening to ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is nothing to measure on.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// A server cannot be run.
    #[error("a server cannot be run")]
    Process(#[from] ProcessError),
    /// A call beside the measured ones failed.
    #[error("a call beside the measured ones failed")]
    Api(#[from] ApiError),
    /// No tenant.
    #[error("`wotp tenant create` failed: {0}")]
    Tenant(String),
    /// No operator.
    #[error("`wotp operator create` failed: {0}")]
    Operator(String),
    /// A folder or file of ours is not to be had.
    #[error("a data folder cannot be used")]
    Folder(#[from] io::Error),
    /// `/health/ready` did not say 200 in time.
    #[error("the server was not ready within a minute")]
    NotReady,
}

/// Makes folders and starts servers.
#[derive(Debug)]
pub struct Stand {
    /// The binary of the platform.
    pub wotp: PathBuf,
    /// Where data folders are made, and removed afterwards.
    pub scratch: PathBuf,
}

/// One server and who calls it.
#[derive(Debug)]
pub struct Side {
    /// The server.
    pub target: Target,
    /// Keys of its callers; none for a server that asks for none.
    pub keys: Arc<[String]>,
    /// Whether it delivers what it accepts, as a bare server does not.
    pub delivers: bool,
}

/// The bare server and the platform, each on a fresh folder.
#[derive(Debug)]
pub struct Pair {
    /// The limit.
    pub bare: Side,
    /// The platform, by a live key.
    pub live: Side,
    /// The platform, by a test key.
    pub test: Side,
    /// Which way live life cycles go.
    pub mode: Mode,
    // Servers first: they must be gone before their folders are removed.
    _servers: (Server, Server),
    _folders: (TempDir, TempDir),
}

impl Stand {
    /// Both servers, ready, on fresh folders.
    ///
    /// # Errors
    /// [`StandError`].
    pub async fn pair(&self) -> Result<Pair, StandError> {
        let folders = (self.folder()?, self.folder()?);
        let tenant = self.create_tenant(folders.1.path())?;
        let bare = self.serve_bare(folders.0.path())?;
        let ours = self.serve(folders.1.path())?;
        let mode = Self::ready(&ours, std::slice::from_ref(&tenant)).await?;
        Ok(Pair {
            bare: Side { target: target(&bare), keys: Arc::default(), delivers: false },
            live: Side { target: target(&ours), keys: vec![tenant.live_key].into(), delivers: true },
            test: Side { target: target(&ours), keys: vec![tenant.test_key].into(), delivers: true },
            mode,
            _servers: (bare, ours),
            _folders: folders,
        })
    }

    /// Waits until `server` is ready, lets callers of `tenants` bring their own codes, and says which way
    /// their life cycles go.
    ///
    /// # Errors
    /// [`StandError`].
    pub async fn ready(server: &Server, tenants: &[Tenant]) -> Result<Mode, StandError> {
        wait_until_ready(server.address()).await?;
        for tenant in tenants {
            if !api::allow_own_codes(server.address(), tenant).await? {
                return Ok(Mode::WrongCode);
            }
        }
        Ok(Mode::OwnCode)
    }

    /// A fresh data folder, removed when dropped.
    ///
    /// # Errors
    /// [`StandError::Folder`].
    pub fn folder(&self) -> Result<TempDir, StandError> {
        fs::create_dir_all(&self.scratch)?;
        Ok(tempfile::Builder::new().prefix("wotp-bench-").tempdir_in(&self.scratch)?)
    }

    /// A copy of the data folder `from`, on which no server may be running.
    ///
    /// # Errors
    /// [`StandError::Folder`].
    pub fn copy(&self, from: &Path) -> Result<TempDir, StandError> {
        let folder = self.folder()?;
        copy_files(from, folder.path())?;
        Ok(folder)
    }

    /// The bare server on the folder `data`.
    ///
    /// # Errors
    /// [`StandError::Process`].
    pub fn serve_bare(&self, data: &Path) -> Result<Server, StandError> {
        let mut command = Self::own(["bare", "--listen", "127.0.0.1:0", "--data"])?;
        command.arg(data);
        Ok(Server::spawn(command, &data.join("bench-bare.log"))?)
    }

    /// The platform on the data folder `data`, listening, perhaps not ready yet.
    ///
    /// # Errors
    /// [`StandError::Process`].
    pub fn serve(&self, data: &Path) -> Result<Server, StandError> {
        Ok(Server::spawn(self.serving(data), &data.join("bench-serve.log"))?)
    }

    /// What serves the data folder `data`.
    pub fn serving(&self, data: &Path) -> Command {
        let mut command = self.wotp();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command
    }

    /// A new tenant on the plan `unlimited`.
    ///
    /// # Errors
    /// [`StandError::Tenant`].
    pub fn create_tenant(&self, data: &Path) -> Result<Tenant, StandError> {
        self.tenant_of(self.wotp(), data, "unlimited")
    }

    /// A new tenant on `plan`, made by `command`, which is the platform's binary with its settings.
    ///
    /// # Errors
    /// [`StandError::Tenant`].
    pub fn tenant_of(&self, mut command: Command, data: &Path, plan: &str) -> Result<Tenant, StandError> {
        command.args(["tenant", "create", "Bench", "--plan", plan, "--json", "--data"]);
        let output = command.arg(data).output().map_err(|error| StandError::Tenant(chain(&error)))?;
        if !output.status.success() {
            return Err(StandError::Tenant(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| StandError::Tenant(chain(&error)))
    }

    /// This program, to be started once more as one of its servers.
    ///
    /// # Errors
    /// [`StandError::Folder`] when it is not where it was.
    pub fn own<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Command, StandError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Ok(command)
    }

    /// The platform as it is measured: the console channel writes to nowhere, one address may call as
    /// often as it likes, and nothing of the caller's own environment leaks in.
    pub fn wotp(&self) -> Command {
        let mut command = Command::new(&self.wotp);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WOTP_") {
                command.env_remove(name);
            }
        }
        command.envs([
            ("WOTP_CHANNELS__CONSOLE__OUTPUT", "nowhere"),
            ("WOTP_LIMITS__PER_IP_PER_SECOND", "0"),
            ("WOTP_LOG__LEVEL", "warn"),
        ]);
        command
    }
}

/// What load on `server` is counted against.
pub fn target(server: &Server) -> Target {
    Target { address: server.address(), pid: server.pid(), beside: [None, None] }
}

/// Waits until `/health/ready` says 200.
///
/// # Errors
/// [`StandError::NotReady`] after a minute, [`StandError::Api`] when there is no connection.
pub async fn wait_until_ready(address: SocketAddr) -> Result<(), StandError> {
    let give_up = Instant::now() + READY_TIMEOUT;
    let mut client = Client::connect(address).await.map_err(CallError::from).map_err(ApiError::from)?;
    let mut requests = Requests::new(address, None);
    while Instant::now() < give_up {
        if client.call(requests.get(&["/health/ready"])).await.is_ok_and(|reply| reply.status == 200) {
            return Ok(());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Err(StandError::NotReady)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What the files in `folder` and below it come to, in bytes.
///
/// # Errors
/// The file system's own.
pub fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => folder_bytes(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(sum)
}

/// Says on standard error what goes on.
pub fn progress(text: &str) {
    // Nobody may be listening there; the report does not depend on it.
    let _ = writeln!(io::stderr(), "  · {text}");
}
