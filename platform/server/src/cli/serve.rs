use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wotp_core::app::Refusal;

use super::failure::Failure;
use super::sealed::{Seal, try_keys};
use super::{Global, logging};
use crate::config::listen_address;
use crate::data_folder::DataFolder;
use crate::database_lock;
use crate::server::Server;
use crate::wiring::{Purpose, channels, wire};

/// What a shell reports of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

#[derive(Args)]
pub(super) struct Arguments {
    /// Where to listen, before what the configuration says; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<ExitCode, Failure> {
    let loaded = global.load(arguments.listen)?;
    logging::start(&loaded.config.log);
    let folder = DataFolder::create(global.data())?;
    // A restore has the folder's lock as a server would, and is not to be stopped like one.
    drop(database_lock::to_use(&loaded.config.database(folder.path()))?);
    let mut lock = folder.lock().await?;
    let channels = channels(&loaded.config, &folder)?;
    if channels.is_empty() {
        tracing::warn!("no channel is switched on: only test keys and sandbox numbers can be used");
    }
    let mut stop = Stop::listen()?;
    let wired = wire(&loaded.config, &folder, Purpose::Serve, channels)?;
    let ports = wired.app.ports();
    if let Seal::Closed(error) = try_keys(&*ports.store, &ports.vault).await.map_err(Refusal::from)? {
        return Err(Failure::caused("the master key is not the one that this database was written with", error)
            .help("put back the master.key that belongs to it: without it no address and no code can be read"));
    }
    let server = Server::bind(&loaded.config, wired).await?;
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
