//! What goes on behind the requests: workers that deliver, and the sweep.

mod sweep;
mod worker;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wotp_core::app::App;
use wotp_store::queue::RingReceiver;

/// Runs workers and the sweep until `stop` says true; the task ends when what was in hand is done.
pub fn spawn(app: Arc<App>, backend: RingReceiver, concurrency: usize, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    let workers = tokio::spawn(worker::run(Arc::clone(&app), backend, concurrency, stop.clone()));
    let sweep = tokio::spawn(sweep::run(app, stop));
    tokio::spawn(async move {
        match workers.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = &error as &dyn std::error::Error, "the workers stopped"),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the workers panicked"),
        }
        if let Err(error) = sweep.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the sweep panicked");
        }
    })
}

/// Resolves when `stop` says true, or its sender is gone.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left who could say stop: the process ends.
    let _ = stop.wait_for(|stop| *stop).await;
}
