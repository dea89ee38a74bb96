//! What every [`Queue`] promises.

use std::sync::Arc;

use async_trait::async_trait;

use super::builders::{entropy, noon};
use crate::domain::id::{MessageId, NodeId, TenantId, VerificationId};
use crate::ports::{Item, Job, Queue};

/// One test for each promise of [`Queue`], over what `make` gives: an `async fn() -> (Arc<dyn Queue>,
/// impl Hears)`, a queue nobody rang at yet, and the node that listens to it.
#[macro_export]
macro_rules! queue_contract {
    ($make:path) => {
        $crate::queue_contract!(@ $make;
            rings_are_heard_in_order_with_all_they_carry
            a_ring_is_heard_once
            a_node_hears_its_own_doorbell
            a_queue_that_is_there_answers);
    };
    (@ $make:path; $($promise:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $promise() {
            let (queue, hears) = $make().await;
            $crate::testing::queue::$promise(queue, hears).await;
        }
    )+};
}

/// The other end of a queue.
#[async_trait]
pub trait Hears: Send {
    /// The node that listens.
    fn node(&self) -> NodeId;
    /// The next job, once there is one, and says that it is done.
    async fn next(&mut self) -> Job;
}

type Subject = Arc<dyn Queue>;

/// Jobs of every kind.
pub fn jobs(count: usize) -> Vec<Job> {
    let tenant = TenantId::new(noon(), entropy());
    (0..count)
        .map(|n| {
            let item = if n % 2 == 0 {
                Item::Verification(VerificationId::new(noon(), entropy()))
            } else {
                Item::Message(MessageId::new(noon(), entropy()))
            };
            Job { tenant, item, token: (n % 3 == 0).then_some(n as u64) }
        })
        .collect()
}

/// First in, first out.
pub async fn rings_are_heard_in_order_with_all_they_carry(queue: Subject, mut hears: impl Hears) {
    let jobs = jobs(50);
    for job in &jobs {
        queue.ring(*job).await.expect("the queue takes jobs");
    }
    for job in &jobs {
        assert_eq!(hears.next().await, *job);
    }
}

/// When all that was rung was heard, the next one heard is a new one.
pub async fn a_ring_is_heard_once(queue: Subject, mut hears: impl Hears) {
    let jobs = jobs(3);
    for job in &jobs {
        queue.ring(*job).await.expect("the queue takes jobs");
        assert_eq!(hears.next().await, *job);
    }
}

/// Besides the one that all listen to.
pub async fn a_node_hears_its_own_doorbell(queue: Subject, mut hears: impl Hears) {
    let jobs = jobs(2);
    queue.ring(jobs[0]).await.expect("the queue takes jobs");
    assert_eq!(hears.next().await, jobs[0]);
    queue.ring_node(hears.node(), jobs[1]).await.expect("the node listens");
    assert_eq!(hears.next().await, jobs[1]);
}

/// And says that nothing waits.
pub async fn a_queue_that_is_there_answers(queue: Subject, _hears: impl Hears) {
    queue.ping().await.expect("the queue answers");
    assert_eq!(queue.depth().await.expect("the queue answers"), 0);
}
