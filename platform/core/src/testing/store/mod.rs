//! What every [`Store`] promises, races included.

mod admitting;
mod connection_memory;
mod connection_states;
mod damaged;
mod entities;
mod erasing;
mod isolation;
mod listing;
mod messages;
mod nodes;
mod outbox;
mod replacing;
mod tenants;
mod upkeep;

pub use admitting::*;
pub use connection_memory::*;
pub use connection_states::*;
pub use damaged::*;
pub use entities::*;
pub use erasing::*;
pub use isolation::*;
pub use listing::*;
pub use messages::*;
pub use nodes::*;
pub use outbox::*;
pub use replacing::*;
pub use tenants::*;
pub use upkeep::*;

use std::sync::Arc;

use super::builders::{admission, entropy};
use crate::domain::id::TenantId;
use crate::domain::verification::Verification;
use crate::ports::{Admission, AdmitError, NewVerification, Store};

/// One test for each promise of [`Store`], over what `make` gives: an `async fn() -> (Arc<dyn Store>,
/// impl Sized)`, an empty store each time, whose second part lives as long as the test.
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::store_contract!(@ $make;
            // Tenants, services, keys.
            a_tenant_is_created_with_its_service_and_keys
            a_tenant_that_exists_is_not_created_again_and_nothing_of_it_is_kept
            tenants_are_listed_oldest_first
            tenants_are_searched_by_name_plan_and_state
            a_tenant_moves_to_another_plan_and_its_keys_show_it
            an_unknown_tenant_cannot_be_replaced
            an_unknown_key_is_not_found
            a_revoked_key_is_still_found_and_says_so
            keys_are_listed_newest_first
            keys_that_work_are_found_among_those_that_are_over
            keys_that_were_over_for_long_are_found_and_deleted
            services_are_added_and_listed_oldest_first
            a_service_is_replaced_only_as_it_was_read
            a_store_that_is_there_answers
            // Admitting.
            an_admitted_verification_is_found_as_it_was
            metadata_of_any_name_are_kept_filtered_and_repeated
            what_was_blocked_is_stored_and_counted_nowhere
            what_is_not_to_be_kept_is_decided_on_and_leaves_nothing
            an_admission_counts_in_its_day_and_its_month
            the_quota_refuses_the_first_beyond_it_and_keeps_nothing_of_it
            beyond_the_included_uses_overage_is_charged_up_to_its_cap
            test_and_live_are_counted_apart
            at_the_edge_of_the_quota_64_racing_calls_admit_exactly_what_is_left
            an_address_is_written_to_only_as_often_as_its_limits_allow
            test_mode_does_not_spend_a_live_address
            wrong_guesses_of_earlier_verifications_delay_the_next
            of_64_racing_calls_to_one_address_exactly_one_is_admitted
            a_repeated_key_returns_what_it_made_as_it_was_then
            a_repeated_key_comes_before_limits_and_quota
            a_key_used_for_another_request_is_refused
            an_expired_key_is_free_again
            erasing_an_old_record_forgets_no_newer_use_of_its_key
            one_key_raced_64_times_admits_once
            a_refused_call_does_not_spend_its_key
            // Replacing.
            a_replaced_verification_is_found_with_its_next_version
            what_was_agreed_about_a_link_is_kept_until_it_is_redacted
            what_was_agreed_about_a_message_is_kept_with_it
            an_address_that_becomes_known_is_kept_and_found
            a_change_of_what_has_no_address_yet_leaves_its_key
            a_verification_is_replaced_only_as_it_was_read
            of_50_racing_replaces_of_one_version_one_wins
            fifty_racing_guesses_count_fifty
            a_refund_gives_back_the_use_once
            a_refund_of_overage_gives_back_the_overage
            a_replace_that_lost_refunds_nothing
            a_resend_is_stored_and_counts_against_the_address
            a_resend_respects_other_verifications_of_the_address
            a_sandbox_resend_is_exempt
            a_resend_of_what_changed_is_a_conflict
            a_deleted_verification_is_gone_with_its_key
            // Listing.
            a_listing_shows_the_newest_first
            pages_follow_each_other_without_gap_or_repeat_while_more_is_started
            a_cursor_whose_verification_was_deleted_goes_on
            filters_show_what_holds_all_of_them
            a_redacted_address_is_not_found_again
            // Messages.
            a_message_is_admitted_found_and_counted
            a_blocked_message_is_stored_and_counted_nowhere
            a_message_is_replaced_only_as_it_was_read
            a_message_over_quota_is_refused
            a_message_key_is_repeated_and_told_apart
            messages_are_listed_newest_first_and_filtered
            a_deleted_message_is_gone
            // Upkeep.
            what_is_due_comes_longest_due_first_of_both_kinds
            due_takes_no_more_than_asked
            what_is_replaced_is_due_at_its_new_time
            what_a_provider_is_to_be_asked_is_due_at_its_moment_until_it_is_needless
            what_a_provider_is_to_take_back_is_due_at_its_moment
            forgetting_drops_expired_keys_and_old_counts_only
            // Erasing.
            a_tenant_is_erased_in_bounded_steps_and_nothing_of_another
            a_step_whose_note_is_refused_erases_nothing
            news_of_an_erased_tenant_go_with_it
            of_folds_and_an_erasure_that_race_nothing_is_left
            of_racing_steps_what_each_erased_is_noted_once
            what_was_erased_is_not_read_changed_or_repeated
            // Nodes.
            nodes_are_listed_oldest_first_as_they_were_last_noted
            a_lease_is_one_nodes_until_it_ends
            a_lease_that_ended_and_is_taken_again_has_a_higher_fence
            a_released_lease_is_free
            of_32_nodes_that_race_for_a_lease_one_gets_it
            the_first_check_value_of_a_master_key_is_kept
            // Entities.
            what_is_committed_is_found_as_it_was
            any_json_is_kept_as_it_is
            changes_are_made_all_or_none
            an_id_that_is_there_is_taken
            a_unique_value_is_one_things_of_its_kind
            a_unique_value_is_free_once_nothing_has_it
            of_50_racing_inserts_of_one_unique_value_one_wins
            of_50_racing_replaces_of_one_thing_one_wins
            racing_changes_that_read_again_are_all_made
            a_thing_is_replaced_only_as_it_was_read
            a_thing_is_deleted_only_as_it_was_read
            what_is_put_is_there_whatever_was
            things_are_listed_in_the_order_of_their_ids
            a_listing_by_key_follows_changes
            due_things_come_longest_due_first
            a_thing_is_put_off_where_it_is_due
            what_is_listed_under_a_few_values_is_found_at_once
            what_is_listed_under_a_value_is_counted_as_far_as_asked
            things_are_shown_one_by_one_until_somebody_has_seen_enough
            few_visits_go_on_at_once
            a_listing_has_all
            another_owners_thing_does_not_exist
            erasing_goes_in_steps_and_leaves_what_is_others
            a_commit_changes_tenants_services_and_keys_too
            a_tenant_service_or_key_that_changed_meanwhile_is_not_replaced
            an_id_of_a_tenant_service_or_key_that_is_there_is_taken
            what_a_newer_program_added_survives_a_replace
            of_commits_beside_each_other_only_the_refused_leave_nothing
            // Live connections.
            a_connection_is_one_nodes_until_its_lease_ends
            a_connection_that_its_holder_takes_again_has_a_higher_fence
            of_many_leases_those_in_force_are_prolonged
            a_connection_that_was_given_back_is_free
            a_connection_is_handed_over_to_a_node
            of_32_nodes_that_race_for_a_connection_one_gets_it
            a_connection_of_a_tenant_that_is_gone_is_not_taken
            leases_of_connections_are_listed
            what_was_written_of_a_connection_is_read_as_it_was
            changes_of_one_write_are_made_one_after_another
            a_write_of_thousands_is_made_whole
            the_state_of_a_connection_is_listed_in_the_order_of_its_keys
            the_state_of_another_connection_does_not_exist
            a_write_with_an_older_fence_is_refused
            a_holder_writes_until_another_has_taken_the_connection
            of_writes_beside_each_other_only_those_of_former_holders_are_refused
            of_writes_and_a_take_over_that_race_none_comes_after_it
            writes_of_a_connection_are_made_in_order_though_nobody_waits
            an_erased_connection_is_gone_and_its_former_holder_with_it
            what_an_erased_tenants_connections_remember_goes_with_it
            what_a_connection_remembers_is_found_and_nobody_else_can_read_it
            memories_are_listed_by_kind_and_group
            all_is_forgotten_but_what_is_named_and_where_the_connection_stands
            a_memory_that_does_not_open_is_told_and_the_others_are_there
            whoever_lost_a_connection_is_told_and_changes_nothing
            after_a_rotation_what_a_connection_remembers_is_sealed_anew
            // News.
            what_happens_to_a_verification_is_news
            what_a_channel_charged_is_news_once
            what_a_guard_stopped_at_its_start_is_news
            a_message_that_a_guard_stopped_is_news
            what_happens_to_a_message_is_news
            news_of_both_kinds_come_in_order_and_are_taken_together
            what_was_not_made_has_no_news
            a_resend_and_a_refund_are_news
            news_are_taken_with_what_they_become
            news_stay_where_what_they_become_is_refused
            of_racing_folders_one_takes_the_news
            news_of_what_is_deleted_stay
            // Isolation.
            another_tenants_verification_does_not_exist
            another_tenants_message_does_not_exist
            another_tenants_services_and_keys_do_not_exist
            another_tenants_address_is_not_limited_or_counted
            another_tenants_quota_and_idempotency_keys_are_its_own);
    };
    (@ $make:path; $($promise:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $promise() {
            let (store, _kept) = $make().await;
            $crate::testing::store::$promise(store).await;
        }
    )+};
}

/// One test for each promise of a [`Store`] that only one process can open, besides those of
/// [`store_contract!`](crate::store_contract), over the same `make`.
#[macro_export]
macro_rules! lone_store_contract {
    ($make:path) => {
        $crate::store_contract!(@ $make;
            recovery_frees_what_a_gone_process_held
            a_recovered_hold_is_lost_to_its_old_worker
            a_recovered_store_has_its_connections_free);
    };
}

type Subject = Arc<dyn Store>;

const ANSWERS: &str = "the store answers";
/// From the range kept for fiction.
const TO: &str = "+12025550123";

fn new_tenant() -> TenantId {
    TenantId::new(super::builders::noon(), entropy())
}

/// Admits, and fails the test unless it was admitted.
async fn admitted(store: &Subject, new: NewVerification) -> Verification {
    let tenant = new.verification.tenant;
    match store.tenant(tenant).admit(new).await {
        Ok(Admission::Admitted(verification)) => verification,
        other => panic!("it should have been admitted: {other:?}"),
    }
}

/// Admits without quota, limits or key.
async fn started(store: &Subject, verification: Verification) -> Verification {
    admitted(store, admission(verification)).await
}

async fn try_admit(store: &Subject, new: NewVerification) -> Result<Admission<Verification>, AdmitError> {
    let tenant = new.verification.tenant;
    store.tenant(tenant).admit(new).await
}
