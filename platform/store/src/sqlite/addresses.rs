//! Which records an address has: an index that is filled in batches.
//!
//! Its entries are in the order of keyed hashes, so each new one belongs on another page, and a
//! commit of sixty admissions would write sixty pages for sixty short entries. So a new entry is
//! only appended to a log, and kept in memory, where those of one address are found at once. When
//! many have gathered, the writer moves them into the index in the order of their addresses, a few
//! with each commit, so that neighbours share a page. What is in memory is read from the log when
//! the store opens.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, params};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::vault::{AddressIndex, INDEX_PREFIX_SIZE};

use super::fault::Fault;

/// Entries kept in memory before they begin to move. An index of a million entries has about 11,000
/// pages, so that six of these share one; about 6 MB.
const RECENT_MAX: usize = 65_536;
/// Entries that move with one commit, at most: a millisecond.
const BATCH_MAX: usize = 512;

type Id = [u8; 16];
/// An address of a tenant, and one of its records.
type Entry = ([u8; 16], AddressIndex, Id);

/// The statements over one kind of record's index.
pub(super) struct AddressStatements {
    pub(super) log: &'static str,
    pub(super) read_log: &'static str,
    pub(super) trim_log: &'static str,
    pub(super) forget_log: &'static str,
    pub(super) insert: &'static str,
    pub(super) forget: &'static str,
    pub(super) list: &'static str,
    pub(super) find: &'static str,
    pub(super) range: &'static str,
}

macro_rules! address_statements {
    ($table:literal) => {
        AddressStatements {
            log: concat!("INSERT INTO ", $table, "_address_log (number, tenant, address, id) VALUES (?, ?, ?, ?)"),
            read_log: concat!("SELECT number, tenant, address, id FROM ", $table, "_address_log"),
            trim_log: concat!("DELETE FROM ", $table, "_address_log WHERE number <= ?"),
            forget_log: concat!("DELETE FROM ", $table, "_address_log WHERE number = ?"),
            insert: concat!("INSERT OR IGNORE INTO ", $table, "_address (tenant, address, id) VALUES (?, ?, ?)"),
            forget: concat!("DELETE FROM ", $table, "_address WHERE tenant = ? AND address = ? AND id = ?"),
            list: concat!(
                "SELECT id FROM ",
                $table,
                "_address WHERE tenant = ? AND address = ? AND id < ? ORDER BY id DESC"
            ),
            find: concat!("SELECT 1 FROM ", $table, "_address WHERE tenant = ? AND address = ? AND id = ?"),
            range: concat!(
                "SELECT count(*) FROM ",
                $table,
                "_address WHERE tenant = ? AND address BETWEEN ? AND ? AND id >= ?"
            ),
        }
    };
}
pub(super) use address_statements;

/// The entries that are not in the index yet, or were not a moment ago, with their numbers in the
/// log. Readers look here first and in the index then: an entry leaves only once it is there.
#[derive(Debug, Default)]
pub(super) struct Recent(RwLock<BTreeMap<Entry, i64>>);

impl Recent {
    fn read<T>(&self, read: impl FnOnce(&BTreeMap<Entry, i64>) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Entry, i64>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records of an address before `before`, newest first.
    fn of(&self, tenant: TenantId, address: AddressIndex, before: Id) -> Vec<Id> {
        let tenant = tenant.to_bytes();
        let range = (Bound::Included((tenant, address, [0; 16])), Bound::Excluded((tenant, address, before)));
        self.read(|entries| entries.range(range).rev().map(|((_, _, id), _)| *id).collect())
    }

    /// Entries of all addresses with the prefix of `address`.
    fn neighbours(&self, tenant: TenantId, address: &AddressIndex, since: Id) -> Vec<Entry> {
        let (first, last) = neighbours(address);
        let tenant = tenant.to_bytes();
        let range = (Bound::Included((tenant, first, [0; 16])), Bound::Included((tenant, last, [0xFF; 16])));
        self.read(|entries| entries.range(range).map(|(entry, _)| *entry).filter(|(_, _, id)| *id >= since).collect())
    }
}

fn neighbours(address: &AddressIndex) -> (AddressIndex, AddressIndex) {
    let (mut first, mut last) = (*address.as_bytes(), *address.as_bytes());
    first[INDEX_PREFIX_SIZE..].fill(0);
    last[INDEX_PREFIX_SIZE..].fill(0xFF);
    (AddressIndex::from_bytes(first), AddressIndex::from_bytes(last))
}

/// Goes through the records of an address, newest first, until `visit` says that it has seen enough.
///
/// A record may be gone since its entry was read: `visit` finds out.
pub(super) fn visit(
    connection: &Connection,
    sql: &AddressStatements,
    recent: &Recent,
    (tenant, address): (TenantId, AddressIndex),
    before: Option<Id>,
    mut visit: impl FnMut(Id) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    // No id is the last one: those of the year 10889 are not made yet.
    let before = before.unwrap_or([0xFF; 16]);
    let mut recent = recent.of(tenant, address, before).into_iter().peekable();
    let mut statement = connection.prepare_cached(sql.list)?;
    let mut rows = statement.query(params![tenant.to_bytes(), address.as_bytes(), before])?;
    let mut settled: Option<Id> = rows.next()?.map(|row| row.get(0)).transpose()?;
    loop {
        let next = match (recent.peek().copied(), settled) {
            (None, None) => return Ok(()),
            (one, other) => one.max(other),
        };
        let Some(id) = next else { return Ok(()) };
        // An entry that is just moving is in both.
        recent.next_if_eq(&id);
        if settled == Some(id) {
            settled = rows.next()?.map(|row| row.get(0)).transpose()?;
        }
        if !visit(id)? {
            return Ok(());
        }
    }
}

/// How many records since `since` the addresses with the prefix of `address` have.
pub(super) fn count_neighbours(
    connection: &Connection,
    sql: &AddressStatements,
    recent: &Recent,
    tenant: TenantId,
    address: &AddressIndex,
    since: Id,
) -> Result<u64, Fault> {
    let recent = recent.neighbours(tenant, address, since);
    // One view of the index for both statements, or what moves in between would be counted twice.
    let view = connection.unchecked_transaction()?;
    let (first, last) = neighbours(address);
    let settled: i64 = view
        .prepare_cached(sql.range)?
        .query_row(params![tenant.to_bytes(), first.as_bytes(), last.as_bytes(), since], |row| row.get(0))?;
    let mut find = view.prepare_cached(sql.find)?;
    let mut count = u64::try_from(settled).unwrap_or(0);
    for (tenant, address, id) in recent {
        count += u64::from(!find.exists(params![tenant, address.as_bytes(), id])?);
    }
    Ok(count)
}

/// The writer's side of one index.
pub(super) struct Addresses {
    sql: &'static AddressStatements,
    recent: Arc<Recent>,
    /// Number of the next entry of the log. Never used twice while this process runs.
    next: i64,
    round: Round,
    /// What this commit changes in memory. Until it is done nothing has moved, and if it is not, what
    /// was added and forgotten is undone.
    adding: Vec<Entry>,
    forgetting: Vec<(Entry, i64)>,
    moving: Vec<Entry>,
    /// Where the round stands once this commit is done.
    moved: Option<Round>,
}

/// Entries move in the order of their addresses, from the first to the last and over again.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// The last one that moved in this round.
    at: Option<Entry>,
    /// All entries with numbers up to this one have moved once this round ends.
    ends: i64,
    /// All entries with numbers up to this one have moved, and may go from the log.
    settled: i64,
    /// Those up to this one have gone.
    trimmed: i64,
}

impl Addresses {
    /// Reads the log.
    pub(super) fn open(
        connection: &Connection,
        sql: &'static AddressStatements,
        recent: Arc<Recent>,
    ) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(sql.read_log)?;
        let rows = statement.query_map([], |row| {
            Ok(((row.get(1)?, AddressIndex::from_bytes(row.get(2)?), row.get(3)?), row.get(0)?))
        })?;
        let entries = rows.collect::<rusqlite::Result<BTreeMap<Entry, i64>>>()?;
        let last = entries.values().max().map_or(0, |last| *last);
        let first = entries.values().min().map_or(1, |first| *first);
        recent.change(|recent| *recent = entries);
        let round = Round { at: None, ends: last, settled: 0, trimmed: first - 1 };
        let (adding, forgetting, moving) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { sql, recent, next: last + 1, round, adding, forgetting, moving, moved: None })
    }

    /// Where readers look first.
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, connection: &Connection, entry: Entry) -> Result<(), Fault> {
        let (tenant, address, id) = entry;
        connection.prepare_cached(self.sql.log)?.execute(params![self.next, tenant, address.as_bytes(), id])?;
        // At once, so that the next command of this commit sees it.
        self.recent.change(|recent| recent.insert(entry, self.next));
        self.adding.push(entry);
        self.next += 1;
        Ok(())
    }

    /// Forgets an entry, wherever it is.
    pub(super) fn forget(&mut self, connection: &Connection, entry: Entry) -> Result<(), Fault> {
        let (tenant, address, id) = entry;
        connection.prepare_cached(self.sql.forget)?.execute(params![tenant, address.as_bytes(), id])?;
        if let Some(number) = self.recent.change(|recent| recent.remove(&entry)) {
            self.forgetting.push((entry, number));
            connection.prepare_cached(self.sql.forget_log)?.execute([number])?;
        }
        Ok(())
    }

    /// Before each commit that adds some: moves a few, when there are many. Twice as many as came, so
    /// that it gains on them.
    pub(super) fn move_some(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.adding.is_empty() || self.recent.read(BTreeMap::len) <= RECENT_MAX {
            return Ok(());
        }
        let few = (2 * self.adding.len()).min(BATCH_MAX);
        let mut round = self.round;
        let beyond = (round.at.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.recent.read(|entries| self.moving.extend(entries.range(beyond).take(few).map(|(entry, _)| *entry)));
        let mut insert = connection.prepare_cached(self.sql.insert)?;
        for (tenant, address, id) in &self.moving {
            insert.execute(params![tenant, address.as_bytes(), id])?;
        }
        round.at = self.moving.last().copied();
        if self.moving.len() < few {
            // The end: those that came behind the round's back meanwhile move in the next one.
            round = Round { at: None, ends: self.next - 1, settled: round.ends, trimmed: round.trimmed };
        }
        if round.trimmed < round.settled {
            round.trimmed = round.settled.min(round.trimmed + i64::try_from(few).unwrap_or(i64::MAX));
            connection.prepare_cached(self.sql.trim_log)?.execute([round.trimmed])?;
        }
        self.moved = Some(round);
        Ok(())
    }

    /// After each commit.
    pub(super) fn committed(&mut self) {
        if let Some(round) = self.moved.take() {
            self.round = round;
            self.recent.change(|recent| {
                for entry in self.moving.drain(..) {
                    recent.remove(&entry);
                }
            });
        }
        self.adding.clear();
        self.forgetting.clear();
    }

    /// After a commit that failed: everything is as it was before it.
    pub(super) fn rolled_back(&mut self) {
        self.recent.change(|recent| {
            recent.extend(self.forgetting.drain(..));
            for entry in self.adding.drain(..) {
                recent.remove(&entry);
            }
        });
        self.moving.clear();
        self.moved = None;
    }
}
