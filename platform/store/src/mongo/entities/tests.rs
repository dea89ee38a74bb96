use wotp_core::testing::store::{damaged_things_are_listed_without_fields, damaged_things_that_are_due_can_be_put_off};
use wotp_test_servers::MongoDatabase;

use super::decide::wanted;
use super::*;
use crate::mongo::ConnectOptions;

/// The stages of the plan that the server takes, and the indexes that they walk.
fn stages(plan: &Document, found: &mut Vec<String>) {
    if let Ok(stage) = plan.get_str("stage") {
        found.push(format!("{stage} {}", plan.get_str("indexName").unwrap_or_default()).trim().to_owned());
    }
    for name in ["queryPlan", "winningPlan", "inputStage"] {
        if let Ok(within) = plan.get_document(name) {
            stages(within, found);
        }
    }
    for within in plan.get_array("inputStages").into_iter().flatten().filter_map(Bson::as_document) {
        stages(within, found);
    }
}

fn plan(database: &MongoDatabase, wanted: Document, sort: Document, hint: Option<&str>) -> Vec<String> {
    let mut find = doc! { "find": schema::ENTITIES, "filter": wanted, "sort": sort, "limit": 9 };
    find.extend(hint.map(|hint| ("hint".to_owned(), Bson::from(hint))));
    let reply = database.run(doc! { "explain": find, "verbosity": "queryPlanner" }).unwrap();
    let mut found = Vec::new();
    stages(reply.get_document("queryPlanner").unwrap(), &mut found);
    found
}

#[tokio::test]
async fn everything_that_is_looked_for_is_found_by_an_index_in_its_order() {
    let database = MongoDatabase::fresh();
    let _store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let walks = |wanted: Document, sort: Document, index: &str, hint: Option<&str>| {
        let plan = plan(&database, wanted.clone(), sort, hint);
        let index = format!("IXSCAN {index}");
        let idle = |stage: &str| stage.starts_with("COLLSCAN") || stage.starts_with("SORT ") || stage == "SORT";
        assert!(plan.contains(&index) && !plan.iter().any(|stage| idle(stage)), "{plan:?}: {wanted}");
    };
    let (owner, by) = (Some(Owner::Platform), Some(IndexKey::new("tag", "a")));
    for (owner, by, name) in
        [(owner, None, "_id_"), (None, None, "kind"), (None, by.clone(), "listed"), (owner, by, "listed_of")]
    {
        for (from, before) in [(None, None), (Some([1; 16]), None), (None, Some([1; 16]))] {
            for newest_first in [false, true] {
                let holds = Vec::new();
                let list = EntityList { owner, by: by.clone(), from, before, holds, newest_first, limit: 9 };
                let (wanted, sort) = listing("thing", &list);
                walks(wanted, sort, name, index(&list));
            }
        }
    }
    walks(due("thing", Timestamp::UNIX_EPOCH), doc! { "w": 1 }, "wake", None);
    walks(doc! { "o": binary(&[1; 16]) }, doc! {}, "owner", None);
    let key = IndexKey::new("email", "a");
    walks(doc! { "u": binary(&key_of("thing", &key)) }, doc! {}, "unique", None);
    let row = EntityRow {
        kind: "thing",
        owner: Owner::Platform,
        id: [1; 16],
        version: 0,
        unique: vec![key],
        listed: Vec::new(),
        wake_at: None,
        doc: serde_json::Map::new(),
    };
    let rests_on = wanted(&[Change::Insert(row.clone()), Change::Insert(EntityRow { id: [2; 16], ..row })]).unwrap();
    walks(rests_on.clone(), doc! {}, "unique", None);
    walks(rests_on, doc! {}, "_id_", None);
}

#[tokio::test]
async fn what_others_have_with_the_same_value_is_not_walked() {
    let database = MongoDatabase::fresh();
    let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let row = |n: u8, owner: u8| {
        let owner = Owner::from_bytes([owner; 16]);
        let id = [n; 16];
        let listed = binary(&key_in("thing", "tag", b"a"));
        let name = binary(&name("thing", owner, id));
        let owner = binary(&owner.to_bytes());
        doc! { "_id": name, "k": "thing", "o": owner, "i": binary(&id), "v": 1_i64, "l": [listed], "doc": "{}" }
    };
    // One of ours between any two of theirs.
    let rows = (0..200).map(|n| row(n, if n % 20 == 0 { 1 } else { 2 }));
    store.server.collection(schema::ENTITIES).insert_many(rows).await.unwrap();
    let ours = EntityList { owner: Some(Owner::from_bytes([1; 16])), ..EntityList::by("tag", "a") }.newest(100);
    assert_eq!(store.list_entities("thing", &ours).await.unwrap().len(), 10);
    let (wanted, sort) = listing("thing", &ours);
    let hint = index(&ours).unwrap();
    let find = doc! { "find": schema::ENTITIES, "filter": wanted, "sort": sort, "hint": hint, "limit": 100 };
    let reply = database.run(doc! { "explain": find, "verbosity": "executionStats" }).unwrap();
    let stats = reply.get_document("executionStats").unwrap();
    let examined = |what: &str| stats.get_i32(what).unwrap();
    assert_eq!((examined("totalKeysExamined"), examined("totalDocsExamined")), (10, 10));
}

#[tokio::test]
async fn one_that_is_damaged_has_no_fields_and_keeps_no_others_from_being_listed() {
    let database = MongoDatabase::fresh();
    let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let row = |n: u8, doc: Bson| {
        let (id, listed) = ([n; 16], binary(&key_in("thing", "tag", b"a")));
        let name = binary(&name("thing", Owner::Platform, id));
        let owner = binary(&[0; 16]);
        doc! { "_id": name, "k": "thing", "o": owner, "i": binary(&id), "v": 1_i64, "l": [listed], "doc": doc }
    };
    let rows = [row(1, "{".into()), row(2, "{\"a\":1}".into()), row(3, 5.into())];
    store.server.collection(schema::ENTITIES).insert_many(rows).await.unwrap();
    damaged_things_are_listed_without_fields(&store).await;
}

#[tokio::test]
async fn one_that_is_due_and_damaged_has_no_fields_and_can_be_put_off() {
    let database = MongoDatabase::fresh();
    let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let entities = store.server.collection(schema::ENTITIES);
    let row = |n: u8, doc: &str| {
        let name = binary(&name("thing", Owner::Platform, [n; 16]));
        doc! { "_id": name, "k": "thing", "o": binary(&[0; 16]), "i": binary(&[n; 16]), "v": 1_i64, "w": 0_i64, "doc": doc }
    };
    entities.insert_many([row(1, "{"), row(2, "{\"a\":1}")]).await.unwrap();
    damaged_things_that_are_due_can_be_put_off(&store).await;
}
