//! What verifications and messages have in common on disk: a document and the columns beside it.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::{Dispatch, Turn};
use wotp_core::domain::id::{ServiceId, TenantId};
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::quota::Counted;
use wotp_core::domain::vault::AddressIndex;
use wotp_core::domain::verification::{Status, StoredAddress, Verification};
use wotp_core::ports::Item;

use super::fault::Fault;

/// The statements of one table.
pub(super) struct Statements {
    pub(super) insert: &'static str,
    pub(super) replace: &'static str,
    pub(super) replace_redacted: &'static str,
    pub(super) find: &'static str,
    pub(super) delete: &'static str,
    pub(super) due: &'static str,
    pub(super) leased: &'static str,
    pub(super) list: &'static str,
    pub(super) list_by_address: &'static str,
    pub(super) count: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        Statements {
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (tenant, id, version, wake_at, leased, mode, status, service, address_index, idempotency, doc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            ),
            // The address stays out of it, or SQLite would move its index entry every time.
            replace: concat!(
                "UPDATE ",
                $table,
                " SET version = ?4, wake_at = ?5, leased = ?6, status = ?7, doc = ?8
                 WHERE tenant = ?1 AND id = ?2 AND version = ?3"
            ),
            replace_redacted: concat!(
                "UPDATE ",
                $table,
                " SET version = ?4, wake_at = ?5, leased = ?6, status = ?7, doc = ?8, address_index = NULL
                 WHERE tenant = ?1 AND id = ?2 AND version = ?3 RETURNING idempotency"
            ),
            find: concat!("SELECT doc FROM ", $table, " WHERE tenant = ? AND id = ?"),
            delete: concat!("DELETE FROM ", $table, " WHERE tenant = ? AND id = ? RETURNING idempotency"),
            due: concat!("SELECT wake_at, tenant, id FROM ", $table, " WHERE wake_at <= ? ORDER BY wake_at LIMIT ?"),
            leased: concat!("SELECT tenant, doc FROM ", $table, " WHERE wake_at <= ? AND leased = 1 LIMIT ?"),
            list: concat!("SELECT doc FROM ", $table, " INDEXED BY ", $table, "_id WHERE tenant = :tenant"),
            list_by_address: concat!(
                "SELECT doc FROM ",
                $table,
                " INDEXED BY ",
                $table,
                "_address WHERE tenant = :tenant AND address_index = :address"
            ),
            count: concat!("SELECT count(*) FROM ", $table),
        }
    };
}

/// Something that is kept as a document with columns beside it.
pub(super) trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    const SQL: Statements;

    fn id(&self) -> [u8; 16];
    fn id_at(moment: Timestamp) -> [u8; 16];
    fn item(id: [u8; 16]) -> Item;
    fn tenant(&self) -> TenantId;
    fn version_mut(&mut self) -> &mut u64;
    fn mode(&self) -> Mode;
    /// `None` for what has no status.
    fn status(&self) -> Option<Status>;
    fn service(&self) -> ServiceId;
    fn address(&self) -> Option<&StoredAddress>;
    fn dispatch_mut(&mut self) -> &mut Dispatch;
    /// Whether a worker's hold keeps it from being due.
    fn is_leased(&self) -> bool;
    fn wake_at(&self) -> Timestamp;
    fn counted(&self) -> &Counted;
    fn counted_mut(&mut self) -> &mut Counted;
    fn created_at(&self) -> Timestamp;
    fn metadata_holds(&self, key: &str, value: &str) -> bool;
    fn went_through(&self, channel: &str) -> bool;
    /// Whether it is still under way, and so will be read again soon.
    fn is_under_way(&self) -> bool;
}

macro_rules! shared {
    ($id:ident, $item:ident) => {
        fn id(&self) -> [u8; 16] {
            self.id.to_bytes()
        }
        fn id_at(moment: Timestamp) -> [u8; 16] {
            wotp_core::domain::id::$id::first_at(moment).to_bytes()
        }
        fn item(id: [u8; 16]) -> Item {
            Item::$item(wotp_core::domain::id::$id::from_bytes(id))
        }
        fn tenant(&self) -> TenantId {
            self.tenant
        }
        fn version_mut(&mut self) -> &mut u64 {
            &mut self.version
        }
        fn mode(&self) -> Mode {
            self.mode
        }
        fn service(&self) -> ServiceId {
            self.service
        }
        fn address(&self) -> Option<&StoredAddress> {
            self.address.as_ref()
        }
        fn dispatch_mut(&mut self) -> &mut Dispatch {
            &mut self.dispatch
        }
        fn wake_at(&self) -> Timestamp {
            self.wake_at()
        }
        fn counted(&self) -> &Counted {
            &self.counted
        }
        fn counted_mut(&mut self) -> &mut Counted {
            &mut self.counted
        }
        fn created_at(&self) -> Timestamp {
            self.created_at
        }
        fn went_through(&self, channel: &str) -> bool {
            self.dispatch.deliveries.iter().any(|delivery| delivery.channel == channel)
        }
    };
}

impl Record for Verification {
    const SQL: Statements = statements!("verification");
    shared!(VerificationId, Verification);

    fn status(&self) -> Option<Status> {
        Some(self.status)
    }
    fn is_leased(&self) -> bool {
        matches!(self.dispatch.turn, Turn::Leased { .. })
    }
    fn is_under_way(&self) -> bool {
        self.status == Status::Pending
    }
    fn metadata_holds(&self, key: &str, value: &str) -> bool {
        self.metadata.get(key).is_some_and(|held| held == value)
    }
}

impl Record for Message {
    const SQL: Statements = statements!("message");
    shared!(MessageId, Message);

    fn status(&self) -> Option<Status> {
        None
    }
    fn is_leased(&self) -> bool {
        matches!(self.dispatch.turn, Turn::Leased { .. })
    }
    fn is_under_way(&self) -> bool {
        self.dispatch.turn != Turn::Settled
    }
    fn metadata_holds(&self, _: &str, _: &str) -> bool {
        false
    }
}

/// NEVER change a number: they are stored.
pub(super) fn mode_number(mode: Mode) -> i64 {
    match mode {
        Mode::Live => 0,
        Mode::Test => 1,
    }
}

/// NEVER change a number: they are stored. Messages have 0.
pub(super) fn status_number(status: Option<Status>) -> i64 {
    match status {
        None => 0,
        Some(Status::Pending) => 1,
        Some(Status::Approved) => 2,
        Some(Status::Expired) => 3,
        Some(Status::Canceled) => 4,
        Some(Status::Failed) => 5,
    }
}

/// The columns of a record, made on the caller's thread: the writer's time is everybody's.
pub(super) struct Columns {
    tenant: [u8; 16],
    id: [u8; 16],
    version: u64,
    wake_at: i64,
    leased: bool,
    mode: i64,
    status: i64,
    service: [u8; 16],
    pub(super) address: Option<AddressIndex>,
    pub(super) doc: String,
}

impl Columns {
    pub(super) fn of<R: Record>(tenant: TenantId, record: &mut R) -> Result<Self, Fault> {
        if record.tenant() != tenant {
            return Err(Fault::Foreign);
        }
        Ok(Self {
            tenant: tenant.to_bytes(),
            id: record.id(),
            version: *record.version_mut(),
            wake_at: record.wake_at().as_microsecond(),
            leased: record.is_leased(),
            mode: mode_number(record.mode()),
            status: status_number(record.status()),
            service: record.service().to_bytes(),
            address: record.address().map(|address| address.index),
            doc: serde_json::to_string(record)?,
        })
    }

    pub(super) fn insert<R: Record>(&self, connection: &Connection, key: Option<&[u8; 32]>) -> Result<(), Fault> {
        connection.prepare_cached(R::SQL.insert)?.execute(params![
            self.tenant,
            self.id,
            self.version,
            self.wake_at,
            self.leased,
            self.mode,
            self.status,
            self.service,
            self.address.as_ref().map(|index| index.as_bytes()),
            key,
            self.doc,
        ])?;
        Ok(())
    }

    /// Stores this in place of version `expected`; says whether that was what is stored.
    pub(super) fn replace<R: Record>(&self, connection: &Connection, expected: u64) -> Result<bool, Fault> {
        let values =
            params![self.tenant, self.id, expected, self.version, self.wake_at, self.leased, self.status, self.doc,];
        if self.address.is_some() {
            return Ok(connection.prepare_cached(R::SQL.replace)?.execute(values)? > 0);
        }
        let replaced: Option<Option<[u8; 32]>> =
            connection.prepare_cached(R::SQL.replace_redacted)?.query_row(values, |row| row.get(0)).optional()?;
        // What the idempotency key would repeat holds the address too.
        if let Some(Some(key)) = replaced {
            forget_key(connection, &self.tenant, &key)?;
        }
        Ok(replaced.is_some())
    }
}

/// Deletes a record, and what its idempotency key would repeat of it.
pub(super) fn delete<R: Record>(connection: &Connection, tenant: TenantId, id: [u8; 16]) -> Result<(), Fault> {
    let tenant = tenant.to_bytes();
    let deleted: Option<Option<[u8; 32]>> =
        connection.prepare_cached(R::SQL.delete)?.query_row(params![tenant, id], |row| row.get(0)).optional()?;
    if let Some(Some(key)) = deleted {
        forget_key(connection, &tenant, &key)?;
    }
    Ok(())
}

fn forget_key(connection: &Connection, tenant: &[u8; 16], key: &[u8; 32]) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM idempotency WHERE tenant = ? AND key = ?")?.execute(params![tenant, key])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::schema::{OpenOptions, open};

    /// How SQLite would run a statement, in its words.
    fn plan(connection: &Connection, sql: &str) -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        let mut plan = String::new();
        while let Some(row) = rows.next().unwrap() {
            plan.push_str(&row.get::<_, String>("detail").unwrap());
            plan.push('\n');
        }
        plan
    }

    fn assert_searched<R: Record>(connection: &Connection, table: &str) {
        let by = |index: &str| format!("SEARCH {table} USING INDEX {table}_{index} ");
        for (sql, expected) in [
            (R::SQL.replace.to_owned(), by("id")),
            (R::SQL.find.to_owned(), by("id")),
            (R::SQL.delete.to_owned(), by("id")),
            (R::SQL.due.to_owned(), by("wake")),
            (R::SQL.leased.to_owned(), by("wake")),
            (format!("{} AND id < :after ORDER BY id DESC", R::SQL.list), by("id")),
            (format!("{} AND id < :after ORDER BY id DESC", R::SQL.list_by_address), by("address")),
        ] {
            let plan = plan(connection, &sql);
            assert!(plan.starts_with(&expected), "{sql}\n{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }

    #[test]
    fn no_statement_reads_a_whole_table_or_sorts_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let connection = open(&folder.path().join("wotp.db"), &OpenOptions::default()).unwrap();
        assert_searched::<Verification>(&connection, "verification");
        assert_searched::<Message>(&connection, "message");
    }
}
