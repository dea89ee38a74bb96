//! What verifications and messages have in common on disk: documents and the columns beside them.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::vault::AddressIndex;
use wotp_core::domain::verification::{Status, Verification};

use super::addresses::{AddressStatements, Addresses, address_statements};
use super::fault::Fault;
use super::outbox;
use super::writer::Work;
pub(super) use crate::record::Record;

/// The statements of one table.
pub(super) struct Statements {
    insert: &'static str,
    insert_state: &'static str,
    replace: &'static str,
    pub(super) version: &'static str,
    rewrite: &'static str,
    address: &'static str,
    pub(super) find: &'static str,
    delete: &'static str,
    delete_state: &'static str,
    pub(super) due: &'static str,
    pub(super) leased: &'static str,
    pub(super) list: &'static str,
    pub(super) doc_holds: &'static str,
    pub(super) state_holds: &'static str,
    pub(super) count: &'static str,
    pub(super) some: &'static str,
    pub(super) contents: &'static str,
    pub(super) addresses: AddressStatements,
    /// Path of what the document holds secret, and only until the record's end.
    secret: &'static str,
}

macro_rules! statements {
    ($table:literal, $secret:literal) => {
        Statements {
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (tenant, id, mode, service, address_index, doc) VALUES (?, ?, ?, ?, ?, ?)"
            ),
            insert_state: concat!(
                "INSERT INTO ",
                $table,
                "_state (number, version, wake_at, leased, status, idempotency, doc)
                 VALUES (last_insert_rowid(), ?, ?, ?, ?, ?, ?)"
            ),
            replace: concat!(
                "UPDATE ",
                $table,
                "_state SET version = ?4, wake_at = ?5, leased = ?6, status = ?7, doc = ?8
                 WHERE number = (SELECT number FROM ",
                $table,
                " WHERE tenant = ?1 AND id = ?2) AND version = ?3 RETURNING idempotency"
            ),
            version: concat!(
                "SELECT version FROM ",
                $table,
                " JOIN ",
                $table,
                "_state USING (number) WHERE tenant = ? AND id = ?"
            ),
            rewrite: concat!("UPDATE ", $table, " SET doc = ?3, address_index = ?4 WHERE tenant = ?1 AND id = ?2"),
            address: concat!("SELECT address_index FROM ", $table, " WHERE tenant = ? AND id = ?"),
            find: concat!(
                "SELECT ",
                $table,
                ".doc, ",
                $table,
                "_state.doc FROM ",
                $table,
                " JOIN ",
                $table,
                "_state USING (number) WHERE tenant = ? AND id = ?"
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE tenant = ? AND id = ? RETURNING number, address_index"),
            delete_state: concat!("DELETE FROM ", $table, "_state WHERE number = ? RETURNING idempotency"),
            // CROSS JOIN: SQLite joins in the order that is written.
            due: concat!(
                "SELECT wake_at, tenant, id FROM ",
                $table,
                "_state CROSS JOIN ",
                $table,
                " USING (number) WHERE wake_at <= ? ORDER BY wake_at LIMIT ?"
            ),
            leased: concat!(
                "SELECT ",
                $table,
                ".doc, ",
                $table,
                "_state.doc, tenant FROM ",
                $table,
                "_state CROSS JOIN ",
                $table,
                " USING (number) WHERE wake_at <= ? AND leased = 1 LIMIT ?"
            ),
            list: concat!(
                "SELECT ",
                $table,
                ".doc, ",
                $table,
                "_state.doc FROM ",
                $table,
                " INDEXED BY ",
                $table,
                "_id CROSS JOIN ",
                $table,
                "_state USING (number) WHERE tenant = :tenant"
            ),
            doc_holds: concat!(" AND instr(", $table, ".doc, :metadata) > 0"),
            state_holds: concat!(" AND instr(", $table, "_state.doc, :channel) > 0"),
            count: concat!("SELECT count(*) FROM ", $table),
            some: concat!("SELECT id FROM ", $table, " WHERE tenant = ? LIMIT ?"),
            // By id over all tenants, for which there is no index: ids are sorted first, and the rest of a
            // row is fetched when it is its turn. LIMIT keeps SQLite from doing without that order.
            contents: concat!(
                "SELECT ",
                $table,
                ".doc, ",
                $table,
                "_state.doc, walk.id AS id, number, idempotency.key AS key, fingerprint, expires_at,
                 idempotency.doc AS repeats
                 FROM (SELECT id, number FROM ",
                $table,
                " WHERE id > ?1 ORDER BY id LIMIT -1) AS walk CROSS JOIN ",
                $table,
                " USING (number) CROSS JOIN ",
                $table,
                "_state USING (number) LEFT JOIN idempotency
                 ON idempotency.tenant = ",
                $table,
                ".tenant AND idempotency.key = ",
                $table,
                "_state.idempotency AND idempotency.record = walk.id AND idempotency.expires_at > ?2"
            ),
            addresses: address_statements!($table),
            secret: $secret,
        }
    };
}

/// A record that has a table of its own.
pub(super) trait Table: Record {
    const SQL: Statements;

    /// Its index of addresses.
    fn addresses<'w>(work: &'w mut Work<'_>) -> &'w mut Addresses;
}

impl Table for Verification {
    const SQL: Statements = statements!("verification", "$.code");

    fn addresses<'w>(work: &'w mut Work<'_>) -> &'w mut Addresses {
        work.verification_addresses
    }
}

impl Table for Message {
    const SQL: Statements = statements!("message", "$.content");

    fn addresses<'w>(work: &'w mut Work<'_>) -> &'w mut Addresses {
        work.message_addresses
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

/// The record in the first two columns of a row.
pub(super) fn read<R: Table>(row: &Row<'_>) -> Result<R, Fault> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    Ok(R::of(serde_json::from_str(text(0)?)?, serde_json::from_str(text(1)?)?))
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
    /// Whether the record is at its end, and holds no secret any more.
    ended: bool,
    /// What stays; not written by a change that leaves it as it is.
    fixed: Option<String>,
    pub(super) state: String,
    /// What is told of it.
    news: Option<String>,
}

impl Columns {
    /// Of a record that is new.
    pub(super) fn of_new<R: Table>(tenant: TenantId, record: &mut R) -> Result<Self, Fault> {
        let mut columns = Self::of(tenant, record)?;
        columns.fixed = Some(serde_json::to_string(&record.fixed())?);
        columns.news = record.news_of_start().map(|news| serde_json::to_string(&news)).transpose()?;
        Ok(columns)
    }

    /// Of a record that changed.
    pub(super) fn of<R: Table>(tenant: TenantId, record: &mut R) -> Result<Self, Fault> {
        if record.tenant() != tenant {
            return Err(Fault::Foreign);
        }
        let address = record.address().map(|address| address.index);
        Ok(Self {
            tenant: tenant.to_bytes(),
            id: record.id(),
            version: *record.version_mut(),
            wake_at: record.wake_at().as_microsecond(),
            leased: record.is_leased(),
            mode: mode_number(record.mode()),
            status: status_number(record.status()),
            service: record.service().to_bytes(),
            address,
            ended: !record.is_under_way(),
            // Nothing of it ever changes but that its address becomes known or is redacted: what is to change belongs in
            // `state`.
            fixed: record.is_rewritten().then(|| serde_json::to_string(&record.fixed())).transpose()?,
            state: serde_json::to_string(&record.state())?,
            news: record.news_of_change(record.version()).map(|news| serde_json::to_string(&news)).transpose()?,
        })
    }

    pub(super) fn insert<R: Table>(&self, work: &mut Work<'_>, key: Option<&[u8; 32]>) -> Result<(), Fault> {
        let connection = work.connection;
        connection.prepare_cached(R::SQL.insert)?.execute(params![
            self.tenant,
            self.id,
            self.mode,
            self.service,
            self.address.as_ref().map(|index| index.as_bytes()),
            self.fixed.as_deref().expect("the columns of a new record hold all of it"),
        ])?;
        connection.prepare_cached(R::SQL.insert_state)?.execute(params![
            self.version,
            self.wake_at,
            self.leased,
            self.status,
            key,
            self.state,
        ])?;
        self.append_news(connection)?;
        match self.address {
            Some(address) => R::addresses(work).add(connection, (self.tenant, address, self.id)),
            None => Ok(()),
        }
    }

    /// Stores this in place of version `expected`; says whether that was what is stored.
    pub(super) fn replace<R: Table>(&self, work: &mut Work<'_>, expected: u64) -> Result<bool, Fault> {
        let connection = work.connection;
        let values =
            params![self.tenant, self.id, expected, self.version, self.wake_at, self.leased, self.status, self.state];
        let replaced: Option<Option<[u8; 32]>> =
            connection.prepare_cached(R::SQL.replace)?.query_row(values, |row| row.get(0)).optional()?;
        let Some(key) = replaced else { return Ok(false) };
        self.append_news(connection)?;
        if let Some(key) = key.filter(|_| self.ended) {
            forget_secret::<R>(connection, &self.tenant, &key, &self.id)?;
        }
        if let Some(fixed) = &self.fixed {
            self.rewrite::<R>(work, fixed)?;
            // What the idempotency key would repeat holds the address too.
            if let Some(key) = key.filter(|_| self.address.is_none()) {
                forget_key(connection, &self.tenant, &key, &self.id)?;
            }
        }
        Ok(true)
    }

    fn append_news(&self, connection: &Connection) -> Result<(), Fault> {
        self.news.as_ref().map_or(Ok(()), |news| outbox::append(connection, &self.id, self.version, news))
    }

    fn rewrite<R: Table>(&self, work: &mut Work<'_>, fixed: &str) -> Result<(), Fault> {
        let connection = work.connection;
        let held: Option<[u8; 24]> =
            connection.prepare_cached(R::SQL.address)?.query_row(params![self.tenant, self.id], |row| row.get(0))?;
        let address = self.address.as_ref().map(|index| index.as_bytes());
        connection.prepare_cached(R::SQL.rewrite)?.execute(params![self.tenant, self.id, fixed, address])?;
        let held = held.map(AddressIndex::from_bytes);
        if held == self.address {
            return Ok(());
        }
        if let Some(address) = held {
            R::addresses(work).forget(connection, (self.tenant, address, self.id))?;
        }
        match self.address {
            Some(address) => R::addresses(work).add(connection, (self.tenant, address, self.id)),
            None => Ok(()),
        }
    }
}

/// Deletes a record, and what its idempotency key would repeat of it.
pub(super) fn delete<R: Table>(work: &mut Work<'_>, tenant: TenantId, id: [u8; 16]) -> Result<(), Fault> {
    let tenant = tenant.to_bytes();
    let connection = work.connection;
    let deleted: Option<(i64, Option<[u8; 24]>)> = connection
        .prepare_cached(R::SQL.delete)?
        .query_row(params![tenant, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, address)) = deleted else { return Ok(()) };
    let key: Option<Option<[u8; 32]>> =
        connection.prepare_cached(R::SQL.delete_state)?.query_row([number], |row| row.get(0)).optional()?;
    if let Some(key) = key.flatten() {
        forget_key(connection, &tenant, &key, &id)?;
    }
    match address {
        Some(address) => R::addresses(work).forget(connection, (tenant, AddressIndex::from_bytes(address), id)),
        None => Ok(()),
    }
}

/// Only what this record made: the key may have been used again since.
fn forget_key(connection: &Connection, tenant: &[u8; 16], key: &[u8; 32], id: &[u8; 16]) -> Result<(), Fault> {
    connection
        .prepare_cached("DELETE FROM idempotency WHERE tenant = ? AND key = ? AND record = ?")?
        .execute(params![tenant, key, id])?;
    Ok(())
}

/// What the key repeats keeps its secret no longer than the record does.
fn forget_secret<R: Table>(
    connection: &Connection,
    tenant: &[u8; 16],
    key: &[u8; 32],
    id: &[u8; 16],
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE idempotency SET doc = json_remove(doc, ?4) WHERE tenant = ?1 AND key = ?2 AND record = ?3",
        )?
        .execute(params![tenant, key, id, R::SQL.secret])?;
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

    fn assert_searched<R: Table>(connection: &Connection, table: &str) {
        let by_id = format!("SEARCH {table} USING INDEX {table}_id ");
        let by_id_alone = format!("SEARCH {table} USING COVERING INDEX {table}_id ");
        let by_wake = format!("SEARCH {table}_state USING INDEX {table}_wake ");
        let by_wake_alone = format!("SEARCH {table}_state USING COVERING INDEX {table}_wake ");
        let in_order = format!("SEARCH {table}_address USING PRIMARY KEY ");
        for (sql, expected) in [
            (R::SQL.replace.to_owned(), &by_id_alone),
            (R::SQL.version.to_owned(), &by_id_alone),
            (R::SQL.rewrite.to_owned(), &by_id),
            (R::SQL.address.to_owned(), &by_id),
            (R::SQL.find.to_owned(), &by_id),
            (R::SQL.delete.to_owned(), &by_id),
            (R::SQL.some.to_owned(), &by_id_alone),
            (R::SQL.due.to_owned(), &by_wake_alone),
            (R::SQL.leased.to_owned(), &by_wake),
            (format!("{} AND id >= :from AND id < :before ORDER BY id DESC", R::SQL.list), &by_id),
            (format!("{} AND status = :status AND id = :id", R::SQL.list), &by_id),
            (R::SQL.addresses.list.to_owned(), &in_order),
            (R::SQL.addresses.forget.to_owned(), &in_order),
        ] {
            let plan = plan(connection, &sql);
            assert!(plan.contains(expected.as_str()), "{sql}\n{plan}");
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

    #[test]
    fn all_of_a_table_is_read_by_sorting_its_ids_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let connection = open(&folder.path().join("wotp.db"), &OpenOptions::default()).unwrap();
        for (sql, table) in [(Verification::SQL.contents, "verification"), (Message::SQL.contents, "message")] {
            let plan = plan(&connection, sql);
            let steps: Vec<&str> = plan.lines().collect();
            let expected = [
                "CO-ROUTINE walk".to_owned(),
                format!("SCAN {table} USING COVERING INDEX {table}_id"),
                "USE TEMP B-TREE FOR ORDER BY".to_owned(),
                "SCAN walk".to_owned(),
                format!("SEARCH {table} USING INTEGER PRIMARY KEY"),
                format!("SEARCH {table}_state USING INTEGER PRIMARY KEY"),
                "SEARCH idempotency USING INDEX".to_owned(),
            ];
            assert_eq!(steps.len(), expected.len(), "{plan}");
            assert!(steps.iter().zip(&expected).all(|(step, expected)| step.starts_with(expected)), "{plan}");
        }
    }
}
