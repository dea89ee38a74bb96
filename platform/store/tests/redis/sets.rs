//! Servers that belong together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::rate::Rate;
use wotp_core::ports::{Bucket, Bulletin as _, Changed, Limiter as _, Queue as _};
use wotp_core::testing::builders::{entropy, noon};
use wotp_core::testing::queue::jobs;
use wotp_store::bulletin::RedisBulletin;
use wotp_store::limiter::RedisLimiter;
use wotp_store::queue::{ListenOptions, RedisQueue};
use wotp_store::redis::Redis;
use wotp_test_servers::{Redis as Server, RedisCluster, Sentinels};

use crate::{Node, at, insist, queue_at, until};

/// Rings, hears, counts and tells, until each has worked once.
async fn all_works(redis: &Redis, node: &mut Node, heard: &Mutex<Vec<Changed>>) {
    let queue = RedisQueue::new(redis.clone());
    let jobs = jobs(3);
    for job in &jobs {
        insist(&queue, *job).await;
    }
    node.hear_all(&jobs).await;
    until(async || queue.ring_node(node.id, jobs[0]).await.is_ok()).await;
    node.hear_all(&jobs[..1]).await;
    let limiter = RedisLimiter::new(redis.clone());
    let bucket = Bucket { name: TenantId::new(noon(), entropy()).to_string(), rate: Rate { per_second: 1, burst: 2 } };
    let mut allowed = Vec::new();
    until(async || limiter.take(std::slice::from_ref(&bucket), noon()).await.is_ok()).await;
    for _ in 0..2 {
        allowed.push(limiter.take(std::slice::from_ref(&bucket), noon()).await.unwrap()[0].allowed);
    }
    assert_eq!(allowed, [true, false]);
    let bulletin = RedisBulletin::new(redis.clone());
    let news = Changed::Tenant(TenantId::new(noon(), entropy()));
    // Told again until it is heard: news that are told while nobody listens are lost.
    until(async || bulletin.tell(news).await.is_ok() && heard.lock().unwrap().contains(&news)).await;
}

/// A node that listens to rings and news.
fn node(redis: &Redis, stopping: watch::Receiver<bool>) -> (Node, Arc<Mutex<Vec<Changed>>>) {
    let heard: Arc<Mutex<Vec<Changed>>> = Arc::default();
    let hears = Arc::clone(&heard);
    RedisBulletin::new(redis.clone()).listen(move |changed| hears.lock().unwrap().push(changed), stopping);
    (Node::listening(&RedisQueue::new(redis.clone()), ListenOptions::default()), heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_sentinels_make_another_the_master_all_goes_on_there() {
    let mut set = Sentinels::start(3);
    let redis = at(&format!("redis+sentinel://{}", set.address()));
    let (_stop, stopping) = watch::channel(false);
    let (mut node, heard) = node(&redis, stopping);
    all_works(&redis, &mut node, &heard).await;
    set.master().kill();
    all_works(&redis, &mut node, &heard).await;
    assert!(set.replica().command(&["ROLE"]).contains("master"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_master_falls_silent_all_goes_on_at_the_one_that_sentinels_name() {
    let mut set = Sentinels::start(1);
    let redis = at(&format!("redis+sentinel://{}", set.address()));
    let (_stop, stopping) = watch::channel(false);
    let (mut node, heard) = node(&redis, stopping);
    all_works(&redis, &mut node, &heard).await;
    set.master().freeze(true);
    all_works(&redis, &mut node, &heard).await;
    assert!(set.replica().command(&["ROLE"]).contains("master"));
    // It comes back as a replica of the other, and nobody is led astray.
    set.master().freeze(false);
    all_works(&redis, &mut node, &heard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_given_a_password_of_their_own() {
    let set = Sentinels::start(1);
    set.ask_for("s3:cret");
    let url = format!("redis+sentinel://{}", set.address());
    until(async || at(&format!("{url}?sentinel_password=s3%3Acret")).ping().await.is_ok()).await;
    let refused = at(&url);
    until(async || refused.ping().await.unwrap_err().to_string().contains("NOAUTH")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_does_all_that_a_server_does_though_its_first_host_is_gone() {
    let cluster = RedisCluster::start();
    let mut gone = Server::start();
    gone.kill();
    let redis = at(&format!("redis+cluster://{},{}", gone.address(), cluster.address()));
    let (_stop, stopping) = watch::channel(false);
    let (mut node, heard) = node(&redis, stopping);
    all_works(&redis, &mut node, &heard).await;
    for _ in 0..3 {
        node.stop().await;
        node = Node::listening(&RedisQueue::new(redis.clone()), ListenOptions::default());
        all_works(&redis, &mut node, &heard).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_silent_is_waited_for_no_longer_than_a_server() {
    let mut cluster = RedisCluster::start();
    let queue = queue_at(&format!("redis+cluster://{}", cluster.address()));
    let job = jobs(1)[0];
    until(async || queue.ring(job).await.is_ok()).await;
    for index in 0..3 {
        cluster.node(index).freeze(true);
    }
    let ringing = tokio::time::timeout(Duration::from_secs(3), queue.ring(job));
    assert!(ringing.await.expect("it fails soon").is_err());
    for index in 0..3 {
        cluster.node(index).freeze(false);
    }
    until(async || queue.ring(job).await.is_ok()).await;
}
