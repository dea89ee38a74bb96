//! Calls that all nodes count together.

use std::sync::Arc;

use proptest::prelude::*;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::rate::Rate;
use wotp_core::ports::{Bucket, HELD_FOR, Limiter as _};
use wotp_core::testing::builders::{entropy, noon};
use wotp_store::limiter::RedisLimiter;
use wotp_store::redis::Redis;
use wotp_test_servers::{Redis as Server, redis_url};

fn rates() -> impl Strategy<Value = Rate> {
    (1u32..2000, 1u32..50).prop_map(|(per_second, burst)| Rate { per_second, burst })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_decides_as_the_rate_does(rates in prop::collection::vec(rates(), 1..4), gaps in prop::collection::vec(0i64..5_000_000_000, 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let unique = NodeId::new(noon(), entropy());
        let buckets: Vec<Bucket> =
            rates.iter().enumerate().map(|(n, rate)| Bucket { name: format!("{unique}:{n}"), rate: *rate }).collect();
        runtime.block_on(async {
            let limiter = RedisLimiter::new(Redis::at(redis_url(), Some("test:rates")).unwrap());
            let mut kept: Vec<Option<Timestamp>> = vec![None; buckets.len()];
            let mut now = noon();
            for (n, gap) in gaps.iter().enumerate() {
                // Most gaps are short, or no bucket would ever be empty.
                let gap = if n % 5 == 0 { *gap } else { gap / 10_000 };
                now = now.saturating_add(jiff::SignedDuration::from_nanos(gap)).unwrap();
                let (expected, next): (Vec<_>, Vec<_>) =
                    rates.iter().zip(&kept).map(|(rate, kept)| rate.decide(*kept, now)).unzip();
                if expected.iter().all(|decision| decision.allowed) {
                    kept = next.into_iter().map(Some).collect();
                }
                assert_eq!(limiter.take(&buckets, now).await.unwrap(), expected);
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_that_race_on_two_connections_exactly_as_many_pass_as_may() {
    let unique = NodeId::new(noon(), entropy());
    let burst = 50;
    let buckets = ["one", "other"].map(|name| Bucket {
        name: format!("{unique}:{name}"),
        rate: Rate { per_second: 1, burst: if name == "one" { burst } else { 2 * burst } },
    });
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let limiter = Arc::new(RedisLimiter::new(Redis::at(redis_url(), Some("test:rates")).unwrap()));
        for _ in 0..burst {
            let (limiter, buckets) = (Arc::clone(&limiter), buckets.clone());
            calls.spawn(async move {
                let decisions = limiter.take(&buckets, noon()).await.unwrap();
                decisions.iter().all(|decision| decision.allowed)
            });
        }
    }
    let passed = calls.join_all().await.into_iter().filter(|passed| *passed).count();
    assert_eq!(passed, 50);
    let limiter = RedisLimiter::new(Redis::at(redis_url(), Some("test:rates")).unwrap());
    let other = limiter.take(&buckets[1..], noon()).await.unwrap();
    assert!(other[0].allowed, "what one bucket refused was counted in none");
}

#[tokio::test]
async fn what_nobody_lets_go_of_leaves_redis_by_itself() {
    let server = Server::start();
    let limiter = RedisLimiter::new(Redis::at(&server.url(), None).unwrap());
    limiter.hold(&["one".to_owned(), "other".to_owned()], [1; 16], noon()).await.unwrap();
    for key in ["{wotp}:held:one", "{wotp}:held:other"] {
        let left: i128 = server.command(&["PTTL", key]).trim().trim_start_matches(':').parse().unwrap();
        assert!((HELD_FOR.as_millis()..=HELD_FOR.as_millis() + 60_000).contains(&left), "{key} stays for {left} ms");
    }
}
