//! The checks, each a look at one thing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::domain::plan::Catalogue;
use wotp_core::domain::tenant::HOUSE;
use wotp_core::domain::vault::Vault;
use wotp_core::ports::{Channel, Filter, Store, StoreError};

use super::Finding;
use crate::cli::loopback;
use crate::config::{Environment, Loaded};
use crate::data_folder::{DataFolder, restoring_file};
use crate::sealed::{self, Seal};
use crate::wiring::embedded::{self, SCHEMA_VERSION, SqliteStore};

/// Before this program was written: a clock that says less was never set.
const CLOCK_FLOOR_UNIX_SECONDS: i64 = 1_767_225_600;
/// After this, nobody of us will be there to answer: 2100-01-01.
const CLOCK_CEILING_UNIX_SECONDS: i64 = 4_102_444_800;
/// A record may be this much later than the clock says: two clocks never agree to the second.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(60);
/// About what 100,000 verifications take with their log, and what a backup may need.
const DISK_FREE_LOW_BYTES: u64 = 1 << 30;
/// Not enough to be sure of finishing what has begun.
const DISK_FREE_MIN_BYTES: u64 = 64 << 20;
/// Longest wait for a channel's answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// Due deliveries that are counted; more are "at least".
const DUE_MAX: usize = 10_000;
/// Due deliveries that a running server may have at any moment without being behind.
const DUE_USUAL: usize = 1_000;

pub(super) fn clock(now: Timestamp) -> Finding {
    let sane = (CLOCK_FLOOR_UNIX_SECONDS..CLOCK_CEILING_UNIX_SECONDS).contains(&now.as_second());
    if sane {
        Finding::ok("clock", now.to_string())
    } else {
        let help = "set it, and keep it set by NTP: codes expire by it";
        Finding::error("clock", format!("{now} cannot be the time"), help)
    }
}

pub(super) fn configuration(loaded: &Loaded) -> Finding {
    let file = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no file; defaults and environment".to_owned(),
    };
    let environment = match loaded.config.environment {
        Environment::Development => "development",
        Environment::Production => "production",
    };
    let found = format!("{file} ({environment})");
    let server = &loaded.config.server;
    let is_reached = !server.listen.ip().is_loopback() || !server.trusted_proxies.is_empty();
    if loaded.config.environment == Environment::Development && is_reached {
        let help = "write environment = \"production\": for developers codes may go to the terminal, and programs on \
                    this machine may sign in without a password";
        return Finding::warn("configuration", format!("{found}, and others than this machine reach it"), help);
    }
    Finding::ok("configuration", found)
}

pub(super) fn folder(folder: &DataFolder) -> Finding {
    match folder.probe_writing() {
        Ok(()) => Finding::ok("folder", folder.path().display().to_string()),
        Err(error) => Finding::failed("folder", &error, error.help()),
    }
}

pub(super) fn disk(folder: &DataFolder) -> Finding {
    let free = match rustix::fs::statvfs(folder.path()) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Finding::warn("disk", format!("cannot be asked: {error}"), "look at it with `df`"),
    };
    let found = format!("{} MiB are free", free >> 20);
    if free < DISK_FREE_MIN_BYTES {
        Finding::error("disk", found, "make room now: when it is full nothing more is accepted")
    } else if free < DISK_FREE_LOW_BYTES {
        Finding::warn("disk", found, "make room before it is full")
    } else {
        Finding::ok("disk", found)
    }
}

pub(super) async fn server(folder: &DataFolder) -> Finding {
    let serving = match folder.serving() {
        Ok(Some(serving)) => serving,
        Ok(None) => return Finding::ok("server", "none runs on this folder"),
        Err(error) => return Finding::failed("server", &error, error.help()),
    };
    let (pid, Some(url)) = (serving.pid, &serving.url) else {
        return Finding::ok("server", format!("process {} is starting", serving.pid));
    };
    let Some(address) = url.strip_prefix("http://").and_then(|address| address.parse().ok()) else {
        return Finding::ok("server", format!("process {pid} serves {url}"));
    };
    match loopback::call(address, "GET", "/health/ready", None, None).await {
        Ok(reply) if reply.status == 200 => Finding::ok("server", format!("process {pid} serves {url} and is ready")),
        Ok(reply) => {
            let found = format!("process {pid} serves {url} and is not ready: {} {}", reply.status_line, reply.body);
            Finding::warn("server", found, "look at its log; it may be stopping")
        }
        Err(error) => {
            let found = format!("process {pid} should serve {url} and does not answer: {error}");
            Finding::error("server", found, "look at its log, and start it again")
        }
    }
}

/// The master key; `used` says whether `store` (as in "the database") was written with one.
pub(super) fn master_key(folder: &DataFolder, used: bool, store: &str) -> (Finding, Option<Vault>) {
    let check = "master key";
    match folder.find_master_keys() {
        Ok(Some(keys)) => {
            let newest = keys.last().map_or(0, |key| key.id);
            let found = format!("{} of them, the newest is number {newest}", keys.len());
            (Finding::ok(check, found), Vault::new(&keys))
        }
        Ok(None) if used => {
            let found = format!("there is none at {}", folder.master_key_file().display());
            let help =
                format!("put it back from where you keep it: without it nothing that is sealed in {store} can be read");
            (Finding::error(check, found, help), None)
        }
        Ok(None) => (Finding::ok(check, "none yet; the first start makes it"), None),
        Err(error) => (Finding::failed(check, &error, error.help()), None),
    }
}

/// Checks the whole file; says whether the store in it can be opened.
pub(super) fn database(path: &Path) -> (Finding, bool) {
    let check = "database";
    let restoring = restoring_file(path);
    if restoring.exists() {
        let found = format!("a restore was cut off: {} is still there", restoring.display());
        return (Finding::error(check, found, "run `wotp restore FILE --force` again with the same backup"), false);
    }
    if !path.exists() {
        return (Finding::ok(check, format!("none yet at {}; the first start makes it", path.display())), false);
    }
    match embedded::verify(path) {
        Ok(version) if version < SCHEMA_VERSION => {
            let found = format!(
                "{} is sound, and of an older WOTP (schema {version}, this one's is {SCHEMA_VERSION}); what is in it \
                 was not looked at",
                path.display()
            );
            let help = "make a backup, then start the server of this version: it brings the database up to date";
            (Finding::warn(check, found, help), false)
        }
        Ok(version) => (Finding::ok(check, format!("{} is sound (schema {version})", path.display())), true),
        Err(error) => {
            let help = "stop the server, keep a copy of the file, and `wotp restore` a backup";
            (Finding::failed(check, &error, help), false)
        }
    }
}

pub(super) async fn contents(store: &SqliteStore) -> Finding {
    let counted = async { Ok::<_, StoreError>((store.stats().await?, store.tenants().await?)) };
    match counted.await {
        Ok((stats, tenants)) => Finding::ok(
            "contents",
            format!(
                "{} tenants, {} verifications, {} messages, {} entities in {} MiB",
                tenants.iter().filter(|tenant| tenant.id != HOUSE).count(),
                stats.verifications,
                stats.messages,
                stats.entities,
                stats.size_bytes.div_ceil(1 << 20)
            ),
        ),
        Err(error) => Finding::failed("contents", &error, "look at the disk and the server's log"),
    }
}

pub(super) async fn seal(store: &dyn Store, vault: &Vault) -> Finding {
    match sealed::compare(store, vault).await {
        Ok(Seal::Nothing) => Finding::ok("seal", "nothing is sealed yet"),
        Ok(Seal::Opens) => Finding::ok("seal", "the master key opens what is stored"),
        Ok(Seal::Closed(error)) => {
            Finding::failed("seal", &error, "put the master key back that this database was written with")
        }
        Err(error) => Finding::failed("seal", &error, "look at the disk and the server's log"),
    }
}

pub(super) async fn plans(store: &dyn Store, plans: &Catalogue) -> Finding {
    let tenants = match store.tenants().await {
        Ok(tenants) => tenants,
        Err(error) => return Finding::failed("plans", &error, "look at the disk and the server's log"),
    };
    let customers = tenants.iter().filter(|tenant| tenant.id != HOUSE);
    let used: BTreeSet<&str> = customers.map(|tenant| tenant.plan.as_str()).collect();
    let missing: Vec<&str> = used.iter().copied().filter(|plan| plans.find(plan).is_none()).collect();
    if missing.is_empty() {
        return Finding::ok(
            "plans",
            format!("{}; tenants use {}", plans.ids().collect::<Vec<_>>().join(", "), used.len()),
        );
    }
    let found = format!("tenants have plans that are not in the catalogue: {}", missing.join(", "));
    Finding::error("plans", found, "add them to the catalogue, or move the tenants with `wotp tenant set-plan`")
}

pub(super) async fn due(store: &dyn Store, now: Timestamp, served: bool) -> Finding {
    match store.due(now, DUE_MAX).await.map(|due| due.len()) {
        Err(error) => Finding::failed("due", &error, "look at the disk and the server's log"),
        Ok(0) => Finding::ok("due", "nothing waits"),
        Ok(waiting) if served && waiting <= DUE_USUAL => {
            Finding::ok("due", format!("{waiting} wait, and a server runs"))
        }
        Ok(waiting) => {
            let more = if waiting == DUE_MAX { "at least " } else { "" };
            let found = format!("{more}{waiting} deliveries, expiries or deletions wait");
            let help = if served {
                "the server is behind: look at its log and its channels"
            } else {
                "start the server: it does them"
            };
            Finding::warn("due", found, help)
        }
    }
}

/// Whether the clock went back since something was stored.
pub(super) async fn history(store: &dyn Store, now: Timestamp) -> Finding {
    let newest = async {
        let mut newest: Option<Timestamp> = None;
        for tenant in store.tenants().await?.iter().rev().take(100) {
            let page = store.tenant(tenant.id).verifications(&Filter::default(), None, 1).await?;
            let created = page.items.first().map(|verification| verification.created_at);
            newest = newest.max(created).max(Some(tenant.created_at));
        }
        Ok::<_, StoreError>(newest)
    };
    match newest.await {
        Err(error) => Finding::failed("history", &error, "look at the disk and the server's log"),
        Ok(Some(newest)) if newest > now.saturating_add(CLOCK_SLACK).unwrap_or(Timestamp::MAX) => {
            let found = format!("the newest record is of {newest}, and the clock says {now}");
            Finding::warn("history", found, "one of them is wrong: check the clock, and keep it set by NTP")
        }
        Ok(_) => Finding::ok("history", "no record is later than the clock"),
    }
}

pub(super) async fn channel(channel: &dyn Channel) -> Finding {
    let name = channel.name();
    match tokio::time::timeout(PROBE_TIMEOUT, channel.probe()).await {
        Ok(Ok(())) => Finding::ok("channel", format!("{name} can send")),
        Ok(Err(problem)) => Finding::error("channel", format!("{name} cannot send"), problem),
        Err(_) => {
            let found = format!("{name} did not answer within {} s", PROBE_TIMEOUT.as_secs());
            Finding::error("channel", found, "check that its server can be reached from here")
        }
    }
}
