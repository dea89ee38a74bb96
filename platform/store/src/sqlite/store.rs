//! The ports, over the writer and the readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde::Serialize;
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::{ApiKey, KeyHash};
use wotp_core::domain::erasure::ErasureStep;
use wotp_core::domain::id::{ApiKeyId, MessageId, NodeId, ServiceId, TenantId, VerificationId};
use wotp_core::domain::lease::Lease;
use wotp_core::domain::message::Message;
use wotp_core::domain::node::Node;
use wotp_core::domain::quota::{Resource, Window};
use wotp_core::domain::service::Service;
use wotp_core::domain::tenant::Tenant;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{
    Admission, AdmitError, CommitError, DueItem, ErasureNote, Filter, KeyHolder, NewMessage, NewVerification, Page,
    ReplaceError, ResendError, Store, StoreError, TenantSearch, TenantStore, Usage,
};

use super::SqliteStore;
use super::addresses::Recent;
use super::admit;
use super::entities::replace_service;
use super::erase;
use super::fault::Fault;
use super::hot::Hot;
use super::keys;
use super::nodes;
use super::read;
use super::record::{self, Table};
use super::search;
use super::upkeep;
use super::usage;
use super::writer::Work;

pub(super) fn json(document: &impl Serialize) -> Result<String, StoreError> {
    Ok(serde_json::to_string(document).map_err(Fault::from)?)
}

pub(super) fn insert_tenant(connection: &Connection, id: TenantId, doc: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO tenant (id, doc) VALUES (?, ?)";
    connection.prepare_cached(sql)?.execute(params![id.to_bytes(), doc])?;
    Ok(())
}

pub(super) fn insert_service(connection: &Connection, service: &Service, doc: &str) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO service (tenant, id, version, doc) VALUES (?, ?, ?, ?)")?
        .execute(params![service.tenant.to_bytes(), service.id.to_bytes(), service.version, doc])?;
    Ok(())
}

pub(super) fn insert_key(connection: &Connection, key: &ApiKey, hash: &KeyHash, doc: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO api_key (hash, tenant, id, over_at, doc) VALUES (?, ?, ?, ?, ?)";
    let values = params![hash.0, key.tenant.to_bytes(), key.id.to_bytes(), keys::over_at(key), doc];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    fn tenant(&self, id: TenantId) -> Box<dyn TenantStore + '_> {
        Box::new(Door { store: self, tenant: id })
    }

    async fn create_tenant(
        &self,
        tenant: &Tenant,
        service: &Service,
        keys: &[(ApiKey, KeyHash)],
    ) -> Result<(), StoreError> {
        if service.tenant != tenant.id || keys.iter().any(|(key, _)| key.tenant != tenant.id) {
            return Err(Fault::Foreign.into());
        }
        let docs = (json(tenant)?, json(service)?);
        let keys = keys.iter().map(|(key, hash)| Ok((key.clone(), *hash, json(key)?)));
        let keys = keys.collect::<Result<Vec<_>, StoreError>>()?;
        let (id, service) = (tenant.id, service.clone());
        self.writer
            .submit(move |work| {
                insert_tenant(work.connection, id, &docs.0)?;
                insert_service(work.connection, &service, &docs.1)?;
                keys.iter().try_for_each(|(key, hash, doc)| insert_key(work.connection, key, hash, doc))
            })
            .await
    }

    async fn erase_tenant_step(
        &self,
        tenant: TenantId,
        limit: usize,
        note: ErasureNote,
    ) -> Result<ErasureStep, CommitError> {
        erase::step(self, tenant, limit, note).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        self.readers.read_many(|connection| read::all(connection, "SELECT doc FROM tenant ORDER BY id", &[])).await
    }

    async fn search_tenants(&self, search: &TenantSearch) -> Result<Vec<Tenant>, StoreError> {
        let search = search.clone();
        self.readers.read_many(move |connection| search::tenants(connection, &search)).await
    }

    async fn find_key(&self, hash: &KeyHash) -> Result<Option<KeyHolder>, StoreError> {
        self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT api_key.doc, tenant.doc FROM api_key JOIN tenant ON tenant.id = api_key.tenant WHERE hash = ?",
            )?;
            let mut rows = statement.query(params![hash.0])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            Ok(Some(KeyHolder { key: serde_json::from_str(text(0)?)?, tenant: serde_json::from_str(text(1)?)? }))
        })
    }

    async fn keys_over(&self, before: Timestamp, limit: usize) -> Result<Vec<ApiKey>, StoreError> {
        self.readers.read_many(move |connection| keys::over(connection, before, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<DueItem>, StoreError> {
        self.readers
            .read_many(move |connection| {
                let mut due = read::due::<Verification>(connection, now, limit)?;
                due.extend(read::due::<Message>(connection, now, limit)?);
                due.sort_by_key(|(wake_at, _)| *wake_at);
                due.truncate(limit);
                Ok(due.into_iter().map(|(_, item)| item).collect())
            })
            .await
    }

    async fn recover(&self, now: Timestamp) -> Result<usize, StoreError> {
        upkeep::recover(&self.writer, (&self.verifications, &self.messages), now).await
    }

    async fn forget(&self, now: Timestamp) -> Result<usize, StoreError> {
        upkeep::forget(&self.writer, now).await
    }

    async fn note_node(&self, node: &Node) -> Result<(), StoreError> {
        let node = node.clone();
        self.writer.submit(move |work| nodes::note(work.connection, &node)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.readers.read_many(|connection| read::all(connection, "SELECT doc FROM node ORDER BY id", &[])).await
    }

    async fn forget_node(&self, id: NodeId) -> Result<(), StoreError> {
        self.writer.submit(move |work| nodes::forget(work.connection, id)).await
    }

    async fn take_lease(
        &self,
        name: &str,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let name = name.to_owned();
        self.writer.submit(move |work| nodes::take_lease(work.connection, &name, holder, now, until)).await
    }

    async fn find_lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        self.readers.read(|connection| nodes::find_lease(connection, name))
    }

    async fn release_lease(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.submit(move |work| nodes::release_lease(work.connection, &lease, now)).await
    }

    async fn key_checks(&self) -> Result<BTreeMap<u8, [u8; 32]>, StoreError> {
        self.readers.read(nodes::key_checks)
    }

    async fn keep_key_check(&self, key: u8, check: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.writer.submit(move |work| nodes::keep_key_check(work.connection, key, check)).await
    }

    /// The machine's clock is the only one there is.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Both sides: reading may go on when writing does not.
        self.readers.read(|connection| read::count(connection, "SELECT 1"))?;
        self.writer.submit(|work| read::count(work.connection, "SELECT 1")).await.map(|_| ())
    }
}

/// One tenant's door.
struct Door<'a> {
    store: &'a SqliteStore,
    tenant: TenantId,
}

impl Door<'_> {
    fn find<T: serde::de::DeserializeOwned>(&self, sql: &str, id: [u8; 16]) -> Result<Option<T>, StoreError> {
        let tenant = self.tenant.to_bytes();
        self.store.readers.read(|connection| read::find(connection, sql, &[&tenant, &id]))
    }

    async fn page<R: Table>(
        &self,
        recent: &Arc<Recent>,
        filter: &Filter,
        after: Option<[u8; 16]>,
        limit: usize,
    ) -> Result<Page<R>, StoreError> {
        let (tenant, recent, filter) = (self.tenant, Arc::clone(recent), filter.clone());
        let read = move |connection: &Connection| read::page(connection, tenant, &recent, &filter, after, limit);
        self.store.readers.scan(Some(tenant), read).await
    }

    fn find_record<R: Table>(&self, hot: &Hot<R>, id: [u8; 16]) -> Result<Option<R>, StoreError> {
        match hot.find(self.tenant, id) {
            Some(record) => Ok(Some((*record).clone())),
            None => {
                let tenant = self.tenant.to_bytes();
                self.store.readers.read(|connection| {
                    let mut statement = connection.prepare_cached(R::SQL.find)?;
                    let mut rows = statement.query(params![tenant, id])?;
                    rows.next()?.map(record::read).transpose()
                })
            }
        }
    }

    async fn delete<R: Table>(&self, hot: &Arc<Hot<R>>, id: [u8; 16]) -> Result<(), StoreError> {
        let (tenant, hot) = (self.tenant, Arc::clone(hot));
        let delete = move |work: &mut Work<'_>| record::delete::<R>(work, tenant, id);
        self.store.writer.submit_then(delete, move |()| hot.remove(tenant, id)).await
    }

    /// Runs an update of one row; nothing to update is a conflict.
    async fn update(
        &self,
        run: impl FnMut(&Connection) -> Result<usize, Fault> + Send + 'static,
    ) -> Result<(), ReplaceError> {
        let mut run = run;
        let changed = self.store.writer.submit(move |work| run(work.connection)).await?;
        if changed > 0 { Ok(()) } else { Err(ReplaceError::Conflict) }
    }

    fn own(&self, tenant: TenantId) -> Result<(), StoreError> {
        if tenant == self.tenant { Ok(()) } else { Err(Fault::Foreign.into()) }
    }
}

#[async_trait]
impl TenantStore for Door<'_> {
    async fn find_tenant(&self) -> Result<Option<Tenant>, StoreError> {
        let id = self.tenant.to_bytes();
        self.store.readers.read(|connection| read::find(connection, "SELECT doc FROM tenant WHERE id = ?", &[&id]))
    }

    async fn services(&self) -> Result<Vec<Service>, StoreError> {
        let tenant = self.tenant.to_bytes();
        let sql = "SELECT doc FROM service WHERE tenant = ? ORDER BY id";
        self.store.readers.read_many(move |connection| read::all(connection, sql, &[&tenant])).await
    }

    async fn find_service(&self, id: ServiceId) -> Result<Option<Service>, StoreError> {
        self.find("SELECT doc FROM service WHERE tenant = ? AND id = ?", id.to_bytes())
    }

    async fn insert_service(&self, service: &Service) -> Result<(), StoreError> {
        self.own(service.tenant)?;
        let (doc, service) = (json(service)?, service.clone());
        self.store.writer.submit(move |work| insert_service(work.connection, &service, &doc)).await
    }

    async fn replace_service(&self, service: &mut Service) -> Result<(), ReplaceError> {
        if service.tenant != self.tenant {
            return Err(ReplaceError::Conflict);
        }
        let replaced = service.clone();
        self.update(move |connection| replace_service(connection, &replaced)).await?;
        service.version = service.version.saturating_add(1);
        Ok(())
    }

    async fn keys(&self, after: Option<ApiKeyId>, limit: usize) -> Result<Page<ApiKey>, StoreError> {
        let tenant = self.tenant;
        self.store.readers.scan(Some(tenant), move |connection| keys::page(connection, tenant, after, limit)).await
    }

    async fn working_keys(&self, now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
        let tenant = self.tenant;
        self.store.readers.read_many(move |connection| keys::working(connection, tenant, now)).await
    }

    async fn find_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        self.find("SELECT doc FROM api_key WHERE tenant = ? AND id = ?", id.to_bytes())
    }

    async fn insert_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), StoreError> {
        self.own(key.tenant)?;
        let (doc, key, hash) = (json(key)?, key.clone(), *hash);
        self.store.writer.submit(move |work| insert_key(work.connection, &key, &hash, &doc)).await
    }

    async fn admit(&self, new: NewVerification) -> Result<Admission<Verification>, AdmitError> {
        let NewVerification { verification, quota, address_limits, idempotency, unkept } = new;
        admit::admit(
            (&self.store.writer, &self.store.verifications),
            self.tenant,
            verification,
            quota,
            address_limits,
            idempotency,
            unkept,
        )
        .await
    }

    async fn find_verification(&self, id: VerificationId) -> Result<Option<Verification>, StoreError> {
        self.find_record(&self.store.verifications, id.to_bytes())
    }

    async fn verifications(
        &self,
        filter: &Filter,
        after: Option<VerificationId>,
        limit: usize,
    ) -> Result<Page<Verification>, StoreError> {
        self.page(&self.store.verification_addresses, filter, after.map(VerificationId::to_bytes), limit).await
    }

    async fn verifications_to_check(&self, filter: &Filter, limit: usize) -> Result<Vec<Verification>, StoreError> {
        let (tenant, filter) = (self.tenant, filter.clone());
        let recent = Arc::clone(&self.store.verification_addresses);
        let read = move |connection: &Connection| read::to_check(connection, tenant, &recent, &filter, limit);
        self.store.readers.read_many(read).await
    }

    async fn replace(&self, verification: &mut Verification, refund: bool) -> Result<(), ReplaceError> {
        admit::replace((&self.store.writer, &self.store.verifications), self.tenant, verification, refund).await
    }

    async fn replace_for_resend(&self, verification: &mut Verification, exempt: bool) -> Result<(), ResendError> {
        admit::replace_for_resend((&self.store.writer, &self.store.verifications), self.tenant, verification, exempt)
            .await
    }

    async fn delete_verification(&self, id: VerificationId) -> Result<(), StoreError> {
        self.delete(&self.store.verifications, id.to_bytes()).await
    }

    async fn admit_message(&self, new: NewMessage) -> Result<Admission<Message>, AdmitError> {
        let NewMessage { message, quota, idempotency, unkept } = new;
        let place = (&self.store.writer, &self.store.messages);
        admit::admit(place, self.tenant, message, quota, None, idempotency, unkept).await
    }

    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.find_record(&self.store.messages, id.to_bytes())
    }

    async fn messages(
        &self,
        filter: &Filter,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message>, StoreError> {
        self.page(&self.store.message_addresses, filter, after.map(MessageId::to_bytes), limit).await
    }

    async fn replace_message(&self, message: &mut Message, refund: bool) -> Result<(), ReplaceError> {
        admit::replace((&self.store.writer, &self.store.messages), self.tenant, message, refund).await
    }

    async fn delete_message(&self, id: MessageId) -> Result<(), StoreError> {
        self.delete(&self.store.messages, id.to_bytes()).await
    }

    async fn usage(&self, resource: Resource, windows: &[Window]) -> Result<Vec<Usage>, StoreError> {
        self.store.readers.read(|connection| {
            windows
                .iter()
                .map(|window| {
                    let stored = usage::stored(connection, self.tenant, resource, window.kind, window.starts)?;
                    Ok(stored.unwrap_or_default())
                })
                .collect()
        })
    }
}
