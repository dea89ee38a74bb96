//! The limits to compare with: the least that could be called the same service, once for each store.
//!
//! Each parses the same JSON as `POST /v1/verifications`, writes with the same promises about crashes,
//! and answers 201. No key, limit, code, queue or delivery: what the platform costs above them is what
//! those cost.

mod mongo;
mod sqlite;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use mongo::serve as serve_mongo;
pub use sqlite::serve as serve_sqlite;

/// Why a bare server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// The file does not open.
    #[error("cannot open the store")]
    Sqlite(#[from] rusqlite::Error),
    /// The server does not answer.
    #[error("cannot reach the store")]
    Mongo(#[from] mongodb::error::Error),
    /// The address cannot be had, or the socket failed.
    #[error("cannot listen")]
    Listen(#[from] io::Error),
}

/// The call as the platform reads it: the fields of a start, unknown ones refused.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Start {
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_length: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Started {
    id: String,
    status: &'static str,
    to: String,
}

/// Serves until standard input ends or the process is killed, after saying where it listens.
async fn serve(router: Router, listen: SocketAddr) -> Result<(), BareError> {
    let router = router.route("/health/ready", get(|| async { StatusCode::OK }));
    let listener = TcpListener::bind(listen).await?;
    say_listening(listener.local_addr()?)?;
    let listener = listener.tap_io(|stream| {
        // Replies are one write each; a delayed one would only flatter whoever is compared with us.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).with_graceful_shutdown(input_ends()).await?;
    Ok(())
}

/// Tells whoever started us.
pub fn say_listening(address: SocketAddr) -> io::Result<()> {
    writeln!(io::stdout(), "listening on http://{address}")
}

/// Our parent holds our input open: when it dies, however it does, so do we.
pub async fn input_ends() {
    let (ended, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(ended);
    });
    let _ = wait.await;
}
