//! The channel keeps what every channel promises.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::runtime::Handle;
use wotp_channel_whatsapp::{Session, WhatsApp};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};
use wotp_core::testing::channel::{self, Received, outgoing};
use wotp_whatsapp_double::{Double, Fault, Rule};

use crate::tenant::{Process, TENANT, connected, id, qr, settings, within};
use crate::wishes::Kept;

/// The channel, and the messages that it said were acknowledged.
struct Acknowledging {
    whatsapp: WhatsApp,
    acknowledged: Mutex<Vec<String>>,
}

#[async_trait]
impl Channel for Acknowledging {
    fn name(&self) -> &str {
        self.whatsapp.name()
    }

    fn reaches(&self) -> &[AddressKind] {
        self.whatsapp.reaches()
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        let sent = self.whatsapp.send(outgoing).await?;
        self.acknowledged.lock().unwrap().extend(sent.provider_id.clone());
        Ok(sent)
    }

    fn keeps_accounts(&self) -> bool {
        self.whatsapp.keeps_accounts()
    }

    async fn probe(&self) -> Result<(), String> {
        self.whatsapp.probe().await
    }
}

/// The channel through these sessions.
fn through(sessions: &Kept) -> WhatsApp {
    let whatsapp = WhatsApp::default();
    whatsapp.begin(Arc::clone(sessions));
    whatsapp
}

/// A process whose store has the tenant whose messages the promises are tried with.
async fn process() -> Process {
    let double = Double::start().await.unwrap();
    let settings = settings(&double);
    Process::of(double, settings, outgoing(AddressKind::Phone, 1).tenant).await
}

/// The session of the tenant whose messages the promises are tried with.
async fn linked(process: &Process, sessions: &Kept) -> Arc<Session> {
    let mut session = id(1);
    session.tenant = outgoing(AddressKind::Phone, 1).tenant;
    let session = sessions.start(session).await.unwrap();
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(TENANT, &qr)).await.unwrap();
    connected(&session).await;
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_what_every_channel_promises() {
    let process = process().await;
    let sessions = process.sessions(1);
    let channel = Acknowledging { whatsapp: through(&sessions), acknowledged: Mutex::default() };
    assert!(matches!(channel.send(&outgoing(AddressKind::Phone, 1)).await, Err(SendError::Away { .. })));
    linked(&process, &sessions).await;
    // The phone has a message a moment after the server acknowledged it.
    let received = || {
        let acknowledged = channel.acknowledged.lock().unwrap().clone();
        let inbox = process.double.inbox();
        let all_there = async {
            for id in &acknowledged {
                inbox.wait(|message| message.id == *id).await;
            }
        };
        tokio::task::block_in_place(|| Handle::current().block_on(within("what was acknowledged", all_there)));
        let read = |message: wotp_whatsapp_double::Received| Received {
            to: format!("+{}", message.to),
            text: message.text.unwrap(),
            code: None,
        };
        inbox.all().into_iter().map(read).collect()
    };
    within("all of it", channel::holds(&channel, received)).await;
    // Nobody else's message goes through it, and none to what is no number.
    let other = Outgoing { tenant: id(1).tenant, ..outgoing(AddressKind::Phone, 90) };
    let refused = channel.send(&other).await.unwrap_err();
    assert!(matches!(refused, SendError::Away { .. }));
    channel::tells_no_secret(&refused, &other);
    let refused = channel.send(&outgoing(AddressKind::Email, 91)).await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { reason: DeliveryFailure::InvalidRecipient, .. }));
}

#[tokio::test]
async fn what_it_says_of_a_failure_shows_neither_the_number_nor_the_code() {
    let process = process().await;
    let sessions = process.sessions(1);
    let whatsapp = through(&sessions);
    linked(&process, &sessions).await;
    assert_eq!(whatsapp.probe().await, Ok(()));
    let overlimit = |namespace: &str| Fault::IqError {
        code: 429,
        text: "rate-overlimit".to_owned(),
        namespace: Some(namespace.to_owned()),
    };
    let fails = async |nth, fault: Option<Fault>| {
        if let Some(fault) = fault {
            process.double.arm(Rule::once(fault, TENANT)).await;
        }
        let message = outgoing(AddressKind::Phone, nth);
        let error = within("sending", whatsapp.send(&message)).await.unwrap_err();
        channel::tells_no_secret(&error, &message);
        assert!(process.double.armed().await.is_empty(), "it was met by {error}");
        error
    };
    process.double.set_registered("+12025550102", false).await.unwrap();
    within("sending", whatsapp.send(&outgoing(AddressKind::Phone, 1))).await.unwrap();
    let mut errors = vec![fails(2, None).await];
    let mut away = vec![fails(3, Some(overlimit("usync"))).await];
    for code in [463, 475] {
        errors.push(fails(1, Some(Fault::AckError { code })).await);
    }
    assert!(errors.iter().all(|error| matches!(error, SendError::Refused { .. })), "{errors:?}");
    away.extend([fails(1, Some(Fault::AckError { code: 429 })).await, fails(1, None).await]);
    assert!(away.iter().all(|error| matches!(error, SendError::Away { .. })), "{away:?}");
}
