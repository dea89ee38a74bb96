//! The email channel against a real mail server on loopback, good and bad.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod server;

use std::net::TcpListener;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use server::{Certificates, Server};
use tokio::net::TcpSocket;
use wotp_channel_email::{Email, Settings, Tls};
use wotp_core::domain::address::{Address, AddressKind};
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};
use wotp_core::testing::channel::{self, Received, outgoing, tells_no_secret};

fn settings(port: u16) -> Settings {
    Settings { port, tls: Tls::None, ..Settings::new("127.0.0.1", "House <codes@mail.example.com>") }
}

fn plain(server: &Server) -> Email {
    Email::new(settings(server.port)).unwrap()
}

fn good() -> Outgoing {
    outgoing(AddressKind::Email, 1)
}

/// To somebody for whom the server does what it was told to do wrong.
fn to(address: &str) -> Outgoing {
    Outgoing { to: Address::parse(address).unwrap(), ..good() }
}

async fn failure(email: &Email, message: &Outgoing) -> SendError {
    let error = email.send(message).await.expect_err("this cannot be sent");
    tells_no_secret(&error, message);
    error
}

async fn refusal(email: &Email, message: &Outgoing) -> DeliveryFailure {
    match failure(email, message).await {
        SendError::Refused { reason, .. } => reason,
        other => panic!("not a refusal: {other}"),
    }
}

fn header<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = message["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn email_keeps_the_contract() {
    let server = Server::start(&[]);
    let inbox = || {
        let messages = server.messages();
        let read = |message: &Value| {
            // The code as a person sees it: alone, in the HTML.
            let html = message["html"].as_str().unwrap();
            let code = html.split_once("letter-spacing:6px\">").map(|(_, rest)| rest.split('<').next().unwrap());
            Received {
                to: message["to"][0].as_str().unwrap().to_owned(),
                text: message["text"].as_str().unwrap().to_owned(),
                code: code.map(str::to_owned),
            }
        };
        messages.iter().map(read).collect()
    };
    channel::holds(&plain(&server), inbox).await;
}

#[tokio::test]
async fn a_message_bears_its_headers_and_nobody_elses() {
    let server = Server::start(&[]);
    let message = Outgoing {
        brand: "Söhne \"& Co\" <x>\r\nBcc: eve@example.org".to_owned(),
        subject: "קוד 👋\r\nTo: eve@example.org\r\n\r\nbody".to_owned(),
        ..good()
    };
    let acknowledged = plain(&server).send(&message).await.unwrap();
    let expected = Acknowledged { provider_id: Some("4F2A1C".to_owned()), reached: DeliveryStatus::Sent, cost: None };
    assert_eq!(acknowledged, expected);

    let [arrived] = &server.messages()[..] else { panic!("one message was sent") };
    assert_eq!(arrived["sender"], "codes@mail.example.com");
    assert_eq!(arrived["to"], serde_json::json!(["ada.lovelace1@example.com"]));
    assert_eq!(header(arrived, "Message-ID"), [format!("<{}@mail.example.com>", message.message_id)]);
    assert_eq!(header(arrived, "To"), ["ada.lovelace1@example.com"]);
    assert_eq!(header(arrived, "Subject"), ["קוד 👋 To: eve@example.org body"]);
    assert_eq!(header(arrived, "Auto-Submitted"), ["auto-generated"]);
    let [from] = header(arrived, "From")[..] else { panic!("one sender") };
    assert!(from.ends_with("<codes@mail.example.com>") && from.contains("Söhne"), "{from}");
    assert_eq!(header(arrived, "Date").len(), 1);
    assert_eq!(header(arrived, "Bcc"), [""; 0]);
}

#[tokio::test]
async fn mail_and_password_travel_inside_tls() {
    let certificates = Certificates::make();
    for (name, tls) in [("starttls", Tls::StartTls), ("tls", Tls::Tls)] {
        let server = certificates.serve(name, &["--login", "acme:correct horse"]);
        let email = Email::new(Settings {
            tls,
            username: Some("acme".to_owned()),
            password: Some("correct horse".to_owned().into()),
            extra_root_certificate_pem: Some(certificates.root()),
            ..settings(server.port)
        })
        .unwrap();
        assert_eq!(email.probe().await, Ok(()), "{name}");
        email.send(&good()).await.unwrap();
        let [arrived] = &server.messages()[..] else { panic!("one message was sent") };
        assert_eq!((&arrived["tls"], &arrived["login"]), (&true.into(), &"acme".into()), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let certificates = Certificates::make();
    for (name, tls) in [("starttls", Tls::StartTls), ("tls", Tls::Tls)] {
        let server = certificates.serve(name, &[]);
        let unknown = Settings { tls, ..settings(server.port) };
        // Trusted, and made out to 127.0.0.1 alone.
        let misnamed = Settings {
            host: "localhost".to_owned(),
            extra_root_certificate_pem: Some(certificates.root()),
            ..unknown.clone()
        };
        for settings in [unknown, misnamed] {
            let email = Email::new(settings).unwrap();
            assert_eq!(refusal(&email, &good()).await, DeliveryFailure::Misconfigured, "{name}");
            let advice = email.probe().await.unwrap_err();
            assert!(advice.contains("is not trusted") && advice.contains("extra root"), "{advice}");
        }
        assert_eq!(server.messages().len(), 0);
    }
}

#[tokio::test]
async fn a_server_without_the_wanted_tls_gets_no_mail() {
    let server = Server::start(&[]);
    for (tls, other) in [(Tls::StartTls, "set `tls` to `tls`"), (Tls::Tls, "set `tls` to `starttls`")] {
        let email = Email::new(Settings { tls, ..settings(server.port) }).unwrap();
        assert_eq!(refusal(&email, &good()).await, DeliveryFailure::Misconfigured, "{tls:?}");
        let advice = email.probe().await.unwrap_err();
        assert!(advice.contains(other), "{advice}");
    }
    assert_eq!(server.messages().len(), 0);
}

#[tokio::test]
async fn a_wrong_password_and_none_at_all_are_misconfigured() {
    let server = Server::start(&["--login", "acme:correct horse"]);
    let wrong = Email::new(Settings {
        username: Some("acme".to_owned()),
        password: Some("battery staple".to_owned().into()),
        ..settings(server.port)
    })
    .unwrap();
    assert_eq!(refusal(&wrong, &good()).await, DeliveryFailure::Misconfigured);
    let advice = wrong.probe().await.unwrap_err();
    assert!(advice.contains("refuses the user name or password (535"), "{advice}");
    assert!(!advice.contains("staple"), "{advice}");

    assert_eq!(refusal(&plain(&server), &good()).await, DeliveryFailure::Misconfigured);
    assert_eq!(server.messages().len(), 0);
}

#[tokio::test]
async fn an_unknown_recipient_is_refused_and_the_connection_kept() {
    let server = Server::start(&["--recipient-answer", "550 5.1.1 <{to}>: {to} is unknown here"]);
    let email = plain(&server);
    for _ in 0..3 {
        assert_eq!(refusal(&email, &to("nobody@example.com")).await, DeliveryFailure::InvalidRecipient);
    }
    email.send(&good()).await.unwrap();
    assert_eq!((server.connections(), server.messages().len()), (1, 1));
}

#[tokio::test]
async fn a_busy_server_asks_to_wait() {
    for fault in ["--recipient-answer", "--message-answer"] {
        let server = Server::start(&[fault, "451 4.7.1 greylisted, come back later"]);
        let error = failure(&plain(&server), &to("nobody@example.com")).await;
        assert!(error.to_string().contains("451 4.7.1 greylisted"), "{error}");
        let SendError::Later { after, .. } = error else { panic!("{error}") };
        assert_eq!(after, SignedDuration::from_secs(30));
    }
}

#[tokio::test]
async fn a_refused_message_is_told_without_its_words() {
    let server = Server::start(&["--message-answer", "554 5.7.1 spam for {to}: {text}"]);
    let message = to("nobody.home@example.com");
    let error = failure(&plain(&server), &message).await;
    assert!(error.to_string().contains("554 5.7.1 spam for …: … is your Acme code"), "{error}");
    assert!(matches!(error, SendError::Refused { reason: DeliveryFailure::Rejected, .. }), "{error}");
}

#[tokio::test]
async fn a_connection_lost_after_the_message_is_unknown_and_before_it_is_later() {
    let server = Server::start(&["--break-off", "after-data"]);
    let error = failure(&plain(&server), &to("nobody@example.com")).await;
    assert!(matches!(error, SendError::Unknown { .. }), "{error}");

    let server = Server::start(&["--break-off", "after-recipient"]);
    let error = failure(&plain(&server), &to("nobody@example.com")).await;
    assert!(matches!(error, SendError::Later { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_later() {
    // Taken, so that nobody else is given it, and not listened to.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let email = Email::new(settings(port)).unwrap();
    let SendError::Later { after, .. } = failure(&email, &good()).await else { panic!("not later") };
    assert_eq!(after, SignedDuration::from_secs(5));
    let advice = email.probe().await.unwrap_err();
    assert!(advice.contains(&format!("127.0.0.1:{port} cannot be reached")), "{advice}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_later() {
    // The system completes connections that nobody accepts.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let email = Email::new(Settings { timeout: Duration::from_millis(50), ..settings(port) }).unwrap();
    let SendError::Later { after, .. } = failure(&email, &good()).await else { panic!("not later") };
    assert_eq!(after, SignedDuration::from_secs(5));
    let advice = email.probe().await.unwrap_err();
    assert!(advice.contains("did not answer within 0.05 s"), "{advice}");
}

#[tokio::test]
async fn a_connection_serves_one_message_after_another() {
    let server = Server::start(&[]);
    let email = plain(&server);
    for number in 0..10 {
        email.send(&outgoing(AddressKind::Email, number)).await.unwrap();
    }
    assert_eq!((server.connections(), server.messages().len()), (1, 10));
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_costs_no_message() {
    let server = Server::start(&[]);
    let email = plain(&server);
    email.send(&outgoing(AddressKind::Email, 1)).await.unwrap();
    server.hang_up();
    email.send(&outgoing(AddressKind::Email, 2)).await.unwrap();
    assert_eq!((server.connections(), server.messages().len()), (2, 2));
}

#[tokio::test]
async fn many_messages_at_once_share_few_connections() {
    let server = Server::start(&[]);
    let email = plain(&server);
    channel::messages_sent_at_once_all_arrive(&email, AddressKind::Email, || {
        let received = |message: &Value| Received {
            to: message["to"][0].as_str().unwrap().to_owned(),
            text: message["text"].as_str().unwrap().to_owned(),
            code: None,
        };
        server.messages().iter().map(received).collect()
    })
    .await;
    assert!(server.connections() <= 8, "{}", server.connections());
}

/// Time is the test's: it jumps to the next limit as soon as everybody waits.
#[tokio::test(start_paused = true)]
async fn a_message_that_gets_no_connection_in_time_is_tried_later() {
    // Listens, and never says a word: whoever connects keeps its connection and waits.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings { timeout: Duration::from_secs(60), ..settings(silent.local_addr().unwrap().port()) };
    let email = Email::new(settings).unwrap();
    let message = good();
    let (eight, ninth) = (eight_sends(&email, &message), failure(&email, &message));
    let error = tokio::select! {
        biased;
        () = eight => panic!("a server that says nothing answered"),
        error = ninth => error,
    };
    assert!(matches!(error, SendError::Later { .. }), "{error}");
}

/// Eight sends at once, which is as many as there are connections.
async fn eight_sends(email: &Email, message: &Outgoing) {
    let send = || async { email.send(message).await.is_ok() };
    tokio::join!(send(), send(), send(), send(), send(), send(), send(), send());
}

#[tokio::test]
async fn a_caller_who_gives_up_takes_no_connection_away() {
    let server = Server::start(&[]);
    let email = plain(&server);
    for _ in 0..20 {
        // One poll: the connection is under way, and dropped.
        let given_up = tokio::time::timeout(Duration::ZERO, email.send(&good())).await;
        assert!(given_up.is_err());
    }
    email.send(&good()).await.unwrap();
}

#[tokio::test]
async fn an_address_in_any_script_is_written_to_where_the_server_can() {
    let message = to("jörg@example.com");
    let able = Server::start(&[]);
    plain(&able).send(&message).await.unwrap();
    let [arrived] = &able.messages()[..] else { panic!("one message was sent") };
    assert_eq!(arrived["to"][0], "jörg@example.com");

    let unable = Server::start(&["--ascii-only"]);
    let email = plain(&unable);
    assert_eq!(refusal(&email, &message).await, DeliveryFailure::Rejected);
    email.send(&good()).await.unwrap();
    assert_eq!(unable.connections(), 1);
}
