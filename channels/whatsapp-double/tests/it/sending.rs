//! What a client sends, and what it hears of it.

use whatsapp_rust::prelude::*;
use wotp_whatsapp_double::{Double, Receipt, Receipts};

use crate::client::{ANNA, Client, TENANT, nothing_kept, within};

#[tokio::test]
async fn a_text_is_acknowledged_delivered_and_read() {
    let double = Double::start().await.unwrap();
    double.set_receipts(ANNA, Receipts::Read).await.unwrap();
    let mut client = Client::linked(&double).await;
    for text in ["Your code is 123456", "Your code is 654321"] {
        let id = client.send(ANNA, text).await;
        assert_eq!(client.ack(&id).await, None);
        client.receipt(&id, "Delivered").await;
        client.receipt(&id, "Read").await;
        let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
        assert_eq!((received.from.as_str(), received.to.as_str()), (TENANT, ANNA));
        assert_eq!(received.text.as_deref(), Some(text));
        assert_eq!(received.devices, [0]);
        assert_eq!(received.times_sent, 1);
        assert!(received.own_copy, "the tenant's phone has a copy");
    }
}

#[tokio::test]
async fn an_account_that_still_goes_by_numbers_is_written_with_by_number() {
    let double = Double::start().await.unwrap();
    let mut migrated = Client::linked(&double).await;
    const OLD: &str = "15550199";
    double.set_lid_migrated(OLD, false).await.unwrap();
    let mut old = Client::linked_to(&double, OLD, &nothing_kept()).await;
    for (client, number, by_lid) in [(&mut migrated, TENANT, true), (&mut old, OLD, false)] {
        double.say(ANNA, number, "hello").await.unwrap();
        let from = client
            .told("the message", |event| match event {
                // Not what its own phone tells it.
                Event::Messages(batch) => batch
                    .iter()
                    .find(|message| message.message.conversation.is_some())
                    .map(|message| message.info.source.sender.clone()),
                _ => None,
            })
            .await;
        assert_eq!((from.is_lid(), from.is_pn()), (by_lid, !by_lid), "the message");
        let id = client.send(ANNA, "hello").await;
        assert_eq!(client.ack(&id).await, None);
        let from = client
            .told("the receipt", |event| match event {
                Event::Receipt(receipt) => Some(receipt.source.sender.clone()),
                _ => None,
            })
            .await;
        assert_eq!((from.is_lid(), from.is_pn()), (by_lid, !by_lid));
        within("the message", double.inbox().wait(|message| message.id == id)).await;
    }
}

#[tokio::test]
async fn receipts_come_when_the_person_sends_them() {
    let double = Double::start().await.unwrap();
    double.set_receipts(ANNA, Receipts::None).await.unwrap();
    let mut client = Client::linked(&double).await;
    let id = client.send(ANNA, "Your code is 123456").await;
    within("the message", double.inbox().wait(|message| message.id == id)).await;
    double.receipt(&id, Receipt::Delivered).await.unwrap();
    client.receipt(&id, "Delivered").await;
    double.receipt(&id, Receipt::Read).await.unwrap();
    client.receipt(&id, "Read").await;
    assert!(double.receipt("NONE", Receipt::Read).await.is_err());
}

#[tokio::test]
async fn who_has_no_whatsapp_is_known_to_have_none_and_gets_nothing() {
    const BERT: &str = "447700900456";
    let double = Double::start().await.unwrap();
    double.set_registered(BERT, false).await.unwrap();
    let mut client = Client::linked(&double).await;
    let api = client.api();
    let looked_up =
        within("the look-up", api.contacts().is_on_whatsapp(&[Jid::pn(ANNA), Jid::pn(BERT)])).await.unwrap();
    let found = |number: &str| looked_up.iter().find(|found| found.jid.user == number).unwrap();
    assert!(found(ANNA).is_registered && found(ANNA).lid.is_some());
    assert!(!found(BERT).is_registered && found(BERT).lid.is_none());
    let lost = client.send(BERT, "to nobody").await;
    let id = client.send(ANNA, "to somebody").await;
    assert_eq!(client.ack(&id).await, None);
    within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert!(double.inbox().all().iter().all(|message| message.id != lost));
}

#[tokio::test]
async fn a_persons_other_devices_read_it_as_well_also_those_that_come_later() {
    let double = Double::start().await.unwrap();
    let first = double.add_companion(ANNA).await.unwrap();
    let mut client = Client::linked(&double).await;
    let id = client.send(ANNA, "to two").await;
    let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.devices, [0, first]);
    assert_eq!(client.ack(&id).await, None);

    let second = double.add_companion(ANNA).await.unwrap();
    client
        .told("the new device", |event| match event {
            Event::DeviceListUpdate(_) => Some(()),
            _ => None,
        })
        .await;
    let id = client.send(ANNA, "to three").await;
    let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.devices, [0, first, second]);
}

#[tokio::test]
async fn two_clients_write_to_each_other() {
    const OTHER: &str = "15550199";
    let double = Double::start().await.unwrap();
    let mut one = Client::linked(&double).await;
    let mut other = Client::linked_to(&double, OTHER, &nothing_kept()).await;
    let id = one.send(OTHER, "from one").await;
    assert_eq!(other.message().await, ("from one".to_owned(), TENANT.to_owned()));
    one.receipt(&id, "Delivered").await;
    other.send(TENANT, "from the other").await;
    assert_eq!(one.message().await, ("from the other".to_owned(), OTHER.to_owned()));
    // Each phone has it as well.
    let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!((received.to.as_str(), received.devices.as_slice()), (OTHER, &[0][..]));
}
