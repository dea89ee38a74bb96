//! Live connections: who keeps one, and what is stored for it.

use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{ANSWERS, Subject};
use crate::domain::Timestamp;
use crate::domain::connection_lease::ConnectionLease;
use crate::domain::erasure::{Erasure, ErasureStep};
use crate::domain::id::{ConnectionId, NodeId, UserId};
use crate::ports::{Change, ErasureNote, StateChange, StateError, StateKey, StateRange, StateRow, TenantAccount};
use crate::testing::builders::{a_service, a_tenant, entropy, noon, seconds};

fn a_node() -> NodeId {
    NodeId::new(noon(), entropy())
}

/// A connection of a tenant that is there.
async fn a_connection(store: &Subject) -> TenantAccount {
    let tenant = a_tenant();
    store.create_tenant(&tenant, &a_service(&tenant), &[]).await.expect(ANSWERS);
    TenantAccount { tenant: tenant.id, connection: ConnectionId::new(noon(), entropy()) }
}

async fn take(store: &Subject, of: TenantAccount, holder: NodeId, from: i64) -> Option<ConnectionLease> {
    store.take_connection(of, holder, seconds(from), seconds(from + 10)).await.expect(ANSWERS)
}

/// A connection that is kept until ten seconds past noon.
pub(super) async fn kept(store: &Subject) -> ConnectionLease {
    let of = a_connection(store).await;
    take(store, of, a_node(), 0).await.expect("it is free")
}

fn key(kind: u8, group: u8, name: u8) -> StateKey {
    StateKey { kind, group: [group; 16], name: [name; 16] }
}

fn put(key: StateKey, value: impl AsRef<[u8]>) -> StateChange {
    StateChange::Put(StateRow { key, value: value.as_ref().to_vec() })
}

async fn write(store: &Subject, lease: &ConnectionLease, changes: Vec<StateChange>) {
    store.write_state(lease, changes).await.expect("it is kept by this one");
}

async fn is_fenced(store: &Subject, lease: &ConnectionLease) -> bool {
    let late = store.write_state(lease, vec![put(key(9, 9, 9), "late")]).await;
    match late {
        Ok(()) => false,
        Err(StateError::Fenced) => true,
        Err(StateError::Store(error)) => panic!("{error}"),
    }
}

async fn read(store: &Subject, of: TenantAccount, key: StateKey) -> Option<Vec<u8>> {
    store.read_state(of, &[key]).await.expect(ANSWERS).remove(0)
}

async fn all(store: &Subject, of: TenantAccount) -> Vec<StateRow> {
    store.list_state(of, StateRange::All, None, 1000).await.expect(ANSWERS)
}

/// Until it ends; then another gets it, with a higher fence. Others' connections are others'.
pub async fn a_connection_is_one_nodes_until_its_lease_ends(store: Subject) {
    let (of, first, second) = (a_connection(&store).await, a_node(), a_node());
    assert_eq!(store.find_connection_lease(of).await.expect(ANSWERS), None);
    let taken = take(&store, of, first, 0).await.expect("it is free");
    assert_eq!((taken.of, taken.holder, taken.until), (of, first, seconds(10)));
    assert_eq!(store.find_connection_lease(of).await.expect(ANSWERS), Some(taken.clone()));
    assert_eq!(take(&store, of, second, 9).await, None);
    assert_eq!(store.find_connection_lease(of).await.expect(ANSWERS), Some(taken.clone()));
    let next = take(&store, of, second, 10).await.expect("it has ended");
    assert!(next.fence > taken.fence);
    assert_eq!(take(&store, of, first, 11).await, None);
    let of = a_connection(&store).await;
    assert!(take(&store, of, first, 11).await.is_some());
}

/// As when a part of it lost its mind: what that still does is refused.
pub async fn a_connection_that_its_holder_takes_again_has_a_higher_fence(store: Subject) {
    let first = kept(&store).await;
    let again = take(&store, first.of, first.holder, 0).await.expect("its own");
    assert!(again.fence > first.fence);
    assert!(is_fenced(&store, &first).await);
    assert!(!is_fenced(&store, &again).await);
}

/// Each that is in force, with the fence that it had; the others are told to be lost.
pub async fn of_many_leases_those_in_force_are_prolonged(store: Subject) {
    let (mine, lost, ended) = (kept(&store).await, kept(&store).await, kept(&store).await);
    let other = take(&store, lost.of, lost.holder, 1).await.expect("its own");
    let ended = ConnectionLease { until: seconds(2), ..ended };
    store.release_connection(&ended, seconds(2)).await.expect(ANSWERS);
    let gone = ConnectionLease { of: a_connection(&store).await, ..mine.clone() };
    let leases = [lost.clone(), mine.clone(), ended.clone(), gone.clone(), other.clone()];
    let prolonged = store.prolong_connections(&leases, seconds(5), seconds(30)).await.expect(ANSWERS);
    assert_eq!(prolonged, [false, true, false, false, true]);
    let find = async |of| store.find_connection_lease(of).await.expect(ANSWERS);
    assert_eq!(find(mine.of).await, Some(ConnectionLease { until: seconds(30), ..mine.clone() }));
    assert_eq!(find(lost.of).await, Some(ConnectionLease { until: seconds(30), ..other }));
    assert_eq!(find(ended.of).await, Some(ended));
    assert_eq!(find(gone.of).await, None);
    // To the very moment: one that ends now has ended.
    assert_eq!(store.prolong_connections(&[mine], seconds(30), seconds(40)).await.expect(ANSWERS), [false]);
    assert!(store.prolong_connections(&[], seconds(30), seconds(40)).await.expect(ANSWERS).is_empty());
}

/// At once; what somebody else holds by now stays theirs.
pub async fn a_connection_that_was_given_back_is_free(store: Subject) {
    let taken = kept(&store).await;
    store.release_connection(&taken, seconds(1)).await.expect(ANSWERS);
    let next = take(&store, taken.of, a_node(), 1).await.expect("it is free");
    assert!(next.fence > taken.fence);
    store.release_connection(&taken, seconds(2)).await.expect(ANSWERS);
    assert_eq!(store.find_connection_lease(taken.of).await.expect(ANSWERS), Some(next));
    // What has ended is not made to have ended later.
    let ended = kept(&store).await;
    store.release_connection(&ended, seconds(20)).await.expect(ANSWERS);
    assert_eq!(store.find_connection_lease(ended.of).await.expect(ANSWERS), Some(ended));
}

/// To that node and no other, which reads all that was written.
pub async fn a_connection_is_handed_over_to_a_node(store: Subject) {
    let (mine, to) = (kept(&store).await, a_node());
    write(&store, &mine, vec![put(key(1, 1, 1), "before")]).await;
    let theirs = store.hand_over_connection(&mine, to, seconds(5), seconds(15)).await.expect(ANSWERS);
    let theirs = theirs.expect("it was in force");
    assert_eq!((theirs.of, theirs.holder, theirs.until), (mine.of, to, seconds(15)));
    assert!(theirs.fence > mine.fence);
    assert!(is_fenced(&store, &mine).await);
    assert_eq!(take(&store, mine.of, a_node(), 6).await, None);
    assert_eq!(read(&store, mine.of, key(1, 1, 1)).await.as_deref(), Some(&b"before"[..]));
    write(&store, &theirs, vec![put(key(1, 1, 1), "after")]).await;
    // Not twice, and not once it has ended.
    let again = store.hand_over_connection(&mine, a_node(), seconds(6), seconds(16)).await.expect(ANSWERS);
    assert_eq!(again, None);
    let late = store.hand_over_connection(&theirs, a_node(), seconds(15), seconds(25)).await.expect(ANSWERS);
    assert_eq!(late, None);
    assert_eq!(store.find_connection_lease(mine.of).await.expect(ANSWERS), Some(theirs));
}

/// Exactly one, whoever it is, and only that one writes.
pub async fn of_32_nodes_that_race_for_a_connection_one_gets_it(store: Subject) {
    let of = a_connection(&store).await;
    let mut fence = 0;
    for round in 0..4 {
        let mut calls = JoinSet::new();
        for _ in 0..32 {
            let store = Arc::clone(&store);
            calls.spawn(async move { take(&store, of, a_node(), 20 * round).await });
        }
        let mut taken: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
        assert_eq!(taken.len(), 1, "{taken:?}");
        let taken = taken.remove(0);
        assert!(taken.fence > fence);
        fence = taken.fence;
        assert!(!is_fenced(&store, &taken).await);
    }
}

/// Nor is anything left of it that nobody takes away.
pub async fn a_connection_of_a_tenant_that_is_gone_is_not_taken(store: Subject) {
    let of = TenantAccount { tenant: a_tenant().id, connection: ConnectionId::new(noon(), entropy()) };
    assert_eq!(take(&store, of, a_node(), 0).await, None);
    assert_eq!(store.connection_leases().await.expect(ANSWERS), []);
}

/// Those that have ended too, until they are erased.
pub async fn leases_of_connections_are_listed(store: Subject) {
    let mut leases = vec![kept(&store).await, kept(&store).await, kept(&store).await];
    store.release_connection(&leases[1], seconds(1)).await.expect(ANSWERS);
    leases[1].until = seconds(1);
    leases.sort_by_key(|lease| lease.of.to_bytes());
    assert_eq!(store.connection_leases().await.expect(ANSWERS), leases);
    assert!(store.erase_state(leases[0].of, 10).await.expect(ANSWERS));
    assert_eq!(store.connection_leases().await.expect(ANSWERS), leases[1..]);
}

/// Any bytes, none too; what is not there is none.
pub async fn what_was_written_of_a_connection_is_read_as_it_was(store: Subject) {
    let lease = kept(&store).await;
    let large: Vec<u8> = (0..200_000).map(|n: u32| n.to_le_bytes()[1]).collect();
    let values: [(StateKey, &[u8]); 4] =
        [(key(1, 1, 1), b""), (key(1, 1, 2), b"\0\xff\0"), (key(255, 255, 255), &large), (key(0, 0, 0), b"zero")];
    write(&store, &lease, values.iter().map(|(key, value)| put(*key, value)).collect()).await;
    let mut keys: Vec<StateKey> = values.iter().map(|(key, _)| *key).collect();
    keys.insert(1, key(1, 2, 1));
    keys.push(values[0].0);
    let found = store.read_state(lease.of, &keys).await.expect(ANSWERS);
    let mut expected: Vec<Option<Vec<u8>>> = values.iter().map(|(_, value)| Some(value.to_vec())).collect();
    expected.insert(1, None);
    expected.push(Some(Vec::new()));
    assert_eq!(found, expected);
    assert_eq!(store.read_state(lease.of, &[]).await.expect(ANSWERS), Vec::<Option<Vec<u8>>>::new());
    write(&store, &lease, vec![put(keys[0], "another"), StateChange::Delete(keys[2])]).await;
    assert_eq!(read(&store, lease.of, keys[0]).await.as_deref(), Some(&b"another"[..]));
    assert_eq!(read(&store, lease.of, keys[2]).await, None);
    write(&store, &lease, vec![StateChange::Delete(keys[2])]).await;
    write(&store, &lease, vec![]).await;
    assert_eq!(all(&store, lease.of).await.len(), 3);
}

/// So that what is put and taken away in one write is what the last of it says.
pub async fn changes_of_one_write_are_made_one_after_another(store: Subject) {
    let lease = kept(&store).await;
    let (one, two) = (key(1, 1, 1), key(1, 1, 2));
    let changes = vec![
        put(one, "first"),
        StateChange::Delete(one),
        put(two, "first"),
        put(two, "second"),
        StateChange::Delete(two),
        put(two, "third"),
    ];
    write(&store, &lease, changes).await;
    assert_eq!(all(&store, lease.of).await, [StateRow { key: two, value: b"third".to_vec() }]);
}

/// As many as there are of them: more than a statement or a message holds.
pub async fn a_write_of_thousands_is_made_whole(store: Subject) {
    let lease = kept(&store).await;
    let key =
        |n: u16| StateKey { kind: 1, group: [0; 16], name: [n.to_be_bytes(); 8].concat().try_into().expect("16") };
    let changes: Vec<_> = (0..2500).map(|n| put(key(n), [u8::try_from(n % 251).expect("a byte"); 4096])).collect();
    write(&store, &lease, changes).await;
    let mut after = None;
    let mut count = 0;
    loop {
        let page = store.list_state(lease.of, StateRange::Kind(1), after, 700).await.expect(ANSWERS);
        for row in &page {
            assert_eq!((row.key, row.value[4095]), (key(count), u8::try_from(count % 251).expect("a byte")));
            count += 1;
        }
        after = page.last().map(|row| row.key);
        if page.len() < 700 {
            break;
        }
    }
    assert_eq!(count, 2500);
    write(&store, &lease, (0..2500).map(|n| StateChange::Delete(key(n))).collect()).await;
    assert_eq!(all(&store, lease.of).await, []);
}

/// All, or those of a kind or of a group, a page at a time, of this connection only.
pub async fn the_state_of_a_connection_is_listed_in_the_order_of_its_keys(store: Subject) {
    let lease = kept(&store).await;
    let neighbour =
        take(&store, TenantAccount { connection: ConnectionId::new(noon(), entropy()), ..lease.of }, a_node(), 0);
    let neighbour = neighbour.await.expect("it is free");
    let in_order =
        [key(0, 0, 0), key(7, 2, 255), key(7, 3, 0), key(7, 3, 1), key(7, 3, 255), key(7, 4, 0), key(255, 255, 255)];
    for kept in [&lease, &neighbour] {
        write(&store, kept, in_order.iter().rev().map(|key| put(*key, kept.of.connection.to_bytes())).collect()).await;
    }
    let list = async |range, after, limit| {
        let rows = store.list_state(lease.of, range, after, limit).await.expect(ANSWERS);
        assert!(rows.iter().all(|row| row.value == lease.of.connection.to_bytes()));
        rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
    };
    assert_eq!(list(StateRange::All, None, 99).await, in_order);
    assert_eq!(list(StateRange::Kind(7), None, 99).await, in_order[1..6]);
    assert_eq!(list(StateRange::Group(7, [3; 16]), None, 99).await, in_order[2..5]);
    assert_eq!(list(StateRange::Kind(7), None, 2).await, in_order[1..3]);
    assert_eq!(list(StateRange::Kind(7), Some(in_order[2]), 2).await, in_order[3..5]);
    assert_eq!(list(StateRange::Kind(7), Some(in_order[5]), 2).await, []);
    assert_eq!(list(StateRange::Kind(8), None, 99).await, []);
    assert_eq!(list(StateRange::All, None, 0).await, []);
}

/// And another's lease opens nothing of it.
pub async fn the_state_of_another_connection_does_not_exist(store: Subject) {
    let (one, two) = (kept(&store).await, kept(&store).await);
    let same = key(1, 1, 1);
    write(&store, &one, vec![put(same, "one")]).await;
    assert_eq!((read(&store, two.of, same).await, all(&store, two.of).await), (None, vec![]));
    for of in
        [TenantAccount { tenant: two.of.tenant, ..one.of }, TenantAccount { connection: two.of.connection, ..one.of }]
    {
        assert!(is_fenced(&store, &ConnectionLease { of, ..one.clone() }).await);
        assert_eq!(read(&store, of, same).await, None);
    }
    write(&store, &two, vec![put(same, "two"), StateChange::Delete(key(1, 1, 2))]).await;
    assert!(store.erase_state(two.of, 10).await.expect(ANSWERS));
    assert_eq!(read(&store, one.of, same).await.as_deref(), Some(&b"one"[..]));
}

/// Nothing of it is kept, and what the new holder wrote stays.
pub async fn a_write_with_an_older_fence_is_refused(store: Subject) {
    let old = kept(&store).await;
    write(&store, &old, vec![put(key(1, 1, 1), "old"), put(key(1, 1, 2), "old")]).await;
    let new = take(&store, old.of, a_node(), 10).await.expect("it has ended");
    write(&store, &new, vec![put(key(1, 1, 1), "new")]).await;
    let before = all(&store, old.of).await;
    let changes = vec![put(key(1, 1, 1), "late"), put(key(1, 1, 3), "late"), StateChange::Delete(key(1, 1, 2))];
    let late = store.write_state(&old, changes.clone()).await;
    assert!(matches!(late, Err(StateError::Fenced)), "{late:?}");
    let early = ConnectionLease { fence: new.fence + 1, ..new.clone() };
    let early = store.write_state(&early, changes).await;
    assert!(matches!(early, Err(StateError::Fenced)), "{early:?}");
    let nothing = store.write_state(&old, vec![]).await;
    assert!(matches!(nothing, Err(StateError::Fenced)), "{nothing:?}");
    assert_eq!(all(&store, old.of).await, before);
}

/// Until somebody else has it, nobody else can have written.
pub async fn a_holder_writes_until_another_has_taken_the_connection(store: Subject) {
    let old = kept(&store).await;
    store.release_connection(&old, seconds(1)).await.expect(ANSWERS);
    write(&store, &old, vec![put(key(1, 1, 1), "after the end")]).await;
    take(&store, old.of, a_node(), 2).await.expect("it is free");
    assert!(is_fenced(&store, &old).await);
}

/// Beside each other, and of both each gets its own answer: what is refused is one of many that go together.
pub async fn of_writes_beside_each_other_only_those_of_former_holders_are_refused(store: Subject) {
    let mut pairs = Vec::new();
    for _ in 0..6 {
        let old = kept(&store).await;
        let new = take(&store, old.of, a_node(), 10).await.expect("it has ended");
        pairs.push((old, new));
    }
    let mut calls = JoinSet::new();
    for round in 0..10 {
        for (place, (old, new)) in pairs.iter().cloned().enumerate() {
            // In some rounds only those who may write do.
            let leases = if round % 3 == 0 { vec![new] } else { vec![old, new] };
            for (n, lease) in leases.into_iter().enumerate() {
                let store = Arc::clone(&store);
                let may = n + 1 == 2 || round % 3 == 0;
                calls.spawn(async move {
                    let value = if may { "new" } else { "old" };
                    let change = put(key(1, round, u8::try_from(place).expect("few")), value);
                    let outcome = store.write_state(&lease, vec![change]).await;
                    assert_eq!(outcome.is_ok(), may, "{outcome:?}");
                    assert!(may || matches!(outcome, Err(StateError::Fenced)), "{outcome:?}");
                });
            }
        }
    }
    calls.join_all().await;
    for (_, new) in pairs {
        let rows = all(&store, new.of).await;
        assert_eq!(rows.len(), 10);
        assert!(rows.iter().all(|row| row.value == b"new"));
    }
}

/// Whoever has taken a connection finds all that its former holder was told is stored, and nothing of that one's is
/// added any more.
pub async fn of_writes_and_a_take_over_that_race_none_comes_after_it(store: Subject) {
    for round in 0..8 {
        let old = kept(&store).await;
        let (writing, began) = oneshot::channel();
        let writer = tokio::spawn({
            let (store, old) = (Arc::clone(&store), old.clone());
            async move {
                let mut told = 0_u32;
                let mut writing = Some(writing);
                loop {
                    let next = (told + 1).to_be_bytes();
                    // Several values, of which all or none are there.
                    let changes = (0..3).map(|n| put(key(1, 1, n), next)).collect();
                    match store.write_state(&old, changes).await {
                        Ok(()) => told += 1,
                        Err(StateError::Fenced) => return told,
                        Err(StateError::Store(error)) => panic!("{error}"),
                    }
                    if told > round
                        && let Some(writing) = writing.take()
                    {
                        writing.send(()).expect("somebody waits");
                    }
                }
            }
        });
        began.await.expect("it writes");
        let new = take(&store, old.of, a_node(), 10).await.expect("it has ended");
        let found = all(&store, new.of).await;
        let number = |row: &StateRow| u32::from_be_bytes(row.value.as_slice().try_into().expect("four bytes"));
        let seen: Vec<u32> = found.iter().map(number).collect();
        assert!(seen.len() == 3 && seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        write(&store, &new, vec![put(key(2, 1, 1), "mine")]).await;
        let told = writer.await.expect("it did not panic");
        assert_eq!(told, seen[0], "what was told to be stored is what the next holder found");
        assert_eq!(all(&store, new.of).await[..3], found);
    }
}

/// A write that is given up while it is under way is made before the next, or not at all.
pub async fn writes_of_a_connection_are_made_in_order_though_nobody_waits(store: Subject) {
    let lease = kept(&store).await;
    for round in 0..30_u32 {
        for n in 0..4 {
            let given_up = store.write_state(&lease, vec![put(key(1, 1, 1), (10 * round + n).to_be_bytes())]);
            let mut given_up = given_up;
            // Asked for, as far as it goes at once.
            let polled = std::future::poll_fn(|context| {
                let _ = given_up.as_mut().poll(context);
                Poll::Ready(())
            });
            polled.await;
            drop(given_up);
        }
        let last = (10 * round + 9).to_be_bytes();
        write(&store, &lease, vec![put(key(1, 1, 1), last)]).await;
        assert_eq!(read(&store, lease.of, key(1, 1, 1)).await, Some(last.to_vec()));
        write(&store, &lease, vec![put(key(1, 1, 2), "something else")]).await;
        assert_eq!(read(&store, lease.of, key(1, 1, 1)).await, Some(last.to_vec()));
    }
}

/// From the first step on nobody writes; one that is taken anew knows nothing of the former.
pub async fn an_erased_connection_is_gone_and_its_former_holder_with_it(store: Subject) {
    let lease = kept(&store).await;
    write(&store, &lease, (0..5).map(|n| put(key(1, n, n), "old")).collect()).await;
    assert!(!store.erase_state(lease.of, 3).await.expect(ANSWERS));
    assert!(is_fenced(&store, &lease).await);
    assert!(store.erase_state(lease.of, 3).await.expect(ANSWERS));
    assert!(store.erase_state(lease.of, 3).await.expect("erasing twice is no error"));
    assert_eq!(all(&store, lease.of).await, []);
    assert_eq!(store.find_connection_lease(lease.of).await.expect(ANSWERS), None);
    let prolonged = store.prolong_connections(std::slice::from_ref(&lease), seconds(1), seconds(11)).await;
    assert_eq!(prolonged.expect(ANSWERS), [false]);
    let anew = take(&store, lease.of, lease.holder, 1).await.expect("it is free");
    assert!(anew.fence > lease.fence, "as long as time goes on");
    assert!(is_fenced(&store, &lease).await);
}

/// Within the bound of each step, counted, and before the tenant itself.
pub async fn what_an_erased_tenants_connections_remember_goes_with_it(store: Subject) {
    let (gone, stays) = (kept(&store).await, kept(&store).await);
    for lease in [&gone, &stays] {
        write(&store, lease, (0..7).map(|n| put(key(1, n, n), "secret")).collect()).await;
    }
    let tenant = gone.of.tenant;
    let erasure = Erasure::new(tenant, UserId::new(noon(), entropy()), noon(), noon());
    let note = |erasure: Erasure| -> ErasureNote {
        Arc::new(move |step: &ErasureStep| {
            let mut erasure = erasure.clone();
            erasure.step(step, Timestamp::UNIX_EPOCH);
            Change::put(&erasure)
        })
    };
    let (mut erased, mut steps) = (0, 0);
    loop {
        let step = store.erase_tenant_step(tenant, 3, note(erasure.clone())).await.expect("nothing is in the way");
        assert!(step.erased.others <= 3, "{step:?}");
        erased += step.erased.others;
        steps += 1;
        if step.whole {
            break;
        }
        assert!(store.tenant(tenant).find_tenant().await.expect(ANSWERS).is_some(), "the tenant itself goes last");
        assert!(steps < 20, "it goes on for ever");
        // None of its state is written any more, once it is about to be erased.
        if store.find_connection_lease(gone.of).await.expect(ANSWERS).is_none() {
            assert!(is_fenced(&store, &gone).await);
        } else {
            assert_eq!(all(&store, gone.of).await.len(), 7, "leases come first");
        }
    }
    assert_eq!(erased, 8);
    assert_eq!(all(&store, gone.of).await, []);
    assert_eq!(store.connection_leases().await.expect(ANSWERS), std::slice::from_ref(&stays));
    assert_eq!(all(&store, stays.of).await.len(), 7);
    assert!(is_fenced(&store, &gone).await);
    assert!(!is_fenced(&store, &stays).await);
}

/// Without waiting for the leases of the one before, whose writes are refused all the same.
pub async fn a_recovered_store_has_its_connections_free(store: Subject) {
    let (old, ended) = (kept(&store).await, kept(&store).await);
    store.release_connection(&ended, seconds(1)).await.expect(ANSWERS);
    assert_eq!(take(&store, old.of, a_node(), 2).await, None);
    store.recover(seconds(2)).await.expect(ANSWERS);
    let found = store.find_connection_lease(ended.of).await.expect(ANSWERS);
    assert_eq!(found.map(|lease| lease.until), Some(seconds(1)));
    let new = take(&store, old.of, a_node(), 2).await.expect("it is free");
    assert!(new.fence > old.fence);
    assert!(is_fenced(&store, &old).await);
}
