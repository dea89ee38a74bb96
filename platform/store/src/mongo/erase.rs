//! Erasing a tenant, a bounded step at a time: one transaction each.

use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use wotp_core::domain::erasure::{Erased, ErasureStep};
use wotp_core::domain::id::TenantId;
use wotp_core::ports::{CommitError, ErasureNote, StoreError};

use super::entities::{self, Outcome};
use super::fault::Fault;
use super::row::binary;
use super::transaction::{self, Attempts, Setback, begin, end, leave, run};
use super::{Server, connection_states, schema};

/// The transaction holds no more documents than this, whatever is asked for.
pub(super) const STEP_MAX: usize = 1000;

pub(super) async fn step(
    server: &Server,
    tenant: TenantId,
    limit: usize,
    note: ErasureNote,
) -> Result<ErasureStep, CommitError> {
    let mut attempts = Attempts::new(server);
    loop {
        let attempt = async {
            let mut session = begin(server).await?;
            let (step, outcome) = erase(server, &mut session, tenant, limit.min(STEP_MAX), &note).await?;
            if !matches!(outcome, Outcome::Made) {
                leave(session).await;
                return Ok((step, outcome));
            }
            end(session, attempts.end()).await.map(|()| (step, outcome))
        };
        match attempt.await {
            Ok((step, outcome)) => {
                outcome.made()?;
                return Ok(step);
            }
            Err(Setback::Failed(fault)) => return Err(StoreError::from(fault).into()),
            // It may have been made: then the next step's note says so.
            Err(Setback::Unknown) => return Err(StoreError::from(Fault::Late).into()),
            Err(Setback::Again) => attempts.again().await.map_err(StoreError::from)?,
        }
    }
}

async fn erase(
    server: &Server,
    session: &mut ClientSession,
    tenant: TenantId,
    limit: usize,
    note: &ErasureNote,
) -> Result<(ErasureStep, Outcome), Setback> {
    let (leases, states) = (connection_states::leases_of(tenant), connection_states::states_of(tenant));
    let tenant = binary(&tenant.to_bytes());
    let mut room = limit;
    let mut step = ErasureStep::default();
    let Erased { verifications, messages, keys, services, usage, others } = &mut step.erased;
    let by_tenant = doc! { "t": &tenant };
    // The names of counts are documents that begin with the tenant.
    let counts = doc! { "_id": { "$gte": { "t": &tenant }, "$lte": { "t": &tenant, "r": Bson::MaxKey } } };
    for (collection, wanted, count) in [
        (schema::VERIFICATIONS, &by_tenant, verifications),
        (schema::MESSAGES, &by_tenant, messages),
        (schema::API_KEYS, &by_tenant, keys),
        (schema::SERVICES, &by_tenant, services),
    ] {
        *count += some(server, session, collection, wanted, &mut room).await?;
    }
    for (collection, wanted) in [(schema::TALLIES, &by_tenant), (schema::USAGE, &counts)] {
        *usage += some(server, session, collection, wanted, &mut room).await?;
    }
    *others += some(server, session, schema::ENTITIES, &doc! { "o": &tenant }, &mut room).await?;
    // Leases before what is written under them: from then on nobody writes.
    for wanted in [&leases, &states] {
        *others += some(server, session, schema::CONNECTION_STATES, wanted, &mut room).await?;
    }
    // Other news lie within records, and went with them. They are no thing of the tenant's to report.
    some(server, session, schema::OUTBOX, &by_tenant, &mut room).await?;
    step.whole = room > 0;
    if step.whole {
        let gone = doc! { "q": { "_id": tenant }, "limit": 1 };
        run(server, session, doc! { "delete": schema::TENANTS, "deletes": [gone] }).await?;
    }
    let outcome = entities::make(server, session, &[note(&step)]).await?;
    Ok((step, outcome))
}

/// Deletes as many as there is room for, and says how many.
pub(super) async fn some(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    wanted: &Document,
    room: &mut usize,
) -> Result<u64, Setback> {
    if *room == 0 {
        return Ok(0);
    }
    let limit = i64::try_from(*room).unwrap_or(i64::MAX);
    let rows = server.collection(collection);
    let find = rows.find(wanted.clone()).projection(doc! { "_id": 1 }).limit(limit);
    let mut found = find.session(&mut *session).await.map_err(transaction::setback)?;
    let found: Vec<Document> = found.stream(session).try_collect().await.map_err(transaction::setback)?;
    let ids: Vec<Bson> = found.into_iter().filter_map(|mut row| row.remove("_id")).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let gone = doc! { "q": { "_id": { "$in": ids } }, "limit": 0 };
    let reply = run(server, session, doc! { "delete": collection, "deletes": [gone] }).await?;
    let gone = transaction::changed(&reply);
    *room = room.saturating_sub(gone);
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}
