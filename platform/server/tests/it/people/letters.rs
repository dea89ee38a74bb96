//! What the platform writes to people goes out once, whatever stops in between.

use std::future::IntoFuture as _;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::WaitingLetters;
use wotp_core::domain::letter::Letter;
use wotp_core::domain::tenant::{HOUSE, HOUSE_SERVICE};
use wotp_core::ports::{Change, Clock as _, Entity as _, EntityList, Owner};

use super::PASSWORD;
use super::account::told;
use super::oidc::Stage;
use crate::app::{TestApp, days, id, seconds};
use crate::client::interrupted;

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

    /// From now on nothing can go out at once, so what is heard later was stored.
    async fn mute(&self) {
        self.through(&["nobody"]).await;
    }

    /// These words reach these people after [`mute`](Self::mute), each once and by the sweep alone.
    async fn heard_later(&self, heard: &[(&str, &str)]) {
        self.run_jobs().await;
        for (_, words) in heard {
            assert!(!self.outbox.letters().iter().any(|letter| letter.text.contains(words)), "{words}");
        }
        self.through(&[]).await;
        self.sweep().await;
        self.run_jobs().await;
        let letters = self.outbox.letters();
        for (email, words) in heard {
            let to_them = letters.iter().filter(|letter| letter.to == *email && letter.text.contains(words));
            assert_eq!(to_them.count(), 1, "{words}");
        }
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

#[tokio::test]
async fn what_a_person_is_told_is_stored_with_what_it_tells_of() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let post = |path: &str, body| app.post(format!("/v1/me{path}")).by(&ada).json(body);

    app.mute().await;
    let (_, recovery_code) = ada.scan_second_factor(&app).await;
    app.heard_later(&[(EMAIL, "was switched on")]).await;
    let asked = app.log_in(EMAIL, PASSWORD).await.expect(200);
    app.mute().await;
    let answer = json!({ "challenge": asked["challenge"], "code": recovery_code });
    app.post("/v1/auth/second-factor").json(answer).await.expect(200);
    app.heard_later(&[(EMAIL, "A recovery code was used")]).await;
    app.mute().await;
    post("/second-factor/disable", json!({ "password": PASSWORD })).await.expect(204);
    app.heard_later(&[(EMAIL, "was switched off")]).await;
    app.mute().await;
    let body = json!({ "current_password": PASSWORD, "new_password": "another long sentence" });
    post("/password", body).await.expect(204);
    app.heard_later(&[(EMAIL, "password of your account was changed")]).await;
    let asked = post("/email", json!({ "email": "ada@example.org", "password": "another long sentence" }));
    let asked = asked.await.expect(202);
    let code = app.mailed("ada@example.org").await;
    app.mute().await;
    let body = json!({ "verification": asked["verification"], "code": code });
    post("/email/confirm", body).await.expect(200);
    let new = ("ada@example.org", "This is the email address of your account");
    app.heard_later(&[(EMAIL, "was changed to a***@example.org"), new]).await;
    // Somebody who leaves no tenant without an owner.
    app.account("eve@example.com").await;
    let eve = app.logged_in("eve@example.com").await;
    app.mute().await;
    app.post("/v1/me/erase").by(&eve).json(json!({ "password": PASSWORD })).await.expect(204);
    app.heard_later(&[("eve@example.com", "was erased")]).await;
    assert_eq!(app.waiting_letters().await, 0);
}

#[tokio::test]
async fn an_invitation_is_stored_with_its_letter_and_so_is_another_of_it() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.mute().await;
    let body = json!({ "email": "bob@example.com", "role": "viewer" });
    let invited = app.post("/v1/tenant/invitations").by(&ada).json(body).await.expect(201);
    app.heard_later(&[("bob@example.com", "You are invited")]).await;
    app.clock.advance(seconds(60));
    app.mute().await;
    app.post(format!("/v1/tenant/invitations/{}/resend", id(&invited))).by(&ada).await.expect(200);
    assert_eq!((app.waiting_letters().await, app.outbox.letters().len()), (1, 2), "a code, and the first");
    app.through(&[]).await;
    app.sweep().await;
    app.run_jobs().await;
    assert_eq!((app.waiting_letters().await, app.outbox.letters().len()), (0, 3));
}

#[tokio::test]
async fn a_password_that_is_reset_is_stored_with_the_letter_that_tells_of_it() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    let asked = app.post("/v1/auth/password-reset").json(json!({ "email": EMAIL })).await.expect(202);
    let code = app.mailed(EMAIL).await;
    app.mute().await;
    let verification = &asked["verification"];
    let body = json!({ "verification": verification, "code": code, "password": "another long sentence" });
    app.post("/v1/auth/password-reset/confirm").json(body).await.expect(204);
    app.heard_later(&[(EMAIL, "password of your account was changed")]).await;
}

#[tokio::test]
async fn a_provider_is_linked_and_unlinked_with_the_letters_that_tell_of_it() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let ada = app.person(EMAIL).await;
    app.mute().await;
    stage.sign_in("ada").await.expect(200);
    app.heard_later(&[(EMAIL, "you can sign in with Mock as well")]).await;
    let linked: Value = app.get("/v1/me/identities").by(&ada).await.expect(200)["data"][0].clone();
    app.mute().await;
    app.request(Method::DELETE, format!("/v1/me/identities/{}", id(&linked))).by(&ada).await.expect(204);
    app.heard_later(&[(EMAIL, "Nobody signs in to your account by")]).await;
}

/// Its code is out by then, so nothing is held back here: it is looked at while it happens.
#[tokio::test]
async fn that_somebody_asks_for_another_address_is_stored_before_it_is_told() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let (ask, mut waited) = (app.post("/v1/me/email").by(&ada).json(body), 0);
    let asked = interrupted(ask.into_future(), async || waited = waited.max(app.waiting_letters().await)).await;
    asked.expect(202);
    assert_eq!((waited, app.waiting_letters().await), (1, 0));
    app.run_jobs().await;
}

#[tokio::test]
async fn what_an_invitation_says_is_not_sent_once_it_is_taken_back_or_sent_again() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.mute().await;
    let invite = async |email: &str| {
        let body = json!({ "email": email, "role": "viewer" });
        app.post("/v1/tenant/invitations").by(&ada).json(body).await.expect(201)
    };
    let (bob, eve) = (invite("bob@example.com").await, invite("eve@example.com").await);
    app.request(Method::DELETE, format!("/v1/tenant/invitations/{}", id(&bob))).by(&ada).await.done();
    app.clock.advance(seconds(60));
    app.post(format!("/v1/tenant/invitations/{}/resend", id(&eve))).by(&ada).await.expect(200);
    assert_eq!(app.waiting_letters().await, 3);
    app.through(&[]).await;
    assert_eq!(app.sweep().await.lettered, 1);
    assert_eq!((told(&app, "bob@example.com").await, app.waiting_letters().await), (String::new(), 0));
    let mail = told(&app, "eve@example.com").await;
    let token = mail.lines().find(|line| line.starts_with("wi_")).expect("a token");
    app.post("/v1/invitations/preview").json(json!({ "token": token })).await.expect(200);
    assert_eq!(mail.matches("wi_").count(), 1, "the token before is worthless");
}

#[tokio::test]
async fn whoever_looks_after_the_platform_sees_how_many_letters_wait_and_for_how_long() {
    let app = TestApp::start().await;
    let waiting = async || app.app.waiting_letters().await.expect("the store answers");
    let are = |count, oldest| WaitingLetters { count, oldest: seconds(oldest) };
    assert_eq!(waiting().await, are(0, 0));
    app.left_behind("unreadable", |letter| std::mem::swap(&mut letter.to, &mut letter.content)).await;
    app.clock.advance(seconds(90));
    app.left_behind("readable", |_| ()).await;
    assert_eq!(waiting().await, are(2, 90));
    app.clock.advance(seconds(2));
    app.sweep().await;
    assert_eq!(waiting().await, are(1, 92));
    app.run_jobs().await;
}
