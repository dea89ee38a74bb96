//! At any moment one process keeps a session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use wotp_channel_whatsapp::{Away, KeepError, Session, SessionId, Status, Tenure};
use wotp_core::app::Wanted;
use wotp_core::domain::live_connection::{LiveStatus, Standing, Wish};
use wotp_core::ports::{Clock, SendError};
use wotp_whatsapp_double::Double;

use crate::tenant::{ANNA, LONG, Process, TENANT, connected, found, id, qr, send, settings, until, within};

/// Two processes over the same store, the first of which keeps a session that is linked.
struct Two {
    first: Process,
    second: Process,
}

impl Two {
    async fn new() -> Self {
        let first = Process::new().await;
        let second = first.another();
        Self { first, second }
    }

    async fn link(&self, session: &Session) {
        let qr = qr(session).await;
        within("the pairing", self.first.double.scan(TENANT, &qr)).await.unwrap();
        connected(session).await;
    }
}

/// Where a session has stood, as far as that was seen.
fn history(session: &Session) -> Arc<Mutex<Vec<&'static str>>> {
    let (history, mut watch) = (Arc::new(Mutex::new(Vec::new())), session.watch());
    let seen = Arc::clone(&history);
    tokio::spawn(async move {
        while watch.changed().await.is_ok() {
            seen.lock().unwrap().push(watch.borrow_and_update().name());
        }
    });
    history
}

async fn taken_over(session: &Session) {
    until(session, "it is another's", |status| {
        matches!(status, Status::Disconnected { why: Away::TakenOver, .. }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_two_processes_that_want_a_session_one_gets_it() {
    let two = Two::new().await;
    let (first, second) = (two.first.sessions(1), two.second.sessions(2));
    let (one, other) = tokio::join!(first.start(id(1)), second.start(id(1)));
    assert!(matches!((&one, &other), (Ok(_), Err(KeepError::Elsewhere)) | (Err(KeepError::Elsewhere), Ok(_))));
    assert_eq!(first.len() + second.len(), 1);
}

#[tokio::test]
async fn a_process_that_drains_lets_another_take_over_at_once_without_a_conflict() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let second = two.second.sessions(2);
    let stood = history(&session);
    assert!(second.is_empty());
    first.drain().await;
    assert!(first.is_empty());
    assert!(matches!(first.start(id(1)).await, Err(KeepError::Draining)));
    let taken = found(&second, 1).await;
    connected(&taken).await;
    send(&taken, 1, ANNA, "from the second").await.unwrap();
    assert!(!stood.lock().unwrap().contains(&"replaced"), "{stood:?}");
    assert_eq!(session.status().name(), "disconnected");
}

#[tokio::test]
async fn a_process_that_loses_a_lease_sends_nothing_any_more_and_is_gone_when_the_next_logs_in() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let second = two.second.sessions(2);
    let stood = history(&session);
    two.first.reach.give_to(id(1), 9).await;
    taken_over(&session).await;
    assert!(matches!(send(&session, 1, ANNA, "no more").await, Err(SendError::Away { .. })));
    assert!(first.is_empty());
    within("it is gone", two.first.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    two.first.reach.give_to(id(1), 2).await;
    let taken = second.start(id(1)).await.unwrap();
    connected(&taken).await;
    send(&taken, 2, ANNA, "from the second").await.unwrap();
    assert!(!stood.lock().unwrap().contains(&"replaced"), "{stood:?}");
    assert_eq!(two.first.double.inbox().all().len(), 1);
}

#[tokio::test]
async fn a_process_that_cannot_prolong_a_lease_is_gone_before_it_ends() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    two.first.reach.away.store(true, Ordering::SeqCst);
    taken_over(&session).await;
    within("it is gone", two.first.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    assert!(two.first.clock.now() < two.first.reach.lease(id(1)).await.until, "another may have logged in by now");
    assert!(first.find(id(1)).is_none());
    // It comes back once leases can be had again.
    two.first.reach.away.store(false, Ordering::SeqCst);
    connected(&*found(&first, 1).await).await;
}

#[tokio::test]
async fn what_a_process_that_died_had_is_taken_over_within_fifteen_seconds() {
    let two = Two::new().await;
    let tenure = Tenure::default();
    let first = two.first.sessions_for(1, tenure);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let second = two.second.sessions_for(2, tenure);
    send(&session, 1, ANNA, "from the first").await.unwrap();
    // It gives nothing back.
    drop((session, first));
    let died = two.first.clock.now();
    let taken = found(&second, 1).await;
    connected(&taken).await;
    let sent = send(&taken, 1, ANNA, "from the first").await.unwrap();
    assert!(two.first.clock.now().duration_since(died) < SignedDuration::from_secs(15));
    let id = sent.provider_id.unwrap();
    let received = within("again", two.first.double.inbox().wait(|message| message.times_sent == 2)).await;
    assert_eq!(received.id, id, "the same message");
    assert_eq!(two.first.double.inbox().all().len(), 1);
}

#[tokio::test]
async fn all_that_a_process_that_died_had_of_a_tenant_one_of_two_others_has_within_fifteen_seconds() {
    let two = Two::new().await;
    let (third, double, tenure) = (two.first.another(), &two.first.double, Tenure::default());
    let first = two.first.sessions_for(1, tenure);
    for nth in 1..=4 {
        let session = first.start(id(nth)).await.unwrap();
        let qr = qr(&session).await;
        within("the pairing", double.scan(&format!("120255501{nth:02}"), &qr)).await.unwrap();
        connected(&session).await;
    }
    let others = [two.second.sessions_for(2, tenure), third.sessions_for(3, tenure)];
    // It gives nothing back.
    drop(first);
    let died = two.first.clock.now();
    let again = within(
        "all are logged in again",
        double.wait_for(|devices| {
            let again = devices.iter().all(|device| device.connected && device.logins == 2);
            again.then_some(devices.len())
        }),
    )
    .await;
    assert!(two.first.clock.now().duration_since(died) < SignedDuration::from_secs(15));
    assert_eq!(again, 4);
    let mut kept = others.each_ref().map(|sessions| sessions.len());
    kept.sort_unstable();
    assert_eq!(kept, [0, 4]);
}

#[tokio::test]
async fn a_session_that_is_to_leave_while_whatsapp_is_away_is_taken_off_its_phone_once_it_is_back() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.patience.leave = Duration::from_millis(100);
    let process = Process::with(double, set).await;
    let sessions = process.sessions(1);
    let session = sessions.start(id(1)).await.unwrap();
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(TENANT, &qr)).await.unwrap();
    connected(&session).await;
    process.double.down().await;
    until(&session, "it is lost", |status| (status.name() == "disconnected").then_some(())).await;
    sessions.wishes.wish(id(1), Wish::Leave).await;
    for _ in 0..3 {
        assert!(matches!(sessions.follow(id(1), &Wanted::Leave).await, Err(KeepError::NotTold)));
    }
    assert!(process.reach.has(id(1)).await && sessions.wishes.known(id(1)).await, "with what it is to log in");
    process.double.up().await.unwrap();
    within("it is off the phone", process.double.wait_for(|devices| devices.is_empty().then_some(()))).await;
    within("it is gone", async {
        while sessions.wishes.known(id(1)).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!process.reach.has(id(1)).await && sessions.is_empty());
}

#[tokio::test]
async fn a_session_that_was_disconnected_or_logged_out_is_nobodys() {
    let two = Two::new().await;
    // Neither looks at what is wanted but when its own tenant says so.
    let first = two.first.sessions_for(1, LONG);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let second = two.second.sessions_for(2, LONG);
    first.disconnect(id(1)).await;
    assert!(first.is_empty());
    let session = second.start(id(1)).await.unwrap();
    connected(&session).await;
    assert!(matches!(first.log_out(id(1)).await, Err(KeepError::Elsewhere)));
    assert!(second.log_out(id(1)).await.unwrap());
    assert!(second.is_empty() && !two.first.reach.has(id(1)).await);
    assert!(two.first.double.devices().await.is_empty());
}

#[tokio::test]
async fn one_that_no_phone_is_linked_to_does_not_begin_by_itself() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    qr(&session).await;
    first.drain().await;
    // Whoever asked for it looks at no QR any more: until then the next shows one.
    two.first.clock.advance(SignedDuration::from_mins(11));
    let second = two.second.sessions(2);
    assert_eq!(found(&second, 1).await.status().name(), "unpaired");
}

#[tokio::test]
async fn what_one_process_disconnects_another_ends_and_nobody_begins_again() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let second = two.second.sessions(2);
    second.disconnect(id(1)).await;
    within("it is gone", two.first.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    // Both look at what is wanted and what is free: one of them is to take this.
    for nth in [2, 3] {
        let other = two.first.sessions(nth + 10);
        other.start(id(nth)).await.unwrap();
        other.drain().await;
        within("it is taken", async {
            while first.find(id(nth)).is_none() && second.find(id(nth)).is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert!(first.find(id(1)).is_none() && second.find(id(1)).is_none());
    // Until somebody starts it.
    first.drain().await;
    connected(&second.start(id(1)).await.unwrap()).await;
    assert_eq!(two.first.double.devices().await[0].logins, 2);
}

#[tokio::test]
async fn what_is_to_leave_is_taken_off_its_phone_by_whoever_has_it_and_nothing_is_left() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    // One that no phone was linked to; the third never began.
    qr(&first.start(id(2)).await.unwrap()).await;
    let second = two.second.sessions(2);
    second.delete(&[id(1), id(2), id(3)].into()).await;
    assert!(two.first.double.devices().await.is_empty(), "the phone knows");
    assert!(!two.first.reach.has(id(1)).await);
    assert!(first.is_empty() && second.is_empty());
}

#[tokio::test]
async fn where_it_stands_is_told_to_all_by_whoever_has_it() {
    let two = Two::new().await;
    let first = two.first.sessions(1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let second = two.second.sessions(2);
    let told = |process: &Process| process.told.standings.subscribe();
    let stands = |status: LiveStatus| {
        move |all: &Vec<(SessionId, u64, Standing)>| all.last().is_some_and(|(_, _, told)| told.status == status)
    };
    let mut of_first = told(&two.first);
    let connected = within("told", of_first.wait_for(stands(LiveStatus::Connected))).await.unwrap().clone();
    let (of, fence, standing) = connected.last().unwrap().clone();
    assert_eq!((of, standing.number.unwrap().digits().to_owned()), (id(1), TENANT.to_owned()));
    assert_eq!(standing.health.unwrap().sent_today, 0);
    let shown = connected.iter().find_map(|(_, _, told)| told.qr.clone());
    assert!(shown.is_some(), "the QR was told as well");
    assert!(connected.iter().all(|(_, _, told)| told.status == LiveStatus::Pairing || told.qr.is_none()));
    // What has become of its sender is told after a while.
    send(&session, 1, ANNA, "one").await.unwrap();
    let sent = |all: &Vec<(SessionId, u64, Standing)>| {
        all.last().is_some_and(|(_, _, told)| told.health.as_ref().is_some_and(|health| health.sent_today == 1))
    };
    within("the count", of_first.wait_for(sent)).await.unwrap();
    first.drain().await;
    let last = two.first.told.standings.borrow().last().unwrap().2.clone();
    assert_eq!((last.status, last.reason.as_deref()), (LiveStatus::Disconnected, Some("stopped")));
    let mut of_second = told(&two.second);
    let taken = within("told", of_second.wait_for(stands(LiveStatus::Connected))).await.unwrap().clone();
    assert!(taken.iter().all(|(_, by, _)| *by > fence));
    drop(second);
}
