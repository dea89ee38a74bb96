//! The connection to WhatsApp.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_websockets::ClientBuilder;
use whatsapp_rust::anyhow::{self, Context as _, bail};
use whatsapp_rust::async_channel::Receiver;
use whatsapp_rust::transport::{
    Connector, Transport, TransportEvent, TransportFactory, default_tls_connector, from_websocket,
};

use crate::entrance::{Gate, Pass};
use crate::right::Right;

/// A login that takes longer holds up nobody else.
const LOGIN_MAX: Duration = Duration::from_secs(10);
/// How long the other side may take to hear that a connection is broken.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Dials for one session, as often as the client asks for it.
pub(crate) struct Dialer {
    url: String,
    gate: Arc<Gate>,
    right: Arc<Right>,
    /// Told when the connection that there was is gone: the client itself says nothing where it gave one up that had
    /// died without a word.
    gone: Gone,
    /// The connection at hand.
    line: Mutex<Weak<Line>>,
}

/// Told by which dialer.
pub(crate) type Gone = Box<dyn Fn(&Dialer) + Send + Sync>;

impl Dialer {
    pub(crate) fn new(url: String, gate: Arc<Gate>, right: Arc<Right>, gone: Gone) -> Self {
        Self { url, gate, right, gone, line: Mutex::new(Weak::new()) }
    }

    fn line(&self) -> Option<Arc<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The session is in, or shows what links a phone: another may come.
    pub(crate) fn arrived(&self) {
        if let Some(line) = self.line() {
            line.leave_the_entrance();
        }
    }

    /// Breaks the connection at hand, whatever is under way. Of one over which nothing goes any more the other side is not
    /// told: that would be waited for until the system gives it up.
    pub(crate) async fn cut(&self) {
        if let Some(line) = self.line() {
            let _ = timeout(TOLD_WITHIN, line.disconnect()).await;
        }
    }

    async fn dial(&self) -> anyhow::Result<(Arc<dyn Transport>, Receiver<TransportEvent>)> {
        let uri: http::Uri = self.url.parse().context("no address to connect to")?;
        let host = uri.host().context("an address without a host")?;
        let (connector, port) = match uri.scheme_str() {
            Some("wss") => (default_tls_connector(), uri.port_u16().unwrap_or(443)),
            Some("ws") => (Connector::Plain, uri.port_u16().unwrap_or(80)),
            _ => bail!("an address that is neither wss nor ws"),
        };
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, port)).await?;
        // Frames are short, and answers are waited for: to gather them can cost 40 ms.
        stream.set_nodelay(true)?;
        let stream = connector.wrap(name, stream).await?;
        let origin = http::HeaderValue::from_static(wacore::net::WHATSAPP_WEB_ORIGIN);
        let builder = ClientBuilder::from_uri(uri.clone()).add_header(http::header::ORIGIN, origin)?;
        let (websocket, _) = builder.connect_on(stream).await?;
        Ok(from_websocket(websocket))
    }
}

#[async_trait]
impl TransportFactory for Dialer {
    /// In its turn, and only while the session is this process's. The client bounds the time.
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, Receiver<TransportEvent>)> {
        (self.gone)(self);
        let pass = self.gate.pass().await;
        if !self.right.holds() {
            bail!("the session is another's");
        }
        let (transport, events) = self.dial().await?;
        let line = Arc::new(Line { transport, right: Arc::clone(&self.right), pass: Mutex::new(Some(pass)) });
        let known = Arc::downgrade(&line);
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Weak::clone(&known);
        tokio::spawn(async move {
            sleep(LOGIN_MAX).await;
            if let Some(line) = known.upgrade() {
                line.leave_the_entrance();
            }
        });
        Ok((line, events))
    }
}

/// One connection.
struct Line {
    transport: Arc<dyn Transport>,
    right: Arc<Right>,
    pass: Mutex<Option<Pass>>,
}

impl Line {
    fn leave_the_entrance(&self) {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[async_trait]
impl Transport for Line {
    async fn send(&self, data: Bytes) -> anyhow::Result<()> {
        if !self.right.holds() {
            bail!("the session is another's");
        }
        self.transport.send(data).await
    }

    async fn disconnect(&self) {
        self.leave_the_entrance();
        self.transport.disconnect().await;
    }

    fn resource_report(&self) -> Option<wacore::stats::TransportResourceReport> {
        self.transport.resource_report()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wotp_core::domain::Timestamp;
    use wotp_core::domain::connection_lease::ConnectionLease;
    use wotp_core::domain::id::{ConnectionId, NodeId, TenantId};
    use wotp_core::ports::TenantAccount;
    use wotp_core::testing::ManualClock;

    use super::*;

    /// A dialer that reaches nobody, and how often it said that a connection is gone.
    fn dialer() -> (Arc<Right>, Dialer, Arc<AtomicUsize>) {
        let of = TenantAccount { tenant: TenantId::from_bytes([1; 16]), connection: ConnectionId::from_bytes([1; 16]) };
        let lease = ConnectionLease { of, holder: NodeId::from_bytes([1; 16]), fence: 1, until: Timestamp::MAX };
        let right = Right::new(Arc::new(ManualClock::at("2026-03-01T12:00:00Z")), lease, Timestamp::MAX);
        let gone = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&gone);
        let gate = Arc::new(Gate::new(crate::settings::Entrance::default()));
        let dialer = Dialer::new(
            "wss:no host".to_owned(),
            gate,
            Arc::clone(&right),
            Box::new(move |_| _ = tell.fetch_add(1, Ordering::SeqCst)),
        );
        (right, dialer, gone)
    }

    #[tokio::test]
    async fn whoever_dials_anew_has_no_connection_any_more_whatever_comes_of_it() {
        let (right, dialer, gone) = dialer();
        assert!(dialer.create_transport().await.is_err());
        assert_eq!(gone.load(Ordering::SeqCst), 1);
        right.end();
        assert!(dialer.create_transport().await.is_err());
        assert_eq!(gone.load(Ordering::SeqCst), 2);
    }
}
