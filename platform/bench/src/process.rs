//! A server as a child process: started, asked what it costs, and never left behind.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

/// How long a server may take until it says where it listens. Generous: a store of a million
/// verifications may have to be migrated first.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to finish what is in hand once it is asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Clock ticks per second in `/proc/PID/stat`.
///
/// `USER_HZ` is part of the kernel's interface and is 100 on every architecture that Rust's
/// `std` is built for (proc(5), sysconf(3) `_SC_CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

const LISTENING: &str = "listening on http://";

/// Why a server cannot be run or asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program does not start.
    #[error("cannot start {program}")]
    Spawn {
        /// The program that was meant.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It ended, or was silent, before it said where it listens.
    #[error("{program} never said where it listens; its last words:\n{last_words}")]
    NotListening {
        /// The program that was started.
        program: String,
        /// The end of what it wrote to its log.
        last_words: String,
    },
    /// `/proc` does not answer for it (it ended, or this is not Linux).
    #[error("cannot read what process {pid} uses")]
    Usage {
        /// The process asked for.
        pid: u32,
        /// The system's reason.
        source: io::Error,
    },
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident_bytes: u64,
    /// Resident at its highest (`VmHWM`).
    pub peak_bytes: u64,
}

/// A running server. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `command` and waits for its line `listening on http://ADDRESS`.
    ///
    /// What it writes to standard error goes to the file `log`; the rest of its standard output is read
    /// and thrown away, so that it never waits for a full pipe.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`] and [`ProcessError::NotListening`]; no process is left running.
    pub fn spawn(command: Command, log: &Path) -> Result<Self, ProcessError> {
        Self::start(command, log, None)
    }

    /// The same, of a server that prints what we are to read: each line after the first one is told.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`] and [`ProcessError::NotListening`]; no process is left running.
    pub fn spawn_heard(command: Command, log: &Path) -> Result<(Self, UnboundedReceiver<String>), ProcessError> {
        let (lines, heard) = unbounded_channel();
        Ok((Self::start(command, log, Some(lines))?, heard))
    }

    fn start(mut command: Command, log: &Path, lines: Option<UnboundedSender<String>>) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawn = |source| ProcessError::Spawn { program: program.clone(), source };
        let errors = File::create(log).map_err(spawn)?;
        let child = command
            // Held open as long as we live: a server that wants to can end with us.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(spawn)?;
        // From here on a drop cleans up; the address is filled in below.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let output = server.child.stdout.take().expect("standard output was asked for as a pipe");
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || follow(BufReader::new(output), &tell, lines));
        match told.recv_timeout(START_TIMEOUT) {
            Ok(address) => {
                server.address = address;
                Ok(server)
            }
            Err(_) => {
                drop(server);
                Err(ProcessError::NotListening { program, last_words: last_words(log) })
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop (SIGTERM) and waits until it has; kills it when it does not within 15 seconds.
    pub async fn stop(mut self) {
        // The shell's own `kill`: sending a signal has no safe call in `std`.
        let asked = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.pid())])
            .status()
            .is_ok_and(|status| status.success());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while asked && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(mut output: impl BufRead, tell: &mpsc::Sender<SocketAddr>, lines: Option<UnboundedSender<String>>) {
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Some(address) = listening_address(&line) {
            // The receiver is gone only when the start has already been given up.
            let _ = tell.send(address);
            break;
        }
        line.clear();
    }
    if let Some(lines) = lines {
        for line in output.by_ref().lines().map_while(Result::ok) {
            // Who has heard enough lets the rest go.
            if lines.send(line).is_err() {
                break;
            }
        }
    }
    let _ = io::copy(&mut output, &mut io::sink());
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    rest.split(|c: char| c.is_whitespace() || c == '/').next()?.parse().ok()
}

fn last_words(log: &Path) -> String {
    const LINES: usize = 12;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// CPU time that a process and all its threads, ended ones too, have used in user and kernel mode.
/// Resolution: 10 milliseconds.
///
/// # Errors
/// [`ProcessError::Usage`].
pub fn cpu(pid: u32) -> Result<Duration, ProcessError> {
    let stat = read_proc(pid, "stat")?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| unreadable(pid, "stat"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in brackets and may hold spaces and brackets itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // Counted from the third field (state): utime is the 14th, stime the 15th.
    let utime: u64 = fields.nth(11)?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// What a process holds of the machine's memory.
///
/// # Errors
/// [`ProcessError::Usage`].
pub fn memory(pid: u32) -> Result<Memory, ProcessError> {
    let status = read_proc(pid, "status")?;
    let field = |name| kibibytes(&status, name).ok_or_else(|| unreadable(pid, "status"));
    Ok(Memory { resident_bytes: field("VmRSS:")? * 1024, peak_bytes: field("VmHWM:")? * 1024 })
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn read_proc(pid: u32, file: &str) -> Result<String, ProcessError> {
    let path: PathBuf = ["/proc", &pid.to_string(), file].iter().collect();
    let mut text = String::new();
    File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|source| ProcessError::Usage { pid, source })?;
    Ok(text)
}

fn unreadable(pid: u32, file: &str) -> ProcessError {
    let source = io::Error::new(io::ErrorKind::InvalidData, format!("unexpected /proc/PID/{file}"));
    ProcessError::Usage { pid, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn exists(pid: u32) -> bool {
        Path::new("/proc").join(pid.to_string()).exists()
    }

    #[test]
    fn a_server_is_found_by_its_line_and_gone_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "echo hello; echo '2026 INFO listening on http://127.0.0.1:4711/'; exec cat";
        let server = Server::spawn(shell(script), &log).unwrap();
        assert_eq!(server.address().port(), 4711);
        assert!(memory(server.pid()).unwrap().resident_bytes > 0);
        assert!(cpu(server.pid()).is_ok());
        let pid = server.pid();
        drop(server);
        assert!(!exists(pid));
        assert!(matches!(cpu(pid), Err(ProcessError::Usage { .. })));
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let error = Server::spawn(shell("echo no such folder >&2; exit 3"), &log).unwrap_err();
        assert!(error.to_string().contains("no such folder"), "{error}");
    }

    #[tokio::test]
    async fn a_server_asked_to_stop_may_finish_first() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("finished");
        let script = format!(
            "trap 'touch {}; exit 0' TERM; echo listening on http://127.0.0.1:1; while :; do read x; done",
            left.display()
        );
        let server = Server::spawn(shell(&script), &folder.path().join("log")).unwrap();
        server.stop().await;
        assert!(left.exists());
    }

    #[test]
    fn cpu_ticks_are_found_behind_a_name_with_brackets() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 3 0 777";
        assert_eq!(cpu_ticks(stat), Some(168));
        assert_eq!(cpu_ticks("42 nonsense"), None);
    }
}
