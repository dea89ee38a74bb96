//! Redis.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::OnceLock;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, free_port, until};

/// Where to reach the server that all tests of this run share: `TEST_REDIS_URL` if that is set, else
/// one of this process's own.
pub fn redis_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("TEST_REDIS_URL").unwrap_or_else(|_| {
            static OWN: OnceLock<Redis> = OnceLock::new();
            OWN.get_or_init(Redis::start).url()
        })
    })
}

/// One server, which keeps nothing on disk.
pub struct Redis {
    port: u16,
    folder: TempDir,
    more: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// An empty server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments, as in `--cluster-enabled yes`.
    pub fn start_with(more: &[&str]) -> Self {
        let more = more.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = tempfile::Builder::new().prefix("wotp-redis-").tempdir().expect("a temporary folder");
        let mut server = Self { port: free_port(), folder, more, child: None };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let mut arguments: Vec<String> = [
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            self.folder.path().to_str().expect("a temporary folder has a plain name"),
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(self.more.iter().cloned());
        let mut child = process::spawn(&PathBuf::from("redis-server"), &arguments);
        process::listening(self.port, &mut child, "redis-server (of the package of that name)");
        self.child = Some(child);
        until("Redis answers", || (self.command(&["PING"]).contains("PONG")).then_some(()));
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it; what it held is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::kill(&mut child);
        }
    }

    /// Starts it again, empty, on the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Stops its process without ending it, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let child = self.child.as_ref().expect("it runs");
        process::signal(child, if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Runs a command whose answer is short, on a connection of its own, and returns the answer as it
    /// comes over the wire.
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = vec![0; 65_536];
        let length = stream.read(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
