use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wotp_core::domain::node::Role;

use super::failure::Failure;
use super::{Global, logging};
use crate::config::{StorePlace, listen_address};
use crate::data_folder::DataFolder;
use crate::database_lock;
use crate::server::Server;
use crate::wiring::{Purpose, channels, wire};

/// How long a start waits for plugins to be loaded.
const PLUGINS_WAIT: Duration = Duration::from_secs(10);
/// What a shell reports of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

#[derive(Args)]
pub(super) struct Arguments {
    /// Where to listen, before what the configuration says; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// What this node does, of those that share a MongoDB
    #[arg(long, value_enum, default_value_t)]
    role: ServeRole,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ServeRole {
    /// Everything
    #[default]
    All,
    /// The HTTP API alone
    Api,
    /// Deliveries and upkeep; over HTTP only /health and /metrics
    Worker,
}

impl From<ServeRole> for Role {
    fn from(role: ServeRole) -> Self {
        match role {
            ServeRole::All => Self::All,
            ServeRole::Api => Self::Api,
            ServeRole::Worker => Self::Worker,
        }
    }
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<ExitCode, Failure> {
    let loaded = global.load(arguments.listen)?;
    logging::start(&loaded.config.log);
    let folder = DataFolder::create(global.data())?.with_master_key_file(&loaded.config.store.master_key_file);
    let role = Role::from(arguments.role);
    if let Ok(StorePlace::Embedded(database)) = loaded.config.store_place(folder.path()) {
        if role != Role::All {
            let name = role.name();
            return Err(Failure::new(format!(
                "a server with a database file of its own does everything, and cannot be --role {name}"
            ))
            .help("leave --role away, or share a MongoDB among nodes with store.url"));
        }
        // A restore has the folder's lock as a server would, and is not to be stopped like one.
        drop(database_lock::to_use(&database)?);
    }
    let mut lock = folder.lock().await?;
    let channels = channels(&loaded.config, &folder).await?;
    if channels.is_empty() && !loaded.config.channels.whatsapp.enabled {
        tracing::warn!("no channel is switched on: only test keys and sandbox numbers can be used");
    }
    let mut stop = Stop::listen()?;
    let wired = tokio::select! {
        wired = wire(&loaded.config, &folder, Purpose::Serve, channels) => wired?,
        // While it waits for a store that does not answer.
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    // Before anybody can ask for them, if they are compiled already. What takes longer, or a store that fails now, is
    // waited for by whoever needs it.
    let app = Arc::clone(&wired.app);
    let loading = tokio::spawn(async move { app.load_plugins().await });
    tokio::select! {
        loaded = loading => if let Ok(Err(error)) = loaded {
            tracing::warn!(error = &error as &dyn std::error::Error, "plugins are loaded in a moment");
        },
        () = tokio::time::sleep(PLUGINS_WAIT) => tracing::info!("plugins are still compiled"),
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    }
    let server = Server::bind(&loaded.config, wired, role).await?;
    let url = server.url();
    lock.listening(&url).map_err(|error| Failure::caused("the lock file cannot be written", error))?;
    global.output().print(&json!({ "listening": url }), || format!("listening on {url}"))?;
    tracing::info!(url, data = %folder.path().display(), version = env!("CARGO_PKG_VERSION"), "serving");
    server
        .run(async {
            stop.asked().await;
            tokio::spawn(async move {
                stop.asked().await;
                tracing::warn!("asked a second time: exiting at once");
                std::process::exit(INTERRUPTED);
            });
        })
        .await;
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and Ctrl-C, from the moment it is made: one that comes during the start is not lost.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::caused("signals cannot be listened for", error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Resolves at the next one.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
