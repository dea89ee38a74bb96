//! What the platform writes to people goes out once, whatever stops in between.

use wotp_core::domain::letter::Letter;
use wotp_core::ports::{Change, Clock as _, Entity as _, EntityList, Owner};

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
