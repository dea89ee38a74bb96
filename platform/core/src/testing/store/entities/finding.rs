//! What is found: by owner, in order, by key and by time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::{Gadget, Thing, a_thing, due, found, holder, is_changed, listed, made, read, with_email};
use crate::domain::erasure::{Erasure, ErasureStep};
use crate::domain::id::UserId;
use crate::ports::{Change, Entity as _, EntityList, ErasureNote, IndexKey, Owner, Stored};
use crate::testing::builders::{entropy, seconds};
use crate::testing::store::{ANSWERS, Subject, new_tenant};

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

/// Of all owners, and of one kind.
pub async fn what_is_listed_under_a_value_is_counted_as_far_as_asked(store: Subject) {
    let tagged = |second, tags: &[&str]| Thing {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..a_thing(new_tenant(), second)
    };
    let things = [tagged(0, &["a", "b"]), tagged(1, &["a"]), tagged(2, &["b"]), tagged(3, &["a", "a"])];
    let mut all: Vec<Change> = things.iter().map(Change::insert).collect();
    all.push(Change::insert(&Gadget { thing: tagged(4, &["a"]) }));
    made(&store, all).await;
    for (tag, limit, counted) in [("a", 9, 3), ("a", 2, 2), ("a", 0, 0), ("b", 9, 2), ("c", 9, 0)] {
        let key = IndexKey::new("tag", tag);
        assert_eq!(store.count_listed(Thing::KIND, &key, limit).await.expect(ANSWERS), counted, "{tag} {limit}");
    }
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

/// However many there are, unless somebody says how many they want.
pub async fn a_listing_has_all(store: Subject) {
    let tenant = new_tenant();
    let thing = |second| Thing { tags: vec!["many".to_owned()], ..a_thing(tenant, second) };
    made(&store, (0..1001).map(|second| Change::insert(&thing(second))).collect()).await;
    assert_eq!(listed(&store, &EntityList::of(Owner::Tenant(tenant))).await.len(), 1001);
    assert_eq!(listed(&store, &EntityList::by("tag", "many")).await.len(), 1001);
    assert_eq!(listed(&store, &EntityList::by("tag", "many").newest(1000)).await.len(), 1000);
}

/// However many are asked for at once: the others wait, and nobody's calls for them.
pub async fn few_visits_go_on_at_once(store: Subject) {
    let tenant = new_tenant();
    made(&store, (0..50).map(|second| Change::insert(&a_thing(tenant, second))).collect()).await;
    for (owner, most) in [(Some(Owner::Tenant(tenant)), 2), (None, 4)] {
        let list = EntityList { owner, limit: 50, ..EntityList::of(Owner::Platform) };
        let (going_on, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let visits = (0..32).map(|_| {
            let (going_on, seen) = (Arc::clone(&going_on), Arc::clone(&seen));
            let mut rows = 0;
            let visit = move |_| {
                rows += 1;
                if rows == 1 {
                    seen.fetch_max(going_on.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                }
                // The others get the processor, as they do where reading takes long.
                std::thread::yield_now();
                if rows < 50 {
                    return ControlFlow::Continue(());
                }
                going_on.fetch_sub(1, Ordering::SeqCst);
                ControlFlow::Break(())
            };
            store.visit_entities(Thing::KIND, &list, Box::new(visit))
        });
        for visited in join_all(visits).await {
            visited.expect(ANSWERS);
        }
        let seen = seen.load(Ordering::SeqCst);
        assert!((1..=most).contains(&seen), "{seen} at once of {owner:?}");
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

/// And keeps all that it has, and is found as before.
pub async fn a_thing_is_put_off_where_it_is_due(store: Subject) {
    let thing = Thing { due_at: Some(seconds(1)), tags: vec!["a".to_owned()], ..a_thing(new_tenant(), 0) };
    made(&store, vec![Change::insert(&thing)]).await;
    let (kind, owner, id, only) = (Thing::KIND, thing.owner(), thing.id(), [thing]);
    store.put_off(kind, owner, id, seconds(0), seconds(9)).await.expect(ANSWERS);
    assert_eq!(due(&store, seconds(1), 9).await, only, "it was not due yet");
    store.put_off(kind, owner, id, seconds(2), seconds(9)).await.expect(ANSWERS);
    assert_eq!(due(&store, seconds(8), 9).await, []);
    assert_eq!(due(&store, seconds(9), 9).await, only);
    assert_eq!(listed(&store, &EntityList::by("tag", "a")).await, only);
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
    let noted = Erasure::new(tenant, UserId::new(seconds(0), entropy()), seconds(0), seconds(0));
    let note: ErasureNote = Arc::new(move |_: &ErasureStep| Change::put(&noted));
    for (limit, gone, whole) in [(3, 3, false), (4, 4, false), (4, 3, true), (4, 0, true)] {
        let step = store.erase_tenant_step(tenant, limit, Arc::clone(&note)).await.expect("nothing is in the way");
        assert_eq!((step.erased.others, step.whole), (gone, whole));
    }
    assert_eq!(listed(&store, &EntityList::of(Owner::Tenant(tenant))).await, []);
    assert_eq!(listed(&store, &EntityList::by("tag", "tag")).await, []);
    assert_eq!((holder(&store, "0").await, read(&store, &theirs).await.entity), (None, theirs));
    assert_eq!(read(&store, &ours).await.entity, ours);
    made(&store, vec![Change::insert(&with_email(other, "0"))]).await;
}
