//! A node that compiles a plugin for minutes, and what happens meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use wotp_core::domain::Timestamp;
use wotp_core::domain::plugin::Release;
use wotp_core::ports::{PluginFault, PluginHost, ReadyPlugin};

use super::{ADA, Gateway, Stage, component, workshop};
use crate::app::TestApp;

/// A sandbox that compiles when the test lets it.
struct Slow {
    host: Arc<dyn PluginHost>,
    begun: Notify,
    /// How many may be compiled.
    allowed: Semaphore,
}

#[async_trait]
impl PluginHost for Slow {
    async fn examine(&self, bytes: &[u8], manifest: Option<&str>, now: Timestamp) -> Result<Release, PluginFault> {
        self.host.examine(bytes, manifest, now).await
    }

    async fn known(&self, sha256: &str) -> Result<Option<Arc<dyn ReadyPlugin>>, PluginFault> {
        self.host.known(sha256).await
    }

    async fn compile(&self, component: &[u8]) -> Result<Arc<dyn ReadyPlugin>, PluginFault> {
        self.begun.notify_one();
        self.allowed.acquire().await.expect("it is never closed").forget();
        self.host.compile(component).await
    }

    async fn keep_compiled(&self, components: BTreeSet<String>, before: Timestamp) -> Result<usize, PluginFault> {
        self.host.keep_compiled(components, before).await
    }

    fn host(&self, text: &str) -> Result<String, PluginFault> {
        self.host.host(text)
    }
}

/// Two plugins that are on, `sms` and `slow`, and a node that has loaded the first and compiles the other.
struct Scene {
    stage: Stage,
    /// The two plugins' paths.
    sms: String,
    slow: String,
    node: Arc<TestApp>,
    host: Arc<Slow>,
    loading: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set().await;
        let sms = stage.deliver_through(&Gateway::start().await).await;
        let folder = tempfile::tempdir().unwrap();
        let host = Arc::new(Slow { host: workshop(&folder), begun: Notify::new(), allowed: Semaphore::new(1) });
        let node = Arc::new(stage.app.fellow_that_runs(Arc::clone(&host) as Arc<dyn PluginHost>));
        node.app.load_plugins().await.expect("it loads");
        host.begun.notified().await;
        let body = json!({ "channel": "slow" });
        let installed = stage.installing(&component("telegram_gateway"), body).await.expect(201);
        let slow = format!("/{}", installed["id"].as_str().unwrap());
        let hosts = json!({ "hosts": ["gatewayapi.telegram.org"] });
        stage.post(&format!("{slow}/approve"), hosts).await.expect(200);
        let given = json!({ "config": {}, "secrets": { "token": "a-token-of-telegram" } });
        stage.call(Method::PATCH, &slow, given).await.expect(200);
        stage.post(&format!("{slow}/enable"), json!({})).await.expect(200);
        let loading = load(&node);
        host.begun.notified().await;
        Self { stage, sms, slow, node, host, loading, _folder: folder }
    }

    async fn set_on(&self, plugin: &str, on: bool) {
        let path = format!("{plugin}/{}", if on { "enable" } else { "disable" });
        self.stage.post(&path, if on { json!({}) } else { Value::Null }).await.expect(200);
    }

    /// What the node runs, and whether as it is wanted.
    fn here(&self) -> Vec<(String, bool)> {
        let mut here = self.node.app.plugins_here();
        here.sort();
        here
    }

    fn lets_it_compile(&self) {
        self.host.allowed.add_permits(1);
    }
}

fn load(node: &Arc<TestApp>) -> JoinHandle<()> {
    let app = Arc::clone(&node.app);
    tokio::spawn(async move { app.load_plugins().await.expect("it loads") })
}

fn plugins<const N: usize>(expected: [(&str, bool); N]) -> Vec<(String, bool)> {
    expected.into_iter().map(|(name, is_current)| (name.to_owned(), is_current)).collect()
}

#[tokio::test]
async fn a_change_waits_for_no_other_plugin_that_is_compiled() {
    let scene = Scene::set().await;
    assert_eq!(scene.here(), plugins([("slow", false), ("sms", true)]));
    assert_eq!(scene.node.app.due_plugins(), 0, "somebody loads it");
    scene.set_on(&scene.sms, false).await;
    scene.node.app.load_plugins().await.expect("it does not wait");
    assert_eq!(scene.here(), plugins([("slow", false)]));
    scene.set_on(&scene.sms, true).await;
    scene.node.app.load_plugins().await.expect("it does not wait");
    assert_eq!(scene.here(), plugins([("slow", false), ("sms", true)]));
    let acme = scene.stage.app.tenant("Acme").await;
    scene.node.starting(&acme.live, json!({ "to": ADA, "channels": ["sms"] })).await.expect(201);
    scene.stage.app.lose_jobs().await;
    scene.lets_it_compile();
    scene.loading.await.expect("it ends");
    assert_eq!(scene.node.app.due_plugins(), 0);
}

#[tokio::test]
async fn what_was_compiled_and_is_not_wanted_any_more_is_not_put_back() {
    let scene = Scene::set().await;
    scene.set_on(&scene.slow, false).await;
    // Another one that is to be loaded is nobody's yet, whatever is still compiled in vain.
    scene.set_on(&scene.sms, false).await;
    scene.node.app.look_at_plugins().await.expect("it looks");
    scene.set_on(&scene.sms, true).await;
    scene.node.app.look_at_plugins().await.expect("it looks");
    assert_eq!(scene.node.app.due_plugins(), 1);
    scene.node.app.load_plugins().await.expect("it does not wait");
    assert_eq!(scene.node.app.due_plugins(), 0);
    scene.lets_it_compile();
    let Scene { stage: _stage, node, loading, .. } = scene;
    loading.await.expect("it ends");
    assert_eq!(node.app.plugins_here(), plugins([("sms", true)]));
}

/// Whoever loads may be stopped at any moment, as by a caller that hangs up.
#[tokio::test]
async fn what_somebody_gave_up_loading_is_loaded_by_the_next() {
    let scene = Scene::set().await;
    scene.loading.abort();
    let Scene { node, host, loading, stage: _stage, .. } = scene;
    assert!(loading.await.expect_err("it was stopped").is_cancelled());
    assert_eq!(node.app.due_plugins(), 1);
    host.allowed.add_permits(1);
    node.app.load_plugins().await.expect("it loads");
    let mut here = node.app.plugins_here();
    here.sort();
    assert_eq!(here, plugins([("slow", true), ("sms", true)]));
}
