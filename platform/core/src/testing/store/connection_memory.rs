//! What live connections remember, sealed, over each store.

use std::sync::Arc;

use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use super::connection_states::kept;
use super::{ANSWERS, Subject};
use crate::app::{ConnectionMemory, Memories, Memory, MemoryError, erase_connection_memory};
use crate::domain::connection_lease::ConnectionLease;
use crate::domain::id::NodeId;
use crate::domain::live_connection::Standing;
use crate::domain::vault::{MasterKey, OpenedState, StateName, Vault};
use crate::ports::{StateRange, StateRow};
use crate::testing::SeededEntropy;
use crate::testing::builders::{entropy, noon, seconds, vault};

const TO: &[u8] = b"12025550123@s.whatsapp.net";

fn name(kind: u8, group: &'static str, name: &'static str) -> StateName<'static> {
    StateName { kind, group: group.as_bytes(), name: name.as_bytes() }
}

async fn open_with(store: &Subject, vault: &Vault, lease: &ConnectionLease) -> Result<ConnectionMemory, MemoryError> {
    ConnectionMemory::open(Arc::clone(store) as _, vault, Arc::new(SeededEntropy::new(7)), lease.clone()).await
}

async fn open(store: &Subject, lease: &ConnectionLease) -> ConnectionMemory {
    open_with(store, vault(), lease).await.expect("it is kept by this one")
}

async fn stored(store: &Subject, lease: &ConnectionLease) -> Vec<StateRow> {
    store.list_state(lease.of, StateRange::All, None, 10_000).await.expect(ANSWERS)
}

async fn find(memory: &ConnectionMemory, name: StateName<'_>) -> Option<Vec<u8>> {
    memory.find(name).await.expect("it opens").map(|value| value.to_vec())
}

fn names(found: Vec<OpenedState>) -> Vec<(String, String, Vec<u8>)> {
    let text = |bytes| String::from_utf8(bytes).expect("it was text");
    let mut names: Vec<_> =
        found.into_iter().map(|one| (text(one.group), text(one.name), one.value.to_vec())).collect();
    names.sort();
    names
}

/// And nothing in the store tells what it is.
pub async fn what_a_connection_remembers_is_found_and_nobody_else_can_read_it(store: Subject) {
    let lease = kept(&store).await;
    let memory = open(&store, &lease).await;
    let secret = StateName { kind: 1, group: TO, name: TO };
    memory.change(&[Memory::Keep(secret, b"a ratchet"), Memory::Keep(name(2, "", ""), b"")]).await.expect(ANSWERS);
    for memory in [&memory, &open(&store, &lease).await] {
        assert_eq!(find(memory, secret).await.as_deref(), Some(&b"a ratchet"[..]));
        let found = memory.find_all(&[name(1, "", ""), name(2, "", ""), secret]).await.expect("they open");
        assert_eq!(found, [None, Some(Zeroizing::new(vec![])), Some(Zeroizing::new(b"a ratchet".to_vec()))]);
    }
    for row in stored(&store, &lease).await {
        let bytes = [&row.key.to_bytes()[..], &row.value].concat();
        for secret in [&b"12025550123"[..], b"ratchet", b"whatsapp"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret));
        }
    }
    memory.change(&[Memory::Forget(secret), Memory::Keep(name(2, "", ""), b"more")]).await.expect(ANSWERS);
    assert_eq!((find(&memory, secret).await, find(&memory, name(2, "", "")).await), (None, Some(b"more".to_vec())));
    memory.change(&[]).await.expect("nothing is no change");
}

/// Of this kind or group, with the names that they were given, however many.
pub async fn memories_are_listed_by_kind_and_group(store: Subject) {
    let lease = kept(&store).await;
    let memory = open(&store, &lease).await;
    let all = [name(1, "a", "1"), name(1, "a", "2"), name(1, "b", "1"), name(2, "a", "1")];
    let keep = all.iter().map(|name| Memory::Keep(*name, b"x")).collect::<Vec<_>>();
    memory.change(&keep).await.expect(ANSWERS);
    let list = async |which| names(memory.list(which).await.expect(ANSWERS));
    let one = |group: &str, name: &str| (group.to_owned(), name.to_owned(), b"x".to_vec());
    assert_eq!(list(Memories::Kind(1)).await, [one("a", "1"), one("a", "2"), one("b", "1")]);
    assert_eq!(list(Memories::Group(1, b"a")).await, [one("a", "1"), one("a", "2")]);
    assert_eq!(list(Memories::Group(2, b"b")).await, []);
    let many: Vec<String> = (0..1_203).map(|n| n.to_string()).collect();
    let keep = many.iter().map(|name| Memory::Keep(StateName { kind: 3, group: b"", name: name.as_bytes() }, b"x"));
    memory.change(&keep.collect::<Vec<_>>()).await.expect(ANSWERS);
    assert_eq!(list(Memories::Kind(3)).await.len(), 1_203);
    memory.forget_all_but(&[]).await.expect(ANSWERS);
    assert_eq!(stored(&store, &lease).await, []);
}

/// Of however much it remembered; what is kept is there at every moment, so that a node that dies meanwhile loses none of it.
pub async fn all_is_forgotten_but_what_is_named_and_where_the_connection_stands(store: Subject) {
    let lease = kept(&store).await;
    let memory = open(&store, &lease).await;
    let (count, key) = (name(1, "a", "count"), name(1, "a", "key"));
    let keep = [count, key, Standing::NAME].map(|name| Memory::Keep(name, b"x"));
    memory.change(&keep).await.expect(ANSWERS);
    let many: Vec<String> = (0..1_203).map(|n| n.to_string()).collect();
    let keep = many.iter().map(|name| Memory::Keep(StateName { kind: 3, group: b"", name: name.as_bytes() }, b"x"));
    memory.change(&keep.collect::<Vec<_>>()).await.expect(ANSWERS);
    memory.forget_all_but(&[count]).await.expect(ANSWERS);
    assert_eq!(stored(&store, &lease).await.len(), 2);
    for kept in [count, Standing::NAME] {
        assert_eq!(find(&memory, kept).await.as_deref(), Some(&b"x"[..]));
    }
    memory.change(&[Memory::Keep(key, b"new")]).await.expect(ANSWERS);
    assert_eq!(find(&memory, key).await.as_deref(), Some(&b"new"[..]), "its keeper goes on, as for another account");
}

/// Each thing by itself: what is damaged keeps nothing else from being found, and moves nowhere.
pub async fn a_memory_that_does_not_open_is_told_and_the_others_are_there(store: Subject) {
    let lease = kept(&store).await;
    let memory = open(&store, &lease).await;
    let (sound, damaged, moved) = (name(1, "", "sound"), name(1, "", "damaged"), name(1, "", "moved"));
    let keep = [sound, damaged].map(|name| Memory::Keep(name, b"x"));
    memory.change(&keep).await.expect(ANSWERS);
    let keys = vault().of_connection(lease.of);
    let mut rows = stored(&store, &lease).await;
    rows.retain(|row| row.key == keys.key(damaged));
    let mut row = rows.remove(0);
    let elsewhere = StateRow { key: keys.key(moved), ..row.clone() };
    let last = row.value.len() - 1;
    row.value[last] ^= 1;
    let change = [row, elsewhere].map(crate::ports::StateChange::Put);
    store.write_state(&lease, change.into()).await.expect("it is kept by this one");
    for broken in [damaged, moved] {
        assert!(matches!(memory.find(broken).await, Err(MemoryError::Sealed(_))));
    }
    assert_eq!(names(memory.list(Memories::Kind(1)).await.expect(ANSWERS)).len(), 1);
    assert!(find(&memory, sound).await.is_some());
}

/// At once, and for good; who waits for it is woken.
pub async fn whoever_lost_a_connection_is_told_and_changes_nothing(store: Subject) {
    let lease = kept(&store).await;
    let memory = open(&store, &lease).await;
    memory.change(&[Memory::Keep(name(1, "", "a"), b"mine")]).await.expect(ANSWERS);
    assert!(memory.lost().now_or_never().is_none() && !memory.is_lost());
    let next = store.hand_over_connection(&lease, NodeId::new(noon(), entropy()), seconds(1), seconds(11)).await;
    let theirs = open(&store, &next.expect(ANSWERS).expect("it was in force")).await;
    assert_eq!(find(&theirs, name(1, "", "a")).await.as_deref(), Some(&b"mine"[..]));
    let late = [Memory::Keep(name(1, "", "a"), b"late")];
    let (late, ()) = tokio::join!(memory.change(&late), memory.lost());
    assert!(matches!(late, Err(MemoryError::Lost)), "{late:?}");
    assert!(memory.is_lost());
    let again = memory.change(&[Memory::Forget(name(1, "", "a"))]).await;
    assert!(matches!(again, Err(MemoryError::Lost)), "{again:?}");
    assert!(matches!(memory.forget_all_but(&[]).await, Err(MemoryError::Lost)));
    assert_eq!(find(&theirs, name(1, "", "a")).await.as_deref(), Some(&b"mine"[..]));
    assert!(!theirs.is_lost());
    erase_connection_memory(&*store, lease.of).await.expect(ANSWERS);
    assert_eq!(stored(&store, &lease).await, []);
    let late = theirs.change(&[Memory::Keep(name(1, "", "a"), b"late")]).await;
    assert!(matches!(late, Err(MemoryError::Lost)), "{late:?}");
}

/// All of it when it is opened the next time, so that the older key is needed no more for it.
pub async fn after_a_rotation_what_a_connection_remembers_is_sealed_anew(store: Subject) {
    let master = |id| MasterKey { id, bytes: Zeroizing::new([id; 32]) };
    let [old, both] = [Vault::new(&[master(1)]), Vault::new(&[master(1), master(2)])].map(|vault| vault.expect("keys"));
    let lease = kept(&store).await;
    let memory = open_with(&store, &old, &lease).await.expect("it is kept by this one");
    let many: Vec<String> = (0..1_203).map(|n| n.to_string()).collect();
    let keep: Vec<_> = many
        .iter()
        .map(|name| Memory::Keep(StateName { kind: 1, group: b"g", name: name.as_bytes() }, name.as_bytes()))
        .collect();
    memory.change(&keep).await.expect(ANSWERS);
    let before = stored(&store, &lease).await;
    let other = kept(&store).await;
    open_with(&store, &both, &other).await.expect("it is kept by this one");
    assert_eq!(stored(&store, &lease).await, before, "others' are left alone");

    let memory = open_with(&store, &both, &lease).await.expect("it is kept by this one");
    let after = stored(&store, &lease).await;
    let keys = |rows: &[StateRow]| rows.iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(keys(&after), keys(&before));
    assert!(after.iter().all(|row| row.value[0] == 2) && before.iter().all(|row| row.value[0] == 1));
    for found in memory.list(Memories::Group(1, b"g")).await.expect(ANSWERS) {
        assert_eq!(*found.value, found.name);
    }
    // What is new already is not written again.
    open_with(&store, &both, &lease).await.expect("it is kept by this one");
    assert_eq!(stored(&store, &lease).await, after);
    // Whoever has lost it seals nothing.
    store.release_connection(&lease, seconds(1)).await.expect(ANSWERS);
    let three = Vault::new(&[master(1), master(2), master(3)]).expect("keys");
    store.take_connection(lease.of, NodeId::new(noon(), entropy()), seconds(1), seconds(9)).await.expect(ANSWERS);
    assert!(matches!(open_with(&store, &three, &lease).await.err(), Some(MemoryError::Lost)));
    assert_eq!(stored(&store, &lease).await, after);
}
