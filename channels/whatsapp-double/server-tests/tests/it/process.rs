//! A server as a process, and whoever calls it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// A version of WhatsApp Web, so that nobody asks which one is current.
const VERSION: &str = "2.3000.1026131876";

/// An installation, where WhatsApp is at some URL.
pub struct Place {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
    /// What its servers said.
    said: Arc<Mutex<String>>,
}

impl Place {
    pub fn new(whatsapp: String) -> Self {
        let variables = vec![("WOTP_CHANNELS__WHATSAPP__URL", whatsapp)];
        Self { folder: TempDir::new().unwrap(), variables, said: Arc::default() }
    }

    /// One that sends by the terminal what WhatsApp does not take.
    pub fn with_console(whatsapp: String) -> Self {
        let mut place = Self::new(whatsapp);
        place.variables.push(("WOTP_CHANNELS__CONSOLE__ENABLED", "true".to_owned()));
        place
    }

    /// One that others may be nodes of.
    pub fn shared(whatsapp: String, store: &str, queue: &str) -> Self {
        let mut place = Self::new(whatsapp);
        place.variables.extend([("WOTP_STORE__URL", store.to_owned()), ("WOTP_QUEUE__URL", queue.to_owned())]);
        place
    }

    /// Where another node of it is.
    pub fn another(&self) -> Self {
        let place =
            Self { folder: TempDir::new().unwrap(), variables: self.variables.clone(), said: Arc::clone(&self.said) };
        std::fs::create_dir(place.data()).unwrap();
        std::fs::copy(self.data().join("master.key"), place.data().join("master.key")).unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wotp-for-the-double"));
        command.args(arguments).arg("--data").arg(self.data()).env("WOTP_LIMITS__PER_IP_PER_SECOND", "0");
        command.env("WOTP_CHANNELS__WHATSAPP__VERSION", VERSION).env("WOTP_LOG__LEVEL", "debug");
        command.env("WOTP_CHANNELS__CONSOLE__ENABLED", "false").envs(self.variables.iter().cloned());
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A key of a new tenant that may do everything.
    pub fn tenant(&self, name: &str) -> String {
        let tenant = self.json(&["tenant", "create", name, "--plan", "pro"]);
        let scopes = ["connections:read", "connections:write", "verifications:read", "verifications:write"];
        let mut arguments = vec!["key", "create", tenant["tenant"].as_str().unwrap(), "--name", "everything"];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", *scope]));
        self.json(&arguments)["secret"].as_str().unwrap().to_owned()
    }

    /// Everything that was said, and all that is stored.
    pub fn traces(&self) -> Vec<u8> {
        let mut traces = self.said.lock().unwrap().clone().into_bytes();
        for entry in std::fs::read_dir(self.data()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                traces.extend(std::fs::read(path).unwrap());
            }
        }
        traces
    }
}

/// `wotp serve`, killed when dropped.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    pub fn start(place: &Place) -> Self {
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Arc::clone(&place.said);
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|read| read > 0) {
                said.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        let line = lines.next().unwrap_or_else(|| panic!("{}", place.said.lock().unwrap())).unwrap();
        let address = line.strip_prefix("listening on http://").expect(&line).to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Ends it at once, with nothing in order.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order: what it kept is given back before it is gone.
    pub fn stop(mut self) {
        self.signal("-TERM");
        self.child.wait().unwrap();
    }

    /// It stands still, and keeps its connections open.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// It goes on as if nothing had been.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// In HTTP/1.0, since replies are not in pieces then.
    fn send(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> BufReader<TcpStream> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        BufReader::new(stream)
    }

    /// One call, and its answer where that has this status.
    pub fn call(&self, method: &str, path: &str, key: &str, body: Option<&Value>, status: u16) -> Value {
        let mut reply = String::new();
        self.send(method, path, key, body).read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert_eq!(head[9..12].parse(), Ok(status), "{method} {path}: {reply}");
        serde_json::from_str(body).unwrap_or_default()
    }

    pub fn post(&self, path: &str, key: &str, body: &Value, status: u16) -> Value {
        self.call("POST", path, key, Some(body), status)
    }

    pub fn get(&self, path: &str, key: &str) -> Value {
        self.call("GET", path, key, None, 200)
    }

    /// A connection, as its stream shows it once `holds` says yes.
    pub fn follow<T>(&self, id: &str, key: &str, what: &str, mut holds: impl FnMut(&Value) -> Option<T>) -> T {
        let mut stream = self.send("GET", &format!("/v1/connections/{id}/stream"), key, None);
        let (mut line, mut last, began) = (String::new(), Value::Null, Instant::now());
        loop {
            line.clear();
            // Something is said every 15 seconds.
            if stream.read_line(&mut line).unwrap_or_default() == 0 || began.elapsed() > PATIENCE {
                panic!("waited in vain: {what}; the last was {last}");
            }
            if let Some(data) = line.strip_prefix("data: ") {
                last = serde_json::from_str(data).unwrap();
                if let Some(held) = holds(&last) {
                    return held;
                }
            }
        }
    }

    /// Waits until a connection stands like this.
    pub fn stands(&self, id: &str, key: &str, status: &str) -> Value {
        self.follow(id, key, status, |seen| (seen["session"]["status"] == status).then(|| seen.clone()))
    }

    /// A connection that shows a QR, and what is in that.
    pub fn shows_qr(&self, key: &str, name: &str) -> (String, String) {
        let made = self.post("/v1/connections", key, &json!({ "channel": "whatsapp", "name": name }), 201);
        let id = made["id"].as_str().unwrap().to_owned();
        let asked = json!({ "accept_risk": true });
        self.post(&format!("/v1/connections/{id}/connect"), key, &asked, 202);
        let qr = self.follow(&id, key, "a QR", |seen| seen["session"]["qr"]["text"].as_str().map(str::to_owned));
        (id, qr)
    }

    /// A verification, once its first delivery has come this far.
    pub fn delivered(&self, id: &str, key: &str, status: &str) -> Value {
        self.verification(id, key, status, |found| found["deliveries"][0]["status"] == status)
    }

    /// A verification, once this holds of it.
    pub fn verification(&self, id: &str, key: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/verifications/{id}");
        let mut found = self.get(&path, key);
        for _ in 0..30 {
            if holds(&found) {
                return found;
            }
            // What changed since it was read last is not waited for.
            found = self.get(&format!("{path}?wait=3"), key);
        }
        panic!("waited in vain: {what}; it is {found}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
impl Drop for Place {
    /// What its servers said is the only trace of what went wrong.
    #[expect(clippy::print_stderr, reason = "of a test that fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.said.lock().unwrap().lines().filter(|line| !line.contains("DEBUG request")) {
                eprintln!("{line}");
            }
        }
    }
}
