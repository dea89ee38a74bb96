//! Over SQLite: one row for each call, in WAL mode with `synchronous=FULL`, answered after the commit. One
//! thread writes; it takes all that waits into one transaction, so that callers share the price of a sync.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::{BareError, Start, Started};

/// Writes that one transaction takes at most, so that a flood does not make the first wait for the last.
const BATCH: usize = 1024;

struct Write {
    start: Start,
    written: oneshot::Sender<i64>,
}

/// Serves until standard input ends or the process is killed, after saying where it listens. Its store is
/// a file in the folder `data`.
///
/// # Errors
/// [`BareError`] when it cannot begin.
pub async fn serve(data: &Path, listen: SocketAddr) -> Result<(), BareError> {
    let store = open(&data.join("bare.db"))?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || write_all(store, &receiver));
    super::serve(Router::new().route("/v1/verifications", post(start)).with_state(sender), listen).await
}

async fn start(
    State(writer): State<Sender<Write>>,
    Json(start): Json<Start>,
) -> Result<(StatusCode, Json<Started>), StatusCode> {
    let to = start.to.clone();
    let (written, row) = oneshot::channel();
    writer.send(Write { start, written }).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let row = row.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let started = Started { id: format!("ver_{row:026}"), status: "pending", to };
    Ok((StatusCode::CREATED, Json(started)))
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let store = Connection::open(file)?;
    store.pragma_update(None, "journal_mode", "WAL")?;
    store.pragma_update(None, "synchronous", "FULL")?;
    store.execute_batch(
        "CREATE TABLE IF NOT EXISTS verification (id INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT",
    )?;
    Ok(store)
}

/// Commits in groups until every sender is gone. A group that fails is dropped, and with it the
/// senders its callers wait on: they answer 503.
fn write_all(mut store: Connection, waiting: &Receiver<Write>) {
    let mut group = Vec::with_capacity(BATCH);
    while let Ok(first) = waiting.recv() {
        group.push(first);
        group.extend(waiting.try_iter().take(BATCH - 1));
        match commit(&mut store, &group) {
            Ok(rows) => {
                for (write, row) in group.drain(..).zip(rows) {
                    // Nobody waits when the caller has hung up; the row stays, as after any 201 lost on the way.
                    let _ = write.written.send(row);
                }
            }
            Err(error) => {
                let _ = writeln!(io::stderr(), "a group of {} was not written: {error}", group.len());
                group.clear();
            }
        }
    }
}

fn commit(store: &mut Connection, group: &[Write]) -> rusqlite::Result<Vec<i64>> {
    let transaction = store.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rows = Vec::with_capacity(group.len());
    {
        let mut insert = transaction.prepare_cached("INSERT INTO verification (document) VALUES (?1)")?;
        for write in group {
            let document = serde_json::to_string(&write.start).expect("strings and numbers always serialize");
            rows.push(insert.insert([document])?);
        }
    }
    transaction.commit()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_on_disk_before_anyone_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bare.db");
        let store = open(&file).unwrap();
        let (sender, receiver) = mpsc::channel();
        let mut answers = Vec::new();
        for n in 0..100 {
            let (written, answer) = oneshot::channel();
            let start = serde_json::from_value(serde_json::json!({"to": format!("+1{n}")})).unwrap();
            sender.send(Write { start, written }).unwrap();
            answers.push(answer);
        }
        drop(sender);
        write_all(store, &receiver);
        let rows: Vec<i64> = answers.into_iter().map(|a| a.blocking_recv().unwrap()).collect();
        assert_eq!(rows, (1..=100).collect::<Vec<_>>());
        let reader = Connection::open(&file).unwrap();
        let count: i64 = reader.query_row("SELECT count(*) FROM verification", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 100);
        let mode: String = reader.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}
