//! What the shape of the values cannot say.

use std::path::Path;

use tracing_subscriber::EnvFilter;
use wotp_core::domain::access_token::LIFE_SECONDS_MAX;
use wotp_core::domain::plan::Catalogue;

use super::error::Complaint;
use super::{Config, Environment, QueuePlace, StorePlace};

/// Most connections at once: no machine has files and memory for more.
const CONNECTIONS_MAX: usize = 1_000_000;
/// Longest that a request may be allowed to take.
const REQUEST_TIMEOUT_MAX_SECONDS: u64 = 300;
/// Longest that a server may go on accepting after it was asked to stop: whoever watches over
/// processes loses patience sooner.
const DRAIN_MAX_SECONDS: u64 = 300;
/// Most calls a second from one address; beyond it, 0 says the same.
const PER_IP_MAX: u32 = 1_000_000;
/// Most deliveries in hand at once.
const CONCURRENCY_MAX: usize = 4096;
/// Longest that what was deleted is kept.
const DELETION_GRACE_MAX_DAYS: u32 = 365;
/// Most invitations a day: those of a week are listed on one page.
const INVITATIONS_PER_DAY_MAX: u32 = 100;

/// Least that one hash costs in production, KiB times passes. Source: OWASP, 19 MiB and 2 passes or its like.
const ARGON2_COST_MIN: u64 = 2 * 17_408;
/// Most passwords that may wait: beyond it the first would have hung up.
const HASHING_WAITING_MAX: usize = 10_000;
/// Most passwords hashed at once.
const HASHING_THREADS_MAX: usize = 256;

pub(super) fn complaints(config: &Config, data: &Path, place: impl Fn(&str) -> String) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut complain = |key: &str, problem: String, right: &str| {
        let (key, source, right) = (key.to_owned(), place(key), right.to_owned());
        complaints.push(Complaint { key, source, problem, right });
    };
    let server = &config.server;
    if !(1..=CONNECTIONS_MAX).contains(&server.connections_max) {
        let problem = format!("{} connections at once is out of bounds", server.connections_max);
        complain("server.connections_max", problem, "write 1 to 1000000");
    }
    if !(1..=REQUEST_TIMEOUT_MAX_SECONDS).contains(&server.request_timeout_seconds) {
        let problem = format!("{} seconds is out of bounds", server.request_timeout_seconds);
        complain("server.request_timeout_seconds", problem, "write 1 to 300");
    }
    for origin in &server.cors_origins {
        if !is_origin(origin) {
            let problem = format!("`{origin}` is no web origin");
            complain(
                "server.cors_origins",
                problem,
                "write scheme and host, as in https://app.example.com, without a path",
            );
        }
    }
    if server.drain_seconds > DRAIN_MAX_SECONDS {
        let problem = format!("{} seconds is out of bounds", server.drain_seconds);
        complain("server.drain_seconds", problem, "write 0 to 300");
    }
    if config.tenants.deletion_grace_days > DELETION_GRACE_MAX_DAYS {
        let problem = format!("{} days is out of bounds", config.tenants.deletion_grace_days);
        complain("tenants.deletion_grace_days", problem, "write 0 to 365");
    }
    if config.tenants.invitations_per_day > INVITATIONS_PER_DAY_MAX {
        let problem = format!("{} invitations a day is out of bounds", config.tenants.invitations_per_day);
        complain("tenants.invitations_per_day", problem, "write 0 to 100");
    }
    let [store_key, queue_key] = [("store", &config.store.url_file), ("queue", &config.queue.url_file)]
        .map(|(part, file)| format!("{part}.{}", if file.is_empty() { "url" } else { "url_file" }));
    match (config.store_place(data), config.queue_place(data)) {
        (Ok(StorePlace::Mongodb(_)), Ok(QueuePlace::Memory)) => complain(
            &queue_key,
            "nodes that share a MongoDB call each other through Redis, and there is none".to_owned(),
            "write queue.url = \"redis://host:6379\"",
        ),
        (Ok(StorePlace::Embedded(_)), Ok(QueuePlace::Redis(_))) => complain(
            &queue_key,
            "a server with a database file of its own is alone, and calls its workers without Redis".to_owned(),
            "write queue.url = \"memory:\", or name a MongoDB in store.url",
        ),
        (store, queue) => {
            if let Err((problem, right)) = store {
                complain(&store_key, problem, right);
            }
            if let Err((problem, right)) = queue {
                complain(&queue_key, problem, right);
            }
        }
    }
    if let Err(error) = EnvFilter::builder().parse(&config.log.level) {
        let problem = format!("`{}` is no filter: {error}", config.log.level);
        complain("log.level", problem, "write error, warn, info, debug or trace, or as in warn,wotp_core=debug");
    }
    if config.limits.per_ip_per_second > PER_IP_MAX {
        let problem = format!("{} calls a second is out of bounds", config.limits.per_ip_per_second);
        complain("limits.per_ip_per_second", problem, "write 1 to 1000000, or 0 to switch the limit off");
    }
    if config.limits.per_ip_per_second > 0 && config.limits.per_ip_burst == 0 {
        let problem = "a burst of 0 lets nobody in".to_owned();
        complain(
            "limits.per_ip_burst",
            problem,
            "write at least 1, or switch the limit off with per_ip_per_second = 0",
        );
    }
    let auth = &config.auth;
    if !auth.public_url.is_empty() && !is_origin(&auth.public_url) {
        let problem = format!("`{}` is no web origin", auth.public_url);
        complain("auth.public_url", problem, "write scheme and host, as in https://wotp.example.com, without a path");
    }
    let bounds = [
        ("auth.access_token_seconds", auth.access_token_seconds, 60, LIFE_SECONDS_MAX),
        ("auth.session_days", auth.session_days, 1, 90),
        ("auth.signing_key_days", auth.signing_key_days, 2, 365),
    ];
    for (key, value, min, max) in bounds {
        if !(min..=max).contains(&value) {
            complain(key, format!("{value} is out of bounds"), &format!("write {min} to {max}"));
        }
    }
    if let Err(problem) = auth.hashing().params() {
        complain(
            "auth.argon2_memory_kib",
            format!("Argon2 does not take these parameters: {problem}"),
            "write at least 8 KiB for each lane, and at least one pass and one lane, as in 19456, 2 and 1",
        );
    }
    if config.environment == Environment::Production {
        if !auth.cookie_secure {
            let problem = "a cookie that travels without TLS can be read on its way".to_owned();
            complain("auth.cookie_secure", problem, "write true, and put a proxy that speaks TLS in front");
        }
        if u64::from(auth.argon2_memory_kib) * u64::from(auth.argon2_passes) < ARGON2_COST_MIN {
            let problem = "hashes this cheap are guessed from a stolen database".to_owned();
            complain(
                "auth.argon2_memory_kib",
                problem,
                "write at least 19456 with 2 passes, or more of one for less of the other",
            );
        }
    }
    if !(1..=HASHING_WAITING_MAX).contains(&auth.hashing_waiting_max) {
        let problem = format!("{} passwords that wait is out of bounds", auth.hashing_waiting_max);
        complain("auth.hashing_waiting_max", problem, "write 1 to 10000");
    }
    if auth.hashing_threads > HASHING_THREADS_MAX {
        let problem = format!("{} passwords at once is out of bounds", auth.hashing_threads);
        complain("auth.hashing_threads", problem, "write 1 to 256, or 0 for half as many as there are processors");
    }
    if !(1..=CONCURRENCY_MAX).contains(&config.worker.concurrency) {
        let problem = format!("{} deliveries at once is out of bounds", config.worker.concurrency);
        complain("worker.concurrency", problem, "write 1 to 4096");
    }
    if config.environment == Environment::Production && config.channels.console.enabled {
        let problem = "the console channel prints codes for whoever reads the terminal; it is for development only";
        complain(
            "channels.console.enabled",
            problem.to_owned(),
            "write enabled = false, and set up a channel that reaches people, as in [channels.email]",
        );
    }
    for (key, problem, right) in config.channels.whatsapp.complaints() {
        complain(key, problem, right);
    }
    if config.environment == Environment::Production && config.webhooks.http_allowed {
        let problem = "webhooks over http:// can be read and changed on the way; it is for development only";
        complain("webhooks.http_allowed", problem.to_owned(), "write http_allowed = false");
    }
    for (key, problem, right) in super::plugin::complaints(&config.channels.plugins) {
        complain(&key, problem, right);
    }
    for (problem, right) in super::oidc::complaints(&config.auth.oidc) {
        complain("auth.oidc", problem, right);
    }
    if let Some(email) = &config.channels.email
        && email.username.is_empty() != email.password_file.is_empty()
    {
        let problem = "username and password_file go together".to_owned();
        complain("channels.email.username", problem, "give both, or neither");
    }
    match config.catalogue(data) {
        Err(problem) => complain("plans.file", problem, "the built-in catalogue, billing/plans.toml, is an example"),
        Ok(catalogue) if catalogue.find(&config.plans.default).is_none() => {
            let known = catalogue.ids().collect::<Vec<_>>().join(", ");
            complain(
                "plans.default",
                format!("there is no plan `{}`", config.plans.default),
                &format!("there are: {known}"),
            );
        }
        Ok(_) => {}
    }
    complaints
}

/// Whether it is what a browser sends as `Origin`: scheme and host, maybe a port, and no more.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(scheme, "http" | "https")
        && uri.authority().is_some_and(|authority| authority.as_str() == host && !host.contains('@'))
}

impl Config {
    /// The plans. `data` is the data folder.
    ///
    /// # Errors
    /// In words, why the file cannot be used.
    pub fn catalogue(&self, data: &Path) -> Result<Catalogue, String> {
        if self.plans.file.is_empty() {
            return Ok(Catalogue::built_in());
        }
        let path = data.join(&self.plans.file);
        let text =
            std::fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Catalogue::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
