//! Providers on loopback that take every message.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{any, get, post};
use clap::ValueEnum as _;
use futures_util::stream::repeat_with;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::provider::Provider;

/// A part of an answer without an end.
const PART: &[u8] = &[b'x'; 64 * 1024];

/// All of them, at one address. They end when this is dropped.
pub struct Gateway {
    address: SocketAddr,
    serving: JoinHandle<io::Result<()>>,
}

impl Gateway {
    /// Listens, and answers on this runtime.
    ///
    /// # Errors
    /// The system's own.
    pub async fn start() -> io::Result<Self> {
        Self::taking(&[Duration::ZERO]).await
    }

    /// Listens, and answers on this runtime after these times, by turns.
    ///
    /// # Errors
    /// The system's own.
    pub async fn taking(times: &'static [Duration]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut router = Router::new();
        for provider in Provider::value_variants() {
            let (status, body) = provider.taken();
            let status = StatusCode::from_u16(status).expect("a provider's status is one");
            let turn = Arc::new(AtomicUsize::new(0));
            // Read whole, as any server would.
            let answer = move |_: Bytes| async move {
                let time = times[turn.fetch_add(1, Ordering::Relaxed) % times.len()];
                if !time.is_zero() {
                    sleep(time).await;
                }
                (status, [(CONTENT_TYPE, "application/json")], body)
            };
            router = router.route(&provider.path(), post(answer));
        }
        // For those that misbehave: what never ends, what never begins, and what is like any other page.
        router = router
            .route(
                "/huge",
                get(async || Body::from_stream(repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(PART))))),
            )
            .route("/slow", get(async || std::future::pending::<()>().await))
            .route("/echo", any(async |body: Bytes| body));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, serving })
    }

    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
