//! What people write to a client.

use whatsapp_rust::prelude::*;
use wotp_whatsapp_double::{Double, Fault, Rule};

use crate::client::{ANNA, Client, TENANT, nothing_kept, within};

async fn nothing_waits(double: &Double) {
    within("all is acknowledged", double.wait_for(|devices| (devices[0].waiting == 0).then_some(()))).await;
}

#[tokio::test]
async fn what_a_person_writes_is_read_with_their_number() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    for text in ["Please confirm: 7Q4K-XY", "Are you there?"] {
        double.say(ANNA, TENANT, text).await.unwrap();
        assert_eq!(client.message().await, (text.to_owned(), ANNA.to_owned()));
    }
    nothing_waits(&double).await;
    // And it can be answered.
    let id = client.send(ANNA, "Thank you.").await;
    let received = within("the answer", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.text.as_deref(), Some("Thank you."));
}

#[tokio::test]
async fn nobody_reads_what_is_written_to_a_number_without_a_client() {
    let double = Double::start().await.unwrap();
    assert!(double.say(ANNA, TENANT, "hello?").await.is_err());
}

#[tokio::test]
async fn a_client_that_many_write_to_publishes_more_keys_before_they_run_out() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    let published = double.devices().await[0].one_time_keys;
    for nth in 0..published - 5 {
        double.say(&format!("4477009002{nth:02}"), TENANT, "hello").await.unwrap();
        client.message().await;
    }
    within("more keys", double.wait_for(|devices| (devices[0].one_time_keys > 5).then_some(()))).await;
}

#[tokio::test]
async fn what_was_written_meanwhile_comes_with_the_next_login() {
    let double = Double::start().await.unwrap();
    let kept = nothing_kept();
    let mut client = Client::linked_to(&double, TENANT, &kept).await;
    double.say(ANNA, TENANT, "first").await.unwrap();
    assert_eq!(client.message().await.0, "first");
    nothing_waits(&double).await;
    client.stop().await;
    within("gone", double.wait_for(|devices| (!devices[0].connected).then_some(()))).await;

    // More than come without being asked for.
    let written: Vec<String> = (0..12).map(|nth| format!("while away {nth}")).collect();
    for text in &written {
        double.say(ANNA, TENANT, text).await.unwrap();
    }
    let mut client = Client::start(&double, &kept).await;
    let mut read = Vec::new();
    while read.len() < written.len() {
        read.extend(
            client
                .told("what was written", |event| match event {
                    Event::Messages(batch) => {
                        assert!(batch.iter().all(|message| message.info.is_offline));
                        Some(
                            batch.iter().filter_map(|message| message.message.conversation.clone()).collect::<Vec<_>>(),
                        )
                    }
                    _ => None,
                })
                .await,
        );
    }
    assert_eq!(read, written);
    client.connected().await;
    nothing_waits(&double).await;
}

#[tokio::test]
async fn what_arrives_damaged_is_asked_for_again() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    double.arm(Rule::once(Fault::Damaged, TENANT)).await;
    double.say(ANNA, TENANT, "Please confirm: 7Q4K-XY").await.unwrap();
    assert_eq!(client.message().await.0, "Please confirm: 7Q4K-XY");
    assert!(double.armed().await.is_empty());
    assert!(client.was_told(|event| matches!(event, Event::UndecryptableMessage(_))));
    nothing_waits(&double).await;
}

#[tokio::test]
async fn who_has_another_phone_reads_what_was_encrypted_for_the_old_one() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    let id = client.send(ANNA, "to the old one").await;
    client.receipt(&id, "Delivered").await;
    double.change_phone(ANNA).await.unwrap();
    let id = client.send(ANNA, "to the new one").await;
    let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.text.as_deref(), Some("to the new one"));
    assert!(received.times_sent > 1, "the client knew nothing of it");
    double.say(ANNA, TENANT, "from the new one").await.unwrap();
    assert_eq!(client.message().await.0, "from the new one");
}

#[tokio::test]
async fn what_the_recipient_cannot_read_is_sent_again() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    double.arm(Rule::once(Fault::Undecryptable, TENANT)).await;
    let id = client.send(ANNA, "Your code is 123456").await;
    let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.text.as_deref(), Some("Your code is 123456"));
    assert_eq!(received.times_sent, 2);
    client.receipt(&id, "Delivered").await;
}
