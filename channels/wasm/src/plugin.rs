use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::time::Instant;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::code::Code;
use wotp_core::domain::id::ConnectionId;
use wotp_core::ports::{Acknowledged, Ask, Channel, CheckAccount, Hear, Outgoing, Revoke, SendError, Unchecked};

use crate::breaker::{Breaker, Change, Pass, Seen};
use crate::component::Component;
use crate::descriptor::is_name;
use crate::hosts::{DeclaredHosts, Host};
use crate::probing::Nobody;
use crate::report::{self, Function};
use crate::room::{Room, Share};
use crate::sandbox::{self, Call, Errand, Grant, Stopped, World};
use crate::secrets::{Granted, Secret};
use crate::since_v0_1_0::exports::wotp::channel::delivery::Message;
use crate::since_v0_1_0::wotp::channel::types;
use crate::verdict::Said;

/// Longest that settings may be looked at.
const VALIDATING_MAX: Duration = Duration::from_secs(2);
/// Longest name of a channel.
const NAME_MAX: usize = 32;

/// What an operator says about one channel.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What tenants call it.
    pub name: String,
    /// The kinds of address that it is used for; empty means all that the plugin reaches.
    pub reaches: Vec<AddressKind>,
    /// The hosts that it may call.
    pub hosts: Vec<Host>,
    /// The secrets that are put in for it, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// The plugin's own settings: an object.
    pub config: Value,
    /// Longest that one delivery may take. More than a quarter of a second.
    pub timeout: Duration,
    /// Calls that may be under way at once. At least one.
    pub concurrency: usize,
}

/// Why a plugin cannot be used like that.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The name.
    #[error("`{0}` is no name of a channel; write 1 to 32 small letters, digits and `_`, a letter first")]
    Name(String),
    /// Who is reached.
    #[error("the plugin does not reach addresses of the kind `{0}`")]
    Reaches(AddressKind),
    /// It could call nobody.
    #[error("the plugin calls {0}, and none of them is approved; name those that it may call in `hosts`")]
    NoHost(String),
    /// It calls whom the operator names, who names nobody.
    #[error(
        "the plugin calls the hosts that `hosts` names, and it names none; write the one of your gateway, as in \
         `hosts = [\"sms.example.com\"]`"
    )]
    NoHosts,
    /// A secret that it knows nothing of.
    #[error("the plugin asks for no secret `{name}`; it asks for {known}")]
    UnknownSecret {
        /// Its name.
        name: String,
        /// Those that it asks for.
        known: String,
    },
    /// A secret that it cannot do without.
    #[error("the plugin needs the secret `{name}`: {about}")]
    MissingSecret {
        /// Its name.
        name: String,
        /// What it is.
        about: String,
    },
    /// A secret that is empty.
    #[error("the secret `{0}` is empty")]
    EmptySecret(String),
    /// The plugin's own settings.
    #[error("the plugin does not take its `config`: {0}")]
    Config(String),
    /// It was asked about them, and crashed.
    #[error("the plugin was asked about its `config` and did not answer: {0}")]
    Silent(String),
    /// Too many want theirs looked at.
    #[error("the plugin looks at the settings of others; try again in a moment")]
    Busy,
}

/// A plugin as a channel.
pub struct Plugin {
    pub(crate) component: Arc<Component>,
    pub(crate) name: String,
    reaches: Vec<AddressKind>,
    pub(crate) grant: Arc<Grant>,
    /// Hosts that it would call and may not.
    missing_hosts: Vec<Host>,
    pub(crate) config: String,
    pub(crate) timeout: Duration,
    pub(crate) room: Arc<Room>,
    /// What this channel may have of it, under way or waiting.
    pub(crate) share: Arc<Share>,
    pub(crate) breaker: Breaker,
    /// Whether it is asked about messages that were sent: how they fare, or to take them back.
    pub(crate) questions: Breaker,
}

/// Whose a channel is, of many of one plugin.
pub(crate) struct Place {
    /// The connection, where it is a tenant's own account: it stands for it in `/hooks/{…}/`, where its provider calls.
    pub connection: Option<ConnectionId>,
    /// The room that it shares with the others.
    pub room: Arc<Room>,
    /// What it may have of it.
    pub share: Arc<Share>,
}

impl Plugin {
    /// A channel of this plugin with these settings, which are held against its schema and shown to it.
    ///
    /// # Errors
    /// [`SettingsError`], in words for the operator.
    pub async fn new(
        component: impl Into<Arc<Component>>,
        settings: Settings,
        world: World,
    ) -> Result<Self, SettingsError> {
        let place = Place {
            connection: None,
            room: Arc::new(Room::new(settings.concurrency)),
            share: Arc::new(Share::whole(settings.concurrency)),
        };
        let plugin = Self::within(component, settings, world, place)?;
        plugin.accepts().await?;
        Ok(plugin)
    }

    /// The same, as one of many that share a room, of which `settings` says nothing; and its settings are held against its
    /// schema and shown to nobody.
    pub(crate) fn within(
        component: impl Into<Arc<Component>>,
        settings: Settings,
        world: World,
        Place { connection, room, share }: Place,
    ) -> Result<Self, SettingsError> {
        let component = component.into();
        let descriptor = component.descriptor();
        if !is_name(&settings.name, NAME_MAX, "_") {
            return Err(SettingsError::Name(settings.name));
        }
        if let Some(kind) = settings.reaches.iter().find(|kind| !descriptor.reaches.contains(kind)) {
            return Err(SettingsError::Reaches(*kind));
        }
        let reaches = if settings.reaches.is_empty() { descriptor.reaches.clone() } else { settings.reaches };
        let hosts = descriptor.hosts.approved(&settings.hosts);
        let missing_hosts = descriptor.hosts.missing(&settings.hosts);
        if hosts.is_empty() && descriptor.hosts == DeclaredHosts::Any {
            return Err(SettingsError::NoHosts);
        }
        if hosts.is_empty() && !missing_hosts.is_empty() {
            return Err(SettingsError::NoHost(list(missing_hosts.iter().map(ToString::to_string))));
        }
        let secrets = granted(&component, settings.secrets)?;
        let turns = Arc::clone(&component.turns);
        let grant = Arc::new(Grant { channel: settings.name.clone(), connection, hosts, secrets, world, turns });
        let config = settings.config.to_string();
        let plugin = Self {
            name: settings.name,
            reaches,
            grant,
            missing_hosts,
            config,
            timeout: settings.timeout,
            room,
            share,
            breaker: Breaker::default(),
            questions: Breaker::default(),
            component,
        };
        let faults = plugin.component.schema.faults(&settings.config);
        if faults.is_empty() { Ok(plugin) } else { Err(SettingsError::Config(faults.join("; "))) }
    }

    /// Has the plugin look at its settings.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(crate) async fn accepts(&self) -> Result<(), SettingsError> {
        let _place = self.room.look().await.ok_or(SettingsError::Busy)?;
        match self.validate().await {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(found) => Err(SettingsError::Config(found.join("; "))),
            Err(stopped) => Err(SettingsError::Silent(stopped.to_string())),
        }
    }

    /// What the plugin finds wrong with its settings.
    async fn validate(&self) -> Result<Vec<String>, Stopped> {
        let call = Call::new(&self.grant, Errand::Look, VALIDATING_MAX);
        let effort = Arc::clone(&call.effort);
        let found = sandbox::validate(&self.component.pre, call, &self.config);
        let found = report::counted(&self.name, Function::Validate, effort, found).await?;
        let words = |found: Vec<String>| found.iter().map(|one| self.grant.redacted(one, None)).collect::<Vec<_>>();
        Ok(match found {
            Ok(()) => Vec::new(),
            Err(found) if found.is_empty() => vec!["it does not say why".to_owned()],
            Err(found) => words(found),
        })
    }

    /// Notes what a call saw of the provider.
    fn saw(&self, pass: Pass<'_>, seen: Seen) {
        let Some(change) = pass.ended(seen, self.grant.world.clock.now()) else { return };
        let (channel, connection) =
            (self.name.as_str(), self.grant.connection.map(|connection| connection.to_string()));
        // The operator's own is what an operator can do something about.
        if connection.is_none() {
            report::left_alone(channel, change == Change::Opened);
        }
        match change {
            Change::Opened => tracing::warn!(
                channel,
                connection,
                "the provider of a plugin does not answer; messages go to the next channel, and one in 30 s to this"
            ),
            Change::Closed => tracing::info!(channel, connection, "the provider of a plugin answers again"),
        }
    }

    /// Has it deliver a message, and says what it said, before that is held against what may be done next.
    ///
    /// # Errors
    /// [`SendError::Away`] where it was not called at all.
    pub async fn deliver(&self, outgoing: &Outgoing) -> Result<Said, SendError> {
        let pass = self
            .breaker
            .admit(self.grant.world.clock.now())
            .map_err(|after| SendError::Away { after, detail: "its provider has not answered lately".to_owned() })?;
        let Some(_turn) = self.room.turn(&self.share).await else {
            // No try of the message, or a burst would use up all that it has in some seconds. Not all at one moment again.
            let spread = i64::from(outgoing.message_id.to_bytes()[15] % 4);
            return Err(SendError::Away {
                after: SignedDuration::from_secs(1 + spread),
                detail: "as many calls of the plugin are under way as may be".to_owned(),
            });
        };
        let (begun, message) = (Instant::now(), self.message(outgoing));
        let token = match self.probed(outgoing, &message).await {
            Ok(token) => token,
            Err(Nobody { seen, detail }) => {
                self.saw(pass, seen);
                return Ok(Said::InvalidRecipient(detail));
            }
        };
        let errand = Errand::Deliver { outgoing: Box::new(outgoing.clone()), token };
        let call = Call::new(&self.grant, errand, self.timeout.saturating_sub(begun.elapsed()));
        let (sight, effort) = (Arc::clone(&call.sight), Arc::clone(&call.effort));
        let delivered = sandbox::deliver(&self.component.pre, call, message);
        let delivered = report::counted(&self.name, Function::Deliver, effort, delivered).await;
        self.saw(pass, sight.seen());
        Ok(Said::of(delivered, |text: &str| self.grant.redacted(text, Some(outgoing))))
    }

    pub(crate) fn message(&self, outgoing: &Outgoing) -> Message {
        let left = outgoing.expires_at.duration_since(self.grant.world.clock.now()).as_secs();
        Message {
            id: outgoing.message_id.to_string(),
            kind: match outgoing.to.kind() {
                AddressKind::Phone => types::AddressKind::Phone,
                AddressKind::Email => types::AddressKind::Email,
            },
            to: outgoing.to.as_str().to_owned(),
            subject: outgoing.subject.clone(),
            text: outgoing.text.clone(),
            code: outgoing.code.as_ref().map(|code| Code::as_str(code).to_owned()),
            brand: outgoing.brand.clone(),
            locale: outgoing.locale.to_string(),
            expires_in_seconds: u32::try_from(left.max(0)).unwrap_or(u32::MAX),
            config: self.config.clone(),
        }
    }
}

/// The secrets as the plugin asks for them.
fn granted(component: &Component, mut given: BTreeMap<String, Secret>) -> Result<Vec<Granted>, SettingsError> {
    let asked = &component.descriptor().secrets;
    let mut granted = Vec::new();
    for secret in asked {
        match given.remove(&secret.name) {
            Some(value) if value.is_empty() => return Err(SettingsError::EmptySecret(secret.name.clone())),
            Some(value) => {
                granted.push(Granted { name: secret.name.clone(), value, places: secret.places.clone() });
            }
            None if secret.optional => {}
            None => {
                let (name, about) = (secret.name.clone(), secret.about.clone());
                return Err(SettingsError::MissingSecret { name, about });
            }
        }
    }
    match given.into_keys().next() {
        Some(name) => {
            let known = list(asked.iter().map(|secret| format!("`{}`", secret.name)));
            Err(SettingsError::UnknownSecret { name, known })
        }
        None => Ok(granted),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[async_trait]
impl Channel for Plugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn reaches(&self) -> &[AddressKind] {
        &self.reaches
    }

    fn own_room(&self) -> usize {
        2 * self.room.calls()
    }

    /// Each message gets an instance of its own.
    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        self.deliver(outgoing).await?.verdict(self.component.descriptor().idempotent)
    }

    fn ears(&self) -> Option<&dyn Hear> {
        self.component.hears().then_some(self as &dyn Hear)
    }

    fn asks(&self) -> Option<&dyn Ask> {
        self.component.asks().then_some(self as &dyn Ask)
    }

    fn revokes(&self) -> Option<&dyn Revoke> {
        self.component.revokes().then_some(self as &dyn Revoke)
    }

    fn account(&self) -> Option<&dyn CheckAccount> {
        self.component.checks().then_some(self as &dyn CheckAccount)
    }

    async fn probe(&self) -> Result<(), String> {
        if !self.missing_hosts.is_empty() {
            let missing = list(self.missing_hosts.iter().map(ToString::to_string));
            return Err(format!(
                "the plugin also calls {missing}, which is not approved; name it in `hosts` if it may"
            ));
        }
        self.accepts().await.map_err(|error| error.to_string())?;
        match self.account() {
            Some(account) => match account.check().await {
                Ok(standing) => standing.holds(),
                // That says nothing of it or of its provider.
                Err(Unchecked::Busy) => Ok(()),
                Err(unchecked) => Err(unchecked.to_string()),
            },
            None => Ok(()),
        }
    }
}
