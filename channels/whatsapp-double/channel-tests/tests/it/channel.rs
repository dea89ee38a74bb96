//! The channel keeps what every channel promises.

use wotp_channel_whatsapp::WhatsApp;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Channel as _, SendError};
use wotp_core::testing::channel::{self, Received, outgoing};

use crate::desk::{Desk, sessions};
use crate::tenant::{Process, TENANT, connected, id, qr, within};

#[tokio::test]
async fn it_keeps_what_every_channel_promises() {
    let process = Process::new().await;
    let sessions = sessions(&process, &Desk::new(), 1);
    let whatsapp = WhatsApp::new(sessions.clone());
    let mut session = id(1);
    session.tenant = outgoing(AddressKind::Phone, 1).tenant;
    assert!(matches!(whatsapp.send(&outgoing(AddressKind::Phone, 1)).await, Err(SendError::Away { .. })));
    let session = sessions.start(session).await.unwrap();
    assert!(whatsapp.probe().await.is_err(), "no session is connected");
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(TENANT, &qr)).await.unwrap();
    connected(&session).await;
    let received = || {
        let all = process.double.inbox().all();
        all.into_iter()
            .map(|message| Received { to: format!("+{}", message.to), text: message.text.unwrap(), code: None })
            .collect()
    };
    within("all of it", channel::holds(&whatsapp, received)).await;
    // Nobody else's message goes through it.
    let mut message = outgoing(AddressKind::Phone, 90);
    message.tenant = id(1).tenant;
    let refused = whatsapp.send(&message).await.unwrap_err();
    assert!(matches!(refused, SendError::Away { .. }));
    channel::tells_no_secret(&refused, &message);
    let refused = whatsapp.send(&outgoing(AddressKind::Email, 91)).await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { reason: DeliveryFailure::InvalidRecipient, .. }));
}

#[tokio::test]
async fn what_it_says_of_a_failure_shows_neither_the_number_nor_the_code() {
    use wotp_whatsapp_double::{Fault, Rule};
    let process = Process::new().await;
    let sessions = sessions(&process, &Desk::new(), 1);
    let whatsapp = WhatsApp::new(sessions.clone());
    let mut session = id(1);
    session.tenant = outgoing(AddressKind::Phone, 1).tenant;
    let session = sessions.start(session).await.unwrap();
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(TENANT, &qr)).await.unwrap();
    connected(&session).await;
    let overlimit = |namespace: &str| Fault::IqError {
        code: 429,
        text: "rate-overlimit".to_owned(),
        namespace: Some(namespace.to_owned()),
    };
    for (nth, fault) in (1..).zip([
        Fault::AckError { code: 463 },
        Fault::AckError { code: 475 },
        overlimit("usync"),
        Fault::AckError { code: 429 },
    ]) {
        // The last is refused before it is sent, because of what was refused before.
        process.double.arm(Rule::once(fault, TENANT)).await;
        let message = outgoing(AddressKind::Phone, nth);
        let error = within("sending", whatsapp.send(&message)).await.unwrap_err();
        channel::tells_no_secret(&error, &message);
        channel::tells_no_secret(&error, &outgoing(AddressKind::Phone, 1));
        process.double.disarm().await;
    }
    process.double.set_registered("+12025550177", false).await.unwrap();
}
