//! What is sent, and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use wotp_channel_whatsapp::{Allowance, Grade, Letter, Reason};
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus, Receipt};
use wotp_core::domain::phone::Phone;
use wotp_core::ports::{Entropy, SendError};
use wotp_whatsapp_double::{Double, Fault, NewChatCap, Receipts, Rule, Strike};

use crate::tenant::{ANNA, BERT, Process, TENANT, connected, reference, send, settings, within};

fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}

#[tokio::test]
async fn a_message_is_sent_delivered_and_read() {
    let process = Process::new().await;
    process.double.set_receipts(ANNA, Receipts::None).await.unwrap();
    let session = process.linked().await;
    let sent = send(&session, 1, ANNA, "Your code is 123456").await.unwrap();
    assert_eq!(sent.reached, DeliveryStatus::Sent);
    let id = sent.provider_id.unwrap();
    let received = within("the message", process.double.inbox().wait(|message| message.id == id)).await;
    assert_eq!((received.to.as_str(), received.text.as_deref()), (digits(ANNA), Some("Your code is 123456")));
    process.double.receipt(&id, wotp_whatsapp_double::Receipt::Delivered).await.unwrap();
    process.double.receipt(&id, wotp_whatsapp_double::Receipt::Read).await.unwrap();
    let told: Vec<_> = process.told.of(reference(1), 2).await.iter().map(|told| told.receipt).collect();
    assert_eq!(told, [Receipt::Delivered, Receipt::Read]);
}

#[tokio::test]
async fn who_has_no_whatsapp_is_an_invalid_recipient_and_nothing_is_sent() {
    let process = Process::new().await;
    process.double.set_registered(BERT, false).await.unwrap();
    let session = process.linked().await;
    match send(&session, 1, BERT, "to nobody").await {
        Err(SendError::Refused { reason: DeliveryFailure::InvalidRecipient, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(session.health().sent_today, 0);
    send(&session, 2, ANNA, "to somebody").await.unwrap();
    assert_eq!(process.double.inbox().all().len(), 1);
    assert_eq!(session.health().sent_today, 1);
}

#[tokio::test]
async fn a_retry_is_the_same_message_to_whoever_gets_it() {
    let process = Process::new().await;
    let session = process.linked().await;
    let first = send(&session, 1, ANNA, "Your code is 123456").await.unwrap();
    let again = send(&session, 1, ANNA, "Your code is 123456").await.unwrap();
    assert_eq!(first.provider_id, again.provider_id);
    let received = within("both", process.double.inbox().wait(|message| message.times_sent == 2)).await;
    assert_eq!(Some(received.id), first.provider_id);
    assert_eq!(process.double.inbox().all().len(), 1);
}

#[tokio::test]
async fn what_the_server_refuses_was_not_sent() {
    let process = Process::new().await;
    let session = process.linked().await;
    send(&session, 1, ANNA, "before").await.unwrap();
    for (nth, code) in [(2, 463), (3, 475)] {
        process.double.arm(Rule::once(Fault::AckError { code }, TENANT)).await;
        match send(&session, nth, ANNA, "refused").await {
            Err(SendError::Refused { reason: DeliveryFailure::Rejected, detail }) => {
                assert!(detail.contains(&code.to_string()), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    // Those it has written with before are written to all the same.
    send(&session, 4, ANNA, "after").await.unwrap();
    let texts: Vec<_> = process.double.inbox().all().into_iter().filter_map(|message| message.text).collect();
    assert_eq!(texts, ["before", "after"]);
}

#[tokio::test]
async fn what_was_too_much_holds_back_what_follows() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.arm(Rule::once(Fault::AckError { code: 429 }, TENANT)).await;
    assert!(matches!(send(&session, 1, ANNA, "too much").await, Err(SendError::Away { .. })));
    match send(&session, 2, ANNA, "more").await {
        Err(SendError::Away { detail, .. }) => assert!(detail.contains("too_much"), "{detail}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(session.health().grade, Grade::Held);
    assert!(process.double.inbox().all().is_empty());
}

#[tokio::test]
async fn a_time_lock_is_read_and_strangers_are_spared() {
    let process = Process::new().await;
    let session = process.linked().await;
    send(&session, 1, ANNA, "before").await.unwrap();
    process.double.set_time_lock(TENANT, Some(4_102_444_800)).await.unwrap();
    // The first to meet it, and the last.
    assert!(matches!(send(&session, 2, BERT, "to a stranger").await, Err(SendError::Refused { .. })));
    let lock = within("it is read", async {
        loop {
            let health = session.health();
            match health.reasons.iter().find(|held| held.reason == Reason::TimeLocked) {
                Some(held) if held.until.as_second() == 4_102_444_800 => return health.grade,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(lock, Grade::Limited);
    match send(&session, 3, BERT, "to a stranger").await {
        Err(SendError::Away { detail, .. }) => assert!(detail.contains("time_locked"), "{detail}"),
        other => panic!("{other:?}"),
    }
    send(&session, 4, ANNA, "to somebody known").await.unwrap();
}

/// A number of Brazil, and the digits of an account that is older than its ninth digit.
const LONGER: &str = "+5531988881234";
const OLDER: &str = "553188881234";

#[tokio::test]
async fn an_account_that_is_older_than_its_number_is_written_to_under_its_own_digits_also_by_the_next_process() {
    let process = Process::new().await;
    process.double.set_account(LONGER, OLDER).await.unwrap();
    let session = process.linked().await;
    for nth in 1..=2 {
        send(&session, nth, LONGER, "Your code is 123456").await.unwrap();
    }
    session.stop().await;
    drop(session);
    let again = process.session(1).await;
    again.start().await.unwrap();
    connected(&again).await;
    send(&again, 3, LONGER, "Your code is 123456").await.unwrap();
    let received = process.double.inbox().all();
    assert_eq!(received.iter().map(|message| message.to.as_str()).collect::<Vec<_>>(), [OLDER; 3]);
}

#[tokio::test]
async fn who_wrote_from_an_account_that_is_older_than_its_number_is_nobody_new() {
    let double = Double::start().await.unwrap();
    double.set_account(LONGER, OLDER).await.unwrap();
    let mut set = settings(&double);
    // Nobody may be written to who has not written first.
    set.allowance = Allowance::flat(10_000, 10_000, 0);
    let process = Process::with(double, set).await;
    *process.told.answer.lock().unwrap() = Some("Thank you.".to_owned());
    let session = process.linked().await;
    process.double.say(OLDER, TENANT, "hello").await.unwrap();
    assert_eq!(process.told.message(0).await.from, OLDER);
    let answer = within("the answer", process.double.inbox().wait(|message| message.to == OLDER)).await;
    assert_eq!(answer.text.as_deref(), Some("Thank you."));
    send(&session, 1, LONGER, "Your code is 123456").await.unwrap();
    assert_eq!(process.double.inbox().all().len(), 2);
}

#[tokio::test]
async fn restrictions_that_whatsapp_tells_of_are_read_before_anything_is_refused() {
    let process = Process::new().await;
    let session = process.linked().await;
    assert_eq!(session.health().grade, Grade::Well);
    let restricted = |what| {
        let session = &session;
        within("it is read", async move {
            while !session.health().reasons.iter().any(|held| held.reason == what) {
                tokio::task::yield_now().await;
            }
        })
    };
    process.double.set_time_lock(TENANT, Some(4_102_444_800)).await.unwrap();
    process.double.tell_restrictions(TENANT).await.unwrap();
    restricted(Reason::TimeLocked).await;
    process.double.set_new_chat_cap(TENANT, Some(NewChatCap { total: 0, used: 0 })).await.unwrap();
    process.double.tell_restrictions(TENANT).await.unwrap();
    restricted(Reason::NewChatsUsedUp).await;
    process.double.set_time_lock(TENANT, None).await.unwrap();
    process.double.tell_restrictions(TENANT).await.unwrap();
    within("it is free", async {
        while session.health().reasons.iter().any(|held| held.reason == Reason::TimeLocked) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What falls so that messages wait longest.
struct Highest;

impl Entropy for Highest {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(u8::MAX);
    }
}

#[tokio::test]
async fn a_message_soon_after_another_waits_and_less_where_the_recipient_is_known() {
    const MOST: Duration = Duration::from_millis(800);
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.allowance.wait_max = MOST.try_into().unwrap();
    let mut process = Process::with(double, set).await;
    process.parts.entropy = Arc::new(Highest);
    let session = process.linked().await;
    let lasts = async |nth, to| {
        let begun = Instant::now();
        send(&session, nth, to, "Your code is 123456").await.unwrap();
        begun.elapsed()
    };
    lasts(1, ANNA).await;
    let (to_a_stranger, to_somebody_known) = (lasts(2, BERT).await, lasts(3, ANNA).await);
    assert!(to_a_stranger >= MOST && to_somebody_known >= MOST / 4, "{to_a_stranger:?}, {to_somebody_known:?}");
}

#[tokio::test]
async fn a_restriction_that_was_there_before_is_read_at_login() {
    let process = Process::new().await;
    process.double.set_new_chat_cap(TENANT, Some(NewChatCap { total: 0, used: 0 })).await.unwrap();
    let session = process.linked().await;
    within("it is read", async {
        while session.health().grade != Grade::Limited {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(matches!(send(&session, 1, ANNA, "to a stranger").await, Err(SendError::Away { .. })));
    // Whoever writes first is no stranger.
    process.double.say(BERT, TENANT, "hello").await.unwrap();
    process.told.message(0).await;
    send(&session, 2, BERT, "hello").await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_lost_with_the_connection_is_sent_again_and_received_once() {
    let process = Process::new().await;
    let session = process.linked().await;
    for (nth, delivered) in [(1, true), (2, false)] {
        process.double.set_receipts(ANNA, Receipts::None).await.unwrap();
        process.double.arm(Rule::once(Fault::DropMidSend { delivered }, TENANT)).await;
        let sent = send(&session, nth, ANNA, &format!("message {nth}")).await.unwrap();
        let id = sent.provider_id.unwrap();
        let received = within("it", process.double.inbox().wait(|message| message.id == id)).await;
        assert_eq!(received.times_sent, 2);
    }
    assert_eq!(process.double.inbox().all().len(), 2);
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_leaves_it_unknown() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.patience.send = Duration::from_secs(2);
    let process = Process::with(double, set).await;
    process.double.set_receipts(ANNA, Receipts::None).await.unwrap();
    let session = process.linked().await;
    process.double.arm(Rule::once(Fault::AckLost, TENANT)).await;
    assert!(matches!(send(&session, 1, ANNA, "one").await, Err(SendError::Unknown { .. })));
    // It was delivered after all, and that is told.
    let id = process.double.inbox().all()[0].id.clone();
    process.double.receipt(&id, wotp_whatsapp_double::Receipt::Delivered).await.unwrap();
    assert_eq!(process.told.of(reference(1), 1).await[0].receipt, Receipt::Delivered);
}

#[tokio::test]
async fn a_receipt_is_as_good_as_an_acknowledgement_that_was_lost() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.arm(Rule::once(Fault::AckLost, TENANT)).await;
    assert_eq!(send(&session, 1, ANNA, "one").await.unwrap().reached, DeliveryStatus::Delivered);
}

#[tokio::test]
async fn an_acknowledgement_after_the_caller_gave_up_is_reported() {
    let process = Process::new().await;
    process.double.set_receipts(ANNA, Receipts::None).await.unwrap();
    let session = process.linked().await;
    send(&session, 1, ANNA, "the first takes longer").await.unwrap();
    process.double.arm(Rule::once(Fault::AckLate { milliseconds: 1_500 }, TENANT)).await;
    let to = Phone::parse(ANNA).unwrap();
    let sending = session.send(Letter { reference: reference(2), to: &to, text: "two" });
    tokio::select! {
        sent = sending => panic!("{sent:?}"),
        _ = within("it is there", process.double.inbox().wait(|message| message.text.as_deref() == Some("two"))) => {}
    }
    assert_eq!(process.told.of(reference(2), 1).await[0].receipt, Receipt::Sent);
    process.double.arm(Rule::once(Fault::AckLost, TENANT)).await;
    assert_eq!(process.told.of(reference(2), 1).await.len(), 1, "once");
}

#[tokio::test]
async fn a_look_up_that_is_refused_holds_back_others_and_what_is_known_is_sent() {
    let process = Process::new().await;
    let session = process.linked().await;
    send(&session, 1, ANNA, "one").await.unwrap();
    let fault = Fault::IqError { code: 429, text: "rate-overlimit".to_owned(), namespace: Some("usync".to_owned()) };
    process.double.arm(Rule::once(fault, TENANT)).await;
    for nth in [2, 3] {
        match send(&session, nth, BERT, "two").await {
            Err(SendError::Away { detail, .. }) => assert!(detail.contains("looked up"), "{detail}"),
            other => panic!("{other:?}"),
        }
    }
    send(&session, 4, ANNA, "three").await.unwrap();
}

#[tokio::test]
async fn whom_it_has_written_with_it_knows_after_a_restart() {
    let process = Process::new().await;
    let session = process.linked().await;
    send(&session, 1, ANNA, "one").await.unwrap();
    session.stop().await;
    drop(session);
    process.double.set_time_lock(TENANT, Some(4_102_444_800)).await.unwrap();
    let again = process.session(1).await;
    again.start().await.unwrap();
    connected(&again).await;
    within("the lock is read", async {
        while again.health().grade != Grade::Limited {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(again.health().sent_today, 1, "what was sent is counted");
    send(&again, 2, ANNA, "two").await.unwrap();
    assert!(matches!(send(&again, 3, BERT, "three").await, Err(SendError::Away { .. })));
}

#[tokio::test]
async fn what_people_write_is_told_with_their_number_and_again_until_it_is_kept() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.patience.ask_again = Duration::from_millis(100);
    let process = Process::with(double, set).await;
    let session = process.linked().await;
    process.double.say(ANNA, TENANT, "7Q4K-XY").await.unwrap();
    let incoming = process.told.message(0).await;
    assert_eq!((incoming.from.as_str(), incoming.text.as_str()), (digits(ANNA), "7Q4K-XY"));
    process.told.refuses.store(true, Ordering::SeqCst);
    process.double.say(BERT, TENANT, "not kept").await.unwrap();
    // It asks WhatsApp for it again, by itself.
    within("another login", process.double.wait_for(|devices| (devices[0].logins > 2).then_some(()))).await;
    process.told.refuses.store(false, Ordering::SeqCst);
    let incoming = process.told.message(1).await;
    assert_eq!((incoming.from.as_str(), incoming.text.as_str()), (digits(BERT), "not kept"));
    within("all is taken", process.double.wait_for(|devices| (devices[0].waiting == 0).then_some(()))).await;
    drop(session);
}

#[tokio::test]
async fn what_somebody_writes_whose_number_is_not_told_is_told_with_it_once_it_is_known() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.arm(Rule::once(Fault::Nameless, TENANT)).await;
    process.double.say(ANNA, TENANT, "from an address").await.unwrap();
    within("it waits", process.double.wait_for(|devices| (devices[0].waiting > 0).then_some(()))).await;
    process.double.say(ANNA, TENANT, "from a number").await.unwrap();
    assert_eq!(process.told.message(0).await.text, "from a number");
    process.double.strike(TENANT, Strike::Drop).await.unwrap();
    let incoming = process.told.message(1).await;
    assert_eq!((incoming.from.as_str(), incoming.text.as_str()), (digits(ANNA), "from an address"));
    // From then on at once.
    process.double.arm(Rule::once(Fault::Nameless, TENANT)).await;
    process.double.say(ANNA, TENANT, "once more").await.unwrap();
    assert_eq!(process.told.message(2).await.text, "once more");
    drop(session);
}

#[tokio::test]
async fn what_others_write_is_told_beside_what_comes_from_somebody_without_a_number_and_once() {
    let process = Process::new().await;
    let session = process.linked().await;
    session.stop().await;
    process.double.arm(Rule::once(Fault::Nameless, TENANT)).await;
    process.double.say(ANNA, TENANT, "from an address").await.unwrap();
    process.double.say(BERT, TENANT, "7Q4K-XY").await.unwrap();
    // All of it comes at once.
    session.start().await.unwrap();
    let incoming = process.told.message(0).await;
    assert_eq!((incoming.from.as_str(), incoming.text.as_str()), (digits(BERT), "7Q4K-XY"));
    connected(&session).await;
    session.stop().await;
    // It all comes again, and what tells her number with it, in the same batch.
    process.double.say(ANNA, TENANT, "from a number").await.unwrap();
    session.start().await.unwrap();
    for (nth, text) in [(1, "from an address"), (2, "from a number")] {
        let incoming = process.told.message(nth).await;
        assert_eq!((incoming.from.as_str(), incoming.text.as_str()), (digits(ANNA), text));
    }
    within("all is taken", process.double.wait_for(|devices| (devices[0].waiting == 0).then_some(()))).await;
    assert_eq!(process.told.incoming.borrow().len(), 3);
    drop(session);
}

#[tokio::test]
async fn whoever_is_known_is_not_looked_up() {
    let process = Process::new().await;
    let session = process.linked().await;
    send(&session, 1, ANNA, "one").await.unwrap();
    session.stop().await;
    drop(session);
    // What was looked up is forgotten with the process.
    let again = process.session(1).await;
    again.start().await.unwrap();
    connected(&again).await;
    process.double.set_registered(ANNA, false).await.unwrap();
    send(&again, 2, ANNA, "two").await.unwrap();
}

#[tokio::test]
async fn who_writes_is_answered_and_is_nobody_new() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    // Nobody may be written to who has not written first.
    set.allowance = Allowance::flat(10_000, 10_000, 0);
    let process = Process::with(double, set).await;
    *process.told.answer.lock().unwrap() = Some("Thank you.".to_owned());
    let session = process.linked().await;
    let answered = |to: &'static str| process.double.inbox().wait(move |message| message.to == digits(to));
    for (count, person) in [(1, ANNA), (2, BERT)] {
        process.double.say(person, TENANT, "hello").await.unwrap();
        let answer = within("the answer", answered(person)).await;
        assert_eq!((answer.text.as_deref(), answer.times_sent), (Some("Thank you."), 1));
        assert_eq!(session.health().sent_today, count);
    }
    assert!(matches!(send(&session, 1, "+447700900789", "to a stranger").await, Err(SendError::Away { .. })));
}
