//! Whom we write to about an endpoint, and what keeps nobody from being written to.

use wotp_core::domain::id::{EndpointId, EventId};
use wotp_core::domain::permission::Role;
use wotp_core::domain::user::User;
use wotp_core::domain::vault::Sealed;
use wotp_core::domain::webhook::endpoint::Failing;
use wotp_core::domain::webhook::notice::{EndpointNotice, NoticeReason};

use super::*;
use crate::app::{days, seconds};
use crate::people::TestPerson;

impl TestApp {
    async fn stored_person(&self, member: &TestPerson) -> EntityRow {
        self.app.ports().store.find_entity(User::KIND, Owner::Platform, member.user.to_bytes()).await.unwrap().unwrap()
    }

    /// Another sealed address in place of somebody's; says which it was.
    async fn reseal(&self, member: &TestPerson, email: Sealed) -> Sealed {
        let mut person = Stored::<User>::read(self.stored_person(member).await).unwrap();
        let before = std::mem::replace(&mut person.email, email);
        self.app.ports().store.commit(vec![Change::replace(&person)]).await.unwrap();
        before
    }

    /// There is something to tell of an endpoint.
    async fn notices(&self, tenant: &TestTenant, reason: NoticeReason) -> EndpointId {
        let ports = self.app.ports();
        let now = ports.clock.now();
        let (endpoint, event) = (EndpointId::new(now, &*ports.entropy), EventId::new(now, &*ports.entropy));
        let notice = EndpointNotice::new(tenant.id, endpoint, event, reason, now);
        ports.store.commit(vec![Change::insert(&notice)]).await.unwrap();
        endpoint
    }

    /// What was written since so many letters were, and to whom.
    async fn letters_after(&self, before: usize) -> Vec<(String, String)> {
        self.run_jobs().await;
        let letters = self.outbox.letters().split_off(before);
        letters.into_iter().map(|letter| (letter.to, letter.text)).collect()
    }
}

#[tokio::test]
async fn who_cannot_be_written_to_for_a_moment_is_written_to_later_and_nobody_twice() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (owner, admin) = (app.member(&acme, Role::Owner).await, app.member(&acme, Role::Admin).await);
    let other = Stored::<User>::read(app.stored_person(&admin).await).unwrap().email.clone();
    // As it is while a master key is missing.
    let email = app.reseal(&owner, other).await;
    app.notices(&acme, NoticeReason::Gone).await;
    app.run_jobs().await;
    let before = app.outbox.letters().len();
    assert_eq!(app.sweep().await.noticed, 0);
    assert_eq!(app.letters_after(before).await.iter().map(|letter| &letter.0).collect::<Vec<_>>(), [&admin.email]);
    app.reseal(&owner, email).await;
    app.sweep().await;
    assert_eq!(app.letters_after(before + 1).await, [], "not at once again");
    app.clock.advance(seconds(900));
    assert_eq!(app.sweep().await.noticed, 1);
    let letters = app.letters_after(before + 1).await;
    assert_eq!(letters.iter().map(|letter| &letter.0).collect::<Vec<_>>(), [&owner.email]);
    assert!(app.rows_of::<EndpointNotice>(&acme).await.is_empty());
}

#[tokio::test]
async fn who_cannot_be_written_to_for_a_day_is_not_any_more() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (owner, admin) = (app.member(&acme, Role::Owner).await, app.member(&acme, Role::Admin).await);
    let other = Stored::<User>::read(app.stored_person(&admin).await).unwrap().email.clone();
    app.reseal(&owner, other).await;
    app.notices(&acme, NoticeReason::Gone).await;
    app.run_jobs().await;
    let before = app.outbox.letters().len();
    // Until nothing is known any more of what was sent at first, and a round after that.
    let mut rounds = 0;
    while app.sweep().await.noticed == 0 {
        app.run_jobs().await;
        app.clock.advance(seconds(900));
        rounds += 1;
        assert!(rounds < 100, "it goes on for ever");
    }
    assert!(rounds > 90, "{rounds} rounds");
    app.clock.advance(days(1));
    app.sweep().await;
    let letters = app.letters_after(before).await;
    assert_eq!(letters.iter().map(|letter| &letter.0).collect::<Vec<_>>(), [&admin.email], "and nobody twice");
    assert!(app.rows_of::<EndpointNotice>(&acme).await.is_empty());
}

#[tokio::test]
async fn notices_that_cannot_be_sent_keep_no_other_waiting() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let (damaged, owner) = (app.member(&globex, Role::Owner).await, app.member(&acme, Role::Owner).await);
    app.damage::<User>(app.stored_person(&damaged).await, "epoch").await;
    for _ in 0..16 {
        app.notices(&globex, NoticeReason::Gone).await;
    }
    app.clock.advance(seconds(1));
    app.notices(&acme, NoticeReason::Gone).await;
    app.run_jobs().await;
    let before = app.outbox.letters().len();
    app.sweep().await;
    app.sweep().await;
    let letters = app.letters_after(before).await;
    assert_eq!(letters.iter().map(|letter| &letter.0).collect::<Vec<_>>(), [&owner.email]);
}

#[tokio::test]
async fn what_takes_nothing_is_told_from_what_takes_too_little() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.member(&acme, Role::Owner).await;
    app.run_jobs().await;
    let before = app.outbox.letters().len();
    let slow = app.notices(&acme, NoticeReason::Behind).await;
    let away = app.notices(&acme, NoticeReason::Behind).await;
    let failing = Failing::new(away, acme.id, app.clock.now());
    app.app.ports().store.commit(vec![Change::insert(&failing)]).await.unwrap();
    app.sweep().await;
    let letters = app.letters_after(before).await;
    let says = |endpoint: EndpointId, text: &str| {
        letters.iter().any(|letter| letter.1.contains(&endpoint.to_string()) && letter.1.contains(text))
    };
    assert!(says(slow, "takes less than what happens") && says(away, "takes nothing"), "{letters:?}");
    assert_eq!(letters.len(), 2);
}
