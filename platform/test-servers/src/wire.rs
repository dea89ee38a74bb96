//! The wire between a client and a server, in a test's hands.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A proxy on loopback that can be slow, cut or closed, and can lose answers.
pub struct Wire {
    address: String,
    state: Arc<State>,
}

struct State {
    server: Mutex<String>,
    delay_millis: AtomicU64,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    /// Requests with these bytes in them, so many of which will not be answered.
    unanswered: Mutex<(Vec<u8>, usize)>,
}

impl Wire {
    /// A wire to `server`, as in `127.0.0.1:27017`.
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(State {
            server: Mutex::new(server.to_owned()),
            delay_millis: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
            unanswered: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Closed: who comes hears at once that nobody is there.
                if !shared.closed.load(Ordering::Acquire) {
                    connect(client, &shared);
                }
            }
        });
        Self { address, state }
    }

    /// Where clients connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Leads who comes from now on to another server; who is there stays where they are.
    pub fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.state.server.lock().expect("nobody panics"));
    }

    /// What the server says comes so much later.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_millis.store(delay.as_millis().try_into().expect("a short time"), Ordering::Release);
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for stream in self.state.open.lock().expect("nobody panics").drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The next `times` requests with `bytes` in them reach the server, and when it has answered, the
    /// connection is cut instead.
    pub fn swallow_answers(&self, bytes: &[u8], times: usize) {
        *self.state.unanswered.lock().expect("nobody panics") = (bytes.to_vec(), times);
    }

    /// Of these, how many did not come yet.
    pub fn answers_to_swallow(&self) -> usize {
        self.state.unanswered.lock().expect("nobody panics").1
    }

    /// Lets nobody through any more, and cuts who is there.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
        self.cut();
    }

    /// Lets everybody through again.
    pub fn open(&self) {
        self.state.closed.store(false, Ordering::Release);
    }
}

impl State {
    /// Whether the answer to this request is to be kept back.
    fn is_unanswered(&self, request: &[u8]) -> bool {
        let (bytes, times) = &mut *self.unanswered.lock().expect("nobody panics");
        let is = *times > 0 && request.windows(bytes.len()).any(|part| part == bytes);
        *times -= usize::from(is);
        is
    }
}

fn connect(client: TcpStream, state: &Arc<State>) {
    let server = state.server.lock().expect("nobody panics").clone();
    let Ok(server) = TcpStream::connect(server) else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let clone = |stream: &TcpStream| stream.try_clone().expect("a stream can be shared");
    state.open.lock().expect("nobody panics").extend([clone(&client), clone(&server)]);
    let (from_client, to_client) = (clone(&client), client);
    let (from_server, to_server) = (clone(&server), server);
    let silenced = Arc::new(AtomicBool::new(false));
    let (silent, answers, state) = (Arc::clone(&silenced), Arc::clone(state), Arc::clone(state));
    std::thread::spawn(move || {
        pump(from_client, to_server, |request| {
            if state.is_unanswered(request) {
                silenced.store(true, Ordering::Release);
            }
            true
        });
    });
    std::thread::spawn(move || {
        pump(from_server, to_client, |_| {
            let delay = answers.delay_millis.load(Ordering::Acquire);
            if delay > 0 {
                // The slowness itself, not a wait for something.
                std::thread::sleep(Duration::from_millis(delay));
            }
            !silent.load(Ordering::Acquire)
        });
    });
}

/// Passes on what `pass` lets through; what it does not is the end.
fn pump(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(&[u8]) -> bool) {
    let mut bytes = vec![0; 65_536];
    while let Ok(length) = from.read(&mut bytes) {
        if length == 0 || !pass(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
