//! Analytics of many verifications, as they are after their flow: every piece of news counted by the platform's
//! own counting, and stored by its own stores. What is left out is the verifications themselves, which
//! analytics never read.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use wotp_core::domain::id::{IdError, ServiceId, TenantId, VerificationId};
use wotp_core::domain::magic_link::Method;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::news::{Happening, News, VerificationNews, What};
use wotp_core::domain::rollup::{self, Rollup};
use wotp_core::domain::verification::{FailureReason, Status};
use wotp_core::ports::{Change, CommitError, Store};
use wotp_server::config::Config;
use wotp_server::data_folder::{DataFolder, FolderError};
use wotp_server::wiring::{Purpose, Wired, WiringError, wire};
use wotp_store::mongo::{ConnectError, ConnectOptions, MongoStore};

use crate::api::Tenant;

/// Over so many days up to now they are spread.
pub const DAYS: i64 = 30;
const CHANNELS: [&str; 3] = ["whatsapp", "sms", "telegram"];
/// The first ten have half of what all hundred have.
const COUNTRIES: [&str; 100] = [
    "IN", "BR", "ID", "US", "MX", "NG", "GB", "DE", "FR", "ES", "IT", "TR", "PK", "EG", "PH", "VN", "TH", "MY", "ZA",
    "KE", "SA", "AE", "AR", "CO", "CL", "PE", "EC", "CA", "AU", "NZ", "JP", "KR", "SG", "HK", "TW", "BD", "LK", "NP",
    "MM", "KH", "IL", "JO", "LB", "IQ", "KW", "QA", "OM", "BH", "MA", "DZ", "TN", "GH", "CI", "SN", "CM", "UG", "TZ",
    "ET", "RW", "ZM", "ZW", "MZ", "AO", "PL", "RO", "CZ", "HU", "BG", "RS", "HR", "SI", "SK", "AT", "CH", "BE", "NL",
    "LU", "IE", "PT", "GR", "CY", "MT", "DK", "SE", "NO", "FI", "IS", "EE", "LV", "LT", "UA", "GE", "AM", "AZ", "KZ",
    "UZ", "CR", "PA", "GT", "DO",
];
/// Rollups that are stored at once.
const AT_ONCE: usize = 500;

/// Why there is nothing to ask about.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The tenant's ids.
    #[error("the tenant's ids are not understood")]
    Id(#[from] IdError),
    /// The data folder.
    #[error("the data folder cannot be used")]
    Folder(#[from] FolderError),
    /// The embedded installation.
    #[error("the installation cannot be opened")]
    Wiring(#[from] WiringError),
    /// MongoDB.
    #[error("the store is not to be had")]
    Connect(#[from] ConnectError),
    /// A rollup.
    #[error("a rollup is not stored")]
    Commit(#[from] CommitError),
}

/// What the platform counts of so many verifications of a tenant, up to `now`, to so many countries.
///
/// # Errors
/// [`SeedError::Id`].
pub fn counted(
    tenant: &Tenant,
    verifications: u64,
    countries: usize,
    now: Timestamp,
) -> Result<Vec<Rollup>, SeedError> {
    let (tenant, service): (TenantId, ServiceId) = (tenant.tenant.parse()?, tenant.service.parse()?);
    let span = SignedDuration::from_hours(24 * DAYS).as_micros();
    // The second has half as many as the first, the third a third: as it is, more or less.
    let mut shares = 0.0;
    let countries = COUNTRIES.into_iter().take(countries).enumerate();
    let countries: Vec<(f64, &str)> = countries
        .map(|(rank, country)| {
            shares += 1.0 / (rank + 1) as f64;
            (shares, country)
        })
        .collect();
    let mut counted = BTreeMap::new();
    for nth in 0..verifications {
        let back = span * i128::from(nth) / i128::from(verifications.max(1));
        let back = SignedDuration::from_micros(i64::try_from(back).unwrap_or(0));
        let created_at = now.saturating_sub(back).unwrap_or(now);
        // The same each time, and without an order that any count could profit from.
        let dice = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let thrown = shares * ((dice >> 11) as f64 / (1u64 << 53) as f64);
        let country = countries.partition_point(|(up_to, _)| *up_to <= thrown);
        let country = countries.get(country).map_or("US", |(_, country)| country);
        rollup::count(&news((tenant, service), country, (nth, dice), created_at), &mut counted);
    }
    Ok(Rollup::of(counted))
}

/// A life: started, and of a hundred 97 sent, 94 reach the device, 85 are approved, 3 fail and 12 run out.
fn news(
    (tenant, service): (TenantId, ServiceId),
    country: &str,
    (nth, dice): (u64, u64),
    created_at: Timestamp,
) -> News {
    let channel = CHANNELS[((dice >> 32) % CHANNELS.len() as u64) as usize];
    let percent = (dice >> 16) % 100;
    let after = |least: u64, spread: u64, shift: u32| {
        // Most are quick and a few slow, as people and networks are.
        let part = (dice.rotate_left(shift) % 1000) as f64 / 1000.0;
        let milliseconds = least as f64 + spread as f64 * part * part * part;
        created_at.saturating_add(SignedDuration::from_millis(milliseconds as i64)).unwrap_or(created_at)
    };
    let mut happenings = Vec::with_capacity(4);
    let mut happened = |what, at| happenings.push(Happening { what, at, channel: Some(channel.to_owned()) });
    happened(What::Started, created_at);
    if percent < 97 {
        happened(What::Sent, after(120, 3_000, 7));
    }
    if percent < 94 {
        happened(What::Delivered, after(800, 20_000, 19));
    }
    let (status, reason) = match percent {
        0..85 => (Status::Approved, None),
        85..97 => (Status::Expired, None),
        _ => (Status::Failed, Some(FailureReason::Undeliverable)),
    };
    match status {
        Status::Approved => happened(What::Approved, after(4_000, 120_000, 31)),
        Status::Expired => happened(What::Expired, after(300_000, 0, 0)),
        _ => happened(What::Failed, after(1_000, 0, 0)),
    }
    News::Verification(VerificationNews {
        tenant,
        verification: VerificationId::from_bytes(u128::from(nth).to_be_bytes()),
        version: 1,
        service,
        mode: Mode::Live,
        method: Method::Code,
        status,
        reason,
        country: Some(country.to_owned()),
        checks_used: 1,
        sends_used: 1,
        created_at,
        expires_at: created_at.saturating_add(SignedDuration::from_mins(5)).unwrap_or(created_at),
        ended_at: None,
        happenings,
        charges: Vec::new(),
    })
}

/// Stores them in a data folder that nobody serves.
///
/// # Errors
/// [`SeedError`].
pub async fn store_in_folder(folder: &Path, rollups: &[Rollup]) -> Result<(), SeedError> {
    let folder = DataFolder::create(folder)?;
    let Wired { app, store, alone, .. } = wire(&Config::default(), &folder, Purpose::Serve, Vec::new()).await?;
    store_all(&*store, rollups).await?;
    // In this order: until the store is closed, nobody may put another in its place.
    drop((app, store));
    drop(alone);
    Ok(())
}

/// Stores them in the MongoDB of a node.
///
/// # Errors
/// [`SeedError`].
pub async fn store_in_mongodb(url: &str, rollups: &[Rollup]) -> Result<(), SeedError> {
    let store = MongoStore::connect(url, ConnectOptions::default()).await?;
    store_all(&store, rollups).await
}

async fn store_all(store: &dyn Store, rollups: &[Rollup]) -> Result<(), SeedError> {
    for some in rollups.chunks(AT_ONCE) {
        store.commit(some.iter().map(Change::insert).collect()).await?;
    }
    Ok(())
}
