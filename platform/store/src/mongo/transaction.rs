//! Short transactions, and what stands in their way.

use std::time::Duration;

use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use tokio::time::Instant;

use super::Server;
use super::dead;
use super::fault::{self, Fault};
use super::schema;

/// Longest pause before a transaction is tried again.
const PAUSE_MAX: Duration = Duration::from_millis(32);
/// How long others may be in the way before it is looked whether one of them is dead.
const SUSPICIOUS: Duration = Duration::from_millis(300);

/// Why a transaction did not commit.
pub(super) enum Setback {
    /// Somebody else changed what it rests on.
    Again,
    /// It may have committed, or not.
    Unknown,
    Failed(Fault),
}

/// Begins one.
pub(super) async fn begin(server: &Server) -> Result<ClientSession, Setback> {
    let mut session = server.client.start_session().await.map_err(failed)?;
    session.start_transaction().await.map_err(failed)?;
    Ok(session)
}

/// Leaves one that changed nothing, or is to change nothing.
pub(super) async fn leave(mut session: ClientSession) {
    // The server gives it up by itself when this does not get through.
    let _ = session.abort_transaction().await;
}

/// Runs one command of a transaction.
pub(super) async fn run(server: &Server, session: &mut ClientSession, command: Document) -> Result<Document, Setback> {
    let reply = server.database.run_command(command).session(session).await.map_err(setback)?;
    let code =
        reply.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document()?.get_i32("code").ok());
    match code {
        None => Ok(reply),
        // A count is beyond what was decided on, or a key or a place was taken.
        Some(code) if fault::found_nothing(code) => Err(Setback::Again),
        Some(code) => Err(Setback::Failed(Fault::Statement(code))),
    }
}

/// Commits, and asks until it is known what came of it: the server knows the transaction.
pub(super) async fn end(mut session: ClientSession, until: Instant) -> Result<(), Setback> {
    let mut unknown = false;
    loop {
        let Err(error) = session.commit_transaction().await else { return Ok(()) };
        if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
            unknown = true;
        } else {
            match setback(error) {
                // Not an answer to what came of it before.
                Setback::Failed(_) if unknown => {}
                setback => return Err(setback),
            }
        }
        if Instant::now() >= until {
            return Err(Setback::Unknown);
        }
        tokio::time::sleep(PAUSE_MAX).await;
    }
}

pub(super) fn setback(error: Error) -> Setback {
    let again = error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        || fault::is_conflict(&error)
        || fault::is_gone(&error)
        || fault::is_duplicate(&error);
    if again { Setback::Again } else { failed(error) }
}

fn failed(error: Error) -> Setback {
    Setback::Failed(error.into())
}

/// Attempts at one transaction, until it commits or time runs out.
pub(super) struct Attempts<'a> {
    server: &'a Server,
    until: Instant,
    setbacks: u32,
    /// Since when others are in the way, as far as it was not looked yet who they are.
    since: Option<Instant>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(server: &'a Server) -> Self {
        Self::until(server, Instant::now() + server.patience)
    }

    pub(super) fn until(server: &'a Server, until: Instant) -> Self {
        Self { server, until, setbacks: 0, since: None }
    }

    /// When to give up.
    pub(super) fn end(&self) -> Instant {
        self.until
    }

    /// Waits before the next, longer with each setback, and not as long as another node does.
    ///
    /// # Errors
    /// [`Fault::Late`] when there is no time for another.
    pub(super) async fn again(&mut self) -> Result<(), Fault> {
        if Instant::now() >= self.until {
            return Err(Fault::Late);
        }
        self.setbacks += 1;
        if self.since.get_or_insert_with(Instant::now).elapsed() >= SUSPICIOUS {
            dead::clear(self.server).await?;
            self.since = None;
        }
        let most = PAUSE_MAX.min(Duration::from_millis(1 << self.setbacks.min(5)));
        // Bytes that tell processes apart, and one that counts: as good as dice for this.
        let id = ObjectId::new().bytes();
        let share = id[8] ^ id[11].wrapping_mul(151);
        tokio::time::sleep(most.mul_f64(f64::from(share) / 255.0)).await;
        Ok(())
    }
}

/// Makes one change of a record and these of its counts, together; says whether it was made: not if
/// somebody else was first, or the record is gone.
pub(super) async fn together(
    server: &Server,
    collection: &str,
    change: Document,
    counts: Vec<Document>,
) -> Result<bool, Fault> {
    let mut attempts = Attempts::new(server);
    loop {
        let attempt = async {
            let mut session = begin(server).await?;
            let mut update = change.clone();
            update.remove("upsert");
            let reply = run(server, &mut session, doc! { "update": collection, "updates": [update] }).await?;
            if changed(&reply) == 0 {
                leave(session).await;
                return Ok(false);
            }
            run(server, &mut session, doc! { "update": schema::USAGE, "updates": &counts }).await?;
            end(session, attempts.end()).await.map(|()| true)
        };
        match attempt.await {
            Ok(made) => return Ok(made),
            Err(Setback::Failed(fault)) => return Err(fault),
            // It may have been made: the caller reads again, and finds its own change or another's.
            Err(Setback::Unknown) => return Err(Fault::Late),
            Err(Setback::Again) => attempts.again().await?,
        }
    }
}

/// How many documents a command found and changed, or made.
pub(super) fn changed(reply: &Document) -> usize {
    reply.get_i32("n").ok().and_then(|changed| usize::try_from(changed).ok()).unwrap_or(0)
}
