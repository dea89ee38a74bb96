//! Plugins that operators install: from a file to a code that gets out, with the sandbox and the compiler of production.

mod connected;
mod life;
mod loading;
mod meta;
mod refusals;
mod templates;
mod together;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use wotp_channel_wasm::{Compiler, Component, Manifest, Runtime, Shelf, SigningKey, Workshop, World};
use wotp_core::ports::PluginHost;
use wotp_core::testing::{ManualClock, SeededEntropy};
use wotp_outbound::{Caller, Plain, Policy, Resolve};

use crate::app::{Setup, TestApp};
use crate::client::Request;
use crate::loopback::Loopback;
use crate::people::TestPerson;

/// Whom verifications go to.
const ADA: &str = "+12025550123";
const TOKEN: &str = "t0ken-of-the-gateway";
/// Where providers call.
const ORIGIN: &str = "https://wotp.example";

/// The component of a sample or an attack.
fn component(name: &str) -> Vec<u8> {
    let folder = std::env::var("TEST_PLUGINS");
    let folder =
        PathBuf::from(folder.expect("TEST_PLUGINS is the folder that `.ci/guests` prints; `make test` sets it"));
    std::fs::read(folder.join(name).with_extension("wasm")).unwrap()
}

/// The same component as another release: with a section behind it that nobody reads.
pub fn released(name: &str, release: u8) -> Vec<u8> {
    let section = [0, 4, 2, b'n', b'o', release];
    [component(name), section.to_vec()].concat()
}

/// A component in which a text is another one of the same length.
fn altered(name: &str, text: &str, by: &str) -> Vec<u8> {
    assert_eq!(text.len(), by.len());
    let mut bytes = component(name);
    let mut found = 0;
    for at in 0..bytes.len() - text.len() {
        if bytes[at..].starts_with(text.as_bytes()) {
            bytes[at..at + text.len()].copy_from_slice(by.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "{name} says {text}");
    bytes
}

/// No name is anybody's: tests call addresses.
struct Nobody;

#[async_trait]
impl Resolve for Nobody {
    async fn resolve(&self, _: &str) -> Vec<std::net::IpAddr> {
        Vec::new()
    }
}

fn world() -> World {
    let policy = Policy { allowed_networks: vec!["127.0.0.0/8".parse().unwrap()], plain: Plain::ToLoopback };
    World {
        clock: Arc::new(ManualClock::at("2026-11-22T12:00:00Z")),
        entropy: Arc::new(SeededEntropy::new(9)),
        caller: Arc::new(Caller::new(policy, Arc::new(Nobody))),
        public_url: Some(ORIGIN.to_owned()),
    }
}

/// The sandbox of production, which compiles in a process of the real program and keeps that in a folder.
pub fn workshop(folder: &TempDir) -> Arc<dyn PluginHost> {
    let shelf = Shelf::new(folder.path().join("compiled"), [3; 32].into());
    let compiler = Compiler::new(env!("CARGO_BIN_EXE_wotp"), ["plugin", "compile"]);
    Arc::new(Workshop::new(shelf, compiler, world()))
}

/// A platform that runs plugins, and its operator.
struct Stage {
    app: TestApp,
    operator: TestPerson,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Self {
        Self::with(|setup| setup).await
    }

    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = TestApp::with().plugins(workshop(&folder));
        let setup = setup.http(|http| http.public_url = Some(ORIGIN.to_owned()));
        let app = change(setup).start().await;
        let operator = app.operator().await;
        Self { app, operator, folder }
    }

    fn call(&self, method: Method, path: &str, body: Value) -> Request {
        let request = self.app.request(method, format!("/operator/v1/plugins{path}")).by(&self.operator);
        if body.is_null() { request } else { request.json(body) }
    }

    fn post(&self, path: &str, body: Value) -> Request {
        self.call(Method::POST, path, body)
    }

    fn installing(&self, component: &[u8], more: Value) -> Request {
        let mut body = json!({ "component": STANDARD.encode(component), "unsigned": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("", body)
    }

    /// `generic-http`, installed as the channel `sms`.
    async fn install(&self) -> String {
        let body = json!({ "channel": "sms" });
        let installed = self.installing(&component("generic_http"), body).await.expect(201);
        format!("/{}", installed["id"].as_str().unwrap())
    }

    /// The same, on for everybody, with a gateway.
    async fn deliver_through(&self, gateway: &Gateway) -> String {
        let plugin = self.install().await;
        self.post(&format!("{plugin}/approve"), json!({ "hosts": [gateway.host()] })).await.expect(200);
        self.call(Method::PATCH, &plugin, gateway.settings()).await.expect(200);
        self.post(&format!("{plugin}/enable"), json!({})).await.expect(200);
        plugin
    }

    async fn plugins(&self) -> Vec<Value> {
        let list = self.call(Method::GET, "", Value::Null).await.expect(200);
        list["data"].as_array().unwrap().clone()
    }
}

/// What came to a gateway.
#[derive(Clone)]
struct Came {
    headers: HeaderMap,
    body: Value,
}

#[derive(Default)]
struct Gate {
    came: Mutex<Vec<Came>>,
    someone: Notify,
    closed: Mutex<bool>,
    opened: Notify,
}

/// An SMS gateway on loopback that takes all messages, at once or when it is opened.
struct Gateway {
    loopback: Loopback,
    gate: Arc<Gate>,
}

impl Gateway {
    async fn start() -> Self {
        let gate = Arc::<Gate>::default();
        let router = Router::new().route("/sms", post(take)).with_state(Arc::clone(&gate));
        Self { loopback: Loopback::serve(router).await, gate }
    }

    fn host(&self) -> String {
        self.loopback.host()
    }

    /// What `generic-http` is given to send through it.
    fn settings(&self) -> Value {
        json!({
            "config": {
                "url": format!("http://{}/sms", self.host()),
                "headers": { "authorization": "Bearer {{secret:token}}" },
                "body": { "json": { "to": "{{to}}", "code": "{{code}}" } },
            },
            "secrets": { "token": TOKEN },
        })
    }

    fn came(&self) -> Vec<Came> {
        self.gate.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers nobody until [`open`](Self::open).
    fn close(&self) {
        *self.gate.closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.gate.closed.lock().unwrap() = false;
        self.gate.opened.notify_waiters();
    }

    /// Once so many came.
    async fn had(&self, count: usize) -> Vec<Came> {
        loop {
            let someone = self.gate.someone.notified();
            let came = self.came();
            if came.len() >= count {
                return came;
            }
            someone.await;
        }
    }
}

async fn take(State(gate): State<Arc<Gate>>, headers: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    let opened = gate.opened.notified();
    gate.came.lock().unwrap_or_else(PoisonError::into_inner).push(Came { headers, body });
    gate.someone.notify_waiters();
    let closed = *gate.closed.lock().unwrap();
    if closed {
        opened.await;
    }
    StatusCode::ACCEPTED
}

/// A manifest that the publisher of this seed signs.
async fn manifest(component: &[u8], publisher: u64) -> String {
    let runtime = Runtime::new(1).unwrap();
    let loaded = Component::load(&runtime, component, world()).await.unwrap();
    Manifest::signed(&loaded, component, &SigningKey::draw(&SeededEntropy::new(publisher))).to_string()
}
