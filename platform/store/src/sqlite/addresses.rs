//! Which records an address has: an index that is filled in batches.
//!
//! Its entries are in the order of keyed hashes, so each new one belongs on another page, and a
//! commit of sixty admissions would write sixty pages for sixty short entries. So a new entry is
//! only appended to a log, and kept in memory, where those of one address are found at once. When
//! many have gathered, the writer moves them into the index in the order of their addresses, a few
//! with each commit, so that neighbours share a page. What is in memory is read from the log when
//! the store opens.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, params};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::vault::AddressIndex;

use super::fault::Fault;

/// Entries that wait in memory before they begin to move. An index of a million entries has about
/// 22,000 pages, so that three of these share one. With those that have moved and are not trimmed
/// yet, about 12 MB.
const RECENT_MAX: usize = 65_536;
/// Entries that move with one commit, at most: a millisecond.
const BATCH_MAX: usize = 512;
/// Entries of one address that are copied out of memory at once: the writer waits meanwhile.
const CHUNK: usize = 256;
/// No id is the last one: those of the year 10889 are not made yet.
pub(super) const ANY: Range<[u8; 16]> = [0; 16]..[0xFF; 16];

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
}

macro_rules! address_statements {
    ($table:literal) => {
        AddressStatements {
            log: concat!("INSERT INTO ", $table, "_address_log (number, tenant, address, id) VALUES (?, ?, ?, ?)"),
            read_log: concat!("SELECT number, tenant, address, id FROM ", $table, "_address_log"),
            trim_log: concat!("DELETE FROM ", $table, "_address_log WHERE number <= ? RETURNING tenant, address, id"),
            forget_log: concat!("DELETE FROM ", $table, "_address_log WHERE number = ?"),
            insert: concat!("INSERT OR IGNORE INTO ", $table, "_address (tenant, address, id) VALUES (?, ?, ?)"),
            forget: concat!("DELETE FROM ", $table, "_address WHERE tenant = ? AND address = ? AND id = ?"),
            list: concat!(
                "SELECT id FROM ",
                $table,
                "_address WHERE tenant = ? AND address = ? AND id >= ? AND id < ? ORDER BY id DESC"
            ),
        }
    };
}
pub(super) use address_statements;

/// The entries that are in the log, with their numbers there: those that are not in the index yet,
/// and some that are. Readers look here first and in the index then: an entry leaves only once it is
/// there.
#[derive(Debug, Default)]
pub(super) struct Recent(RwLock<BTreeMap<Entry, i64>>);

impl Recent {
    fn read<T>(&self, read: impl FnOnce(&BTreeMap<Entry, i64>) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Entry, i64>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest records of an address within `ids`, newest first: `CHUNK` of them at most.
    fn of(&self, tenant: TenantId, address: AddressIndex, ids: &Range<Id>) -> Vec<Id> {
        let tenant = tenant.to_bytes();
        let range = (Bound::Included((tenant, address, ids.start)), Bound::Excluded((tenant, address, ids.end)));
        self.read(|entries| entries.range(range).rev().take(CHUNK).map(|((_, _, id), _)| *id).collect())
    }
}

/// Goes through the records of an address within `ids`, newest first, until `visit` says that it has
/// seen enough.
///
/// A record may be gone since its entry was read: `visit` finds out.
pub(super) fn visit(
    connection: &Connection,
    sql: &AddressStatements,
    recent: &Recent,
    (tenant, address): (TenantId, AddressIndex),
    mut ids: Range<Id>,
    mut visit: impl FnMut(Id) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(sql.list)?;
    while ids.start < ids.end {
        // Memory before the index, each time: an entry that leaves the one is in the other by then.
        let chunk = recent.of(tenant, address, &ids);
        let from = if chunk.len() == CHUNK { chunk[CHUNK - 1] } else { ids.start };
        let mut chunk = chunk.into_iter().peekable();
        let mut rows = statement.query(params![tenant.to_bytes(), address.as_bytes(), from, ids.end])?;
        let mut settled: Option<Id> = rows.next()?.map(|row| row.get(0)).transpose()?;
        while let Some(id) = chunk.peek().copied().max(settled) {
            // One that moved and was not trimmed yet is in both.
            chunk.next_if_eq(&id);
            if settled == Some(id) {
                settled = rows.next()?.map(|row| row.get(0)).transpose()?;
            }
            if !visit(id)? {
                return Ok(());
            }
        }
        ids.end = from;
    }
    Ok(())
}

/// The writer's side of one index.
pub(super) struct Addresses {
    sql: &'static AddressStatements,
    recent: Arc<Recent>,
    /// How many wait in memory before they begin to move.
    recent_max: usize,
    /// Number of the next entry of the log. Never used twice while this process runs.
    next: i64,
    /// How many have not moved.
    waiting: usize,
    round: Round,
    /// What this commit changes in memory. If it fails, what was added and forgotten is undone, and
    /// nothing has moved.
    adding: Vec<Entry>,
    forgetting: Vec<(Entry, i64)>,
    moving: usize,
    trimming: Vec<Entry>,
    /// Where the round stands once this commit is done.
    moved: Option<Round>,
}

/// Entries move in the order of their addresses, from the first to the last and over again.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// The last one that moved in this round.
    at: Option<Entry>,
    /// Entries with numbers up to this one move in this round; those that came later in the next.
    ends: i64,
    /// Those up to this one have moved in rounds before.
    settled: i64,
    /// Those up to this one have gone from the log and from memory.
    trimmed: i64,
}

impl Round {
    fn has_moved(&self, entry: &Entry, number: i64) -> bool {
        number <= self.settled || (number <= self.ends && self.at.is_some_and(|at| *entry <= at))
    }
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
        let waiting = entries.len();
        recent.change(|recent| *recent = entries);
        let round = Round { at: None, ends: last, settled: 0, trimmed: first - 1 };
        Ok(Self {
            sql,
            recent,
            recent_max: RECENT_MAX,
            next: last + 1,
            // Some may have moved before: to move one again changes nothing.
            waiting,
            round,
            adding: Vec::new(),
            forgetting: Vec::new(),
            moving: 0,
            trimming: Vec::new(),
            moved: None,
        })
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

    /// Before each commit that adds some: moves a few, when many wait. Twice as many as came, so that
    /// it gains on them.
    pub(super) fn move_some(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.adding.is_empty() || self.waiting <= self.recent_max {
            return Ok(());
        }
        let few = (2 * self.adding.len()).min(BATCH_MAX);
        let mut round = self.round;
        let beyond = (round.at.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let of_this_round = |number: i64| number > round.settled && number <= round.ends;
        let moving: Vec<Entry> = self.recent.read(|entries| {
            let candidates = entries.range(beyond).filter(|(_, number)| of_this_round(**number));
            candidates.take(few).map(|(entry, _)| *entry).collect()
        });
        let mut insert = connection.prepare_cached(self.sql.insert)?;
        for (tenant, address, id) in &moving {
            insert.execute(params![tenant, address.as_bytes(), id])?;
        }
        self.moving = moving.len();
        round.at = moving.last().copied().or(round.at);
        if self.moving < few {
            round = Round { at: None, ends: self.next - 1, settled: round.ends, trimmed: round.trimmed };
        }
        if round.trimmed < round.settled {
            round.trimmed = round.settled.min(round.trimmed + i64::try_from(2 * few).unwrap_or(i64::MAX));
            let mut trim = connection.prepare_cached(self.sql.trim_log)?;
            let trimmed = trim.query_map([round.trimmed], |row| {
                Ok((row.get(0)?, AddressIndex::from_bytes(row.get(1)?), row.get(2)?))
            })?;
            self.trimming = trimmed.collect::<rusqlite::Result<_>>()?;
        }
        self.moved = Some(round);
        Ok(())
    }

    /// After each commit.
    pub(super) fn committed(&mut self) {
        let forgotten = self.forgetting.iter().filter(|(entry, number)| !self.round.has_moved(entry, *number)).count();
        self.waiting = (self.waiting + self.adding.len()).saturating_sub(forgotten + self.moving);
        if let Some(round) = self.moved.take() {
            self.round = round;
        }
        if !self.trimming.is_empty() {
            self.recent.change(|recent| {
                for entry in self.trimming.drain(..) {
                    recent.remove(&entry);
                }
            });
        }
        self.adding.clear();
        self.forgetting.clear();
        self.moving = 0;
    }

    /// After a commit that failed: everything is as it was before it.
    pub(super) fn rolled_back(&mut self) {
        self.recent.change(|recent| {
            recent.extend(self.forgetting.drain(..));
            for entry in self.adding.drain(..) {
                recent.remove(&entry);
            }
        });
        self.moving = 0;
        self.trimming.clear();
        self.moved = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wotp_core::domain::verification::Verification;

    use super::*;
    use crate::sqlite::record::Table as _;
    use crate::sqlite::schema::{OpenOptions, open};

    const SQL: &AddressStatements = &Verification::SQL.addresses;

    fn tenant() -> TenantId {
        TenantId::from_bytes([1; 16])
    }

    fn address(n: u8) -> AddressIndex {
        AddressIndex::from_bytes([n; 24])
    }

    fn entry(address_number: u8, id: u16) -> Entry {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        (tenant().to_bytes(), address(address_number), bytes)
    }

    struct Index {
        connection: Connection,
        addresses: Addresses,
        _folder: tempfile::TempDir,
    }

    impl Index {
        fn new(recent_max: usize) -> Self {
            let folder = tempfile::TempDir::new().unwrap();
            let connection = open(&folder.path().join("wotp.db"), &OpenOptions::default()).unwrap();
            let addresses = Addresses::open(&connection, SQL, Arc::default()).unwrap();
            Self { addresses: Addresses { recent_max, ..addresses }, connection, _folder: folder }
        }

        /// As the writer does: all of it, or nothing.
        fn commit(&mut self, add: &[Entry], forget: &[Entry], fails: bool) {
            self.connection.execute_batch("BEGIN").unwrap();
            for entry in add {
                self.addresses.add(&self.connection, *entry).unwrap();
            }
            for entry in forget {
                self.addresses.forget(&self.connection, *entry).unwrap();
            }
            self.addresses.move_some(&self.connection).unwrap();
            if fails {
                self.connection.execute_batch("ROLLBACK").unwrap();
                self.addresses.rolled_back();
            } else {
                self.connection.execute_batch("COMMIT").unwrap();
                self.addresses.committed();
            }
        }

        /// As after a crash: only what is stored is left.
        fn reopen(&mut self) {
            let recent_max = self.addresses.recent_max;
            let addresses = Addresses::open(&self.connection, SQL, Arc::default()).unwrap();
            self.addresses = Addresses { recent_max, ..addresses };
        }

        fn of(&self, address_number: u8) -> Vec<Id> {
            let mut seen = Vec::new();
            let recent = self.addresses.recent();
            visit(&self.connection, SQL, recent, (tenant(), address(address_number)), ANY, |id| {
                seen.push(id);
                Ok(true)
            })
            .unwrap();
            seen
        }

        fn count(&self, sql: &str) -> usize {
            self.connection.query_row(sql, [], |row| row.get(0)).unwrap()
        }

        fn in_log(&self) -> usize {
            self.count("SELECT count(*) FROM verification_address_log")
        }

        fn in_index(&self) -> usize {
            self.count("SELECT count(*) FROM verification_address")
        }
    }

    #[test]
    fn entries_stay_in_the_log_until_they_are_many_and_then_leave_it_and_the_memory() {
        let mut index = Index::new(100);
        for id in 0..100 {
            index.commit(&[entry(u8::try_from(id % 7).unwrap(), id)], &[], false);
        }
        assert_eq!((index.in_log(), index.in_index()), (100, 0));
        for id in 100..1000 {
            index.commit(&[entry(u8::try_from(id % 7).unwrap(), id)], &[], false);
        }
        assert!(index.addresses.waiting <= 102, "{} wait", index.addresses.waiting);
        assert_eq!(index.addresses.waiting + index.in_index(), 1000);
        let recent = index.addresses.recent().read(BTreeMap::len);
        assert_eq!(recent, index.in_log(), "what is in the log is in memory, and nothing else");
        assert!(recent <= 400, "{recent} are in the log still");
        let expected: Vec<Id> = (0..1000).rev().filter(|id| id % 7 == 3).map(|id| entry(3, id).2).collect();
        assert_eq!(index.of(3), expected);
        index.reopen();
        assert_eq!(index.of(3), expected);
    }

    #[test]
    fn a_range_of_a_long_list_is_walked_in_chunks_without_gap_or_repeat() {
        let mut index = Index::new(300);
        let all: Vec<Entry> = (0..1000).map(|id| entry(1, id)).collect();
        for entries in all.chunks(50) {
            index.commit(entries, &[], false);
        }
        assert!(index.in_index() > 300 && index.addresses.waiting > CHUNK);
        for (from, before) in [(0, 1000), (10, 990), (500, 501), (999, 1000), (700, 700)] {
            let mut seen = Vec::new();
            let (recent, ids) = (index.addresses.recent(), entry(1, from).2..entry(1, before).2);
            visit(&index.connection, SQL, recent, (tenant(), address(1)), ids, |id| {
                seen.push(id);
                Ok(true)
            })
            .unwrap();
            let expected: Vec<Id> = (from..before).rev().map(|id| entry(1, id).2).collect();
            assert_eq!(seen, expected);
        }
    }

    #[derive(Debug, Clone)]
    struct Step {
        add: Vec<u8>,
        forget: Option<proptest::sample::Index>,
        fails: bool,
        reopens: bool,
    }

    fn step() -> impl Strategy<Value = Step> {
        let forget = proptest::option::of(any::<proptest::sample::Index>());
        let weights = (prop::bool::weighted(0.15), prop::bool::weighted(0.1));
        (prop::collection::vec(0u8..5, 0..6), forget, weights).prop_map(|(add, forget, (fails, reopens))| Step {
            add,
            forget,
            fails,
            reopens,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whatever_fails_or_crashes_each_address_has_its_records_newest_first(
            recent_max in 0usize..12,
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let mut index = Index::new(recent_max);
            let mut expected: Vec<Entry> = Vec::new();
            let mut next = 0;
            for Step { add, forget, fails, reopens } in steps {
                let add: Vec<Entry> = add.into_iter().map(|n| { next += 1; entry(n, next) }).collect();
                let mut after = expected.clone();
                after.extend(&add);
                let forget: Vec<Entry> =
                    forget.filter(|_| !after.is_empty()).map(|at| after.swap_remove(at.index(after.len()))).into_iter().collect();
                index.commit(&add, &forget, fails);
                if !fails {
                    expected = after;
                }
                if reopens {
                    index.reopen();
                }
                for n in 0..5 {
                    let mut ids: Vec<Id> = expected.iter().filter(|(_, a, _)| *a == address(n)).map(|e| e.2).collect();
                    ids.sort_by(|a, b| b.cmp(a));
                    prop_assert_eq!(index.of(n), ids);
                }
            }
        }
    }
}
