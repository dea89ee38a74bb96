//! WhatsApp, through numbers that tenants link.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use wotp_channel_whatsapp::{
    Leases, Parts, Sessions, Settings, Tenure, VERSION_KNOWN, VERSION_URL, WHATSAPP, WebVersion, WhatsApp, version_in,
};
use wotp_core::app::App;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Channel, Store, StoreError};
use wotp_outbound::{Caller, Plain, Policy, Reading, Request, SystemResolver};

use crate::config;

/// How often it is looked whether anything is wanted, until something is.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long WhatsApp is asked for its version.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// Most that is read of what it answers, in bytes.
const ANSWER_MAX: usize = 4 << 20;
/// WhatsApp tells browsers only.
const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

/// The channel, and how its sessions are set up.
pub(super) struct Kept {
    channel: Arc<WhatsApp>,
    config: config::WhatsApp,
}

/// Sessions that are kept.
pub(super) struct Keeping {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Kept {
    /// None where it is switched off.
    pub(super) fn of(config: &config::WhatsApp) -> Option<Self> {
        config.enabled.then(|| Self { channel: Arc::default(), config: config.clone() })
    }

    pub(super) fn channel(&self) -> Arc<dyn Channel> {
        Arc::clone(&self.channel) as _
    }

    pub(super) fn begin(self, app: &Arc<App>, node: NodeId) -> Keeping {
        let (stop, stopping) = watch::channel(false);
        Keeping { stop, task: tokio::spawn(keep(self, Arc::clone(app), node, stopping)) }
    }
}

impl Keeping {
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the WhatsApp sessions panicked");
        }
    }
}

/// Keeps sessions from the first moment that somebody wants one: whoever uses none does not call WhatsApp.
async fn keep(kept: Kept, app: Arc<App>, node: NodeId, mut stop: watch::Receiver<bool>) {
    let (settings, from) = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => return,
        settings = settings(&kept.config, &app) => settings,
    };
    let ports = app.ports();
    if ports.alone
        && let Err(error) = release_all(&*ports.store, ports.clock.now()).await
    {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "what the last process kept of WhatsApp is taken when its leases end");
    }
    let leases = Leases::new(Arc::clone(&ports.store) as _, Arc::clone(&ports.clock), node, Tenure::default());
    let (clock, entropy) = (Arc::clone(&ports.clock), Arc::clone(&ports.entropy));
    let parts = Parts::new(settings, clock, entropy, Arc::clone(&app) as _, Arc::clone(&app) as _, leases, app as _);
    let version = Arc::clone(&parts.version);
    let sessions = Sessions::new(parts);
    kept.channel.begin(Arc::clone(&sessions));
    tokio::select! {
        // An error means that nobody is left who could say stop: the process ends.
        _ = stop.wait_for(|stop| *stop) => {}
        () = version.keep_current(from == VersionFrom::WhatsApp, version_told), if from != VersionFrom::Operator => {}
    }
    sessions.drain().await;
    kept.channel.end();
}

/// Where no other process uses the store, leases that are in force are of one that was killed.
async fn release_all(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    for lease in store.connection_leases().await? {
        if lease.is_in_force(now) {
            store.release_connection(&lease, now).await?;
        }
    }
    Ok(())
}

/// Who said which version of WhatsApp Web sessions are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VersionFrom {
    /// The configuration: it stays.
    Operator,
    /// WhatsApp.
    WhatsApp,
    /// Nobody: WhatsApp could not be asked.
    Nobody,
}

/// How sessions are set up, once one is wanted, and whose their version is.
async fn settings(config: &config::WhatsApp, app: &App) -> (Settings, VersionFrom) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = app.wanted_connections_changed() => {}
        }
        match app.wanted_connections().await {
            Ok(wanted) if !wanted.is_empty() => break,
            Ok(_) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "which WhatsApp sessions are wanted cannot be read");
            }
        }
    }
    let (version, from) = match config.version() {
        Ok(Some(version)) => (version, VersionFrom::Operator),
        _ => match version_told().await {
            Some(version) => (version, VersionFrom::WhatsApp),
            None => (VERSION_KNOWN, VersionFrom::Nobody),
        },
    };
    let mut settings = Settings::new(version, config.shown_as.clone());
    settings.url = if config.url.is_empty() { WHATSAPP.to_owned() } else { config.url.clone() };
    (settings, from)
}

/// The version of WhatsApp Web that is current, as WhatsApp says; none where it does not.
async fn version_told() -> Option<WebVersion> {
    let policy = Policy { allowed_networks: Vec::new(), plain: Plain::Never };
    let caller = Caller::new(policy, Arc::new(SystemResolver::default()));
    let headers = HeaderMap::from_iter([
        (header::USER_AGENT, HeaderValue::from_static(BROWSER)),
        (HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static("none")),
    ]);
    let request = Request { method: Method::GET, url: VERSION_URL.to_owned(), headers, body: Default::default() };
    let answer = caller.call(request, Reading::Whole { bytes: ANSWER_MAX }, ASKED_FOR).await;
    let told = answer.ok().and_then(|answer| version_in(&String::from_utf8_lossy(&answer.body)));
    match told {
        Some((first, second, third)) => {
            tracing::debug!(version = format!("{first}.{second}.{third}"), "WhatsApp says which version is current");
        }
        None => tracing::warn!(
            "WhatsApp does not say which version is current: the one at hand is used, and it is asked again"
        ),
    }
    told
}
