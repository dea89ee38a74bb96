//! An installation that nodes share.

use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::domain::plan::Catalogue;
use wotp_core::ports::{Clock as _, Store};

use super::{Finding, checks, plugins};
use crate::config::{Loaded, QueuePlace};
use crate::data_folder::DataFolder;
use crate::system::SystemClock;
use crate::wiring::{look_at_store, reach_queue};

/// What two clocks may differ by before it is worth a word: nodes go by the store's, and dates in logs
/// by the machine's.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(2);

pub(super) async fn examine(loaded: &Loaded, folder: &DataFolder, url: &str) -> Vec<Finding> {
    let mut findings = vec![queue(loaded, folder).await];
    let (store, missing) = match look_at_store(url, &loaded.config).await {
        Ok(found) => found,
        Err(error) => {
            findings.push(Finding::failed("store", &error, "mend that, and run this again: the rest depends on it"));
            return findings;
        }
    };
    findings.push(Finding::ok("store", "MongoDB answers, as a replica set of a version that is supported"));
    findings.push(collections(&missing));
    let (now, finding) = clock(&*store).await;
    findings.push(finding);
    let used = store.key_checks().await.is_ok_and(|checks| !checks.is_empty());
    let (finding, vault) = checks::master_key(folder, used, "the store");
    findings.push(finding);
    if let Some(vault) = &vault {
        findings.push(checks::seal(&*store, vault).await);
        findings.extend(plugins::examine(&*store, vault, loaded, folder).await);
    }
    let (served, finding) = nodes(&*store, now).await;
    findings.push(finding);
    let plans = loaded.config.catalogue(folder.path()).unwrap_or_else(|_| Catalogue::built_in());
    findings.push(checks::plans(&*store, &plans).await);
    findings.push(checks::due(&*store, now, served).await);
    findings
}

/// Whether the store is as this program needs it.
fn collections(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return Finding::ok("collections", "all are there, with their indexes");
    }
    let found = format!("missing: {}", missing.join(", "));
    Finding::warn("collections", found, "start the server of this version, which makes them")
}

async fn queue(loaded: &Loaded, folder: &DataFolder) -> Finding {
    let url = match loaded.config.queue_place(folder.path()) {
        Ok(QueuePlace::Redis(url)) => url,
        Ok(QueuePlace::Memory) => return Finding::error("queue", "there is no Redis", "name one in queue.url"),
        Err((problem, right)) => return Finding::error("queue", problem, right),
    };
    match reach_queue(&url).await {
        Ok(()) => Finding::ok("queue", "Redis answers"),
        Err(error) => Finding::failed(
            "queue",
            &error,
            "start Redis, or mend queue.url: until it answers, deliveries wait for the sweep, and rate limits are not \
             enforced",
        ),
    }
}

/// The store's time, by which nodes go, against this machine's.
async fn clock(store: &dyn Store) -> (Timestamp, Finding) {
    let own = SystemClock.now();
    let time = match store.time().await {
        Ok(time) => time.unwrap_or(own),
        Err(error) => return (own, Finding::failed("time", &error, "look at MongoDB's log")),
    };
    let off = SystemClock.now().duration_since(time);
    let finding = if off.abs() <= CLOCK_SLACK {
        Finding::ok("time", "this machine's clock and the store's agree")
    } else {
        let found = format!("this machine's clock is {} s off the store's", off.as_secs());
        Finding::warn("time", found, "set both by NTP: nodes go by the store's, logs by the machine's")
    };
    (time, finding)
}

/// Who serves; and whether anybody works.
async fn nodes(store: &dyn Store, now: Timestamp) -> (bool, Finding) {
    let nodes = match store.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => return (false, Finding::failed("nodes", &error, "look at MongoDB's log")),
    };
    let there: Vec<_> = nodes.iter().filter(|node| !node.is_gone(now)).collect();
    let working = there.iter().any(|node| node.role.works());
    let found = format!("{} are there", there.len());
    let finding = match (there.is_empty(), working) {
        (true, _) => Finding::ok("nodes", "none is there"),
        (false, true) => Finding::ok("nodes", found),
        (false, false) => {
            Finding::warn("nodes", format!("{found}, and none of them delivers"), "start one with --role worker or all")
        }
    };
    (working, finding)
}
