//! A mail server that takes mail, or takes a connection and says nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A server for mail on loopback.
pub struct Relay {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    holding: Mutex<bool>,
    changed: Condvar,
    held: AtomicUsize,
    messages: AtomicUsize,
}

impl Relay {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(client));
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it says nothing to whoever comes.
    pub fn hold(&self) {
        *self.state.holding.lock().unwrap() = true;
    }

    /// It speaks again, to those who wait too.
    pub fn let_through(&self) {
        *self.state.holding.lock().unwrap() = false;
        self.state.changed.notify_all();
    }

    /// How many came while it said nothing.
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }

    /// Messages that it took.
    pub fn messages(&self) -> usize {
        self.state.messages.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) {
        let mut holding = self.holding.lock().unwrap();
        if *holding {
            self.held.fetch_add(1, Ordering::SeqCst);
        }
        while *holding {
            holding = self.changed.wait(holding).unwrap();
        }
        drop(holding);
        // Whoever hung up meanwhile does not hear it.
        let _ = self.talk(&mut client);
    }

    fn talk(&self, client: &mut TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        client.write_all(b"220 relay.example\r\n")?;
        while let Some(line) = lines.next() {
            match line?.get(..4).unwrap_or_default().to_uppercase().as_str() {
                "DATA" => {
                    client.write_all(b"354 go on\r\n")?;
                    for line in lines.by_ref() {
                        if line? == "." {
                            break;
                        }
                    }
                    self.messages.fetch_add(1, Ordering::SeqCst);
                    client.write_all(b"250 taken\r\n")?;
                }
                "QUIT" => return client.write_all(b"221 bye\r\n"),
                _ => client.write_all(b"250 relay.example\r\n")?,
            }
        }
        Ok(())
    }
}
