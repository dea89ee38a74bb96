//! How long a query of 30 days takes for a tenant with a million verifications: what a store gives of its
//! rollups, read and added up as the server does.
//!
//! `cargo run --release -p wotp-store --all-features --example analytics [mongodb://…/database]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement by hand")]

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::time::Instant;
use wotp_core::domain::cost::{Cost, CostSums};
use wotp_core::domain::id::{ServiceId, TenantId};
use wotp_core::domain::rollup::{Counts, Figures, Histogram, Interval, Rollup, RollupKey, first_id};
use wotp_core::ports::{Change, Entity as _, EntityList, Owner, Store, Stored};
use wotp_core::testing::builders::{entropy, noon};
use wotp_store::mongo::{ConnectOptions, MongoStore};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

const DAYS: i64 = 30;
const VERIFICATIONS: u64 = 1_000_000;
const CHANNELS: [&str; 3] = ["whatsapp", "sms", "email"];
const COUNTRIES: [&str; 10] = ["US", "GB", "FR", "DE", "IN", "BR", "MX", "NG", "ID", "ES"];
const TIMES: usize = 21;

fn figures(started: u64) -> Figures {
    let mut after = Histogram::default();
    for nth in 0..started {
        after.record(SignedDuration::from_millis(i64::try_from(300 + nth * 7919 % 20_000).unwrap()));
    }
    let mut costs = CostSums::default();
    costs.add(Cost::new(45_000 * started, "EUR".parse().unwrap()).unwrap());
    let counts = Counts {
        started,
        tried: started,
        sends: started,
        sent: started,
        delivered: started,
        approved: started,
        sent_after: after.clone(),
        delivered_after: after.clone(),
        approved_after: after,
        ..Counts::default()
    };
    Figures { counts, costs }
}

async fn fill(store: &dyn Store, tenant: TenantId, interval: Interval) -> usize {
    let slots = DAYS * 24 / interval.hours();
    let kinds = u64::try_from(slots).unwrap() * 30;
    let each = figures(VERIFICATIONS / kinds);
    let first = interval.start_of(noon());
    let mut filled = 0;
    for slot in 0..slots {
        let starts = first.saturating_sub(SignedDuration::from_hours(slot * interval.hours())).unwrap();
        let mut changes = Vec::new();
        for channel in CHANNELS {
            for country in COUNTRIES {
                let (channel, country) = (channel.to_owned(), Some(country.to_owned()));
                let service = ServiceId::from_bytes([1; 16]);
                let key = RollupKey { tenant, interval, starts, service, channel, country };
                changes.push(Change::insert(&Rollup::new(key, each.clone())));
            }
        }
        filled += changes.len();
        store.commit(changes).await.unwrap();
    }
    filled
}

async fn query(store: &dyn Store, tenant: TenantId, interval: Interval) -> u64 {
    let start = interval.start_of(noon());
    let from = start.saturating_sub(SignedDuration::from_hours(24 * DAYS)).unwrap();
    let list = EntityList {
        from: Some(first_id(interval, from)),
        before: Some(first_id(interval, interval.end_of(start))),
        limit: 50_000,
        ..EntityList::of(Owner::Tenant(tenant))
    };
    let rows = store.list_entities(Rollup::KIND, &list).await.unwrap();
    let mut totals = Figures::default();
    for row in rows {
        let rollup = Stored::<Rollup>::read(row).unwrap().entity;
        totals.add(&rollup.counts, &rollup.costs);
    }
    totals.counts.started
}

#[tokio::main]
async fn main() {
    let folder = tempfile::TempDir::new().unwrap();
    let store: Arc<dyn Store> = match std::env::args().nth(1) {
        Some(url) => Arc::new(MongoStore::connect(&url, ConnectOptions::default()).await.unwrap()),
        None => Arc::new(SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap()),
    };
    let tenant = TenantId::new(noon(), entropy());
    for interval in Interval::ALL {
        let rollups = fill(&*store, tenant, interval).await;
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            let started = query(&*store, tenant, interval).await;
            took.push(began.elapsed());
            assert!(started > VERIFICATIONS * 9 / 10);
        }
        took.sort();
        println!(
            "{DAYS} days by {}: {rollups} rollups, median {:?}, worst {:?}",
            interval.name(),
            took[TIMES / 2],
            took[TIMES - 1]
        );
    }
}
