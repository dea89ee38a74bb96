//! What the audit log tells: every action by its name.

/// In whose log an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// A tenant's.
    Tenant,
    /// The platform's.
    Platform,
    /// A tenant's and the platform's, an entry in each.
    Both,
}

impl Log {
    /// Whose that is, for people.
    pub fn whose(self) -> &'static str {
        match self {
            Self::Tenant => "the tenant's",
            Self::Platform => "the platform's",
            Self::Both => "both",
        }
    }
}

/// Something that an entry can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its name, as in `api_key.create`: the thing, then the use case.
    pub name: &'static str,
    /// In whose log it is.
    pub log: Log,
    /// What happened.
    pub meaning: &'static str,
}

const fn tenant(name: &'static str, meaning: &'static str) -> Action {
    Action { name, log: Log::Tenant, meaning }
}

const fn platform(name: &'static str, meaning: &'static str) -> Action {
    Action { name, log: Log::Platform, meaning }
}

const fn both(name: &'static str, meaning: &'static str) -> Action {
    Action { name, log: Log::Both, meaning }
}

/// Every action, in the order of their names. One that is no longer done stays: old entries tell of it.
pub const ACTIONS: &[Action] = &[
    platform("announcement.create", "An operator announced something"),
    platform("announcement.withdraw", "An operator withdrew an announcement"),
    tenant("api_key.change", "A key has another name, other scopes, another service, expiry or networks"),
    tenant("api_key.create", "A key was made"),
    tenant("api_key.revoke", "A key was revoked, or a restore left it revoked"),
    tenant("api_key.rotate", "A key was replaced by another"),
    both("audit.read", "An operator read or exported the tenant's log"),
    tenant("connection.change", "A connection has another name, other settings or other secrets"),
    tenant("connection.check", "The account of a connection was looked at, and what it lacked made there"),
    tenant("connection.connect", "A connection is to be logged in, or to have a phone linked"),
    tenant("connection.create", "A connection to a channel was made"),
    tenant("connection.delete", "A connection was deleted, with its secrets"),
    tenant("connection.disconnect", "A connection is to be logged in no more"),
    platform("database.restore", "A backup was put in place of the database"),
    tenant("guard.set", "The guard of a service was set"),
    tenant("guard_destination.block", "The watch blocked a destination"),
    tenant("guard_destination.probe", "The watch lets a few codes through to a destination, to see"),
    tenant("guard_destination.release", "The watch, or somebody, freed a destination"),
    tenant("guard_destination.slow", "The watch slowed a destination"),
    tenant("guard_entry.add", "An entry was put on a guard's list"),
    tenant("guard_entry.remove", "An entry was taken off a guard's list"),
    platform("identity.link", "An account can be signed in to by another provider"),
    platform("identity.unlink", "An account cannot be signed in to by another provider any more"),
    tenant("invitation.accept", "An invitation was accepted"),
    tenant("invitation.create", "Somebody was invited"),
    tenant("invitation.expire", "An invitation was not accepted in time"),
    tenant("invitation.resend", "An invitation was sent again"),
    tenant("invitation.revoke", "An invitation was taken back, or whoever sent it may not any more"),
    platform("maintenance.begin", "An operator began maintenance, or changed what is said of it"),
    platform("maintenance.end", "An operator ended maintenance"),
    tenant("member.change_role", "A member has another role"),
    tenant("member.create", "The first member of a tenant: its owner"),
    tenant("member.leave", "A member left, or erased their account"),
    tenant("member.remove", "A member was removed"),
    platform("operator.appoint", "Somebody was made an operator"),
    platform("operator.dismiss", "Somebody is no operator any more"),
    tenant("operator_access.call", "An operator who acts as the tenant made a call"),
    both("operator_access.end", "An operator stopped acting as the tenant, or a restore ended it"),
    both("operator_access.start", "An operator may act as the tenant, and why"),
    tenant("ownership.transfer", "The tenant was handed on to another owner"),
    platform("plugin.approve", "An operator let a release of a plugin deliver, and named the hosts that it may call"),
    platform("plugin.configure", "A plugin has other settings, secrets or bounds"),
    platform("plugin.disable", "A plugin was switched off"),
    platform("plugin.enable", "A plugin was switched on, or for other tenants"),
    platform("plugin.install", "A plugin was installed"),
    platform("plugin.remove", "A plugin was removed"),
    platform("plugin.roll_back", "An operator let the release of a plugin deliver that did before"),
    platform("plugin.upgrade", "Another release of a plugin was installed"),
    platform("second_factor.activate", "A second factor was switched on"),
    platform("second_factor.answer", "A code of a second factor was right"),
    platform("second_factor.disable", "A second factor was switched off"),
    platform("second_factor.enrol", "A second factor was begun"),
    platform("second_factor.refuse", "A code of a second factor was wrong"),
    platform("second_factor.renew_recovery_codes", "Recovery codes were replaced"),
    platform("second_factor.reset", "A second factor was taken away at the command line"),
    tenant("service.change", "A service has other settings"),
    tenant("service.create", "A service was made"),
    platform("session.create", "Somebody signed in"),
    platform("session.log_out", "Somebody logged out"),
    platform("session.reuse_detected", "An old refresh token was used: the session ended"),
    platform("session.revoke", "A session was ended by its owner, or was the oldest of more than there may be"),
    platform("session.revoke_others", "Somebody ended all their sessions but one"),
    tenant("template.publish", "A text was published"),
    tenant("template.withdraw", "A text was withdrawn"),
    both("tenant.change", "An operator gave the tenant another plan or other limits"),
    tenant("tenant.change_plan", "The tenant has another plan, by the command line"),
    tenant("tenant.create", "A tenant was made"),
    both("tenant.delete", "An owner deleted the tenant"),
    platform("tenant.erase", "A deleted tenant was erased: the report"),
    tenant("tenant.rename", "The tenant has another name"),
    both("tenant.restore", "An owner had the tenant back"),
    both("tenant.resume", "An operator ended a suspension"),
    both("tenant.suspend", "An operator suspended the tenant, and why"),
    platform("user.change_email", "An account moved to another address"),
    platform("user.change_password", "A password was changed"),
    platform("user.create", "An account began"),
    platform("user.erase", "An account was erased"),
    platform("user.login_delayed", "Fifty wrong passwords for one account, from everywhere"),
    platform("user.rename", "Somebody is called something else"),
    platform("user.request_email_change", "Somebody asked for another address"),
    platform("user.reset_password", "A forgotten password was replaced"),
    tenant("webhook_endpoint.change", "An endpoint was changed, or enabled again"),
    tenant("webhook_endpoint.create", "An endpoint was made"),
    tenant("webhook_endpoint.delete", "An endpoint was deleted"),
    tenant("webhook_endpoint.disable", "An endpoint was disabled because it failed, or answered 410"),
    tenant("webhook_endpoint.replay", "Events were delivered to an endpoint once more"),
    tenant("webhook_endpoint.replay_cancel", "A replay to an endpoint was called off"),
    tenant("webhook_endpoint.rotate", "An endpoint has another secret"),
    tenant("webhook_endpoint.test", "An endpoint was sent a test event"),
    both("work.discard", "An operator discarded something that was stuck"),
    both("work.retry", "An operator had something tried again"),
];

/// Whether an action is in the list.
pub(super) fn is_known(name: &str) -> bool {
    ACTIONS.iter().any(|action| action.name == name)
}

/// Whether the name of an action begins so.
pub fn begins_an_action(text: &str) -> bool {
    ACTIONS.iter().any(|action| action.name.starts_with(text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// That each is done, and what its line says, is shown by the server's tests.
    #[test]
    fn the_actions_are_in_order() {
        assert!(ACTIONS.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn the_guide_lists_the_actions() {
        let guide = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it"))
            .join("../../docs/keys-and-audit.md");
        let guide = fs::read_to_string(guide).unwrap();
        let rows: Vec<_> = guide.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |action: &Action| format!("| `{}` | {} | {} |", action.name, action.log.whose(), action.meaning);
        let right: Vec<_> = ACTIONS.iter().map(row).collect();
        assert_eq!(rows, right, "write into the guide:\n{}", right.join("\n"));
    }
}
