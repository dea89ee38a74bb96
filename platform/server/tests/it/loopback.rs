//! The API on a real connection, for what a body that comes later does to one.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::Service as _;

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listening API. Dropped, it accepts no more.
pub struct Loopback {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Loopback {
    pub async fn serve(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut make = router.into_make_service_with_connect_info::<SocketAddr>();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let Ok(service) = make.call(peer).await;
                tokio::spawn(async move {
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new());
                    // A client that hangs up is what some tests are about.
                    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
                });
            }
        });
        Self { address, accepting }
    }

    /// Where it listens: an address and a port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Sends a request, and reads the head of its reply.
    pub async fn get(&self, path: &str, key: &str, headers: &[(&str, &str)]) -> Arriving {
        Arriving::from(&self.address.to_string(), path, key, headers).await
    }
}

impl Arriving {
    /// Sends a request to whoever listens there, and reads the head of its reply.
    pub async fn from(address: &str, path: &str, key: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.expect("it is read");
        let mut reply = Self { lines: BufReader::new(stream), status: 0, headers: Vec::new() };
        let status = reply.line().await.expect("there is a reply");
        reply.status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        loop {
            let line = reply.line().await.expect("the head is whole");
            let Some((name, value)) = line.split_once(": ") else { return reply };
            reply.headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A reply whose body is on its way. Dropped, its client hangs up.
pub struct Arriving {
    lines: BufReader<TcpStream>,
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Arriving {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(held, _)| held.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The next line of what arrives, without its end; none once the connection is closed.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("it comes in time").ok()?;
        if read == 0 {
            return None;
        }
        Some(String::from_utf8(line).expect("replies are UTF-8").trim_end().to_owned())
    }

    /// The next chunk of the body; none at its end. An error when it was cut off.
    pub async fn chunk(&mut self) -> Result<Option<String>, &'static str> {
        let size = self.line().await.ok_or("cut off before a chunk")?;
        let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
        let mut chunk = vec![0; size + 2];
        let read = tokio::io::AsyncReadExt::read_exact(&mut self.lines, &mut chunk);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("it comes in time");
        read.map_err(|_| "cut off within a chunk")?;
        chunk.truncate(size);
        Ok((size > 0).then(|| String::from_utf8(chunk).expect("replies are UTF-8")))
    }

    /// All of the body.
    pub async fn body(&mut self) -> Result<String, &'static str> {
        let mut body = String::new();
        if let Ok(length) = self.header("content-length").parse() {
            let mut whole = vec![0; length];
            let read = tokio::io::AsyncReadExt::read_exact(&mut self.lines, &mut whole);
            let read = tokio::time::timeout(PATIENCE, read).await.expect("it comes in time");
            read.map_err(|_| "cut off")?;
            return Ok(String::from_utf8(whole).expect("replies are UTF-8"));
        }
        while let Some(chunk) = self.chunk().await? {
            body.push_str(&chunk);
        }
        Ok(body)
    }
}
