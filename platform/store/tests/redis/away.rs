//! Servers that are away, silent, or others than they were.

use std::time::Duration;

use tokio::sync::watch;
use wotp_core::ports::Queue as _;
use wotp_core::testing::queue::jobs;
use wotp_store::bulletin::RedisBulletin;
use wotp_store::queue::ListenOptions;
use wotp_test_servers::{Redis as Server, Wire};

use crate::logs::Logs;
use crate::{Node, at, insist, queue_at, queue_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_made_again() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    for round in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        let jobs = jobs(3 + round);
        for job in &jobs {
            insist(&queue, *job).await;
        }
        node.hear_all(&jobs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_empty_is_gone_on_with() {
    let mut server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    let jobs = jobs(2);
    queue.ring(jobs[0]).await.unwrap();
    assert_eq!(node.hear().await, jobs[0]);
    server.kill();
    until(async || queue.ring(jobs[1]).await.is_err()).await;
    assert!(queue.ping().await.is_err());
    server.restart();
    insist(&queue, jobs[1]).await;
    node.hear_all(&jobs[1..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_not_waited_for() {
    let server = Server::start();
    let queue = queue_of(&server);
    queue.ping().await.unwrap();
    server.freeze(true);
    let rings = async {
        for job in jobs(20) {
            assert!(queue.ring(job).await.is_err());
        }
    };
    // One waits for its answer; the others then fail at once or share a short wait.
    tokio::time::timeout(Duration::from_secs(30), rings).await.expect("rings fail soon");
    server.freeze(false);
    until(async || queue.ping().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answered_is_not_waited_for_by_many() {
    let server = Server::start();
    server.freeze(true);
    let queue = queue_of(&server);
    let job = jobs(1)[0];
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let queue = queue.clone();
        calls.spawn(async move { queue.ring(job).await.is_err() });
    }
    // An attempt to connect takes two seconds; nobody waits for its end, nor one after the other.
    let failed = tokio::time::timeout(Duration::from_millis(1500), calls.join_all()).await.expect("they fail soon");
    assert!(failed.into_iter().all(|failed| failed));
    server.freeze(false);
    until(async || queue.ping().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_is_away_calls_fail_at_once() {
    let mut server = Server::start();
    let queue = queue_of(&server);
    server.kill();
    let calls = async {
        for job in jobs(5000) {
            assert!(queue.ring(job).await.is_err());
        }
    };
    // A millisecond each: while one attempt after the other fails in the background.
    tokio::time::timeout(Duration::from_secs(5), calls).await.expect("they do not wait");
    server.restart();
    until(async || queue.ping().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_server_fell_silent_goes_to_the_one_in_its_place() {
    let (old, new) = (Server::start(), Server::start());
    let wire = Wire::to(&old.address());
    let near = queue_at(&format!("redis://{}", wire.address()));
    let mut node = Node::listening(&near, ListenOptions::default());
    let jobs = jobs(2);
    insist(&near, jobs[0]).await;
    assert_eq!(node.hear().await, jobs[0]);
    // Its connections stay open, as those of a host without power do.
    old.freeze(true);
    wire.lead_to(&new.address());
    queue_of(&new).ring(jobs[1]).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), node.hear());
    assert_eq!(heard.await.expect("it does not wait for ever"), jobs[1]);
    old.freeze(false);
}

// On one thread, where the logs are kept.
#[tokio::test]
async fn that_the_server_is_away_is_said_once_also_at_the_start() {
    let (logs, _guard) = Logs::here();
    let mut server = Server::start();
    server.kill();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    let (_stop, stopping) = watch::channel(false);
    RedisBulletin::new(at(&server.url())).listen(|_| {}, stopping);
    let away = ["the queue does not answer", "the bulletin is not heard"];
    until(async || away.iter().all(|line| logs.count(line) > 0)).await;
    server.restart();
    let back = ["the queue is back", "the bulletin is heard again"];
    until(async || back.iter().all(|line| logs.count(line) > 0)).await;
    for line in away.iter().chain(&back) {
        assert_eq!(logs.count(line), 1, "{line}");
    }
    let job = jobs(1)[0];
    insist(&queue, job).await;
    node.hear_all(&[job]).await;
}
