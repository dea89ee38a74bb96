//! What live connections must remember.

use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::{ConnectionId, NodeId};
use wotp_core::ports::{ConnectionStates as _, StateChange, StateError, StateKey, StateRow, TenantAccount};
use wotp_core::testing::builders::{entropy, seconds};

use super::*;

const KEYS: [StateKey; 2] =
    [StateKey { kind: 1, group: [1; 16], name: [1; 16] }, StateKey { kind: 1, group: [1; 16], name: [2; 16] }];

async fn kept(scene: &Scene) -> ConnectionLease {
    let of = TenantAccount { tenant: scene.tenant.id, connection: ConnectionId::new(noon(), entropy()) };
    take(scene, of).await.unwrap()
}

async fn take(scene: &Scene, of: TenantAccount) -> Option<ConnectionLease> {
    let holder = NodeId::new(noon(), entropy());
    scene.store.take_connection(of, holder, noon(), seconds(10)).await.unwrap()
}

fn changes(number: u8) -> Vec<StateChange> {
    KEYS.iter().map(|key| StateChange::Put(StateRow { key: *key, value: vec![number] })).collect()
}

async fn remembered(scene: &Scene, lease: &ConnectionLease) -> Option<Vec<u8>> {
    let mut values = scene.store.read_state(lease.of, &KEYS).await.unwrap();
    assert_eq!(values[0], values[1], "both or none");
    values.remove(0)
}

#[tokio::test]
async fn a_write_of_a_connection_is_made_whatever_becomes_of_its_commands() {
    let scene = Scene::new(Duration::from_secs(20)).await;
    let lease = kept(&scene).await;
    let fates = [
        Fate::NotDone(COMMIT, 1),
        Fate::NotDone(COMMIT, 5),
        Fate::AnswerLost(COMMIT, 1),
        Fate::AnswerLost(COMMIT, 5),
        Fate::NotSafeYet(COMMIT, 5),
        Fate::Refused(COMMIT, 50, "UnknownTransactionCommitResult"),
        Fate::Refused("update", 112, "TransientTransactionError"),
        Fate::Refused("update", 251, "TransientTransactionError"),
        Fate::NotDone("update", 1),
        Fate::AnswerLost("update", 1),
    ];
    for (number, fate) in (1..).zip(fates) {
        scene.let_come(&fate);
        scene.store.write_state(&lease, changes(number)).await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        scene.has_come(&fate);
        assert_eq!(remembered(&scene, &lease).await, Some(vec![number]), "{fate:?}");
    }
}

#[tokio::test]
async fn a_write_of_a_connection_whose_fate_stays_unknown_is_an_error_and_comes_before_the_next() {
    let scene = Scene::new(Duration::from_secs(4)).await;
    let lease = kept(&scene).await;
    scene.store.write_state(&lease, changes(0)).await.unwrap();
    let far_more = 10_000;
    for (number, fate) in (1..).zip([Fate::AnswerLost(COMMIT, far_more), Fate::NotDone(COMMIT, far_more)]) {
        scene.let_come(&fate);
        let unknown = scene.store.write_state(&lease, changes(100 + number)).await;
        assert!(matches!(unknown, Err(StateError::Store(_))), "{fate:?}: {unknown:?}");
        scene.end(&fate);
        // Until the transaction that was left open is found and ended.
        while scene.store.write_state(&lease, changes(number)).await.is_err() {}
        assert_eq!(remembered(&scene, &lease).await, Some(vec![number]), "{fate:?}");
    }
    // Whoever takes it while another's write is in doubt reads what is there for good.
    let fate = Fate::NotDone(COMMIT, far_more);
    scene.let_come(&fate);
    assert!(scene.store.write_state(&lease, changes(9)).await.is_err());
    scene.end(&fate);
    scene.store.release_connection(&lease, noon()).await.unwrap();
    let next = take(&scene, lease.of).await.unwrap();
    let found = remembered(&scene, &next).await;
    let late = scene.store.write_state(&lease, changes(10)).await;
    assert!(matches!(late, Err(StateError::Fenced)), "{late:?}");
    assert_eq!(remembered(&scene, &next).await, found);
}
