//! The ports.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, RawDocument, deserialize_from_bson, doc, serialize_to_bson};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
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

use super::admit::{Candidate, Decision};
use super::erase;
use super::fault::Fault;
use super::row::{self, Row, binary, id_of, number};
use super::{MongoStore, Records, Server, fields, forms, keys, nodes, outbox, read, replace, schema, upkeep, usage};

/// Something small, as its document in `doc`.
pub(super) fn held<T: Serialize>(what: &T) -> Result<Bson, Fault> {
    Ok(serialize_to_bson(what)?)
}

pub(super) fn of<T: DeserializeOwned>(mut row: Document) -> Result<T, Fault> {
    let doc = row.remove("doc").ok_or(Fault::Shape("a document holds nothing"))?;
    Ok(deserialize_from_bson(doc)?)
}

fn small<T: DeserializeOwned>(row: &RawDocument) -> Result<T, Fault> {
    of(Document::try_from(row)?)
}

fn fault(error: mongodb::error::Error) -> StoreError {
    Fault::from(error).into()
}

pub(super) fn tenant_row(tenant: &Tenant) -> Result<Document, Fault> {
    Ok(doc! { "_id": binary(&tenant.id.to_bytes()), "schema": forms::FORM, "doc": held(tenant)? })
}

pub(super) fn service_row(service: &Service) -> Result<Document, Fault> {
    Ok(doc! {
        "_id": binary(&service.id.to_bytes()),
        "t": binary(&service.tenant.to_bytes()),
        "v": number(service.version),
        "schema": forms::FORM,
        "doc": held(service)?,
    })
}

pub(super) fn key_row(key: &ApiKey, hash: &KeyHash) -> Result<Document, Fault> {
    Ok(doc! {
        "_id": binary(&hash.0),
        "t": binary(&key.tenant.to_bytes()),
        "id": binary(&key.id.to_bytes()),
        "schema": forms::FORM,
        "doc": held(key)?,
    })
}

impl Server {
    async fn all<T: DeserializeOwned>(
        &self,
        collection: &str,
        wanted: Document,
        sort: Document,
    ) -> Result<Vec<T>, StoreError> {
        let found = self.collection(collection).find(wanted).sort(sort).await.map_err(fault)?;
        let rows: Vec<Document> = found.try_collect().await.map_err(fault)?;
        Ok(rows.into_iter().map(of).collect::<Result<_, _>>()?)
    }
}

#[async_trait]
impl Store for MongoStore {
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
        let row = tenant_row(tenant)?;
        let service = service_row(service)?;
        let keys = keys.iter().map(|(key, hash)| key_row(key, hash)).collect::<Result<Vec<_>, _>>()?;
        let mut session = self.server.client.start_session().await.map_err(fault)?;
        session.start_transaction().await.map_err(fault)?;
        let made = async {
            self.server.collection(schema::TENANTS).insert_one(row).session(&mut session).await?;
            self.server.collection(schema::SERVICES).insert_one(service).session(&mut session).await?;
            if !keys.is_empty() {
                self.server.collection(schema::API_KEYS).insert_many(keys).session(&mut session).await?;
            }
            session.commit_transaction().await
        };
        made.await.map_err(fault)
    }

    async fn erase_tenant_step(
        &self,
        tenant: TenantId,
        limit: usize,
        note: ErasureNote,
    ) -> Result<ErasureStep, CommitError> {
        erase::step(&self.server, tenant, limit, note).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        self.server.all(schema::TENANTS, doc! {}, doc! { "_id": 1 }).await
    }

    async fn search_tenants(&self, search: &TenantSearch) -> Result<Vec<Tenant>, StoreError> {
        let mut wanted = Document::new();
        if let Some(after) = search.after {
            wanted.insert("_id", doc! { "$gt": binary(&after.to_bytes()) });
        }
        if let Some(name) = &search.name {
            if name.contains('\0') {
                // No pattern can hold it, and no name does.
                return Ok(Vec::new());
            }
            // The text itself, not a pattern: `\\Q` quotes up to `\\E`, which it therefore must not hold.
            let quoted = name.replace("\\E", "\\E\\\\E\\Q");
            wanted.insert("doc.name", doc! { "$regex": format!("\\Q{quoted}\\E"), "$options": "i" });
        }
        if let Some(plan) = &search.plan {
            wanted.insert("doc.plan", plan.as_str());
        }
        match search.state {
            // From before tenants had a standing.
            Some("active") => wanted.insert("doc.standing.state", doc! { "$in": ["active", Bson::Null] }),
            Some(state) => wanted.insert("doc.standing.state", state),
            None => None,
        };
        let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
        let found = self.server.collection(schema::TENANTS).find(wanted).sort(doc! { "_id": 1 }).limit(limit).await;
        let rows: Vec<Document> = found.map_err(fault)?.try_collect().await.map_err(fault)?;
        Ok(rows.into_iter().map(of).collect::<Result<_, _>>()?)
    }

    async fn find_key(&self, hash: &KeyHash) -> Result<Option<KeyHolder>, StoreError> {
        let Some(key) = self.small.keys.ask(hash.0).await? else { return Ok(None) };
        let key: ApiKey = small(&key)?;
        let tenant = self.small.tenants.ask(key.tenant.to_bytes()).await?;
        Ok(tenant.map(|tenant| small(&tenant)).transpose()?.map(|tenant| KeyHolder { key, tenant }))
    }

    async fn keys_over(&self, before: Timestamp, limit: usize) -> Result<Vec<ApiKey>, StoreError> {
        Ok(keys::over(&self.server, before, limit).await?)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<DueItem>, StoreError> {
        let (mut due, messages) = tokio::try_join!(
            read::due::<Verification>(&self.server, now, limit),
            read::due::<Message>(&self.server, now, limit)
        )?;
        due.extend(messages);
        due.sort_by_key(|(wake_at, _)| *wake_at);
        due.truncate(limit);
        Ok(due.into_iter().map(|(_, item)| item).collect())
    }

    /// Nothing: what a node held that is gone is free when its hold ends. Which holds those are the
    /// other nodes cannot tell before.
    async fn recover(&self, _: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn forget(&self, now: Timestamp) -> Result<usize, StoreError> {
        Ok(upkeep::forget(&self.server, now).await?)
    }

    async fn note_node(&self, node: &Node) -> Result<(), StoreError> {
        Ok(nodes::note(&self.server, node).await?)
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(nodes::all(&self.server).await?)
    }

    async fn forget_node(&self, id: NodeId) -> Result<(), StoreError> {
        Ok(nodes::forget(&self.server, id).await?)
    }

    async fn take_lease(
        &self,
        name: &str,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        Ok(nodes::take_lease(&self.server, name, holder, now, until).await?)
    }

    async fn find_lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        Ok(nodes::find_lease(&self.server, name).await?)
    }

    async fn release_lease(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        Ok(nodes::release_lease(&self.server, lease, now).await?)
    }

    async fn key_checks(&self) -> Result<BTreeMap<u8, [u8; 32]>, StoreError> {
        Ok(nodes::key_checks(&self.server).await?)
    }

    async fn keep_key_check(&self, key: u8, check: [u8; 32]) -> Result<[u8; 32], StoreError> {
        Ok(nodes::keep_key_check(&self.server, key, check).await?)
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(Some(nodes::time(&self.server).await?))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.server.database.run_command(doc! { "ping": 1 }).await.map_err(fault)?;
        Ok(())
    }
}

/// One tenant's door.
struct Door<'a> {
    store: &'a MongoStore,
    tenant: TenantId,
}

impl Door<'_> {
    fn server(&self) -> &Server {
        &self.store.server
    }

    fn own(&self, tenant: TenantId) -> Result<(), StoreError> {
        if tenant == self.tenant { Ok(()) } else { Err(Fault::Foreign.into()) }
    }

    fn t(&self) -> Bson {
        binary(&self.tenant.to_bytes())
    }

    async fn admit<R: Row>(&self, records: &Records<R>, candidate: Candidate<R>) -> Result<Admission<R>, AdmitError> {
        self.own(candidate.record.tenant())?;
        let until = Instant::now() + self.server().patience;
        loop {
            return match records.admissions.ask(candidate.clone()).await.map_err(StoreError::from)? {
                Decision::Admitted(record) => Ok(Admission::Admitted(record)),
                Decision::Repeated(record) => Ok(Admission::Repeated(record)),
                Decision::KeyReused => Err(AdmitError::KeyReused),
                Decision::Address(limited) => Err(AdmitError::Address(limited)),
                Decision::Quota(exceeded) => Err(AdmitError::Quota(exceeded)),
                Decision::NotKept(note) => Err(AdmitError::NotKept(note)),
                Decision::Later(mut called_back) => {
                    // An error says that it is done; nothing else is ever said.
                    match timeout_at(until, called_back.changed()).await {
                        Ok(_) => continue,
                        Err(_) => Err(StoreError::from(Fault::Late).into()),
                    }
                }
            };
        }
    }

    async fn find_record<R: Row>(&self, records: &Records<R>, id: [u8; 16]) -> Result<Option<R>, StoreError> {
        let Some(row) = records.reads.ask(id).await? else { return Ok(None) };
        if id_of(&row, "t")? != self.tenant.to_bytes() {
            return Ok(None);
        }
        Ok(Some(row::read(&row)?))
    }

    /// Changes what one document holds, and more of it; nothing to change is a conflict.
    async fn update<T: Serialize + DeserializeOwned>(
        &self,
        collection: &str,
        wanted: Document,
        what: &T,
        more: Document,
    ) -> Result<(), ReplaceError> {
        let Bson::Document(doc) = held(what).map_err(StoreError::from)? else {
            return Err(ReplaceError::Store(Fault::Shape("it is no document").into()));
        };
        let (mut set, mut unset) = (more, Document::new());
        fields::change::<T>("doc", doc, &mut set, &mut unset);
        let mut change = doc! { "$set": set, "$max": { "schema": forms::FORM } };
        if !unset.is_empty() {
            change.insert("$unset", unset);
        }
        let updated = self.server().collection(collection).update_one(wanted, change).await;
        if updated.map_err(fault)?.matched_count > 0 { Ok(()) } else { Err(ReplaceError::Conflict) }
    }
}

#[async_trait]
impl TenantStore for Door<'_> {
    async fn find_tenant(&self) -> Result<Option<Tenant>, StoreError> {
        let found = self.store.small.tenants.ask(self.tenant.to_bytes()).await?;
        Ok(found.map(|tenant| small(&tenant)).transpose()?)
    }

    async fn services(&self) -> Result<Vec<Service>, StoreError> {
        self.server().all(schema::SERVICES, doc! { "t": self.t() }, doc! { "_id": 1 }).await
    }

    async fn find_service(&self, id: ServiceId) -> Result<Option<Service>, StoreError> {
        let Some(row) = self.store.small.services.ask(id.to_bytes()).await? else { return Ok(None) };
        Ok(if id_of(&row, "t")? == self.tenant.to_bytes() { Some(small(&row)?) } else { None })
    }

    async fn insert_service(&self, service: &Service) -> Result<(), StoreError> {
        self.own(service.tenant)?;
        self.server().collection(schema::SERVICES).insert_one(service_row(service)?).await.map_err(fault)?;
        Ok(())
    }

    async fn replace_service(&self, service: &mut Service) -> Result<(), ReplaceError> {
        if service.tenant != self.tenant {
            return Err(ReplaceError::Conflict);
        }
        let expected = service.version;
        let next = Service { version: expected.saturating_add(1), ..service.clone() };
        let wanted = doc! { "_id": binary(&service.id.to_bytes()), "t": self.t(), "v": number(expected) };
        self.update(schema::SERVICES, wanted, &next, doc! { "v": number(next.version) }).await?;
        service.version = next.version;
        Ok(())
    }

    async fn keys(&self, after: Option<ApiKeyId>, limit: usize) -> Result<Page<ApiKey>, StoreError> {
        Ok(keys::page(self.server(), self.tenant, after, limit).await?)
    }

    async fn working_keys(&self, now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
        Ok(keys::working(self.server(), self.tenant, now).await?)
    }

    async fn find_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(keys::find(self.server(), self.tenant, id).await?)
    }

    async fn insert_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), StoreError> {
        self.own(key.tenant)?;
        self.server().collection(schema::API_KEYS).insert_one(key_row(key, hash)?).await.map_err(fault)?;
        Ok(())
    }

    async fn admit(&self, new: NewVerification) -> Result<Admission<Verification>, AdmitError> {
        let NewVerification { verification: record, quota, address_limits: limits, idempotency, unkept } = new;
        let candidate = Candidate { tenant: self.tenant, record, quota, limits, idempotency, unkept };
        self.admit(&self.store.verifications, candidate).await
    }

    async fn find_verification(&self, id: VerificationId) -> Result<Option<Verification>, StoreError> {
        self.find_record(&self.store.verifications, id.to_bytes()).await
    }

    async fn verifications(
        &self,
        filter: &Filter,
        after: Option<VerificationId>,
        limit: usize,
    ) -> Result<Page<Verification>, StoreError> {
        Ok(read::page(self.server(), self.tenant, filter, after.map(VerificationId::to_bytes), limit).await?)
    }

    async fn verifications_to_check(&self, filter: &Filter, limit: usize) -> Result<Vec<Verification>, StoreError> {
        Ok(read::page(self.server(), self.tenant, filter, None, limit).await?.items)
    }

    async fn replace(&self, verification: &mut Verification, refund: bool) -> Result<(), ReplaceError> {
        replace::replace((self.server(), &self.store.verifications), self.tenant, verification, refund).await
    }

    async fn replace_for_resend(&self, verification: &mut Verification, exempt: bool) -> Result<(), ResendError> {
        replace::replace_for_resend(self.server(), self.tenant, verification, exempt).await
    }

    async fn delete_verification(&self, id: VerificationId) -> Result<(), StoreError> {
        Ok(outbox::delete::<Verification>(self.server(), self.tenant, id.to_bytes()).await?)
    }

    async fn admit_message(&self, new: NewMessage) -> Result<Admission<Message>, AdmitError> {
        let NewMessage { message: record, quota, idempotency, unkept } = new;
        let candidate = Candidate { tenant: self.tenant, record, quota, limits: None, idempotency, unkept };
        self.admit(&self.store.messages, candidate).await
    }

    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.find_record(&self.store.messages, id.to_bytes()).await
    }

    async fn messages(
        &self,
        filter: &Filter,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message>, StoreError> {
        Ok(read::page(self.server(), self.tenant, filter, after.map(MessageId::to_bytes), limit).await?)
    }

    async fn replace_message(&self, message: &mut Message, refund: bool) -> Result<(), ReplaceError> {
        replace::replace((self.server(), &self.store.messages), self.tenant, message, refund).await
    }

    async fn delete_message(&self, id: MessageId) -> Result<(), StoreError> {
        Ok(outbox::delete::<Message>(self.server(), self.tenant, id.to_bytes()).await?)
    }

    async fn usage(&self, resource: Resource, windows: &[Window]) -> Result<Vec<Usage>, StoreError> {
        let keys: Vec<_> = windows.iter().map(|window| (self.tenant, resource, window.kind, window.starts)).collect();
        Ok(usage::stored(self.server(), &keys).await?)
    }
}
