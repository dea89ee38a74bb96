//! A real endpoint on loopback, which answers what a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Received {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn signatures(&self) -> Vec<&str> {
        self.headers["webhook-signature"].split(' ').collect()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Say {
    /// This status.
    Status(u16),
    /// This status, with a header.
    With(u16, &'static str, &'static str),
    /// Nothing, for as long as the receiver is there.
    Hang,
}

#[derive(Default)]
struct Inner {
    /// Said once each, in this order; then 204.
    script: VecDeque<Say>,
    /// Said when the script is over.
    otherwise: Option<Say>,
    received: Vec<Received>,
}

#[derive(Clone)]
struct Shared {
    inner: Arc<Mutex<Inner>>,
    count: Arc<watch::Sender<usize>>,
}

/// A real endpoint. It goes when it is dropped.
pub struct Receiver {
    pub port: u16,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared { inner: Arc::default(), count: Arc::new(watch::Sender::new(0)) };
        let router = Router::new().fallback(take).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?a=b", self.port)
    }

    /// What it says next, one after another.
    pub fn say(&self, script: impl IntoIterator<Item = Say>) {
        self.shared.inner.lock().unwrap().script.extend(script);
    }

    /// What it says from now on.
    pub fn always(&self, say: Say) {
        let mut inner = self.shared.inner.lock().unwrap();
        inner.script.clear();
        inner.otherwise = Some(say);
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.inner.lock().unwrap().received.clone()
    }

    /// Waits until so many came.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut counting = self.shared.count.subscribe();
        counting.wait_for(|received| *received >= count).await.unwrap();
        self.received()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let received = Received {
        path: uri.to_string(),
        headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let say = {
        let mut inner = shared.inner.lock().unwrap();
        inner.received.push(received);
        inner.script.pop_front().or(inner.otherwise.clone()).unwrap_or(Say::Status(204))
    };
    shared.count.send_modify(|count| *count += 1);
    match say {
        Say::Status(status) => (StatusCode::from_u16(status).unwrap(), "what the endpoint says").into_response(),
        Say::With(status, name, value) => (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response(),
        Say::Hang => std::future::pending().await,
    }
}
