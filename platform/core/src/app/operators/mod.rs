//! What operators do: for all tenants, and to the platform itself. All of it is in the audit log.

mod access;
mod announcements;
mod appoint;
mod audit;
mod erasures;
mod logs;
mod maintenance;
mod second_factor;
mod tenants;
mod work;

pub use announcements::Announced;
pub use tenants::TenantChange;
pub use work::{SeenWork, StuckWork, Work};
