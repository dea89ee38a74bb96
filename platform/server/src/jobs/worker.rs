//! The workers, under apalis: they answer the doorbell and deliver.

use std::pin::Pin;
use std::sync::Arc;

use apalis::layers::WorkerBuilderExt as _;
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt as _;
use tokio::sync::watch;
use wotp_core::app::{App, Delivered};
use wotp_core::ports::Job;
use wotp_store::queue::MemoryBackend;

/// Workers that run.
type Running = Pin<Box<dyn Future<Output = Result<(), WorkerError>> + Send>>;

/// Does one job. A failure is not retried here: the store knows what is due, and the sweep rings.
async fn deliver(job: Job, app: Data<Arc<App>>) -> Result<(), BoxDynError> {
    match app.deliver(job).await {
        Ok(Delivered::Called { channel, acknowledged, waited }) => {
            let outcome = if acknowledged { "acknowledged" } else { "failed" };
            metrics::counter!("wotp_deliveries_total", "channel" => channel.clone(), "outcome" => outcome).increment(1);
            metrics::histogram!("wotp_handover_seconds", "channel" => channel).record(waited.as_secs_f64());
        }
        Ok(Delivered::Nothing) => {}
        Err(error) => {
            metrics::counter!("wotp_jobs_failed_total").increment(1);
            tracing::error!(tenant = %job.tenant, item = ?job.item, error = &error as &dyn std::error::Error, "a job failed; the sweep will ring again");
        }
    }
    Ok(())
}

/// Runs workers until `stop` says true.
///
/// A boxed future built outside of any `async` block: inside one, rustc forgets that apalis' error
/// type is `'static` and finds the future not to be `Send`.
pub(super) fn run(app: Arc<App>, backend: MemoryBackend, concurrency: usize, stop: watch::Receiver<bool>) -> Running {
    let worker = WorkerBuilder::new("deliver")
        .backend(backend)
        .data(app)
        .catch_panic()
        .concurrency(concurrency)
        .parallelize(tokio::spawn)
        .build(deliver);
    let until = async move {
        super::stopped(stop).await;
        Ok::<(), std::io::Error>(())
    };
    Box::pin(worker.run_until(until))
}
