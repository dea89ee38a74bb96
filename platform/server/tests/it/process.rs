//! The real binary as a process, and just enough HTTP to talk to it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for a state that has to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, without what the shell of whoever runs the tests has set.
fn binary() -> Command {
    // Another build of it, such as the one that is shipped, takes the same tests.
    let program = std::env::var_os("TEST_WOTP").unwrap_or_else(|| env!("CARGO_BIN_EXE_wotp").into());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WOTP_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a finished command said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> Value {
        self.succeeded();
        serde_json::from_str(&self.out).unwrap()
    }

    pub fn succeeded(&self) {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
    }

    /// Checks that it failed, and that it said all of this about it.
    pub fn failed_saying(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A data folder to be.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file beside it.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs `wotp` on it, to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, &[])
    }

    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        self.command(arguments).envs(variables.iter().copied()).output().unwrap().into()
    }

    /// `wotp` on it, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.args(arguments).arg("--data").arg(self.data());
        command
    }

    /// A tenant without limits, as `wotp tenant create` prints it.
    pub fn tenant(&self, name: &str) -> Value {
        self.run(&["tenant", "create", name, "--plan", "unlimited", "--json"]).json()
    }
}

/// What the console channels of one or more servers printed.
#[derive(Default)]
struct Printed {
    /// By address; several when one was sent twice.
    codes: HashMap<String, Vec<String>>,
    /// All that went out, a line each.
    sent: Vec<String>,
    /// Servers that may print more.
    printing: usize,
}

/// Where servers print.
#[derive(Clone, Default)]
pub struct Board(Arc<(Mutex<Printed>, Condvar)>);

impl Board {
    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.0.0.lock().unwrap()
    }

    /// The first code printed for an address; none when it does not come in time. Servers that end may
    /// be followed by others.
    pub fn code_for(&self, to: &str) -> Option<String> {
        self.code_while(to, |_| true)
    }

    fn code_while(&self, to: &str, hoping: impl Fn(&Printed) -> bool) -> Option<String> {
        let waiting = |printed: &mut Printed| !printed.codes.contains_key(to) && hoping(printed);
        let (printed, _) = self.0.1.wait_timeout_while(self.printed(), PATIENCE, waiting).unwrap();
        printed.codes.get(to)?.first().cloned()
    }

    /// Whether something goes out to an address, in time, that says this.
    pub fn tells(&self, to: &str, words: &str) -> bool {
        let to = format!("to={to} ");
        let is_it = |line: &String| line.contains(&to) && line.contains(words);
        let missing = |printed: &mut Printed| !printed.sent.iter().any(is_it);
        let (printed, _) = self.0.1.wait_timeout_while(self.printed(), PATIENCE, missing).unwrap();
        printed.sent.iter().any(is_it)
    }

    /// Every code so far, by address.
    pub fn codes(&self) -> HashMap<String, Vec<String>> {
        self.printed().codes.clone()
    }

    /// Waits until no server prints any more.
    fn closed(&self) {
        drop(self.0.1.wait_while(self.printed(), |printed| printed.printing > 0).unwrap());
    }
}

/// What a server answered: status, head and body.
pub struct Exchange {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

/// One request on a connection of its own; none when no whole answer came.
pub fn exchange(host: &str, method: &str, path: &str, head: &str, body: &Value) -> Option<Exchange> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{head}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    Some(Exchange { status: head.get(9..12)?.parse().ok()?, head: head.to_lowercase(), body })
}

/// What a page without a lock says.
pub fn text(host: &str, path: &str) -> String {
    let page = exchange(host, "GET", path, "", &Value::Null).expect("an answer");
    page.body.as_str().expect("a text").to_owned()
}

/// `wotp serve`, killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    board: Board,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(place: &Place) -> Self {
        Self::start_with(place, &[])
    }

    pub fn start_with(place: &Place, variables: &[(&str, &str)]) -> Self {
        Self::start_on(place, &[], variables, Board::default())
    }

    /// With more arguments, and on a board that other servers print on too.
    pub fn start_on(place: &Place, arguments: &[&str], variables: &[(&str, &str)], board: Board) -> Self {
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(place.data()).args(arguments);
        command.env("WOTP_LOG__LEVEL", "warn").env("WOTP_LIMITS__PER_IP_PER_SECOND", "0");
        let mut child = command.envs(variables.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("it says where it listens").unwrap();
        let address = line.strip_prefix("listening on http://").expect(&line).to_owned();
        board.printed().printing += 1;
        let shared = board.clone();
        std::thread::spawn(move || listen(lines, &shared));
        Self { child, address, board }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its channels print.
    pub fn board(&self) -> &Board {
        &self.board
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Stops it as an operator does.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Every code that it printed until it ended.
    pub fn codes(mut self) -> HashMap<String, Vec<String>> {
        self.ended();
        self.board.closed();
        self.board.codes()
    }

    /// The first code printed for an address; none when the server ended before.
    pub fn code_for(&self, to: &str) -> Option<String> {
        self.board.code_while(to, |printed| printed.printing > 0)
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
        self.try_request(method, path, key, body).expect("an answer")
    }

    /// As [`request`](Self::request); none when the server did not answer whole.
    pub fn try_request(&self, method: &str, path: &str, key: &str, body: Value) -> Option<(u16, Value)> {
        let key = format!("authorization: Bearer {key}\r\n");
        let exchange = exchange(&self.address, method, path, &key, &body)?;
        Some((exchange.status, exchange.body))
    }

    /// Starts a verification and says its id.
    pub fn start_verification(&self, key: &str, to: &str) -> String {
        let (status, reply) = self.request("POST", "/v1/verifications", key, json!({ "to": to }));
        assert_eq!(status, 201, "{reply}");
        reply["id"].as_str().unwrap().to_owned()
    }

    pub fn verification_status(&self, key: &str, id: &str) -> u16 {
        self.request("GET", &format!("/v1/verifications/{id}"), key, Value::Null).0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Notes what a server prints, so that its pipe never fills up.
fn listen(lines: Lines<BufReader<ChildStdout>>, board: &Board) {
    for line in lines.map_while(Result::ok) {
        let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        if let (Some(to), Some(code)) = (word("to="), word("code=")) {
            board.printed().codes.entry(to).or_default().push(code);
        }
        board.printed().sent.push(line);
        board.0.1.notify_all();
    }
    board.printed().printing -= 1;
    board.0.1.notify_all();
}
