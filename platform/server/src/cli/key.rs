use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use ipnet::IpNet;
use jiff::SignedDuration;
use serde_json::{Value, json};
use wotp_core::app::{KeyInfo, KeyList, NewKey, NewKeySettings, Rotation};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::{ApiKey, KeyState, Scope};
use wotp_core::domain::audit::By;
use wotp_core::domain::id::{ApiKeyId, ServiceId, TenantId};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::tenant;

use super::failure::Failure;
use super::{Global, output};
use crate::config::network;

/// Ten years.
const EXPIRY_MAX_DAYS: i64 = 3650;
/// Keys that a listing reads at once.
const LISTED_AT_ONCE: usize = 500;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key; it is shown this once
    Create(Box<Create>),
    /// List a tenant's keys, oldest first; those that are over too, for 90 days
    List {
        /// The tenant's id
        tenant: TenantId,
    },
    /// Replace a key by a new one that may do the same; it is shown this once
    Rotate {
        /// The tenant's id
        tenant: TenantId,
        /// The old key's id
        key: ApiKeyId,
        /// How long the old key still works
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(i64).range(0..=168))]
        overlap_hours: i64,
    },
    /// Stop a key: within a second, everywhere
    Revoke {
        /// The tenant's id
        tenant: TenantId,
        /// The key's id, as in key_01J9ZK3V8X6W5T4S3R2Q1P0N9M
        key: ApiKeyId,
    },
}

#[derive(clap::Args)]
pub(super) struct Create {
    /// The tenant's id
    tenant: TenantId,
    /// What to call it
    #[arg(long, value_parser = tenant::name)]
    name: String,
    /// Whether it reaches people
    #[arg(long, value_enum, default_value_t = KeyMode::Live)]
    mode: KeyMode,
    /// What it may do, once for each scope [default: all but addresses:read]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// The only service it may use
    #[arg(long)]
    service: Option<ServiceId>,
    /// When it stops working
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=EXPIRY_MAX_DAYS))]
    expires_in_days: Option<i64>,
    /// A network it may be used from, once for each [default: any]
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = network)]
    allowed_ips: Vec<IpNet>,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyMode {
    /// Codes go out
    Live,
    /// Nobody is reached; replies carry the code
    Test,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    let (_, wired) = global.open().await?;
    let app = wired.app;
    let now = app.ports().clock.now();
    match command {
        Command::Create(create) => {
            let Create { tenant, name, mode, scopes, service, expires_in_days, allowed_ips } = *create;
            let mode = match mode {
                KeyMode::Live => Mode::Live,
                KeyMode::Test => Mode::Test,
            };
            let expires_at = expires_in_days
                .map(|days| now.saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX));
            let standard = NewKeySettings::named(&name, mode);
            let scopes = if scopes.is_empty() { standard.scopes } else { scopes.into_iter().collect() };
            let settings = NewKeySettings { name, mode, scopes, service, expires_at, allowed_ips };
            made(global, app.issue_key(&By::command_line(), tenant, settings).await?, now)?;
        }
        Command::List { tenant } => {
            let (mut keys, mut list) = (Vec::new(), KeyList { state: None, after: None, limit: LISTED_AT_ONCE });
            loop {
                let page = app.list_keys(tenant, list).await?;
                keys.extend(page.keys);
                list.after = page.next;
                if list.after.is_none() {
                    break;
                }
            }
            keys.reverse();
            let machines = json!({ "keys": keys.iter().map(|key| listed(key, now)).collect::<Vec<_>>() });
            global.output().print(&machines, || {
                let row = |info: &KeyInfo| {
                    let key = &info.key;
                    let scopes = if key.scopes == Scope::standard() {
                        "standard".to_owned()
                    } else {
                        key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",")
                    };
                    vec![
                        key.id.to_string(),
                        format!("{}…", key.shown),
                        status(key, now).to_owned(),
                        scopes,
                        info.last_used_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
                        key.name.clone(),
                    ]
                };
                output::table(
                    &["id", "key", "status", "scopes", "last used", "name"],
                    &keys.iter().map(row).collect::<Vec<_>>(),
                )
            })?;
        }
        Command::Rotate { tenant, key, overlap_hours } => {
            let rotation = Rotation { overlap: SignedDuration::from_hours(overlap_hours), expires_at: None };
            made(global, app.rotate_key_of(&By::command_line(), tenant, key, rotation).await?, now)?;
        }
        Command::Revoke { tenant, key } => {
            let key = app.revoke_key(&By::command_line(), tenant, key).await?;
            // Asked again: it was revoked after `now`.
            global.output().print(&shown(&key, app.ports().clock.now()), || {
                format!("{} ({}…, {}) does not work any more", key.id, key.shown, key.name)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn made(global: &Global, new: NewKey, now: Timestamp) -> Result<(), Failure> {
    let mut machines = shown(&new.key, now);
    machines["secret"] = Value::from(new.secret.reveal());
    global.output().print(&machines, || {
        format!(
            "key     {}  {}\nsecret  {}\n\nThe secret is shown this once.",
            new.key.id,
            new.key.name,
            new.secret.reveal()
        )
    })
}

/// As [`shown`], and when it was last used.
fn listed(info: &KeyInfo, now: Timestamp) -> Value {
    let mut machines = shown(&info.key, now);
    machines["last_used_at"] = json!(info.last_used_at);
    machines
}

fn status(key: &ApiKey, now: Timestamp) -> &'static str {
    match key.state(now) {
        KeyState::Working => "active",
        KeyState::Expired => "expired",
        KeyState::Revoked => "revoked",
    }
}

/// All that is known of a key but the key. Nothing is left out when it is empty.
fn shown(key: &ApiKey, now: Timestamp) -> Value {
    json!({
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "mode": key.mode,
        "shown": key.shown,
        "status": status(key, now),
        "scopes": key.scopes,
        "service": key.service,
        "expires_at": key.expires_at,
        "allowed_ips": key.allowed_ips,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "replaces": key.replaces,
        "replaced_by": key.replaced_by,
    })
}
