//! Direct messages.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use wotp_core::domain::dispatch::DeliveryFailure;

use crate::app::{NUMBER, TestApp, id, number, seconds};
use crate::client::Request;

fn sending(app: &TestApp, key: &str, body: Value) -> Request {
    app.post("/v1/messages").key(key).json(body)
}

#[tokio::test]
async fn a_message_goes_out_as_it_was_written() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let reply = sending(&app, &acme.live, json!({ "to": NUMBER, "content": "Your order\nhas arrived. ✓" })).await;
    let message = reply.expect(201);
    assert_eq!(reply.header("location"), format!("/v1/messages/{}", id(&message)));
    app.clock.advance(seconds(1));
    app.run_jobs().await;
    let letter = app.outbox.last();
    assert_eq!((letter.text.as_str(), letter.code.as_str()), ("Your order\nhas arrived. ✓", ""));
    let read = app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live).await.expect(200);
    assert_json_snapshot!("message", read, { ".id" => "[id]", ".service" => "[id]", ".deliveries[].id" => "[id]" });
}

#[tokio::test]
async fn a_message_without_words_or_with_too_many_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for content in [String::new(), "  \n".to_owned(), "x".repeat(2049)] {
        let refused = sending(&app, &acme.live, json!({ "to": NUMBER, "content": content })).await;
        assert_eq!(refused.wrong_fields(), ["content"]);
    }
    sending(&app, &acme.live, json!({ "to": NUMBER, "content": "ö".repeat(2048) })).await.expect(201);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_message_that_no_channel_takes_is_not_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let message = sending(&app, &acme.live, json!({ "to": NUMBER, "content": "Hello" })).await.expect(201);
    app.outbox.refuses_next(DeliveryFailure::InvalidRecipient);
    app.spare.refuses_next(DeliveryFailure::InvalidRecipient);
    app.run_jobs().await;
    let read = app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live).await.expect(200);
    assert_eq!(read["status"], "failed");
    assert_eq!(app.used_today(&acme.live, "messages").await, 0);
}

#[tokio::test]
async fn a_message_that_never_left_the_queue_is_given_up_after_10_minutes() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let message = sending(&app, &acme.live, json!({ "to": NUMBER, "content": "Hello" })).await.expect(201);
    app.lose_jobs().await;
    app.clock.advance(seconds(600));
    assert_eq!(app.sweep().await.expired, 1);
    let read = app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live).await.expect(200);
    assert_eq!((&read["status"], &read["deliveries"][0]["reason"]), (&json!("failed"), &json!("expired")));
    assert_eq!(app.used_today(&acme.live, "messages").await, 0);
}

#[tokio::test]
async fn messages_with_a_test_key_reach_nobody() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let message = sending(&app, &acme.test, json!({ "to": NUMBER, "content": "Hello" })).await.expect(201);
    app.run_jobs().await;
    assert_eq!(message["test_mode"], true);
    assert_eq!(app.outbox.letters(), []);
    let list = app.get("/v1/messages").key(&acme.test).await.expect(200);
    assert_eq!(list["data"][0]["status"], "delivered");
    assert_eq!(app.get("/v1/messages").key(&acme.live).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn messages_are_listed_by_address_and_channel() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for n in 0..3 {
        let channels = if n == 1 { json!(["spare"]) } else { json!([]) };
        let body = json!({ "to": number(n), "content": "Hello", "channels": channels });
        sending(&app, &acme.live, body).await.expect(201);
        app.clock.advance(seconds(1));
    }
    app.run_jobs().await;
    let count = async |query: String| {
        let page = app.get(format!("/v1/messages?{query}")).key(&acme.live).await.expect(200);
        page["data"].as_array().unwrap().len()
    };
    assert_eq!(count(String::new()).await, 3);
    assert_eq!(count("channel=spare".to_owned()).await, 1);
    assert_eq!(count(format!("address=%2B{}", &number(2)[1..])).await, 1);
    assert_eq!(count("created_from=2026-11-22T12:00:01Z".to_owned()).await, 2);
    let refused = app.get("/v1/messages?status=pending").key(&acme.live).await;
    refused.problem(422, "invalid_request");
}
