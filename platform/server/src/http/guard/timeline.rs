//! What the guard did, as verifications and messages show it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::domain::guard::note::Verdict;
use wotp_core::domain::guard::{Effect, GuardNote, Step};

/// What the guard decided on the start of a verification, or on a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Verdict)]
pub(in crate::http) struct VerdictView {
    /// Whether it was stopped. False in shadow mode, where a rule would have stopped it.
    #[schema(example = true)]
    blocked: bool,
    /// The first rule that stopped it, or would have.
    #[schema(example = "country_blocked")]
    reason: &'static str,
    /// From when on the same may pass; null where only a change of the rules helps.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    retry_at: Option<Timestamp>,
}

impl VerdictView {
    /// The verdict, where a rule was against it.
    pub(in crate::http) fn of(notes: &[GuardNote]) -> Option<Self> {
        Verdict::of(notes).map(|verdict| Self {
            blocked: verdict.blocked,
            reason: verdict.reason.name(),
            retry_at: verdict.retry_at,
        })
    }
}

/// At which step a rule spoke.
#[derive(ToSchema)]
#[schema(as = TimelineStep, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum StepName {
    Start,
    Resend,
}

/// What a rule did.
#[derive(ToSchema)]
#[schema(as = TimelineEffect, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum EffectName {
    Blocked,
    WouldBlock,
    Allowed,
    Noted,
}

/// What one rule of the guard did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub(in crate::http) struct NoteView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// At which step.
    #[schema(value_type = StepName)]
    step: Step,
    /// Which rule, as in `cap_ip`.
    #[schema(example = "cap_ip")]
    rule: &'static str,
    /// What it did.
    #[schema(value_type = EffectName)]
    effect: Effect,
    /// From when on the same may pass.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    retry_at: Option<Timestamp>,
}

impl From<GuardNote> for NoteView {
    fn from(note: GuardNote) -> Self {
        Self { at: note.at, step: note.step, rule: note.rule.name(), effect: note.effect, retry_at: note.retry_at }
    }
}

/// Counts the rules that were against something.
pub(crate) fn count_against(notes: &[GuardNote]) {
    for note in notes.iter().filter(|note| note.is_against()) {
        metrics::counter!("wotp_guard_against_total", "rule" => note.rule.name(), "effect" => note.effect.name())
            .increment(1);
    }
}
