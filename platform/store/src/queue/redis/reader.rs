//! Reads one worker's rings.

use std::time::Duration;

use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::Job;

use super::{BATCH, FIELD, GROUP, ListenOptions, PAUSE, RedisQueue, as_millis, decode};
use crate::queue::ring::{Entry, Fate, Ring};
use crate::redis::{Redis, RedisError};

/// Longest that a read waits for the next ring: it is also what a stop waits for.
const WAIT: Duration = Duration::from_millis(500);
/// Longest that the server may take for an answer, beyond what it was told to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Longest that a stop waits for a server that does not answer.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked for what dead workers left.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// A node's own doorbell goes by itself so long after its node last looked after it.
const NODE_KEPT: Duration = Duration::from_secs(60);
/// Within the time after which dead workers are forgotten, it is looked for them so often.
const LOOKS: u32 = 5;
/// Where claiming begins, and what the server says when it has come to the end.
const BEGINNING: &str = "0-0";

/// What a reader reads, and for whom.
pub(super) struct Reader {
    redis: Redis,
    queue: RedisQueue,
    own: String,
    worker: String,
    options: ListenOptions,
    rings: mpsc::Sender<Ring>,
    fates: mpsc::UnboundedSender<Fate>,
    /// What is still to be looked through for what dead workers left: stream, and from where.
    claims: Vec<(String, String)>,
    keep_at: Instant,
    forget_at: Instant,
}

/// Resolves when the worker is to stop.
type Stop = watch::Receiver<bool>;

async fn stopped(stop: &mut Stop) {
    // An error means that nobody is left who could say stop.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Reader {
    pub(super) fn new(
        queue: &RedisQueue,
        own: String,
        node: NodeId,
        options: ListenOptions,
        rings: mpsc::Sender<Ring>,
        fates: mpsc::UnboundedSender<Fate>,
    ) -> Self {
        let now = Instant::now();
        Self {
            redis: queue.redis.apart(WAIT + ANSWER_WITHIN),
            queue: queue.clone(),
            own,
            worker: node.to_string(),
            options,
            rings,
            fates,
            claims: Vec::new(),
            keep_at: now,
            forget_at: now,
        }
    }

    /// Reads until `stop`. A read that is under way then is waited for: what the server gave us and we
    /// did not take would be nobody's for a while.
    pub(super) async fn run(mut self, stop: Stop) {
        let mut late = stop.clone();
        let (own, queue) = (self.own.clone(), self.queue.clone());
        tokio::select! {
            () = self.read_on(stop) => {}
            () = async {
                stopped(&mut late).await;
                tokio::time::sleep(STOP_WITHIN).await;
            } => {}
        }
        // So that whoever tells of rings knows that no more come.
        drop(self);
        if let Err(error) = queue.redis.run::<()>(redis::cmd("DEL").arg(own)).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the node's own doorbell goes by itself");
        }
    }

    /// Reads until `stop`, or until nobody takes the rings any more.
    async fn read_on(&mut self, mut stop: Stop) {
        let (mut known, mut away) = (false, false);
        while !self.rings.is_closed() && !*stop.borrow() && stop.has_changed().is_ok() {
            match self.turn(known, &mut stop).await {
                Ok(()) => {
                    if away {
                        tracing::info!("the queue is back");
                    }
                    (known, away) = (true, false);
                }
                Err(error) => {
                    if is_emptied(&error) {
                        tracing::info!("the queue was emptied; it is made again");
                    } else if !away {
                        away = true;
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the queue does not answer; trying again until it does"
                        );
                    }
                    // It may be another server, which knows of no group.
                    known = false;
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = stopped(&mut stop) => {}
                    }
                }
            }
        }
    }

    async fn turn(&mut self, known: bool, stop: &mut Stop) -> Result<(), RedisError> {
        if !known {
            self.join().await?;
        }
        let now = Instant::now();
        if now >= self.forget_at {
            // Of no name: nobody leaves.
            self.queue.forget(&self.redis, "", self.options.forget_after).await?;
            self.forget_at = now + self.options.forget_after / LOOKS;
        }
        if now >= self.keep_at {
            self.redis.run::<()>(redis::cmd("EXPIRE").arg(&self.own).arg(NODE_KEPT.as_secs())).await?;
            if self.claims.is_empty() {
                self.claims =
                    [&self.queue.stream, &self.own].map(|stream| (stream.clone(), BEGINNING.to_owned())).into();
            }
            self.keep_at = now + CLAIM_EVERY;
        }
        if !self.room(stop).await {
            return Ok(());
        }
        if let Some((stream, from)) = self.claims.pop() {
            self.claim(stream, &from, stop).await?;
        }
        self.read(stop).await
    }

    /// Makes the streams and the group, where they are not there.
    async fn join(&self) -> Result<(), RedisError> {
        for stream in [&self.queue.stream, &self.own] {
            let mut make = redis::cmd("XGROUP");
            make.arg("CREATE").arg(stream).arg(GROUP).arg("0").arg("MKSTREAM");
            match self.redis.run::<()>(&make).await {
                Err(error) if !error.to_string().contains("BUSYGROUP") => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for room for a ring, but not so long that the rest of our work would be late.
    async fn room(&self, stop: &mut Stop) -> bool {
        tokio::select! {
            () = stopped(stop) => false,
            room = tokio::time::timeout(CLAIM_EVERY, self.rings.reserve()) => matches!(room, Ok(Ok(_))),
        }
    }

    /// Takes some of what a worker left that is gone, or has been at it for so long.
    async fn claim(&mut self, stream: String, from: &str, stop: &mut Stop) -> Result<(), RedisError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(&stream).arg(GROUP).arg(&self.worker).arg(as_millis(self.options.claim_after)).arg(from);
        // Half of the room: a long list of old rings does not keep new ones waiting.
        claim.arg("COUNT").arg((self.rings.capacity() / 2).clamp(1, BATCH));
        let claimed: StreamAutoClaimReply = self.redis.run(&claim).await?;
        for entry in claimed.claimed {
            self.pass_on(&stream, entry, |job| Job { token: None, ..job }, stop).await;
        }
        if claimed.next_stream_id != BEGINNING {
            self.claims.push((stream, claimed.next_stream_id));
        }
        Ok(())
    }

    async fn read(&self, stop: &mut Stop) -> Result<(), RedisError> {
        // No more than workers have room for: the rest is for other nodes.
        let room = self.rings.capacity();
        if room == 0 {
            return Ok(());
        }
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.worker).arg("COUNT").arg(room.min(BATCH));
        if self.claims.is_empty() {
            read.arg("BLOCK").arg(as_millis(WAIT));
        }
        read.arg("STREAMS").arg(&self.queue.stream).arg(&self.own).arg(">").arg(">");
        let answer: Option<StreamReadReply> = self.redis.run(&read).await?;
        for stream in answer.into_iter().flat_map(|answer| answer.keys) {
            for entry in stream.ids {
                self.pass_on(&stream.key, entry, |job| job, stop).await;
            }
        }
        Ok(())
    }

    /// Hands one over to the workers; once they stop, it goes back.
    async fn pass_on(&self, stream: &str, entry: StreamId, change: impl FnOnce(Job) -> Job, stop: &mut Stop) {
        let job = entry.get::<Vec<u8>>(FIELD).and_then(|bytes| decode(&bytes));
        let place = Entry { stream: stream.to_owned(), id: entry.id };
        let Some(job) = job else {
            tracing::warn!(stream, "an entry of the queue is none of ours; it is dropped");
            let _ = self.fates.send(Fate::Done(place));
            return;
        };
        let ring = Ring::with_receipt(change(job), place, self.fates.clone());
        // Two streams may hold more than there is room for.
        let room = tokio::select! {
            biased;
            () = stopped(stop) => None,
            room = self.rings.reserve() => room.ok(),
        };
        match room {
            Some(room) => room.send(ring),
            None => ring.untouched(),
        }
    }
}

/// Whether the server is there, but not what we made on it.
fn is_emptied(error: &RedisError) -> bool {
    error.to_string().contains("NOGROUP")
}
