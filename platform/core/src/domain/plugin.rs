//! Plugins: channels by anybody, which an operator installs, approves and switches on.
//!
//! What an operator approves is a *release*: one component, known by the SHA-256 of its bytes. One release of a plugin
//! delivers at a time; the one before it stays, to go back to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Timestamp;
use super::address::AddressKind;
use super::id::{PluginId, TenantId};
use super::vault::Sealed;
use crate::ports::{Entity, IndexKey, Owner};

/// Plugins that may be installed.
pub const PLUGINS_MAX: usize = 200;
/// Releases of one plugin that are kept: when more are installed, the oldest goes that neither delivers nor did before.
pub const RELEASES_MAX: usize = 6;
/// Largest component that is installed, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;
/// Calls at once that all plugins together may be given.
pub const CALLS_MAX: u32 = 512;
/// Calls at once that one may be given.
pub const CALLS_OF_ONE_MAX: u32 = 256;
/// Calls at once of a plugin of which nobody says how many.
pub const CALLS: u32 = 32;
/// Longest that one delivery may take, in seconds: the longest that a service waits.
pub const TIMEOUT_MAX_SECONDS: u32 = 60;
/// Longest that one delivery may take when nobody says how long: one second less than a service waits, so that a
/// plugin's last words are heard.
pub const TIMEOUT_SECONDS: u32 = 7;
/// Tenants that a plugin may be switched on for by name.
pub const TENANTS_MAX: usize = 1000;
/// Hosts that may be approved for one.
pub const HOSTS_MAX: usize = 16;
/// What a plugin writes that calls whichever hosts the operator names.
pub const ANY_HOST: &str = "*";

/// A secret that a release asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretAsked {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub about: String,
    /// Whether the plugin works without it.
    pub optional: bool,
}

/// One component that was installed, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// SHA-256 of the component, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: usize,
    /// Its name in the world, as in `example.twilio-sms`.
    pub package: String,
    /// Its name for people.
    pub name: String,
    /// Its own version, as in `1.4.0`.
    pub version: String,
    /// Who signed it: a public key of Ed25519 in base64. None signed it when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// The kinds of address that it reaches.
    pub reaches: Vec<AddressKind>,
    /// The hosts that it calls; `*` alone: those that the operator names.
    pub hosts: Vec<String>,
    /// The secrets that it asks for.
    pub secrets: Vec<SecretAsked>,
    /// Whether its provider can tell later what became of a message.
    pub hears: bool,
    /// When it was installed.
    pub installed_at: Timestamp,
}

impl Release {
    /// Whether it calls whichever hosts the operator names.
    pub fn calls_any(&self) -> bool {
        self.hosts.iter().any(|host| host == ANY_HOST)
    }
}

/// Whose account a plugin delivers through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connecting {
    /// Through the operator's, for everybody.
    #[default]
    None,
    /// Through a tenant's own where it has a connection, else through the operator's.
    Optional,
    /// Through a tenant's own: the channel is there for those that have a connection, and the operator gives it nothing.
    Required,
}

impl Connecting {
    /// Every way.
    pub const ALL: &[Self] = &[Self::None, Self::Optional, Self::Required];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// What a plugin is given to work with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Its own settings, which its schema takes.
    pub config: Map<String, Value>,
    /// Its secrets, by name.
    pub secrets: BTreeMap<String, Sealed>,
}

/// A release that delivered, and what it was given then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Previous {
    /// The SHA-256 of the release.
    pub sha256: String,
    /// The hosts that it might call.
    pub hosts: Vec<String>,
    /// What it worked with.
    pub settings: Settings,
    /// Whether tenants brought connections then; as it is now, where that was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connecting: Option<Connecting>,
}

/// A plugin, and what operators decided about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// Its id.
    pub id: PluginId,
    /// The name of its channel, which services write in their order of channels. Never changes: it is stored with each
    /// delivery.
    pub channel: String,
    /// Its name in the world.
    pub package: String,
    /// Who has to have signed its releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// What was installed, oldest first.
    pub releases: Vec<Release>,
    /// The SHA-256 of the release that delivers; none before one is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// What delivered before, with what it was given: what one goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The hosts that it may call, of those that it names.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Whether it is switched on.
    #[serde(default)]
    pub enabled: bool,
    /// For which tenants; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<TenantId>>,
    /// Calls of it that may be under way at once.
    pub concurrency: u32,
    /// Longest that one delivery may take, in seconds.
    pub timeout_seconds: u32,
    /// What it works with.
    #[serde(default)]
    pub settings: Settings,
    /// Whether tenants bring connections of their own.
    #[serde(default)]
    pub connecting: Connecting,
    /// When its first release was installed.
    pub created_at: Timestamp,
}

impl Plugin {
    /// A release by its SHA-256.
    pub fn release(&self, sha256: &str) -> Option<&Release> {
        self.releases.iter().find(|release| release.sha256 == sha256)
    }

    /// The release that delivers.
    pub fn delivering(&self) -> Option<&Release> {
        self.active.as_deref().and_then(|sha256| self.release(sha256))
    }

    /// The release that was installed last.
    pub fn newest(&self) -> Option<&Release> {
        self.releases.last()
    }

    /// Whether it delivers for this tenant.
    pub fn is_for(&self, tenant: TenantId) -> bool {
        // They are stored in order.
        self.enabled && self.tenants.as_ref().is_none_or(|tenants| tenants.binary_search(&tenant).is_ok())
    }

    /// The hosts that a release calls and nobody approved.
    pub fn unapproved(&self, release: &Release) -> Vec<String> {
        if release.calls_any() {
            return Vec::new();
        }
        release.hosts.iter().filter(|host| !self.hosts.contains(host)).cloned().collect()
    }

    /// Keeps a release that was installed, as the newest. Releases that there is no room for go, the oldest first.
    pub fn keep(&mut self, release: Release) {
        self.releases.retain(|known| known.sha256 != release.sha256);
        while self.releases.len() >= RELEASES_MAX {
            let previous = self.previous.as_ref().map(|previous| previous.sha256.as_str());
            let in_use = |sha256: &str| [self.active.as_deref(), previous].contains(&Some(sha256));
            let Some(oldest) = self.releases.iter().position(|known| !in_use(&known.sha256)) else { break };
            self.releases.remove(oldest);
        }
        self.releases.push(release);
    }

    /// Keeps another release. One that delivers already and that its publisher signed afterwards says who may follow it up.
    pub fn follow_up(&mut self, release: Release) {
        if self.active.as_ref() == Some(&release.sha256) {
            self.publisher = self.publisher.take().or_else(|| release.publisher.clone());
        }
        self.keep(release);
    }

    /// Lets this release deliver from now on, with these hosts and settings.
    pub fn activate(&mut self, sha256: &str, hosts: Vec<String>, settings: Settings) {
        if self.active.as_deref() == Some(sha256) {
            (self.hosts, self.settings) = (hosts, settings);
            return;
        }
        let before = self.active.replace(sha256.to_owned());
        let (hosts, settings) =
            (std::mem::replace(&mut self.hosts, hosts), std::mem::replace(&mut self.settings, settings));
        let connecting = Some(self.connecting);
        self.previous = before.map(|sha256| Previous { sha256, hosts, settings, connecting });
    }
}

impl Entity for Plugin {
    const KIND: &'static str = "plugin";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("channel", &self.channel), IndexKey::new("package", &self.package)]
    }
}

/// How often something about plugins changed: one small thing that every node looks at, instead of all plugins. Two who
/// change something at once find out here, so that what holds of all plugins together holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginChanges {
    /// So often.
    pub count: u64,
}

impl Entity for PluginChanges {
    const KIND: &'static str = "plugin_changes";

    fn id(&self) -> [u8; 16] {
        [0; 16]
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(sha256: &str) -> Release {
        Release {
            sha256: sha256.to_owned(),
            size: 1,
            package: "example.sms".to_owned(),
            name: "SMS".to_owned(),
            version: "1.0.0".to_owned(),
            publisher: None,
            reaches: vec![AddressKind::Phone],
            hosts: vec!["a.example.com".to_owned(), "b.example.com".to_owned()],
            secrets: Vec::new(),
            hears: false,
            installed_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn plugin() -> Plugin {
        Plugin {
            id: PluginId::from_bytes([1; 16]),
            channel: "sms".to_owned(),
            package: "example.sms".to_owned(),
            publisher: None,
            releases: vec![release("1")],
            active: None,
            previous: None,
            hosts: Vec::new(),
            enabled: false,
            tenants: None,
            concurrency: CALLS,
            timeout_seconds: TIMEOUT_SECONDS,
            settings: Settings::default(),
            connecting: Connecting::None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn activate(plugin: &mut Plugin, sha256: &str) {
        plugin.activate(sha256, vec![sha256.to_owned()], Settings::default());
    }

    fn kept(plugin: &Plugin) -> Vec<&str> {
        plugin.releases.iter().map(|release| release.sha256.as_str()).collect()
    }

    #[test]
    fn the_oldest_release_goes_that_is_not_in_use() {
        let mut plugin = plugin();
        activate(&mut plugin, "1");
        for sha256 in ["2", "3", "4", "5", "6"] {
            plugin.keep(release(sha256));
        }
        activate(&mut plugin, "3");
        plugin.keep(release("7"));
        assert_eq!(kept(&plugin), ["1", "3", "4", "5", "6", "7"]);
        plugin.keep(release("8"));
        assert_eq!(kept(&plugin), ["1", "3", "5", "6", "7", "8"]);
    }

    #[test]
    fn the_same_component_is_there_once_and_as_the_newest() {
        let mut plugin = plugin();
        plugin.keep(release("2"));
        plugin.keep(release("1"));
        assert_eq!(kept(&plugin), ["2", "1"]);
    }

    #[test]
    fn one_goes_back_to_the_release_before() {
        let mut plugin = plugin();
        activate(&mut plugin, "1");
        assert_eq!(plugin.previous, None);
        activate(&mut plugin, "2");
        activate(&mut plugin, "2");
        let previous = plugin.previous.unwrap();
        assert_eq!((plugin.active.as_deref(), previous.sha256.as_str()), (Some("2"), "1"));
        assert_eq!((plugin.hosts, previous.hosts), (vec!["2".to_owned()], vec!["1".to_owned()]));
    }

    #[test]
    fn hosts_that_nobody_approved_are_asked_for() {
        let mut plugin = plugin();
        plugin.hosts = vec!["b.example.com".to_owned()];
        assert_eq!(plugin.unapproved(&release("1")), ["a.example.com"]);
        let any = Release { hosts: vec![ANY_HOST.to_owned()], ..release("1") };
        assert_eq!(plugin.unapproved(&any), Vec::<String>::new());
    }

    #[test]
    fn it_is_for_those_that_it_is_switched_on_for() {
        let (one, other) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let mut plugin = plugin();
        assert!(!plugin.is_for(one));
        plugin.enabled = true;
        assert!(plugin.is_for(one) && plugin.is_for(other));
        plugin.tenants = Some(vec![one]);
        assert!(plugin.is_for(one) && !plugin.is_for(other));
    }
}
