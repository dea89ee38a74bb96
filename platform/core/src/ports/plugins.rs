use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Channel;
use crate::domain::Timestamp;
use crate::domain::id::{ConnectionId, TenantId};
use crate::domain::plugin::Release;

/// Why a plugin cannot be used like that.
#[derive(Debug, thiserror::Error)]
pub enum PluginFault {
    /// Something about it is not right: what, and what would be, in words for the operator.
    #[error("{0}")]
    Refused(String),
    /// A secret that it cannot do without was not given.
    #[error("it needs the secret `{name}`: {about}")]
    MissingSecret {
        /// Its name.
        name: String,
        /// What it is.
        about: String,
    },
    /// It could not be seen: nothing is known to be wrong with it.
    #[error("plugins cannot be run now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A tenant's own account at a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantAccount {
    /// The connection.
    pub connection: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
}

impl TenantAccount {
    /// 32 bytes: the tenant's id and the connection's.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.tenant.to_bytes());
        bytes[16..].copy_from_slice(&self.connection.to_bytes());
        bytes
    }

    /// The account that [`to_bytes`](Self::to_bytes) came from.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let (mut tenant, mut connection) = ([0; 16], [0; 16]);
        tenant.copy_from_slice(&bytes[..16]);
        connection.copy_from_slice(&bytes[16..]);
        Self { tenant: TenantId::from_bytes(tenant), connection: ConnectionId::from_bytes(connection) }
    }
}

/// What a plugin is given to be a channel.
pub struct PluginSetup {
    /// What it said of itself when it was approved. It is used for nothing else, whatever it says now.
    pub release: Release,
    /// The channel's name.
    pub channel: String,
    /// Whose account it goes through, where that is a tenant's own. Then it takes a part of the calls that may be under way,
    /// with whatever else is made for that tenant, and its provider calls `/hooks/{connection}/…`.
    pub account: Option<TenantAccount>,
    /// Whether it is shown its settings now. Not where it took them before: whoever delivers neither waits for that, nor
    /// fails when it has no time to answer.
    pub asked: bool,
    /// The hosts that it may call.
    pub hosts: Vec<String>,
    /// Its secrets, by name.
    pub secrets: BTreeMap<String, Zeroizing<String>>,
    /// Its own settings.
    pub config: Map<String, Value>,
    /// Calls that may be under way at once, of all channels together that are made of one [`ReadyPlugin`].
    pub concurrency: u32,
    /// Longest that one delivery may take.
    pub timeout: SignedDuration,
}

/// A component that can be run.
#[async_trait]
pub trait ReadyPlugin: Send + Sync {
    /// What its settings may be: a JSON Schema.
    fn config_schema(&self) -> &Value;

    /// Whether its provider takes back what was sent.
    fn revokes(&self) -> bool;

    /// It as a channel. Its settings are held against its schema.
    ///
    /// # Errors
    /// [`PluginFault`].
    async fn channel(&self, setup: PluginSetup) -> Result<Arc<dyn Channel>, PluginFault>;
}

/// Looks at components and makes channels of them.
#[async_trait]
pub trait PluginHost: Send + Sync {
    /// Looks at what somebody wants to install: whether it is a plugin, asks for nothing that there is not, compiles
    /// within bounds, says what it is, and is what its manifest says, if it has one. It calls nobody. Computes for up to
    /// a minute.
    ///
    /// # Errors
    /// [`PluginFault`].
    async fn examine(&self, component: &[u8], manifest: Option<&str>, now: Timestamp) -> Result<Release, PluginFault>;

    /// A component that was compiled on this machine before, by its SHA-256; none where it was not.
    ///
    /// # Errors
    /// [`PluginFault`].
    async fn known(&self, sha256: &str) -> Result<Option<Arc<dyn ReadyPlugin>>, PluginFault>;

    /// A component that was examined, compiled, which is kept for the next time.
    ///
    /// # Errors
    /// [`PluginFault`].
    async fn compile(&self, component: &[u8]) -> Result<Arc<dyn ReadyPlugin>, PluginFault>;

    /// Removes what was compiled on this machine before a moment, of components that are not among these, named by their
    /// SHA-256; says of how many.
    ///
    /// # Errors
    /// [`PluginFault::Unavailable`].
    async fn keep_compiled(&self, components: BTreeSet<String>, before: Timestamp) -> Result<usize, PluginFault>;

    /// How a host is written, as in `api.example.com` for `API.example.com:443`.
    ///
    /// # Errors
    /// [`PluginFault::Refused`] where it is none.
    fn host(&self, text: &str) -> Result<String, PluginFault>;
}

/// What stands in where no plugin can be run: in a program that was built without what they run in.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPlugins;

impl NoPlugins {
    fn fault<T>() -> Result<T, PluginFault> {
        Err(PluginFault::Refused("this program was built without the feature `plugins`, and runs none".to_owned()))
    }
}

#[async_trait]
impl PluginHost for NoPlugins {
    async fn examine(&self, _: &[u8], _: Option<&str>, _: Timestamp) -> Result<Release, PluginFault> {
        Self::fault()
    }

    async fn known(&self, _: &str) -> Result<Option<Arc<dyn ReadyPlugin>>, PluginFault> {
        Self::fault()
    }

    async fn compile(&self, _: &[u8]) -> Result<Arc<dyn ReadyPlugin>, PluginFault> {
        Self::fault()
    }

    async fn keep_compiled(&self, _: BTreeSet<String>, _: Timestamp) -> Result<usize, PluginFault> {
        Ok(0)
    }

    fn host(&self, _: &str) -> Result<String, PluginFault> {
        Self::fault()
    }
}
