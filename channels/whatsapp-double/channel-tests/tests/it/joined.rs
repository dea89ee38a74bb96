//! What sessions remember is in a real store, and so is whose they are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;
use wotp_channel_whatsapp::{Away, Session, Status, Tenure};
use wotp_core::domain::dispatch::Receipt;
use wotp_core::ports::{Clock, SendError};
use wotp_whatsapp_double::{DeviceStatus, Double, Receipt as Sends, Receipts, Received};

use crate::tenant::{
    ANNA, BERT, LONG, Process, TENANT, connected, found, id, qr, reference, send, settings, until, within,
};
use crate::wishes::Kept;

/// Messages that a client encrypts for somebody before it has to write that down. Source: wacore-libsignal,
/// `SENDER_CHAIN_RESERVATION_BATCH`.
const RESERVED: u8 = 64;

/// A session of these that is linked to the tenant's number.
async fn linked(process: &Process, sessions: &Kept) -> Arc<Session> {
    let session = sessions.start(id(1)).await.unwrap();
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(TENANT, &qr)).await.unwrap();
    connected(&session).await;
    session
}

/// Sends, and waits until somebody has read it.
async fn delivers(process: &Process, session: &Session, nth: u8, to: &str) -> Received {
    let sent = send(session, nth, to, &format!("message {nth}")).await.unwrap();
    let id = sent.provider_id.unwrap();
    let received = within("it is read", process.double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.text, Some(format!("message {nth}")));
    received
}

/// How often people have asked the tenant's session for something again.
async fn asked_again(process: &Process) -> u32 {
    process.double.devices().await[0].asked_again
}

/// Delivers once more what may have got out before, as one message that somebody reads now.
async fn delivers_again(process: &Process, session: &Session, nth: u8, to: &str) {
    let text = format!("message {nth}");
    let known = process.double.inbox().all().into_iter().find(|message| message.text.as_deref() == Some(&*text));
    let before = known.as_ref().map_or(0, |message| message.times_sent);
    let id = send(session, nth, to, &text).await.unwrap().provider_id.unwrap();
    assert!(known.is_none_or(|message| message.id == id), "it is the same message");
    let again = |message: &Received| message.id == id && message.times_sent > before;
    assert_eq!(within("it is read", process.double.inbox().wait(again)).await.times_sent, before + 1);
}

async fn taken_over(session: &Session) {
    until(session, "it is another's", |status| {
        matches!(status, Status::Disconnected { why: Away::TakenOver, .. }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_process_that_starts_again_over_what_was_stored_needs_no_phone() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let session = linked(&process, &sessions).await;
    delivers(&process, &session, 1, ANNA).await;
    sessions.drain().await;
    drop((session, sessions));

    let process = process.next().await;
    let sessions = process.sessions(2);
    let session = found(&sessions, 1).await;
    connected(&session).await;
    assert_eq!(session.health().sent_today, 1);
    // In the session with her that was there before.
    assert_eq!(delivers(&process, &session, 2, ANNA).await.times_sent, 1);
    process.double.say(ANNA, TENANT, "an answer").await.unwrap();
    assert_eq!(process.told.message(0).await.text, "an answer");
    let devices = process.double.devices().await;
    assert_eq!((devices.len(), devices[0].logins), (1, 2));
}

#[tokio::test]
async fn a_session_whose_write_is_refused_ends_at_once_and_sends_nothing_more() {
    let process = Process::new().await;
    let sessions = process.sessions_for(1, LONG);
    let session = linked(&process, &sessions).await;
    delivers(&process, &session, 1, ANNA).await;
    // Nobody tells it, and by its own clock it has hours left.
    process.reach.give_to(id(1), 9).await;
    let _ = send(&session, 2, ANNA, "what is written for this one is refused").await;
    taken_over(&session).await;
    assert!(matches!(send(&session, 3, ANNA, "no more").await, Err(SendError::Away { .. })));
    within("it is gone", process.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    assert!(sessions.is_empty());
    assert!(process.double.inbox().all().iter().all(|message| message.text.as_deref() != Some("no more")));
}

#[tokio::test]
async fn what_a_process_that_hangs_kept_is_taken_over_once_it_is_gone_and_never_are_two_logged_in() {
    let first = Process::new().await;
    let second = first.another();
    // What is prolonged or asked for is looked at often, and time passes only as the test says.
    let (every, margin) = (Duration::from_millis(20), SignedDuration::from_secs(5));
    let tenure = Tenure { prolonged: every, every, looks: every, margin, ..Tenure::default() };
    let kept = first.sessions_for(1, tenure);
    let session = linked(&first, &kept).await;
    delivers(&first, &session, 1, ANNA).await;
    let takes = second.sessions_for(2, tenure);
    let mut status = session.watch();
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while status.changed().await.is_ok() {
            seen.push(status.borrow_and_update().name());
        }
        seen
    });

    first.reach.away.store(true, Ordering::SeqCst);
    let ends = first.reach.lease(id(1)).await.until;
    first.clock.advance(ends.duration_since(first.clock.now()) - SignedDuration::from_millis(4_500));
    taken_over(&session).await;
    within("it is gone", first.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    // Its time is not over, for others.
    assert!(first.clock.now() < ends && takes.is_empty());
    assert_eq!(first.double.devices().await[0].logins, 1);

    first.clock.advance(SignedDuration::from_millis(4_500));
    let taken = found(&takes, 1).await;
    connected(&taken).await;
    assert_eq!(delivers(&second, &taken, 2, ANNA).await.times_sent, 1);
    assert_eq!(second.double.devices().await[0].logins, 2);
    drop((session, kept));
    assert!(!within("it has ended", seen).await.unwrap().contains(&"replaced"));
}

#[tokio::test]
async fn while_the_store_is_away_nothing_goes_out_that_could_not_be_read_later() {
    let process = Process::new().await;
    let sessions = process.sessions_for(1, LONG);
    let session = linked(&process, &sessions).await;
    for (nth, to) in [(1, ANNA), (2, BERT)] {
        delivers(&process, &session, nth, to).await;
    }
    // Ratchets would move on, either way: as far as was reserved before, and no further.
    process.reach.away.store(true, Ordering::SeqCst);
    let _ = send(&session, 3, BERT, "message 3").await;
    let mut last = 4;
    while send(&session, last, ANNA, &format!("message {last}")).await.is_ok() {
        last += 1;
        assert!(last < RESERVED + 10, "without a store it goes on for ever");
    }
    process.double.say(ANNA, TENANT, "while it is away").await.unwrap();
    // The process dies with what it could not write.
    drop((session, sessions));

    let process = process.next().await;
    let sessions = process.sessions(2);
    let session = found(&sessions, 1).await;
    connected(&session).await;
    assert_eq!(process.told.message(0).await.text, "while it is away");
    delivers_again(&process, &session, 3, BERT).await;
    for nth in 4..=last {
        delivers_again(&process, &session, nth, ANNA).await;
    }
    for (nth, to) in [(last + 1, BERT), (last + 2, ANNA)] {
        delivers_again(&process, &session, nth, to).await;
    }
    process.double.say(BERT, TENANT, "an answer").await.unwrap();
    assert_eq!(process.told.message(1).await.text, "an answer");
    // None of it was encrypted by a key that something else was encrypted by before.
    assert_eq!(asked_again(&process).await, 0);
}

/// What the test before looks at is seen where it goes wrong.
#[tokio::test]
async fn a_store_that_is_put_back_is_known_by_what_people_ask_for_again() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let session = linked(&process, &sessions).await;
    delivers(&process, &session, 1, ANNA).await;
    sessions.drain().await;
    drop((session, sessions));
    let kept = process.home.keep();

    let process = process.next().await;
    let sessions = process.sessions(2);
    let session = found(&sessions, 1).await;
    connected(&session).await;
    for nth in 2..=2 * RESERVED {
        delivers(&process, &session, nth, ANNA).await;
    }
    assert_eq!(asked_again(&process).await, 0);
    sessions.drain().await;
    drop((session, sessions));

    let process = process.next_with(kept).await;
    let sessions = process.sessions(3);
    let session = found(&sessions, 1).await;
    connected(&session).await;
    let _ = send(&session, 2 * RESERVED + 1, ANNA, "by a key that was used before").await;
    let asks = |devices: &[DeviceStatus]| (devices[0].asked_again > 0).then_some(());
    within("she asks for it again", process.double.wait_for(asks)).await;
}

#[tokio::test]
async fn a_session_whose_keys_cannot_be_read_at_its_first_start_begins_once_they_can() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.patience.not_kept = Duration::from_millis(200);
    let process = Process::with(double, set).await;
    let sessions = process.sessions(1);
    linked(&process, &sessions).await;
    sessions.drain().await;
    drop(sessions);

    let process = process.next().await;
    process.reach.unreadable.store(true, Ordering::SeqCst);
    let sessions = process.sessions(2);
    let session = found(&sessions, 1).await;
    until(&session, "it is not read", |status| {
        matches!(status, Status::Disconnected { why: Away::NotKept, .. }).then_some(())
    })
    .await;
    process.reach.unreadable.store(false, Ordering::SeqCst);
    connected(&session).await;
}

#[tokio::test]
async fn what_becomes_of_a_message_is_told_by_the_process_that_hears_it() {
    let process = Process::new().await;
    process.double.set_receipts(ANNA, Receipts::None).await.unwrap();
    let sessions = process.sessions(1);
    let session = linked(&process, &sessions).await;
    let id = delivers(&process, &session, 1, ANNA).await.id;
    sessions.drain().await;
    drop((session, sessions));

    let process = process.next().await;
    let sessions = process.sessions(2);
    connected(&*found(&sessions, 1).await).await;
    for (receipt, told) in [(Sends::Delivered, Receipt::Delivered), (Sends::Read, Receipt::Read)] {
        process.double.receipt(&id, receipt).await.unwrap();
        let all = process.told.of(reference(1), 1).await;
        assert_eq!(all.last().map(|reported| reported.receipt), Some(told));
        process.told.reported.send_modify(Vec::clear);
    }
}

#[tokio::test]
async fn what_a_number_has_sent_is_known_when_it_is_linked_again() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let session = linked(&process, &sessions).await;
    delivers(&process, &session, 1, ANNA).await;
    drop(session);
    assert!(sessions.log_out(id(1)).await.unwrap());
    assert!(!process.reach.has(id(1)).await);
    drop(sessions);

    let process = process.next().await;
    let sessions = process.sessions(2);
    let session = linked(&process, &sessions).await;
    assert_eq!(session.health().sent_today, 1);
}
