//! The counts of what tenants used, kept in the writer's memory between commits.
//!
//! Only the writer changes them, and only one process serves a file, so what was read once stays
//! true. A count that a hundred commands of one group change is written once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension as _, params};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Charge, Counted, Resource, WindowKind};
use wotp_core::ports::Usage;

use super::fault::Fault;

/// Counts remembered at most; beyond it all are read again.
const REMEMBERED_MAX: usize = 65_536;

type Key = (TenantId, Resource, WindowKind, Timestamp);

#[derive(Debug, Default)]
pub(super) struct UsageCounts {
    counts: HashMap<Key, Count>,
    changed: Vec<Key>,
}

#[derive(Debug)]
struct Count {
    usage: Usage,
    changed: bool,
    /// Whether there is a row of it: updating one costs half of an upsert.
    stored: bool,
}

/// NEVER change a number: they are stored.
pub(super) fn resource_number(resource: Resource) -> i64 {
    match resource {
        Resource::Verifications => 0,
        Resource::Messages => 1,
        Resource::TestVerifications => 2,
        Resource::TestMessages => 3,
    }
}

/// NEVER change a number: they are stored.
pub(super) fn kind_number(kind: WindowKind) -> i64 {
    match kind {
        WindowKind::Day => 0,
        WindowKind::Month => 1,
    }
}

/// What is stored for one window.
pub(super) fn stored(
    connection: &Connection,
    tenant: TenantId,
    resource: Resource,
    kind: WindowKind,
    starts: Timestamp,
) -> Result<Option<Usage>, Fault> {
    Ok(connection
        .prepare_cached(
            "SELECT used, overage FROM usage WHERE tenant = ? AND resource = ? AND kind = ? AND starts = ?",
        )?
        .query_row(
            params![tenant.to_bytes(), resource_number(resource), kind_number(kind), starts.as_microsecond()],
            |row| Ok(Usage { used: row.get(0)?, overage: row.get(1)? }),
        )
        .optional()?)
}

impl UsageCounts {
    fn count(&mut self, connection: &Connection, key: Key) -> Result<&mut Count, Fault> {
        match self.counts.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let stored = stored(connection, key.0, key.1, key.2, key.3)?;
                let (usage, stored) = (stored.unwrap_or_default(), stored.is_some());
                Ok(unknown.insert(Count { usage, changed: false, stored }))
            }
        }
    }

    /// What was used in one window, commands of this group included.
    pub(super) fn used(
        &mut self,
        connection: &Connection,
        tenant: TenantId,
        resource: Resource,
        (kind, starts): (WindowKind, Timestamp),
    ) -> Result<u64, Fault> {
        Ok(self.count(connection, (tenant, resource, kind, starts))?.usage.used)
    }

    fn change(
        &mut self,
        connection: &Connection,
        tenant: TenantId,
        counted: &Counted,
        change: impl Fn(&mut Usage),
    ) -> Result<(), Fault> {
        for (kind, starts) in [(WindowKind::Day, counted.day), (WindowKind::Month, counted.month)] {
            let key = (tenant, counted.resource, kind, starts);
            let count = self.count(connection, key)?;
            change(&mut count.usage);
            if !std::mem::replace(&mut count.changed, true) {
                self.changed.push(key);
            }
        }
        Ok(())
    }

    /// Counts one use in its day and its month.
    pub(super) fn add(&mut self, connection: &Connection, tenant: TenantId, counted: &Counted) -> Result<(), Fault> {
        self.change(connection, tenant, counted, |usage| {
            usage.used += 1;
            usage.overage += u64::from(counted.charge == Charge::Overage);
        })
    }

    /// Gives one use back.
    pub(super) fn refund(&mut self, connection: &Connection, tenant: TenantId, counted: &Counted) -> Result<(), Fault> {
        self.change(connection, tenant, counted, |usage| {
            usage.used = usage.used.saturating_sub(1);
            usage.overage = usage.overage.saturating_sub(u64::from(counted.charge == Charge::Overage));
        })
    }

    /// Writes what changed, before the commit.
    pub(super) fn flush(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut update = connection.prepare_cached(
            "UPDATE usage SET used = ?5, overage = ?6 WHERE tenant = ?1 AND resource = ?2 AND kind = ?3 AND starts = ?4",
        )?;
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO usage (tenant, resource, kind, starts, used, overage) VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        for key in self.changed.drain(..) {
            let Some(count) = self.counts.get_mut(&key) else { continue };
            count.changed = false;
            let (tenant, resource, kind, starts) = key;
            let (resource, kind) = (resource_number(resource), kind_number(kind));
            let Usage { used, overage } = count.usage;
            let values = params![tenant.to_bytes(), resource, kind, starts.as_microsecond(), used, overage];
            // A count that was forgotten meanwhile has no row any more.
            if !count.stored || update.execute(values)? == 0 {
                insert.execute(values)?;
                count.stored = true;
            }
        }
        if self.counts.len() > REMEMBERED_MAX {
            self.forget();
        }
        Ok(())
    }

    /// Forgets everything: after a rollback nothing here is true any more.
    pub(super) fn forget(&mut self) {
        self.counts.clear();
        self.changed.clear();
    }
}
