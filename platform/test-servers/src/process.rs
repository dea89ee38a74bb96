//! A server as a process of ours.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Once, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where ports are taken from: below those that the system gives to connections that go out, so that
/// none of those takes a port between our look at it and the server's.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Attempts to find a port that is still free when the server takes it.
const ATTEMPTS: usize = 10;
/// What all our folders begin with.
const PREFIX: &str = "wotp-test-";
/// In memory where there is room: what is tested is what a server promises, not the disk.
const MEMORY: &str = "/dev/shm";
/// Room in memory below which the disk it is, in bytes.
const ROOM_MIN: u64 = 1 << 30;

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in many processes at once: each begins elsewhere.
    let begin = std::process::id().wrapping_mul(31) % u32::from(PORTS.end - PORTS.start);
    let begin = u16::try_from(begin).expect("it is less than there are ports");
    (0..PORTS.end - PORTS.start)
        .map(|_| {
            let offset = u32::from(begin) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            PORTS.start + u16::try_from(offset % u32::from(PORTS.end - PORTS.start)).expect("it is a port")
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Starts what needs a port, on another port if somebody took that meanwhile.
pub(crate) fn on_free_port<T>(mut start: impl FnMut(u16) -> Result<T, Ended>) -> (u16, T) {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let port = free_port();
        match start(port) {
            Ok(started) => return (port, started),
            Err(ended) => last = Some(ended),
        }
    }
    panic!("{}", last.expect("it was tried").0);
}

/// A server that ended instead of listening.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) String);

/// A process that dies with us, however we die.
pub(crate) fn spawn(program: &Path, arguments: &[String]) -> Child {
    // `setpriv` (util-linux) asks the system to kill the process when its parent is gone, and then
    // becomes the program: there is no other process in between.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    spawn_for_good(command)
        .unwrap_or_else(|error| panic!("{} cannot be started by setpriv (of util-linux): {error}", program.display()))
}

/// The parent that the system watches is a thread: a test's own would end with the test, and servers
/// that outlive it would die.
fn spawn_for_good(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                // Whoever ordered waits.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    orders.send((command, answer)).expect("the thread never ends");
    answered.recv().expect("it answers")
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is ours");
}

/// Kills it and waits until it is gone.
pub(crate) fn kill(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits until it listens.
///
/// # Errors
/// [`Ended`] when it ends instead, as it does when the port is not free.
pub(crate) fn listening(port: u16, child: &mut Child, what: &str) -> Result<(), Ended> {
    until(what, || {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(Err(Ended(format!("{what} ended at once: {status}"))));
        }
        TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(Ok(()))
    })
}

/// Looks again and again until `look` finds something; fails after a minute.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it took too long: {what}");
        // Not a wait for time to pass: only so that looking does not take the processor.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder for a server, gone when it is dropped; one whose process died is removed by the next that
/// asks for a folder.
pub(crate) fn scratch(what: &str) -> TempDir {
    let room = statvfs(MEMORY).map_or(0, |room| room.f_bavail * room.f_frsize);
    let place = if room < ROOM_MIN { std::env::temp_dir() } else { PathBuf::from(MEMORY) };
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        for place in [Path::new(MEMORY), &std::env::temp_dir()] {
            remove_left_over(place);
        }
    });
    let prefix = format!("{PREFIX}{}-{what}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(place).expect("a temporary folder")
}

/// Removes what processes left that were killed, or that held their servers to the end.
fn remove_left_over(place: &Path) {
    // Nothing there, nothing to remove.
    let Ok(found) = std::fs::read_dir(place) else { return };
    for folder in found.flatten() {
        let name = folder.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Another process may be at it as well.
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_server_outlives_the_thread_that_asked_for_it() {
        let start = || (fs::read_link("/proc/thread-self").unwrap(), crate::Redis::start());
        let (thread, server) = std::thread::spawn(start).join().unwrap();
        let thread = Path::new("/proc").join(thread);
        // Whom the system kills then is killed before the thread is gone from here, and answers no more.
        until("the thread is gone", || (!thread.exists()).then_some(()));
        assert!(server.command(&["PING"]).contains("PONG"));
    }

    #[test]
    fn a_port_that_somebody_took_is_not_insisted_on() {
        let mut ports = Vec::new();
        let (port, ()) = on_free_port(|port| {
            ports.push(port);
            if ports.len() < 3 { Err(Ended("taken".to_owned())) } else { Ok(()) }
        });
        assert_eq!(port, ports[2]);
        assert!(ports[0] != ports[1] && ports[1] != ports[2], "{ports:?}");
    }

    #[test]
    fn what_dead_processes_left_is_removed_and_nothing_else() {
        let place = TempDir::new().unwrap();
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let ours = format!("{PREFIX}{}-redis-x", std::process::id());
        let left = format!("{PREFIX}{}-redis-x", dead.id());
        for name in [ours.as_str(), left.as_str(), "wotp-test-notes", "else"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        remove_left_over(place.path());
        let mut names: Vec<String> = fs::read_dir(place.path())
            .unwrap()
            .map(|folder| folder.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["else", &ours, "wotp-test-notes"]);
    }
}
