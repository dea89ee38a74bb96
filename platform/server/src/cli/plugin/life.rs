//! What an operator does with plugins at the command line: install, approve, set up, switch on and off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use wotp_core::app::{Approval, Audience, Given as Settings, NewPlugin, PluginSettings};
use wotp_core::domain::audit::By;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::plugin::{Connecting, Plugin, Release, SecretAsked};
use zeroize::Zeroizing;

use super::{bytes_of, settings_of, text_of};
use crate::cli::failure::Failure;
use crate::cli::{Global, output};

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Install a plugin, or another release of one that is there; it delivers nothing before it is approved
    Install {
        /// The component, a file as in `sms.wasm`
        file: PathBuf,
        /// Its manifest, in which its publisher signs it [default: plugin.toml beside the component, if it is there]
        #[arg(long, value_name = "FILE", conflicts_with = "unsigned")]
        manifest: Option<PathBuf>,
        /// Take one that nobody signed
        #[arg(long)]
        unsigned: bool,
        /// Who has to have signed it, as in ed25519:T3U3…, which its publisher makes known
        #[arg(long, value_name = "KEY", conflicts_with = "unsigned")]
        publisher: Option<String>,
        /// What its channel is called, for good [default: the last part of the plugin's name]
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
    },
    /// List the plugins that are installed
    List,
    /// Let a release deliver from now on, and name the hosts that it may call
    Approve {
        /// The plugin: its channel, its name or its id
        plugin: String,
        /// Which release: its version, or the beginning of its SHA-256 [default: the newest]
        #[arg(long, value_name = "RELEASE")]
        release: Option<String>,
        /// A host that it may call; once for each [default: those that it may call already]
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        given: Given,
    },
    /// Give a plugin its settings and secrets
    Configure {
        /// The plugin: its channel, its name or its id
        plugin: String,
        #[command(flatten)]
        given: Given,
    },
    /// Switch a plugin on, for all tenants or for some
    Enable {
        /// The plugin: its channel, its name or its id
        plugin: String,
        /// A tenant that it is on for; once for each [default: those that it was on for before; all, where it never was]
        #[arg(long = "tenant", value_name = "TENANT")]
        tenants: Vec<TenantId>,
        /// For all tenants
        #[arg(long, conflicts_with = "tenants")]
        all_tenants: bool,
    },
    /// Switch a plugin off; what waits for it goes to the next channel
    Disable {
        /// The plugin: its channel, its name or its id
        plugin: String,
    },
    /// Go back to the release that delivered before
    RollBack {
        /// The plugin: its channel, its name or its id
        plugin: String,
    },
    /// Remove a plugin that is switched off, with its settings, secrets and releases
    Remove {
        /// The plugin: its channel, its name or its id
        plugin: String,
    },
}

/// What a plugin is given.
#[derive(Args)]
pub(in crate::cli) struct Given {
    /// A file that holds its settings, as TOML or JSON
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// A secret, and the file that holds it and nothing else; once for each
    #[arg(long = "secret", value_name = "NAME=FILE", value_parser = named_file)]
    secrets: Vec<(String, PathBuf)>,
    /// A secret that is to go; once for each
    #[arg(long = "no-secret", value_name = "NAME")]
    no_secrets: Vec<String>,
    /// Whether tenants bring connections of their own: `none`, `optional` or `required`
    #[arg(long, value_name = "WHETHER", value_parser = connecting)]
    connections: Option<Connecting>,
    /// Calls of it that may be under way at once
    #[arg(long, value_name = "CALLS")]
    concurrency: Option<u32>,
    /// Longest that one delivery may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

impl Given {
    fn read(self) -> Result<PluginSettings, Failure> {
        let config = self.settings.map(|file| settings_in(&file)).transpose()?;
        let secret = |(name, file): (String, PathBuf)| Ok((name, Some(secret(&file)?)));
        let mut secrets = self.secrets.into_iter().map(secret).collect::<Result<BTreeMap<_, _>, Failure>>()?;
        secrets.extend(self.no_secrets.into_iter().map(|name| (name, None)));
        Ok(PluginSettings {
            given: Settings { config, secrets },
            connecting: self.connections,
            concurrency: self.concurrency,
            timeout_seconds: self.timeout,
        })
    }
}

fn connecting(text: &str) -> Result<Connecting, String> {
    let found = Connecting::ALL.iter().copied().find(|one| one.name() == text);
    found.ok_or_else(|| "write `none`, `optional` or `required`".to_owned())
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write the secret's name, `=` and a file, as in token=sms.token")?;
    Ok((name.to_owned(), PathBuf::from(file)))
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    let (loaded, wired) = global.open().await?;
    let (app, by) = (&wired.app, By::command_line());
    let id = async |name: &str| app.plugin_called(name).await.map(|plugin| plugin.id);
    let plugin = match command {
        Command::List => {
            let plugins = app.plugins().await?;
            let machines = json!({ "plugins": plugins.iter().map(shown).collect::<Vec<_>>() });
            global.output().print(&machines, || listed(&plugins))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Remove { plugin } => {
            let found = app.plugin_called(&plugin).await?;
            app.remove_plugin(&by, found.id).await?;
            global.output().print(&shown(&found), || format!("{} is gone", found.package))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Install { file, manifest, unsigned, publisher, channel } => {
            let component = bytes_of(&file)?;
            let manifest = if unsigned { None } else { manifest_of(&file, manifest)? };
            let configured = loaded.config.channels.plugins.keys().cloned().collect();
            let new = NewPlugin { component, manifest, unsigned, publisher, channel, configured };
            app.install_plugin(&by, new).await?
        }
        Command::Approve { plugin, release, hosts, given } => {
            let hosts = (!hosts.is_empty()).then_some(hosts);
            let approval = Approval { release, hosts, settings: given.read()? };
            app.approve_plugin(&by, id(&plugin).await?, approval).await?
        }
        Command::Configure { plugin, given } => app.configure_plugin(&by, id(&plugin).await?, given.read()?).await?,
        Command::Enable { plugin, tenants, all_tenants } => {
            let audience = match (all_tenants, tenants.is_empty()) {
                (true, _) => Audience::All,
                (false, true) => Audience::AsBefore,
                (false, false) => Audience::Tenants(tenants),
            };
            app.enable_plugin(&by, id(&plugin).await?, audience).await?
        }
        Command::Disable { plugin } => app.disable_plugin(&by, id(&plugin).await?).await?,
        Command::RollBack { plugin } => app.roll_back_plugin(&by, id(&plugin).await?).await?,
    };
    global.output().print(&shown(&plugin), || told(&plugin))?;
    Ok(ExitCode::SUCCESS)
}

/// The manifest that was named, else the one that lies beside the component.
fn manifest_of(component: &Path, named: Option<PathBuf>) -> Result<Option<String>, Failure> {
    if let Some(file) = named {
        return text_of(&file).map(Some);
    }
    let beside = component.with_file_name("plugin.toml");
    if beside.is_file() { text_of(&beside).map(Some) } else { Ok(None) }
}

fn settings_in(file: &Path) -> Result<Map<String, Value>, Failure> {
    match settings_of(Some(file))? {
        Value::Object(settings) => Ok(settings),
        _ => Err(Failure::new(format!("{} holds no settings", file.display()))),
    }
}

/// What a file holds, without the line end that editors put there.
fn secret(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = Zeroizing::new(text_of(file)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn shown(plugin: &Plugin) -> Value {
    let release = |release: &Release| {
        json!({
            "sha256": release.sha256,
            "version": release.version,
            "publisher": release.publisher,
            "hosts": release.hosts,
            "unapproved_hosts": plugin.unapproved(release),
            "secrets": release.secrets.iter().map(|secret| &secret.name).collect::<Vec<_>>(),
        })
    };
    json!({
        "id": plugin.id,
        "channel": plugin.channel,
        "package": plugin.package,
        "publisher": plugin.publisher,
        "releases": plugin.releases.iter().map(release).collect::<Vec<_>>(),
        "active": plugin.active,
        "previous": plugin.previous.as_ref().map(|previous| &previous.sha256),
        "hosts": plugin.hosts,
        "enabled": plugin.enabled,
        "tenants": plugin.tenants,
        "connections": plugin.connecting.name(),
        "concurrency": plugin.concurrency,
        "timeout_seconds": plugin.timeout_seconds,
        "secrets": plugin.settings.secrets.keys().collect::<Vec<_>>(),
    })
}

/// What it is in, and what has to be done before it delivers.
fn state(plugin: &Plugin) -> &'static str {
    match (plugin.delivering(), plugin.enabled) {
        (None, _) => "waits for approval",
        (Some(_), false) => "off",
        (Some(_), true) if waiting(plugin).is_none() => "on",
        (Some(_), true) => "on, another release waits",
    }
}

/// The release that was installed last, where it has not been approved; one that was gone back from does not wait.
fn waiting(plugin: &Plugin) -> Option<&Release> {
    let known = [plugin.active.as_ref(), plugin.previous.as_ref().map(|previous| &previous.sha256)];
    plugin.newest().filter(|newest| !known.contains(&Some(&newest.sha256)))
}

fn listed(plugins: &[Plugin]) -> String {
    if plugins.is_empty() {
        return "no plugin is installed; `wotp plugin install FILE` installs one".to_owned();
    }
    let row = |plugin: &Plugin| {
        let version = plugin.delivering().or(plugin.newest()).map_or("", |release| &release.version);
        let channel = plugin.channel.clone();
        vec![channel, plugin.package.clone(), version.to_owned(), state(plugin).to_owned(), plugin.hosts.join(", ")]
    };
    let rows: Vec<_> = plugins.iter().map(row).collect();
    output::table(&["channel", "plugin", "version", "state", "hosts"], &rows)
}

/// Whether nobody gave it anything yet, or a secret is missing.
fn is_bare(plugin: &Plugin, release: &Release) -> bool {
    if plugin.connecting == Connecting::Required {
        return false;
    }
    let given = &plugin.settings;
    let is_missing = |secret: &SecretAsked| !secret.optional && !given.secrets.contains_key(&secret.name);
    (given.config.is_empty() && given.secrets.is_empty() && !release.secrets.is_empty())
        || release.secrets.iter().any(is_missing)
}

/// A plugin, and what comes next.
fn told(plugin: &Plugin) -> String {
    let waiting = waiting(plugin);
    let Some(release) = waiting.or(plugin.delivering()).or(plugin.newest()) else { return plugin.package.clone() };
    let mut lines = vec![
        format!("{}  {} {}", plugin.id, plugin.package, release.version),
        format!("channel    {}", plugin.channel),
        format!("sha256     {}", release.sha256),
        format!("signed by  {}", release.publisher.as_deref().unwrap_or("nobody")),
        format!("calls      {}", release.hosts.join(", ")),
    ];
    if let Some(delivering) = plugin.delivering().filter(|delivering| delivering.sha256 != release.sha256) {
        lines.push(format!("delivers   {} ({}) meanwhile", delivering.version, &delivering.sha256[..12]));
    }
    match plugin.connecting {
        Connecting::None => {}
        Connecting::Optional => lines.push("tenants    may connect accounts of their own".to_owned()),
        Connecting::Required => {
            lines.push("tenants    connect accounts of their own; nothing is given here".to_owned())
        }
    }
    let asked = release.secrets.iter().filter(|_| plugin.connecting != Connecting::Required);
    for secret in asked {
        let given = match (plugin.settings.secrets.contains_key(&secret.name), secret.optional) {
            (true, _) => "given",
            (false, true) => "not given, optional",
            (false, false) => "not given",
        };
        lines.push(format!("secret     {} ({given}): {}", secret.name, secret.about));
    }
    lines.push(format!("state      {}", state(plugin)));
    let channel = &plugin.channel;
    let next = match (plugin.delivering(), plugin.enabled) {
        _ if waiting.is_some() => {
            let hosts: String = match release.calls_any() {
                true => " --host HOST".to_owned(),
                false => release.hosts.iter().map(|host| format!(" --host {host}")).collect(),
            };
            // By what it is, and not by what it calls itself.
            Some(format!("wotp plugin approve {channel} --release {}{hosts}", &release.sha256[..12]))
        }
        (Some(_), false) if is_bare(plugin, release) => {
            Some(format!("wotp plugin configure {channel} --settings FILE --secret NAME=FILE"))
        }
        (Some(_), false) => Some(format!("wotp plugin enable {channel}")),
        _ => None,
    };
    lines.extend(next.map(|next| format!("next       {next}")));
    lines.join("\n")
}
