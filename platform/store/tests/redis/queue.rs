//! Rings, from one node to another.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Job, Queue as _};
use wotp_core::testing::builders::{entropy, noon};
use wotp_core::testing::queue::jobs;
use wotp_store::queue::ListenOptions;
use wotp_test_servers::Redis as Server;

use crate::{Node, insist, queue_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_had_comes_again_without_its_token() {
    let server = Server::start();
    let queue = queue_of(&server);
    let at_once = ListenOptions { claim_after: Duration::ZERO, ..ListenOptions::default() };
    let mut dead = Node::listening(&queue, ListenOptions::default());
    let job = Job { token: Some(7), ..jobs(1)[0] };
    queue.ring(job).await.unwrap();
    let ring = dead.rings.next().await.unwrap();
    assert_eq!(ring.job, job);
    // It dies: nobody says that the job is done.
    drop(ring);
    let mut alive = Node::listening(&queue, at_once);
    assert_eq!(alive.hear().await, Job { token: None, ..job });
    until(async || queue.depth().await.unwrap() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_server_is_gone_on_with() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    for job in jobs(5) {
        queue.ring(job).await.unwrap();
        assert_eq!(node.hear().await, job);
    }
    for round in jobs(5) {
        server.command(&["FLUSHALL"]);
        queue.ring(round).await.unwrap();
        // A ring may come between the emptying and the new group: it is in the stream all the same.
        assert_eq!(node.hear().await, round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_with_jobs_that_are_done() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    for _ in 0..20 {
        let jobs = jobs(500);
        for job in &jobs {
            queue.ring(*job).await.unwrap();
        }
        for _ in &jobs {
            node.hear().await;
        }
    }
    until(async || queue.depth().await.unwrap() == 0).await;
    let pending = server.command(&["XPENDING", "{wotp}:ring", "workers"]);
    assert!(pending.starts_with("*4\r\n:0\r\n"), "{pending}");
    let size: usize = number(&server.command(&["MEMORY", "USAGE", "{wotp}:ring"]));
    assert!(size < 20_000, "an empty stream takes {size} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_takes_few_bytes() {
    let server = Server::start();
    let queue = queue_of(&server);
    let count = 20_000;
    let mut calls = tokio::task::JoinSet::new();
    for chunk in jobs(count).chunks(1000) {
        let (queue, chunk) = (queue.clone(), chunk.to_vec());
        calls.spawn(async move {
            for job in chunk {
                queue.ring(Job { token: Some(1), ..job }).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    let size: usize = number(&server.command(&["MEMORY", "USAGE", "{wotp}:ring", "SAMPLES", "0"]));
    assert!(size / count <= 300, "{} bytes a job", size / count);
}

/// The number in an answer.
fn number(answer: &str) -> usize {
    answer.trim_start_matches(':').trim().parse().expect(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_at_one_node_is_heard_there_and_nowhere_else() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut nodes = [(); 2].map(|()| Node::listening(&queue, ListenOptions::default()));
    let jobs = jobs(10);
    for (n, job) in jobs.iter().enumerate() {
        let node = nodes[n % 2].id;
        until(async || queue.ring_node(node, *job).await.is_ok()).await;
    }
    for (n, job) in jobs.iter().enumerate() {
        assert_eq!(nodes[n % 2].hear().await, *job);
    }
    let stranger = NodeId::new(noon(), entropy());
    assert!(queue.ring_node(stranger, jobs[0]).await.is_err(), "nobody listens there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_is_heard_by_one_of_many_nodes() {
    let server = Server::start();
    let queue = queue_of(&server);
    let jobs = jobs(600);
    let heard: Arc<Mutex<Vec<Job>>> = Arc::default();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut node = Node::listening(&queue, ListenOptions { ahead: 8, ..ListenOptions::default() });
        let heard = Arc::clone(&heard);
        tasks.spawn(async move {
            loop {
                let job = node.hear().await;
                heard.lock().unwrap().push(job);
            }
        });
    }
    for job in &jobs {
        queue.ring(*job).await.unwrap();
    }
    until(async || heard.lock().unwrap().len() >= jobs.len() && queue.depth().await.unwrap() == 0).await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), jobs.len());
    assert_eq!(heard.iter().collect::<HashSet<_>>(), jobs.iter().collect::<HashSet<_>>());
}

/// Rings that a worker took which then died, long ago.
fn left_by_a_dead_worker(server: &Server) {
    let script = "local taken = redis.call('XREADGROUP', 'GROUP', 'workers', 'dead', 'STREAMS', KEYS[1], '>') \
                  for _, entry in ipairs(taken[1][2]) do \
                      redis.call('XCLAIM', KEYS[1], 'workers', 'dead', 0, entry[1], 'IDLE', 3600000, 'JUSTID') \
                  end \
                  return #taken[1][2]";
    server.command(&["XGROUP", "CREATE", "{wotp}:ring", "workers", "0", "MKSTREAM"]);
    let taken = server.command(&["EVAL", script, "1", "{wotp}:ring"]);
    assert!(number(&taken) > 0, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_dead_worker_had_comes_back_soon_and_keeps_no_new_ring_waiting() {
    let server = Server::start();
    let queue = queue_of(&server);
    let jobs = jobs(10_001);
    let (old, new) = (&jobs[1..], jobs[0]);
    let mut calls = tokio::task::JoinSet::new();
    for chunk in old.chunks(1000) {
        let (queue, chunk) = (queue.clone(), chunk.to_vec());
        calls.spawn(async move {
            for job in chunk {
                queue.ring(job).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    left_by_a_dead_worker(&server);
    queue.ring(new).await.unwrap();
    let mut node = Node::listening(&queue, ListenOptions::default());
    let mut heard = Vec::new();
    let hearing = async {
        while heard.len() < jobs.len() {
            heard.push(node.hear().await.item);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), hearing).await.expect("they come without a pause");
    assert_eq!(heard.iter().collect::<HashSet<_>>(), jobs.iter().map(|job| &job.item).collect());
    let place = heard.iter().position(|item| *item == new.item).unwrap();
    assert!(place < 1000, "the new one came after {place} others");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_was_to_do_and_did_not_hear_of_comes_again() {
    let server = Server::start();
    let queue = queue_of(&server);
    let at_once = ListenOptions { claim_after: Duration::ZERO, ..ListenOptions::default() };
    let mut node = Node::listening(&queue, at_once);
    let jobs = jobs(2);
    until(async || queue.ring_node(node.id, jobs[0]).await.is_ok()).await;
    // As if the answer that held it had been lost on the way.
    drop(node.rings.next().await.unwrap());
    assert_eq!(node.hear().await, Job { token: None, ..jobs[0] });
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_workers_that_hold_nothing_are_forgotten_also_later() {
    let server = Server::start();
    let queue = queue_of(&server);
    let soon = ListenOptions { forget_after: Duration::from_millis(500), ..ListenOptions::default() };
    let mut node = Node::listening(&queue, soon);
    let job = jobs(1)[0];
    queue.ring(job).await.unwrap();
    assert_eq!(node.hear().await, job);
    // It comes when the node has looked already.
    server.command(&["XGROUP", "CREATECONSUMER", "{wotp}:ring", "workers", "dead"]);
    let workers = || server.command(&["XINFO", "CONSUMERS", "{wotp}:ring", "workers"]);
    assert!(workers().contains("dead"));
    until(async || !workers().contains("dead")).await;
    // By then it may have forgotten itself as well, as it heard nothing: that changes nothing.
    queue.ring(job).await.unwrap();
    assert_eq!(node.hear().await, job);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_emptied_while_it_rings_is_gone_on_with() {
    let server = Server::start();
    let queue = queue_of(&server);
    let mut node = Node::listening(&queue, ListenOptions::default());
    let jobs = jobs(3000);
    let ringing = {
        let (queue, jobs) = (queue.clone(), jobs.clone());
        tokio::spawn(async move {
            for job in jobs {
                insist(&queue, job).await;
            }
        })
    };
    while !ringing.is_finished() {
        server.command(&["FLUSHALL"]);
        // Some may be gone with what was emptied; the sweep rings for those.
        while node.rings.try_next().map(|ring| ring.done()).is_some() {}
    }
    ringing.await.unwrap();
    insist(&queue, jobs[0]).await;
    node.hear_all(&jobs[..1]).await;
}
