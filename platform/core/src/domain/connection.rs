//! Connections: what a tenant set up of its own for a channel, as an account at an SMS provider. Its messages go out
//! through that, and through nobody else's.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::account::AccountChecked;
use super::id::{ConnectionId, PluginId, TenantId};
use super::plugin::Settings;
use crate::ports::{Entity, IndexKey, Owner};

/// The index by which whoever calls `/hooks/{connection}/…` names it.
pub const HOOK: &str = "hook";

/// A tenant's own way through a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: String,
    /// The plugin that the channel was when it was made: another one that is called the same gets none of its secrets.
    pub plugin: PluginId,
    /// What the tenant calls it.
    pub name: String,
    /// What the channel works with.
    pub settings: Settings,
    /// How the account stands that these settings are of, as it was looked at last; none where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountChecked>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Connection {
    /// Whether messages go out through this as through another: by the same plugin, with the same settings.
    pub fn leads_as(&self, other: &Self) -> bool {
        self.id == other.id && self.plugin == other.plugin && self.settings == other.settings
    }
}

impl Entity for Connection {
    const KIND: &'static str = "connection";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// One of a tenant for a plugin.
    fn unique(&self) -> Vec<IndexKey> {
        let own = [self.tenant.to_bytes(), self.plugin.to_bytes()].concat();
        vec![IndexKey::new(HOOK, self.id.to_bytes()), IndexKey::new("plugin", own)]
    }
}
