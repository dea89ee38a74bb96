//! A server as a process of ours.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A process that dies with us, however we die.
pub(crate) fn spawn(program: &PathBuf, arguments: &[String]) -> Child {
    // `setpriv` (util-linux) asks the system to kill the process when its parent is gone, and then
    // becomes the program: there is no other process in between.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot be started by setpriv (of util-linux): {error}", program.display()))
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

/// Waits until somebody listens.
pub(crate) fn listening(port: u16, child: &mut Child, what: &str) {
    until(what, || {
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{what} ended at once: {status}");
        }
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
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
