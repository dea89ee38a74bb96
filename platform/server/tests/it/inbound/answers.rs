//! What people are answered who write to a tenant's number.

use axum::http::Method;
use serde_json::json;
use wotp_core::app::WrittenMessage;

use super::{DONE, OTHER, PERSON, Scene};
use crate::app::{NUMBER, id, seconds};

const BUSY: &str = "Nobody reads what is written here.\nCall us.";

impl Scene {
    /// Sets what is answered to whatever people write.
    async fn answers(&self, text: serde_json::Value) -> crate::client::Reply {
        let path = format!("/v1/connections/{}", id(&self.connection));
        self.app.request(Method::PATCH, path).key(&self.acme.live).json(json!({ "auto_reply": text })).await
    }
}

#[tokio::test]
async fn people_are_answered_in_their_language_under_the_brand_unless_the_service_says_nothing() {
    let scene = Scene::set().await;
    scene.app.change_service(&scene.acme, json!({ "brand": "Ärzte" })).await;
    let body = json!({ "to": NUMBER, "method": "inbound", "locale": "de-AT" });
    let (verification, token) = scene.started_as(body.clone()).await;
    let text = verification["inbound"]["message"]["text"].as_str().unwrap();
    assert!(text.starts_with("Ärzte: Ich bestätige, dass ich es bin.\nWOTP"), "{text}");
    let said = scene.writes(PERSON, &token).await.unwrap();
    assert!(said.starts_with("Ärzte: Danke, bestätigt."), "{said}");

    scene.app.change_service(&scene.acme, json!({ "inbound_replies": false })).await;
    let (verification, token) = scene.started_as(body).await;
    assert_eq!(scene.writes(OTHER, &token).await, None);
    assert_eq!(scene.writes(PERSON, &token).await, None);
    assert_eq!(scene.status(&verification).await, "approved");
}

/// Of those that the Bundesnetzagentur keeps for films.
const GERMAN: &str = "491713920000";

#[tokio::test]
async fn where_nobody_was_named_people_are_answered_in_the_language_of_their_number() {
    let scene = Scene::set().await;
    let (german, done) = ("Acme: Danke, bestätigt.", |said: Option<String>| said.expect("there is an answer"));
    let (_, token) = scene.started_as(json!({ "method": "inbound" })).await;
    for _ in 0..2 {
        let said = done(scene.writes(GERMAN, &token).await);
        assert!(said.starts_with(german), "{said}");
    }
    assert_eq!(done(scene.writes(PERSON, &token).await), super::OVER);
    let (_, token) = scene.started_as(json!({ "method": "inbound" })).await;
    assert_eq!(done(scene.writes(PERSON, &token).await), DONE);
    // A language that was named is kept to, and so is that of a number that was.
    let (_, token) = scene.started_as(json!({ "method": "inbound", "locale": "en" })).await;
    assert_eq!(done(scene.writes(GERMAN, &token).await), DONE);
    let (_, token) = scene.started(NUMBER).await;
    assert_eq!(done(scene.writes(GERMAN, &token).await), super::ELSEWHERE);
}

#[tokio::test]
async fn who_writes_anything_else_is_answered_what_the_tenant_says_once_a_day() {
    let scene = Scene::set().await;
    assert_eq!(scene.writes(PERSON, "hello").await, None);
    for wrong in [json!(""), json!("\u{202E}"), json!("x".repeat(1001))] {
        assert_eq!(scene.answers(wrong).await.wrong_fields(), ["auto_reply"]);
    }
    assert_eq!(scene.answers(json!(format!("{BUSY} "))).await.expect(200)["auto_reply"], BUSY);
    assert_eq!(scene.writes(PERSON, "hello").await.as_deref(), Some(BUSY));
    assert_eq!(scene.writes(PERSON, BUSY).await, None, "two programs that answer each other come to an end");
    assert_eq!(scene.writes(OTHER, "hello").await.as_deref(), Some(BUSY));
    // A token is another matter.
    let (_, token) = scene.started(NUMBER).await;
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(DONE));
    scene.app.clock.advance(seconds(12 * 3600));
    assert_eq!(scene.writes(PERSON, "hello again").await.as_deref(), Some(BUSY));

    let settings = json!({ "name": "Sales" });
    let path = format!("/v1/connections/{}", id(&scene.connection));
    let renamed = scene.app.request(Method::PATCH, path).key(&scene.acme.live).json(settings).await.expect(200);
    assert_eq!(renamed["auto_reply"], BUSY);
    scene.answers(json!(null)).await.expect(200);
    scene.app.clock.advance(seconds(24 * 3600));
    assert_eq!(scene.writes(PERSON, "hello").await, None);
}

#[tokio::test]
async fn what_came_while_the_number_was_away_is_taken_in_and_not_answered() {
    let scene = Scene::set().await;
    scene.answers(json!(BUSY)).await.expect(200);
    let (verification, token) = scene.started(NUMBER).await;
    let sent_at = scene.app.app.ports().clock.now();
    scene.app.clock.advance(seconds(299));
    let late = |text| WrittenMessage { to: scene.to, from: PERSON, text, sent_at: sent_at - seconds(302) };
    assert_eq!(scene.app.app.take_in_message(late("hello")).await.unwrap(), None);
    assert_eq!(scene.app.app.take_in_message(late(&token)).await.unwrap(), None);
    assert_eq!(scene.status(&verification).await, "approved");
}

#[tokio::test]
async fn nobody_is_answered_without_end() {
    let scene = Scene::set().await;
    let (_, token) = scene.started(NUMBER).await;
    let mut answered = 0;
    for _ in 0..30 {
        answered += usize::from(scene.writes(PERSON, &token).await.is_some());
    }
    assert_eq!(answered, 20);
}
