//! What WhatsApp refuses, and what it does not acknowledge, goes out by the next channel; and what comes late is told.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::block_in_place;
use wotp_whatsapp_double::{Double, Fault, Receipt, Receipts, Rule};

use crate::linked::{ANNA, TENANT, linked, next};
use crate::process::{Place, Server};

/// Others whom codes are for: nobody is sent two at once.
const BERT: &str = "+447700900456";
const CLARA: &str = "+447700900789";

/// What is known of each delivery: its channel, how far it has come, and why no further.
fn deliveries(verification: &Value) -> Vec<[&str; 3]> {
    let all = verification["deliveries"].as_array().unwrap();
    all.iter().map(|one| ["channel", "status", "reason"].map(|name| one[name].as_str().unwrap_or_default())).collect()
}

/// A server, and a tenant whose number is linked.
struct Stage {
    double: Double,
    server: Server,
    key: String,
    _place: Place,
}

impl Stage {
    async fn set() -> Self {
        let double = Double::start().await.unwrap();
        let place = Place::with_console(double.url());
        let key = place.tenant("Acme");
        let server = block_in_place(|| Server::start(&place));
        linked(&server, &double, &key).await;
        for person in [ANNA, BERT, CLARA] {
            double.set_receipts(person, Receipts::None).await.unwrap();
        }
        Self { double, server, key, _place: place }
    }

    /// Starts a verification, in whose message this goes wrong. Its id.
    async fn starts(&self, to: &str, fault: Fault) -> String {
        self.double.arm(Rule::once(fault, TENANT)).await;
        let asked = json!({ "to": to, "channels": ["whatsapp", "console"] });
        let started = block_in_place(|| self.server.post("/v1/verifications", &self.key, &asked, 201));
        started["id"].as_str().unwrap().to_owned()
    }

    /// Waits until its deliveries are these.
    fn are(&self, id: &str, expected: &[[&str; 3]]) {
        let what = format!("{expected:?}");
        block_in_place(|| {
            self.server.verification(id, &self.key, &what, |found| deliveries(found) == expected);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whatsapp_refuses_goes_out_by_the_next_channel() {
    let stage = Stage::set().await;
    let id = stage.starts(ANNA, Fault::AckError { code: 463 }).await;
    stage.are(&id, &[["whatsapp", "failed", "rejected"], ["console", "sent", ""]]);
    assert!(stage.double.inbox().all().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_comes_after_the_next_channel_had_the_code_is_told_all_the_same() {
    let stage = Stage::set().await;
    let mut seen = BTreeSet::new();
    let late = stage.starts(BERT, Fault::AckLate { milliseconds: 12_000 }).await;
    let lost = stage.starts(CLARA, Fault::AckLost).await;
    for id in [&late, &lost] {
        stage.are(id, &[["whatsapp", "failed", "no_ack"], ["console", "sent", ""]]);
    }
    stage.are(&late, &[["whatsapp", "sent", ""], ["console", "sent", ""]]);
    // Their phones had it all the while, once; what one of them tells is as good as an acknowledgement.
    for _ in 0..2 {
        let message = next(&stage.double, &mut seen).await;
        assert_eq!(message.times_sent, 1);
        stage.double.receipt(&message.id, Receipt::Delivered).await.unwrap();
    }
    for id in [&late, &lost] {
        stage.are(id, &[["whatsapp", "delivered", ""], ["console", "sent", ""]]);
    }
    assert_eq!(stage.double.inbox().all().len(), 2);
}
