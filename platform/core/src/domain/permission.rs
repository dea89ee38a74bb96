//! Who may do what in a tenant: the one table. A permission is asked for by each operation; a role has
//! those of its rank and below, and a key those that its scopes name.

use serde::{Deserialize, Serialize};

use super::api_key::Scope;

/// What a member is in a tenant. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Builds: services, templates, keys, endpoints.
    Developer,
    /// Runs the team and the tenant.
    Admin,
    /// Owns it.
    Owner,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: &[Self] = &[Self::Viewer, Self::Developer, Self::Admin, Self::Owner];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Whether it has a permission.
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.role()
    }
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $role:ident, $scope:expr;)+) => {
        /// What an operation asks of its caller.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $($(#[$doc])* $name,)+
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in the API.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether it is about changing something.
            pub fn changes(self) -> bool {
                !self.name().ends_with(":read")
            }

            /// Whether it is left to members: no operator who acts for the tenant has it, whatever the role. What they
    /// could do with it would outlive their access, or show more of people than its purpose takes.
    pub fn is_for_members(self) -> bool {
        matches!(
            self,
            Self::KeysWrite
                | Self::MembersWrite
                | Self::WebhooksWrite
                | Self::ConnectionsWrite
                | Self::AddressesRead
                | Self::TenantDelete
                | Self::OwnershipTransfer
        )
    }

    /// The least role that has it.
            pub fn role(self) -> Role {
                match self { $(Self::$name => Role::$role,)+ }
            }

            /// The scope by which a key has it; none where no key can.
            pub fn scope(self) -> Option<Scope> {
                match self { $(Self::$name => $scope,)+ }
            }
        }
    };
}

permissions! {
    /// Start, check, resend and cancel verifications.
    VerificationsWrite = "verifications:write", Developer, Some(Scope::VerificationsWrite);
    /// Read verifications.
    VerificationsRead = "verifications:read", Viewer, Some(Scope::VerificationsRead);
    /// Send direct messages.
    MessagesWrite = "messages:write", Developer, Some(Scope::MessagesWrite);
    /// Read direct messages.
    MessagesRead = "messages:read", Viewer, Some(Scope::MessagesRead);
    /// Read services.
    ServicesRead = "services:read", Viewer, Some(Scope::ServicesRead);
    /// Create and change services and their templates.
    ServicesWrite = "services:write", Developer, Some(Scope::ServicesWrite);
    /// Read usage and limits.
    UsageRead = "usage:read", Viewer, Some(Scope::UsageRead);
    /// See whole addresses instead of masked ones.
    AddressesRead = "addresses:read", Admin, Some(Scope::AddressesRead);
    /// Read analytics.
    AnalyticsRead = "analytics:read", Viewer, Some(Scope::AnalyticsRead);
    /// Read events and follow them live.
    EventsRead = "events:read", Viewer, Some(Scope::EventsRead);
    /// Read webhook endpoints and their attempts.
    WebhooksRead = "webhooks:read", Viewer, Some(Scope::WebhooksRead);
    /// Create, change, test and replay webhook endpoints.
    WebhooksWrite = "webhooks:write", Developer, Some(Scope::WebhooksWrite);
    /// Read the guard's rules and what it did.
    GuardRead = "guard:read", Viewer, Some(Scope::GuardRead);
    /// Change the guard's rules, and release what it blocked.
    GuardWrite = "guard:write", Developer, Some(Scope::GuardWrite);
    /// Read which channels there are, and the tenant's connections to them: never a secret.
    ConnectionsRead = "connections:read", Viewer, Some(Scope::ConnectionsRead);
    /// Make, change and delete connections: through whose account codes get out.
    ConnectionsWrite = "connections:write", Developer, Some(Scope::ConnectionsWrite);
    /// See the tenant itself.
    TenantRead = "tenant:read", Viewer, None;
    /// Rename the tenant.
    TenantWrite = "tenant:write", Admin, None;
    /// Delete the tenant, and have it back.
    TenantDelete = "tenant:delete", Owner, None;
    /// See who is in the tenant.
    MembersRead = "members:read", Viewer, None;
    /// Invite, change and remove members.
    MembersWrite = "members:write", Admin, None;
    /// Give the tenant to another owner.
    OwnershipTransfer = "ownership:transfer", Owner, None;
    /// See keys: their first characters and last use, never the key.
    KeysRead = "keys:read", Viewer, None;
    /// Make, rotate and revoke keys.
    KeysWrite = "keys:write", Developer, None;
    /// Read and export the audit log.
    AuditRead = "audit:read", Admin, None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_that_a_key_can_have_is_named_like_the_scope() {
        for permission in Permission::ALL {
            if let Some(scope) = permission.scope() {
                assert_eq!(permission.name(), scope.name());
            }
        }
        let scopes = Permission::ALL.iter().filter(|permission| permission.scope().is_some()).count();
        assert_eq!(scopes, Scope::ALL.len(), "every scope is in the table");
    }

    #[test]
    fn an_owner_may_do_all_and_a_viewer_changes_nothing() {
        for permission in Permission::ALL {
            assert!(Role::Owner.may(*permission));
            assert!(!Role::Viewer.may(*permission) || !permission.changes());
        }
    }
}
