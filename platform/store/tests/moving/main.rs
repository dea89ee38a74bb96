//! An embedded store moved into MongoDB: what arrives, what goes on after a cut, and what is refused.

#![cfg(all(feature = "mongodb", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod refused;

use std::path::PathBuf;

use mongodb::bson::{Document, doc};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::cost::Cost;
use wotp_core::domain::dispatch::{DeliveryStatus, Verdict};
use wotp_core::domain::id::{ConnectionId, DeliveryId, NodeId, TenantId};
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::news::News;
use wotp_core::domain::quota::{Period, Resource, Window};
use wotp_core::domain::tenant::Tenant;
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::{
    Admission, AdmitError, Change, CommitError, ConnectionStates as _, Entities as _, Entity, EntityList, Filter,
    IndexKey, NewMessage, NewVerification, NewsKey, Outbox as _, Owner, StateChange, StateError, StateKey, StateRange,
    StateRow, Store, Stored, TenantAccount,
};
use wotp_core::testing::builders::{
    a_message, a_node, a_quota, a_service, a_stored_key, a_tenant, a_verification, admission, an_idempotency, entropy,
    message_admission, noon, seconds, vault,
};
use wotp_store::mongo::{ConnectError, ConnectOptions, MongoStore};
use wotp_store::moving::{self, Begun, Difference, Kind, Move, MoveError, Plan, Progress, Report};
use wotp_store::sqlite::{OpenOptions, SqliteStore};
use wotp_test_servers::MongoDatabase;

const TO: &str = "+12025550123";

/// An embedded store, and a database that it may move to.
struct Home {
    folder: TempDir,
    target: MongoDatabase,
}

impl Home {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), target: MongoDatabase::fresh() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("wotp.db")
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(self.file(), OpenOptions::default()).unwrap()
    }

    /// Changes the file behind the store's back.
    fn meddle(&self, sql: &str) {
        assert!(Connection::open(self.file()).unwrap().execute(sql, []).unwrap() > 0, "{sql}");
    }

    async fn begin_with(&self, leave_unreadable: bool, was_moved: bool) -> Result<Begun, MoveError> {
        let source = self.store();
        let plan = Plan {
            source: &source,
            target: self.target.url(),
            connect: ConnectOptions::default(),
            now: seconds(60),
            was_moved,
            leave_unreadable,
        };
        moving::begin(plan).await
    }

    async fn begin(&self) -> Move {
        unfinished(self.begin_with(false, false).await.unwrap())
    }

    async fn run_with(&self, leave_unreadable: bool) -> Result<Report, MoveError> {
        let moving = unfinished(self.begin_with(leave_unreadable, false).await?);
        moving.copy(&mut |_| {}).await?;
        let compared = moving.compare(&mut |_| {}).await?;
        moving.finish(compared, seconds(120)).await
    }

    /// All of it.
    async fn run(&self) -> Result<Report, MoveError> {
        self.run_with(false).await
    }

    async fn moved(&self) -> MongoStore {
        MongoStore::connect(self.target.url(), ConnectOptions::default()).await.unwrap()
    }

    /// Why nodes do not use the target.
    async fn refusal(&self) -> ConnectError {
        match MongoStore::connect(self.target.url(), ConnectOptions::default()).await {
            Ok(_) => panic!("a node would use it"),
            Err(error) => error,
        }
    }

    fn change(&self, collection: &str, which: Document, change: Document) {
        let update = doc! { "update": collection, "updates": [{ "q": which, "u": change }] };
        assert_eq!(self.target.run(update).unwrap().get_i32("n").unwrap(), 1);
    }

    fn dump(&self) -> Vec<(String, Vec<u8>)> {
        let mut dump = self.target.dump();
        dump.retain(|(collection, _)| collection != "moves");
        dump.sort();
        dump
    }
}

fn unfinished(begun: Begun) -> Move {
    match begun {
        Begun::Unfinished(moving) => moving,
        Begun::Finished(_) => panic!("it is not done"),
    }
}

fn failure<T>(result: Result<T, MoveError>) -> MoveError {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error,
    }
}

fn id(id: [u8; 16]) -> mongodb::bson::Binary {
    mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: id.to_vec() }
}

async fn admit(store: &dyn Store, new: NewVerification) -> Verification {
    match store.tenant(new.verification.tenant).admit(new).await.unwrap() {
        Admission::Admitted(admitted) => admitted,
        Admission::Repeated(_) => panic!("it is new"),
    }
}

async fn admit_message(store: &dyn Store, new: NewMessage) -> Message {
    match store.tenant(new.message.tenant).admit_message(new).await.unwrap() {
        Admission::Admitted(admitted) => admitted,
        Admission::Repeated(_) => panic!("it is new"),
    }
}

/// What a store was filled with.
struct Filled {
    tenant: Tenant,
    verifications: Vec<Verification>,
    messages: Vec<Message>,
    entities: Vec<Seat>,
    leases: Vec<ConnectionLease>,
}

fn sent() -> Verdict {
    let cost = Cost::new(45_000, "EUR".parse().unwrap());
    Verdict::Sent { provider_id: Some("id-1".to_owned()), reached: DeliveryStatus::Delivered, cost }
}

/// Fills a store with something of every kind, in every state.
async fn fill(store: &SqliteStore) -> Filled {
    let tenant = a_tenant();
    let keys = [a_stored_key(tenant.id, Mode::Live), a_stored_key(tenant.id, Mode::Test)];
    store.create_tenant(&tenant, &a_service(&tenant), &keys).await.unwrap();
    let other = a_tenant();
    store.create_tenant(&other, &a_service(&other), &[a_stored_key(other.id, Mode::Live)]).await.unwrap();
    let door = store.tenant(tenant.id);
    let mut revoked = keys[0].0.clone();
    revoked.revoked_at = Some(seconds(1));
    store.commit(vec![Change::ReplaceKey(Box::new(revoked))]).await.unwrap();
    let mut service = door.services().await.unwrap().remove(0);
    service.name = "Another name".to_owned();
    door.replace_service(&mut service).await.unwrap();
    for (key, check) in vault().checks() {
        store.keep_key_check(key, check).await.unwrap();
    }
    let holder = NodeId::new(noon(), entropy());
    for name in ["sweep", "channel"] {
        store.take_lease(name, holder, noon(), seconds(5)).await.unwrap().unwrap();
    }
    store.take_lease("sweep", holder, seconds(9), seconds(14)).await.unwrap().unwrap();
    store.note_node(&a_node(noon())).await.unwrap();
    let mut leases = Vec::new();
    for (tenant, connection) in [(tenant.id, 1), (tenant.id, 2), (other.id, 1)] {
        let of = TenantAccount { tenant, connection: ConnectionId::from_bytes([connection; 16]) };
        let lease = store.take_connection(of, holder, noon(), seconds(5)).await.unwrap().unwrap();
        // Of the last nothing is remembered.
        if tenant != other.id {
            let row = |n| StateRow { key: StateKey { kind: n, group: [n; 16], name: [0; 16] }, value: vec![n; 300] };
            let changes = [0, 1, 255].map(|n| StateChange::Put(row(n)));
            store.write_state(&lease, changes.into()).await.unwrap();
        }
        leases.push(lease);
    }

    let mut verifications = Vec::new();
    // Pending, one under an idempotency key; two of one address at the same microsecond; one of a test key.
    let mut new = admission(a_verification(tenant.id, TO, noon()));
    new.idempotency = Some(an_idempotency(1, 1, noon()));
    new.verification.metadata = [("order.id".to_owned(), "$7".to_owned())].into();
    verifications.push(admit(store, new).await);
    let mut resent = a_verification(tenant.id, TO, noon());
    resent.mode = Mode::Test;
    resent.counted.resource = Resource::TestVerifications;
    verifications.push(admit(store, admission(resent)).await);
    verifications.push(admit(store, admission(a_verification(tenant.id, TO, noon()))).await);
    // Ended, under a key that repeats it without its code.
    let mut new = admission(a_verification(tenant.id, TO, seconds(1)));
    new.idempotency = Some(an_idempotency(2, 2, noon()));
    new.verification.metadata = [("$numberLong".to_owned(), "5".to_owned())].into();
    let mut approved = admit(store, new).await;
    approved.dispatch.settle(sent(), seconds(2), approved.expires_at, || DeliveryId::new(noon(), entropy()));
    assert!(approved.check(|_| true, seconds(3)));
    door.replace(&mut approved, false).await.unwrap();
    verifications.push(approved);
    // Failed and given back; then erased.
    let mut erased = admit(store, admission(a_verification(tenant.id, "+12025550124", noon()))).await;
    assert!(erased.cancel(seconds(4)));
    erased.counted.refunded = true;
    door.replace(&mut erased, true).await.unwrap();
    erased.redact();
    door.replace(&mut erased, false).await.unwrap();
    verifications.push(erased);
    verifications.push(admit(store, admission(a_verification(other.id, TO, noon()))).await);

    let mut messages = Vec::new();
    let mut new = message_admission(a_message(tenant.id, TO, noon()));
    new.idempotency = Some(an_idempotency(3, 3, noon()));
    messages.push(admit_message(store, new).await);
    let mut done = admit_message(store, message_admission(a_message(tenant.id, TO, seconds(1)))).await;
    done.settle(sent(), seconds(2), || DeliveryId::new(noon(), entropy()));
    door.replace_message(&mut done, false).await.unwrap();
    messages.push(done);

    let mut entities: Vec<Seat> = ["zoe", "ada"].map(|name| Seat::new(Some(tenant.id), name)).into();
    entities.push(Seat::new(Some(other.id), "bob"));
    entities.push(Seat { number: 0, ..Seat::new(None, "dan") });
    entities[0].due_at = Some(seconds(9));
    store.commit(entities.iter().map(Change::insert).collect()).await.unwrap();
    store.commit(vec![Change::insert(&Desk { number: 7 })]).await.unwrap();
    let row = store.find_entity(Seat::KIND, entities[1].owner(), entities[1].id()).await.unwrap().unwrap();
    let mut changed = Stored::<Seat>::read(row).unwrap();
    changed.entity.name = "eve".to_owned();
    store.commit(vec![Change::replace(&changed)]).await.unwrap();
    entities[1] = changed.entity;
    Filled { tenant, verifications, messages, entities, leases }
}

/// A kind of entity that is found by all that there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seat {
    number: u8,
    tenant: Option<TenantId>,
    name: String,
    due_at: Option<Timestamp>,
    metadata: serde_json::Value,
}

impl Seat {
    fn new(tenant: Option<TenantId>, name: &str) -> Self {
        let metadata = serde_json::json!({ "$numberLong": "5", "nul\u{0}": [null, 0.5, u64::MAX] });
        Self { number: name.as_bytes()[0], tenant, name: name.to_owned(), due_at: None, metadata }
    }
}

impl Entity for Seat {
    const KIND: &'static str = "seat";

    fn id(&self) -> [u8; 16] {
        [self.number; 16]
    }

    fn owner(&self) -> Owner {
        self.tenant.map_or(Owner::Platform, Owner::Tenant)
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("name", &self.name), IndexKey::new("initial", [0, self.number])]
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("row", "a"), IndexKey::new("row", "")]
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.due_at
    }
}

/// One with as long a name, that nothing but its id finds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Desk {
    number: u8,
}

impl Entity for Desk {
    const KIND: &'static str = "desk";

    fn id(&self) -> [u8; 16] {
        [self.number; 16]
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }
}

#[tokio::test]
async fn everything_arrives_as_it_was() {
    let home = Home::new();
    let filled = fill(&home.store()).await;
    let report = home.run().await.unwrap();
    let counts: Vec<_> = report.totals.iter().map(|total| (total.kind.name(), total.count)).collect();
    assert_eq!(
        counts,
        [
            ("key_checks", 1),
            ("tenants", 2),
            ("services", 2),
            ("api_keys", 3),
            ("usage", 8),
            ("leases", 2),
            ("verifications", 6),
            ("messages", 2),
            ("entities", 5),
            ("news", 9),
            ("connection_leases", 3),
            ("connection_states", 6)
        ]
    );
    assert_eq!((report.idempotency_keys, report.idempotency_keys_left), (3, 0));
    assert_eq!(report.left, []);

    let (old, new) = (home.store(), home.moved().await);
    assert_eq!(new.key_checks().await.unwrap(), old.key_checks().await.unwrap());
    assert_eq!(new.tenants().await.unwrap(), old.tenants().await.unwrap());
    assert_eq!(new.due(Timestamp::MAX, 99).await.unwrap().len(), 8);
    let news = |all: Vec<(NewsKey, News)>| {
        let mut all: Vec<News> = all.into_iter().map(|(_, news)| news).collect();
        all.sort_by_key(|news| (news.item().to_bytes(), news.version()));
        all
    };
    assert_eq!(news(new.news(99).await.unwrap()), news(old.news(99).await.unwrap()));
    assert_eq!(new.nodes().await.unwrap(), [], "a node is a process, which does not move");
    for name in ["sweep", "channel"] {
        assert_eq!(new.find_lease(name).await.unwrap(), old.find_lease(name).await.unwrap());
    }
    assert_eq!(new.connection_leases().await.unwrap(), old.connection_leases().await.unwrap());
    for lease in &filled.leases {
        let state = new.list_state(lease.of, StateRange::All, None, 9).await.unwrap();
        assert_eq!(state, old.list_state(lease.of, StateRange::All, None, 9).await.unwrap());
    }
    let all = Filter::default();
    for tenant in old.tenants().await.unwrap() {
        let (old, new) = (old.tenant(tenant.id), new.tenant(tenant.id));
        assert_eq!(new.services().await.unwrap(), old.services().await.unwrap());
        assert_eq!(new.keys(None, 99).await.unwrap(), old.keys(None, 99).await.unwrap());
        assert_eq!(new.working_keys(noon()).await.unwrap(), old.working_keys(noon()).await.unwrap());
        let stored = new.verifications(&all, None, 99).await.unwrap();
        assert_eq!(stored, old.verifications(&all, None, 99).await.unwrap());
        assert_eq!(new.messages(&all, None, 99).await.unwrap(), old.messages(&all, None, 99).await.unwrap());
        let windows = [Window::day(noon()), Window::month(noon(), Period::Calendar, noon())];
        for resource in Resource::ALL {
            let used = new.usage(resource, &windows).await.unwrap();
            assert_eq!(used, old.usage(resource, &windows).await.unwrap());
        }
    }
    let door = new.tenant(filled.tenant.id);
    for verification in filled.verifications.iter().filter(|one| one.tenant == filled.tenant.id) {
        assert_eq!(door.find_verification(verification.id).await.unwrap().as_ref(), Some(verification));
    }
    for message in &filled.messages {
        assert_eq!(door.find_message(message.id).await.unwrap().as_ref(), Some(message));
    }
    for seat in &filled.entities {
        for store in [&old as &dyn Store, &new] {
            let row = store.find_entity(Seat::KIND, seat.owner(), seat.id()).await.unwrap().unwrap();
            for key in seat.unique() {
                assert_eq!(store.find_unique(Seat::KIND, &key).await.unwrap().as_ref(), Some(&row));
            }
            assert_eq!(&Stored::<Seat>::read(row).unwrap().entity, seat);
        }
    }
    for list in [EntityList::by("row", "a"), EntityList::by("row", ""), EntityList::of(filled.entities[0].owner())] {
        let rows = new.list_entities(Seat::KIND, &list).await.unwrap();
        assert!(!rows.is_empty());
        assert_eq!(rows, old.list_entities(Seat::KIND, &list).await.unwrap());
    }
    assert_eq!(new.due_entities(Seat::KIND, seconds(9), 9).await.unwrap().len(), 1);
    // What was unique there is so here, and what was read before is replaced here.
    let taken = new.commit(vec![Change::insert(&Seat::new(None, "eve"))]).await;
    assert!(matches!(taken, Err(CommitError::Taken { index: "initial" | "name", .. })), "{taken:?}");
    let seat = &filled.entities[1];
    let row = old.find_entity(Seat::KIND, seat.owner(), seat.id()).await.unwrap().unwrap();
    new.commit(vec![Change::replace(&Stored::<Seat>::read(row).unwrap())]).await.unwrap();
}

#[tokio::test]
async fn what_was_begun_goes_on_in_its_new_place() {
    let home = Home::new();
    let old = home.store();
    let filled = fill(&old).await;
    home.run().await.unwrap();
    let new = home.moved().await;
    let door = new.tenant(filled.tenant.id);

    // A repeated key returns what it made then, without a code that has ended.
    let repeat = |key: u8, at| {
        let mut new = admission(a_verification(filled.tenant.id, "+12025550177", at));
        new.idempotency = Some(an_idempotency(key, key, at));
        new
    };
    for key in [1, 2] {
        let before = old.tenant(filled.tenant.id).admit(repeat(key, seconds(60))).await.unwrap();
        let after = door.admit(repeat(key, seconds(60))).await.unwrap();
        assert!(matches!(before, Admission::Repeated(_)));
        assert_eq!(after, before);
    }
    let mut reused = repeat(1, seconds(60));
    reused.idempotency = Some(an_idempotency(1, 9, noon()));
    assert!(matches!(door.admit(reused).await, Err(AdmitError::KeyReused)));
    let mut again = message_admission(a_message(filled.tenant.id, TO, seconds(60)));
    again.idempotency = Some(an_idempotency(3, 3, noon()));
    let Admission::Repeated(first) = door.admit_message(again).await.unwrap() else { panic!("it is the same") };
    assert_eq!(first, filled.messages[0]);

    // Counts go on: of four that were used two were given back or of others.
    let used = door.usage(Resource::Verifications, &[Window::day(noon())]).await.unwrap()[0].used;
    let quota = a_quota(Resource::Verifications, noon(), Some(used + 1), None, None);
    let of_quota = |at| NewVerification {
        quota: quota.clone(),
        ..admission(a_verification(filled.tenant.id, "+12025550178", at))
    };
    admit(&new, of_quota(seconds(61))).await;
    assert!(matches!(door.admit(of_quota(seconds(62))).await, Err(AdmitError::Quota(_))));

    // The limits of an address know what it was sent, and a resend finds its place in the sequence.
    let limits = filled.verifications[0].policy.address_limits.clone();
    for (at, fits) in [(64, true), (65, false), (99, true), (100, false)] {
        let mut limited = admission(a_verification(filled.tenant.id, TO, seconds(at)));
        limited.address_limits = Some(limits.clone());
        let before = old.tenant(filled.tenant.id).admit(limited.clone()).await;
        let after = door.admit(limited).await;
        assert_eq!((before.is_ok(), after.is_ok()), (fits, fits), "{at}");
        if let (Err(AdmitError::Address(before)), Err(AdmitError::Address(after))) = (before, after) {
            assert_eq!(after, before);
        }
    }
    let mut pending = door.find_verification(filled.verifications[0].id).await.unwrap().unwrap();
    pending.resend(seconds(100), DeliveryId::new(noon(), entropy()), seconds(110), 5).unwrap();
    door.replace_for_resend(&mut pending, true).await.unwrap();
    assert!(pending.check(|_| true, seconds(101)));
    door.replace(&mut pending, false).await.unwrap();
    assert_eq!(door.find_verification(pending.id).await.unwrap().unwrap().status, Status::Approved);
    // A new holder of a lease has a higher fence than all before it, there and here.
    let lease = new.take_lease("sweep", NodeId::new(seconds(99), entropy()), seconds(99), seconds(104)).await.unwrap();
    assert_eq!(lease.unwrap().fence, 3);
    // So has one of a connection, and whoever kept that there does not write here.
    let old = &filled.leases[0];
    let row = StateRow { key: StateKey { kind: 7, group: [0; 16], name: [0; 16] }, value: vec![7] };
    let change = vec![StateChange::Put(row)];
    let lease = new.take_connection(old.of, NodeId::new(noon(), entropy()), seconds(5), seconds(9)).await.unwrap();
    let lease = lease.unwrap();
    assert!(lease.fence > old.fence);
    assert!(matches!(new.write_state(old, change.clone()).await, Err(StateError::Fenced)));
    new.write_state(&lease, change).await.unwrap();
    assert_eq!(new.list_state(old.of, StateRange::All, None, 9).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_connections_remember_goes_on_where_it_was_cut_off_too() {
    let home = Home::new();
    let (store, tenant) = (home.store(), a_tenant());
    store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
    for connection in 0..3 {
        let of = TenantAccount { tenant: tenant.id, connection: ConnectionId::from_bytes([connection; 16]) };
        let lease = store.take_connection(of, NodeId::from_bytes([1; 16]), noon(), seconds(5)).await.unwrap().unwrap();
        let row = |n: u16| {
            let name = [n.to_be_bytes(); 8].concat().try_into().unwrap();
            StateRow { key: StateKey { kind: 1, group: [0; 16], name }, value: n.to_be_bytes().to_vec() }
        };
        store.write_state(&lease, (0..800).map(row).map(StateChange::Put).collect()).await.unwrap();
    }
    drop(store);
    let heard = std::sync::Mutex::new(Vec::new());
    for cut in [1_000, 2_000] {
        let moving = home.begin().await;
        let mut watch = |progress: Progress| {
            if progress.kind == Kind::ConnectionStates {
                heard.lock().unwrap().push(progress.done);
            }
        };
        let mut copying = std::pin::pin!(moving.copy(&mut watch));
        std::future::poll_fn(|context| {
            let polled = copying.as_mut().poll(context).is_ready();
            let done = polled || heard.lock().unwrap().last().is_some_and(|done| *done >= cut);
            if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    assert_eq!(*heard.lock().unwrap(), [0, 1_000, 1_000, 2_000]);
    let report = home.run().await.unwrap();
    assert_eq!(report.totals.last().map(|total| (total.kind, total.count)), Some((Kind::ConnectionStates, 2_400)));
}

/// Pending verifications of one tenant, to so many addresses.
async fn many(store: &SqliteStore, count: u32) -> TenantId {
    let tenant = a_tenant();
    store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
    let door = store.tenant(tenant.id);
    let admit = |index: u32| {
        let at = noon().saturating_add(jiff::SignedDuration::from_millis((index / 3).into())).unwrap();
        door.admit(admission(a_verification(tenant.id, &format!("+1202555{:04}", 100 + index % 100), at)))
    };
    use futures_util::StreamExt as _;
    let mut admitted = futures_util::stream::iter((0..count).map(admit)).buffer_unordered(64);
    while let Some(one) = admitted.next().await {
        one.unwrap();
    }
    drop(admitted);
    drop(door);
    tenant.id
}

/// Copies until so many verifications are said to be there, and drops the copying there; what was said.
async fn copy_until(moving: &Move, enough: u64) -> Vec<u64> {
    let heard = std::sync::Mutex::new(Vec::new());
    let mut watch = |progress: Progress| {
        if progress.kind == Kind::Verifications {
            heard.lock().unwrap().push(progress.done);
        }
    };
    let mut copying = std::pin::pin!(moving.copy(&mut watch));
    std::future::poll_fn(|context| {
        let polled = copying.as_mut().poll(context).is_ready();
        let cut = heard.lock().unwrap().last().is_some_and(|done| *done >= enough);
        if polled || cut { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    heard.lock().unwrap().clone()
}

#[tokio::test]
async fn a_move_that_was_cut_off_goes_on_where_it_was_and_ends_the_same() {
    let home = Home::new();
    many(&home.store(), 3_500).await;
    for (from, cut) in [(0, 1_000), (1_000, 2_000), (2_000, 3_500)] {
        let heard = copy_until(&home.begin().await, cut).await;
        assert_eq!((heard.first(), heard.last()), (Some(&from), Some(&cut)), "{heard:?}");
        assert!(matches!(home.refusal().await, ConnectError::Moving { .. }));
    }
    let report = home.run().await.unwrap();
    assert_eq!(report.totals[6].count, 3_500);
    let resumed = home.dump();

    // The same source into another database, without a cut.
    let whole = Home { folder: home.folder, target: MongoDatabase::fresh() };
    assert_eq!(whole.run().await.unwrap().totals, report.totals);
    assert!(whole.dump() == resumed, "what is there does not depend on cuts");
    drop(home.target);
}

#[tokio::test]
async fn entities_go_on_where_they_were_cut_off_too() {
    let home = Home::new();
    let store = home.store();
    // Of two kinds, and of names of two lengths.
    let desks = (0..=255).map(|number| Change::insert(&Desk { number })).collect();
    store.commit(desks).await.unwrap();
    let mut seats = Vec::new();
    for owner in 0..8 {
        let tenant = TenantId::from_bytes([owner + 1; 16]);
        seats.extend((0..=255).map(|number| Place { number, tenant }));
    }
    store.commit(seats.iter().map(Change::insert).collect()).await.unwrap();
    drop(store);
    let heard = std::sync::Mutex::new(Vec::new());
    for cut in [1_000, 2_000] {
        let moving = home.begin().await;
        let mut watch = |progress: Progress| {
            if progress.kind == Kind::Entities {
                heard.lock().unwrap().push(progress.done);
            }
        };
        let mut copying = std::pin::pin!(moving.copy(&mut watch));
        std::future::poll_fn(|context| {
            let polled = copying.as_mut().poll(context).is_ready();
            let done = polled || heard.lock().unwrap().last().is_some_and(|done| *done >= cut);
            if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    assert_eq!(*heard.lock().unwrap(), [0, 1_000, 1_000, 2_000]);
    let report = home.run().await.unwrap();
    assert_eq!(report.totals.iter().find(|total| total.kind == Kind::Entities).unwrap().count, 256 * 9);
}

/// One of very many.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    number: u8,
    tenant: TenantId,
}

impl Entity for Place {
    const KIND: &'static str = "place";

    fn id(&self) -> [u8; 16] {
        [self.number; 16]
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}
