//! What nodes count by themselves: exact however many there are, and whatever becomes of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use wotp_core::domain::quota::{Charge, Period, Quota, Resource, Window};
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::{Admission, AdmitError, NewVerification, Usage};
use wotp_core::testing::builders::{a_quota, a_verification, admission, noon};

use super::*;

/// Nodes that share a database, and a tenant of it.
struct Nodes {
    database: MongoDatabase,
    stores: Vec<Arc<MongoStore>>,
    tenant: Tenant,
}

impl Nodes {
    async fn start(count: usize) -> Self {
        let database = MongoDatabase::fresh();
        let (first, tenant) = store(database.url()).await;
        let mut nodes = Self { database, stores: vec![Arc::new(first)], tenant };
        for _ in 1..count {
            nodes.join().await;
        }
        nodes
    }

    async fn join(&mut self) {
        let store = MongoStore::connect(self.database.url(), ConnectOptions::default()).await.unwrap();
        self.stores.push(Arc::new(store));
    }

    fn verification(&self, number: usize, quota: &Quota) -> NewVerification {
        let to = format!("n{number}@example.com");
        NewVerification { quota: quota.clone(), ..admission(a_verification(self.tenant.id, &to, noon())) }
    }

    /// One of these numbers on each node in turn, all at once, in waves that a node makes batches of; says
    /// what came of each.
    async fn admit(
        &self,
        numbers: std::ops::Range<usize>,
        quota: &Quota,
    ) -> Vec<Result<Admission<Verification>, AdmitError>> {
        let mut calls = JoinSet::new();
        for number in numbers {
            let (store, new) = (Arc::clone(&self.stores[number % self.stores.len()]), self.verification(number, quota));
            calls.spawn(async move { store.tenant(new.verification.tenant).admit(new).await });
        }
        calls.join_all().await
    }

    async fn usage(&self) -> [Usage; 2] {
        let windows = [Window::day(noon()), Window::month(noon(), Period::Calendar, noon())];
        let usage = self.stores[0].tenant(self.tenant.id).usage(Resource::Verifications, &windows).await.unwrap();
        usage.try_into().unwrap()
    }

    fn sum(&self, collection: &str, field: &str) -> i64 {
        raw(&self.database, collection).iter().map(|row| row.get_i64(field).unwrap_or(0)).sum()
    }

    fn stored(&self) -> usize {
        let counted = self.database.run(doc! { "count": "verifications" }).unwrap();
        usize::try_from(counted.get_i32("n").unwrap()).unwrap()
    }
}

fn daily(limit: u64) -> Quota {
    a_quota(Resource::Verifications, noon(), Some(limit), None, None)
}

fn admitted(outcomes: &[Result<Admission<Verification>, AdmitError>]) -> usize {
    for outcome in outcomes {
        assert!(matches!(outcome, Ok(Admission::Admitted(_)) | Err(AdmitError::Quota(_))), "{outcome:?}");
    }
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

fn used(used: u64) -> Usage {
    Usage { used, overage: 0 }
}

#[tokio::test]
async fn of_what_is_left_for_many_nodes_exactly_as_much_is_admitted() {
    let nodes = Nodes::start(4).await;
    let outcomes = nodes.admit(0..900, &daily(700)).await;
    assert_eq!((admitted(&outcomes), nodes.stored()), (700, 700));
    assert_eq!(nodes.usage().await, [used(700), used(700)]);
    // The last ones were counted in the counts themselves.
    assert_eq!((nodes.sum("usage", "lent"), nodes.sum("tallies", "lent")), (0, 0));
}

#[tokio::test]
async fn where_much_is_left_nodes_count_by_themselves_and_the_sum_is_right() {
    let nodes = Nodes::start(2).await;
    let outcomes = nodes.admit(0..300, &daily(1_000_000)).await;
    assert_eq!((admitted(&outcomes), nodes.stored()), (300, 300));
    assert_eq!(nodes.usage().await, [used(300), used(300)]);
    assert_eq!(raw(&nodes.database, "tallies").len(), 2);
    assert_eq!((nodes.sum("usage", "used"), nodes.sum("tallies", "used")), (0, 300));
    // Of the day and the month.
    assert_eq!(nodes.sum("usage", "lent"), 2 * nodes.sum("tallies", "lent"));
}

#[tokio::test]
async fn what_a_node_that_is_gone_was_lent_and_did_not_use_is_used_by_others() {
    let mut nodes = Nodes::start(2).await;
    admitted(&nodes.admit(0..2, &daily(400)).await);
    assert!(nodes.sum("tallies", "lent") > 100, "both were lent something");
    nodes.stores.remove(1);
    let outcomes = nodes.admit(2..500, &daily(400)).await;
    assert_eq!((admitted(&outcomes), nodes.stored()), (398, 400));
    assert_eq!(nodes.usage().await, [used(400), used(400)]);
}

#[tokio::test]
async fn a_use_that_is_given_back_can_be_used_again_wherever_it_was_counted() {
    let nodes = Nodes::start(2).await;
    let mut given_back = 0;
    for outcome in nodes.admit(0..200, &daily(300)).await.into_iter().take(40) {
        let Ok(Admission::Admitted(mut verification)) = outcome else { panic!("there is room: {outcome:?}") };
        (verification.status, verification.counted.refunded) = (Status::Failed, true);
        nodes.stores[0].tenant(nodes.tenant.id).replace(&mut verification, true).await.unwrap();
        given_back += 1;
    }
    assert_eq!(nodes.usage().await, [used(160), used(160)]);
    let outcomes = nodes.admit(200..400, &daily(300)).await;
    assert_eq!(admitted(&outcomes), 300 - 200 + given_back);
    assert_eq!(nodes.usage().await, [used(300), used(300)]);
}

#[tokio::test]
async fn a_plan_that_allows_less_holds_for_what_was_lent_before() {
    let nodes = Nodes::start(2).await;
    assert_eq!(admitted(&nodes.admit(0..100, &daily(100_000)).await), 100);
    let outcomes = nodes.admit(100..300, &daily(150)).await;
    assert_eq!((admitted(&outcomes), nodes.stored()), (50, 150));
    assert_eq!(nodes.usage().await, [used(150), used(150)]);
    // And one without any limit, too.
    assert_eq!(admitted(&nodes.admit(300..320, &a_quota(Resource::Verifications, noon(), None, None, None)).await), 20);
    assert_eq!(admitted(&nodes.admit(320..330, &daily(150)).await), 0);
    assert_eq!(nodes.usage().await, [used(170), used(170)]);
}

#[tokio::test]
async fn beyond_what_is_included_each_use_is_overage_and_none_before() {
    let nodes = Nodes::start(3).await;
    let quota = a_quota(Resource::Verifications, noon(), None, Some(250), Some(400));
    let outcomes = nodes.admit(0..450, &quota).await;
    assert_eq!(admitted(&outcomes), 400);
    let charges = outcomes.iter().filter_map(|outcome| match outcome {
        Ok(Admission::Admitted(verification)) => Some(verification.counted.charge),
        _ => None,
    });
    assert_eq!(charges.filter(|charge| *charge == Charge::Overage).count(), 150);
    assert_eq!(nodes.usage().await[1], Usage { used: 400, overage: 150 });
}

#[tokio::test]
async fn nodes_that_serve_one_tenant_are_not_in_each_others_way() {
    let nodes = Nodes::start(3).await;
    admitted(&nodes.admit(0..3, &daily(1_000_000)).await);
    let before: BTreeSet<String> = raw(&nodes.database, "usage").iter().map(ToString::to_string).collect();
    admitted(&nodes.admit(3..600, &daily(1_000_000)).await);
    let after: BTreeSet<String> = raw(&nodes.database, "usage").iter().map(ToString::to_string).collect();
    assert_eq!(before, after, "nothing that they share was written to");
}
