//! The real binary as a process, and just enough HTTP to talk to it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// How long a test waits for a state that has to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `wotp` with these arguments, to its end.
pub fn wotp(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wotp")).args(arguments).output().expect("wotp runs")
}

/// A tenant's key.
pub struct Tenant {
    pub live_key: String,
}

/// Creates a tenant with `wotp tenant create`.
pub fn create_tenant(data: &Path, plan: &str) -> Tenant {
    let data = data.to_str().expect("a temporary folder has a UTF-8 name");
    let output = wotp(&["tenant", "create", "Acme", "--plan", plan, "--data", data, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tenant: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Tenant { live_key: tenant["live_key"].as_str().expect("a key").to_owned() }
}

/// The codes that the console channel printed, by address; several when one was sent twice.
#[derive(Default)]
struct Printed {
    codes: Mutex<(HashMap<String, Vec<String>>, bool)>,
    changed: Condvar,
}

/// `wotp serve`, killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    printed: Arc<Printed>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub fn start_with(data: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wotp"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("WOTP_LIMITS__PER_IP_PER_SECOND", "0")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("wotp starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").expect("stdout is text");
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        let printed = Arc::new(Printed::default());
        let reader = Arc::clone(&printed);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
                if let (Some(to), Some(code)) = (word("to="), word("code=")) {
                    reader.codes.lock().expect("no reader panicked").0.entry(to).or_default().push(code);
                    reader.changed.notify_all();
                }
            }
            reader.codes.lock().expect("no reader panicked").1 = true;
            reader.changed.notify_all();
        });
        Self { child, address, printed }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
        // All that it printed is read once its end of the pipe is closed.
        let mut codes = self.printed.codes.lock().expect("no reader panicked");
        while !codes.1 {
            codes = self.printed.changed.wait(codes).expect("no reader panicked");
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every code printed so far.
    pub fn codes(&self) -> HashMap<String, Vec<String>> {
        self.printed.codes.lock().expect("no reader panicked").0.clone()
    }

    /// The first code printed for an address; none when the server ended before.
    pub fn code_for(&self, to: &str) -> Option<String> {
        let codes = self.printed.codes.lock().expect("no reader panicked");
        let waiting = |state: &mut (HashMap<String, Vec<String>>, bool)| !state.0.contains_key(to) && !state.1;
        let (codes, _) = self.printed.changed.wait_timeout_while(codes, PATIENCE, waiting).expect("no reader panicked");
        codes.0.get(to)?.first().cloned()
    }

    /// One request; none when the server did not answer whole.
    pub fn request(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        request(&self.address, key, method, path, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
pub fn request(address: &str, key: &str, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok()?;
    let reply = String::from_utf8(reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}
