//! What nodes that share a store ask of it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{ANSWERS, Subject};
use crate::domain::id::NodeId;
use crate::testing::builders::{a_node, entropy, noon, seconds};

fn an_id() -> NodeId {
    NodeId::new(noon(), entropy())
}

/// And a note replaces the one before.
pub async fn nodes_are_listed_oldest_first_as_they_were_last_noted(store: Subject) {
    assert_eq!(store.nodes().await.expect(ANSWERS), []);
    let (younger, mut older) = (a_node(seconds(5)), a_node(seconds(0)));
    for node in [&younger, &older] {
        store.note_node(node).await.expect(ANSWERS);
    }
    older.seen_at = seconds(9);
    older.draining = true;
    store.note_node(&older).await.expect(ANSWERS);
    assert_eq!(store.nodes().await.expect(ANSWERS), [older.clone(), younger.clone()]);
    store.forget_node(older.id).await.expect(ANSWERS);
    store.forget_node(older.id).await.expect("forgetting twice is no error");
    assert_eq!(store.nodes().await.expect(ANSWERS), [younger]);
}

/// Until it ends; then another gets it, with a higher fence.
pub async fn a_lease_is_one_nodes_until_it_ends(store: Subject) {
    let (first, second) = (an_id(), an_id());
    assert_eq!(store.find_lease("sweep").await.expect(ANSWERS), None);
    let taken = store.take_lease("sweep", first, seconds(0), seconds(10)).await.expect(ANSWERS).expect("it is free");
    assert_eq!((taken.name.as_str(), taken.holder, taken.until), ("sweep", first, seconds(10)));
    assert_eq!(store.take_lease("sweep", second, seconds(9), seconds(19)).await.expect(ANSWERS), None);
    assert_eq!(store.find_lease("sweep").await.expect(ANSWERS), Some(taken.clone()));
    let prolonged = store.take_lease("sweep", first, seconds(9), seconds(19)).await.expect(ANSWERS).expect("its own");
    assert_eq!((prolonged.fence, prolonged.until), (taken.fence, seconds(19)));
    let next = store.take_lease("sweep", second, seconds(19), seconds(29)).await.expect(ANSWERS).expect("it has ended");
    assert!(next.fence > taken.fence);
    assert_eq!(store.take_lease("sweep", first, seconds(20), seconds(30)).await.expect(ANSWERS), None);
    assert!(store.take_lease("other", first, seconds(20), seconds(30)).await.expect(ANSWERS).is_some());
}

/// Its holder has let others in between, even if it never noticed.
pub async fn a_lease_that_ended_and_is_taken_again_has_a_higher_fence(store: Subject) {
    let node = an_id();
    let first = store.take_lease("sweep", node, seconds(0), seconds(10)).await.expect(ANSWERS).expect("it is free");
    let again = store.take_lease("sweep", node, seconds(10), seconds(20)).await.expect(ANSWERS).expect("it has ended");
    assert!(again.fence > first.fence);
}

/// At once; what somebody else holds by now stays theirs.
pub async fn a_released_lease_is_free(store: Subject) {
    let (first, second) = (an_id(), an_id());
    let taken = store.take_lease("sweep", first, seconds(0), seconds(10)).await.expect(ANSWERS).expect("it is free");
    store.release_lease(&taken, seconds(1)).await.expect(ANSWERS);
    let next = store.take_lease("sweep", second, seconds(1), seconds(11)).await.expect(ANSWERS).expect("it is free");
    assert!(next.fence > taken.fence);
    store.release_lease(&taken, seconds(2)).await.expect(ANSWERS);
    assert_eq!(store.find_lease("sweep").await.expect(ANSWERS), Some(next));
}

/// Exactly one, whoever it is.
pub async fn of_32_nodes_that_race_for_a_lease_one_gets_it(store: Subject) {
    for round in 0..4 {
        let mut calls = JoinSet::new();
        for _ in 0..32 {
            let (store, node) = (Arc::clone(&store), an_id());
            let (now, until) = (seconds(20 * round), seconds(20 * round + 10));
            calls.spawn(async move { store.take_lease("sweep", node, now, until).await.expect(ANSWERS) });
        }
        let taken: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
        assert_eq!(taken.len(), 1, "{taken:?}");
    }
}

/// Whoever comes second is told what the first has.
pub async fn the_first_check_value_of_a_master_key_is_kept(store: Subject) {
    assert!(store.key_checks().await.expect(ANSWERS).is_empty());
    assert_eq!(store.keep_key_check(1, [1; 32]).await.expect(ANSWERS), [1; 32]);
    assert_eq!(store.keep_key_check(1, [2; 32]).await.expect(ANSWERS), [1; 32]);
    assert_eq!(store.keep_key_check(2, [2; 32]).await.expect(ANSWERS), [2; 32]);
    assert_eq!(store.key_checks().await.expect(ANSWERS), [(1, [1; 32]), (2, [2; 32])].into());
}
