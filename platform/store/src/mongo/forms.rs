//! Which form the documents are in, and which programs may use them: one document in the database says
//! it, and every start looks at it.
//!
//! # Old and new nodes together
//! While an installation is brought up to date, nodes of two versions work on the same documents.
//!
//! - A new field at the top of a document, or at the top of its `state`, `fixed` or `doc`, needs no
//!   step: whoever does not know it ignores it, and leaves it there when it writes
//!   ([`fields`](super::fields)). Its reader knows what to make of a document without it, which older
//!   nodes go on writing. A new index needs none either. No field is renamed, and none changes its
//!   meaning.
//! - What older programs would lose or could not read takes two releases: something deeper than that (a
//!   delivery; settings, which refuse what they do not know), a new value of an enum, a field that goes,
//!   a secret that has to go when its verification ends, which they would leave. The first release reads
//!   both, writes as before, and declares a [`Step`] that does nothing, so that it has a form of its own.
//!   The next one writes, and declares a step whose `oldest` is that form.
//! - A step changes what is stored. It may be cut off anywhere and done again, and nodes of all forms
//!   from `oldest` on may work meanwhile. A document that it has not come to, or that an older node made
//!   since, is read all the same, and is of the new form when it is next written: `schema` in it is the
//!   newest form that anybody wrote it in.
//!
//! NEVER change or remove a step that was released: databases have taken it.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use mongodb::Database;
use mongodb::bson::{DateTime, Document, Uuid, doc};
use wotp_core::domain::id::NodeId;
use wotp_core::domain::node::GONE_AFTER;

use super::fault::{self, Fault};
use super::schema::{self, SchemaError};
use super::{Server, nodes};

/// The form of a database that does not say: documents were written in it before any said so.
const FIRST: i32 = 1;

/// The steps, in order; the first leads from form 1 to form 2.
///
/// To form 2: links and messages of people approve verifications, which programs of form 1 take for ones with a code that
/// never gets out, and settings of a service say whether people who write are answered, which they cannot read. Nothing
/// is rewritten, and they are shut out at once: none was ever released.
const STEPS: &[Step] = &[Step { oldest: 2, run: |_| Box::pin(std::future::ready(Ok(()))) }];

/// The form that this program writes.
#[allow(clippy::cast_possible_wrap, reason = "there are few steps")]
pub(super) const FORM: i32 = FIRST + STEPS.len() as i32;

/// The document that says it.
const DOCUMENTS: &str = "documents";
/// Who holds this lease takes the next step.
pub(super) const LEASE: &str = "forms";
/// How long it is held: a node that dies in the middle of a step is followed by another after this.
const HELD: SignedDuration = SignedDuration::from_secs(10);
/// How often it is prolonged.
const PROLONGED: Duration = Duration::from_secs(3);
/// How often a node that waits for another one's step looks.
const LOOK: Duration = Duration::from_millis(250);

/// One step to the next form.
struct Step {
    /// The oldest form of a program that may use the database from then on.
    oldest: i32,
    /// What it does to what is stored.
    run: fn(Database) -> BoxFuture<'static, Result<(), mongodb::error::Error>>,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The newest form that documents are in.
    pub(super) form: i32,
    /// The oldest form of a program that may use them.
    oldest: i32,
    /// The version of the program that brought them there.
    by: String,
}

impl Stored {
    fn of(row: &Document) -> Result<Self, Fault> {
        match (row.get_i32("form"), row.get_i32("oldest"), row.get_str("by")) {
            (Ok(form), Ok(oldest), Ok(by)) => Ok(Self { form, oldest, by: by.to_owned() }),
            _ => Err(Fault::Shape("the document that tells the form of all others is not whole")),
        }
    }

    /// Whether a program of the form `known` may use the database.
    fn admit(&self, known: i32) -> Result<(), SchemaError> {
        if self.oldest <= known {
            return Ok(());
        }
        Err(SchemaError::OldProgram {
            form: self.form,
            by: self.by.clone(),
            oldest: self.oldest,
            known,
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// What the database says, if this program may use it; nothing when no node was ever there.
pub(super) async fn look(database: &Database) -> Result<Option<Stored>, SchemaError> {
    let row = database.collection::<Document>(schema::FORMS).find_one(doc! { "_id": DOCUMENTS }).await;
    let stored = row.map_err(Fault::from)?.map(|row| Stored::of(&row)).transpose()?;
    if let Some(stored) = &stored {
        stored.admit(FORM)?;
    }
    Ok(stored)
}

/// Takes what steps are left up to the form of this program, each on one node.
pub(super) async fn bring_up_to_date(
    server: &Server,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), SchemaError> {
    take(server, STEPS, progress).await
}

async fn take(server: &Server, steps: &[Step], progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), SchemaError> {
    let known = (FIRST..).nth(steps.len()).unwrap_or(FIRST);
    let me = NodeId::from_bytes(Uuid::new().bytes());
    let mut waits = false;
    loop {
        let Some((step, next)) = next(server, steps, known).await? else { return Ok(()) };
        let (now, until) = lease(server).await?;
        let Some(lease) = nodes::take_lease(server, LEASE, me, now, until).await? else {
            if !waits {
                progress(&format!("another node brings the documents to form {next}; this one waits for it"));
                waits = true;
            }
            tokio::time::sleep(LOOK).await;
            continue;
        };
        // Another may have taken the step before the lease was ours.
        let mine = self::next(server, steps, known).await?.is_some_and(|(_, still)| still == next);
        let taken = if mine { climb(server, step, next, me).await } else { Ok(()) };
        // It leaves nothing behind: a database that was only looked at is as empty as before.
        nodes::drop_lease(server, &lease).await?;
        taken?;
    }
}

/// The step that is next, and the form it leads to.
async fn next<'a>(server: &Server, steps: &'a [Step], known: i32) -> Result<Option<(&'a Step, i32)>, SchemaError> {
    let first = doc! { "form": FIRST, "oldest": FIRST, "by": env!("CARGO_PKG_VERSION") };
    let noted = server
        .collection(schema::FORMS)
        .update_one(doc! { "_id": DOCUMENTS }, doc! { "$setOnInsert": first })
        .upsert(true)
        .await;
    match noted {
        // Two that come first at once.
        Err(error) if !fault::is_duplicate(&error) => return Err(Fault::from(error).into()),
        _ => {}
    }
    let row = server.collection(schema::FORMS).find_one(doc! { "_id": DOCUMENTS }).await.map_err(Fault::from)?;
    let stored = Stored::of(&row.unwrap_or_default())?;
    stored.admit(known)?;
    Ok((FIRST + 1..).zip(steps).find(|(form, _)| *form > stored.form).map(|(form, step)| (step, form)))
}

/// From when to when a lease is held that is taken now.
async fn lease(server: &Server) -> Result<(jiff::Timestamp, jiff::Timestamp), Fault> {
    let now = nodes::time(server).await?;
    Ok((now, now.saturating_add(HELD).unwrap_or(now)))
}

/// Takes one step, and notes that it is taken.
async fn climb(server: &Server, step: &Step, form: i32, me: NodeId) -> Result<(), SchemaError> {
    let running = older_nodes(server, step.oldest).await?;
    if !running.is_empty() {
        return Err(SchemaError::OldNodes { nodes: running.join(", "), form, oldest: step.oldest });
    }
    let work = (step.run)(server.database.clone());
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => break done.map_err(Fault::from)?,
            () = tokio::time::sleep(PROLONGED) => {
                let (now, until) = lease(server).await?;
                // Held by another by now, which takes the step again: it may be.
                nodes::take_lease(server, LEASE, me, now, until).await?;
            }
        }
    }
    let taken = doc! {
        "$set": { "form": form, "by": env!("CARGO_PKG_VERSION") },
        "$max": { "oldest": step.oldest },
    };
    let before = doc! { "_id": DOCUMENTS, "form": form - 1 };
    server.collection(schema::FORMS).update_one(before, taken).await.map_err(Fault::from)?;
    Ok(())
}

/// Nodes that run and are of a form older than `oldest`: where, and their version.
async fn older_nodes(server: &Server, oldest: i32) -> Result<Vec<String>, Fault> {
    if oldest <= FIRST {
        return Ok(Vec::new());
    }
    let gone = nodes::time(server).await?.saturating_sub(GONE_AFTER).unwrap_or(jiff::Timestamp::MIN);
    let wanted = doc! {
        "seen": { "$gt": DateTime::from_millis(gone.as_millisecond()) },
        // Also of those that do not say.
        "form": { "$not": { "$gte": oldest } },
    };
    let rows: Vec<Document> = server.collection(schema::NODES).find(wanted).await?.try_collect().await?;
    let named = |row: &Document| {
        let node = row.get_document("node").ok()?;
        Some(format!("{} of version {}", node.get_str("host").ok()?, node.get_str("version").ok()?))
    };
    Ok(rows.iter().map(|row| named(row).unwrap_or_else(|| "one without a name".to_owned())).collect())
}

#[cfg(test)]
mod tests;
