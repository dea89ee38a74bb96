//! The channels that plugins bring.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use wotp_channel_wasm::{
    Compiler, Component, HEARING_MAX, Host, Plugin, Runtime, Secret, Settings, Shelf, Unread, Workshop, World,
    asked_at_once,
};
use wotp_core::domain::vault::Vault;
use wotp_core::ports::{Channel, PluginHost};
use wotp_outbound::{Caller, Plain, Policy, Resolve, SystemResolver};
use zeroize::Zeroizing;

use super::{WiringError, secret_file};
use crate::config::{self, Config, Environment};
use crate::data_folder::DataFolder;
use crate::system::{OsEntropy, SystemClock};

/// This machine, which plugins may call in development.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// The folder of what was compiled, within the data folder.
const COMPILED: &str = "compiled-plugins";

/// What a plugin is lent of the world outside, besides these networks that are not public.
fn world(config: &Config, allowed_networks: &[IpNet], resolver: &Arc<dyn Resolve>) -> World {
    let mut policy = Policy { allowed_networks: allowed_networks.to_vec(), plain: Plain::Never };
    if config.environment == Environment::Development {
        policy.plain = Plain::ToLoopback;
        let loopback = LOOPBACK.map(|network| network.parse::<IpNet>().expect("loopback is a network"));
        policy.allowed_networks.extend(loopback);
    }
    let caller = Arc::new(Caller::new(policy, Arc::clone(resolver)));
    World { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), caller, public_url: config.public_url() }
}

/// Runs the plugins that operators install. Nothing is made for it before there is one.
pub fn workshop(config: &Config, folder: &DataFolder, vault: &Vault) -> Result<Arc<dyn PluginHost>, WiringError> {
    // The very program that runs, also when another was put in its place meanwhile.
    let itself = Path::new("/proc/self/exe");
    let program = match itself.exists() {
        true => itself.to_owned(),
        false => std::env::current_exe().map_err(|error| WiringError::Plugins(error.into()))?,
    };
    let mut key = Zeroizing::new([0; 32]);
    for (half, number) in key.chunks_exact_mut(16).zip([&b"1"[..], b"2"]) {
        half.copy_from_slice(&vault.veil("compiled plugins", &[number]));
    }
    let shelf = Shelf::new(folder.resolve(COMPILED), key);
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
    let world = world(config, &config.plugins.allowed_networks, &resolver);
    Ok(Arc::new(Workshop::new(shelf, Compiler::new(program, ["plugin", "compile"]), world)))
}

/// The channels, by name.
pub(super) async fn plugins(config: &Config, folder: &DataFolder) -> Result<Vec<Arc<dyn Channel>>, WiringError> {
    let sections = &config.channels.plugins;
    if sections.is_empty() {
        return Ok(Vec::new());
    }
    // One more for each, to be asked about its settings meanwhile, and what it hears.
    let asked =
        |section: &config::Plugin| u32::try_from(asked_at_once(section.concurrency as usize)).unwrap_or(u32::MAX);
    let calls_max = sections.values().map(|section| section.concurrency + 1 + HEARING_MAX + asked(section)).sum();
    let runtime = Runtime::new(calls_max).map_err(|error| WiringError::Plugins(error.into()))?;
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    for (name, section) in sections {
        let file = folder.resolve(&section.plugin);
        let refused = |source| WiringError::Plugin { name: name.clone(), source };
        let bytes = Component::read(&file).map_err(|unread| match unread {
            Unread::File(source) => {
                let key = format!("channels.{name}.plugin").into();
                WiringError::File { key, file: file.clone(), source }
            }
            Unread::Refused(refusal) => refused(refusal.into()),
        })?;
        let world = world(config, &section.allowed_networks, &resolver);
        let settings = settings(name, section, folder)?;
        let component =
            Component::load(&runtime, &bytes, world.clone()).await.map_err(|error| refused(error.into()))?;
        let plugin = Plugin::new(component, settings, world).await.map_err(|error| refused(error.into()))?;
        channels.push(Arc::new(plugin));
    }
    Ok(channels)
}

fn settings(name: &str, section: &config::Plugin, folder: &DataFolder) -> Result<Settings, WiringError> {
    let host = |text: &String| {
        text.parse::<Host>().map_err(|error| WiringError::Plugin { name: name.to_owned(), source: error.into() })
    };
    let secret = |(secret, file): (&String, &String)| {
        let key = format!("channels.{name}.secret_files.{secret}");
        Ok((secret.clone(), Secret::from(secret_file(folder, key, file)?.to_string())))
    };
    Ok(Settings {
        name: name.to_owned(),
        reaches: section.reaches.clone(),
        hosts: section.hosts.iter().map(host).collect::<Result<_, _>>()?,
        secrets: section.secret_files.iter().map(secret).collect::<Result<BTreeMap<_, _>, WiringError>>()?,
        config: section.config.clone().into(),
        timeout: Duration::from_secs(section.timeout_seconds),
        concurrency: section.concurrency as usize,
    })
}
