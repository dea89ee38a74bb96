//! The workers, under apalis: they answer the doorbell and deliver.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use apalis::layers::WorkerBuilderExt as _;
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt as _;
use jiff::SignedDuration;
use metrics::{Counter, Histogram};
use tokio::sync::{Semaphore, watch};
use wotp_core::app::{App, Delivered};
use wotp_store::queue::{Ring, RingReceiver};

/// Deliveries beyond those that call a channel: their channel has answered, and they wait for the
/// store to keep what it said, or they wait for their turn. Without them the store's commits would
/// bound how many go out.
const SETTLING_MAX: usize = 448;
/// Sends of plugins that are switched on after the server started: what is on by then is counted.
const SPARE_ROOM: usize = 128;

/// Workers that run, until they are told to stop.
pub type Running = Pin<Box<dyn Future<Output = Result<(), WorkerError>> + Send>>;

/// What a worker works with.
struct Bench {
    app: Arc<App>,
    /// One for each delivery that may call its channel at once.
    seats: Arc<Semaphore>,
    /// By the name of the channel; found once, since finding metrics by their labels takes longer
    /// than counting.
    channels: HashMap<String, ChannelMetrics>,
}

struct ChannelMetrics {
    acknowledged: Counter,
    failed: Counter,
    handover_seconds: Histogram,
}

impl ChannelMetrics {
    fn of(channel: &str) -> Self {
        let deliveries = |outcome: &'static str| metrics::counter!("wotp_deliveries_total", "channel" => channel.to_owned(), "outcome" => outcome);
        Self {
            acknowledged: deliveries("acknowledged"),
            failed: deliveries("failed"),
            handover_seconds: metrics::histogram!("wotp_handover_seconds", "channel" => channel.to_owned()),
        }
    }

    fn record(&self, acknowledged: bool, waited: SignedDuration) {
        if acknowledged { &self.acknowledged } else { &self.failed }.increment(1);
        self.handover_seconds.record(waited.as_secs_f64());
    }
}

/// What is done with a ring.
pub trait Answer: Send + Sync + 'static {
    /// Does the job of one ring, and says to the ring that it is done.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    fn answer(&self, ring: Ring) -> impl Future<Output = Result<(), BoxDynError>> + Send;
}

impl Answer for Bench {
    /// Does one job. A failure is not retried here: the store knows what is due, and the sweep rings.
    async fn answer(&self, ring: Ring) -> Result<(), BoxDynError> {
        let job = ring.job;
        // Before the record is looked at: whoever waits here holds nothing. It is never closed.
        let seat = Arc::clone(&self.seats).acquire_owned().await?;
        match self.app.deliver(job, seat).await {
            Ok(Delivered::Called { channel, acknowledged, waited }) => match self.channels.get(&channel) {
                Some(metrics) => metrics.record(acknowledged, waited),
                // Not one of ours: what stands in for a channel with a sandbox number.
                None => ChannelMetrics::of(&channel).record(acknowledged, waited),
            },
            Ok(Delivered::Nothing) => {}
            Err(error) => {
                metrics::counter!("wotp_jobs_failed_total").increment(1);
                tracing::error!(tenant = %job.tenant, item = ?job.item, error = &error as &dyn std::error::Error, "a job failed; the sweep will ring again");
            }
        }
        // Also when it failed: the sweep rings, when the store says that it is due.
        ring.done();
        Ok(())
    }
}

async fn answer<A: Answer>(ring: Ring, with: Data<Arc<A>>) -> Result<(), BoxDynError> {
    with.answer(ring).await
}

/// Runs workers that deliver, until `stop` says true.
pub(super) fn run(app: Arc<App>, rings: RingReceiver, concurrency: usize, stop: watch::Receiver<bool>) -> Running {
    // Those that channels take by themselves need no seat, but somebody to wait for their answer.
    let own = app.own_room() + SPARE_ROOM;
    let names = app.channels().into_iter().map(|channel| channel.name);
    let channels = names.map(|name| (name.clone(), ChannelMetrics::of(&name))).collect();
    let bench = Bench { app, seats: Arc::new(Semaphore::new(concurrency)), channels };
    answer_with(bench, rings, concurrency + own, stop)
}

/// Runs workers that answer rings, until `stop` says true: `concurrency` and as many more as may wait
/// for the store. Also for the benchmark, which hears rings as a node does and delivers nothing.
///
/// A boxed future built outside of any `async` block: inside one, rustc forgets that apalis' error
/// type is `'static` and finds the future not to be `Send`.
pub fn answer_with<A: Answer>(
    with: A,
    rings: RingReceiver,
    concurrency: usize,
    stop: watch::Receiver<bool>,
) -> Running {
    let worker = WorkerBuilder::new("deliver")
        .backend(rings)
        .data(Arc::new(with))
        .catch_panic()
        .concurrency(concurrency + SETTLING_MAX)
        .parallelize(tokio::spawn)
        .build(answer::<A>);
    let until = async move {
        super::stopped(stop).await;
        Ok::<(), std::io::Error>(())
    };
    Box::pin(worker.run_until(until))
}
