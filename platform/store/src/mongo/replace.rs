//! Storing what changed, if nobody changed it since.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::{Client, ClientSession};
use tokio::time::Instant;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{ReplaceError, ResendError};

use super::dead;
use super::fault::{self, Fault};
use super::row::{self, Row};
use super::tally::Place;
use super::usage;
use super::{Records, Server, history, schema, transaction};
use crate::record::Record as _;

/// Pause before a command is repeated.
const PAUSE: Duration = Duration::from_millis(50);
/// Codes of a server that is no primary any more, or is going.
const NO_PRIMARY: [i32; 12] = [6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

/// One change, and whether it was made: not if somebody else was first, or the record is gone.
pub(super) type Change = Document;

/// The first number of a command of ours in a session: beyond what the driver has counted in it for
/// transactions before it was lent to us.
const FIRST: i64 = 1 << 32;

/// Sessions of commands that may be repeated. The server knows a command by its session and number,
/// and does what it has done already no second time.
///
/// They are never given back to the driver, whose own numbers in them would be too low from then on.
#[derive(Default)]
pub(super) struct Sessions {
    idle: Mutex<Vec<(ClientSession, i64)>>,
}

/// A session in use; it goes back whatever happens.
struct Lent {
    home: Arc<Sessions>,
    session: Option<ClientSession>,
    number: i64,
}

impl Lent {
    async fn of(home: &Arc<Sessions>, client: &Client) -> Result<Self, Fault> {
        let idle = home.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (session, last) = match idle {
            Some(idle) => idle,
            None => (client.start_session().await?, FIRST),
        };
        Ok(Self { home: Arc::clone(home), session: Some(session), number: last + 1 })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.home.idle.lock().unwrap_or_else(PoisonError::into_inner).push((session, self.number));
        }
    }
}

/// Makes changes of many records with one command; says of each whether it was made.
pub(super) async fn change(
    server: Server,
    collection: &'static str,
    changes: Vec<Change>,
) -> Result<Vec<Result<bool, Fault>>, Fault> {
    let count = changes.len();
    let mut lent = Lent::of(&server.sessions, &server.client).await?;
    let command = doc! {
        "update": collection,
        "updates": changes,
        "ordered": false,
        "writeConcern": { "w": "majority", "j": true },
        "txnNumber": Bson::Int64(lent.number),
    };
    // Until it is known what came of it.
    let began = Instant::now();
    let reply = loop {
        let session = lent.session.as_mut().ok_or(Fault::Closed)?;
        let run = async { server.database.run_command(command.clone()).session(&mut *session).await };
        match dead::clearing(&server, run).await {
            Ok(reply) if !reply.contains_key("writeConcernError") => break reply,
            Ok(_) if began.elapsed() >= server.patience => return Err(Fault::Late),
            Ok(_) => {}
            Err(error) if may_be_repeated(&error) && began.elapsed() < server.patience => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    };
    let mut made: Vec<Result<bool, Fault>> = (0..count).map(|_| Ok(true)).collect();
    for error in reply.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
        let index = error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
        let code = error.get_i32("code").unwrap_or(0);
        let Some(place) = index.and_then(|index| made.get_mut(index)) else { continue };
        *place = if fault::found_nothing(code) { Ok(false) } else { Err(Fault::Statement(code)) };
    }
    Ok(made)
}

fn may_be_repeated(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. } => true,
        ErrorKind::Command(command) => NO_PRIMARY.contains(&command.code),
        _ => false,
    }
}

/// Stores a changed record, if nobody changed it since.
pub(super) async fn replace<R: Row>(
    (server, records): (&Server, &Records<R>),
    tenant: TenantId,
    record: &mut R,
    refund: bool,
) -> Result<(), ReplaceError> {
    let expected = *record.version_mut();
    let statement = match row::replacement(tenant, record, expected) {
        // Through this door there is no such record.
        Err(Fault::Foreign) => return Err(ReplaceError::Conflict),
        statement => statement.map_err(store_error)?,
    };
    let made = if record.is_rewritten() && R::SEQUENCE && record.address().is_some() {
        learn(server, tenant, record, statement).await
    } else if refund {
        let counted = *record.counted();
        let overage = counted.charge == wotp_core::domain::quota::Charge::Overage;
        let refunds = Place::of(tenant, &counted).counts().map(|key| usage::refund(key, overage)).to_vec();
        transaction::together(server, R::COLLECTION, statement, refunds).await
    } else {
        records.changes.ask(statement).await
    };
    if !made.map_err(store_error)? {
        return Err(ReplaceError::Conflict);
    }
    *record.version_mut() = expected.saturating_add(1);
    record.clear_news();
    Ok(())
}

/// Stores a record whose address became known, at the end of that address's sequence; says whether nobody changed it since.
async fn learn<R: Row>(server: &Server, tenant: TenantId, record: &R, mut statement: Change) -> Result<bool, Fault> {
    let address = record.address().map(|address| address.index).ok_or(Fault::Shape("an address is known"))?;
    let recipient = (tenant, record.mode(), address);
    loop {
        let history = history::of(server, &[recipient], record.created_at()).await?;
        let place = history.into_values().next().unwrap_or_default().next_place();
        let set = statement.get_document_mut("u").and_then(|change| change.get_document_mut("$set"));
        set.map_err(|_| Fault::Shape("a change sets nothing"))?.insert("q", place);
        let (wanted, change) = (statement.get_document("q"), statement.get_document("u"));
        let (Ok(wanted), Ok(change)) = (wanted.cloned(), change.cloned()) else {
            return Err(Fault::Shape("a statement has no condition"));
        };
        match server.collection(R::COLLECTION).update_one(wanted, change).await {
            Ok(updated) => return Ok(updated.matched_count == 1),
            // Its place was taken meanwhile: somebody else is of the address.
            Err(error) if fault::is_duplicate(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn store_error(fault: Fault) -> ReplaceError {
    ReplaceError::Store(fault.into())
}

/// Stores a verification that was sent again, if its address may be written to once more.
///
/// It moves to the end of its address's sequence, so that a start at the same moment, which wants the
/// same place, and this one know of each other.
pub(super) async fn replace_for_resend(
    server: &Server,
    tenant: TenantId,
    verification: &mut Verification,
    exempt: bool,
) -> Result<(), ResendError> {
    let store = |fault: Fault| ResendError::Store(fault.into());
    let expected = verification.version;
    loop {
        let mut statement = match row::replacement(tenant, verification, expected) {
            Err(Fault::Foreign) => return Err(ResendError::Conflict),
            statement => statement.map_err(store)?,
        };
        let address = verification.address.as_ref().map(|address| address.index);
        if let (Some(address), Some(now)) = (address, verification.sends.last().copied()) {
            // What is stored does not know the new send yet, so all of it is history.
            let histories = history::of(server, &[(tenant, verification.mode, address)], now).await.map_err(store)?;
            // Only now: what this very verification sent since it was read is in the history too, and
            // the limits would speak of that.
            if !is_version(server, verification, expected).await.map_err(store)? {
                return Err(ResendError::Conflict);
            }
            let history = histories.into_values().next().unwrap_or_default();
            if !exempt {
                verification.policy.address_limits.admit(&history.sum(), now).map_err(ResendError::Address)?;
            }
            let set = statement.get_document_mut("u").and_then(|change| change.get_document_mut("$set"));
            set.map_err(|_| store(Fault::Shape("a change sets nothing")))?.insert("q", history.next_place());
        }
        let (wanted, change) = (statement.get_document("q"), statement.get_document("u"));
        let (Ok(wanted), Ok(change)) = (wanted.cloned(), change.cloned()) else {
            return Err(store(Fault::Shape("a statement has no condition")));
        };
        let updated = server.collection(schema::VERIFICATIONS).update_one(wanted, change).await;
        match updated {
            Ok(updated) if updated.matched_count == 1 => {
                verification.version = expected.saturating_add(1);
                verification.clear_news();
                return Ok(());
            }
            Ok(_) => return Err(ResendError::Conflict),
            // Its place was taken meanwhile: somebody else wrote to the address.
            Err(error) if fault::is_duplicate(&error) => {}
            Err(error) => return Err(store(error.into())),
        }
    }
}

/// Whether what is stored is of this version.
async fn is_version(server: &Server, verification: &Verification, version: u64) -> Result<bool, Fault> {
    let id = row::binary(&verification.id.to_bytes());
    let find = server.collection(schema::VERIFICATIONS);
    let stored = find.find_one(doc! { "_id": id }).projection(doc! { "v": 1 }).await?;
    Ok(stored.and_then(|row| row.get_i64("v").ok()) == Some(row::number(version)))
}
