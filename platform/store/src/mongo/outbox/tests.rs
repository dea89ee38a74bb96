use wotp_core::domain::news::What;
use wotp_core::ports::{Entities as _, Store as _};
use wotp_core::testing::builders::{a_message, a_tenant, a_verification, admission, message_admission, noon, seconds};
use wotp_test_servers::MongoDatabase;

use super::*;
use crate::mongo::ConnectOptions;

const TO: &str = "+12025550123";

async fn fresh() -> (MongoDatabase, MongoStore) {
    let database = MongoDatabase::fresh();
    let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    (database, store)
}

/// Names of the stages in a plan, and of the indexes that they walk.
fn stages(plan: &Document, found: &mut Vec<String>) {
    found.extend(["stage", "indexName"].iter().filter_map(|name| plan.get_str(name).ok()).map(str::to_owned));
    for name in ["queryPlan", "winningPlan", "inputStage"] {
        if let Ok(within) = plan.get_document(name) {
            stages(within, found);
        }
    }
}

#[tokio::test]
async fn news_are_found_by_an_index_that_holds_nothing_else() {
    let (database, store) = fresh().await;
    let tenant = a_tenant().id;
    let door = store.tenant(tenant);
    door.admit(admission(a_verification(tenant, TO, noon()))).await.unwrap();
    let mut message = a_message(tenant, TO, noon());
    door.admit_message(message_admission(message.clone())).await.unwrap();
    message.discard(seconds(40));
    door.replace_message(&mut message, true).await.unwrap();
    let find = |collection: &str| {
        doc! {
            "find": collection,
            "filter": { WITH_NEWS: { "$exists": true } },
            "sort": { WITH_NEWS: 1 },
            "hint": schema::NEWS,
            "limit": 9,
        }
    };
    let explain =
        |collection| database.run(doc! { "explain": find(collection), "verbosity": "executionStats" }).unwrap();
    let keys = |reply: &Document| reply.get_document("executionStats").unwrap().get_i32("totalKeysExamined").unwrap();
    let collections = [schema::VERIFICATIONS, schema::MESSAGES];
    for collection in collections {
        let mut plan = Vec::new();
        stages(explain(collection).get_document("queryPlanner").unwrap(), &mut plan);
        assert!(plan.iter().any(|name| name == schema::NEWS) && !plan.iter().any(|name| name == "SORT"), "{plan:?}");
        assert_eq!(keys(&explain(collection)), 1);
    }
    let taken = store.news(9).await.unwrap();
    store.commit(taken.iter().map(|(key, _)| Change::TakeNews(Box::new(*key))).collect()).await.unwrap();
    for collection in collections {
        assert_eq!(keys(&explain(collection)), 0, "what has no news any more is not in the index");
    }
}

/// A node of before there were news writes records without them, and leaves them where they are.
#[tokio::test]
async fn records_of_older_nodes_have_news_from_the_next_change_on() {
    let (_database, store) = fresh().await;
    let tenant = a_tenant().id;
    let door = store.tenant(tenant);
    let mut verification = a_verification(tenant, TO, noon());
    door.admit(admission(verification.clone())).await.unwrap();
    let verifications = store.server.collection(schema::VERIFICATIONS);
    let whose = doc! { "_id": binary(&verification.id.to_bytes()) };
    verifications.update_one(whose.clone(), doc! { "$unset": { "n": 1 } }).await.unwrap();
    assert_eq!(store.news(9).await.unwrap(), []);
    verification.check(|_| true, seconds(1));
    door.replace(&mut verification, false).await.unwrap();
    // As such a node changes it.
    let change = doc! { "$set": { "v": 2_i64, "state.version": 2_i64 } };
    verifications.update_one(whose, change).await.unwrap();
    let told = store.news(9).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].1.version(), told[0].1.happenings()[0].what), (1, What::Approved));
    store.commit(vec![Change::TakeNews(Box::new(told[0].0))]).await.unwrap();
    assert_eq!(store.news(9).await.unwrap(), []);
}

#[tokio::test]
async fn news_that_cannot_be_read_keep_no_others_waiting() {
    let (_database, store) = fresh().await;
    let tenant = a_tenant().id;
    for second in [0, 1] {
        store.tenant(tenant).admit(admission(a_verification(tenant, TO, seconds(second)))).await.unwrap();
    }
    let verifications = store.server.collection(schema::VERIFICATIONS);
    verifications.update_one(doc! {}, doc! { "$set": { "n.0.d": "{" } }).await.unwrap();
    assert_eq!(store.news(9).await.unwrap().len(), 1);
    assert_eq!(store.news(1).await.unwrap().len(), 1, "it fills no batch either");
    let alone = doc! { "_id": binary(&[1; 24]), "t": binary(&tenant.to_bytes()), "d": "{" };
    store.server.collection(schema::OUTBOX).insert_one(alone).await.unwrap();
    assert_eq!(store.news(9).await.unwrap().len(), 1);
    assert_eq!(store.news(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn news_that_are_not_what_they_would_be_taken_by_keep_no_others_waiting() {
    let (_database, store) = fresh().await;
    let tenant = a_tenant().id;
    let mut ids = Vec::new();
    for second in 0..4 {
        let verification = a_verification(tenant, TO, seconds(second));
        ids.push(verification.id.to_bytes());
        store.tenant(tenant).admit(admission(verification)).await.unwrap();
    }
    let verifications = store.server.collection(schema::VERIFICATIONS);
    let row = |n: usize| doc! { "_id": binary(&ids[n]) };
    verifications.update_one(row(0), doc! { "$set": { "n.0.v": 7_i64 } }).await.unwrap();
    // Another's news, and another tenant's.
    let other = verifications.find_one(row(3)).await.unwrap().unwrap();
    let theirs = other.get_array("n").unwrap()[0].as_document().unwrap().get_str("d").unwrap();
    verifications.update_one(row(1), doc! { "$set": { "n.0.d": theirs } }).await.unwrap();
    verifications.update_one(row(2), doc! { "$set": { "t": binary(&[1; 16]) } }).await.unwrap();
    let alone = doc! { "_id": binary(&[1; 24]), "t": binary(&tenant.to_bytes()), "d": theirs };
    store.server.collection(schema::OUTBOX).insert_one(alone).await.unwrap();
    let news = store.news(9).await.unwrap();
    assert_eq!(news.iter().map(|(key, _)| key.item.to_bytes()).collect::<Vec<_>>(), [ids[3]]);
    store.commit(vec![Change::TakeNews(Box::new(news[0].0))]).await.unwrap();
    assert_eq!(store.news(9).await.unwrap(), []);
}
