//! At any moment one process keeps a session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use wotp_channel_whatsapp::{Away, KeepError, Session, Status};
use wotp_core::ports::{Clock, SendError};

use crate::desk::{Desk, sessions};
use crate::tenant::{ANNA, Process, TENANT, connected, id, qr, send, settings, until, within};

/// Two processes over the same store, the first of which keeps a session that is linked.
struct Two {
    first: Process,
    second: Process,
    desk: Arc<Desk>,
}

impl Two {
    async fn new() -> Self {
        let first = Process::new().await;
        let second = Process::over(first.double.clone(), settings(&first.double), first.memory.clone());
        Self { first, second, desk: Desk::new() }
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

async fn found(sessions: &wotp_channel_whatsapp::Sessions) -> Arc<Session> {
    within("it is kept", async {
        loop {
            match sessions.find(id(1)) {
                Some(session) => return session,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn of_two_processes_that_want_a_session_one_gets_it() {
    let two = Two::new().await;
    let (first, second) = (sessions(&two.first, &two.desk, 1), sessions(&two.second, &two.desk, 2));
    let (one, other) = tokio::join!(first.start(id(1)), second.start(id(1)));
    assert!(matches!((&one, &other), (Ok(_), Err(KeepError::Elsewhere)) | (Err(KeepError::Elsewhere), Ok(_))));
    assert_eq!(first.len() + second.len(), 1);
}

#[tokio::test]
async fn a_process_that_drains_lets_another_take_over_at_once_without_a_conflict() {
    let two = Two::new().await;
    let (first, second) = (sessions(&two.first, &two.desk, 1), sessions(&two.second, &two.desk, 2));
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let stood = history(&session);
    second.keep([id(1)]).await;
    assert!(second.is_empty());
    first.drain().await;
    assert!(first.is_empty());
    assert!(matches!(first.start(id(1)).await, Err(KeepError::Draining)));
    let taken = found(&second).await;
    connected(&taken).await;
    send(&taken, 1, ANNA, "from the second").await.unwrap();
    assert!(!stood.lock().unwrap().contains(&"replaced"), "{stood:?}");
    assert_eq!(session.status().name(), "disconnected");
}

#[tokio::test]
async fn a_process_that_loses_a_lease_sends_nothing_any_more_and_is_gone_when_the_next_logs_in() {
    let two = Two::new().await;
    let (first, second) = (sessions(&two.first, &two.desk, 1), sessions(&two.second, &two.desk, 2));
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    let stood = history(&session);
    // Not wanted any more after it was lost: otherwise it would be taken back when it is free.
    two.desk.give_to(id(1), 9);
    taken_over(&session).await;
    assert!(matches!(send(&session, 1, ANNA, "no more").await, Err(SendError::Away { .. })));
    assert!(first.is_empty());
    within("it is gone", two.first.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    two.desk.give_to(id(1), 2);
    let taken = second.start(id(1)).await.unwrap();
    connected(&taken).await;
    send(&taken, 2, ANNA, "from the second").await.unwrap();
    assert!(!stood.lock().unwrap().contains(&"replaced"), "{stood:?}");
    assert_eq!(two.first.double.inbox().all().len(), 1);
}

#[tokio::test]
async fn a_process_that_cannot_prolong_a_lease_is_gone_before_it_ends() {
    let two = Two::new().await;
    let first = sessions(&two.first, &two.desk, 1);
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    two.desk.out_of_reach.store(true, Ordering::SeqCst);
    taken_over(&session).await;
    within("it is gone", two.first.double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;
    assert!(two.first.clock.now() < two.desk.until(id(1)), "another may have logged in by now");
    assert!(first.find(id(1)).is_none());
    // It comes back once leases can be had again.
    two.desk.out_of_reach.store(false, Ordering::SeqCst);
    connected(&*found(&first).await).await;
}

#[tokio::test]
async fn what_a_process_that_died_had_is_taken_over_when_its_lease_has_ended() {
    let two = Two::new().await;
    let (first, second) = (sessions(&two.first, &two.desk, 1), sessions(&two.second, &two.desk, 2));
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    send(&session, 1, ANNA, "from the first").await.unwrap();
    second.keep([id(1)]).await;
    // It gives nothing back.
    drop((session, first));
    let taken = found(&second).await;
    connected(&taken).await;
    let sent = send(&taken, 1, ANNA, "from the first").await.unwrap();
    let id = sent.provider_id.unwrap();
    let received = within("again", two.first.double.inbox().wait(|message| message.times_sent == 2)).await;
    assert_eq!(received.id, id, "the same message");
    assert_eq!(two.first.double.inbox().all().len(), 1);
}

#[tokio::test]
async fn a_session_that_was_disconnected_or_logged_out_is_nobodys() {
    let two = Two::new().await;
    let (first, second) = (sessions(&two.first, &two.desk, 1), sessions(&two.second, &two.desk, 2));
    let session = first.start(id(1)).await.unwrap();
    two.link(&session).await;
    first.disconnect(id(1)).await;
    assert!(first.is_empty());
    let session = second.start(id(1)).await.unwrap();
    connected(&session).await;
    assert!(matches!(first.log_out(id(1)).await, Err(KeepError::Elsewhere)));
    assert!(second.log_out(id(1)).await.unwrap());
    assert!(second.is_empty() && !two.first.memory.has(id(1)));
    assert!(two.first.double.devices().await.is_empty());
    // One that no phone is linked to does not begin by itself.
    first.keep([id(1)]).await;
    assert_eq!(found(&first).await.status().name(), "unpaired");
}
