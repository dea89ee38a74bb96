//! Transactions that nobody will end.
//!
//! A node that is killed between the first write of a transaction and its end leaves it open, and what
//! it wrote to cannot be written to by anybody until the server gives it up: after a minute, by
//! default. So whoever finds others in the way for long looks whether one of them is silent, and ends
//! it. A node that was merely slow hears that its transaction is gone, and decides again.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, doc};
use tokio::time::timeout;

use super::Server;
use super::connect::APP_NAME;
use super::fault::Fault;

/// How long a transaction may be silent. Between two of our commands there are milliseconds, or what
/// a slow way to the server takes.
const SILENT_MICROSECONDS: i64 = 2_000_000;

/// How long a command takes before it is looked whether a dead transaction is in its way.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// Waits for a command outside of any transaction. The server lets it wait for whatever transaction wrote to
/// the same record, a dead one too; so when it takes long, those are ended.
pub(super) async fn clearing<T>(server: &Server, command: impl Future<Output = T>) -> T {
    let mut command = pin!(command);
    loop {
        if let Ok(done) = timeout(SUSPICIOUS, &mut command).await {
            return done;
        }
        // One look at a time is enough for all who wait. A task, since a command of the driver that is dropped
        // half way keeps its place in line.
        if !server.clearing.swap(true, Ordering::AcqRel) {
            let server = server.clone();
            tokio::spawn(async move {
                if let Err(error) = clear(&server).await {
                    tracing::debug!(%error, "it could not be looked for transactions that nobody will end");
                }
                server.clearing.store(false, Ordering::Release);
            });
        }
    }
}

/// Ends the transactions of our nodes that have been silent for too long.
pub(super) async fn clear(server: &Server) -> Result<(), Fault> {
    let silent = doc! {
        "type": "idleSession",
        "appName": APP_NAME,
        "transaction.timeInactiveMicros": { "$gt": SILENT_MICROSECONDS },
    };
    let stages = [doc! { "$currentOp": { "allUsers": false, "idleSessions": true } }, doc! { "$match": silent }];
    let admin = server.client.database("admin");
    let found: Vec<_> = admin.aggregate(stages).await?.try_collect().await?;
    let sessions: Vec<Bson> = found
        .iter()
        .filter_map(|operation| operation.get_document("lsid").ok()?.get("id"))
        .map(|id| Bson::Document(doc! { "id": id }))
        .collect();
    if !sessions.is_empty() {
        tracing::warn!(transactions = sessions.len(), "a node left transactions open; they are ended");
        admin.run_command(doc! { "killSessions": sessions }).await?;
    }
    Ok(())
}
