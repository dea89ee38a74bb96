//! Redis.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::sync::OnceLock;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, Ended, on_free_port, scratch, until};

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

    /// With further arguments, as in `--maxmemory 1mb`.
    pub fn start_with(more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = scratch("redis");
        let (port, child) = on_free_port(|port| launch(port, &folder, &more));
        Self { port, folder, more, child: Some(child) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process, whose CPU time and memory may be read.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
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
        self.child = Some(launch(self.port, &self.folder, &self.more).expect("its port is still its own"));
    }

    /// Stops its process without ending it, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let child = self.child.as_ref().expect("it runs");
        process::signal(child, if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Runs a command whose answer is short, on a connection of its own, and returns the answer as it
    /// comes over the wire.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.port, words).expect("it answers")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(port: u16, folder: &TempDir, more: &[String]) -> Result<Child, Ended> {
    let mut arguments: Vec<String> = [
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder.path().to_str().expect("a temporary folder has a plain name"),
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(more.iter().cloned());
    run(port, &arguments)
}

/// Starts the program and waits until it answers.
pub(crate) fn run(port: u16, arguments: &[String]) -> Result<Child, Ended> {
    let mut child = process::spawn(Path::new("redis-server"), arguments);
    process::listening(port, &mut child, "redis-server (of the package of that name)")?;
    // Somebody else may have taken the port and answer there.
    let ours = format!("process_id:{}\r\n", child.id());
    until("Redis answers", || match (command(port, &["INFO", "server"]), child.try_wait()) {
        (Ok(info), _) if info.contains(&ours) => Some(Ok(())),
        (_, Ok(Some(status))) => Some(Err(Ended(format!("redis-server ended at once: {status}")))),
        _ => None,
    })?;
    Ok(child)
}

/// Runs a command whose answer is short.
pub(crate) fn command(port: u16, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; 65_536];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
