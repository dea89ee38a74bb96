//! Commits: all or nothing, of racing ones one, and what is unique.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{Gadget, Thing, a_thing, due, found, holder, is_changed, is_taken, listed, made, read, with_email};
use crate::ports::{Change, CommitError, Entity as _, EntityList, Stored};
use crate::testing::builders::seconds;
use crate::testing::store::{ANSWERS, Subject, new_tenant};

/// By its id and by what is unique to it; the platform's as a tenant's.
pub async fn what_is_committed_is_found_as_it_was(store: Subject) {
    let tenant = new_tenant();
    let theirs = Thing {
        email: Some("ada@example.com".to_owned()),
        tags: vec!["one".to_owned(), "two".to_owned(), "two".to_owned()],
        due_at: Some(seconds(5)),
        ..a_thing(tenant, 0)
    };
    let ours = Thing { tenant: None, ..a_thing(tenant, 0) };
    made(&store, vec![Change::insert(&theirs), Change::insert(&ours)]).await;
    assert_eq!(read(&store, &theirs).await.entity, theirs);
    assert_eq!(read(&store, &ours).await.entity, ours);
    assert_eq!(holder(&store, "ada@example.com").await, Some(theirs.clone()));
    assert_eq!(holder(&store, "ada@example.co").await, None);
    let row = store.find_entity(Thing::KIND, theirs.owner(), theirs.id()).await.expect(ANSWERS).expect("it is there");
    assert_eq!((row.kind, row.owner, row.id), (Thing::KIND, theirs.owner(), theirs.id()));
    assert_eq!((row.version, row.wake_at), (1, Some(seconds(5))));
    store.commit(Vec::new()).await.expect(ANSWERS);
}

/// Names and values that mean something to a database mean nothing here.
pub async fn any_json_is_kept_as_it_is(store: Subject) {
    let extra = json!({
        "$numberLong": "5", "a.b": { "$oid": "507f1f77bcf86cd799439011" }, "$set": [{ "$date": "2026-03-15T12:00:00Z" }],
        "": null, "nul\u{0}": "\u{0}", "most": u64::MAX, "least": i64::MIN, "small": 1, "whole": 1.0, "part": 0.1,
    });
    let only = json!({ "$numberLong": "5" });
    for extra in [extra, only] {
        let thing = Thing { extra, ..a_thing(new_tenant(), 0) };
        made(&store, vec![Change::insert(&thing)]).await;
        assert_eq!(read(&store, &thing).await.entity, thing);
        let mut changed = read(&store, &thing).await;
        changed.entity.extra = json!([thing.extra]);
        made(&store, vec![Change::replace(&changed)]).await;
        assert_eq!(read(&store, &thing).await.entity, changed.entity);
    }
}

/// The last of them is refused, and none of them is made.
pub async fn changes_are_made_all_or_none(store: Subject) {
    let tenant = new_tenant();
    let (kept, gone, there) = (with_email(tenant, "kept"), a_thing(tenant, 1), with_email(tenant, "there"));
    made(&store, vec![Change::insert(&kept), Change::insert(&gone), Change::insert(&there)]).await;
    let mut renamed = read(&store, &kept).await;
    (renamed.name, renamed.email) = ("second".to_owned(), Some("renamed".to_owned()));
    let new = with_email(tenant, "new");
    let put = Thing { tags: vec!["put".to_owned()], ..a_thing(tenant, 2) };
    let changes = [
        Change::insert(&new),
        Change::replace(&renamed),
        Change::delete(&read(&store, &gone).await),
        Change::put(&put),
    ];
    let mut stale = read(&store, &there).await;
    made(&store, vec![Change::replace(&stale)]).await;
    stale.name = "late".to_owned();
    let taken = with_email(tenant, "there");
    for last in [Change::replace(&stale), Change::delete(&stale), Change::insert(&taken), Change::insert(&there)] {
        let mut all = changes.to_vec();
        all.push(last.clone());
        let refused = store.commit(all).await;
        assert!(matches!(refused, Err(CommitError::Changed | CommitError::Taken { .. })), "{last:?}: {refused:?}");
        assert_eq!(read(&store, &kept).await.entity, kept);
        assert_eq!(read(&store, &gone).await.entity, gone);
        for thing in [&new, &put] {
            assert_eq!(found(&store, thing).await, None);
        }
        for email in ["new", "renamed"] {
            assert_eq!(holder(&store, email).await, None);
        }
        assert_eq!(listed(&store, &EntityList::by("tag", "put")).await, []);
        assert_eq!(holder(&store, "kept").await, Some(kept.clone()));
    }
    // Without the last all of them are.
    made(&store, changes.to_vec()).await;
    assert_eq!(read(&store, &kept).await.name, "second");
    assert_eq!(found(&store, &gone).await, None);
    assert_eq!((holder(&store, "new").await, holder(&store, "kept").await), (Some(new), None));
}

/// Of the same kind and owner; of others it is another thing.
pub async fn an_id_that_is_there_is_taken(store: Subject) {
    let (tenant, other) = (new_tenant(), new_tenant());
    let thing = a_thing(tenant, 0);
    made(&store, vec![Change::insert(&thing)]).await;
    let again = Thing { name: "second".to_owned(), ..thing.clone() };
    let outcome = store.commit(vec![Change::insert(&again)]).await;
    assert!(is_taken(&outcome, "id"), "{outcome:?}");
    assert_eq!(read(&store, &thing).await.entity, thing);
    let theirs = Thing { tenant: Some(other), ..again };
    made(&store, vec![Change::insert(&theirs), Change::insert(&Gadget { thing: thing.clone() })]).await;
    assert_eq!((read(&store, &thing).await.entity, read(&store, &theirs).await.entity), (thing.clone(), theirs));
    let twice = a_thing(tenant, 1);
    let outcome = store.commit(vec![Change::insert(&twice), Change::insert(&twice)]).await;
    assert!(is_taken(&outcome, "id"), "{outcome:?}");
}

/// Whoever owns it. Of another kind it is another value.
pub async fn a_unique_value_is_one_things_of_its_kind(store: Subject) {
    let (tenant, other) = (new_tenant(), new_tenant());
    let first = with_email(tenant, "ada");
    made(&store, vec![Change::insert(&first)]).await;
    let mut plain = a_thing(tenant, 0);
    made(&store, vec![Change::insert(&plain)]).await;
    let mut stored = read(&store, &plain).await;
    stored.email = Some("ada".to_owned());
    plain.email = Some("ada".to_owned());
    for change in [
        Change::insert(&with_email(tenant, "ada")),
        Change::insert(&with_email(other, "ada")),
        Change::insert(&Thing { tenant: None, ..with_email(tenant, "ada") }),
        Change::replace(&stored),
        Change::put(&plain),
    ] {
        let outcome = store.commit(vec![change]).await;
        assert!(is_taken(&outcome, "email"), "{outcome:?}");
    }
    let (one, two) = (with_email(tenant, "bob"), with_email(other, "bob"));
    let outcome = store.commit(vec![Change::insert(&one), Change::insert(&two)]).await;
    assert!(is_taken(&outcome, "email"), "{outcome:?}");
    made(&store, vec![Change::insert(&Gadget { thing: with_email(other, "ada") })]).await;
    assert_eq!(holder(&store, "ada").await, Some(first.clone()));
    // It is not taken from what has it itself.
    let mut renamed = read(&store, &first).await;
    renamed.name = "second".to_owned();
    made(&store, vec![Change::replace(&renamed)]).await;
    assert_eq!(holder(&store, "ada").await, Some(renamed.entity));
}

/// By a replace, by a put, by a delete; at once, within the same commit.
pub async fn a_unique_value_is_free_once_nothing_has_it(store: Subject) {
    let tenant = new_tenant();
    let [one, two, three, four] = [(); 4].map(|()| with_email(tenant, "ada"));
    made(&store, vec![Change::insert(&one)]).await;
    let mut left = read(&store, &one).await;
    left.email = Some("bob".to_owned());
    made(&store, vec![Change::replace(&left), Change::insert(&two)]).await;
    assert_eq!((holder(&store, "bob").await, holder(&store, "ada").await), (Some(left.entity), Some(two.clone())));
    made(&store, vec![Change::put(&Thing { email: None, ..two.clone() }), Change::insert(&three)]).await;
    assert_eq!(holder(&store, "ada").await, Some(three.clone()));
    made(&store, vec![Change::delete(&read(&store, &three).await), Change::insert(&four)]).await;
    assert_eq!(holder(&store, "ada").await, Some(four.clone()));
    // In the other order they cannot be.
    let deleted = Change::delete(&read(&store, &four).await);
    let outcome = store.commit(vec![Change::insert(&two), deleted.clone()]).await;
    assert!(is_taken(&outcome, "id"), "{outcome:?}");
    let outcome = store.commit(vec![Change::insert(&with_email(tenant, "ada")), deleted]).await;
    assert!(is_taken(&outcome, "email"), "{outcome:?}");
}

/// One wins, and the others hear which value it was.
pub async fn of_50_racing_inserts_of_one_unique_value_one_wins(store: Subject) {
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (store, thing) = (Arc::clone(&store), with_email(new_tenant(), "ada"));
        calls.spawn(async move { (store.commit(vec![Change::insert(&thing)]).await, thing) });
    }
    let outcomes = calls.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter(|(outcome, _)| outcome.is_ok()).map(|(_, thing)| thing).collect();
    assert!(outcomes.iter().all(|(outcome, _)| outcome.is_ok() || is_taken(outcome, "email")), "{outcomes:?}");
    assert_eq!(winners.len(), 1);
    assert_eq!(holder(&store, "ada").await.as_ref(), winners.first().copied());
}

/// The others hear that it changed, and nothing that they brought along is kept.
pub async fn of_50_racing_replaces_of_one_thing_one_wins(store: Subject) {
    let thing = a_thing(new_tenant(), 0);
    made(&store, vec![Change::insert(&thing)]).await;
    let stored = read(&store, &thing).await;
    let mut calls = JoinSet::new();
    for number in 0..50 {
        let (store, mut mine) = (Arc::clone(&store), stored.clone());
        mine.name = format!("name {number}");
        calls.spawn(async move {
            let beside = Thing { name: mine.name.clone(), tags: vec!["beside".to_owned()], ..a_thing(new_tenant(), 0) };
            (store.commit(vec![Change::insert(&beside), Change::replace(&mine)]).await, mine.name.clone())
        });
    }
    let outcomes = calls.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter(|(outcome, _)| outcome.is_ok()).map(|(_, name)| name).collect();
    assert!(outcomes.iter().all(|(outcome, _)| outcome.is_ok() || is_changed(outcome)), "{outcomes:?}");
    assert_eq!(winners, [&read(&store, &thing).await.name]);
    let beside = listed(&store, &EntityList::by("tag", "beside")).await;
    assert_eq!(beside.iter().map(|thing| &thing.name).collect::<Vec<_>>(), winners);
}

/// What lost reads again, and each counts.
pub async fn racing_changes_that_read_again_are_all_made(store: Subject) {
    let thing = a_thing(new_tenant(), 0);
    made(&store, vec![Change::insert(&thing)]).await;
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let (store, thing) = (Arc::clone(&store), thing.clone());
        calls.spawn(async move {
            loop {
                let mut mine = read(&store, &thing).await;
                mine.tags.push(format!("tag {number}"));
                match store.commit(vec![Change::replace(&mine)]).await {
                    Ok(()) => return,
                    Err(CommitError::Changed) => {}
                    Err(other) => panic!("{ANSWERS}: {other}"),
                }
            }
        });
    }
    calls.join_all().await;
    assert_eq!(read(&store, &thing).await.tags.len(), 16);
    for number in 0..16 {
        assert_eq!(listed(&store, &EntityList::by("tag", format!("tag {number}"))).await.len(), 1);
    }
}

/// What was changed, or is gone, is not replaced.
pub async fn a_thing_is_replaced_only_as_it_was_read(store: Subject) {
    let thing = a_thing(new_tenant(), 0);
    made(&store, vec![Change::insert(&thing)]).await;
    let (mut mine, mut theirs) = (read(&store, &thing).await, read(&store, &thing).await);
    mine.name = "mine".to_owned();
    theirs.name = "theirs".to_owned();
    made(&store, vec![Change::replace(&mine)]).await;
    let outcome = store.commit(vec![Change::replace(&theirs)]).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    assert_eq!(read(&store, &thing).await.name, "mine");
    made(&store, vec![Change::delete(&read(&store, &thing).await)]).await;
    let outcome = store.commit(vec![Change::replace(&mine)]).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    assert_eq!(found(&store, &thing).await, None);
}

/// What was changed, or is gone, is not deleted either.
pub async fn a_thing_is_deleted_only_as_it_was_read(store: Subject) {
    let thing = Thing {
        tags: vec!["tag".to_owned()],
        due_at: Some(seconds(0)),
        email: Some("ada".to_owned()),
        ..a_thing(new_tenant(), 0)
    };
    made(&store, vec![Change::insert(&thing)]).await;
    let old = read(&store, &thing).await;
    made(&store, vec![Change::replace(&old)]).await;
    let outcome = store.commit(vec![Change::delete(&old)]).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    let new = read(&store, &thing).await;
    made(&store, vec![Change::delete(&new)]).await;
    assert_eq!((found(&store, &thing).await, holder(&store, "ada").await), (None, None));
    assert_eq!(listed(&store, &EntityList::by("tag", "tag")).await, []);
    assert_eq!(due(&store, seconds(9), 9).await, []);
    let outcome = store.commit(vec![Change::delete(&new)]).await;
    assert!(is_changed(&outcome), "{outcome:?}");
}

/// It counts as a change to whoever read it before.
pub async fn what_is_put_is_there_whatever_was(store: Subject) {
    let mut thing = a_thing(new_tenant(), 0);
    made(&store, vec![Change::put(&thing)]).await;
    let before = read(&store, &thing).await;
    thing.name = "second".to_owned();
    made(&store, vec![Change::put(&thing)]).await;
    assert_eq!(read(&store, &thing).await.entity, thing);
    let outcome = store.commit(vec![Change::replace(&before)]).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (store, thing) = (Arc::clone(&store), thing.clone());
        calls.spawn(async move { store.commit(vec![Change::put(&thing)]).await });
    }
    for outcome in calls.join_all().await {
        outcome.expect(ANSWERS);
    }
    let row = store.find_entity(Thing::KIND, thing.owner(), thing.id()).await.expect(ANSWERS).expect("it is there");
    assert_eq!(row.version, 18);
}

/// By one that does not know it.
pub async fn what_a_newer_program_added_survives_a_replace(store: Subject) {
    let thing = a_thing(new_tenant(), 0);
    let Change::Insert(mut row) = Change::insert(&thing) else { unreachable!("it is an insert") };
    row.doc.insert("color".to_owned(), json!({ "name": "red" }));
    made(&store, vec![Change::Insert(row)]).await;
    let mut older = read(&store, &thing).await;
    older.name = "second".to_owned();
    made(&store, vec![Change::replace(&older)]).await;
    let row = store.find_entity(Thing::KIND, thing.owner(), thing.id()).await.expect(ANSWERS).expect("it is there");
    assert_eq!(row.doc.get("color"), Some(&json!({ "name": "red" })));
    assert_eq!(Stored::<Thing>::read(row).expect(ANSWERS).entity, older.entity);
}

/// Nor is anything else of them lost.
pub async fn of_commits_beside_each_other_only_the_refused_leave_nothing(store: Subject) {
    let tenant = new_tenant();
    made(&store, vec![Change::insert(&with_email(tenant, "taken"))]).await;
    let mut calls = JoinSet::new();
    for number in 0..64 {
        let store = Arc::clone(&store);
        calls.spawn(async move {
            let thing = Thing { tags: vec!["beside".to_owned()], ..with_email(tenant, &format!("{number}")) };
            let mut changes = vec![Change::insert(&thing)];
            if number % 2 == 1 {
                changes.push(Change::insert(&with_email(tenant, "taken")));
            }
            (number, store.commit(changes).await)
        });
    }
    for (number, outcome) in calls.join_all().await {
        assert!(if number % 2 == 0 { outcome.is_ok() } else { is_taken(&outcome, "email") }, "{number}: {outcome:?}");
        assert_eq!(holder(&store, &format!("{number}")).await.is_some(), number % 2 == 0, "{number}");
    }
    assert_eq!(listed(&store, &EntityList::by("tag", "beside")).await.len(), 32);
}
