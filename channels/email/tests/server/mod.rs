//! Starts `smtp_server.py` and listens to what it says.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// How long the server may take to say something: far longer than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mail server of its own for one test.
pub struct Server {
    child: Child,
    orders: Mutex<ChildStdin>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    marks: Mutex<u32>,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

#[derive(Default)]
struct Heard {
    events: Vec<Value>,
    ended: bool,
}

impl Server {
    /// Starts one; the arguments are the script's.
    pub fn start(arguments: &[&str]) -> Self {
        let script =
            PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it")).join("tests/smtp_server.py");
        let mut child = Command::new(python())
            // aiosmtpd warns of a login without TLS, which some tests want.
            .args(["-W", "ignore::UserWarning"])
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python for tests starts");
        let heard: Arc<(Mutex<Heard>, Condvar)> = Arc::default();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn({
            let heard = Arc::clone(&heard);
            move || {
                for line in lines.map_while(Result::ok) {
                    let event = serde_json::from_str(&line).expect("the server says JSON");
                    heard.0.lock().unwrap().events.push(event);
                    heard.1.notify_all();
                }
                heard.0.lock().unwrap().ended = true;
                heard.1.notify_all();
            }
        });
        let orders = Mutex::new(child.stdin.take().unwrap());
        let mut server = Self { child, orders, heard, marks: Mutex::new(0), port: 0 };
        let listening = server.wait_for("listening", "port", |_| true);
        server.port = u16::try_from(listening["port"].as_u64().unwrap()).unwrap();
        server
    }

    /// Everything it has accepted so far, including what it had accepted before this was asked.
    pub fn messages(&self) -> Vec<Value> {
        self.events("message")
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        self.events("connected").len()
    }

    /// Closes every connection, as servers do with idle ones.
    pub fn hang_up(&self) {
        self.order("hang-up");
        self.wait_for("mark", "word", |word| word == "hung-up");
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let mark = {
            let mut marks = self.marks.lock().unwrap();
            *marks += 1;
            marks.to_string()
        };
        self.order(&format!("mark {mark}"));
        self.wait_for("mark", "word", |word| word == mark.as_str());
        self.heard.0.lock().unwrap().events.iter().filter(|event| event["event"] == name).cloned().collect()
    }

    fn order(&self, line: &str) {
        writeln!(self.orders.lock().unwrap(), "{line}").expect("the server listens to its orders");
    }

    fn wait_for(&self, name: &str, field: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let (heard, changed) = &*self.heard;
        let find =
            |heard: &Heard| heard.events.iter().find(|event| event["event"] == name && holds(&event[field])).cloned();
        let unheard = |heard: &mut Heard| find(heard).is_none() && !heard.ended;
        let (heard, _) = changed.wait_timeout_while(heard.lock().unwrap(), PATIENCE, unheard).unwrap();
        find(&heard)
            .unwrap_or_else(|| panic!("the mail server for tests never said {name}; it said {:?}", heard.events))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python that has aiosmtpd. `make test` makes it and names it; a bare `cargo test` finds it
/// where `make test` put it.
fn python() -> PathBuf {
    let python = std::env::var_os("TEST_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(home);
        cache.join("wotp/venv/bin/python")
    });
    assert!(
        python.exists(),
        "the tests need a Python with aiosmtpd, and there is none at {}: run `make test` once, which makes it, \
         or set TEST_PYTHON",
        python.display()
    );
    python
}

/// A private authority and a certificate of its for `127.0.0.1`, made by `openssl`.
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes them.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("leaf.cnf"),
            "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
        )
        .unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for command in [
            format!("req -x509 {key} -days 2 -subj /CN=Private-Authority -keyout root.key -out root.pem"),
            format!("req {key} -subj /CN=mail -keyout leaf.key -out leaf.csr"),
            "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -set_serial 2 -days 2 -extfile leaf.cnf -out leaf.pem"
                .to_owned(),
        ] {
            let run = Command::new("openssl").args(command.split(' ')).current_dir(folder.path()).output();
            let run = run.expect("the tests need `openssl`; `make test` installs it");
            assert!(run.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&run.stderr));
        }
        Self { folder }
    }

    /// The authority's certificate, in PEM.
    pub fn root(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("root.pem")).unwrap()
    }

    /// A server that bears the certificate, with `more` arguments.
    pub fn serve(&self, tls: &str, more: &[&str]) -> Server {
        let path = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (path("leaf.pem"), path("leaf.key"));
        let arguments = ["--tls", tls, "--certificate", &certificate, "--key", &key];
        Server::start(&[&arguments, more].concat())
    }
}
