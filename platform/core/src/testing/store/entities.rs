//! Entities: changed together or not at all, found by their keys, listed in order.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use super::{ANSWERS, Subject, new_tenant};
use crate::domain::Timestamp;
use crate::domain::api_key::ApiKey;
use crate::domain::id::{ApiKeyId, ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::tenant::Tenant;
use crate::ports::{Change, CommitError, Entity, EntityList, IndexKey, Owner, Stored};
use crate::testing::builders::{a_service, a_stored_key, a_tenant, entropy, seconds};

/// A kind of thing that has everything a thing can have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    id: ServiceId,
    tenant: Option<TenantId>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(default)]
    extra: serde_json::Value,
}

impl Entity for Thing {
    const KIND: &'static str = "test_thing";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        self.tenant.map_or(Owner::Platform, Owner::Tenant)
    }

    fn unique(&self) -> Vec<IndexKey> {
        self.email.iter().map(|email| IndexKey::new("email", email)).collect()
    }

    fn listed(&self) -> Vec<IndexKey> {
        self.tags.iter().map(|tag| IndexKey::new("tag", tag)).collect()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.due_at
    }
}

/// Another kind of thing, with the same keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Gadget {
    thing: Thing,
}

impl Entity for Gadget {
    const KIND: &'static str = "test_gadget";

    fn id(&self) -> [u8; 16] {
        self.thing.id()
    }

    fn owner(&self) -> Owner {
        self.thing.owner()
    }

    fn unique(&self) -> Vec<IndexKey> {
        self.thing.unique()
    }

    fn listed(&self) -> Vec<IndexKey> {
        self.thing.listed()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.thing.wake_at()
    }
}

fn a_thing(tenant: TenantId, second: i64) -> Thing {
    Thing {
        id: ServiceId::new(seconds(second), entropy()),
        tenant: Some(tenant),
        name: "first".to_owned(),
        email: None,
        tags: Vec::new(),
        due_at: None,
        extra: serde_json::Value::Null,
    }
}

fn with_email(tenant: TenantId, email: &str) -> Thing {
    Thing { email: Some(email.to_owned()), ..a_thing(tenant, 0) }
}

async fn made(store: &Subject, changes: Vec<Change>) {
    store.commit(changes).await.expect(ANSWERS);
}

async fn found(store: &Subject, thing: &Thing) -> Option<Stored<Thing>> {
    let row = store.find_entity(Thing::KIND, thing.owner(), thing.id()).await.expect(ANSWERS);
    row.map(|row| Stored::read(row).expect(ANSWERS))
}

async fn read(store: &Subject, thing: &Thing) -> Stored<Thing> {
    found(store, thing).await.expect("it is there")
}

async fn holder(store: &Subject, email: &str) -> Option<Thing> {
    let row = store.find_unique(Thing::KIND, &IndexKey::new("email", email)).await.expect(ANSWERS);
    row.map(|row| Stored::<Thing>::read(row).expect(ANSWERS).entity)
}

async fn listed(store: &Subject, list: &EntityList) -> Vec<Thing> {
    let rows = store.list_entities(Thing::KIND, list).await.expect(ANSWERS);
    rows.into_iter().map(|row| Stored::<Thing>::read(row).expect(ANSWERS).entity).collect()
}

async fn due(store: &Subject, now: Timestamp, limit: usize) -> Vec<Thing> {
    let rows = store.due_entities(Thing::KIND, now, limit).await.expect(ANSWERS);
    rows.into_iter().map(|row| Stored::<Thing>::read(row).expect(ANSWERS).entity).collect()
}

fn is_taken(outcome: &Result<(), CommitError>, name: &str) -> bool {
    matches!(outcome, Err(CommitError::Taken { kind, index }) if *kind == Thing::KIND && *index == name)
}

fn is_changed(outcome: &Result<(), CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Changed))
}

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

/// By owner, by key, and all of a kind; a part of them, from either end.
pub async fn things_are_listed_in_the_order_of_their_ids(store: Subject) {
    let (tenant, other) = (new_tenant(), new_tenant());
    let mut things = Vec::new();
    for (second, tenant, tag) in [(4, tenant, "a"), (1, tenant, "b"), (3, other, "a"), (2, tenant, "a")] {
        things.push(Thing { tags: vec![tag.to_owned()], ..a_thing(tenant, second) });
    }
    let beside = Gadget { thing: Thing { tags: vec!["a".to_owned()], ..a_thing(tenant, 9) } };
    made(&store, things.iter().map(Change::insert).chain([Change::insert(&beside)]).collect()).await;
    things.sort_by_key(|thing| thing.id);
    let [one, two, three, four] = <[Thing; 4]>::try_from(things).expect("there are four");
    let all = EntityList { owner: None, ..EntityList::of(Owner::Platform) };
    let ours = EntityList::of(Owner::Tenant(tenant));
    let tagged = EntityList::by("tag", "a");
    let [first, second, third, fourth] = [&one, &two, &three, &four];
    for (list, in_order) in [
        (&all, vec![first, second, third, fourth]),
        (&ours, vec![first, second, fourth]),
        (&tagged, vec![second, third, fourth]),
        (&EntityList { owner: ours.owner, ..tagged.clone() }, vec![second, fourth]),
        (&EntityList::by("tag", "c"), vec![]),
        (&EntityList::by("other", "a"), vec![]),
        (&EntityList::of(Owner::Tenant(new_tenant())), vec![]),
        (&EntityList::of(Owner::Platform), vec![]),
    ] {
        for newest_first in [false, true] {
            for from in [None, Some(two.id())] {
                for before in [None, Some(four.id()), Some(two.id())] {
                    for limit in [0, 1, 2, 9] {
                        let list = EntityList { newest_first, from, before, limit, ..list.clone() };
                        let mut expected: Vec<Thing> = in_order.iter().map(|thing| (*thing).clone()).collect();
                        expected.retain(|thing| from.is_none_or(|from| thing.id() >= from));
                        expected.retain(|thing| before.is_none_or(|before| thing.id() < before));
                        if newest_first {
                            expected.reverse();
                        }
                        expected.truncate(limit);
                        assert_eq!(listed(&store, &list).await, expected, "{list:?}");
                    }
                }
            }
        }
    }
}

/// What it is listed under is what it was last written with.
pub async fn a_listing_by_key_follows_changes(store: Subject) {
    let thing = Thing { tags: vec!["old".to_owned(), "both".to_owned()], ..a_thing(new_tenant(), 0) };
    made(&store, vec![Change::insert(&thing)]).await;
    let mut changed = read(&store, &thing).await;
    changed.tags = vec!["both".to_owned(), "new".to_owned()];
    made(&store, vec![Change::replace(&changed)]).await;
    for (tag, count) in [("old", 0), ("both", 1), ("new", 1)] {
        assert_eq!(listed(&store, &EntityList::by("tag", tag)).await.len(), count, "{tag}");
    }
    let mut bare = read(&store, &thing).await;
    bare.tags.clear();
    made(&store, vec![Change::replace(&bare)]).await;
    for tag in ["old", "both", "new"] {
        assert_eq!(listed(&store, &EntityList::by("tag", tag)).await, []);
    }
}

/// Of one owner, and one kind.
pub async fn what_is_listed_under_a_few_values_is_found_at_once(store: Subject) {
    let (tenant, other) = (new_tenant(), new_tenant());
    let tagged = |tenant, second, tags: &[&str]| Thing {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..a_thing(tenant, second)
    };
    let things = [tagged(tenant, 0, &["a"]), tagged(tenant, 1, &["b", "c"]), tagged(tenant, 2, &["d"])];
    let (theirs, beside) = (tagged(other, 0, &["a", "d"]), Gadget { thing: tagged(tenant, 3, &["a"]) });
    let mut all: Vec<Change> = things.iter().map(Change::insert).collect();
    all.extend([Change::insert(&theirs), Change::insert(&beside)]);
    made(&store, all).await;
    let found = async |tenant, tags: &[&str]| {
        let keys = tags.iter().map(|tag| IndexKey::new("tag", tag)).collect();
        let rows = store.find_listed(Thing::KIND, Owner::Tenant(tenant), keys).await.expect(ANSWERS);
        let things = rows.into_iter().map(|row| Stored::<Thing>::read(row).expect("it is a thing").entity);
        let mut things: Vec<Thing> = things.collect();
        things.sort_by_key(|thing| thing.id);
        things
    };
    let [first, second, _] = &things;
    assert_eq!(found(tenant, &["a", "b", "nothing"]).await, [first.clone(), second.clone()]);
    assert_eq!(found(other, &["a"]).await, std::slice::from_ref(&theirs));
    assert_eq!(found(tenant, &[]).await, []);
    // Many who ask at one moment get each its own.
    let (mine, others) = tokio::join!(found(tenant, &["a"]), found(other, &["d"]));
    assert_eq!((mine, others), (vec![first.clone()], vec![theirs]));
}

/// And those that have not what is asked for are not shown at all.
pub async fn things_are_shown_one_by_one_until_somebody_has_seen_enough(store: Subject) {
    let tenant = new_tenant();
    let names = ["one", "it's \"odd\" $ ✓ \\", "one", "two", "one"];
    let thing = |(second, name): (usize, &&str)| Thing {
        name: (*name).to_owned(),
        ..a_thing(tenant, i64::try_from(second).unwrap_or(0))
    };
    let things: Vec<Thing> = names.iter().enumerate().map(thing).collect();
    made(&store, things.iter().map(Change::insert).collect()).await;
    for (list, enough, shown) in [
        (EntityList::of(Owner::Tenant(tenant)), 9, vec![0, 1, 2, 3, 4]),
        (EntityList::of(Owner::Tenant(tenant)), 2, vec![0, 1]),
        (EntityList::of(Owner::Tenant(tenant)).newest(3), 9, vec![4, 3, 2]),
        (
            EntityList { holds: vec![("name", "one".to_owned())], ..EntityList::of(Owner::Tenant(tenant)) },
            9,
            vec![0, 2, 4],
        ),
        (
            EntityList { holds: vec![("name", names[1].to_owned())], ..EntityList::of(Owner::Tenant(tenant)) },
            9,
            vec![1],
        ),
        (
            EntityList { holds: vec![("name", "one".to_owned())], ..EntityList::of(Owner::Tenant(tenant)) }.newest(2),
            9,
            vec![4, 2],
        ),
    ] {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seeing = Arc::clone(&seen);
        let visit = move |row| {
            let mut seen = seeing.lock().expect("nobody panicked");
            seen.push(Stored::<Thing>::read(row).expect("it is a thing").entity);
            if seen.len() >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.visit_entities(Thing::KIND, &list, Box::new(visit)).await.expect(ANSWERS);
        let expected: Vec<Thing> = shown.into_iter().filter_map(|place: usize| things.get(place).cloned()).collect();
        assert_eq!(*seen.lock().expect("nobody panicked"), expected, "{list:?}");
    }
}

/// Of everybody, and no more than asked.
pub async fn due_things_come_longest_due_first(store: Subject) {
    let at = |second: Option<i64>| Thing { due_at: second.map(seconds), ..a_thing(new_tenant(), 0) };
    let [late, early, never, later] = [Some(5), Some(1), None, Some(9)].map(at);
    let beside = Gadget { thing: at(Some(1)) };
    let mut all: Vec<Change> = [&late, &early, &never, &later].map(Change::insert).into();
    all.push(Change::insert(&beside));
    made(&store, all).await;
    assert_eq!(due(&store, seconds(0), 9).await, []);
    assert_eq!(due(&store, seconds(5), 9).await, [early.clone(), late.clone()]);
    assert_eq!(due(&store, seconds(99), 2).await, [early.clone(), late.clone()]);
    assert_eq!(due(&store, seconds(99), 0).await, []);
    let mut put_off = read(&store, &early).await;
    put_off.due_at = Some(seconds(7));
    let mut settled = read(&store, &late).await;
    settled.due_at = None;
    made(&store, vec![Change::replace(&put_off), Change::replace(&settled)]).await;
    assert_eq!(due(&store, seconds(99), 9).await, [put_off.entity, later]);
}

/// Whatever is known of it.
pub async fn another_owners_thing_does_not_exist(store: Subject) {
    let (tenant, other) = (new_tenant(), new_tenant());
    let thing = a_thing(tenant, 0);
    made(&store, vec![Change::insert(&thing)]).await;
    for owner in [Some(other), None] {
        let guess = Thing { tenant: owner, ..thing.clone() };
        assert_eq!(found(&store, &guess).await, None);
        // As one that read it, and says that it is its own.
        let mut stolen = read(&store, &thing).await;
        (stolen.tenant, stolen.name) = (owner, "stolen".to_owned());
        for change in [Change::replace(&stolen), Change::delete(&stolen)] {
            let outcome = store.commit(vec![change]).await;
            assert!(is_changed(&outcome), "{outcome:?}");
        }
        assert_eq!(listed(&store, &EntityList::of(guess.owner())).await, []);
    }
    assert_eq!(read(&store, &thing).await.entity, thing);
}

/// All kinds, a few at a time; what is not the tenant's stays, and what was unique is free.
pub async fn erasing_goes_in_steps_and_leaves_what_is_others(store: Subject) {
    let (tenant, other) = (new_tenant(), new_tenant());
    let mut all = Vec::new();
    for number in 0..5 {
        let tags = vec!["tag".to_owned()];
        all.push(Change::insert(&Thing { tags, ..with_email(tenant, &format!("{number}")) }));
        all.push(Change::insert(&Gadget { thing: with_email(tenant, &format!("{number}")) }));
    }
    let theirs = with_email(other, "theirs");
    let ours = Thing { tenant: None, ..with_email(other, "ours") };
    all.extend([Change::insert(&theirs), Change::insert(&ours)]);
    made(&store, all).await;
    for (limit, gone) in [(0, 0), (3, 3), (4, 4), (4, 3), (4, 0)] {
        assert_eq!(store.erase_entities(tenant, limit).await.expect(ANSWERS), gone);
    }
    assert_eq!(listed(&store, &EntityList::of(Owner::Tenant(tenant))).await, []);
    assert_eq!(listed(&store, &EntityList::by("tag", "tag")).await, []);
    assert_eq!((holder(&store, "0").await, read(&store, &theirs).await.entity), (None, theirs));
    assert_eq!(read(&store, &ours).await.entity, ours);
    made(&store, vec![Change::insert(&with_email(other, "0"))]).await;
}

/// With entities, in one commit.
pub async fn a_commit_changes_tenants_services_and_keys_too(store: Subject) {
    let tenant = a_tenant();
    let service = a_service(&tenant);
    let (mut key, hash) = a_stored_key(tenant.id, Mode::Live);
    let thing = a_thing(tenant.id, 0);
    made(
        &store,
        vec![
            Change::InsertTenant(Box::new(tenant.clone())),
            Change::InsertService(Box::new(service.clone())),
            Change::InsertKey(Box::new(key.clone()), hash),
            Change::insert(&thing),
        ],
    )
    .await;
    let door = store.tenant(tenant.id);
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was inserted");
    assert_eq!((holder.tenant, holder.key), (tenant.clone(), key.clone()));
    assert_eq!(door.services().await.expect(ANSWERS), std::slice::from_ref(&service));
    let renamed = Tenant { name: "Other".to_owned(), ..tenant.clone() };
    let mut other = service.clone();
    other.name = "Other Login".to_owned();
    key.revoked_at = Some(seconds(5));
    made(
        &store,
        vec![
            Change::ReplaceTenant(Box::new(renamed.clone())),
            Change::ReplaceService(Box::new(other.clone())),
            Change::ReplaceKey(Box::new(key.clone())),
            Change::delete(&read(&store, &thing).await),
        ],
    )
    .await;
    let next = Tenant { version: tenant.version + 1, ..renamed };
    other.version = service.version + 1;
    assert_eq!(door.find_tenant().await.expect(ANSWERS), Some(next.clone()));
    assert_eq!(door.find_service(service.id).await.expect(ANSWERS), Some(other));
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was inserted");
    key.version += 1;
    assert_eq!((holder.tenant, holder.key), (next, key));
    assert_eq!(found(&store, &thing).await, None);
}

/// And neither does what came with it.
pub async fn a_tenant_service_or_key_that_changed_meanwhile_is_not_replaced(store: Subject) {
    // From before tenants and keys had versions, too.
    for version in [0, 1] {
        let tenant = Tenant { version, ..a_tenant() };
        let service = a_service(&tenant);
        let (key, hash) = a_stored_key(tenant.id, Mode::Live);
        let key = ApiKey { version, ..key };
        store.create_tenant(&tenant, &service, &[(key.clone(), hash)]).await.expect(ANSWERS);
        let changes = [
            Change::ReplaceTenant(Box::new(tenant.clone())),
            Change::ReplaceService(Box::new(service.clone())),
            Change::ReplaceKey(Box::new(key)),
        ];
        made(&store, changes.to_vec()).await;
        let unknown = a_tenant();
        let stale = changes.into_iter().chain([
            Change::ReplaceTenant(Box::new(unknown.clone())),
            Change::ReplaceService(Box::new(a_service(&unknown))),
            Change::ReplaceKey(Box::new(a_stored_key(tenant.id, Mode::Live).0)),
        ]);
        for change in stale {
            let thing = with_email(tenant.id, "ada");
            for both in [vec![Change::insert(&thing), change.clone()], vec![change.clone(), Change::insert(&thing)]] {
                let outcome = store.commit(both).await;
                assert!(is_changed(&outcome), "{change:?}: {outcome:?}");
            }
            assert_eq!((found(&store, &thing).await, holder(&store, "ada").await), (None, None));
        }
        let kept = store.tenant(tenant.id).find_tenant().await.expect(ANSWERS);
        assert_eq!(kept.map(|tenant| tenant.version), Some(version + 1));
        let kept = store.tenant(tenant.id).keys().await.expect(ANSWERS);
        assert_eq!(kept.iter().map(|key| key.version).collect::<Vec<_>>(), [version + 1]);
    }
}

/// As an entity's.
pub async fn an_id_of_a_tenant_service_or_key_that_is_there_is_taken(store: Subject) {
    let tenant = a_tenant();
    let service = a_service(&tenant);
    let (key, hash) = a_stored_key(tenant.id, Mode::Live);
    store.create_tenant(&tenant, &service, &[(key.clone(), hash)]).await.expect(ANSWERS);
    let other = Box::new(ApiKey { id: ApiKeyId::new(seconds(1), entropy()), ..key.clone() });
    for (change, taken) in [
        (Change::InsertTenant(Box::new(tenant.clone())), "tenant"),
        (Change::InsertService(Box::new(service)), "service"),
        (Change::InsertKey(Box::new(key), a_stored_key(tenant.id, Mode::Live).1), "API key"),
        (Change::InsertKey(other, hash), "API key"),
    ] {
        let thing = a_thing(tenant.id, 0);
        let outcome = store.commit(vec![Change::insert(&thing), change]).await;
        let expected = matches!(&outcome, Err(CommitError::Taken { kind, index: "id" }) if *kind == taken);
        assert!(expected, "{taken}: {outcome:?}");
        assert_eq!(found(&store, &thing).await, None);
    }
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
