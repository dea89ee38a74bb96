//! A running server: HTTP, workers and the sweep, from the first connection to the last.

mod connections;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::Service as _;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::node::{Node, Role};
use wotp_core::ports::StoreError;

use crate::config::{Config, Environment};
use crate::http::{self, HttpSettings};
use crate::jobs::Jobs;
use crate::wiring::{Others, Wired};

use connections::Room;

/// Longest that requests in hand, and then deliveries in hand, are waited for at the end.
const DRAIN: Duration = Duration::from_secs(30);
/// Longest that a client may take over the head of a request, and keep a connection open between
/// two: without it, silent connections take all the room that there is.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after the system gave no more connections (too many open files), which asking again at
/// once would only make worse.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often the metrics are put in order. Without it, histograms that nobody fetches grow.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Upper bounds of the histograms of durations, in seconds: fine where our own work is, coarse
/// where other people's servers are.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The store cannot free what the last process held.
    #[error("the store cannot be made ready")]
    Store(#[from] StoreError),
}

impl ServeError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let Self::Bind { address, source } = self else { return None };
        Some(match source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "something listens there already: stop it, or choose another port, as in --listen {}:0 for any free one",
                if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() }
            ),
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need root: choose a higher one and put a proxy in front".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: 0.0.0.0 or [::] listens on all it has".to_owned()
            }
            _ => "choose another address with --listen".to_owned(),
        })
    }
}

/// A server that is bound and has not answered anybody yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    ready: Arc<AtomicBool>,
    metrics: PrometheusHandle,
    wired: Wired,
    node: Node,
    concurrency: usize,
    connections_max: usize,
    drain: Duration,
}

impl Server {
    /// Takes the address of the configuration and makes the store ready. A role other than all is for
    /// installations that nodes share.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(config: &Config, wired: Wired, role: Role) -> Result<Self, ServeError> {
        let address = config.server.listen;
        let bind = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let ports = wired.app.ports();
        let now = ports.clock.now();
        let node = Node {
            id: NodeId::new(now, &*ports.entropy),
            role,
            host: host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now,
            seen_at: now,
            draining: false,
        };
        let recovered = ports.store.recover(now).await?;
        if recovered > 0 {
            tracing::info!(recovered, "deliveries that the last process held are due again");
        }
        let ready = Arc::new(AtomicBool::new(true));
        let metrics = prometheus();
        let settings = HttpSettings {
            trusted_proxies: config.server.trusted_proxies.clone(),
            request_timeout: config.request_timeout(),
            cors_origins: config.server.cors_origins.clone(),
            per_ip: config.per_ip(),
            // Whoever says where people reach it has people who do.
            development: config.environment == Environment::Development && config.auth.public_url.is_empty(),
            ready: Arc::clone(&ready),
            queue_needed: matches!(wired.others, Others::None(_)),
            metrics: metrics.clone(),
            cookie_secure: config.auth.cookie_secure,
            public_url: config.public_url(),
        };
        let app = Arc::clone(&wired.app);
        let router =
            if role.serves_api() { http::router(app, settings) } else { http::router_of_worker(app, settings) };
        let concurrency = config.worker.concurrency;
        let connections_max = config.server.connections_max;
        let drain = config.drain();
        Ok(Self { listener, address, router, ready, metrics, wired, node, concurrency, connections_max, drain })
    }

    /// Where it listens, as in `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves, then says that it is not ready, goes on accepting for as long as
    /// it was told to, takes no more connections, finishes what is in hand and closes the store. No
    /// longer than a minute after it stopped accepting.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, router, ready, metrics, wired, node, concurrency, connections_max, drain, .. } = self;
        let Wired { app, store, live, others, alone } = wired;
        let (stop_jobs, stopping) = watch::channel(false);
        let jobs = Jobs { app, live, others, node, concurrency, ready: Arc::clone(&ready) }.spawn(stopping);
        let upkeep = tokio::spawn(async move {
            let mut turns = tokio::time::interval(METRICS_UPKEEP);
            loop {
                turns.tick().await;
                metrics.run_upkeep();
            }
        });
        let stop = async move {
            stop.await;
            ready.store(false, Ordering::Release);
            if !drain.is_zero() {
                tracing::info!(seconds = drain.as_secs(), "draining: not ready any more, and still accepting");
                tokio::time::sleep(drain).await;
            }
        };
        let connections = accept(listener, router, Room::new(connections_max), stop).await;
        tracing::info!("stopping: no more connections, finishing requests in hand");
        if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "some requests were not done in time and are cut off");
        }
        // After the requests: what they rang for is delivered now rather than after the next start.
        stop_jobs.send_replace(true);
        if tokio::time::timeout(DRAIN, jobs).await.is_err() {
            tracing::warn!(
                seconds = DRAIN.as_secs(),
                "some deliveries were not done in time; they are due again after the next start"
            );
        }
        upkeep.abort();
        // A request that was cut off, or whoever runs us inside a larger program, may hold the store
        // until the process ends, and then so does its lock: nobody else may serve the file before.
        if Arc::strong_count(&store) > 1 {
            std::mem::forget(alone);
            tracing::debug!("the store stays open until this process ends");
        } else {
            close(store).await;
            drop(alone);
        }
        tracing::info!("stopped");
    }
}

/// Accepts connections until `stop` resolves; returns those that are open.
///
/// While there is no room for another, none is accepted: it waits in the kernel's backlog, which
/// costs no memory of ours, and is served as soon as one closes. To accept it and say no would take
/// a file and a write for each of the very calls that there are too many of, and their clients
/// would call again at once. A backlog that is full is what a proxy in front notices, and then it
/// goes to another node.
async fn accept(listener: TcpListener, router: Router, room: Room, stop: impl Future<Output = ()>) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    // HTTP/1 only: telling it from HTTP/2 means waiting for a client's first bytes, without a limit.
    // Proxies in front, which speak HTTP/2 with clients, speak HTTP/1 with us.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut make_service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = room.place().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => return connections,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no more connections can be accepted; trying again"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Always ready: it only notes the peer.
        let service = infallible(make_service.call(peer).await);
        let connection = builder.serve_connection(io(stream), TowerToHyperService::new(service));
        let watched = connections.watch(connection);
        let open = room.open(place);
        tokio::spawn(async move {
            let _open = open;
            if let Err(error) = watched.await {
                // The client's doing, and of interest to nobody but who looks for it.
                tracing::trace!(error = &error as &dyn std::error::Error, "a connection broke off");
            }
        });
    }
}

fn io(stream: TcpStream) -> TokioIo<TcpStream> {
    // Answers are written whole; waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(error = &error as &dyn std::error::Error, "a connection keeps its delay");
    }
    TokioIo::new(stream)
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn infallible<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// What this machine calls itself.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Closes the store: it writes its log back, which takes a moment and blocks.
async fn close(store: impl Send + 'static) {
    let closed = tokio::task::spawn_blocking(move || drop(store)).await;
    if let Err(error) = closed {
        tracing::error!(error = &error as &dyn std::error::Error, "the store did not close");
    }
}

/// What `/metrics` shows. One for the process: that is how the `metrics` crate counts.
fn prometheus() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
                .expect("there are buckets");
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Somebody else's recorder is there already when this is a part of another program;
            // then ours stays empty.
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder of metrics is installed; /metrics shows nothing");
            }
            handle
        })
        .clone()
}
