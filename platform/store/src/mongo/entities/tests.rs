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

fn plan(database: &MongoDatabase, wanted: Document, sort: Document) -> Vec<String> {
    let find = doc! { "find": schema::ENTITIES, "filter": wanted, "sort": sort, "limit": 9 };
    let reply = database.run(doc! { "explain": find, "verbosity": "queryPlanner" }).unwrap();
    let mut found = Vec::new();
    stages(reply.get_document("queryPlanner").unwrap(), &mut found);
    found
}

#[tokio::test]
async fn everything_that_is_looked_for_is_found_by_an_index_in_its_order() {
    let database = MongoDatabase::fresh();
    let _store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let walks = |wanted: Document, sort: Document, index: &str| {
        let plan = plan(&database, wanted.clone(), sort);
        let index = format!("IXSCAN {index}");
        let idle = |stage: &str| stage.starts_with("COLLSCAN") || stage.starts_with("SORT ") || stage == "SORT";
        assert!(plan.contains(&index) && !plan.iter().any(|stage| idle(stage)), "{plan:?}: {wanted}");
    };
    let (owner, by) = (Some(Owner::Platform), Some(IndexKey::new("tag", "a")));
    for (owner, by, index) in
        [(owner, None, "_id_"), (None, None, "kind"), (None, by.clone(), "listed"), (owner, by, "listed")]
    {
        for (from, before) in [(None, None), (Some([1; 16]), None), (None, Some([1; 16]))] {
            for newest_first in [false, true] {
                let holds = Vec::new();
                let list = EntityList { owner, by: by.clone(), from, before, holds, newest_first, limit: 9 };
                let (wanted, sort) = listing("thing", &list);
                walks(wanted, sort, index);
            }
        }
    }
    walks(due("thing", Timestamp::UNIX_EPOCH), doc! { "w": 1 }, "wake");
    walks(doc! { "o": binary(&[1; 16]) }, doc! {}, "owner");
    let key = IndexKey::new("email", "a");
    walks(doc! { "u": binary(&key_of("thing", &key)) }, doc! {}, "unique");
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
    walks(rests_on.clone(), doc! {}, "unique");
    walks(rests_on, doc! {}, "_id_");
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
    let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(9).unwrap());
    let due = store.due_entities("thing", now, 9).await.unwrap();
    assert_eq!(due.iter().map(|row| (row.id[0], row.doc.len())).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
    store.put_off("thing", Owner::Platform, [1; 16], now, later).await.unwrap();
    assert_eq!(store.due_entities("thing", now, 9).await.unwrap().len(), 1);
}
