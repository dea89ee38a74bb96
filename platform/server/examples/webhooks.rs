//! How long it takes from what happened to the request at an endpoint: with 1,000 endpoints that all answer, and
//! with 100 of them hanging. The figure that was promised: the healthy ones' 99th percentile stays within twice
//! what it is without hanging ones.
//!
//! `cargo run --release -p wotp-server --example webhooks [-- SECONDS [EVENTS_PER_SECOND]]`
//!
//! The whole platform over SQLite in this process, with the loop that `wotp serve` runs, and a real HTTP server on
//! loopback. Both rounds take SECONDS (60 unless told), after a while in which the hanging endpoints become known
//! as such, as they would be. Ends with an error when the figure is missed.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a person at a terminal")]

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep};
use wotp_core::app::{App, NewEndpoint};
use wotp_core::domain::Timestamp;
use wotp_core::domain::event::{Event, Fact, QuotaData};
use wotp_core::domain::id::{NodeId, TenantId};
use wotp_core::domain::node::{Node, Role};
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::ports::{Change, Clock as _};
use wotp_server::config::Config;
use wotp_server::data_folder::DataFolder;
use wotp_server::jobs::Jobs;
use wotp_server::system::SystemClock;
use wotp_server::wiring::{Purpose, Wired, wire};

/// Tenants, each of which is told of its own.
const TENANTS: usize = 20;
/// Endpoints of each: an event goes to all of them.
const ENDPOINTS: usize = 50;
/// Of each tenant's endpoints, how many hang in the second round.
const HANGING: usize = 5;
/// Events a second, over all tenants, unless told: 250 requests a second.
const EVENTS_PER_SECOND: f64 = 5.0;
/// How long a round lasts before it is measured: longer than the first calls of hanging endpoints.
const WARM_UP: Duration = Duration::from_secs(20);
/// How long the last requests are waited for.
const REST: Duration = Duration::from_secs(2);

/// What the endpoints see.
#[derive(Default)]
struct Seen {
    /// Those that hang now.
    hanging: HashSet<usize>,
    /// Microseconds from event to request, of those that do not, while it is measured.
    latencies: Vec<i64>,
    measured_from: Option<Timestamp>,
}

type Shared = Arc<Mutex<Seen>>;

async fn endpoint(Path(number): Path<usize>, State(seen): State<Shared>, body: Bytes) -> StatusCode {
    let now = SystemClock.now();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let at: Timestamp = body["timestamp"].as_str().unwrap().parse().unwrap();
    let hangs = {
        let mut seen = seen.lock().unwrap();
        let hangs = seen.hanging.contains(&number);
        if !hangs && seen.measured_from.is_some_and(|from| at >= from) {
            let took = now.duration_since(at).as_micros();
            seen.latencies.push(i64::try_from(took).unwrap());
        }
        hangs
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}

/// One round; gives the latencies in order.
async fn round(app: &App, tenants: &[TenantId], seen: &Shared, seconds: u64, per_second: f64) -> Vec<i64> {
    let ports = app.ports();
    let begun = Instant::now();
    let measured = begun + WARM_UP;
    let end = measured + Duration::from_secs(seconds);
    let mut ticks = interval_at(begun, Duration::from_secs_f64(1.0 / per_second));
    let mut next = tenants.iter().cycle();
    while Instant::now() < end {
        ticks.tick().await;
        let now = ports.clock.now();
        if Instant::now() >= measured {
            seen.lock().unwrap().measured_from.get_or_insert(now);
        }
        let (resource, window) = (Resource::Verifications, WindowKind::Month);
        let data = QuotaData { resource, window, percent: 80, used: 80, limit: 100, resets_at: now };
        let fact = Fact::QuotaThreshold(data);
        let event = Event::new(*next.next().unwrap(), None, &fact, now, &*ports.entropy);
        ports.store.commit(vec![Change::insert(&event)]).await.unwrap();
        app.webhook_bell().ring();
    }
    sleep(REST).await;
    let mut seen = seen.lock().unwrap();
    seen.measured_from = None;
    let mut latencies = std::mem::take(&mut seen.latencies);
    latencies.sort_unstable();
    latencies
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for show")]
fn percentile(sorted: &[i64], part: f64) -> f64 {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len() - 1);
    sorted[at] as f64 / 1000.0
}

fn show(name: &str, latencies: &[i64]) -> f64 {
    let p99 = percentile(latencies, 0.99);
    let p50 = percentile(latencies, 0.5);
    println!("{name:<28} {:>9} requests   p50 {p50:>8.1} ms   p99 {p99:>8.1} ms", latencies.len());
    p99
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(60, |text| text.parse().expect("SECONDS is a number"));
    let per_second = arguments.next().map_or(EVENTS_PER_SECOND, |text| text.parse().expect("a number"));

    let seen = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/{number}", axum::routing::post(endpoint)).with_state(Arc::clone(&seen));
    let receiving = tokio::spawn(async move { axum::serve(listener, router).await });

    let place = tempfile::tempdir().unwrap();
    let folder = DataFolder::create(place.path()).unwrap();
    let mut config = Config::default();
    config.webhooks.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    config.webhooks.http_allowed = true;
    let Wired { app, store, others, alone } = wire(&config, &folder, Purpose::Serve, Vec::new()).await.unwrap();
    let now = app.ports().clock.now();
    let node = Node {
        id: NodeId::new(now, &*app.ports().entropy),
        role: Role::All,
        host: "here".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: now,
        seen_at: now,
        draining: false,
    };
    let mut tenants = Vec::new();
    for tenant in 0..TENANTS {
        let new = app.create_tenant("Acme", "unlimited").await.unwrap();
        let caller = app.authenticate(Some(new.live_key.reveal()), None, None).await.unwrap();
        for number in 0..ENDPOINTS {
            let url = format!("http://127.0.0.1:{port}/{}", tenant * ENDPOINTS + number);
            let new = NewEndpoint { url, description: String::new(), events: Vec::new(), service: None };
            app.create_endpoint(&caller, new).await.unwrap();
        }
        tenants.push(new.tenant.id);
    }
    let (stop, stopping) = watch::channel(false);
    let jobs = Jobs { app: Arc::clone(&app), others, node, concurrency: 1, ready: Arc::default() }.spawn(stopping);

    println!(
        "{} endpoints of {TENANTS} tenants, {per_second} events a second, {ENDPOINTS} requests each",
        TENANTS * ENDPOINTS
    );
    let healthy = show("all answer", &round(&app, &tenants, &seen, seconds, per_second).await);
    let hanging = (0..TENANTS).flat_map(|tenant| (0..HANGING).map(move |number| tenant * ENDPOINTS + number));
    seen.lock().unwrap().hanging.extend(hanging);
    let name = format!("{} hang: the others", TENANTS * HANGING);
    let beside = show(&name, &round(&app, &tenants, &seen, seconds, per_second).await);
    let ratio = beside / healthy;
    println!("{ratio:.2} times, of at most 2");

    receiving.abort();
    stop.send_replace(true);
    jobs.await.unwrap();
    // In this order: until the store is closed, nobody may put another in its place.
    drop((app, store));
    drop(alone);
    if ratio <= 2.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
