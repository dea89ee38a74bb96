//! What an operator may set: one TOML file, environment variables over it, every key known.
//!
//! `reference.toml` beside this file is the documentation, and a test holds it to this code.

mod check;
mod error;
mod load;
mod oidc;
mod place;
mod plugin;
mod shape;
mod show;
mod whatsapp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use wotp_core::app::PeopleSettings;
use wotp_core::domain::tenant_rules::TenantRules;

use crate::people::HashSettings;

pub use error::{Complaint, ConfigError};
pub use load::{Inputs, Loaded, load};
pub use oidc::Oidc;
pub use place::{QueuePlace, StorePlace, has_password};
pub use plugin::Plugin;
pub use shape::listen_address;
pub(crate) use shape::network;
pub use show::Shown;
pub use whatsapp::{AllowanceStep, WhatsApp};

/// Every key with its default and what it means: what `wotp config reference` prints.
pub const REFERENCE: &str = include_str!("reference.toml");

/// The file that is read from the data folder when no other is named.
pub const FILE_NAME: &str = "wotp.toml";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this installation is for.
    pub environment: Environment,
    /// The HTTP server.
    pub server: Server,
    /// Where things are kept.
    pub store: Store,
    /// How workers are called.
    pub queue: Queue,
    /// What is written to standard error.
    pub log: Log,
    /// Brakes on callers nobody knows yet.
    pub limits: Limits,
    /// How people sign in.
    pub auth: Auth,
    /// The workers that deliver.
    pub worker: Worker,
    /// Ways to reach people.
    pub channels: Channels,
    /// What tenants may use.
    pub plans: Plans,
    /// Webhooks: what they may reach.
    pub webhooks: Webhooks,
    /// What plugins that are installed may reach.
    pub plugins: Plugins,
    /// What bounds tenants and their teams.
    pub tenants: Tenants,
}

/// What bounds tenants and their teams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenants {
    /// How long a deleted tenant can be had back.
    pub deletion_grace_days: u32,
    /// Tenants that one person may own and still create another.
    pub owned_max: usize,
    /// Invitations that one tenant may send in a day.
    pub invitations_per_day: u32,
}

impl Default for Tenants {
    fn default() -> Self {
        let TenantRules { deletion_grace, owned_max, invitations_per_day } = TenantRules::default();
        let days = deletion_grace.as_hours() / 24;
        Self { deletion_grace_days: u32::try_from(days).unwrap_or(u32::MAX), owned_max, invitations_per_day }
    }
}

impl Tenants {
    /// As the use cases take them.
    pub fn rules(&self) -> TenantRules {
        TenantRules {
            deletion_grace: SignedDuration::from_hours(24 * i64::from(self.deletion_grace_days)),
            owned_max: self.owned_max,
            invitations_per_day: self.invitations_per_day,
        }
    }
}

/// Who an installation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Developers: codes may be printed.
    #[default]
    Development,
    /// People: codes go to their owners and nowhere else.
    Production,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where it listens. Port 0 takes any free one.
    #[serde(deserialize_with = "shape::listen")]
    pub listen: SocketAddr,
    /// Connections that may be open at once; more wait to be accepted.
    pub connections_max: usize,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "shape::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Longest that one request may take.
    pub request_timeout_seconds: u64,
    /// How long a server that was asked to stop goes on accepting, while it says that it is not ready.
    pub drain_seconds: u64,
    /// Web origins whose pages may call the API.
    pub cors_origins: Vec<String>,
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:FILE`, where a relative file lies in the data folder, or `mongodb://…`.
    pub url: String,
    /// File that holds the URL, before `url`; a relative one lies in the data folder.
    pub url_file: String,
    /// File that holds the master key; empty means `master.key` in the data folder.
    pub master_key_file: String,
}

/// How workers are called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// `memory:`, or `redis://…`.
    pub url: String,
    /// File that holds the URL, before `url`; a relative one lies in the data folder.
    pub url_file: String,
}

/// What is written to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or a filter of `tracing`, as in `warn,wotp_core=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

/// Brakes on callers nobody knows yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a second from one IP address; 0 means no limit.
    pub per_ip_per_second: u32,
    /// How many of them may come at once.
    pub per_ip_burst: u32,
}

/// How people sign in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Where people reach this installation, as in `https://wotp.example.com`; may be empty. Links that approve lead
    /// there.
    pub public_url: String,
    /// How long an access token holds.
    pub access_token_seconds: u32,
    /// How long a session lasts that is not used.
    pub session_days: u32,
    /// How long a key signs access tokens before another takes its place.
    pub signing_key_days: u32,
    /// Whether cookies travel over TLS only.
    pub cookie_secure: bool,
    /// Memory of one password hash, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes over that memory.
    pub argon2_passes: u32,
    /// Lanes of that memory.
    pub argon2_lanes: u32,
    /// Passwords that are hashed at once; 0 means half as many as there are processors.
    pub hashing_threads: usize,
    /// Passwords that may wait to be hashed.
    pub hashing_waiting_max: usize,
    /// Issuers of OpenID Connect that people may sign in with.
    pub oidc: Vec<Oidc>,
}

/// The workers that deliver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Deliveries that call their channel at once, at most.
    pub concurrency: usize,
}

/// Ways to reach people.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Channels {
    /// Prints codes. Development only.
    pub console: Console,
    /// Sends through tenants' own WhatsApp numbers.
    pub whatsapp: WhatsApp,
    /// Sends mail. Not there without this section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Channels that plugins bring, by name. Read apart, since no list of keys holds their names.
    #[serde(skip)]
    pub plugins: BTreeMap<String, Plugin>,
}

/// The channel that prints codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Whether it is there.
    pub enabled: bool,
    /// Where it prints.
    pub output: ConsoleOutput,
}

/// Where the console channel prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleOutput {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere: to measure everything but the channel.
    Nowhere,
}

/// The mail server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Its name, which its certificate must bear.
    pub host: String,
    /// Its port.
    #[serde(default = "shape::submission_port")]
    pub port: u16,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
    /// Who we are to it; empty where it does not ask.
    #[serde(default)]
    pub username: String,
    /// File that holds the password and nothing else; a relative one lies in the data folder.
    #[serde(default)]
    pub password_file: String,
    /// File with a certificate (PEM) to trust besides the system's; a relative one lies in the data
    /// folder.
    #[serde(default)]
    pub certificate_file: String,
    /// The sender, as in `Acme <codes@example.com>`.
    pub from: String,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// TLS from the first byte.
    Tls,
    /// Upgraded before anything is said; refused when the server does not offer it.
    #[default]
    Starttls,
    /// None: for a relay on this machine.
    None,
}

/// What plugins that are installed may reach besides the public internet over TLS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// Networks that are not public, for gateways in the operator's own.
    #[serde(deserialize_with = "shape::networks")]
    pub allowed_networks: Vec<IpNet>,
}

/// What webhooks may reach besides the public internet over TLS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Networks that are not public, and may be reached nevertheless.
    #[serde(deserialize_with = "shape::networks")]
    pub allowed_networks: Vec<IpNet>,
    /// Whether endpoints may be `http://`. Development only.
    pub http_allowed: bool,
}

/// What tenants may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plans {
    /// A catalogue of one's own; a relative file lies in the data folder. Empty means the built-in one.
    pub file: String,
    /// The plan of a tenant that is created without one.
    pub default: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            connections_max: 10_000,
            trusted_proxies: Vec::new(),
            request_timeout_seconds: 30,
            drain_seconds: 0,
            cors_origins: Vec::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:wotp.db".to_owned(), url_file: String::new(), master_key_file: String::new() }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { url: "memory:".to_owned(), url_file: String::new() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_ip_per_second: 500, per_ip_burst: 1000 }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            public_url: String::new(),
            access_token_seconds: 900,
            session_days: 7,
            signing_key_days: 30,
            cookie_secure: true,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            argon2_lanes: 1,
            hashing_threads: 0,
            hashing_waiting_max: 64,
            oidc: Vec::new(),
        }
    }
}

impl Auth {
    /// How passwords are hashed.
    pub fn hashing(&self) -> HashSettings {
        let half = || std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1));
        HashSettings {
            memory_kib: self.argon2_memory_kib,
            passes: self.argon2_passes,
            lanes: self.argon2_lanes,
            threads: if self.hashing_threads == 0 { half() } else { self.hashing_threads },
            waiting_max: self.hashing_waiting_max,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self { concurrency: 64 }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self { enabled: true, output: ConsoleOutput::Stdout }
    }
}

impl Default for Plans {
    fn default() -> Self {
        Self { file: String::new(), default: "free".to_owned() }
    }
}

impl Config {
    /// Longest that one request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.server.request_timeout_seconds)
    }

    /// How long it goes on accepting after it was asked to stop.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.server.drain_seconds)
    }

    /// Where people reach this installation: a web origin, if the operator said it.
    pub fn public_url(&self) -> Option<String> {
        Some(self.auth.public_url.clone()).filter(|url| !url.is_empty())
    }

    /// How people sign in.
    pub fn people(&self) -> PeopleSettings {
        let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
        let issuer = if self.auth.public_url.is_empty() { "wotp" } else { &self.auth.public_url };
        PeopleSettings {
            issuer: issuer.to_owned(),
            access_life: SignedDuration::from_secs(self.auth.access_token_seconds.into()),
            session_life: days(self.auth.session_days),
            signing_key_life: days(self.auth.signing_key_days),
            plan: self.plans.default.clone(),
        }
    }

    /// The brake on one IP address: requests a second, and how many at once; none when it is off.
    pub fn per_ip(&self) -> Option<(u32, u32)> {
        let Limits { per_ip_per_second, per_ip_burst } = self.limits;
        (per_ip_per_second > 0).then_some((per_ip_per_second, per_ip_burst))
    }

    /// A configuration in which every optional part is there: tells which keys exist, and of what
    /// kind they are.
    fn complete() -> Self {
        let email = Email {
            host: "smtp.example.com".to_owned(),
            port: shape::submission_port(),
            tls: Tls::default(),
            username: String::new(),
            password_file: String::new(),
            certificate_file: String::new(),
            from: "Acme <codes@example.com>".to_owned(),
        };
        Self {
            auth: Auth { oidc: vec![Oidc::example()], ..Auth::default() },
            channels: Channels { email: Some(email), ..Channels::default() },
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
