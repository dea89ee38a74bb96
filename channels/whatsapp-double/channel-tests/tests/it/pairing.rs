//! A phone is linked, and taken off again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wotp_channel_whatsapp::{PairError, Session, Status, Unpaired};
use wotp_core::domain::phone::Phone;
use wotp_whatsapp_double::{Double, Error, Fault, Rule};

use crate::tenant::{ANNA, Process, TENANT, connected, id, qr, send, settings, until, within};

async fn code(session: &Session) -> String {
    until(session, "a code", |status| match status {
        Status::Pairing { code: Some(code), .. } => Some(code.text.clone()),
        _ => None,
    })
    .await
}

async fn another_qr(session: &Session, than: &str) -> String {
    until(session, "another QR", |status| match status {
        Status::Pairing { qr: Some(qr), .. } if qr.text != than => Some(qr.text.clone()),
        _ => None,
    })
    .await
}

async fn another_code(session: &Session, than: &str) -> String {
    until(session, "another code", |status| match status {
        Status::Pairing { code: Some(code), .. } if code.text != than => Some(code.text.clone()),
        _ => None,
    })
    .await
}

/// So much later, of the clock that session and double live by.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Lets a QR and the five that follow it run out, one after the other. The last of them.
async fn let_qrs_run_out(session: &Session) -> String {
    let mut shown = qr(session).await;
    for seconds in [60, 20, 20, 20, 20] {
        later(seconds).await;
        shown = another_qr(session, &shown).await;
    }
    later(20).await;
    shown
}

/// What is shown once there is no QR any more, for a code that is of use for 20 seconds.
async fn only_a_code(session: &Session) -> String {
    until(session, "a code and no QR", |status| match status {
        Status::Pairing { qr: None, code: Some(code), .. } => Some(code.text.clone()),
        _ => None,
    })
    .await
}

fn phone() -> Phone {
    Phone::parse(&format!("+{TENANT}")).unwrap()
}

fn ends(session: &Session) -> wotp_core::domain::Timestamp {
    match session.status() {
        Status::Pairing { ends_at, .. } => ends_at,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_asks_again_while_a_qr_is_shown_has_the_whole_time_from_then_on() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.start().await.unwrap();
    qr(&session).await;
    let first = ends(&session);
    later(30).await;
    session.resume().await.unwrap();
    assert_eq!(ends(&session), first, "nobody has asked");
    session.start().await.unwrap();
    assert!(ends(&session).duration_since(first).as_secs() >= 30, "{} after {first}", ends(&session));
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(TENANT, &qr)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn a_qr_links_a_phone_and_what_the_server_does_then_is_no_logout() {
    let process = Process::new().await;
    let session = process.session(1).await;
    assert_eq!(session.status(), Status::Unpaired { why: Unpaired::NotAsked });
    let mut seen = session.watch();
    let seen = tokio::spawn(async move {
        let mut all = Vec::new();
        while seen.changed().await.is_ok() {
            let name = seen.borrow_and_update().name();
            all.push(name);
            if name == "connected" {
                break;
            }
        }
        all
    });
    process.link(&session, TENANT).await;
    // The server ends the connection with 515 once a phone is linked.
    let mut seen = within("it connects", seen).await.unwrap();
    seen.dedup();
    assert_eq!(seen, ["pairing", "connecting", "connected"]);
    match session.status() {
        Status::Connected { number, .. } => assert_eq!(number.digits(), TENANT),
        other => panic!("{other:?}"),
    }
    assert!(process.double.devices().await[0].connected);
}

#[tokio::test]
async fn a_qr_that_expires_is_followed_by_another() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.start().await.unwrap();
    let expired = qr(&session).await;
    process.double.expire_qr().await;
    let renewed = another_qr(&session, &expired).await;
    assert!(matches!(process.double.scan(TENANT, &expired).await, Err(Error::UnknownQr)));
    within("the pairing", process.double.scan(TENANT, &renewed)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn qrs_that_nobody_scans_follow_one_another_and_at_last_it_is_over_until_somebody_asks_again() {
    let double = Double::start().await.unwrap();
    let mut set = settings(&double);
    set.patience.pairing = Duration::from_secs(3);
    let process = Process::with(double, set).await;
    let session = process.session(1).await;
    session.start().await.unwrap();
    qr(&session).await;
    let over = Status::Unpaired { why: Unpaired::TimedOut };
    until(&session, "it is over", |status| (*status == over).then_some(())).await;
    process.link(&session, TENANT).await;
}

#[tokio::test]
async fn a_person_types_a_code() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&phone()).await.unwrap();
    let code = code(&session).await;
    assert_eq!(code.len(), 8);
    within("the pairing", process.double.enter_code(TENANT, &code)).await.unwrap();
    connected(&session).await;
    assert!(matches!(session.show_code(&phone()).await, Err(PairError::Linked)));
}

#[tokio::test]
async fn a_code_that_is_asked_for_again_is_another_and_links() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&phone()).await.unwrap();
    let first = code(&session).await;
    session.show_code(&phone()).await.unwrap();
    let second = another_code(&session, &first).await;
    within("the pairing", process.double.enter_code(TENANT, &second)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn qrs_that_are_left_to_run_out_are_followed_by_those_of_another_connection() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.start().await.unwrap();
    let last = let_qrs_run_out(&session).await;
    let renewed = another_qr(&session, &last).await;
    assert!(matches!(process.double.scan(TENANT, &last).await, Err(Error::UnknownQr)));
    within("the pairing", process.double.scan(TENANT, &renewed)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn a_code_stays_until_it_expires_and_another_follows_that_nobody_asked_for() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&phone()).await.unwrap();
    let first = code(&session).await;
    let last = let_qrs_run_out(&session).await;
    // Somebody may be typing it: with another connection it would be worth nothing.
    assert_eq!(only_a_code(&session).await, first);
    later(21).await;
    let second = another_code(&session, &first).await;
    // Beside it there is a QR again.
    another_qr(&session, &last).await;
    within("the pairing", process.double.enter_code(TENANT, &second)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn whoever_asks_for_a_code_when_the_qrs_have_run_out_has_one() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&phone()).await.unwrap();
    let first = code(&session).await;
    let_qrs_run_out(&session).await;
    only_a_code(&session).await;
    within("it is asked for", session.show_code(&phone())).await.unwrap();
    let second = another_code(&session, &first).await;
    within("the pairing", process.double.enter_code(TENANT, &second)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn a_phone_on_which_the_code_was_typed_at_last_is_waited_for() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&phone()).await.unwrap();
    let shown = |than: String| {
        let session = &session;
        until(session, "another code", move |status| match status {
            Status::Pairing { code: Some(code), .. } if code.text != than => Some(code.clone()),
            _ => None,
        })
    };
    let first = shown(String::new()).await;
    let_qrs_run_out(&session).await;
    only_a_code(&session).await;
    // Mistyped: the phone and the session begin to link each other, and for a minute nobody knows that nothing comes of it.
    let wrong = first.text.replacen(|_| true, if first.text.starts_with('1') { "2" } else { "1" }, 1);
    let refused = within("the refusal", process.double.enter_code(TENANT, &wrong)).await;
    assert!(matches!(refused, Err(Error::WrongCode)), "{refused:?}");
    later(21).await;
    let expired = |status: &Status| matches!(status, Status::Pairing { code: None, .. }).then_some(());
    until(&session, "it has expired", expired).await;
    later(30).await;
    later(12).await;
    let second = shown(first.text).await;
    let apart = second.expires_at.duration_since(first.expires_at);
    assert!(apart.as_secs() >= 219, "the session began anew while the phone might have gone on: {apart}");
    within("the pairing", process.double.enter_code(TENANT, &second.text)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn a_code_that_is_lost_with_the_connection_is_followed_by_another() {
    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&phone()).await.unwrap();
    let first = code(&session).await;
    let lost = qr(&session).await;
    process.double.expire_qr().await;
    another_qr(&session, &lost).await;
    // As soon as WhatsApp may be asked again.
    later(30).await;
    let second = another_code(&session, &first).await;
    within("the pairing", process.double.enter_code(TENANT, &second)).await.unwrap();
    connected(&session).await;
}

#[tokio::test]
async fn a_code_is_told_with_whose_phone_it_is_for() {
    let process = Process::new().await;
    let session = process.session(1).await;
    for number in [TENANT, "447700900456"] {
        session.show_code(&Phone::parse(&format!("+{number}")).unwrap()).await.unwrap();
        until(&session, "a code for it", |status| match status {
            Status::Pairing { code: Some(code), .. } => {
                code.number.as_ref().filter(|of| of.digits() == number).map(|_| ())
            }
            _ => None,
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_that_is_stopped_and_started_goes_on_without_a_phone() {
    let process = Process::new().await;
    let session = process.linked().await;
    session.stop().await;
    assert_eq!(session.status().name(), "disconnected");
    assert!(send(&session, 1, ANNA, "no").await.is_err());
    session.start().await.unwrap();
    connected(&session).await;
    send(&session, 2, ANNA, "Your code is 123456").await.unwrap();
    drop(session);
    // A process that is started again.
    let again = process.session(1).await;
    again.start().await.unwrap();
    connected(&again).await;
    send(&again, 3, ANNA, "Your code is 654321").await.unwrap();
    assert_eq!(process.double.devices().await.len(), 1);
}

#[tokio::test]
async fn a_logout_takes_it_off_the_phone_and_erases_its_keys() {
    let process = Process::new().await;
    let session = process.linked().await;
    assert!(process.reach.has(id(1)).await);
    assert!(session.log_out().await.unwrap(), "the phone knows");
    assert!(process.double.devices().await.is_empty());
    assert!(!process.reach.has(id(1)).await);
    assert_eq!(session.status().name(), "logged_out");
    // It can be linked again.
    process.link(&session, TENANT).await;
}

#[tokio::test]
async fn a_logout_that_whatsapp_does_not_take_says_that_the_phone_does_not_know() {
    let process = Process::new().await;
    let session = process.linked().await;
    let fault = Fault::IqError { code: 500, text: "internal".to_owned(), namespace: Some("md".to_owned()) };
    process.double.arm(Rule::once(fault, TENANT)).await;
    assert!(!session.log_out().await.unwrap());
    assert_eq!(process.double.devices().await.len(), 1, "it still shows the session");
    assert!(!process.reach.has(id(1)).await);
}

#[tokio::test]
async fn a_logout_that_cannot_erase_the_keys_says_so_and_can_be_repeated() {
    let process = Process::new().await;
    let session = process.linked().await;
    process.reach.away.store(true, Ordering::SeqCst);
    assert!(session.log_out().await.is_err());
    assert!(process.reach.has(id(1)).await);
    process.reach.away.store(false, Ordering::SeqCst);
    session.log_out().await.unwrap();
    assert!(!process.reach.has(id(1)).await);
}
