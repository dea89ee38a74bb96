use proptest::prelude::*;

use super::*;
use crate::domain::address::Address;
use crate::domain::code::Code;
use crate::domain::dispatch::DeliveryStatus;
use crate::domain::quota::{Charge, Resource};
use crate::domain::vault::{MasterKey, Purpose, Vault};
use crate::ports::Entropy;

struct Fixed;
impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn delivery(n: u8) -> DeliveryId {
    DeliveryId::from_bytes([n; 16])
}

fn verification(channels: &[&str]) -> Verification {
    let vault = Vault::new(&[MasterKey { id: 1, bytes: [1; 32].into() }]).unwrap();
    let id = VerificationId::from_bytes([1; 16]);
    let tenant = TenantId::from_bytes([2; 16]);
    let address = Address::parse("+12025550123").unwrap();
    let code = Code::typed("123456");
    Verification {
        id,
        tenant,
        service: ServiceId::from_bytes([3; 16]),
        key: Some(ApiKeyId::from_bytes([4; 16])),
        version: 1,
        mode: Mode::Live,
        address: Some(StoredAddress {
            sealed: vault.seal(Purpose::Address, &id.to_bytes(), address.as_str(), &Fixed),
            index: vault.index(tenant, &address),
            masked: address.masked(),
            kind: address.kind(),
            region: None,
        }),
        policy: Arc::new(Policy {
            brand: "Acme".to_owned(),
            locale: Locale::ENGLISH,
            code_kind: CodeKind::Numeric,
            code_length: 6,
            expires_in_seconds: 300,
            checks_allowed: 5,
            address_limits: AddressLimits::default(),
            ack_timeout_seconds: 8,
            retention: Retention::default(),
            web_origin: None,
            sms_retriever_hash: None,
            templates: vec![],
        }),
        status: Status::Pending,
        reason: None,
        code: Some(StoredCode {
            hash: vault.hash_code(&id.to_bytes(), &code),
            sealed: vault.seal(Purpose::Code, &id.to_bytes(), code.as_str(), &Fixed),
        }),
        spent_token: None,
        checks_used: 0,
        sends: vec![at(0)],
        dispatch: Dispatch::born_leased(
            channels.iter().map(|c| (*c).to_owned()).collect(),
            delivery(1),
            at(0),
            at(30),
            7,
        ),
        counted: Counted {
            resource: Resource::Verifications,
            charge: Charge::Included,
            day: at(0),
            month: at(0),
            refunded: false,
        },
        created_at: at(0),
        expires_at: at(300),
        ended_at: None,
        metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
        link: None,
        inbound: None,
        other_numbers: 0,
        guard: Vec::new(),
        country: None,
        charges: vec![],
        asking: vec![],
        revoking: vec![],
        rewritten: false,
        news: vec![],
        charged: vec![],
    }
}

fn sent() -> Verdict {
    Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None }
}

fn refused() -> Verdict {
    Verdict::Refused(DeliveryFailure::InvalidRecipient)
}

#[test]
fn the_last_allowed_guess_passes_if_it_is_right() {
    let mut verification = verification(&["a"]);
    for _ in 0..4 {
        assert!(!verification.check(|_| false, at(1)));
    }
    assert!(verification.check(|_| true, at(1)));
    assert_eq!((verification.status, verification.checks_used), (Status::Approved, 5));
}

#[test]
fn the_last_wrong_guess_ends_it_and_a_right_one_after_it_is_refused() {
    let mut verification = verification(&["a"]);
    for _ in 0..5 {
        assert!(!verification.check(|_| false, at(1)));
    }
    assert_eq!(verification.reason, Some(FailureReason::MaxChecks));
    assert!(!verification.check(|_| true, at(1)));
    assert_eq!(verification.checks_used, 5);
}

fn by_message() -> Verification {
    let sealed = verification(&["a"]).code.unwrap().sealed;
    let inbound = Some(InboundTerms { number: sealed, replies: true, speaks_as_sender: false });
    Verification { inbound, sends: vec![], dispatch: Dispatch::none(), ..verification(&["a"]) }
}

fn sender(number: &str) -> StoredAddress {
    let vault = Vault::new(&[MasterKey { id: 1, bytes: [1; 32].into() }]).unwrap();
    let index = vault.index(TenantId::from_bytes([2; 16]), &Address::parse(number).unwrap());
    StoredAddress { index, ..verification(&["a"]).address.unwrap() }
}

#[test]
fn a_message_approves_once_in_time_and_from_the_number_that_is_verified() {
    let (theirs, others) = (|| sender("+12025550123"), || sender("+447700900123"));
    let mut approved = by_message();
    assert_eq!(approved.method(), Method::Inbound);
    assert!(!approved.check(|_| true, at(1)), "it has no code");
    assert!(!approved.approve_by_link(|_| true, at(1)), "nor a link");
    assert_eq!(approved.take_message(|_| false, theirs(), at(1)), MessageOutcome::Wrong);
    for count in [1, 2, 3, 4, 5, 5] {
        assert_eq!(approved.take_message(|_| true, others(), at(1)), MessageOutcome::OtherNumber);
        assert_eq!(approved.other_numbers, count);
    }
    assert_eq!((approved.status, approved.checks_used), (Status::Pending, 0));
    assert_eq!(approved.take_message(|_| true, theirs(), at(299)), MessageOutcome::Approved);
    assert_eq!(approved.take_message(|_| true, theirs(), at(299)), MessageOutcome::Over);
    assert_eq!((approved.status, approved.checks_used, &approved.code), (Status::Approved, 0, &None));
    assert_eq!(approved.news.iter().filter(|happening| happening.what == What::Approved).count(), 1);

    assert_eq!(approved.take_message(|_| false, theirs(), at(299)), MessageOutcome::Wrong, "who knows the id alone");

    let mut late = by_message();
    assert_eq!(late.take_message(|_| true, theirs(), at(300)), MessageOutcome::Over);
    // Nothing was to get out, so nothing failed, and it stays counted.
    assert_eq!((late.status, late.reason, late.counted.refunded), (Status::Expired, None, false));
    let mut with_code = verification(&["a"]);
    assert_eq!(with_code.take_message(|_| true, theirs(), at(1)), MessageOutcome::Wrong);
}

#[test]
fn whoever_writes_first_is_verified_where_nobody_was_named() {
    let anybody = || Verification { address: None, ..by_message() };
    let mut open = anybody();
    assert_eq!(open.take_message(|_| false, sender("+447700900123"), at(1)), MessageOutcome::Wrong);
    assert_eq!((&open.address, open.rewritten), (&None, false));
    assert_eq!(open.take_message(|_| true, sender("+447700900123"), at(1)), MessageOutcome::Approved);
    assert_eq!((open.address.as_ref(), open.rewritten), (Some(&sender("+447700900123")), true));
    assert_eq!(open.take_message(|_| true, sender("+12025550123"), at(1)), MessageOutcome::Over);
    assert_eq!(open.address, Some(sender("+447700900123")));

    // Of one that nobody wrote for, only its notes may name somebody.
    let mut expired = anybody();
    assert_eq!(expired.take_message(|_| true, sender("+447700900123"), at(300)), MessageOutcome::Over);
    let day = 24 * 3600;
    assert_eq!((&expired.address, expired.wake_at()), (&None, at(300 + 30 * day)));
    assert_eq!(expired.wake(at(300 + 30 * day)), Wake::Redact);
    expired.redact();
    assert!(expired.metadata.is_empty() && expired.rewritten);
    assert_eq!((expired.wake_at(), expired.wake(at(300 + 90 * day))), (at(300 + 90 * day), Wake::Delete));
}

#[test]
fn nothing_is_to_be_done_for_a_message_until_its_time_is_over() {
    let mut waiting = by_message();
    assert_eq!((waiting.wake_at(), waiting.wake(at(299)), waiting.wake(at(300))), (at(300), Wake::Wait, Wake::Expire));
    assert_eq!((waiting.next_send_at(), waiting.dispatch.current()), (None, None));
    assert!(waiting.cancel(at(5)));
    assert_eq!((waiting.status, waiting.counted.refunded), (Status::Canceled, false));
}

#[test]
fn a_link_approves_once_in_time_and_is_no_code() {
    let linked = || Verification { link: Some(LinkTerms::default()), ..verification(&["a"]) };
    let mut approved = linked();
    assert_eq!((approved.method(), verification(&["a"]).method()), (Method::Link, Method::Code));
    assert!(!approved.check(|_| true, at(1)), "it has no code");
    assert!(!approved.approve_by_link(|_| false, at(1)));
    assert_eq!((approved.status, approved.checks_used), (Status::Pending, 0));
    assert!(approved.approve_by_link(|_| true, at(299)));
    assert!(!approved.approve_by_link(|_| true, at(299)));
    assert_eq!((approved.status, approved.checks_used, &approved.code), (Status::Approved, 0, &None));
    assert_eq!(approved.news.iter().filter(|happening| happening.what == What::Approved).count(), 1);

    let mut late = linked();
    late.settle(sent(), at(1), || delivery(2));
    assert!(!late.approve_by_link(|_| true, at(300)));
    assert_eq!((late.status, &late.code), (Status::Expired, &None));

    let mut of_code = verification(&["a"]);
    assert!(!of_code.approve_by_link(|_| true, at(1)), "it has no link");
    assert_eq!(of_code.status, Status::Pending);
}

#[test]
fn a_used_code_is_refused_the_second_time_and_erased() {
    let mut verification = verification(&["a"]);
    assert!(verification.check(|_| true, at(1)));
    assert!(!verification.check(|_| true, at(1)));
    assert_eq!(verification.code, None);
}

#[test]
fn a_code_works_until_just_before_it_expires() {
    let mut in_time = verification(&["a"]);
    in_time.settle(sent(), at(1), || delivery(2));
    let mut late = in_time.clone();
    assert!(in_time.check(|_| true, at(299)));
    assert!(!late.check(|_| true, at(300)));
    assert_eq!((late.status, late.checks_used), (Status::Expired, 0));
}

#[test]
fn a_resend_keeps_code_checks_and_expiry() {
    let mut verification = verification(&["a", "b"]);
    verification.settle(sent(), at(1), || delivery(2));
    verification.check(|_| false, at(2));
    let before = verification.clone();
    assert_eq!(verification.resend(at(29), delivery(3), at(60), 8), Err(ResendRefusal::CoolDown { next_at: at(30) }));
    verification.resend(at(30), delivery(3), at(60), 8).unwrap();
    assert_eq!(
        (&verification.code, verification.checks_used, verification.expires_at),
        (&before.code, 1, before.expires_at)
    );
    assert_eq!(verification.sends, [at(0), at(30)]);
    assert_eq!(verification.dispatch.current().unwrap().channel, "a");
    assert_eq!(verification.next_send_at(), Some(at(90)));
}

#[test]
fn nothing_delivered_is_a_failure_that_is_not_counted() {
    let mut refused_by_all = verification(&["a"]);
    refused_by_all.settle(refused(), at(1), || delivery(2));
    let mut never_tried = verification(&["a"]);
    never_tried.expire(at(300));
    for verification in [refused_by_all, never_tried] {
        assert_eq!(verification.reason, Some(FailureReason::Undeliverable));
        assert!(verification.counted.refunded);
    }
}

#[test]
fn a_missing_acknowledgement_keeps_it_open_for_the_code_that_may_have_arrived() {
    let mut verification = verification(&["a"]);
    verification.settle(Verdict::Refused(DeliveryFailure::NoAck), at(8), || delivery(2));
    assert_eq!(verification.status, Status::Pending);
    assert!(verification.check(|_| true, at(9)));
}

#[test]
fn what_may_have_arrived_expires_and_is_counted() {
    let mut unanswered = verification(&["a"]);
    unanswered.settle(Verdict::Refused(DeliveryFailure::NoAck), at(8), || delivery(2));
    let mut under_way = verification(&["a"]);
    under_way.dispatch.turn = Turn::Leased { until: at(330), token: 7 };
    for mut verification in [unanswered, under_way] {
        verification.expire(at(300));
        assert_eq!((verification.status, verification.counted.refunded), (Status::Expired, false));
    }
}

#[test]
fn a_failed_resend_does_not_undo_a_code_that_arrived() {
    let mut verification = verification(&["a"]);
    verification.settle(sent(), at(1), || delivery(2));
    verification.resend(at(31), delivery(3), at(60), 8).unwrap();
    verification.settle(refused(), at(32), || delivery(4));
    assert_eq!(verification.status, Status::Pending);
    assert!(!verification.counted.refunded);
}

#[test]
fn canceling_stops_a_fail_over() {
    let mut verification = verification(&["a", "b"]);
    assert!(verification.cancel(at(1)));
    assert_eq!(verification.settle(refused(), at(2), || delivery(2)), Outcome::Exhausted);
    assert_eq!((verification.status, verification.counted.refunded), (Status::Canceled, false));
    assert!(!verification.cancel(at(3)));
}

#[test]
fn time_rings_expires_redacts_and_deletes() {
    let day = 86_400;
    let mut verification = verification(&["a"]);
    assert_eq!(verification.wake(at(29)), Wake::Wait);
    assert_eq!(verification.wake(at(30)), Wake::Ring);
    verification.settle(sent(), at(31), || delivery(2));
    assert_eq!(verification.wake(at(299)), Wake::Wait);
    assert_eq!(verification.wake(at(300)), Wake::Expire);
    verification.expire(at(300));
    assert_eq!(verification.wake(at(300 + 30 * day - 1)), Wake::Wait);
    assert_eq!(verification.wake(at(300 + 30 * day)), Wake::Redact);
    verification.redact();
    assert_eq!((verification.address.is_none(), verification.metadata.len()), (true, 0));
    assert_eq!(verification.wake(at(300 + 90 * day - 1)), Wake::Wait);
    assert_eq!(verification.wake(at(300 + 90 * day)), Wake::Delete);
}

#[test]
fn a_delivery_whose_worker_died_is_given_up_once_the_verification_has_ended() {
    let mut canceled = verification(&["a", "b"]);
    canceled.cancel(at(10));
    assert_eq!(canceled.wake(at(29)), Wake::Wait, "the call may be under way");
    assert_eq!((canceled.wake_at(), canceled.wake(at(30))), (at(30), Wake::Cut));

    let mut freed = canceled.clone();
    freed.dispatch.release(at(12));
    assert_eq!((freed.wake_at(), freed.wake(at(12))), (at(12), Wake::Cut), "its process is gone");

    for mut verification in [canceled, freed] {
        verification.abandon(at(30));
        assert_eq!(verification.dispatch.deliveries.len(), 1, "no other channel is tried");
        assert_eq!(verification.dispatch.deliveries[0].reason, Some(DeliveryFailure::NoAck));
        assert_eq!(verification.wake(at(31)), Wake::Wait);
        assert!(verification.record(delivery(1), Receipt::Sent, at(31)), "it got out after all");
    }
}

const INVALID: Receipt = Receipt::Failed(DeliveryFailure::InvalidRecipient);

#[test]
fn what_was_taken_and_failed_on_all_channels_is_undeliverable_and_counted() {
    let mut verification = verification(&["a", "b"]);
    verification.settle(sent(), at(1), || delivery(2));
    assert!(verification.record(delivery(1), INVALID, at(2)));
    assert_eq!(verification.go_on(at(2), || delivery(2)), Some(Outcome::Again(at(2))));
    assert_eq!((verification.wake_at(), verification.wake(at(2))), (at(2), Wake::Ring));
    verification.dispatch.claim(at(2), at(30), 8);
    verification.settle(sent(), at(3), || delivery(3));
    assert_eq!((verification.status, verification.code.is_some()), (Status::Pending, true));
    assert!(verification.record(delivery(2), INVALID, at(4)));
    assert_eq!(verification.go_on(at(4), || delivery(3)), Some(Outcome::Exhausted));
    assert_eq!((verification.status, verification.reason), (Status::Failed, Some(FailureReason::Undeliverable)));
    assert!(!verification.counted.refunded && verification.code.is_none());
    assert_eq!(whats(&verification), [(What::Sent, "a"), (What::Next, "b"), (What::Failed, "b")]);
    assert!(!verification.record(delivery(2), INVALID, at(5)));
    assert_eq!(verification.go_on(at(5), || delivery(3)), None, "it has ended");
}

#[test]
fn a_code_that_may_have_arrived_by_another_delivery_stays_open() {
    let mut verification = verification(&["a", "b"]);
    verification.settle(Verdict::Refused(DeliveryFailure::NoAck), at(8), || delivery(2));
    verification.settle(sent(), at(9), || delivery(3));
    verification.record(delivery(2), INVALID, at(10));
    assert_eq!(verification.go_on(at(10), || delivery(3)), Some(Outcome::Exhausted));
    assert_eq!(verification.status, Status::Pending, "nobody knows what became of the first");
    let mut arrived = verification.clone();
    arrived.record(delivery(1), Receipt::Delivered, at(11));
    arrived.go_on(at(11), || delivery(3));
    assert_eq!(arrived.status, Status::Pending);
    verification.record(delivery(1), INVALID, at(11));
    assert_eq!(verification.go_on(at(11), || delivery(3)), Some(Outcome::Exhausted));
    assert_eq!(verification.reason, Some(FailureReason::Undeliverable));
}

#[test]
fn what_came_back_and_never_got_out_again_is_undeliverable_when_its_time_is_over() {
    let mut verification = verification(&["a", "b"]);
    verification.settle(sent(), at(1), || delivery(2));
    verification.record(delivery(1), INVALID, at(2));
    verification.go_on(at(2), || delivery(2));
    assert!(verification.expire(at(300)));
    assert_eq!(verification.reason, Some(FailureReason::Undeliverable));
}

#[test]
fn a_code_that_was_typed_goes_nowhere_whatever_is_told_later() {
    let mut verification = verification(&["a", "b"]);
    verification.settle(sent(), at(1), || delivery(2));
    verification.check(|_| true, at(2));
    assert!(verification.record(delivery(1), INVALID, at(3)));
    assert_eq!(verification.go_on(at(3), || delivery(2)), None);
    assert_eq!((verification.status, verification.dispatch.deliveries.len()), (Status::Approved, 1));
}

#[test]
fn a_provider_is_asked_while_somebody_waits_and_no_longer() {
    let mut verification = verification(&["a"]);
    verification.ask_about(delivery(1), at(0));
    assert_eq!(verification.asking, [], "it is not sent yet");
    verification.settle(sent(), at(1), || delivery(2));
    verification.ask_about(delivery(1), at(1));
    assert_eq!((verification.wake_at(), verification.wake(at(6))), (at(7), Wake::Wait));
    assert_eq!(verification.wake(at(7)), Wake::Ask);
    assert!(verification.take_asking(at(7)).is_none() && verification.hand_over_asking(at(7)));
    assert_eq!(verification.take_asking(at(7)).map(|asking| asking.asked), Some(1));
    assert_eq!(verification.wake_at(), at(22));
    let mut delivered = verification.clone();
    delivered.record(delivery(1), Receipt::Delivered, at(8));
    assert_eq!((delivered.wake_at(), delivered.take_asking(at(22))), (at(300), None));
    let left = verification.asking.clone();
    verification.check(|_| true, at(9));
    let kept = verification.wake_at();
    assert_eq!((verification.asking.len(), verification.take_asking(at(22))), (0, None));
    // As a program leaves it that ended it and knows nothing of this.
    verification.asking = left;
    assert_eq!((verification.wake_at(), verification.wake(at(22))), (kept, Wake::Wait));
    assert_eq!(verification.take_asking(at(22)), None);
}

#[test]
fn what_was_sent_is_taken_back_when_it_is_canceled_and_not_otherwise() {
    let mut pending = verification(&["a"]);
    pending.settle(sent(), at(1), || delivery(2));
    assert!(!pending.revoke(delivery(1), at(2)), "somebody still waits for it");
    let mut approved = pending.clone();
    approved.check(|_| true, at(2));
    assert!(!approved.revoke(delivery(1), at(2)));
    let mut canceled = pending;
    canceled.cancel(at(10));
    let kept = canceled.wake_at();
    assert_eq!(canceled.revocable().count(), 1);
    assert!(!canceled.revoke(delivery(7), at(10)) && canceled.revoke(delivery(1), at(10)));
    assert_eq!(canceled.take_revoking().map(|asking| asking.asked), Some(1));
    assert_eq!((canceled.wake_at(), canceled.wake(at(19))), (at(20), Wake::Wait));
    assert_eq!(canceled.wake(at(20)), Wake::Ask);
    assert!(canceled.take_asking(at(20)).is_none() && canceled.take_revoking().is_none());
    assert!(canceled.hand_over_asking(at(20)));
    assert_eq!(canceled.take_revoking().map(|asking| asking.asked), Some(2));
    let mut read = canceled.clone();
    read.record(delivery(1), Receipt::Read, at(21));
    assert_eq!((read.wake_at(), read.take_revoking()), (kept, None));
    assert!(canceled.revoked(delivery(1), Again::Never, at(21)));
    assert_eq!(canceled.wake_at(), kept);
}

/// It holds no address, so it needs not wait for anything.
#[test]
fn what_is_to_be_taken_back_outlives_the_address() {
    let mut verification = verification(&["a"]);
    Arc::make_mut(&mut verification.policy).retention.addresses_days = 0;
    verification.settle(sent(), at(1), || delivery(2));
    verification.cancel(at(10));
    assert!(verification.revoke(delivery(1), at(10)));
    assert_eq!(verification.wake(at(10)), Wake::Redact);
    verification.redact();
    assert_eq!((verification.wake(at(19)), verification.wake(at(20))), (Wake::Wait, Wake::Ask));
}

#[test]
fn an_address_that_is_not_kept_is_erased_while_a_call_is_under_way() {
    let mut verification = verification(&["a"]);
    Arc::make_mut(&mut verification.policy).retention.addresses_days = 0;
    verification.cancel(at(10));
    assert_eq!((verification.wake_at(), verification.wake(at(10))), (at(10), Wake::Redact));
    verification.redact();
    assert_eq!((verification.wake_at(), verification.wake(at(30))), (at(30), Wake::Cut));
}

fn whats(verification: &Verification) -> Vec<(What, &str)> {
    let channel = |happening: &'_ Happening| happening.channel.clone().unwrap();
    let channels = verification.news.iter().map(|happening| (happening.what, channel(happening)));
    let name = |channel: String| if channel == "a" { "a" } else { "b" };
    channels.map(|(what, channel)| (what, name(channel))).collect()
}

#[test]
fn what_happens_is_noted_once_and_at_the_channel_that_did_it() {
    let mut verification = verification(&["a", "b"]);
    verification.settle(Verdict::Refused(DeliveryFailure::NoAck), at(8), || delivery(2));
    verification.settle(sent(), at(9), || delivery(3));
    verification.record(delivery(1), Receipt::Delivered, at(10));
    verification.record(delivery(2), Receipt::Read, at(11));
    verification.resend(at(60), delivery(3), at(90), 2).unwrap();
    verification.settle(refused(), at(61), || delivery(4));
    verification.check(|_| false, at(62));
    verification.check(|_| true, at(63));
    verification.check(|_| true, at(64));
    verification.settle(sent(), at(65), || delivery(5));
    assert!(!verification.expire(at(400)));
    let noted = [
        (What::Next, "b"),
        (What::Sent, "b"),
        (What::Delivered, "a"),
        (What::Again, "a"),
        (What::Again, "b"),
        (What::Approved, "b"),
    ];
    assert_eq!(whats(&verification), noted);
}

#[test]
fn each_end_is_noted_as_what_it_is() {
    let end = |act: fn(&mut Verification)| {
        let mut verification = verification(&["a"]);
        act(&mut verification);
        verification.news.last().map(|happening| happening.what)
    };
    assert_eq!(end(|one| assert!(one.cancel(at(1)))), Some(What::Canceled));
    assert_eq!(
        end(|one| assert_eq!(one.settle(refused(), at(1), || delivery(2)), Outcome::Exhausted)),
        Some(What::Failed)
    );
    assert_eq!(end(|one| (0..5).for_each(|_| assert!(!one.check(|_| false, at(1))))), Some(What::Failed));
    let sent_and_expired = end(|one| {
        one.settle(sent(), at(1), || delivery(2));
        one.expire(at(300));
    });
    assert_eq!(sent_and_expired, Some(What::Expired));
}

#[test]
fn the_country_stays_when_the_address_goes() {
    let mut verification = verification(&["a"]);
    verification.address.as_mut().unwrap().region = Some("GB".to_owned());
    assert_eq!(verification.country(), Some("GB"));
    verification.redact();
    verification.redact();
    assert_eq!((verification.country(), verification.address.is_none()), (Some("GB"), true));
}

#[test]
fn a_short_code_and_a_long_expiry_are_marked() {
    let mut verification = verification(&["a"]);
    assert_eq!(verification.policy.below_standard(), []);
    Arc::make_mut(&mut verification.policy).code_length = 5;
    Arc::make_mut(&mut verification.policy).expires_in_seconds = 601;
    assert_eq!(verification.policy.below_standard(), [BelowStandard::ShortCode, BelowStandard::LongExpiry]);
}

#[test]
fn a_stored_verification_holds_neither_code_nor_number() {
    let json = serde_json::to_string(&verification(&["a"])).unwrap();
    assert!(!json.contains("123456") && !json.contains("2025550123"), "{json}");
    assert_eq!(serde_json::from_str::<Verification>(&json).unwrap(), verification(&["a"]));
}

#[derive(Debug, Clone)]
enum Step {
    Check(bool),
    Resend,
    Cancel,
    Settle(u8),
    Claim,
    Release,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Check),
        Just(Step::Resend),
        Just(Step::Cancel),
        (0u8..4).prop_map(Step::Settle),
        Just(Step::Claim),
        Just(Step::Release),
        (0i64..120).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn no_history_approves_twice_or_leaves_an_end(steps in prop::collection::vec(step(), 0..60)) {
        let mut verification = verification(&["a", "b"]);
        let (mut now, mut approvals) = (0, 0);
        for (n, step) in steps.into_iter().enumerate() {
            let before = verification.clone();
            let next = delivery(u8::try_from(n + 2).unwrap());
            match step {
                Step::Check(right) => approvals += u32::from(verification.check(|_| right, at(now))),
                Step::Resend => { let _ = verification.resend(at(now), next, at(now + 30), 9); }
                Step::Cancel => { verification.cancel(at(now)); }
                Step::Settle(n) => {
                    let verdicts = [sent(), refused(), Verdict::Refused(DeliveryFailure::NoAck), Verdict::Later { after: SignedDuration::from_secs(9) }];
                    verification.settle(verdicts[usize::from(n)].clone(), at(now), || next);
                }
                Step::Claim => { verification.dispatch.claim(at(now), at(now + 30), 9); }
                Step::Release => verification.dispatch.release(at(now)),
                Step::Wait(seconds) => now += seconds,
            }
            prop_assert!(approvals <= 1);
            prop_assert_eq!(approvals == 1, verification.status == Status::Approved);
            prop_assert!(verification.checks_used <= verification.policy.checks_allowed);
            prop_assert!(verification.checks_used >= before.checks_used);
            prop_assert!(verification.sends.len() <= 5);
            if before.status != Status::Pending {
                prop_assert_eq!(verification.status, before.status);
                prop_assert_eq!(verification.counted, before.counted);
            }
            prop_assert_eq!(verification.code.is_some(), verification.status == Status::Pending);
            prop_assert_eq!(verification.ended_at.is_some(), verification.status != Status::Pending);
        }
        // What the sweep does once nobody acts any more.
        now += 400;
        verification.expire(at(now));
        if verification.wake(at(now)) == Wake::Cut {
            verification.abandon(at(now));
        }
        prop_assert!(matches!(verification.wake(at(now)), Wake::Wait));
        let open = verification.dispatch.deliveries.iter().filter(|it| it.status <= DeliveryStatus::Sending).count();
        prop_assert_eq!(open, 0, "nothing looks as if it were still about to go out");
    }
}
