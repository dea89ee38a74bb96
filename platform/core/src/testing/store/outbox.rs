//! News: kept with the change that they are of, and taken once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::messages::sent;
use super::{ANSWERS, Subject, TO, admitted, new_tenant, started, try_admit};
use crate::domain::cost::Cost;
use crate::domain::dispatch::{DeliveryFailure, DeliveryStatus, Receipt, Verdict};
use crate::domain::id::{DeliveryId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::news::{Charge, MessageNews, News, VerificationNews, What};
use crate::domain::rollup::{Counts, Figures, Interval, Rollup, RollupKey};
use crate::domain::verification::{FailureReason, Status, Verification};
use crate::ports::{Change, CommitError, Entity as _, NewVerification, NewsKey, Owner, ReplaceError, ResendError};
use crate::testing::builders::{
    a_message, a_quota, a_verification, admission, an_idempotency, entropy, message_admission, noon, seconds,
};

async fn news(store: &Subject) -> Vec<(NewsKey, News)> {
    store.news(1000).await.expect(ANSWERS)
}

/// What happened, in order, with the version that it is of.
async fn happened(store: &Subject) -> Vec<(u64, Vec<What>)> {
    let whats = |news: News| (news.version(), news.happenings().iter().map(|happening| happening.what).collect());
    news(store).await.into_iter().map(|(_, news)| whats(news)).collect()
}

fn of_verification((_, news): &(NewsKey, News)) -> &VerificationNews {
    match news {
        News::Verification(news) => news,
        News::Message(news) => panic!("they are of a message: {news:?}"),
    }
}

fn of_message((_, news): &(NewsKey, News)) -> &MessageNews {
    match news {
        News::Message(news) => news,
        News::Verification(news) => panic!("they are of a verification: {news:?}"),
    }
}

fn take(keys: &[(NewsKey, News)]) -> Vec<Change> {
    keys.iter().map(|(key, _)| Change::TakeNews(Box::new(*key))).collect()
}

pub(super) fn a_rollup(tenant: TenantId, started: u64) -> Rollup {
    let key = RollupKey {
        tenant,
        interval: Interval::Hour,
        starts: noon(),
        service: crate::domain::id::ServiceId::from_bytes([1; 16]),
        channel: "console".to_owned(),
        country: None,
    };
    let figures = Figures { counts: Counts { started, ..Counts::default() }, ..Figures::default() };
    Rollup::of(BTreeMap::from([(key, figures)])).remove(0)
}

fn settle(verification: &mut Verification, verdict: Verdict, second: i64) {
    verification.settle(verdict, seconds(second), || DeliveryId::new(noon(), entropy()));
}

/// What is told is what the record was when it happened; a change that tells nothing has no news.
pub async fn what_happens_to_a_verification_is_news(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut new = a_verification(tenant, TO, noon());
    new.address.as_mut().expect("it has an address").region = Some("GB".to_owned());
    let mut verification = started(&store, new).await;
    assert!(verification.news.is_empty(), "what is stored is not stored again");
    settle(&mut verification, Verdict::Refused(DeliveryFailure::Rejected), 1);
    door.replace(&mut verification, false).await.expect(ANSWERS);
    let sent = Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None };
    settle(&mut verification, sent, 2);
    door.replace(&mut verification, false).await.expect(ANSWERS);
    assert!(verification.news.is_empty());
    let delivery = verification.dispatch.current().expect("it was sent").id;
    verification.record(delivery, Receipt::Delivered, seconds(3));
    door.replace(&mut verification, false).await.expect(ANSWERS);
    verification.check(|_| false, seconds(4));
    door.replace(&mut verification, false).await.expect(ANSWERS);
    verification.check(|_| true, seconds(5));
    door.replace(&mut verification, false).await.expect(ANSWERS);
    let found = door.find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(found, Some(verification.clone()), "news are no part of the record");
    let told = [
        (0, vec![What::Started]),
        (1, vec![What::Next]),
        (2, vec![What::Sent]),
        (3, vec![What::Delivered]),
        (5, vec![What::Approved]),
    ];
    assert_eq!(happened(&store).await, told);
    let all = news(&store).await;
    let first = of_verification(&all[0]);
    assert_eq!((first.status, first.checks_used, first.country.as_deref()), (Status::Pending, 0, Some("GB")));
    assert_eq!((first.tenant, first.verification, first.service), (tenant, verification.id, verification.service));
    let channels = all.iter().map(|(_, news)| news.happenings()[0].channel.as_deref());
    assert_eq!(channels.collect::<Vec<_>>(), ["console", "email", "email", "email", "email"].map(Some));
    let last = of_verification(&all[4]);
    assert_eq!((last.status, last.ended_at, last.checks_used), (Status::Approved, Some(seconds(5)), 2));
}

/// What a channel charged is kept with the record and told once, with whatever else happened or alone.
pub async fn what_a_channel_charged_is_news_once(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let cost = |micros| Cost::new(micros, "EUR".parse().expect("a currency")).expect("an amount");
    let first = verification.dispatch.deliveries[0].id;
    settle(&mut verification, Verdict::Refused(DeliveryFailure::NoAck), 1);
    door.replace(&mut verification, false).await.expect(ANSWERS);
    let sent = |micros| Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: Some(cost(micros)) };
    settle(&mut verification, sent(45_000), 2);
    let second = verification.dispatch.deliveries[1].id;
    door.replace(&mut verification, false).await.expect(ANSWERS);
    assert!(verification.charged.is_empty(), "what is stored is not stored again");
    // The first channel's answer, late: nothing happened that anybody is told of, and it costs all the same.
    assert!(verification.charge(first, cost(7)) && !verification.charge(first, cost(8)));
    assert!(!verification.charge(DeliveryId::from_bytes([9; 16]), cost(9)), "it is none of its deliveries");
    door.replace(&mut verification, false).await.expect(ANSWERS);
    let found = door.find_verification(verification.id).await.expect(ANSWERS).expect("it is there");
    let charge = |delivery, channel: &str, micros| Charge { delivery, channel: channel.to_owned(), cost: cost(micros) };
    let charges = [charge(second, "email", 45_000), charge(first, "console", 7)];
    assert_eq!(found.charges, charges);
    let all = news(&store).await;
    let told = all.iter().map(of_verification).map(|news| (news.version, news.charges.clone()));
    let mut told: Vec<_> = told.collect();
    // What only was charged for has no moment of its own, and a store may give it before its turn: sums do not mind.
    told.sort_by_key(|(version, _)| *version);
    let [second, first] = charges.map(|charge| vec![charge]);
    assert_eq!(told, [(0, Vec::new()), (1, Vec::new()), (2, second), (3, first)]);
}

/// A record that was blocked before it was stored is told of as that, once.
pub async fn what_a_guard_stopped_at_its_start_is_news(store: Subject) {
    let mut blocked = a_verification(new_tenant(), TO, noon());
    (blocked.status, blocked.reason) = (Status::Failed, Some(FailureReason::Blocked));
    started(&store, blocked).await;
    assert_eq!(happened(&store).await, [(0, vec![What::Started, What::Blocked])]);
}

/// A message that a guard stopped is told of as one that nobody will deliver.
pub async fn a_message_that_a_guard_stopped_is_news(store: Subject) {
    let mut stopped = a_message(new_tenant(), TO, noon());
    stopped.block(Vec::new());
    let stopped = sent(&store, message_admission(stopped)).await;
    assert!(stopped.news.is_empty(), "what is stored is not stored again");
    let all = news(&store).await;
    assert_eq!(all.len(), 1);
    let told = of_message(&all[0]);
    assert_eq!((told.message, told.happenings[0].what), (stopped.id, What::Failed));
    store.commit(take(&all)).await.expect("nobody else takes them");
    assert_eq!(news(&store).await, []);
}

/// What is told of a message is how it got out; that it was accepted is no news.
pub async fn what_happens_to_a_message_is_news(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut new = a_message(tenant, TO, noon());
    new.mode = Mode::Test;
    new.address.as_mut().expect("it has an address").region = Some("GB".to_owned());
    let mut message = sent(&store, message_admission(new)).await;
    let verdict = Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None };
    message.settle(verdict, seconds(1), || DeliveryId::new(noon(), entropy()));
    let mut stale = message.clone();
    door.replace_message(&mut message, false).await.expect(ANSWERS);
    assert!(message.news.is_empty(), "what is stored is not stored again");
    assert!(matches!(door.replace_message(&mut stale, false).await, Err(ReplaceError::Conflict)));
    let delivery = message.dispatch.current().expect("it was sent").id;
    message.record(delivery, Receipt::Delivered, seconds(2));
    door.replace_message(&mut message, false).await.expect(ANSWERS);
    message.redact();
    door.replace_message(&mut message, false).await.expect(ANSWERS);
    assert_eq!(door.find_message(message.id).await.expect(ANSWERS), Some(message.clone()));
    let mut lost = sent(&store, message_admission(a_message(tenant, TO, seconds(3)))).await;
    lost.settle(Verdict::Refused(DeliveryFailure::Rejected), seconds(4), || DeliveryId::new(noon(), entropy()));
    door.replace_message(&mut lost, true).await.expect(ANSWERS);
    assert_eq!(happened(&store).await, [(1, vec![What::Sent]), (2, vec![What::Delivered]), (1, vec![What::Failed])]);
    let all = news(&store).await;
    let first = of_message(&all[0]);
    assert_eq!((first.tenant, first.message, first.service), (tenant, message.id, message.service));
    assert_eq!((first.status, first.mode, first.country.as_deref()), (DeliveryStatus::Sent, Mode::Test, Some("GB")));
    let last = of_message(&all[2]);
    assert_eq!((last.status, last.reason), (DeliveryStatus::Failed, Some(DeliveryFailure::Rejected)));
    store.commit(take(&all)).await.expect("nobody else takes them");
    assert_eq!(news(&store).await, []);
}

/// Verifications and messages side by side: in the order in which it happened, and taken together.
pub async fn news_of_both_kinds_come_in_order_and_are_taken_together(store: Subject) {
    let tenant = new_tenant();
    let mut message = sent(&store, message_admission(a_message(tenant, TO, noon()))).await;
    started(&store, Verification { mode: Mode::Test, ..a_verification(tenant, TO, noon()) }).await;
    message.discard(seconds(40));
    store.tenant(tenant).replace_message(&mut message, true).await.expect(ANSWERS);
    started(&store, a_verification(tenant, TO, seconds(41))).await;
    let all = news(&store).await;
    let told: Vec<_> = all.iter().map(|(_, news)| (news.happenings()[0].what, news.mode())).collect();
    assert_eq!(told, [(What::Started, Mode::Test), (What::Failed, Mode::Live), (What::Started, Mode::Live)]);
    let mut again = take(&all[1..2]);
    store.commit(take(&all)).await.expect("nobody else takes them");
    again.push(Change::insert(&a_rollup(tenant, 1)));
    let refused = store.commit(again).await;
    assert!(matches!(refused, Err(CommitError::Changed)), "{refused:?}");
    assert_eq!(news(&store).await, []);
}

/// A start that is refused or repeated, and a change that lost, tell nothing.
pub async fn what_was_not_made_has_no_news(store: Subject) {
    let tenant = new_tenant();
    let keyed = || NewVerification {
        idempotency: Some(an_idempotency(1, 1, noon())),
        ..admission(a_verification(tenant, TO, noon()))
    };
    let mut mine = admitted(&store, keyed()).await;
    try_admit(&store, keyed()).await.expect(ANSWERS);
    let full = a_quota(mine.counted.resource, noon(), Some(1), None, None);
    let refused = NewVerification { quota: full, ..admission(a_verification(tenant, TO, noon())) };
    assert!(try_admit(&store, refused).await.is_err());
    let mut theirs = mine.clone();
    mine.cancel(seconds(1));
    theirs.check(|_| true, seconds(1));
    let door = store.tenant(tenant);
    door.replace(&mut mine, false).await.expect(ANSWERS);
    assert!(matches!(door.replace(&mut theirs, false).await, Err(ReplaceError::Conflict)));
    assert_eq!(happened(&store).await, [(0, vec![What::Started]), (1, vec![What::Canceled])]);
}

/// Of racing resends one is told of; a failure that gives back its use is told of too.
pub async fn a_resend_and_a_refund_are_news(store: Subject) {
    let tenant = new_tenant();
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let mut other = verification.clone();
    for mine in [&mut verification, &mut other] {
        mine.resend(seconds(40), DeliveryId::new(noon(), entropy()), seconds(70), 2).expect("the cool-down is over");
    }
    let door = store.tenant(tenant);
    door.replace_for_resend(&mut verification, false).await.expect(ANSWERS);
    let lost = door.replace_for_resend(&mut other, false).await;
    assert!(matches!(lost, Err(ResendError::Conflict)), "{lost:?}");
    let mut lost = started(&store, a_verification(tenant, TO, seconds(41))).await;
    for second in [42, 43] {
        settle(&mut lost, Verdict::Refused(DeliveryFailure::Rejected), second);
    }
    assert!(lost.counted.refunded);
    door.replace(&mut lost, true).await.expect(ANSWERS);
    let told = [
        (0, vec![What::Started]),
        (1, vec![What::Again]),
        (0, vec![What::Started]),
        (1, vec![What::Next, What::Failed]),
    ];
    assert_eq!(happened(&store).await, told);
}

/// What is taken is gone, with all that is changed in the same step.
pub async fn news_are_taken_with_what_they_become(store: Subject) {
    let tenant = new_tenant();
    for _ in 0..3 {
        started(&store, a_verification(tenant, TO, noon())).await;
    }
    let some = store.news(2).await.expect(ANSWERS);
    assert_eq!(some.len(), 2);
    let rollup = a_rollup(tenant, 2);
    let mut changes = take(&some);
    changes.push(Change::insert(&rollup));
    store.commit(changes).await.expect("it is committed");
    let left = news(&store).await;
    assert_eq!(left.len(), 1);
    assert!(some.iter().all(|(taken, _)| *taken != left[0].0));
    let found = store.find_entity(Rollup::KIND, Owner::Tenant(tenant), rollup.id()).await.expect(ANSWERS);
    assert!(found.is_some());
}

/// A fold that is refused, by whatever is in it, takes nothing.
pub async fn news_stay_where_what_they_become_is_refused(store: Subject) {
    let tenant = new_tenant();
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    verification.cancel(seconds(1));
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    let rollup = a_rollup(tenant, 1);
    store.commit(vec![Change::insert(&rollup)]).await.expect("it is committed");
    let all = news(&store).await;
    let mut changes = take(&all);
    changes.push(Change::insert(&rollup));
    let refused = store.commit(changes).await;
    assert!(matches!(refused, Err(CommitError::Taken { kind: Rollup::KIND, .. })), "{refused:?}");
    assert_eq!(news(&store).await, all);
    // And the other way round: of news that somebody took, nothing is made a second time.
    store.commit(take(&all[..1])).await.expect("it is committed");
    let mut changes = take(&all);
    changes.push(Change::insert(&a_rollup(new_tenant(), 1)));
    let refused = store.commit(changes).await;
    assert!(matches!(refused, Err(CommitError::Changed)), "{refused:?}");
    assert_eq!(news(&store).await, all[1..]);
}

/// Whoever folds at once, each news is taken by one, and counted once.
pub async fn of_racing_folders_one_takes_the_news(store: Subject) {
    let tenant = new_tenant();
    for _ in 0..8 {
        started(&store, a_verification(tenant, TO, noon())).await;
    }
    let all = news(&store).await;
    assert_eq!(all.len(), 8);
    let mut folders = JoinSet::new();
    for folder in 0..32_u64 {
        let (store, changes) = (Arc::clone(&store), take(&all[usize::try_from(folder % 4).expect("small")..]));
        folders.spawn(async move { store.commit(changes).await });
    }
    let outcomes = folders.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let lost = |outcome: &&Result<(), CommitError>| matches!(outcome, Err(CommitError::Changed));
    assert_eq!(outcomes.iter().filter(lost).count(), 31, "{outcomes:?}");
    assert!(news(&store).await.len() < 4);
}

/// News outlive what they are of, and are taken as if it were there.
pub async fn news_of_what_is_deleted_stay(store: Subject) {
    let tenant = new_tenant();
    let mut gone = started(&store, a_verification(tenant, TO, noon())).await;
    started(&store, a_verification(tenant, TO, seconds(1))).await;
    gone.cancel(seconds(2));
    let door = store.tenant(tenant);
    door.replace(&mut gone, false).await.expect(ANSWERS);
    let mut message = sent(&store, message_admission(a_message(tenant, TO, noon()))).await;
    message.discard(seconds(40));
    door.replace_message(&mut message, true).await.expect(ANSWERS);
    let before = news(&store).await;
    door.delete_verification(gone.id).await.expect(ANSWERS);
    door.delete_message(message.id).await.expect(ANSWERS);
    assert_eq!(door.find_message(message.id).await.expect(ANSWERS), None);
    assert_eq!(door.find_verification(gone.id).await.expect(ANSWERS), None);
    // Read before it was deleted, they may lie elsewhere now: then nothing is taken, and they are read again.
    let stale = store.commit(take(&before)).await;
    assert!(matches!(stale, Ok(()) | Err(CommitError::Changed)), "{stale:?}");
    let mut taken: Vec<(NewsKey, News)> = if stale.is_ok() { before.clone() } else { Vec::new() };
    loop {
        let some = news(&store).await;
        if some.is_empty() {
            break;
        }
        store.commit(take(&some)).await.expect("nobody else takes them");
        taken.extend(some);
    }
    let versions = |all: &[(NewsKey, News)]| {
        let mut all: Vec<_> = all.iter().map(|(_, news)| (news.item().to_bytes(), news.version())).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(versions(&taken), versions(&before));
}
