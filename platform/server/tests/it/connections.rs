//! Connections to the real server, of which there may be so many.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::loopback::Arriving;
use crate::process::{PATIENCE, Place, Server};

/// A connection that is kept open.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn ask(&mut self, path: &str, more: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// The body of a 200.
    fn get(&mut self, path: &str) -> String {
        self.ask(path, "");
        let (mut length, mut line) = (0, String::new());
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    /// How many connections are open, this one among them.
    fn open_connections(&mut self) -> u32 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("wotp_http_connections "));
        line.expect("a gauge").parse().unwrap()
    }

    fn waits(&self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let nothing = stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
        nothing
    }
}

fn serving(place: &Place, connections_max: &str) -> Server {
    Server::start_with(place, &[("WOTP_SERVER__CONNECTIONS_MAX", connections_max)])
}

#[test]
fn where_two_may_be_open_a_third_is_served_once_one_closes() {
    let place = Place::new();
    let server = serving(&place, "2");
    let [mut one, mut two] = [Connection::open(&server), Connection::open(&server)];
    one.get("/health/live");
    two.get("/health/live");
    let mut more: Vec<Connection> = (0..8).map(|_| Connection::open(&server)).collect();
    more.iter_mut().for_each(|connection| connection.ask("/health/live", "connection: close\r\n"));
    for _ in 0..20 {
        assert_eq!((one.open_connections(), two.open_connections()), (2, 2));
        assert!(more.iter().all(Connection::waits));
    }
    drop(one);
    for connection in &mut more {
        let mut reply = String::new();
        connection.stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    }
    // A client sees the end of a connection a moment before the server counts it.
    while two.open_connections() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn a_server_without_room_stops_when_it_is_asked_to() {
    let place = Place::new();
    let server = serving(&place, "1");
    let mut only = Connection::open(&server);
    assert_eq!(only.open_connections(), 1);
    let _waiting = Connection::open(&server);
    assert_eq!(server.stop().code(), Some(0));
}

/// Within much less than the half minute that requests in hand are waited for at the end, and than the
/// quarter of one that a client may take over the head of its next request.
#[tokio::test]
async fn replies_that_wait_are_not_cut_off_and_end_when_the_server_is_to_stop() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let key = tenant["live_key"].as_str().unwrap();
    let mut server = Server::start(&place);
    let id = server.start_verification(key, "+12025550123");
    assert!(server.code_for("+12025550123").is_some());
    let from = async |path: &str| Arriving::from(&server.address, path, key, &[]).await;
    let mut sent = from(&format!("/v1/verifications/{id}")).await;
    while !sent.body().await.unwrap().contains(r#""status":"sent""#) {
        sent = from(&format!("/v1/verifications/{id}")).await;
    }
    let began = Instant::now();
    let mut past_the_head = from(&format!("/v1/verifications/{id}?wait=17")).await;
    let mut waiting = from(&format!("/v1/verifications/{id}?wait=60")).await;
    let mut stream = from("/v1/events/stream").await;
    assert_eq!((waiting.status, stream.status), (200, 200));
    assert_eq!(stream.chunk().await.unwrap().as_deref(), Some("retry: 2000\n\n"));
    // What happened just before is told first.
    let mut said = stream.chunk().await.unwrap();
    while said.as_deref().is_some_and(|chunk| chunk.starts_with("id: evt_")) {
        said = stream.chunk().await.unwrap();
    }
    assert_eq!(said.as_deref(), Some(":\n\n"), "somebody is there");
    assert!(began.elapsed() >= Duration::from_secs(15));
    assert!(past_the_head.body().await.unwrap().contains(r#""status":"pending""#));
    let stopped = Instant::now();
    server.signal(Signal::TERM);
    assert!(waiting.body().await.unwrap().contains(r#""status":"pending""#));
    assert_eq!(stream.chunk().await, Ok(None));
    assert!(server.ended().success());
    assert!(stopped.elapsed() < Duration::from_secs(10));
}
