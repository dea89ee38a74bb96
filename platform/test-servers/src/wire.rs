//! The wire between a client and a server, in a test's hands.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longest part of what is said that goes through at once.
const PART_BYTES: usize = 65_536;

/// A proxy on loopback that can be slow, cut or closed, can count what is asked, and can lose answers.
pub struct Wire {
    address: String,
    state: Arc<State>,
}

struct State {
    server: Mutex<String>,
    delay: Mutex<Duration>,
    delay_changed: Condvar,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    /// Requests with these bytes in them, so many of which will not be answered.
    unanswered: Mutex<(Vec<u8>, usize)>,
    /// Requests with these bytes in them, so many of which there were.
    counted: Mutex<(Vec<u8>, usize)>,
}

impl Wire {
    /// A wire to `server`, as in `127.0.0.1:27017`.
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(State {
            server: Mutex::new(server.to_owned()),
            delay: Mutex::default(),
            delay_changed: Condvar::new(),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
            unanswered: Mutex::default(),
            counted: Mutex::default(),
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

    /// What the server says comes so much later, what is under way too: with [`Duration::MAX`] nothing comes
    /// until another delay is set.
    pub fn delay(&self, delay: Duration) {
        *self.state.delay.lock().expect("nobody panics") = delay;
        self.state.delay_changed.notify_all();
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

    /// Counts requests with `bytes` in them from now on.
    pub fn count(&self, bytes: &[u8]) {
        *self.state.counted.lock().expect("nobody panics") = (bytes.to_vec(), 0);
    }

    /// How many of these there were.
    pub fn counted(&self) -> usize {
        self.state.counted.lock().expect("nobody panics").1
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
        let is = *times > 0 && holds(request, bytes);
        *times -= usize::from(is);
        is
    }

    /// Notes a request that is to be counted.
    fn note(&self, request: &[u8]) {
        let (bytes, times) = &mut *self.counted.lock().expect("nobody panics");
        *times += usize::from(!bytes.is_empty() && holds(request, bytes));
    }

    /// Waits until what came at that moment has been under way for long enough.
    fn wait(&self, came: Instant) {
        let mut delay = self.delay.lock().expect("nobody panics");
        while let Some(left) = delay.checked_sub(came.elapsed()).filter(|left| !left.is_zero()) {
            (delay, _) = self.delay_changed.wait_timeout(delay, left).expect("nobody panics");
        }
    }
}

fn holds(request: &[u8], bytes: &[u8]) -> bool {
    request.windows(bytes.len()).any(|part| part == bytes)
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
    std::thread::spawn(move || ask(from_client, to_server, &state, &silenced));
    std::thread::spawn(move || answer(from_server, to_client, &answers, &silent));
}

/// Passes on what a client says.
fn ask(mut from: TcpStream, mut to: TcpStream, state: &State, silenced: &AtomicBool) {
    while let Some(request) = part(&mut from) {
        state.note(&request);
        if state.is_unanswered(&request) {
            silenced.store(true, Ordering::Release);
        }
        if to.write_all(&request).is_err() {
            break;
        }
    }
    end(&from, &to);
}

/// Passes on what a server says, each part as long after it came as the wire is slow: a long way, on which a part
/// does not wait for the one before it.
fn answer(mut from: TcpStream, mut to: TcpStream, state: &State, silent: &AtomicBool) {
    let (under_way, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::scope(|scope| {
        let heard = from.try_clone().expect("a stream can be shared");
        scope.spawn(move || {
            for (came, answer) in arriving {
                state.wait(came);
                if silent.load(Ordering::Acquire) || to.write_all(&answer).is_err() {
                    break;
                }
            }
            end(&heard, &to);
        });
        while let Some(answer) = part(&mut from) {
            if under_way.send((Instant::now(), answer)).is_err() {
                break;
            }
        }
        drop(under_way);
    });
}

/// What is said next; none at the end.
fn part(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; PART_BYTES];
    let length = from.read(&mut bytes).ok().filter(|length| *length > 0)?;
    bytes.truncate(length);
    Some(bytes)
}

fn end(one: &TcpStream, other: &TcpStream) {
    // They may be closed already.
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}
