//! The whole platform in one process, with its time, channels and queue in a test's hands.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use jiff::SignedDuration;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use wotp_core::app::{App, Delivered, NewKeySettings, PeopleSettings, Ports, Swept};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::api_key::Scope;
use wotp_core::domain::audit::By;
use wotp_core::domain::id::{ServiceId, TenantId, VerificationId};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::plan::Catalogue;
use wotp_core::domain::tenant_rules::TenantRules;
use wotp_core::domain::vault::{MasterKey, Vault};
use wotp_core::ports::{Channel, IdentityProvider, Job, NoPlugins, PluginHost, Unheard};
use wotp_core::testing::{ManualClock, SeededEntropy};
use wotp_server::config::Config;
use wotp_server::http::{HttpSettings, router};
use wotp_server::people::EddsaTokens;
use wotp_webhook::{HttpSender, Policy, SystemResolver};

use crate::backend::{self, Backend, Bell, Kept};
use crate::client::Request;
use crate::outbox::{ManualTimer, Outbox};
use crate::people::CountedPasswords;

/// When every test begins, if it does not say otherwise.
pub const NOON: &str = "2026-11-22T12:00:00Z";
/// A number that is nobody's and behaves like anybody's.
pub const NUMBER: &str = "+12025550123";

/// The `n`th of many numbers that are nobody's, none of them a sandbox number.
pub fn number(n: usize) -> String {
    assert!(n < 900, "the range reserved for fiction has no more numbers");
    format!("+447700900{:03}", n + 100)
}

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// A code of the same length that is not the right one.
pub fn wrong(code: &str) -> String {
    let first = if code.starts_with('7') { '4' } else { '7' };
    format!("{first}{}", &code[1..])
}

/// What a test wants to be different.
pub struct Setup {
    plans: Catalogue,
    tenant_rules: TenantRules,
    starts_at: &'static str,
    http: HttpSettings,
    queue_size: usize,
    limited: bool,
    identity_providers: Vec<Arc<dyn IdentityProvider>>,
    plugins: Arc<dyn PluginHost>,
    channels: Vec<Arc<dyn Channel>>,
}

impl Setup {
    /// With this channel before all others.
    pub fn channel(mut self, channel: Arc<dyn Channel>) -> Self {
        self.channels.push(channel);
        self
    }

    /// Plugins are run by this.
    pub fn plugins(mut self, host: Arc<dyn PluginHost>) -> Self {
        self.plugins = host;
        self
    }

    /// People may sign in with this one.
    pub fn identity_provider(mut self, provider: Arc<dyn IdentityProvider>) -> Self {
        self.identity_providers.push(provider);
        self
    }

    /// Plans in the format of `billing/plans.toml`; the first one is what tenants get.
    pub fn plan(mut self, limits: &str) -> Self {
        let catalogue = format!("[plans.custom]\nname = 'Custom'\n{limits}\n");
        self.plans = Catalogue::parse(&catalogue).expect("a test writes a plan that holds");
        self
    }

    /// What bounds tenants and their teams.
    pub fn tenant_rules(mut self, change: impl FnOnce(&mut TenantRules)) -> Self {
        change(&mut self.tenant_rules);
        self
    }

    pub fn starts_at(mut self, moment: &'static str) -> Self {
        self.starts_at = moment;
        self
    }

    pub fn http(mut self, change: impl FnOnce(&mut HttpSettings)) -> Self {
        change(&mut self.http);
        self
    }

    /// The settings of the HTTP API as they are now.
    pub fn settings(self) -> HttpSettings {
        self.http
    }

    /// How many rings wait at most.
    pub fn queue_size(mut self, rings: usize) -> Self {
        self.queue_size = rings;
        self
    }

    /// A limiter that nobody can reach.
    pub fn no_limiter(mut self) -> Self {
        self.limited = false;
        self
    }

    pub async fn start(self) -> TestApp {
        let Backend { store, queue, limiter, bell, kept } = Backend::start(self.queue_size).await;
        let limiter = if self.limited { limiter } else { backend::unreachable_limiter() };
        let clock = Arc::new(ManualClock::at(self.starts_at));
        let timer = Arc::new(ManualTimer::new(Arc::clone(&clock)));
        let channel = |name, reaches| Arc::new(Outbox::new(name, reaches, Arc::clone(&timer)));
        let outbox = channel("outbox", &[AddressKind::Phone, AddressKind::Email]);
        let spare = channel("spare", &[AddressKind::Phone]);
        let passwords = Arc::new(CountedPasswords::new());
        let master = MasterKey { id: 1, bytes: [42; 32].into() };
        let app = Arc::new(App::new(Ports {
            store,
            queue,
            bulletin: Arc::new(Unheard),
            limiter,
            channels: self.channels.into_iter().chain([Arc::clone(&outbox) as _, Arc::clone(&spare) as _]).collect(),
            plugins: self.plugins,
            identity_providers: self.identity_providers,
            vault: Vault::new(&[master]).expect("there is a master key"),
            plans: self.plans.clone(),
            tenant_rules: self.tenant_rules,
            clock: Arc::clone(&clock) as Arc<_>,
            entropy: Arc::new(SeededEntropy::new(7)),
            timer: Arc::clone(&timer) as Arc<_>,
            webhooks: Arc::new(HttpSender::new(
                Policy {
                    allowed_networks: vec!["127.0.0.0/8".parse().expect("loopback is a network")],
                    http_allowed: true,
                },
                Arc::new(SystemResolver::default()),
            )),
            passwords: Arc::clone(&passwords) as Arc<_>,
            tokens: Arc::new(EddsaTokens::new()),
            people: PeopleSettings { plan: plan_of(&self.plans), ..Config::default().people() },
            public_url: self.http.public_url.clone(),
            // Any test may have a fellow.
            alone: false,
        }));
        // As a server does before it serves.
        app.load_plugins().await.expect("it knows what is installed");
        let ready = Arc::clone(&self.http.ready);
        let router = router(Arc::clone(&app), self.http);
        TestApp { app, router, clock, outbox, spare, passwords, ready, bell: tokio::sync::Mutex::new(Some(bell)), kept }
    }
}

/// The whole platform. Dropped with jobs still queued, it fails.
pub struct TestApp {
    pub app: Arc<App>,
    router: Router,
    pub clock: Arc<ManualClock>,
    /// The first channel: phones and email.
    pub outbox: Arc<Outbox>,
    /// The second channel: phones only.
    pub spare: Arc<Outbox>,
    /// What hashes passwords, cheaply.
    pub passwords: Arc<CountedPasswords>,
    /// False while draining.
    pub ready: Arc<AtomicBool>,
    bell: tokio::sync::Mutex<Option<Bell>>,
    kept: Kept,
}

/// A tenant as `wotp tenant create` prints it.
pub struct TestTenant {
    pub id: TenantId,
    pub service: ServiceId,
    pub live: String,
    pub test: String,
}

impl TestApp {
    /// Something other than the usual.
    pub fn with() -> Setup {
        let http = HttpSettings {
            trusted_proxies: Vec::new(),
            request_timeout: Duration::from_secs(30),
            cors_origins: Vec::new(),
            per_ip: None,
            development: false,
            ready: Arc::new(AtomicBool::new(true)),
            queue_needed: true,
            metrics: recorder(),
            cookie_secure: true,
            public_url: None,
        };
        let tenant_rules = TenantRules::default();
        let identity_providers = Vec::new();
        Setup {
            plans: Catalogue::built_in(),
            tenant_rules,
            starts_at: NOON,
            http,
            queue_size: 4096,
            limited: true,
            identity_providers,
            plugins: Arc::new(NoPlugins),
            channels: Vec::new(),
        }
    }

    /// The usual: the built-in plans, no limit per IP address.
    pub async fn start() -> Self {
        Self::with().start().await
    }

    /// The usual, and a tenant without limits.
    pub async fn start_with_tenant() -> (Self, TestTenant) {
        let app = Self::start().await;
        let tenant = app.tenant("Acme").await;
        (app, tenant)
    }

    /// A tenant of the plan `custom` if there is one, else without limits.
    pub async fn tenant(&self, name: &str) -> TestTenant {
        let plan = if self.app.ports().plans.find("custom").is_some() { "custom" } else { "unlimited" };
        self.tenant_on(name, plan).await
    }

    /// Another node on the same store, which hears nothing from this one and does no jobs.
    pub fn fellow(&self) -> Self {
        self.fellow_with(|_| {})
    }

    /// The same, which runs plugins by this.
    #[cfg(feature = "plugins")]
    pub fn fellow_that_runs(&self, plugins: Arc<dyn PluginHost>) -> Self {
        self.another(self.app.ports().people.clone(), plugins)
    }

    /// The same, with other settings for people.
    pub fn fellow_with(&self, change: impl FnOnce(&mut PeopleSettings)) -> Self {
        let mut people = self.app.ports().people.clone();
        change(&mut people);
        self.another(people, Arc::clone(&self.app.ports().plugins))
    }

    fn another(&self, people: PeopleSettings, plugins: Arc<dyn PluginHost>) -> Self {
        let ports = self.app.ports();
        let master = MasterKey { id: 1, bytes: [42; 32].into() };
        let app = Arc::new(App::new(Ports {
            store: Arc::clone(&ports.store),
            queue: Arc::clone(&ports.queue),
            bulletin: Arc::clone(&ports.bulletin),
            limiter: Arc::clone(&ports.limiter),
            channels: ports.channels.clone(),
            vault: Vault::new(&[master]).expect("there is a master key"),
            plans: ports.plans.clone(),
            clock: Arc::clone(&ports.clock),
            entropy: Arc::clone(&ports.entropy),
            timer: Arc::clone(&ports.timer),
            passwords: Arc::clone(&ports.passwords),
            tokens: Arc::clone(&ports.tokens),
            people,
            public_url: ports.public_url.clone(),
            plugins,
            identity_providers: Vec::new(),
            tenant_rules: ports.tenant_rules,
            webhooks: Arc::clone(&ports.webhooks),
            alone: false,
        }));
        let http = Self::with().http;
        let ready = Arc::clone(&http.ready);
        Self {
            router: router(Arc::clone(&app), http),
            app,
            clock: Arc::clone(&self.clock),
            outbox: Arc::clone(&self.outbox),
            spare: Arc::clone(&self.spare),
            passwords: Arc::clone(&self.passwords),
            ready,
            bell: tokio::sync::Mutex::new(None),
            kept: Kept::Folder(tempfile::TempDir::new().expect("a folder of its own, which stays empty")),
        }
    }

    pub async fn tenant_on(&self, name: &str, plan: &str) -> TestTenant {
        let new = self.app.create_tenant(name, plan).await.expect("a new tenant");
        TestTenant {
            id: new.tenant.id,
            service: new.service.id,
            live: new.live_key.reveal().to_owned(),
            test: new.test_key.reveal().to_owned(),
        }
    }

    /// Another key of a tenant: every scope, live, unless `change` says otherwise.
    pub async fn key(&self, tenant: &TestTenant, change: impl FnOnce(&mut NewKeySettings)) -> String {
        let mut settings = NewKeySettings::named("another key", Mode::Live);
        settings.scopes = Scope::ALL.iter().copied().collect();
        change(&mut settings);
        let key = self.app.issue_key(&By::command_line(), tenant.id, settings).await.expect("a new key");
        key.secret.reveal().to_owned()
    }

    /// The API, to be served on a real connection.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The same API with other settings.
    pub fn router_with(&self, change: impl FnOnce(&mut HttpSettings)) -> Router {
        router(Arc::clone(&self.app), Self::with().http(change).settings())
    }

    pub fn request(&self, method: Method, path: impl Into<String>) -> Request {
        Request::new(self.router.clone(), method, path)
    }

    pub fn get(&self, path: impl Into<String>) -> Request {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: impl Into<String>) -> Request {
        self.request(Method::POST, path)
    }

    /// `POST /v1/verifications`.
    pub fn starting(&self, key: &str, body: Value) -> Request {
        self.post("/v1/verifications").key(key).json(body)
    }

    /// A verification of `to`, started and delivered: its body, and the code that went out.
    pub async fn started(&self, key: &str, to: &str) -> (Value, String) {
        self.started_as(key, json!({ "to": to })).await
    }

    /// As [`started`](Self::started), from a whole body.
    pub async fn started_as(&self, key: &str, body: Value) -> (Value, String) {
        let verification = self.starting(key, body).await.expect(201);
        self.run_jobs().await;
        let code = match verification["test_code"].as_str() {
            Some(code) => code.to_owned(),
            None => self.outbox.last().code,
        };
        (verification, code)
    }

    /// `POST /v1/verifications/{id}/check`.
    pub fn checking(&self, key: &str, verification: &Value, code: &str) -> Request {
        self.post(format!("{}/check", path(verification))).key(key).json(json!({ "code": code }))
    }

    /// `GET /v1/verifications/{id}`.
    pub async fn read(&self, key: &str, verification: &Value) -> Value {
        self.get(path(verification)).key(key).await.expect(200)
    }

    /// Changes the tenant's first service.
    pub async fn change_service(&self, tenant: &TestTenant, change: Value) {
        self.request(Method::PATCH, format!("/v1/services/{}", tenant.service))
            .key(&tenant.live)
            .json(change)
            .await
            .expect(200);
    }

    /// What was used today of a resource, as in `verifications`.
    pub async fn used_today(&self, key: &str, resource: &str) -> u64 {
        let usage = self.get("/v1/usage").key(key).await.expect(200);
        usage[resource]["day"]["used"].as_u64().expect("a count")
    }

    /// The next job, if one waits.
    pub async fn next_job(&self) -> Option<Job> {
        self.bell.lock().await.as_mut()?.next_job(&*self.app.ports().queue).await
    }

    /// Forgets every job, as a queue that is flushed does; says how many.
    pub async fn lose_jobs(&self) -> usize {
        let mut lost = 0;
        while self.next_job().await.is_some() {
            lost += 1;
        }
        lost
    }

    /// Nobody answers the doorbell any more.
    pub async fn stop_workers(&self) {
        *self.bell.lock().await = None;
    }

    /// Does jobs until none waits.
    pub async fn run_jobs(&self) -> Vec<Delivered> {
        let mut done = Vec::new();
        while let Some(job) = self.next_job().await {
            done.push(self.app.deliver(job, ()).await.expect("a job is done"));
        }
        done
    }

    /// One sweep.
    pub async fn sweep(&self) -> Swept {
        self.app.sweep(500).await.expect("a sweep")
    }

    /// All that the store holds, as a thief would take it: names and bytes.
    pub fn stolen(&self) -> Vec<(String, Vec<u8>)> {
        self.kept.stolen()
    }

    /// Every row of the store: table and content.
    pub fn rows(&self) -> Vec<(String, Vec<u8>)> {
        self.kept.rows()
    }

    /// Leaves nothing of what a tenant's row says that could be read.
    pub fn damage_tenant(&self, tenant: TenantId) {
        self.kept.damage_tenant(tenant.to_bytes());
    }

    /// Plants beside a verification another that no program can read, and says its id.
    pub fn plant_unreadable(&self, beside: &Value) -> VerificationId {
        let beside: VerificationId = id(beside).parse().expect("its id");
        let planted = VerificationId::new(self.app.ports().clock.now(), &*self.app.ports().entropy);
        self.kept.plant_unreadable(beside.to_bytes(), planted.to_bytes());
        planted
    }

    /// From now on the store itself takes no row of this kind of entity; with none, all again.
    pub fn refuse(&self, kind: Option<&str>) {
        self.kept.refuse(kind);
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let waiting = self.bell.get_mut().as_mut().map_or(0, Bell::waiting);
            assert_eq!(waiting, 0, "a test ends with its jobs done");
        }
    }
}

/// The plan of tenants that sign themselves up: `custom` if there is one.
fn plan_of(plans: &Catalogue) -> String {
    if plans.find("custom").is_some() { "custom" } else { "free" }.to_owned()
}

/// `/v1/verifications/{id}` of a verification.
pub fn path(verification: &Value) -> String {
    format!("/v1/verifications/{}", id(verification))
}

pub fn id(of: &Value) -> &str {
    of["id"].as_str().expect("it has an id")
}

fn recorder() -> PrometheusHandle {
    PrometheusBuilder::new().build_recorder().handle()
}
