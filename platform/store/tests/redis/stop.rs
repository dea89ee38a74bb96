//! Workers that stop, and jobs that end otherwise than they should.

use std::collections::HashSet;
use std::time::Duration;

use wotp_core::ports::{Job, Queue as _};
use wotp_core::testing::queue::jobs;
use wotp_store::queue::ListenOptions;
use wotp_test_servers::{Redis as Server, Wire};

use crate::{Node, insist, queue_at, queue_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_did_not_begin_goes_back_when_it_stops() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut first = Node::listening(&queue, ListenOptions::default());
    let jobs = jobs(20);
    for job in &jobs {
        queue.ring(*job).await.unwrap();
    }
    assert_eq!(first.hear().await, jobs[0]);
    first.stop().await;
    let mut second = Node::listening(&queue, ListenOptions::default());
    let mut heard = Vec::new();
    for _ in 1..jobs.len() {
        heard.push(second.hear().await);
    }
    heard.sort_by_key(|job| jobs.iter().position(|other| other == job));
    assert_eq!(heard, jobs[1..], "with their tokens, and long before they would be claimed");
}

/// Nothing is claimed in these tests: what is not given back is not heard.
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_rings_loses_none_and_takes_no_longer_than_a_second() {
    let server = Server::start();
    let queue = queue_of(&server);
    let options = ListenOptions { claim_after: NEVER, ..ListenOptions::default() };
    for _ in 0..5 {
        let mut first = Node::listening(&queue, options);
        let jobs = jobs(200);
        let ringing = {
            let (queue, jobs) = (queue.clone(), jobs.clone());
            tokio::spawn(async move {
                for job in jobs {
                    queue.ring(job).await.unwrap();
                }
            })
        };
        let mut heard = HashSet::from([first.hear().await]);
        // Half of a second for a read in hand; the rest is for a busy machine.
        tokio::time::timeout(Duration::from_secs(3), first.stop()).await.expect("it stops soon");
        ringing.await.unwrap();
        let mut second = Node::listening(&queue, options);
        while heard.len() < jobs.len() {
            heard.insert(second.hear().await);
        }
        assert_eq!(heard, HashSet::from_iter(jobs), "with their tokens");
        second.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stopped_is_forgotten_once_it_holds_nothing() {
    let server = Server::start();
    let queue = queue_of(&server);
    let workers = || server.command(&["XINFO", "CONSUMERS", "{wotp}:ring", "workers"]);
    let options = ListenOptions { claim_after: NEVER, ..ListenOptions::default() };
    let mut idle = Node::listening(&queue, options);
    let job = jobs(1)[0];
    queue.ring(job).await.unwrap();
    assert_eq!(idle.hear().await, job);
    let name = idle.id.to_string();
    idle.stop().await;
    assert!(!workers().contains(&name), "{}", workers());

    let mut busy = Node::listening(&queue, options);
    queue.ring(job).await.unwrap();
    // It is cut off in the middle of its work: nobody says that it is done.
    drop(busy.rings.next().await.unwrap());
    let name = busy.id.to_string();
    busy.stop().await;
    assert!(workers().contains(&name), "what it holds would be forgotten with it");
    let mut other = Node::listening(&queue, ListenOptions { claim_after: Duration::ZERO, ..options });
    assert_eq!(other.hear().await, Job { token: None, ..job });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_server_that_is_silent() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    let job = jobs(1)[0];
    queue.ring(job).await.unwrap();
    assert_eq!(node.hear().await, job);
    server.freeze(true);
    tokio::time::timeout(Duration::from_secs(5), node.stop()).await.expect("it stops soon");
    server.freeze(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_does_not_come_again() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions { claim_after: NEVER, ..ListenOptions::default() });
    let job = jobs(1)[0];
    queue.ring(job).await.unwrap();
    let ring = node.rings.next().await.unwrap();
    let work = tokio::spawn(async move {
        assert_ne!(ring.job, job, "the work fails");
        ring.done();
    });
    assert!(work.await.unwrap_err().is_panic());
    until(async || queue.depth().await.unwrap() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_while_the_server_was_away_is_told_later() {
    let server = Server::start();
    let wire = Wire::to(&server.address());
    let near = queue_at(&format!("redis://{}", wire.address()));
    let mut node = Node::listening(&near, ListenOptions { claim_after: NEVER, ..ListenOptions::default() });
    let jobs = jobs(20);
    let mut rings = Vec::new();
    for job in &jobs {
        insist(&near, *job).await;
        rings.push(node.rings.next().await.unwrap());
    }
    wire.close();
    for ring in rings {
        ring.done();
    }
    // The node finds it away, so what was done waits to be told.
    until(async || near.ping().await.is_err()).await;
    wire.open();
    let far = queue_of(&server);
    until(async || far.depth().await.unwrap() == 0).await;
}
