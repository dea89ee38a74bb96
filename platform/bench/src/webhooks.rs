//! From an event to the requests at endpoints: the platform over SQLite in this process, with the loop that
//! `wotp serve` runs, and a real HTTP server on loopback that some endpoints of hang.
//!
//! In this process, since an event that the API causes waits for the next fold first, up to a tenth of a second
//! that would hide what hanging endpoints cost.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path as Folder;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep};
use wotp_core::app::{App, NewEndpoint, Refusal};
use wotp_core::domain::Timestamp;
use wotp_core::domain::event::{Event, Fact, QuotaData};
use wotp_core::domain::id::{NodeId, TenantId};
use wotp_core::domain::node::{Node, Role};
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::ports::{Change, Clock as _, CommitError};
use wotp_server::config::Config;
use wotp_server::data_folder::{DataFolder, FolderError};
use wotp_server::jobs::Jobs;
use wotp_server::system::SystemClock;
use wotp_server::wiring::{Purpose, Wired, WiringError, wire};

use crate::load::{Latencies, Summary};

/// Tenants, each of which is told of its own events.
const TENANTS: usize = 20;
/// Endpoints of each: an event goes to all of them.
const ENDPOINTS: usize = 50;
/// Of each tenant's endpoints, how many hang in the second half.
const HANGING: usize = 5;
/// Endpoints in all.
pub const ALL: usize = TENANTS * ENDPOINTS;
/// Those that hang, in all.
pub const ALL_HANGING: usize = TENANTS * HANGING;
/// Events a second, over all tenants: 250 requests.
pub const EVENTS_PER_SECOND: f64 = 5.0;
/// How long everything answers before it is measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long some hang before the others are measured: longer than the first calls of those that hang, so that
/// they are known as such, as they would be.
const KNOWN_AFTER: Duration = Duration::from_secs(20);
/// How long the last requests are waited for.
const REST: Duration = Duration::from_secs(2);

/// Why webhooks are not measured.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A socket, a folder or a thread.
    #[error("the system does not give what it takes")]
    System(#[from] io::Error),
    /// The data folder.
    #[error("the data folder cannot be used")]
    Folder(#[from] FolderError),
    /// The installation.
    #[error("the installation cannot be opened")]
    Wiring(#[from] WiringError),
    /// A use case.
    #[error("a tenant or an endpoint was refused")]
    Refused(#[from] Refusal),
    /// An event.
    #[error("an event is not stored")]
    Commit(#[from] CommitError),
    /// A bug of ours.
    #[error("the thread of the platform panicked")]
    Panicked,
}

/// What healthy endpoints saw.
#[derive(Debug, Clone, Copy)]
pub struct Half {
    /// How long it was measured.
    pub wall: Duration,
    /// From an event to its request.
    pub latency: Option<Summary>,
    /// Requests that were to come, and did not in time.
    pub missing: u64,
}

/// A fresh installation in `folder`, first with all endpoints answering, then with some that hang.
///
/// # Errors
/// [`WebhookError`].
pub async fn measure(folder: &Folder, time: Duration) -> Result<[Half; 2], WebhookError> {
    let folder = folder.to_owned();
    let (tell, told) = oneshot::channel();
    // On threads of its own, as many as a server has: the driver has one.
    std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let halves = runtime.map_err(WebhookError::from).and_then(|runtime| runtime.block_on(halves(&folder, time)));
        // Nobody waits any more when the run was interrupted.
        let _ = tell.send(halves);
    })?;
    told.await.map_err(|_| WebhookError::Panicked)?
}

async fn halves(folder: &Folder, time: Duration) -> Result<[Half; 2], WebhookError> {
    let endpoints = Endpoints::listen().await?;
    let mut config = Config::default();
    config.webhooks.allowed_networks = vec![IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8))];
    config.webhooks.http_allowed = true;
    let folder = DataFolder::create(folder)?;
    let Wired { app, store, others, alone } = wire(&config, &folder, Purpose::Serve, Vec::new()).await?;
    let tenants = tenants(&app, endpoints.port).await?;
    let (stop, stopping) = watch::channel(false);
    let jobs = Jobs { app: Arc::clone(&app), others, node: node(&app), concurrency: 1, ready: Arc::default() };
    let jobs = jobs.spawn(stopping);

    let healthy = half(&app, &tenants, &endpoints, (WARM_UP, time)).await?;
    let hanging = (0..TENANTS).flat_map(|tenant| (0..HANGING).map(move |number| tenant * ENDPOINTS + number));
    endpoints.seen().hanging.extend(hanging);
    let beside = half(&app, &tenants, &endpoints, (KNOWN_AFTER, time)).await?;

    stop.send_replace(true);
    drop(endpoints);
    jobs.await.map_err(|_| WebhookError::Panicked)?;
    // In this order: until the store is closed, nobody may put another in its place.
    drop((app, store));
    drop(alone);
    Ok([healthy, beside])
}

fn node(app: &App) -> Node {
    let now = app.ports().clock.now();
    Node {
        id: NodeId::new(now, &*app.ports().entropy),
        role: Role::All,
        host: "here".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: now,
        seen_at: now,
        draining: false,
    }
}

/// Tenants with their endpoints.
async fn tenants(app: &App, port: u16) -> Result<Vec<TenantId>, WebhookError> {
    let mut tenants = Vec::with_capacity(TENANTS);
    for tenant in 0..TENANTS {
        let new = app.create_tenant("Bench", "unlimited").await?;
        let caller = app.authenticate(Some(new.live_key.reveal()), None, None).await?;
        for number in 0..ENDPOINTS {
            let url = format!("http://127.0.0.1:{port}/{}", tenant * ENDPOINTS + number);
            let new = NewEndpoint { url, description: String::new(), events: Vec::new(), service: None };
            app.create_endpoint(&caller, new).await?;
        }
        tenants.push(new.tenant.id);
    }
    Ok(tenants)
}

/// Events at their rate, of which those after the warm-up are measured.
async fn half(
    app: &App,
    tenants: &[TenantId],
    endpoints: &Endpoints,
    (warm_up, time): (Duration, Duration),
) -> Result<Half, WebhookError> {
    let ports = app.ports();
    let begun = Instant::now();
    let (measured, end) = (begun + warm_up, begun + warm_up + time);
    let mut ticks = interval_at(begun, Duration::from_secs_f64(1.0 / EVENTS_PER_SECOND));
    let mut events = 0u64;
    for tenant in tenants.iter().cycle() {
        ticks.tick().await;
        if Instant::now() >= end {
            break;
        }
        let now = ports.clock.now();
        if Instant::now() >= measured {
            endpoints.seen().measured_from.get_or_insert(now);
            events += 1;
        }
        let (resource, window) = (Resource::Verifications, WindowKind::Month);
        let data = QuotaData { resource, window, percent: 80, used: 80, limit: 100, resets_at: now };
        let fact = Fact::QuotaThreshold(data);
        let event = Event::new(*tenant, None, &fact, now, &*ports.entropy);
        ports.store.commit(vec![Change::insert(&event)]).await?;
        app.webhook_bell().ring();
    }
    sleep(REST).await;
    let mut seen = endpoints.seen();
    seen.measured_from = None;
    let latency = std::mem::replace(&mut seen.latencies, Latencies::new()).summary();
    let each = ENDPOINTS - seen.hanging.len() / TENANTS;
    let came = latency.map_or(0, |summary| summary.count);
    Ok(Half { wall: time, latency, missing: (events * each as u64).saturating_sub(came) })
}

/// All endpoints, of which some may hang.
struct Endpoints {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    serving: JoinHandle<()>,
}

/// What they see.
struct Seen {
    /// Those that hang now.
    hanging: HashSet<usize>,
    /// From the event to the request, at those that do not, while it is measured.
    latencies: Latencies,
    measured_from: Option<Timestamp>,
}

impl Endpoints {
    async fn listen() -> io::Result<Self> {
        let seen = Seen { hanging: HashSet::new(), latencies: Latencies::new(), measured_from: None };
        let seen = Arc::new(Mutex::new(seen));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let router = Router::new().route("/{number}", post(endpoint)).with_state(Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            // It ends with the process or with us, and never by itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { port, seen, serving })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What a webhook's body says of its event.
#[derive(Deserialize)]
struct Told {
    timestamp: Timestamp,
}

async fn endpoint(Path(number): Path<usize>, State(seen): State<Arc<Mutex<Seen>>>, body: Bytes) -> StatusCode {
    let now = SystemClock.now();
    let Ok(Told { timestamp: at }) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let hangs = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = seen.hanging.contains(&number);
        if !hangs && seen.measured_from.is_some_and(|from| at >= from) {
            let took = now.duration_since(at).as_micros();
            seen.latencies.add(u64::try_from(took).unwrap_or(0));
        }
        hangs
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}
