//! Erasures: what is to be erased of a deleted tenant, and the report of it, which is all that stays.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{TenantId, UserId};
use crate::ports::{Entity, IndexKey, Owner};

/// How much of a tenant was erased. Counts only: nothing that says what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Verifications.
    #[serde(default)]
    pub verifications: u64,
    /// Direct messages.
    #[serde(default)]
    pub messages: u64,
    /// API keys.
    #[serde(default)]
    pub keys: u64,
    /// Services.
    #[serde(default)]
    pub services: u64,
    /// Counts of use.
    #[serde(default)]
    pub usage: u64,
    /// All else: members, invitations, endpoints, events, the audit log.
    #[serde(default)]
    pub others: u64,
}

impl Erased {
    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            verifications: self.verifications.saturating_add(more.verifications),
            messages: self.messages.saturating_add(more.messages),
            keys: self.keys.saturating_add(more.keys),
            services: self.services.saturating_add(more.services),
            usage: self.usage.saturating_add(more.usage),
            others: self.others.saturating_add(more.others),
        }
    }
}

/// A step of an erasure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasureStep {
    /// What it took away.
    pub erased: Erased,
    /// Whether nothing is left, the tenant itself included.
    pub whole: bool,
}

/// The erasure of one tenant. It is made when the tenant is deleted, goes when the tenant is had back, and
/// stays as the report when the tenant is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Who deleted it.
    pub deleted_by: UserId,
    /// When that was.
    pub deleted_at: Timestamp,
    /// From when on it is erased.
    pub due_at: Timestamp,
    /// When erasing it began, before the first of it was erased: from then on it cannot be had back, and nothing
    /// is told or counted of it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When the last of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Whether the platform's audit log tells of it.
    #[serde(default)]
    pub told: bool,
    /// What was erased so far.
    #[serde(default)]
    pub erased: Erased,
}

impl Entity for Erasure {
    const KIND: &'static str = "erasure";

    /// One for each tenant.
    fn id(&self) -> [u8; 16] {
        self.tenant.to_bytes()
    }

    /// It outlives the tenant.
    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("user", self.deleted_by.to_bytes())]
    }

    fn wake_at(&self) -> Option<Timestamp> {
        (!self.told).then_some(self.due_at)
    }
}

impl Erasure {
    /// That of a tenant which `by` deletes at `now`.
    pub fn new(tenant: TenantId, by: UserId, now: Timestamp, due_at: Timestamp) -> Self {
        Self {
            tenant,
            deleted_by: by,
            deleted_at: now,
            due_at,
            began_at: None,
            finished_at: None,
            told: false,
            erased: Erased::default(),
        }
    }

    /// Whether the tenant can still be had back.
    pub fn is_revocable(&self, now: Timestamp) -> bool {
        !self.has_begun() && now < self.due_at
    }

    /// Whether erasing it has begun.
    pub fn has_begun(&self) -> bool {
        self.began_at.is_some()
    }

    /// Takes down that erasing it begins at `now`.
    pub fn begin(&mut self, now: Timestamp) {
        self.began_at.get_or_insert(now);
    }

    /// Takes down a step that was made at `now`.
    pub fn step(&mut self, step: &ErasureStep, now: Timestamp) {
        self.begin(now);
        self.erased = self.erased.and(step.erased);
        if step.whole {
            self.finished_at.get_or_insert(now);
        }
    }
}
