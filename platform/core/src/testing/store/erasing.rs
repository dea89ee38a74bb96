//! Tenants that go for good.

use std::sync::Arc;

use super::admitting::usage_of;
use super::messages::sent;
use super::outbox::a_rollup;
use super::{ANSWERS, Subject, TO, admitted, started};
use crate::domain::api_key::KeyHash;
use crate::domain::erasure::{Erased, Erasure, ErasureStep};
use crate::domain::id::{UserId, VerificationId};
use crate::domain::invitation::Invitation;
use crate::domain::mode::Mode;
use crate::domain::news::News;
use crate::domain::permission::Role;
use crate::domain::quota::Resource;
use crate::domain::rollup::Rollup;
use crate::domain::tenant::Tenant;
use crate::ports::{
    Admission, Change, CommitError, Entity as _, EntityList, ErasureNote, Filter, NewVerification, NewsKey, Owner,
    ReplaceError, Stored, Usage,
};
use crate::testing::builders::{
    a_message, a_service, a_stored_key, a_tenant, a_verification, admission, an_idempotency, an_invitation, entropy,
    message_admission, noon, seconds,
};

/// A tenant with some of everything, and the hash of its key.
async fn furnished(store: &Subject) -> (Tenant, KeyHash, VerificationId) {
    let tenant = a_tenant();
    let (key, hash) = a_stored_key(tenant.id, Mode::Live);
    store.create_tenant(&tenant, &a_service(&tenant), &[(key, hash)]).await.expect(ANSWERS);
    let keyed = NewVerification {
        idempotency: Some(an_idempotency(1, 1, noon())),
        ..admission(a_verification(tenant.id, TO, noon()))
    };
    let first = admitted(store, keyed).await;
    for second in 1..5 {
        started(store, a_verification(tenant.id, TO, seconds(second))).await;
    }
    sent(store, message_admission(a_message(tenant.id, TO, noon()))).await;
    let invitations = (0..3).map(|_| Change::insert(&an_invitation(tenant.id, Role::Viewer))).collect();
    store.commit(invitations).await.expect("nothing is in the way");
    (tenant, hash, first.id)
}

async fn erasure(store: &Subject, tenant: &Tenant) -> Stored<Erasure> {
    let id = tenant.id.to_bytes();
    let row = store.find_entity(Erasure::KIND, Owner::Platform, id).await.expect(ANSWERS).expect("it was inserted");
    Stored::read(row).expect("it is one")
}

async fn planned(store: &Subject, tenant: &Tenant) -> Stored<Erasure> {
    let by = UserId::new(noon(), entropy());
    let planned = Erasure::new(tenant.id, by, noon(), seconds(60));
    store.commit(vec![Change::insert(&planned)]).await.expect("nothing is in the way");
    erasure(store, tenant).await
}

fn note(erasure: &Stored<Erasure>) -> ErasureNote {
    let erasure = erasure.clone();
    Arc::new(move |step: &ErasureStep| {
        let mut erasure = erasure.clone();
        erasure.step(step, seconds(60));
        Change::replace(&erasure)
    })
}

/// How many of the tenant's are found, of each kind, and whether the tenant is.
async fn left(store: &Subject, tenant: &Tenant) -> (usize, usize, usize, usize, usize, bool) {
    let door = store.tenant(tenant.id);
    let verifications = door.verifications(&Filter::default(), None, 100).await.expect(ANSWERS).items.len();
    let messages = door.messages(&Filter::default(), None, 100).await.expect(ANSWERS).items.len();
    let keys = door.keys(None, 100).await.expect(ANSWERS).items.len();
    let services = door.services().await.expect(ANSWERS).len();
    let list = EntityList::of(Owner::Tenant(tenant.id));
    let entities = store.list_entities(Invitation::KIND, &list).await.expect(ANSWERS).len();
    (verifications, messages, keys, services, entities, door.find_tenant().await.expect(ANSWERS).is_some())
}

async fn news_of(store: &Subject, tenant: &Tenant) -> Vec<(NewsKey, News)> {
    let mut news = store.news(1000).await.expect(ANSWERS);
    news.retain(|(_, news)| news.tenant() == tenant.id);
    news
}

/// A commit that takes news and counts them, in a rollup of their own.
fn folded(tenant: &Tenant, news: &[(NewsKey, News)]) -> Vec<Change> {
    let take = news.iter().map(|(key, _)| Change::TakeNews(Box::new(*key)));
    let channel = news.iter().map(|(key, _)| format!("{:?}", key.item)).collect();
    take.chain([Change::insert(&Rollup { channel, ..a_rollup(tenant.id, 1) })]).collect()
}

async fn rollups_of(store: &Subject, tenant: &Tenant) -> usize {
    let list = EntityList::of(Owner::Tenant(tenant.id));
    store.list_entities(Rollup::KIND, &list).await.expect(ANSWERS).len()
}

const ALL: (usize, usize, usize, usize, usize, bool) = (5, 1, 1, 1, 3, true);
const NOTHING: (usize, usize, usize, usize, usize, bool) = (0, 0, 0, 0, 0, false);

/// Until a step says that nothing is left. What was written down is what there was.
pub async fn a_tenant_is_erased_in_bounded_steps_and_nothing_of_another(store: Subject) {
    let (gone, key, _) = furnished(&store).await;
    let (stays, other_key, _) = furnished(&store).await;
    planned(&store, &gone).await;
    let mut steps = 0;
    loop {
        let before = erasure(&store, &gone).await;
        let step = store.erase_tenant_step(gone.id, 3, note(&before)).await.expect("nothing is in the way");
        steps += 1;
        let Erased { verifications, messages, keys, services, usage, others } = step.erased;
        assert!(verifications + messages + keys + services + usage + others <= 3, "{step:?}");
        let after = erasure(&store, &gone).await;
        assert_eq!(after.erased, before.erased.and(step.erased), "what a step did is written down with it");
        assert_eq!(after.finished_at.is_some(), step.whole);
        if step.whole {
            break;
        }
        assert!(store.tenant(gone.id).find_tenant().await.expect(ANSWERS).is_some(), "the tenant itself goes last");
        assert!(steps < 30, "it goes on for ever");
    }
    let erased = erasure(&store, &gone).await.erased;
    let counts = (erased.verifications, erased.messages, erased.keys, erased.services, erased.others);
    assert_eq!(counts, (5, 1, 1, 1, 3));
    assert!(erased.usage >= 4, "a day and a month of verifications and of messages");
    assert_eq!(left(&store, &gone).await, NOTHING);
    assert_eq!(store.find_key(&key).await.expect(ANSWERS), None);
    assert_eq!(usage_of(&store, gone.id, Resource::Verifications).await, [Usage::default(); 2]);
    let due = store.due(seconds(1_000_000), 100).await.expect(ANSWERS);
    assert!(due.len() == 6 && due.iter().all(|(tenant, _)| *tenant == stays.id), "{due:?}");

    assert_eq!(left(&store, &stays).await, ALL);
    assert!(store.find_key(&other_key).await.expect(ANSWERS).is_some());
    assert_eq!(usage_of(&store, stays.id, Resource::Verifications).await.map(|usage| usage.used), [5, 5]);

    let again = store.erase_tenant_step(gone.id, 3, note(&erasure(&store, &gone).await)).await;
    let again = again.expect("nothing is in the way");
    assert!(again.whole && again.erased == Erased::default(), "a step too many finds nothing: {again:?}");
}

/// As when the tenant was had back at the same moment.
pub async fn a_step_whose_note_is_refused_erases_nothing(store: Subject) {
    let (tenant, ..) = furnished(&store).await;
    let stale = planned(&store, &tenant).await;
    store.commit(vec![Change::delete(&stale)]).await.expect("nothing is in the way");
    let step = store.erase_tenant_step(tenant.id, 100, note(&stale)).await;
    assert!(matches!(step, Err(CommitError::Changed)), "{step:?}");
    assert_eq!(left(&store, &tenant).await, ALL);
    assert_eq!(usage_of(&store, tenant.id, Resource::Verifications).await.map(|usage| usage.used), [5, 5]);
}

/// Those that lie with a verification, and those of one that is gone already.
pub async fn news_of_an_erased_tenant_go_with_it(store: Subject) {
    let (gone, _, first) = furnished(&store).await;
    let (stays, ..) = furnished(&store).await;
    let before = news_of(&store, &gone).await;
    store.tenant(gone.id).delete_verification(first).await.expect(ANSWERS);
    planned(&store, &gone).await;
    while !store.erase_tenant_step(gone.id, 2, note(&erasure(&store, &gone).await)).await.expect(ANSWERS).whole {}
    assert_eq!(news_of(&store, &gone).await, []);
    assert_eq!(news_of(&store, &stays).await.len(), 5);
    // A fold that read them before makes nothing of them any more.
    let late = store.commit(folded(&gone, &before)).await;
    assert!(matches!(late, Err(CommitError::Changed)), "{late:?}");
    assert_eq!(rollups_of(&store, &gone).await, 0);
}

/// Whichever is made first, nothing is left of what was folded.
pub async fn of_folds_and_an_erasure_that_race_nothing_is_left(store: Subject) {
    for _ in 0..6 {
        let (tenant, _, first) = furnished(&store).await;
        store.tenant(tenant.id).delete_verification(first).await.expect(ANSWERS);
        planned(&store, &tenant).await;
        let folds = (0..3).map(|_| {
            let (store, tenant) = (Arc::clone(&store), tenant.clone());
            tokio::spawn(async move {
                for (key, news) in news_of(&store, &tenant).await {
                    // Each by itself, so that some are made before a step and some after it.
                    match store.commit(folded(&tenant, &[(key, news)])).await {
                        Ok(()) | Err(CommitError::Changed | CommitError::Taken { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        let folds: Vec<_> = folds.collect();
        while !store.erase_tenant_step(tenant.id, 1, note(&erasure(&store, &tenant).await)).await.expect(ANSWERS).whole
        {
        }
        for fold in folds {
            fold.await.expect("no fold panicked");
        }
        assert_eq!((news_of(&store, &tenant).await, rollups_of(&store, &tenant).await), (vec![], 0));
    }
}

/// Two nodes may both believe that it is their turn.
pub async fn of_racing_steps_what_each_erased_is_noted_once(store: Subject) {
    let (tenant, ..) = furnished(&store).await;
    planned(&store, &tenant).await;
    let racers = (0..8).map(|_| {
        let (store, tenant) = (Arc::clone(&store), tenant.clone());
        tokio::spawn(async move {
            for _ in 0..200 {
                let seen = erasure(&store, &tenant).await;
                if seen.finished_at.is_some() {
                    return;
                }
                match store.erase_tenant_step(tenant.id, 2, note(&seen)).await {
                    Ok(_) | Err(CommitError::Changed) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            panic!("it goes on for ever");
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.expect("no racer panicked");
    }
    let erased = erasure(&store, &tenant).await.erased;
    let counts = (erased.verifications, erased.messages, erased.keys, erased.services, erased.others);
    assert_eq!(counts, (5, 1, 1, 1, 3));
    assert_eq!(left(&store, &tenant).await, NOTHING);
}

/// Whatever is remembered of it, by workers too.
pub async fn what_was_erased_is_not_read_changed_or_repeated(store: Subject) {
    let (tenant, _, first) = furnished(&store).await;
    let door = store.tenant(tenant.id);
    let mut held = door.find_verification(first).await.expect(ANSWERS).expect("it was started");
    let plan = planned(&store, &tenant).await;
    let step = store.erase_tenant_step(tenant.id, 100, note(&plan)).await.expect("nothing is in the way");
    assert!(step.whole);
    assert_eq!(door.find_verification(first).await.expect(ANSWERS), None);
    assert!(matches!(door.replace(&mut held, true).await, Err(ReplaceError::Conflict)));
    assert_eq!(usage_of(&store, tenant.id, Resource::Verifications).await, [Usage::default(); 2]);
    let again = NewVerification {
        idempotency: Some(an_idempotency(1, 1, noon())),
        ..admission(a_verification(tenant.id, TO, seconds(9)))
    };
    let again = door.admit(again).await;
    assert!(matches!(again, Ok(Admission::Admitted(_))), "{again:?}");
}
