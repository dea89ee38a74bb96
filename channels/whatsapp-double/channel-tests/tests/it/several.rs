//! Many sessions in one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wotp_channel_whatsapp::{Grade, Letter, Session};
use wotp_core::domain::phone::Phone;
use wotp_core::ports::SendError;
use wotp_whatsapp_double::{Double, Fault, Rule, Strike};

use crate::tenant::{ANNA, Process, connected, found, id, qr, reference, send, settings, until, within};
use crate::wishes::Kept;

fn number(nth: u8) -> String {
    format!("120255501{nth:02}")
}

/// So many sessions, each linked to a number of its own.
async fn linked(process: &Process, sessions: &Kept, count: u8) -> Vec<Arc<Session>> {
    let mut all = Vec::new();
    for nth in 1..=count {
        let session = sessions.start(id(nth)).await.unwrap();
        let qr = qr(&session).await;
        within("the pairing", process.double.scan(&number(nth), &qr)).await.unwrap();
        connected(&session).await;
        all.push(session);
    }
    all
}

#[tokio::test]
async fn one_that_is_logged_out_leaves_the_others_connected() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let all = linked(&process, &sessions, 3).await;
    process.double.strike(&number(2), Strike::DeviceRemoved).await.unwrap();
    until(&all[1], "it is logged out", |status| (status.name() == "logged_out").then_some(())).await;
    for (nth, session) in [(1, &all[0]), (3, &all[2])] {
        assert!(session.status().is_connected());
        send(session, nth, ANNA, "still here").await.unwrap();
    }
    assert_eq!(sessions.connected(), (2, 3));
    let devices = process.double.devices().await;
    assert!(devices.len() == 2 && devices.iter().all(|device| device.connected && device.logins == 1));
}

#[tokio::test]
async fn while_half_of_them_come_and_go_the_others_deliver() {
    const FLAPS: u8 = 3;
    const EACH: u8 = 10;
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let all = linked(&process, &sessions, 6).await;
    let (steady, flapping) = all.split_at(3);
    let watches: Vec<_> = steady.iter().map(|session| session.watch()).collect();
    for flap in 0..FLAPS {
        for nth in 4..=6 {
            process.double.strike(&number(nth), Strike::Drop).await.unwrap();
        }
        for session in flapping {
            until(session, "it is lost", |status| (status.name() == "disconnected").then_some(())).await;
        }
        // While they are away, and while they come back.
        let back = async {
            for session in flapping {
                connected(session).await;
            }
        };
        let deliver = async {
            for n in 0..EACH {
                for (nth, session) in (0_u8..).zip(steady) {
                    send(session, EACH * (3 * flap + nth) + n, ANNA, "all the while").await.unwrap();
                }
            }
        };
        tokio::join!(back, deliver);
    }
    assert_eq!(process.double.inbox().all().len(), usize::from(3 * FLAPS * EACH));
    assert!(watches.iter().all(|watch| !watch.has_changed().unwrap()), "the steady ones have not moved");
    for (nth, session) in (100_u8..).zip(flapping) {
        send(session, nth, ANNA, "back again").await.unwrap();
    }
}

#[tokio::test]
async fn all_of_them_are_back_after_a_restart_one_after_the_other() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.entrance.apart = Duration::from_millis(200);
    let process = Process::with(double, set).await;
    let before = process.sessions(1);
    drop(linked(&process, &before, 6).await);
    before.drain().await;
    drop(before);
    let begun = Instant::now();
    let after = process.sessions(2);
    for nth in 1..=6 {
        connected(&*found(&after, nth).await).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "five times a fifth of a second: {:?}", begun.elapsed());
    assert_eq!(after.connected(), (6, 6));
}

#[tokio::test]
async fn a_message_goes_through_the_number_that_knows_the_recipient_and_through_another_when_that_cannot() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let all = linked(&process, &sessions, 2).await;
    let to = Phone::parse(ANNA).unwrap();
    let through = |nth: u8| {
        let (sessions, to, double) = (&sessions, &to, &process.double);
        async move {
            let letter = Letter { reference: reference(nth), to, text: "Your code is 123456" };
            let id = within("sending", sessions.send(id(1).tenant, None, letter)).await?.provider_id.unwrap();
            Ok::<_, SendError>(within("it", double.inbox().wait(|message| message.id == id)).await.from)
        }
    };
    let first = through(1).await.unwrap();
    for nth in 2..10 {
        assert_eq!(through(nth).await.unwrap(), first);
    }
    // It is too much for that one.
    process.double.arm(Rule::once(Fault::AckError { code: 429 }, &first)).await;
    let other = through(10).await.unwrap();
    assert_ne!(other, first);
    for session in &all {
        session.stop().await;
    }
    assert!(matches!(through(11).await, Err(SendError::Away { .. })));
}

#[tokio::test]
async fn a_message_that_names_its_number_goes_through_that_one_and_through_no_other() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let all = linked(&process, &sessions, 2).await;
    let to = Phone::parse(ANNA).unwrap();
    for (nth, named) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
        let letter = Letter { reference: reference(nth), to: &to, text: "Your order has arrived." };
        let sent = sessions.send(id(1).tenant, Some(id(named).connection), letter);
        let sent = within("sending", sent).await.unwrap().provider_id.unwrap();
        let received = within("it", process.double.inbox().wait(|message| message.id == sent)).await;
        assert_eq!(received.from, number(named));
    }
    all[1].stop().await;
    let letter = Letter { reference: reference(5), to: &to, text: "Your order has arrived." };
    let sent = within("sending", sessions.send(id(1).tenant, Some(id(2).connection), letter)).await;
    assert!(matches!(sent, Err(SendError::Away { .. })), "{sent:?}");
    assert!(all[0].status().is_connected());
}

#[tokio::test]
async fn tenants_who_look_at_a_qr_hold_up_nobody() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.entrance.at_once = 1;
    let process = Process::with(double, set).await;
    let sessions = process.sessions(1);
    let looking = [sessions.start(id(1)).await.unwrap(), sessions.start(id(2)).await.unwrap()];
    for session in &looking {
        qr(session).await;
    }
    let session = sessions.start(id(3)).await.unwrap();
    let shown = qr(&session).await;
    within("the pairing", process.double.scan(&number(3), &shown)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn one_that_is_not_connected_is_taken_off_the_phone_as_well() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    drop(linked(&process, &sessions, 1).await);
    sessions.disconnect(id(1)).await;
    assert!(sessions.log_out(id(1)).await.unwrap(), "the phone knows");
    assert!(process.double.devices().await.is_empty());
    assert!(!process.reach.has(id(1)).await);
}

#[tokio::test]
async fn a_number_that_is_locked_out_of_writing_to_strangers_leaves_them_to_another() {
    let process = Process::new().await;
    let sessions = process.sessions(1);
    let _all = linked(&process, &sessions, 2).await;
    process.double.set_time_lock(&number(1), Some(4_102_444_800)).await.unwrap();
    for nth in 0..6 {
        // Of six strangers one would be the first number's, but for one case in 64.
        let to = Phone::parse(&format!("+4477009001{nth:02}")).unwrap();
        let letter = Letter { reference: reference(nth), to: &to, text: "Your code is 123456" };
        let id = within("sending", sessions.send(id(1).tenant, None, letter)).await.unwrap().provider_id.unwrap();
        let received = within("it", process.double.inbox().wait(|message| message.id == id)).await;
        assert_eq!(received.from, number(2));
    }
    let health = sessions.find(id(1)).unwrap().health();
    assert_eq!(health.grade, Grade::Limited, "it was tried, and that is known");
}
