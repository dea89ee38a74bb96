//! Connections that break, logins that are refused, and others that log in.

use std::time::Duration;

use wotp_channel_whatsapp::{Away, Ban, Status};
use wotp_core::ports::SendError;
use wotp_whatsapp_double::{Double, Fault, Rule, Strike};

use crate::tenant::{ANNA, Process, TENANT, connected, id, send, settings, until, within};

/// Drops the connection, so that the next login meets a refusal.
async fn meet(process: &Process, reason: u16, code: Option<u16>, expires_in_seconds: Option<u64>) {
    process.double.arm(Rule::once(Fault::LoginFailure { reason, code, expires_in_seconds }, TENANT)).await;
    process.double.strike(TENANT, Strike::Drop).await.unwrap();
}

/// Waits until it is one of two that last.
async fn stands(session: &wotp_channel_whatsapp::Session, name: &str) -> Status {
    until(session, name, |status| (status.name() == name).then(|| status.clone())).await
}

/// Lets time pass at once, for the client and for the double, which live by the same clock.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}

/// Whoever has to be asked first does not log in, however long that takes.
async fn stays_out(process: &Process, session: &wotp_channel_whatsapp::Session, name: &str) {
    let (status, logins) = (session.status(), process.double.devices().await[0].logins);
    pass(Duration::from_secs(3_600)).await;
    assert_eq!((session.status().name(), session.status()), (name, status));
    assert_eq!(process.double.devices().await[0].logins, logins);
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.strike(TENANT, Strike::Drop).await.unwrap();
    assert!(matches!(stands(&session, "disconnected").await, Status::Disconnected { why: Away::Lost, .. }));
    connected(&session).await;
    send(&session, 1, ANNA, "after").await.unwrap();
}

#[tokio::test]
async fn while_whatsapp_is_away_nothing_is_begun_and_afterwards_it_goes_on() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.down().await;
    stands(&session, "disconnected").await;
    assert!(matches!(send(&session, 1, ANNA, "while away").await, Err(SendError::Away { .. })));
    process.double.up().await.unwrap();
    connected(&session).await;
    send(&session, 2, ANNA, "after").await.unwrap();
    assert_eq!(process.double.inbox().all().len(), 1);
}

/// As long as it takes until the client would wait for minutes, and another one is begun in its place.
#[tokio::test]
async fn two_minutes_without_whatsapp_are_over_once_it_is_back() {
    let process = Process::new().await;
    let session = process.linked().await;
    send(&session, 1, ANNA, "before").await.unwrap();
    process.double.down().await;
    stands(&session, "disconnected").await;
    pass(Duration::from_secs(120)).await;
    assert!(matches!(send(&session, 2, ANNA, "while away").await, Err(SendError::Away { .. })));
    process.double.up().await.unwrap();
    connected(&session).await;
    send(&session, 3, ANNA, "after").await.unwrap();
    let texts: Vec<_> = process.double.inbox().all().into_iter().filter_map(|message| message.text).collect();
    assert_eq!(texts, ["before", "after"]);
    let device = &process.double.devices().await[0];
    assert_eq!((device.logins, device.asked_again), (2, 0));
}

#[tokio::test]
async fn a_session_that_was_lost_for_long_is_begun_anew_rather_than_waited_for() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.patience.lost = Duration::from_secs(3);
    let process = Process::with(double, set).await;
    let session = process.linked().await;
    process.double.down().await;
    stands(&session, "disconnected").await;
    // Another client, which begins to try from the start.
    stands(&session, "connecting").await;
    process.double.up().await.unwrap();
    connected(&session).await;
    send(&session, 1, ANNA, "after").await.unwrap();
}

#[tokio::test]
async fn a_device_that_is_taken_off_the_phone_is_logged_out_and_its_keys_are_erased() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.strike(TENANT, Strike::DeviceRemoved).await.unwrap();
    stands(&session, "logged_out").await;
    // Once nothing can be sent any more the client has ended, and then they go.
    within("erased", async {
        while process.reach.has(id(1)).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    process.link(&session, TENANT).await;
}

#[tokio::test]
async fn a_login_that_is_refused_as_logged_out_is_a_logout() {
    let process = Process::new().await;
    let session = process.linked().await;
    meet(&process, 401, None, None).await;
    stands(&session, "logged_out").await;
    within("erased", async {
        while process.reach.has(id(1)).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_logs_in_with_its_keys_replaces_it_and_the_keys_stay() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.strike(TENANT, Strike::Conflict).await.unwrap();
    stands(&session, "replaced").await;
    assert!(process.reach.has(id(1)).await);
    stays_out(&process, &session, "replaced").await;
    session.start().await.unwrap();
    connected(&session).await;
    send(&session, 1, ANNA, "after").await.unwrap();
}

#[tokio::test]
async fn a_ban_for_a_time_says_until_when_and_afterwards_it_comes_back() {
    let process = Process::new().await;
    let session = process.linked().await;
    meet(&process, 402, Some(101), Some(3)).await;
    match stands(&session, "banned").await {
        Status::Banned { until: Some(_), why: Ban::Strangers } => {}
        other => panic!("{other:?}"),
    }
    assert!(process.reach.has(id(1)).await);
    assert_eq!(session.health().reasons[0].reason.as_str(), "banned");
    connected(&session).await;
    send(&session, 1, ANNA, "after").await.unwrap();
}

#[tokio::test]
async fn a_ban_without_an_end_keeps_the_keys_and_is_not_tried_again() {
    let process = Process::new().await;
    let session = process.linked().await;
    meet(&process, 403, None, None).await;
    assert!(matches!(stands(&session, "banned").await, Status::Banned { until: None, .. }));
    assert!(process.reach.has(id(1)).await);
    // Somebody starts it when WhatsApp has been talked to.
    within("it has ended", async {
        while process.double.devices().await[0].connected {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stays_out(&process, &session, "banned").await;
    assert_eq!(process.double.devices().await[0].logins, 1);
}

#[tokio::test]
async fn a_login_that_is_refused_for_now_is_tried_again() {
    let process = Process::new().await;
    let session = process.linked().await;
    meet(&process, 503, None, None).await;
    stands(&session, "disconnected").await;
    connected(&session).await;
    send(&session, 1, ANNA, "after").await.unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_for_too_much_traffic_is_begun_again_later() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.double.strike(TENANT, Strike::StreamError { code: 429 }).await.unwrap();
    stands(&session, "disconnected").await;
    assert!(matches!(send(&session, 1, ANNA, "meanwhile").await, Err(SendError::Away { .. })));
    connected(&session).await;
    send(&session, 2, ANNA, "after").await.unwrap();
}
