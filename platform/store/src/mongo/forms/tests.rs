use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mongodb::error::Error;
use tokio::sync::Semaphore;
use wotp_core::ports::Store as _;
use wotp_core::testing::builders::a_node;
use wotp_test_servers::MongoDatabase;

use super::*;
use crate::mongo::{ConnectOptions, MongoStore};

/// A node at a database that no step has been taken of: the tests take their own.
async fn server(database: &MongoDatabase) -> Server {
    let server = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap().server;
    as_first(&server).await;
    server
}

/// Has the database say that it is of the first form.
async fn as_first(server: &Server) {
    let said = doc! { "$set": { "form": FIRST, "oldest": FIRST } };
    server.collection(schema::FORMS).update_one(doc! { "_id": DOCUMENTS }, said).await.unwrap();
}

fn quietly(_: &str) {}

async fn stored(server: &Server) -> Stored {
    let row = server.collection(schema::FORMS).find_one(doc! { "_id": DOCUMENTS }).await.unwrap();
    Stored::of(&row.unwrap()).unwrap()
}

/// Notes in the database that it ran.
async fn ran(database: Database, step: i32) -> Result<(), Error> {
    database.collection::<Document>("ran").insert_one(doc! { "step": step }).await.map(|_| ())
}

async fn runs(server: &Server) -> Vec<i32> {
    let rows: Vec<Document> =
        server.collection("ran").find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
    rows.iter().map(|row| row.get_i32("step").unwrap()).collect()
}

const ADDS: Step = Step { oldest: 1, run: |database| Box::pin(ran(database, 2)) };
const SHUTS_OUT: Step = Step { oldest: 2, run: |database| Box::pin(ran(database, 3)) };

#[tokio::test]
async fn a_new_database_is_of_the_form_of_its_program_and_says_so() {
    let database = MongoDatabase::fresh();
    let server = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap().server;
    assert_eq!(stored(&server).await, Stored { form: FORM, oldest: 2, by: env!("CARGO_PKG_VERSION").to_owned() });
}

/// Such a program would take a link for a code that never got out.
#[tokio::test]
async fn a_program_that_knows_no_links_is_shut_out_once_it_has_left() {
    let database = MongoDatabase::fresh();
    let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let server = &store.server;
    let old = node_of_the_first_form(&store).await;
    as_first(server).await;
    let error = bring_up_to_date(server, &quietly).await.unwrap_err().to_string();
    assert!(error.contains("form 2") && error.contains("node-1 of version 1.2.3"), "{error}");
    stored(server).await.admit(1).unwrap();
    store.forget_node(old).await.unwrap();
    bring_up_to_date(server, &quietly).await.unwrap();
    let after = stored(server).await;
    assert!(after.admit(1).is_err() && after.admit(2).is_ok(), "{after:?}");
}

/// Has a node run that is of the first form.
async fn node_of_the_first_form(store: &MongoStore) -> NodeId {
    let node = a_node(nodes::time(&store.server).await.unwrap());
    store.note_node(&node).await.unwrap();
    let said = doc! { "$set": { "form": FIRST } };
    store.server.collection(schema::NODES).update_many(doc! {}, said).await.unwrap();
    node.id
}

#[tokio::test]
async fn nodes_that_start_at_once_take_each_step_once() {
    let database = MongoDatabase::fresh();
    let nodes = [server(&database).await, server(&database).await, server(&database).await];
    let steps: &[Step] = &[ADDS, SHUTS_OUT];
    let [first, second, third] = &nodes;
    let start = |node| take(node, steps, &quietly);
    let (first, second, third) = tokio::join!(start(first), start(second), start(third));
    first.and(second).and(third).unwrap();
    assert_eq!(runs(&nodes[0]).await, [2, 3]);
    let after = stored(&nodes[0]).await;
    assert_eq!((after.form, after.oldest), (3, 2));
    take(&nodes[0], steps, &quietly).await.unwrap();
    assert_eq!(runs(&nodes[0]).await, [2, 3], "a later start has nothing to do");
}

#[tokio::test]
async fn a_node_waits_for_the_step_of_another_and_says_so() {
    static OPEN: Semaphore = Semaphore::const_new(0);
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    const SLOW: Step = Step {
        oldest: 1,
        run: |database| {
            Box::pin(async move {
                STARTED.fetch_add(1, Ordering::SeqCst);
                OPEN.acquire().await.unwrap().forget();
                ran(database, 2).await
            })
        },
    };
    let database = MongoDatabase::fresh();
    let (one, other) = (server(&database).await, server(&database).await);
    let waits = AtomicBool::new(false);
    let (saw, heard) = (|_: &str| waits.store(true, Ordering::SeqCst), || waits.load(Ordering::SeqCst));
    let let_go = async {
        while !heard() {
            tokio::task::yield_now().await;
        }
        OPEN.add_permits(1);
    };
    let (one, other, ()) = tokio::join!(take(&one, &[SLOW], &saw), take(&other, &[SLOW], &saw), let_go);
    one.and(other).unwrap();
    assert_eq!(STARTED.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_step_that_was_cut_off_is_taken_by_another_node_when_the_lease_of_the_first_ends() {
    let database = MongoDatabase::fresh();
    let server = server(&database).await;
    const DIES: Step = Step { oldest: 1, run: |_| Box::pin(std::future::pending()) };
    let waiting = AtomicBool::new(false);
    let takes = take(&server, &[DIES], &quietly);
    tokio::select! {
        _ = takes => panic!("it never ends"),
        () = async {
            while nodes::find_lease(&server, LEASE).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    // The lease of the dead is over at a moment, and not a word of it before.
    let lease = server.collection(schema::LEASES);
    take_soon(&server, &waiting, async {
        lease.update_one(doc! { "_id": LEASE }, doc! { "$set": { "until": 0_i64 } }).await.unwrap();
    })
    .await;
    assert_eq!((runs(&server).await, stored(&server).await.form), (vec![2], 2));
}

/// Takes the step while `release` lets go of what is waited for, once it is waited for.
async fn take_soon(server: &Server, waiting: &AtomicBool, release: impl Future<Output = ()>) {
    let says = |_: &str| waiting.store(true, Ordering::SeqCst);
    let release = async {
        while !waiting.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        release.await;
    };
    let (taken, ()) = tokio::join!(take(server, &[ADDS], &says), release);
    taken.unwrap();
}

#[tokio::test]
async fn a_step_that_fails_is_not_noted_and_is_taken_again() {
    static FAILS: AtomicBool = AtomicBool::new(true);
    const FAILS_ONCE: Step = Step {
        oldest: 1,
        run: |database| {
            Box::pin(async move {
                ran(database, 2).await?;
                if FAILS.swap(false, Ordering::SeqCst) { Err(Error::custom("no")) } else { Ok(()) }
            })
        },
    };
    let database = MongoDatabase::fresh();
    let server = server(&database).await;
    take(&server, &[FAILS_ONCE], &quietly).await.unwrap_err();
    assert_eq!(stored(&server).await.form, 1);
    take(&server, &[FAILS_ONCE], &quietly).await.unwrap();
    assert_eq!((runs(&server).await, stored(&server).await.form), (vec![2, 2], 2));
}

#[tokio::test]
async fn a_step_that_shuts_out_nodes_which_run_is_refused_and_changes_nothing() {
    let database = MongoDatabase::fresh();
    let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let server = &store.server;
    let node = node_of_the_first_form(&store).await;
    as_first(server).await;
    let error = take(server, &[ADDS, SHUTS_OUT], &quietly).await.unwrap_err().to_string();
    assert!(error.contains("form 3") && error.contains("node-1 of version 1.2.3"), "{error}");
    assert_eq!((runs(server).await, stored(server).await.form), (vec![2], 2), "the step before it is taken");
    // It was a node of the form before that ran, and it has left.
    store.forget_node(node).await.unwrap();
    take(server, &[ADDS, SHUTS_OUT], &quietly).await.unwrap();
    assert_eq!(stored(server).await.form, 3);
}

#[tokio::test]
async fn a_program_that_is_too_old_is_refused_with_both_versions_and_one_that_is_not_works_on() {
    let database = MongoDatabase::fresh();
    let server = server(&database).await;
    let say = |form: i32, oldest: i32| {
        let said = doc! { "$set": { "form": form, "oldest": oldest, "by": "9.9.9" } };
        let server = server.clone();
        async move { server.collection(schema::FORMS).update_one(doc! { "_id": DOCUMENTS }, said).await.unwrap() }
    };
    say(FORM + 1, FORM).await;
    MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
    let after = stored(&server).await;
    assert_eq!((after.form, after.by.as_str()), (FORM + 1, "9.9.9"), "an older program changes nothing of it");
    say(FORM + 2, FORM + 1).await;
    let Err(error) = MongoStore::connect(database.url(), ConnectOptions::default()).await else {
        panic!("it was let in")
    };
    let (error, version) = (error.to_string(), env!("CARGO_PKG_VERSION"));
    for words in [
        format!("in form {}, to which wotp 9.9.9 brought it", FORM + 2),
        format!("programs older than form {} cannot use", FORM + 1),
        format!("this is wotp {version}, of form {FORM}: run the version that the other nodes run"),
    ] {
        assert!(error.contains(&words), "`{words}` is not in: {error}");
    }
}
