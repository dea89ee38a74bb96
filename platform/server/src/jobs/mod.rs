//! What goes on behind the requests: workers that deliver, the sweep, and the node's life among others.

mod fold;
mod guard;
mod key_uses;
mod letters;
mod plugins;
#[cfg(feature = "nodes")]
mod presence;
mod sweep;
mod turn;
mod webhooks;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wotp_core::app::App;
use wotp_core::domain::node::Node;
#[cfg(feature = "nodes")]
use wotp_store::queue::{ListenOptions, RingTask};

use crate::wiring::{Live, Others};
pub use worker::{Answer, Running, answer_with};

/// What there is to do.
pub struct Jobs {
    /// The use cases.
    pub app: Arc<App>,
    /// Keeps accounts of tenants logged in.
    pub live: Live,
    /// Who else serves the installation.
    pub others: Others,
    /// This run of the server: what it does, and who it is to others.
    pub node: Node,
    /// Deliveries that call their channel at once.
    pub concurrency: usize,
    /// Whether it still takes requests.
    pub ready: Arc<AtomicBool>,
}

impl Jobs {
    /// Does it all until `stop` says true; the task ends when what was in hand is done.
    pub fn spawn(self, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let Self { app, live, others, node, concurrency, ready } = self;
        let mut tasks: Vec<(&str, JoinHandle<()>)> = Vec::new();
        #[cfg(not(feature = "nodes"))]
        let _ = ready;
        let mut workers = None;
        #[cfg(feature = "nodes")]
        let mut listening: Option<RingTask> = None;
        let (works, id) = (node.role.works(), node.id);
        // Where deliveries are: they go out through what is kept.
        let live = works.then(|| live.begin(&app, id));
        tasks.push(("the uses of keys", tokio::spawn(key_uses::keep(Arc::clone(&app), stop.clone()))));
        tasks.push(("the plugins", tokio::spawn(plugins::load(Arc::clone(&app), stop.clone()))));
        tasks.push(("the letters that wait", tokio::spawn(letters::count(Arc::clone(&app), stop.clone()))));
        let (rings, shared) = match others {
            Others::None(rings) => (Some(rings), false),
            #[cfg(feature = "nodes")]
            Others::Nodes(fellows) => {
                let heard = Arc::clone(&app);
                tasks.push((
                    "the bulletin",
                    fellows.bulletin.listen(move |changed| heard.forget(changed), stop.clone()),
                ));
                let present = presence::keep(Arc::clone(&app), node, fellows.clock, ready, stop.clone());
                tasks.push(("the node's presence", tokio::spawn(present)));
                let rings = works.then(|| {
                    let (rings, task) = fellows.queue.listen(id, ListenOptions::default(), stop.clone());
                    listening = Some(task);
                    rings
                });
                (rings, true)
            }
        };
        if works {
            if let Some(rings) = rings {
                workers = Some(tokio::spawn(work(Arc::clone(&app), rings, concurrency, stop.clone())));
            }
            tasks.push(("the webhooks", tokio::spawn(webhooks::run(Arc::clone(&app), stop.clone()))));
            tasks.push(("the replays", tokio::spawn(webhooks::replay(Arc::clone(&app), stop.clone()))));
            let turn = |name| shared.then(|| turn::Turn::new(Arc::clone(&app), name, id));
            tasks.push((
                "the watch of the guard",
                tokio::spawn(guard::watch(Arc::clone(&app), turn("guard"), stop.clone())),
            ));
            tasks.push(("the sweep", tokio::spawn(sweep::run(Arc::clone(&app), turn("sweep"), stop.clone()))));
            tasks.push(("the fold", tokio::spawn(fold::run(Arc::clone(&app), turn("fold"), stop.clone()))));
        }
        tasks.push(("what the guard counts", tokio::spawn(guard::tell(app, stop))));
        tokio::spawn(async move {
            if let Some(workers) = workers {
                ended("the workers", workers).await;
            }
            // After the workers, who send through them, and before all else: other nodes wait for them.
            if let Some(live) = live {
                live.end().await;
            }
            for (name, task) in tasks {
                ended(name, task).await;
            }
            // After the workers: what they did and what nobody began is told to the queue.
            #[cfg(feature = "nodes")]
            if let Some(task) = listening {
                task.ended().await;
            }
        })
    }
}

async fn ended(name: &str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(name, error = &error as &dyn std::error::Error, "a job panicked");
    }
}

async fn work(app: Arc<App>, rings: wotp_store::queue::RingReceiver, concurrency: usize, stop: watch::Receiver<bool>) {
    if let Err(error) = worker::run(app, rings, concurrency, stop).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the workers stopped");
    }
}

/// Resolves when `stop` says true, or its sender is gone.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left who could say stop: the process ends.
    let _ = stop.wait_for(|stop| *stop).await;
}
