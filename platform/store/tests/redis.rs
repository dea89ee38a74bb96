//! What Redis does to us, and what we do then.
#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::watch;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::{NodeId, TenantId};
use wotp_core::domain::rate::Rate;
use wotp_core::ports::{Bucket, Bulletin as _, Changed, Job, Limiter as _, Queue as _};
use wotp_core::testing::builders::{entropy, noon};
use wotp_core::testing::queue::jobs;
use wotp_store::bulletin::RedisBulletin;
use wotp_store::limiter::RedisLimiter;
use wotp_store::queue::{ListenOptions, RedisQueue, RingReceiver, RingTask};
use wotp_store::redis::Redis;
use wotp_test_servers::{Redis as Server, redis_url};

/// A node that listens.
struct Node {
    id: NodeId,
    rings: RingReceiver,
    task: RingTask,
    stop: watch::Sender<bool>,
}

impl Node {
    fn listening(queue: &RedisQueue, options: ListenOptions) -> Self {
        let id = NodeId::new(noon(), entropy());
        let (stop, stopping) = watch::channel(false);
        let (rings, task) = queue.listen(id, options, stopping);
        Self { id, rings, task, stop }
    }

    async fn hear(&mut self) -> Job {
        let ring = self.rings.next().await.unwrap();
        let job = ring.job;
        ring.done();
        job
    }

    /// Hears until it has heard all of these; others may be among them.
    async fn hear_all(&mut self, expected: &[Job]) {
        let mut missing: HashSet<Job> = expected.iter().copied().collect();
        while !missing.is_empty() {
            let job = self.hear().await;
            missing.retain(|waiting| waiting.item != job.item);
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        drop(self.rings);
        self.task.ended().await;
    }
}

fn queue_of(server: &Server) -> RedisQueue {
    RedisQueue::new(Redis::at(&server.url(), None).unwrap())
}

/// Rings, as often as it takes: as the sweep does for what is still due.
async fn insist(queue: &RedisQueue, job: Job) {
    while queue.ring(job).await.is_err() {
        tokio::task::yield_now().await;
    }
}

async fn until(what: impl AsyncFn() -> bool) {
    let looking = async {
        while !what().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.expect("it happens in time");
}

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
        while queue.ring_node(node, *job).await.is_err() {
            tokio::task::yield_now().await;
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn news_are_heard_by_all_and_after_a_break_everything_is_forgotten() {
    let server = Server::start();
    let redis = || Redis::at(&server.url(), None).unwrap();
    let (stop, stopping) = watch::channel(false);
    let heard: [Arc<Mutex<Vec<Changed>>>; 2] = Default::default();
    for heard in &heard {
        let heard = Arc::clone(heard);
        RedisBulletin::new(redis()).listen(move |changed| heard.lock().unwrap().push(changed), stopping.clone());
    }
    until(async || heard.iter().all(|heard| !heard.lock().unwrap().is_empty())).await;
    let bulletin = RedisBulletin::new(redis());
    let news = Changed::Tenant(TenantId::new(noon(), entropy()));
    bulletin.tell(news).await.unwrap();
    until(async || heard.iter().all(|heard| heard.lock().unwrap().len() == 2)).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until(async || heard.iter().all(|heard| heard.lock().unwrap().len() == 3)).await;
    for heard in &heard {
        assert_eq!(*heard.lock().unwrap(), [Changed::Anything, news, Changed::Anything]);
    }
    stop.send_replace(true);
}

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
