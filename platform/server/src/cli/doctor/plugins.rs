//! The plugins that operators installed, as this machine would run them.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use wotp_core::app::{ExaminedPlugin, PluginTrouble, examine_plugin, stored_plugins};
use wotp_core::domain::plugin::{ANY_HOST, Plugin};
use wotp_core::domain::vault::Vault;
use wotp_core::ports::Store;
use wotp_webhook::{Resolve, SystemResolver};

use super::{Finding, Verdict};
use crate::config::Loaded;
use crate::data_folder::DataFolder;
use crate::wiring;

const CHECK: &str = "plugin";
/// Longest wait for the addresses of a host.
const RESOLVING_MAX: Duration = Duration::from_secs(5);

/// One finding for each thing that is wrong with a plugin, or one that says that nothing is.
pub(super) async fn examine(store: &dyn Store, vault: &Vault, loaded: &Loaded, folder: &DataFolder) -> Vec<Finding> {
    let look = "look at the store, and run this again";
    let (plugins, unreadable) = match stored_plugins(store).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::failed(CHECK, &error, look)],
    };
    let mut findings = Vec::new();
    if unreadable > 0 {
        let found = format!("{unreadable} that are installed cannot be read by this program");
        findings.push(Finding::error(CHECK, found, "use the version of WOTP that installed them, or a newer one"));
    }
    if plugins.is_empty() {
        return findings;
    }
    let host = match wiring::plugin_host(&loaded.config, folder, vault) {
        Ok(host) => host,
        Err(error) => {
            findings.push(Finding::failed(CHECK, &error, "use another program or machine"));
            return findings;
        }
    };
    let is_served = folder.serving().ok().flatten().is_some();
    let resolver = SystemResolver::default();
    for plugin in &plugins {
        let examined = match examine_plugin(store, vault, &*host, plugin).await {
            Ok(examined) => examined,
            Err(error) => {
                findings.push(Finding::failed(CHECK, &error, look));
                continue;
            }
        };
        let is_taken = loaded.config.channels.plugins.contains_key(&plugin.channel);
        let mut wrong = said(plugin, &examined, is_taken);
        wrong.extend(hosts(plugin, &resolver).await);
        if wrong.is_empty() {
            wrong.push(well(plugin, &examined, is_served));
        }
        findings.extend(wrong);
    }
    findings
}

/// As bad as it is: nobody misses a plugin that is off.
fn finding(plugin: &Plugin, words: &str, help: String) -> Finding {
    let found = format!("{}: {words}", plugin.channel);
    if plugin.enabled { Finding::error(CHECK, found, help) } else { Finding::warn(CHECK, found, help) }
}

fn said(plugin: &Plugin, examined: &ExaminedPlugin, is_taken: bool) -> Vec<Finding> {
    let channel = &plugin.channel;
    let say = |trouble: &PluginTrouble| {
        let give = |name: &str| format!("give it: `wotp plugin configure {channel} --secret {name}=FILE`");
        let (words, help) = match trouble {
            PluginTrouble::Component => {
                let version = plugin.delivering().map(|release| release.version.as_str()).unwrap_or_default();
                (trouble.to_string(), format!("install release {version} again: `wotp plugin install FILE`"))
            }
            PluginTrouble::Secret(name) => {
                let key = "put the master key back that it was sealed with, or";
                (trouble.to_string(), format!("{key} {}", give(name)))
            }
            PluginTrouble::NoSecret(name) => (trouble.to_string(), give(name)),
            PluginTrouble::Refused(_) => {
                let help = format!(
                    "mend that with `wotp plugin configure {channel}`, or go back with `wotp plugin roll-back {channel}`"
                );
                (trouble.to_string(), help)
            }
            PluginTrouble::Unavailable(error) => {
                (format!("{trouble}: {error}"), "use another program or machine".to_owned())
            }
        };
        finding(plugin, &words, help)
    };
    let taken = is_taken.then(|| {
        let help = format!("call the section [channels.{channel}] something else: a channel has one name");
        finding(plugin, "the configuration has a channel of this name as well", help)
    });
    taken.into_iter().chain(examined.troubles.iter().map(say)).collect()
}

/// The hosts that it calls: approved, and with an address.
async fn hosts(plugin: &Plugin, resolver: &dyn Resolve) -> Vec<Finding> {
    let Some(release) = plugin.delivering() else { return Vec::new() };
    let channel = &plugin.channel;
    let mut wrong = Vec::new();
    let unapproved = plugin.unapproved(release);
    if !unapproved.is_empty() {
        let found = format!("{channel}: it also calls {}, which nobody approved", unapproved.join(", "));
        let help = format!("name all that it may call: `wotp plugin approve {channel} --host HOST …`");
        wrong.push(Finding::warn(CHECK, found, help));
    }
    let is_called = |host: &&String| release.calls_any() || release.hosts.contains(host);
    let called = plugin.hosts.iter().filter(is_called).filter(|host| *host != ANY_HOST);
    let looked_up = called.map(|host| async move { (host, has_address(host, resolver).await) });
    for (host, _) in join_all(looked_up).await.into_iter().filter(|(_, found)| !found) {
        let help = "see that the name is right, and that this machine resolves names".to_owned();
        wrong.push(finding(plugin, &format!("its host {host} has no address"), help));
    }
    wrong
}

async fn has_address(host: &str, resolver: &dyn Resolve) -> bool {
    // Ports are written behind; an address of IPv6 stands in brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return true;
    }
    let found = tokio::time::timeout(RESOLVING_MAX, resolver.resolve(name)).await;
    found.is_ok_and(|addresses| !addresses.is_empty())
}

fn well(plugin: &Plugin, examined: &ExaminedPlugin, is_served: bool) -> Finding {
    let channel = &plugin.channel;
    let Some(release) = plugin.delivering() else {
        return Finding::ok(CHECK, format!("{channel} waits for approval"));
    };
    let state = if plugin.enabled { "on" } else { "off" };
    let found = format!("{channel} is {state}, with {} {}", release.package, release.version);
    match (examined.is_compiled, plugin.enabled && is_served) {
        (true, _) => Finding::ok(CHECK, format!("{found}; it takes its settings")),
        (false, false) => Finding::ok(CHECK, format!("{found}; not compiled on this machine, which a start does")),
        (false, true) => Finding {
            check: CHECK,
            verdict: Verdict::Warn,
            found: format!("{found}; the server here has not compiled it"),
            help: Some("give it a minute; if this stays, its log says why".to_owned()),
        },
    }
}
