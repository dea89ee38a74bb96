//! From version 1 to 2: nothing of a record is lost, and it does not take for ever.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, params};
use tempfile::TempDir;
use wotp_core::domain::api_key::ApiKey;
use wotp_core::domain::dispatch::{DeliveryStatus, Receipt, Verdict};
use wotp_core::domain::id::{ApiKeyId, DeliveryId, TenantId};
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{Filter, Store as _};
use wotp_core::testing::builders::{a_message, a_stored_key, a_verification, entropy, noon, seconds};

use super::{OpenOptions, connect, migrate};
use crate::sqlite::SqliteStore;
use crate::sqlite::record::{Record, mode_number, status_number};

const TO: &str = "+12025550123";

struct Version1 {
    path: PathBuf,
    connection: Connection,
    _folder: TempDir,
}

impl Version1 {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let mut connection = connect(&path, &OpenOptions::default()).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        migrate(&path, &mut connection, 1).unwrap();
        Self { path, connection, _folder: folder }
    }

    /// As version 1 stored a record: one document, and columns beside it.
    fn store<R: Record>(&self, table: &str, record: &R, key: Option<[u8; 32]>) {
        let mut copy = record.clone();
        let sql = format!(
            "INSERT INTO {table} (tenant, id, version, wake_at, leased, mode, status, service, address_index, idempotency, doc)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        );
        let values = params![
            record.tenant().to_bytes(),
            record.id(),
            *copy.version_mut(),
            record.wake_at().as_microsecond(),
            record.is_leased(),
            mode_number(record.mode()),
            status_number(record.status()),
            record.service().to_bytes(),
            record.address().map(|address| *address.index.as_bytes()),
            key,
            serde_json::to_string(record).unwrap(),
        ];
        self.connection.prepare_cached(&sql).unwrap().execute(values).unwrap();
    }

    fn key<R: Record>(&self, key: [u8; 32], made: &R) {
        let sql = "INSERT INTO idempotency (tenant, key, fingerprint, expires_at, doc) VALUES (?, ?, ?, ?, ?)";
        let doc = serde_json::to_string(made).unwrap();
        let values = params![made.tenant().to_bytes(), key, [0u8; 32], seconds(86_400).as_microsecond(), doc];
        self.connection.prepare_cached(sql).unwrap().execute(values).unwrap();
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path, OpenOptions::default()).unwrap()
    }
}

fn tenant() -> TenantId {
    TenantId::from_bytes([7; 16])
}

fn next() -> DeliveryId {
    DeliveryId::new(noon(), entropy())
}

fn sent() -> Verdict {
    Verdict::Sent { provider_id: Some("p-1".to_owned()), reached: DeliveryStatus::Sent, cost: None }
}

/// A verification of every kind, every optional field of each set in one at least.
fn verifications() -> Vec<Verification> {
    let started = |second| a_verification(tenant(), TO, seconds(second));
    let pending = started(0);
    let mut noted = started(1);
    noted.metadata = [("order".to_owned(), "\"4711\" — ✓".to_owned())].into();
    noted.address.as_mut().unwrap().region = Some("US".to_owned());
    let policy = Arc::make_mut(&mut noted.policy);
    policy.web_origin = Some("example.com".to_owned());
    policy.sms_retriever_hash = Some("FA+9qCX9VSu".to_owned());
    let mut approved = started(2);
    approved.settle(sent(), seconds(3), next);
    approved.record(approved.dispatch.deliveries[0].id, Receipt::Read, seconds(4));
    approved.check(|_| false, seconds(5));
    approved.check(|_| true, seconds(6));
    let mut failed = started(7);
    while failed.check(|_| false, seconds(8)) || failed.code.is_some() {}
    let mut redacted = started(9);
    redacted.cancel(seconds(10));
    redacted.redact();
    vec![pending, noted, approved, failed, redacted]
}

fn messages() -> Vec<Message> {
    let waiting = a_message(tenant(), TO, seconds(11));
    let mut delivered = a_message(tenant(), TO, seconds(12));
    delivered.settle(sent(), seconds(13), next);
    let mut redacted = a_message(tenant(), TO, seconds(14));
    redacted.redact();
    vec![waiting, delivered, redacted]
}

#[tokio::test]
async fn every_record_of_version_1_reads_as_it_was_written() {
    let old = Version1::new();
    let (mut verifications, mut messages) = (verifications(), messages());
    verifications.iter().for_each(|one| old.store("verification", one, None));
    messages.iter().for_each(|one| old.store("message", one, None));
    let store = old.open();
    let door = store.tenant(tenant());
    for expected in &mut verifications {
        // Version 1 had none.
        expected.news.clear();
        // What is read is as it was stored.
        expected.rewritten = false;
        assert_eq!(door.find_verification(expected.id).await.unwrap().as_ref(), Some(&*expected));
    }
    for expected in &mut messages {
        expected.news.clear();
        assert_eq!(door.find_message(expected.id).await.unwrap().as_ref(), Some(&*expected));
    }
    let address = verifications[0].address.as_ref().map(|address| address.index);
    let by_address = door.verifications(&Filter { address, ..Filter::default() }, None, 9).await.unwrap().items;
    let mut expected: Vec<Verification> = verifications[..4].to_vec();
    expected.sort_by_key(|one| std::cmp::Reverse(one.id));
    assert_eq!(by_address, expected);
    let due = store.due(wotp_core::domain::Timestamp::MAX, 99).await.unwrap();
    assert_eq!(due.len(), verifications.len() + messages.len());
}

#[test]
fn a_key_names_the_newest_record_that_it_made_and_repeats_no_secret_of_what_ended() {
    let old = Version1::new();
    let verifications = verifications();
    let [pending, _, approved, failed, _] = &verifications[..] else { panic!("there are five") };
    let born = |of: &Verification| Verification { code: pending.code.clone(), ..of.clone() };
    let (used_twice, ended, open, sent) = ([1; 32], [2; 32], [3; 32], [4; 32]);
    old.store("verification", approved, Some(used_twice));
    old.store("verification", failed, Some(used_twice));
    old.key(used_twice, &born(failed));
    let other = a_verification(tenant(), TO, seconds(20));
    let canceled = Verification { status: wotp_core::domain::verification::Status::Canceled, ..other.clone() };
    old.store("verification", &canceled, Some(ended));
    old.key(ended, &other);
    old.store("verification", pending, Some(open));
    old.key(open, pending);
    let [waiting, delivered, _] = &messages()[..] else { panic!("there are three") };
    old.store("message", delivered, Some(sent));
    old.key(sent, &Message { content: waiting.content.clone(), ..delivered.clone() });
    drop(old.open());
    let kept = |key: [u8; 32]| -> (Vec<u8>, String) {
        let sql = "SELECT record, doc FROM idempotency WHERE key = ?";
        old.connection.query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    for (key, record, secret) in [
        (used_twice, failed.id.to_bytes(), false),
        (ended, canceled.id.to_bytes(), false),
        (open, pending.id.to_bytes(), true),
        (sent, delivered.id.to_bytes(), false),
    ] {
        let (named, doc) = kept(key);
        assert_eq!(named, record);
        assert_eq!(doc.contains("\"code\":{") || doc.contains("\"content\":"), secret, "{doc}");
    }
}

#[tokio::test]
async fn a_document_that_cannot_be_read_does_not_keep_the_others_from_being_served() {
    let old = Version1::new();
    let (broken, sound) = (a_verification(tenant(), TO, noon()), a_verification(tenant(), TO, seconds(1)));
    old.store("verification", &broken, None);
    old.connection.execute("UPDATE verification SET doc = 'not JSON'", []).unwrap();
    old.store("verification", &sound, None);
    let store = old.open();
    assert_eq!(store.tenant(tenant()).find_verification(sound.id).await.unwrap(), Some(sound));
    assert!(store.tenant(tenant()).find_verification(broken.id).await.is_err());
}

/// Steps of SQLite's machine that bringing a file up to date takes, in thousands.
fn work(path: &Path, connection: &mut Connection) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1000, Some(count)).unwrap();
    migrate(path, connection, 2).unwrap();
    steps.load(Ordering::Relaxed)
}

#[test]
fn the_work_grows_with_the_records_and_not_with_their_square() {
    let work_for = |count: u16| {
        let mut old = Version1::new();
        old.connection.execute_batch("BEGIN").unwrap();
        for n in 0..count {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&n.to_be_bytes());
            let record = a_verification(tenant(), TO, seconds(n.into()));
            old.store("verification", &record, Some(key));
            old.key(key, &record);
        }
        old.connection.execute_batch("COMMIT").unwrap();
        work(&old.path, &mut old.connection)
    };
    let (few, many) = (work_for(200), work_for(2000));
    assert!(many < 20 * few, "{few} thousand steps for 200, {many} thousand for 2000");
}

#[tokio::test]
async fn keys_of_version_5_are_found_by_when_they_are_over() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wotp.db");
    let mut connection = connect(&path, &OpenOptions::default()).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    migrate(&path, &mut connection, 5).unwrap();
    let insert = |id: [u8; 16], hash: [u8; 32], doc: &str| {
        let sql = "INSERT INTO api_key (hash, tenant, id, doc) VALUES (?, ?, ?, ?)";
        connection.execute(sql, params![hash, tenant().to_bytes(), id, doc]).unwrap();
    };
    let key = |n: u8, revoked_at: Option<&str>, expires_at: Option<&str>| {
        let at = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let (key, hash) = a_stored_key(tenant(), Mode::Live);
        let id = ApiKeyId::from_bytes([n; 16]);
        let key = ApiKey { id, revoked_at: at(revoked_at), expires_at: at(expires_at), ..key };
        insert(key.id.to_bytes(), hash.0, &serde_json::to_string(&key).unwrap());
        key
    };
    let lasting = key(1, None, None);
    let later = key(2, None, Some("2026-03-15T12:00:01.5Z"));
    let ended = key(3, None, Some("2026-03-15T11:59:59.999999Z"));
    let revoked = key(4, Some("2026-03-14T00:00:00Z"), Some("2027-01-01T00:00:00Z"));
    insert([5; 16], [5; 32], "{");
    drop(connection);
    let store = SqliteStore::open(&path, OpenOptions::default()).unwrap();
    let working = store.tenant(tenant()).working_keys(noon()).await.unwrap();
    assert_eq!(working, [later, lasting]);
    assert_eq!(store.keys_over(seconds(1), 9).await.unwrap(), [revoked, ended]);
}
