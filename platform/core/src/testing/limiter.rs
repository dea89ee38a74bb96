//! What every [`Limiter`] promises.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::task::JoinSet;

use super::builders::{noon, seconds};
use crate::domain::rate::Rate;
use crate::ports::{Bucket, HELD_FOR, Limiter};

/// One test for each promise of [`Limiter`], over what `make` gives: an `async fn() -> (Arc<dyn
/// Limiter>, impl Sized)`, whose second part lives as long as the test.
#[macro_export]
macro_rules! limiter_contract {
    ($make:path) => {
        $crate::limiter_contract!(@ $make;
            a_burst_gets_through_and_the_next_call_waits
            a_refused_call_is_told_when_it_would_be_allowed
            a_call_that_one_bucket_refuses_takes_from_none
            decisions_come_in_the_order_of_the_buckets
            buckets_do_not_share_anything
            no_buckets_allow_everything
            racing_calls_get_no_more_than_the_burst
            what_is_under_way_is_counted_until_it_is_let_go_of
            what_nobody_lets_go_of_is_over_in_a_while
            of_what_begins_at_one_moment_each_counts_for_those_after_it);
    };
    (@ $make:path; $($promise:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $promise() {
            let (limiter, _kept) = $make().await;
            $crate::testing::limiter::$promise(limiter).await;
        }
    )+};
}

type Subject = Arc<dyn Limiter>;

const ANSWERS: &str = "the limiter answers";

fn bucket(name: &str, per_second: u32, burst: u32) -> Bucket {
    Bucket { name: name.to_owned(), rate: Rate { per_second, burst } }
}

async fn allowed(limiter: &Subject, buckets: &[Bucket], after_noon: i64) -> Vec<bool> {
    let decisions = limiter.take(buckets, seconds(after_noon)).await.expect(ANSWERS);
    decisions.iter().map(|decision| decision.allowed).collect()
}

/// As many calls as the burst at once, then one for each interval.
pub async fn a_burst_gets_through_and_the_next_call_waits(limiter: Subject) {
    let key = [bucket("key", 1, 3)];
    for _ in 0..3 {
        assert_eq!(allowed(&limiter, &key, 0).await, [true]);
    }
    assert_eq!(allowed(&limiter, &key, 0).await, [false]);
    assert_eq!(allowed(&limiter, &key, 1).await, [true]);
    assert_eq!(allowed(&limiter, &key, 1).await, [false]);
}

/// `at` of a refusal is the moment from which the same call is allowed.
pub async fn a_refused_call_is_told_when_it_would_be_allowed(limiter: Subject) {
    let key = [bucket("key", 2, 1)];
    limiter.take(&key, noon()).await.expect(ANSWERS);
    let refused = limiter.take(&key, noon()).await.expect(ANSWERS);
    assert!(!refused[0].allowed);
    assert_eq!(refused[0].at.duration_since(noon()), SignedDuration::from_millis(500));
    let again = limiter.take(&key, refused[0].at).await.expect(ANSWERS);
    assert!(again[0].allowed);
}

/// All or none: a call that does not go on costs nothing anywhere.
pub async fn a_call_that_one_bucket_refuses_takes_from_none(limiter: Subject) {
    let (tenant, key) = (bucket("tenant", 1, 2), bucket("key", 1, 1));
    assert_eq!(allowed(&limiter, &[tenant.clone(), key.clone()], 0).await, [true, true]);
    for _ in 0..5 {
        assert_eq!(allowed(&limiter, &[tenant.clone(), key.clone()], 0).await, [true, false]);
    }
    assert_eq!(allowed(&limiter, &[tenant], 0).await, [true]);
}

/// So that the caller knows which bucket said no.
pub async fn decisions_come_in_the_order_of_the_buckets(limiter: Subject) {
    let buckets = [bucket("a", 1, 9), bucket("b", 1, 5), bucket("c", 1, 7)];
    let decisions = limiter.take(&buckets, noon()).await.expect(ANSWERS);
    let remaining: Vec<_> = decisions.iter().map(|decision| decision.remaining).collect();
    assert_eq!(remaining, [8, 4, 6]);
}

/// One caller's haste is not another's.
pub async fn buckets_do_not_share_anything(limiter: Subject) {
    assert_eq!(allowed(&limiter, &[bucket("a", 1, 1)], 0).await, [true]);
    assert_eq!(allowed(&limiter, &[bucket("a", 1, 1)], 0).await, [false]);
    assert_eq!(allowed(&limiter, &[bucket("b", 1, 1)], 0).await, [true]);
}

/// A plan without rates has no buckets.
pub async fn no_buckets_allow_everything(limiter: Subject) {
    assert!(allowed(&limiter, &[], 0).await.is_empty());
}

/// Of 64 racing calls exactly the burst gets through.
pub async fn racing_calls_get_no_more_than_the_burst(limiter: Subject) {
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let limiter = Arc::clone(&limiter);
        calls.spawn(async move { allowed(&limiter, &[bucket("tenant", 1, 50), bucket("key", 1, 20)], 0).await });
    }
    let decisions = calls.join_all().await;
    assert_eq!(decisions.iter().filter(|decision| decision.iter().all(|allowed| *allowed)).count(), 20);
    let more = limiter.take(&[bucket("tenant", 1, 50)], noon()).await.expect(ANSWERS);
    assert_eq!(more[0].remaining, 29);
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Each name for itself; letting go of what is not held does nothing.
pub async fn what_is_under_way_is_counted_until_it_is_let_go_of(limiter: Subject) {
    let hold = async |of: &[&str], hold: u8| limiter.hold(&names(of), [hold; 16], noon()).await.expect(ANSWERS);
    let let_go = async |of: &[&str], hold: u8| limiter.let_go(&names(of), [hold; 16]).await.expect(ANSWERS);
    assert!(hold(&[], 0).await.is_empty());
    assert_eq!(hold(&["a", "b"], 1).await, [0, 0]);
    assert_eq!(hold(&["b", "a"], 2).await, [1, 1]);
    assert_eq!(hold(&["c", "b"], 3).await, [0, 2]);
    let_go(&["a", "b"], 1).await;
    let_go(&["a", "b"], 1).await;
    let_go(&["d"], 1).await;
    let_go(&[], 1).await;
    assert_eq!(hold(&["a", "b", "c"], 4).await, [1, 2, 1]);
}

/// Its node died.
pub async fn what_nobody_lets_go_of_is_over_in_a_while(limiter: Subject) {
    let a = names(&["a"]);
    let over = noon().saturating_add(HELD_FOR).expect("a moment");
    let just_before = over.saturating_sub(SignedDuration::from_millis(1)).expect("a moment");
    assert_eq!(limiter.hold(&a, [1; 16], noon()).await.expect(ANSWERS), [0]);
    assert_eq!(limiter.hold(&a, [2; 16], just_before).await.expect(ANSWERS), [1]);
    assert_eq!(limiter.hold(&a, [3; 16], over).await.expect(ANSWERS), [1], "the second is under way still");
}

/// Of ten none is missed by those that come later, and no two have as many before them.
pub async fn of_what_begins_at_one_moment_each_counts_for_those_after_it(limiter: Subject) {
    let mut racing = JoinSet::new();
    for hold in 0..10 {
        let limiter = Arc::clone(&limiter);
        racing.spawn(async move { limiter.hold(&names(&["a", "b"]), [hold; 16], noon()).await.expect(ANSWERS) });
    }
    let mut others = racing.join_all().await;
    others.sort_unstable();
    assert_eq!(others, (0..10).map(|n| vec![n, n]).collect::<Vec<_>>());
}
