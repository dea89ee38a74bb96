//! What is not moved, or found to be wrong once it was.

use super::*;

#[tokio::test]
async fn a_difference_is_found_and_named_and_keeps_nodes_away() {
    let home = Home::new();
    let filled = fill(&home.store()).await;
    let (first, last) = (&filled.verifications[0], &filled.verifications[5]);
    let moving = home.begin().await;
    moving.copy(&mut |_| {}).await.unwrap();
    drop(moving.compare(&mut |_| {}).await.unwrap());

    let compare = async || failure(moving.compare(&mut |_| {}).await);
    let by_id = doc! { "_id": id(first.id.to_bytes()) };
    let back = |field: &str, value: mongodb::bson::Bson| {
        home.change("verifications", by_id.clone(), doc! { "$set": { field: value } })
    };
    // What is in the record, what its key repeats, and what nodes find it by.
    for (field, other, own) in [
        ("state.checks_used", 1.into(), 0.into()),
        ("idem.state.checks_used", 1.into(), 0.into()),
        ("fixed.metadata", doc! { "order.id": "$8" }.into(), doc! { "order.id": "$7" }.into()),
        ("q", mongodb::bson::Bson::Int64(77), mongodb::bson::Bson::Int64(1)),
    ] {
        back(field, other);
        match compare().await {
            MoveError::Differs { kind: Kind::Verifications, name, difference: Difference::Other } => {
                assert_eq!(name, first.id.to_string(), "{field}");
            }
            error => panic!("{field}: {error}"),
        }
        back(field, own);
    }
    for (field, other, own) in [("w", mongodb::bson::Bson::Int64(5), None), ("s", "approved".into(), Some("pending"))] {
        back(field, other);
        assert!(matches!(compare().await, MoveError::Broken { name, .. } if name == first.id.to_string()), "{field}");
        back(field, own.map_or(first.wake_at().as_microsecond().into(), Into::into));
    }
    back("state.version", "one".into());
    assert!(matches!(compare().await, MoveError::Broken { name, .. } if name == first.id.to_string()));
    back("state.version", 0_i64.into());
    // What entities are found by, and their fields.
    let seats = doc! { "k": "seat", "i": id(filled.entities[0].id()) };
    for (field, other, differs) in [
        ("l", mongodb::bson::Bson::Array(Vec::new()), false),
        ("doc", "{}".into(), true),
        ("w", mongodb::bson::Bson::Int64(5), true),
    ] {
        let find = doc! { "find": "entities", "filter": seats.clone() };
        let reply = home.target.run(find).unwrap();
        let own =
            reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap()[0].as_document().unwrap().clone();
        home.change("entities", seats.clone(), doc! { "$set": { field: other } });
        match compare().await {
            MoveError::Differs { kind: Kind::Entities, difference: Difference::Other, .. } if differs => {}
            MoveError::Broken { kind: Kind::Entities, .. } if !differs => {}
            error => panic!("{field}: {error}"),
        }
        home.change("entities", seats.clone(), own);
    }
    drop(moving.compare(&mut |_| {}).await.unwrap());

    let gone = doc! { "delete": "verifications", "deletes": [{ "q": { "_id": id(last.id.to_bytes()) }, "limit": 1 }] };
    home.target.run(gone).unwrap();
    match compare().await {
        MoveError::Differs { name, difference: Difference::Missing, .. } => assert_eq!(name, last.id.to_string()),
        error => panic!("{error}"),
    }
    // Copied again: it is not, since all up to it was there.
    assert!(matches!(home.run().await, Err(MoveError::Differs { difference: Difference::Missing, .. })));
    assert!(matches!(home.refusal().await, ConnectError::Moving { .. }));

    let extra = doc! { "insert": "leases", "documents": [{ "_id": "z", "fence": 1_i64, "holder": id([1; 16]), "until": 5_i64 }] };
    home.target.run(extra).unwrap();
    match compare().await {
        MoveError::Differs { kind: Kind::Leases, name, difference: Difference::Extra } => assert_eq!(name, "z"),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_target_that_holds_anything_else_is_refused() {
    let home = Home::new();
    fill(&home.store()).await;
    // A node that looked at it has left its master key's check value, and is gone.
    let node = home.moved().await;
    for (key, check) in vault().checks() {
        node.keep_key_check(key, check).await.unwrap();
    }
    let mut here = a_node(node.time().await.unwrap().unwrap());
    here.host = "elsewhere".to_owned();
    node.note_node(&here).await.unwrap();
    assert!(matches!(failure(home.begin_with(false, false).await), MoveError::Node(host) if host == "elsewhere"));
    drop(home.moved().await);
    node.forget_node(here.id).await.unwrap();
    home.run().await.unwrap();
    let before = home.dump();
    // Again: nothing happens.
    let Begun::Finished(report) = home.begin_with(false, true).await.unwrap() else { panic!("it is done") };
    assert_eq!(report.finished_at, seconds(120));
    // Used again since, or another database.
    admit(&home.store(), admission(a_verification(a_tenant().id, TO, noon()))).await;
    assert!(matches!(
        failure(home.begin_with(false, false).await),
        MoveError::Holds("a database that was moved there")
    ));
    assert!(home.dump() == before);

    let used = Home::new();
    fill(&used.store()).await;
    let tenant = a_tenant();
    used.moved().await.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
    assert!(matches!(failure(used.run().await), MoveError::Holds("tenants")));

    let sealed = Home::new();
    fill(&sealed.store()).await;
    sealed.moved().await.keep_key_check(1, [9; 32]).await.unwrap();
    assert!(matches!(failure(sealed.run().await), MoveError::Key(1)));
    // What is refused leaves nothing that would keep its own nodes away.
    for target in [&used, &sealed] {
        drop(target.moved().await);
    }
}

#[tokio::test]
async fn a_source_that_was_used_since_is_not_mixed_with_what_was_copied_before() {
    let home = Home::new();
    let filled = fill(&home.store()).await;
    home.begin().await.copy(&mut |_| {}).await.unwrap();
    let store = home.store();
    let mut changed = filled.verifications[0].clone();
    assert!(!changed.check(|_| false, seconds(30)));
    store.tenant(changed.tenant).replace(&mut changed, false).await.unwrap();
    drop(store);
    assert!(matches!(failure(home.run().await), MoveError::Other(began) if began == seconds(60)));
    // One that says it was moved, to a target that knows nothing of it.
    let other = Home { folder: home.folder, target: MongoDatabase::fresh() };
    assert!(matches!(failure(other.begin_with(false, true).await), MoveError::Unknown));
}

#[tokio::test]
async fn odd_things_are_moved_or_named() {
    let home = Home::new();
    let store = home.store();
    let filled = fill(&store).await;
    // A name that BSON has no words for.
    let mut new = admission(a_verification(filled.tenant.id, TO, seconds(5)));
    new.verification.metadata = [("a\0b".to_owned(), "1".to_owned())].into();
    let unfit = admit(&store, new).await;
    let broken = filled.verifications[3].id;
    drop(store);
    // A key that is over, one whose record is gone, and counts of long ago.
    home.meddle("UPDATE idempotency SET expires_at = 5 WHERE key = x'0202020202020202020202020202020202020202020202020202020202020202'");
    home.meddle("UPDATE idempotency SET record = NULL WHERE key = x'0303030303030303030303030303030303030303030303030303030303030303'");
    home.meddle("INSERT INTO usage SELECT tenant, resource, kind, 5, 7, 0 FROM usage LIMIT 1");
    assert!(matches!(failure(home.run().await), MoveError::Unfit { name, .. } if name == unfit.id.to_string()));
    let home = Home { folder: home.folder, target: MongoDatabase::fresh() };
    let hex: String = broken.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    home.meddle(&format!("UPDATE verification SET doc = 'no JSON' WHERE id = x'{hex}'"));
    home.meddle("UPDATE entity SET doc = 'no JSON' WHERE kind = 'desk'");
    let error = failure(home.run().await);
    assert!(matches!(&error, MoveError::Unreadable { name, .. } if *name == broken.to_string()), "{error}");
    assert!(error.help().unwrap().contains("--leave-unreadable"));

    let report = home.run_with(true).await.unwrap();
    let mut left: Vec<_> = report.left.iter().map(|left| left.name.clone()).collect();
    left.sort();
    let mut expected = [broken.to_string(), unfit.id.to_string(), format!("desk {}", "07".repeat(16))];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!((report.idempotency_keys, report.idempotency_keys_left), (1, 1));
    assert_eq!(report.totals.iter().find(|total| total.kind == Kind::Usage).unwrap().count, 8);
    assert_eq!(home.moved().await.due(Timestamp::MAX, 99).await.unwrap().len(), 7);
    // The source keeps all of it.
    let kept = home.store().stats().await.unwrap();
    assert_eq!((kept.verifications, kept.messages, kept.idempotency_keys), (7, 2, 3));
}

#[tokio::test]
async fn a_value_of_a_connection_that_is_another_or_not_as_nodes_write_it_is_found() {
    let home = Home::new();
    let filled = fill(&home.store()).await;
    let moving = home.begin().await;
    moving.copy(&mut |_| {}).await.unwrap();
    let connection = filled.leases[0].of.connection.to_string();
    let first = [&filled.leases[0].of.to_bytes()[..], &[0; 33]].concat();
    let binary = |bytes: Vec<u8>| mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes };
    let change = |id: Vec<u8>, field: &str, value: mongodb::bson::Bson| {
        home.change("connection_states", doc! { "_id": binary(id) }, doc! { "$set": { field: value } });
    };
    change(first.clone(), "v", binary(vec![9]).into());
    let error = failure(moving.compare(&mut |_| {}).await);
    let MoveError::Differs { kind: Kind::ConnectionStates, name, difference: Difference::Other } = error else {
        panic!("{error}")
    };
    assert!(name.contains(&connection), "{name}");
    change(first, "v", "no bytes".into());
    let error = failure(moving.compare(&mut |_| {}).await);
    assert!(matches!(error, MoveError::Broken { kind: Kind::ConnectionStates, .. }), "{error}");
    change(filled.leases[0].of.to_bytes().to_vec(), "f", 1_i64.into());
    let error = failure(moving.compare(&mut |_| {}).await);
    let MoveError::Differs { kind: Kind::ConnectionLeases, name, .. } = error else { panic!("{error}") };
    assert!(name.contains(&connection), "{name}");
}
