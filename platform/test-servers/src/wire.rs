//! The wire between a client and a server, in a test's hands.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A proxy on loopback that can be slow, cut or closed.
pub struct Wire {
    address: String,
    state: Arc<State>,
}

struct State {
    server: Mutex<String>,
    delay_millis: AtomicU64,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
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
    std::thread::spawn(move || pump(from_client, to_server, || 0));
    let state = Arc::clone(state);
    std::thread::spawn(move || pump(from_server, to_client, move || state.delay_millis.load(Ordering::Acquire)));
}

fn pump(mut from: TcpStream, mut to: TcpStream, delay: impl Fn() -> u64) {
    let mut bytes = vec![0; 65_536];
    while let Ok(length) = from.read(&mut bytes) {
        if length == 0 {
            break;
        }
        let delay = delay();
        if delay > 0 {
            // The slowness itself, not a wait for something.
            std::thread::sleep(Duration::from_millis(delay));
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
