//! From an event to the requests at endpoints: the platform in this process, over SQLite or over MongoDB and
//! Redis, with the loop that `wotp serve` runs, and real HTTP servers on loopback that some endpoints of hang.
//!
//! In this process, since an event that the API causes waits for the next fold first, up to a tenth of a second
//! that would hide what hanging endpoints cost.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as Folder;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use ipnet::{IpNet, Ipv4Net};
use jiff::SignedDuration;
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
/// Of each tenant's endpoints, how many hang after a while. They are never measured, not while they answer either.
const HANGING: usize = 5;
/// Endpoints in all.
pub const ALL: usize = TENANTS * ENDPOINTS;
/// Those that hang, in all.
pub const ALL_HANGING: usize = TENANTS * HANGING;
/// Events a second, over all tenants: 500 requests.
pub const EVENTS_PER_SECOND: f64 = 10.0;
/// How long everything answers before it is measured: every tenant has had its turn, four times.
const WARM_UP: Duration = Duration::from_secs(8);
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

/// What endpoints saw that never hang, within a time.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// How long it was measured.
    pub wall: Duration,
    /// From the moment when an event was due to its first request.
    pub latency: Option<Summary>,
    /// Requests that were to come, and did not in time.
    pub missing: u64,
    /// Requests that came to endpoints that hang.
    pub hung: u64,
    /// How many of those waited at once for an answer that never comes, at most.
    pub hung_at_once: usize,
}

/// A fresh installation in `folder`: while all endpoints answer, from the moment on when some hang, and once the
/// platform has come to know those; each for `time`.
///
/// # Errors
/// [`WebhookError`].
pub async fn measure(folder: &Folder, config: Config, time: Duration) -> Result<[Span; 3], WebhookError> {
    let folder = folder.to_owned();
    let (tell, told) = oneshot::channel();
    // On threads of its own, as many as a server has: the driver has one.
    std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let spans = runtime.map_err(WebhookError::from);
        let spans = spans.and_then(|runtime| runtime.block_on(spans_of(&folder, config, time)));
        // Nobody waits any more when the run was interrupted.
        let _ = tell.send(spans);
    })?;
    told.await.map_err(|_| WebhookError::Panicked)?
}

async fn spans_of(folder: &Folder, mut config: Config, time: Duration) -> Result<[Span; 3], WebhookError> {
    let endpoints = Endpoints::listen().await?;
    config.webhooks.allowed_networks = vec![IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8))];
    config.webhooks.http_allowed = true;
    let folder = DataFolder::create(folder)?;
    let Wired { app, store, live, others, alone } = wire(&config, &folder, Purpose::Serve, Vec::new()).await?;
    let tenants = tenants(&app, &endpoints).await?;
    let (stop, stopping) = watch::channel(false);
    let jobs = Jobs { app: Arc::clone(&app), live, others, node: node(&app), concurrency: 1, ready: Arc::default() };
    let jobs = jobs.spawn(stopping);

    let answering = span(&app, &tenants, &endpoints, (WARM_UP, time)).await?;
    endpoints.seen().some_hang = true;
    let beginning = span(&app, &tenants, &endpoints, (Duration::ZERO, time)).await?;
    let known = span(&app, &tenants, &endpoints, (Duration::ZERO, time)).await?;

    stop.send_replace(true);
    drop(endpoints);
    jobs.await.map_err(|_| WebhookError::Panicked)?;
    // In this order: until the store is closed, nobody may put another in its place.
    drop((app, store));
    drop(alone);
    Ok([answering, beginning, known])
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
async fn tenants(app: &App, endpoints: &Endpoints) -> Result<Vec<TenantId>, WebhookError> {
    let mut tenants = Vec::with_capacity(TENANTS);
    for (tenant, address) in endpoints.addresses.iter().enumerate() {
        let new = app.create_tenant("Bench", "unlimited").await?;
        let caller = app.authenticate(Some(new.live_key.reveal()), None, None).await?;
        for number in 0..ENDPOINTS {
            let url = format!("http://{address}/{}", tenant * ENDPOINTS + number);
            let new = NewEndpoint { url, description: String::new(), events: Vec::new(), service: None };
            app.create_endpoint(&caller, new).await?;
        }
        tenants.push(new.tenant.id);
    }
    Ok(tenants)
}

/// Events at their rate, of which those after the warm-up are measured.
async fn span(
    app: &App,
    tenants: &[TenantId],
    endpoints: &Endpoints,
    (warm_up, time): (Duration, Duration),
) -> Result<Span, WebhookError> {
    let ports = app.ports();
    let begun = Instant::now();
    let (measured, end) = (begun + warm_up, begun + warm_up + time);
    let mut ticks = interval_at(begun, Duration::from_secs_f64(1.0 / EVENTS_PER_SECOND));
    let mut events = 0u64;
    for tenant in tenants.iter().cycle() {
        let due = ticks.tick().await;
        if due >= end {
            break;
        }
        // One that waits for those before it is late by that much.
        let late = i64::try_from(due.elapsed().as_micros()).unwrap_or(0);
        let at = ports.clock.now().saturating_sub(SignedDuration::from_micros(late)).unwrap_or(Timestamp::MIN);
        if due >= measured {
            endpoints.seen().window.get_or_insert_with(|| Window::from(at));
            events += 1;
        }
        let (resource, window) = (Resource::Verifications, WindowKind::Month);
        let data = QuotaData { resource, window, percent: 80, used: 80, limit: 100, resets_at: at };
        let event = Event::new(*tenant, None, &Fact::QuotaThreshold(data), at, &*ports.entropy);
        ports.store.commit(vec![Change::insert(&event)]).await?;
        app.webhook_bell().ring();
    }
    sleep(REST).await;
    let window = endpoints.seen().window.take().unwrap_or_else(|| Window::from(ports.clock.now()));
    let expected = events * (ENDPOINTS - HANGING) as u64;
    Ok(Span {
        wall: time,
        latency: window.latencies.summary(),
        missing: expected.saturating_sub(window.told.len() as u64),
        hung: window.hung,
        hung_at_once: window.hung_at_once,
    })
}

/// All endpoints, of which some may hang.
struct Endpoints {
    /// One of each tenant: on one address there would be too few ports for so many connections.
    addresses: Vec<SocketAddr>,
    seen: Arc<Mutex<Seen>>,
    serving: Vec<JoinHandle<()>>,
}

/// What they see.
#[derive(Default)]
struct Seen {
    some_hang: bool,
    /// Requests that wait for an answer that never comes.
    hung_now: usize,
    window: Option<Window>,
}

/// What is measured.
struct Window {
    /// Events that were due from this moment on.
    from: Timestamp,
    latencies: Latencies,
    /// Which endpoint was told of which event: a second request counts for nothing.
    told: HashSet<(usize, String)>,
    hung: u64,
    hung_at_once: usize,
}

impl Window {
    fn from(from: Timestamp) -> Self {
        Self { from, latencies: Latencies::new(), told: HashSet::new(), hung: 0, hung_at_once: 0 }
    }
}

impl Endpoints {
    async fn listen() -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new().route("/{number}", post(endpoint)).with_state(Arc::clone(&seen));
        let mut endpoints = Self { addresses: Vec::new(), seen, serving: Vec::new() };
        for host in (2..).take(TENANTS) {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 0)).await?;
            endpoints.addresses.push(listener.local_addr()?);
            let router = router.clone();
            endpoints.serving.push(tokio::spawn(async move {
                // It ends with the process or with us, and never by itself.
                let _ = axum::serve(listener, router).await;
            }));
        }
        Ok(endpoints)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a webhook's body says of its event.
#[derive(Deserialize)]
struct Told {
    timestamp: Timestamp,
}

async fn endpoint(
    Path(number): Path<usize>,
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let now = SystemClock.now();
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let (Some(id), Ok(Told { timestamp: at })) = (id, serde_json::from_slice(&body)) else {
        return StatusCode::BAD_REQUEST;
    };
    let may_hang = number % ENDPOINTS < HANGING;
    let hangs = {
        let mut seen = lock(&seen);
        if let Some(window) = seen.window.as_mut().filter(|window| !may_hang && at >= window.from)
            && window.told.insert((number, id.to_owned()))
        {
            window.latencies.add(u64::try_from(now.duration_since(at).as_micros()).unwrap_or(0));
        }
        may_hang && seen.some_hang
    };
    if hangs {
        // Counted until the caller hangs up, which drops this.
        let _hung = Hung::new(seen);
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}

/// A request that hangs.
struct Hung(Arc<Mutex<Seen>>);

impl Hung {
    fn new(seen: Arc<Mutex<Seen>>) -> Self {
        {
            let mut seen = lock(&seen);
            seen.hung_now += 1;
            let now = seen.hung_now;
            if let Some(window) = &mut seen.window {
                window.hung += 1;
                window.hung_at_once = window.hung_at_once.max(now);
            }
        }
        Self(seen)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        lock(&self.0).hung_now -= 1;
    }
}
