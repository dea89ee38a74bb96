//! What the platform writes to people goes out once, whatever stops in between.

use serde_json::json;
use wotp_core::domain::letter::Letter;
use wotp_core::domain::tenant::{HOUSE, HOUSE_SERVICE};
use wotp_core::ports::{Change, Clock as _, Entity as _, EntityList, Owner};

use super::PASSWORD;
use super::account::told;
use crate::app::{TestApp, days, seconds};

const EMAIL: &str = "ada@example.com";

impl TestApp {
    /// Stores a letter that nobody who stored it will send; `change` makes it another one first.
    async fn left_behind(&self, content: &str, change: impl FnOnce(&mut Letter)) {
        let ports = self.app.ports();
        let mut letter = Letter::new(EMAIL, content, self.clock.now(), &ports.vault, &*ports.entropy);
        change(&mut letter);
        ports.store.commit(vec![Change::insert(&letter)]).await.expect("it is stored");
    }

    /// Lets the platform's own messages out through these channels only.
    async fn through(&self, channels: &[&str]) {
        let house = self.app.ports().store.tenant(HOUSE);
        let mut service = house.find_service(HOUSE_SERVICE).await.expect("the store answers").expect("it was needed");
        service.settings.channels = channels.iter().map(|name| (*name).to_owned()).collect();
        house.replace_service(&mut service).await.expect("nobody else changes it");
        // What was read is known for a second.
        self.clock.advance(seconds(2));
    }

    async fn waiting_letters(&self) -> usize {
        let list = EntityList::of(Owner::Platform);
        self.app.ports().store.list_entities(Letter::KIND, &list).await.expect("letters").len()
    }
}

#[tokio::test]
async fn a_letter_whose_sender_was_killed_goes_out_once() {
    let app = TestApp::start().await;
    let fellow = app.fellow();
    app.left_behind("the moon is full", |_| ()).await;
    assert_eq!(app.sweep().await.lettered, 0, "it is left to who stored it for a moment");
    app.clock.advance(seconds(2));
    let (one, other) = tokio::join!(app.sweep(), fellow.sweep());
    assert!(one.lettered + other.lettered >= 1);
    assert_eq!(told(&app, EMAIL).await, "the moon is full");
    assert_eq!(app.waiting_letters().await, 0);
    app.clock.advance(seconds(3600));
    assert_eq!(app.sweep().await.lettered, 0);
    assert_eq!(told(&app, EMAIL).await, "the moon is full");
}

#[tokio::test]
async fn a_letter_that_cannot_be_sent_keeps_none_waiting_and_is_given_up_after_a_day() {
    let app = TestApp::start().await;
    app.left_behind("unreadable", |letter| std::mem::swap(&mut letter.to, &mut letter.content)).await;
    app.left_behind("readable", |_| ()).await;
    app.clock.advance(seconds(2));
    assert_eq!(app.sweep().await.lettered, 1);
    assert_eq!(told(&app, EMAIL).await, "readable");
    app.clock.advance(seconds(14 * 60));
    app.sweep().await;
    assert_eq!(app.waiting_letters().await, 1, "it waits for another try");
    app.clock.advance(days(1));
    app.sweep().await;
    assert_eq!(app.waiting_letters().await, 0);
    assert_eq!(told(&app, EMAIL).await, "readable");
}

#[tokio::test]
async fn nothing_of_a_letter_can_be_read_in_the_store() {
    let app = TestApp::start().await;
    app.left_behind("the moon is full", |_| ()).await;
    for (name, bytes) in app.stolen() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(EMAIL) && !text.contains("the moon"), "{name}");
    }
    app.clock.advance(seconds(2));
    app.sweep().await;
    app.run_jobs().await;
}

/// Nothing can go out at once here, so what is heard later was stored.
#[tokio::test]
async fn what_a_person_is_told_is_stored_with_what_it_tells_of() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let mute = || app.through(&["nobody"]);
    let heard = async |email: &str, words: &str| {
        app.run_jobs().await;
        let before = app.outbox.letters().iter().filter(|letter| letter.text.contains(words)).count();
        app.through(&[]).await;
        app.sweep().await;
        app.run_jobs().await;
        let letters = app.outbox.letters();
        let after = letters.iter().filter(|letter| letter.to == email && letter.text.contains(words)).count();
        assert_eq!((before, after), (0, 1), "{words}");
    };
    let post = |path: &str, body| app.post(format!("/v1/me{path}")).by(&ada).json(body);

    mute().await;
    let (_, recovery_code) = ada.scan_second_factor(&app).await;
    heard(EMAIL, "was switched on").await;
    let asked = app.log_in(EMAIL, PASSWORD).await.expect(200);
    mute().await;
    let answer = json!({ "challenge": asked["challenge"], "code": recovery_code });
    app.post("/v1/auth/second-factor").json(answer).await.expect(200);
    heard(EMAIL, "A recovery code was used").await;
    mute().await;
    post("/second-factor/disable", json!({ "password": PASSWORD })).await.expect(204);
    heard(EMAIL, "was switched off").await;
    mute().await;
    let body = json!({ "current_password": PASSWORD, "new_password": "another long sentence" });
    post("/password", body).await.expect(204);
    heard(EMAIL, "password of your account was changed").await;
    mute().await;
    let body = json!({ "email": "bob@example.com", "role": "viewer" });
    app.post("/v1/tenant/invitations").by(&ada).json(body).await.expect(201);
    heard("bob@example.com", "You are invited").await;
    let asked = post("/email", json!({ "email": "ada@example.org", "password": "another long sentence" }));
    let asked = asked.await.expect(202);
    let code = app.mailed("ada@example.org").await;
    mute().await;
    let body = json!({ "verification": asked["verification"], "code": code });
    post("/email/confirm", body).await.expect(200);
    heard(EMAIL, "was changed to a***@example.org").await;
    // Somebody who leaves no tenant without an owner.
    app.account("eve@example.com").await;
    let eve = app.logged_in("eve@example.com").await;
    mute().await;
    app.post("/v1/me/erase").by(&eve).json(json!({ "password": PASSWORD })).await.expect(204);
    heard("eve@example.com", "was erased").await;
    assert_eq!(app.waiting_letters().await, 0);
}
