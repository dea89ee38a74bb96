//! Commands whose fate is not known at once: met one by one, on a server that fails as it is told to.

mod connection_states;

use std::cell::Cell;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wotp_core::domain::quota::Resource;
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::{
    Admission, AdmitError, Change, CommitError, Entities as _, Entity, IndexKey, NewVerification, Owner, ReplaceError,
    Stored, TenantStore,
};
use wotp_core::testing::builders::{a_quota, a_verification, admission, an_idempotency, noon};
use wotp_test_servers::{ReplicaSet, Wire};

use super::*;

const COMMIT: &str = "commitTransaction";

/// What happens to a command.
#[derive(Debug, Clone)]
enum Fate {
    /// The server hangs up and has not done it, so many times.
    NotDone(&'static str, usize),
    /// The server has done it, and the answer is lost, so many times.
    AnswerLost(&'static str, usize),
    /// The server has done it, and does not know yet whether a majority has it, so many times.
    NotSafeYet(&'static str, i32),
    /// The server refuses with a code and a label, once.
    Refused(&'static str, i32, &'static str),
}

/// A store on a server that fails, over a wire that does.
struct Scene {
    set: ReplicaSet,
    wire: Wire,
    store: MongoStore,
    tenant: Tenant,
    /// How often the server's fail point was met before the fate that is to come.
    met_before: Cell<i32>,
}

impl Scene {
    async fn new(call_timeout: Duration) -> Self {
        let set = ReplicaSet::start_failing();
        let wire = Wire::to(&set.member(0).address());
        let url = format!("mongodb://{}/wotp?directConnection=true", wire.address());
        let options = ConnectOptions { call_timeout, ..ConnectOptions::default() };
        let store = MongoStore::connect(&url, options).await.unwrap();
        let tenant = a_tenant();
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        Self { set, wire, store, tenant, met_before: Cell::new(0) }
    }

    fn door(&self) -> Box<dyn TenantStore + '_> {
        self.store.tenant(self.tenant.id)
    }

    /// One that is admitted with an idempotency key of its own.
    fn new_verification(&self, number: u8) -> NewVerification {
        let verification = a_verification(self.tenant.id, &format!("+4477009001{number:02}"), noon());
        let mut new = admission(verification);
        new.idempotency = Some(an_idempotency(number, number, noon()));
        new
    }

    fn fail(&self, mode: Document, command: &str, mut how: Document) {
        how.insert("failCommands", [command]);
        // This node's, and not what a test asks.
        how.insert("appName", "wotp");
        let met = self.point(doc! { "mode": mode, "data": how });
        self.met_before.set(met);
    }

    /// Sets the fail point; how often it was met since the server started.
    fn point(&self, settings: Document) -> i32 {
        let mut point = doc! { "configureFailPoint": "failCommand" };
        point.extend(settings);
        self.set.member(0).run(point).unwrap().get_i32("count").unwrap()
    }

    fn let_come(&self, fate: &Fate) {
        match *fate {
            Fate::NotDone(command, times) => {
                let times = i32::try_from(times).unwrap();
                self.fail(doc! { "times": times }, command, doc! { "closeConnection": true });
            }
            // A command is named by its first field, which ends with a zero byte.
            Fate::AnswerLost(command, times) => {
                self.wire.swallow_answers(format!("{command}\0").as_bytes(), times);
            }
            Fate::NotSafeYet(command, times) => {
                let concern = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
                self.fail(doc! { "times": times }, command, doc! { "writeConcernError": concern });
            }
            Fate::Refused(command, code, label) => {
                self.fail(doc! { "times": 1 }, command, doc! { "errorCode": code, "errorLabels": [label] });
            }
        }
    }

    /// Asserts that the fault has come as often as it was to.
    fn has_come(&self, fate: &Fate) {
        let met = self.point(doc! { "mode": "off" }) - self.met_before.get();
        match *fate {
            Fate::NotDone(_, times) => assert_eq!(usize::try_from(met), Ok(times), "{fate:?} was not met"),
            Fate::AnswerLost(..) => assert_eq!(self.wire.answers_to_swallow(), 0, "{fate:?} was not met"),
            Fate::NotSafeYet(_, times) => assert_eq!(met, times, "{fate:?} was not met"),
            Fate::Refused(..) => assert_eq!(met, 1, "{fate:?} was not met"),
        }
    }

    /// Ends a fault that was to come more often than anyone asks, and asserts that it has come.
    fn end(&self, fate: &Fate) {
        let met = self.point(doc! { "mode": "off" }) - self.met_before.get();
        let met = match *fate {
            Fate::AnswerLost(_, times) => self.wire.answers_to_swallow() < times,
            _ => met > 0,
        };
        assert!(met, "{fate:?} was not met");
        self.let_come(&Fate::AnswerLost(COMMIT, 0));
    }

    /// Rows of a collection, asked past the wire.
    fn rows(&self, collection: &str) -> Vec<Document> {
        let member = self.set.member(0);
        let reply = member.run_on("wotp", doc! { "find": collection, "batchSize": 1000 }).unwrap();
        let rows = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        rows.iter().filter_map(Bson::as_document).cloned().collect()
    }

    /// That so many are stored, and as many counted in the day and the month.
    fn holds(&self, stored: usize, counted: i64, after: &str) {
        assert_eq!(self.rows("verifications").len(), stored, "stored, after {after}");
        let sum = |collection, field| self.rows(collection).iter().map(|row| row.get_i64(field).unwrap()).sum::<i64>();
        // Tallies count once what the day and the month count each.
        assert_eq!(sum("usage", "used") + 2 * sum("tallies", "used"), 2 * counted, "counted, after {after}");
        assert_eq!(sum("usage", "lent"), 2 * sum("tallies", "lent"), "lent, after {after}");
    }
}

#[tokio::test]
async fn an_admission_is_stored_and_counted_once_whatever_becomes_of_its_commands() {
    let scene = Scene::new(Duration::from_secs(20)).await;
    // So that the faults meet an admission, and not what lends to it.
    admitted(&scene, 1).await;
    let fates = [
        Fate::NotDone(COMMIT, 1),
        // The driver itself asks twice.
        Fate::NotDone(COMMIT, 5),
        Fate::AnswerLost(COMMIT, 1),
        Fate::AnswerLost(COMMIT, 5),
        Fate::NotSafeYet(COMMIT, 5),
        Fate::Refused(COMMIT, 50, "UnknownTransactionCommitResult"),
        Fate::Refused("update", 112, "TransientTransactionError"),
        Fate::Refused("insert", 251, "TransientTransactionError"),
        Fate::NotDone("update", 1),
        Fate::NotDone("insert", 1),
        Fate::AnswerLost("update", 1),
        Fate::AnswerLost("insert", 1),
    ];
    for (number, fate) in (2..).zip(fates) {
        scene.let_come(&fate);
        let new = scene.new_verification(number);
        let admitted = scene.door().admit(new.clone()).await;
        assert!(matches!(admitted, Ok(Admission::Admitted(_))), "{fate:?}: {admitted:?}");
        scene.has_come(&fate);
        scene.holds(usize::from(number), i64::from(number), &format!("{fate:?}"));
        let again = scene.door().admit(new).await;
        assert!(matches!(again, Ok(Admission::Repeated(_))), "{fate:?}: {again:?}");
        scene.holds(usize::from(number), i64::from(number), "a repeat");
    }
}

#[tokio::test]
async fn what_is_lent_is_lent_once_whatever_becomes_of_its_commands() {
    let mut scene = Scene::new(Duration::from_secs(20)).await;
    let fates = [
        Fate::NotDone(COMMIT, 5),
        Fate::AnswerLost(COMMIT, 1),
        Fate::AnswerLost(COMMIT, 5),
        Fate::NotSafeYet(COMMIT, 5),
        Fate::Refused(COMMIT, 50, "UnknownTransactionCommitResult"),
        Fate::Refused("update", 112, "TransientTransactionError"),
        Fate::NotDone("update", 1),
        Fate::AnswerLost("update", 1),
    ];
    for (number, fate) in (1..).zip(fates) {
        // A node that was lent nothing yet.
        let url = format!("mongodb://{}/wotp?directConnection=true", scene.wire.address());
        scene.store = MongoStore::connect(&url, ConnectOptions::default()).await.unwrap();
        scene.let_come(&fate);
        let mut new = scene.new_verification(number);
        new.quota = a_quota(Resource::Verifications, noon(), Some(10_000), Some(20_000), Some(20_000));
        let admitted = scene.door().admit(new).await;
        assert!(matches!(admitted, Ok(Admission::Admitted(_))), "{fate:?}: {admitted:?}");
        scene.has_come(&fate);
        scene.holds(usize::from(number), i64::from(number), &format!("{fate:?}"));
        assert_eq!(scene.rows("tallies").len(), usize::from(number));
    }
}

#[tokio::test]
async fn an_admission_whose_fate_stays_unknown_is_no_answer_and_a_repeat_finds_what_came_of_it() {
    let scene = Scene::new(Duration::from_secs(4)).await;
    admitted(&scene, 1).await;
    let far_more = 10_000;
    // What was committed, and what was not: nobody can tell until the server answers.
    for (number, fate) in (2..).zip([Fate::AnswerLost(COMMIT, far_more), Fate::NotDone(COMMIT, far_more)]) {
        scene.let_come(&fate);
        let new = scene.new_verification(number);
        let refused = scene.door().admit(new.clone()).await;
        assert!(matches!(refused, Err(AdmitError::Store(_))), "{fate:?}: {refused:?}");
        scene.end(&fate);
        let again = loop {
            // Until the transaction that was left open is found and ended.
            match scene.door().admit(new.clone()).await {
                Err(AdmitError::Store(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(again, Ok(Admission::Admitted(_) | Admission::Repeated(_))), "{fate:?}: {again:?}");
        scene.holds(usize::from(number), i64::from(number), &format!("{fate:?}"));
    }
}

#[tokio::test]
async fn a_change_is_made_once_whatever_becomes_of_its_command() {
    let scene = Scene::new(Duration::from_secs(20)).await;
    let mut verification = admitted(&scene, 1).await;
    for fate in [
        Fate::NotDone("update", 1),
        Fate::NotDone("update", 4),
        Fate::AnswerLost("update", 1),
        Fate::AnswerLost("update", 4),
        Fate::NotSafeYet("update", 4),
        Fate::Refused("update", 11602, "RetryableWriteError"),
    ] {
        let mut stale = verification.clone();
        scene.let_come(&fate);
        verification.checks_used += 1;
        scene.door().replace(&mut verification, false).await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        scene.has_come(&fate);
        assert_eq!(found(&scene, &verification).await, verification, "{fate:?}");
        let late = scene.door().replace(&mut stale, false).await;
        assert!(matches!(late, Err(ReplaceError::Conflict)), "{fate:?}: {late:?}");
    }
}

#[tokio::test]
async fn a_change_whose_fate_stays_unknown_is_neither_made_nor_refused_to_its_caller() {
    let scene = Scene::new(Duration::from_secs(2)).await;
    let verification = admitted(&scene, 1).await;
    for fate in
        [Fate::AnswerLost("update", 10_000), Fate::NotDone("update", 10_000), Fate::NotSafeYet("update", 10_000)]
    {
        let mut change = found(&scene, &verification).await;
        change.checks_used += 1;
        scene.let_come(&fate);
        let unknown = scene.door().replace(&mut change, false).await;
        assert!(matches!(unknown, Err(ReplaceError::Store(_))), "{fate:?}: {unknown:?}");
        scene.end(&fate);
    }
}

#[tokio::test]
async fn a_use_is_given_back_once_whatever_becomes_of_its_commands() {
    let scene = Scene::new(Duration::from_secs(20)).await;
    let mut open: Vec<Verification> = Vec::new();
    let fates = [
        Fate::NotDone(COMMIT, 5),
        Fate::AnswerLost(COMMIT, 5),
        Fate::NotSafeYet(COMMIT, 5),
        Fate::Refused("update", 112, "TransientTransactionError"),
        Fate::AnswerLost("update", 1),
    ];
    for (number, _) in (1..).zip(&fates) {
        open.push(admitted(&scene, number).await);
    }
    let all = open.len();
    for (fate, (mut verification, left)) in fates.into_iter().zip(open.into_iter().zip((0..all as i64).rev())) {
        scene.let_come(&fate);
        (verification.status, verification.counted.refunded) = (Status::Failed, true);
        scene.door().replace(&mut verification, true).await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        scene.has_come(&fate);
        scene.holds(all, left, &format!("{fate:?}"));
        assert_eq!(found(&scene, &verification).await, verification, "{fate:?}");
    }
}

async fn admitted(scene: &Scene, number: u8) -> Verification {
    match scene.door().admit(scene.new_verification(number)).await.unwrap() {
        Admission::Admitted(verification) => verification,
        Admission::Repeated(_) => panic!("it is new"),
    }
}

async fn found(scene: &Scene, verification: &Verification) -> Verification {
    scene.door().find_verification(verification.id).await.unwrap().unwrap()
}

/// An entry of an audit log, as it might be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    number: u8,
    part: u8,
}

impl Entity for Entry {
    const KIND: &'static str = "test_entry";

    fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[0] = self.part;
        id[15] = self.number;
        id
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("number", [self.number, self.part])]
    }
}

/// What is committed together under a number: two entities, and a change of the tenant.
async fn changes(scene: &Scene, number: u8) -> Vec<Change> {
    let tenant = scene.door().find_tenant().await.unwrap().unwrap();
    vec![
        Change::insert(&Entry { number, part: 0 }),
        Change::ReplaceTenant(Box::new(Tenant { name: format!("number {number}"), ..tenant })),
        Change::insert(&Entry { number, part: 1 }),
    ]
}

/// That so much was made of the commit with a number: all of it, or none.
async fn made(scene: &Scene, number: u8, after: &str) -> bool {
    let mut parts = Vec::new();
    for part in [0, 1] {
        let entry = Entry { number, part };
        parts.push(scene.store.find_entity(Entry::KIND, entry.owner(), entry.id()).await.unwrap().is_some());
    }
    let tenant = scene.door().find_tenant().await.unwrap().unwrap();
    parts.push(tenant.name == format!("number {number}"));
    assert!(parts.iter().all(|part| *part == parts[0]), "{parts:?}, after {after}");
    parts[0]
}

#[tokio::test]
async fn entities_are_committed_once_whatever_becomes_of_the_commands() {
    let scene = Scene::new(Duration::from_secs(20)).await;
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
        let changes = changes(&scene, number).await;
        scene.let_come(&fate);
        scene.store.commit(changes.clone()).await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        scene.has_come(&fate);
        assert!(made(&scene, number, &format!("{fate:?}")).await);
        let again = scene.store.commit(changes).await;
        assert!(matches!(again, Err(CommitError::Taken { .. })), "{fate:?}: {again:?}");
        assert_eq!(scene.rows("entities").len(), 2 * usize::from(number));
    }
}

#[tokio::test]
async fn a_look_at_what_is_in_the_way_is_tried_again() {
    let scene = Scene::new(Duration::from_secs(20)).await;
    let changes = changes(&scene, 1).await;
    scene.store.commit(changes.clone()).await.unwrap();
    let fate = Fate::Refused("find", 251, "TransientTransactionError");
    scene.let_come(&fate);
    let again = scene.store.commit(changes).await;
    scene.has_come(&fate);
    assert!(matches!(again, Err(CommitError::Taken { .. })), "{again:?}");
}

#[tokio::test]
async fn what_is_as_it_was_read_is_committed_without_another_look_at_it() {
    let scene = Scene::new(Duration::from_secs(20)).await;
    let insert = |part| Change::insert(&Entry { number: 1, part });
    let read = async |part| {
        let id = Entry { number: 1, part }.id();
        scene.store.find_entity(Entry::KIND, Owner::Platform, id).await.unwrap().map(Stored::<Entry>::read)
    };
    scene.wire.count(b"find\0");
    scene.store.commit(vec![insert(0), insert(1)]).await.unwrap();
    assert_eq!(scene.wire.counted(), 0);
    let (first, second) = (read(0).await.unwrap().unwrap(), read(1).await.unwrap().unwrap());
    scene.wire.count(b"find\0");
    scene.store.commit(vec![Change::replace(&first), Change::delete(&second), insert(2)]).await.unwrap();
    assert_eq!(scene.wire.counted(), 0);
    // It is not as it was read any more: nothing of this is made.
    for late in [Change::replace(&first), Change::delete(&first), Change::replace(&second), insert(2)] {
        let refused = scene.store.commit(vec![insert(3), late.clone()]).await;
        assert!(matches!(refused, Err(CommitError::Changed | CommitError::Taken { .. })), "{late:?}: {refused:?}");
        assert!(read(3).await.is_none(), "{late:?}");
    }
}

#[tokio::test]
async fn a_commit_of_entities_whose_fate_stays_unknown_is_an_error_and_whole_or_not_there() {
    let scene = Scene::new(Duration::from_secs(4)).await;
    let far_more = 10_000;
    for (number, fate) in (1..).zip([Fate::AnswerLost(COMMIT, far_more), Fate::NotDone(COMMIT, far_more)]) {
        let changes = changes(&scene, number).await;
        scene.let_come(&fate);
        let unknown = scene.store.commit(changes.clone()).await;
        assert!(matches!(unknown, Err(CommitError::Store(_))), "{fate:?}: {unknown:?}");
        scene.end(&fate);
        let settled = loop {
            // Until the transaction that was left open is found and ended.
            match scene.store.commit(changes.clone()).await {
                Err(CommitError::Store(_)) => {}
                other => break other,
            }
        };
        // It was made then, or now.
        assert!(matches!(settled, Ok(()) | Err(CommitError::Taken { .. })), "{fate:?}: {settled:?}");
        assert!(made(&scene, number, &format!("{fate:?}")).await);
    }
}
