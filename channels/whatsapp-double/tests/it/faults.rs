//! Everything that can be made to go wrong, as the client sees it.

use std::time::Duration;

use whatsapp_rust::SendOptions;
use whatsapp_rust::prelude::*;
use whatsapp_rust::types::events::ConnectFailureReason;
use whatsapp_rust::waproto::whatsapp as wa;
use wotp_whatsapp_double::{Double, Fault, NewChatCap, Rule, Strike};

use crate::client::{ANNA, Client, TENANT, acknowledges, nothing_kept, within};

const BERT: &str = "447700900456";

/// Sends a message under an id of our own: what is sent under it again is the same message.
async fn send_as(client: &Client, id: &str, text: &str) {
    let message = wa::Message { conversation: Some(text.to_owned()), ..Default::default() };
    let options = SendOptions::default().with_message_id(id);
    let api = client.api();
    within("sending", api.send_message_with_options(Jid::pn(ANNA), message, options)).await.unwrap();
}

#[tokio::test]
async fn a_lost_acknowledgement_never_comes_though_the_message_was_delivered() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    double.arm(Rule::once(Fault::AckLost, TENANT)).await;
    let lost = client.send(ANNA, "one").await;
    client.receipt(&lost, "Delivered").await;
    let next = client.send(ANNA, "two").await;
    assert_eq!(client.ack(&next).await, None);
    assert!(!client.was_told(|event| acknowledges(event, &lost).is_some()));
}

#[tokio::test]
async fn a_late_acknowledgement_comes_after_the_receipt() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    double.arm(Rule::once(Fault::AckLate { milliseconds: 500 }, TENANT)).await;
    let id = client.send(ANNA, "one").await;
    client.receipt(&id, "Delivered").await;
    assert!(!client.was_told(|event| acknowledges(event, &id).is_some()));
    assert_eq!(client.ack(&id).await, None);
}

#[tokio::test]
async fn a_refused_message_is_acknowledged_with_the_code_and_not_delivered() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    for code in [463, 475, 429] {
        double.arm(Rule::once(Fault::AckError { code }, TENANT)).await;
        let refused = client.send(ANNA, "refused").await;
        assert_eq!(client.ack(&refused).await, Some(code.to_string()));
        let id = client.send(ANNA, "delivered").await;
        within("the message", double.inbox().wait(|message| message.id == id)).await;
        assert!(double.inbox().all().iter().all(|message| message.id != refused));
    }
}

#[tokio::test]
async fn a_message_that_was_lost_with_the_connection_is_received_once_when_it_is_sent_again() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    for (id, delivered) in [("3EB0AAAA", true), ("3EB0BBBB", false)] {
        double.arm(Rule::once(Fault::DropMidSend { delivered }, TENANT)).await;
        send_as(&client, id, id).await;
        client.disconnected().await;
        assert_eq!(double.inbox().all().iter().any(|message| message.id == id), delivered);
        client.connected().await;
        assert!(!client.was_told(|event| acknowledges(event, id).is_some()));
        send_as(&client, id, id).await;
        assert_eq!(client.ack(id).await, None);
        let received = within("the message", double.inbox().wait(|m| m.id == id && m.times_sent == 2)).await;
        assert_eq!(received.text.as_deref(), Some(id));
        assert_eq!(double.inbox().all().iter().filter(|message| message.id == id).count(), 1);
    }
}

#[tokio::test]
async fn a_refused_question_is_an_error_and_the_next_one_is_answered() {
    let double = Double::start().await.unwrap();
    let client = Client::linked(&double).await;
    let refusal = Fault::IqError { code: 429, text: "rate-overlimit".to_owned(), namespace: Some("usync".to_owned()) };
    double.arm(Rule::once(refusal, TENANT)).await;
    let api = client.api();
    let contacts = api.contacts();
    let refused = within("the refusal", contacts.is_on_whatsapp(&[Jid::pn(ANNA)])).await.unwrap_err();
    let said = format!("{refused:?}");
    assert!(said.contains("429") && said.contains("rate-overlimit"), "{said}");
    assert!(within("the look-up", contacts.is_on_whatsapp(&[Jid::pn(ANNA)])).await.unwrap()[0].is_registered);
}

#[tokio::test]
async fn a_device_that_is_taken_off_the_phone_is_logged_out_for_good() {
    let double = Double::start().await.unwrap();
    let kept = nothing_kept();
    let mut client = Client::linked_to(&double, TENANT, &kept).await;
    double.strike(TENANT, Strike::DeviceRemoved).await.unwrap();
    let on_connect = client.told("the logout", logged_out).await;
    assert!(!on_connect);
    client.stop().await;
    assert!(double.devices().await.is_empty());
    let mut again = Client::start(&double, &kept).await;
    let on_connect = again.told("the refusal", logged_out).await;
    assert!(on_connect);
}

fn logged_out(event: &Event) -> Option<bool> {
    match event {
        Event::LoggedOut(out) => Some(out.on_connect),
        _ => None,
    }
}

#[tokio::test]
async fn who_logs_in_as_the_same_device_replaces_the_first() {
    let double = Double::start().await.unwrap();
    let kept = nothing_kept();
    let mut first = Client::linked_to(&double, TENANT, &kept).await;
    let mut second = Client::start(&double, &kept).await;
    first.told("replaced", replaced).await;
    second.connected().await;
    // Also without a second one.
    double.strike(TENANT, Strike::Conflict).await.unwrap();
    second.told("replaced", replaced).await;
}

fn replaced(event: &Event) -> Option<()> {
    matches!(event, Event::StreamReplaced(_)).then_some(())
}

/// Drops the connection, so that the next login meets the fault.
async fn meet(double: &Double, reason: u16, code: Option<u16>, expires_in_seconds: Option<u64>) {
    double.arm(Rule::once(Fault::LoginFailure { reason, code, expires_in_seconds }, TENANT)).await;
    double.strike(TENANT, Strike::Drop).await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_refused_as_logged_out_is_the_end() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    meet(&double, 401, None, None).await;
    assert!(client.told("the refusal", logged_out).await);
}

#[tokio::test]
async fn a_ban_for_a_time_says_how_long() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    meet(&double, 402, Some(101), Some(3600)).await;
    let ban = client
        .told("the ban", |event| match event {
            Event::TemporaryBan(ban) => Some(ban.expire),
            _ => None,
        })
        .await;
    assert_eq!(ban.num_seconds(), 3600);
}

#[tokio::test]
async fn a_ban_for_good_is_a_logout_with_its_reason() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    meet(&double, 403, None, None).await;
    let reason = client
        .told("the ban", |event| match event {
            Event::LoggedOut(out) => Some(out.reason),
            _ => None,
        })
        .await;
    assert_eq!(format!("{reason:?}"), "AccountLocked");
}

#[tokio::test]
async fn a_login_that_is_refused_for_now_is_tried_again() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    meet(&double, 503, None, None).await;
    let reason = client
        .told("the refusal", |event| match event {
            Event::ConnectFailure(failure) => Some(failure.reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, ConnectFailureReason::ServiceUnavailable);
    client.connected().await;
    assert_eq!(double.devices().await[0].logins, 2);
}

#[tokio::test]
async fn a_stream_that_ends_for_too_much_traffic_is_begun_again_later() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    let before = tokio::time::Instant::now();
    double.strike(TENANT, Strike::StreamError { code: 429 }).await.unwrap();
    client.disconnected().await;
    client.connected().await;
    assert!(before.elapsed() > Duration::from_secs(2), "the client backs off for longer than after a drop");
}

#[tokio::test]
async fn the_time_lock_is_told_and_refuses_strangers_only() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    let api = client.api();
    let free = within("the answer", api.mex().fetch_reachout_timelock()).await.unwrap();
    assert_eq!(free.is_active, Some(false));
    let known = client.send(ANNA, "before").await;
    assert_eq!(client.ack(&known).await, None);

    double.set_time_lock(TENANT, Some(4_102_444_800)).await.unwrap();
    let locked = within("the answer", api.mex().fetch_reachout_timelock()).await.unwrap();
    assert_eq!(locked.is_active, Some(true));
    assert_eq!(locked.time_enforcement_ends.as_deref(), Some("4102444800"));
    let stranger = client.send(BERT, "to a stranger").await;
    assert_eq!(client.ack(&stranger).await.as_deref(), Some("463"));
    let known = client.send(ANNA, "to somebody known").await;
    assert_eq!(client.ack(&known).await, None);
    // Whoever writes first is no stranger.
    double.say(BERT, TENANT, "hello").await.unwrap();
    client.message().await;
    let answer = client.send(BERT, "hello").await;
    assert_eq!(client.ack(&answer).await, None);
}

#[tokio::test]
async fn the_cap_on_new_chats_is_told_and_refuses_what_goes_beyond() {
    use wacore::iq::mex_operations::fetch_new_chat_message_capping_info as cap;
    let double = Double::start().await.unwrap();
    double.set_new_chat_cap(TENANT, Some(NewChatCap { total: 1, used: 0 })).await.unwrap();
    let mut client = Client::linked(&double).await;
    let first = client.send(ANNA, "one").await;
    assert_eq!(client.ack(&first).await, None);
    let second = client.send(BERT, "two").await;
    assert_eq!(client.ack(&second).await.as_deref(), Some("475"));
    let api = client.api();
    let of_chats = serde_json::json!({ "input": { "type": "INDIVIDUAL_NEW_CHAT_MSG" } });
    let asked = whatsapp_rust::MexRequest::new(cap::NAME, cap::DOC_ID, of_chats);
    let answer = within("the answer", api.mex().query(asked)).await.unwrap();
    let told: cap::Response = serde_json::from_value(answer.data.unwrap()).unwrap();
    let told = told.xwa2_message_capping_info.unwrap();
    assert_eq!((told.used_quota.as_deref(), told.total_quota.as_deref()), (Some("1"), Some("1")));
    assert_eq!(told.capping_status.as_deref(), Some("CAPPED"));
}
