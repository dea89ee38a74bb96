//! A thread that prints, so that a terminal that nobody reads holds up nobody but itself.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use tokio::sync::oneshot;

/// Lines that may wait: several for each delivery that is usually in hand.
pub(crate) const WAITING_MAX: usize = 1024;

/// Why a line is not printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    #[error("{WAITING_MAX} lines wait for standard output, which is not read fast enough")]
    Full,
    #[error("standard output cannot be written to: {0}")]
    Closed(io::Error),
    #[error("the thread that prints ended before it said whether it had printed")]
    Ended,
}

/// A line, and who waits for it.
struct Waiting {
    line: String,
    printed: oneshot::Sender<io::Result<()>>,
}

/// Prints lines in the order in which it gets them. Its thread ends with it, once it has printed
/// what waits; nobody waits for that, because a pipe that is not read would make it for ever.
#[derive(Debug)]
pub(crate) struct Printer {
    queue: SyncSender<Waiting>,
}

impl Printer {
    pub(crate) fn start() -> io::Result<Self> {
        let (queue, waiting) = sync_channel(WAITING_MAX);
        thread::Builder::new().name("console".to_owned()).spawn(move || run(&waiting))?;
        Ok(Self { queue })
    }

    /// Prints `line`, and is done when the system has taken all of it. Dropped before, the line is
    /// not printed, unless its turn had come.
    pub(crate) async fn print(&self, line: String) -> Result<(), PrintError> {
        let (printed, done) = oneshot::channel();
        self.queue.try_send(Waiting { line, printed }).map_err(|error| match error {
            TrySendError::Full(_) => PrintError::Full,
            TrySendError::Disconnected(_) => PrintError::Ended,
        })?;
        done.await.map_err(|_| PrintError::Ended)?.map_err(PrintError::Closed)
    }
}

fn run(waiting: &Receiver<Waiting>) {
    for Waiting { line, printed } in waiting {
        // Nobody waits for it any more: they have gone another way, with the same code.
        if printed.is_closed() {
            continue;
        }
        // An error here means that they left while it was printed.
        let _ = printed.send(write(&line));
    }
}

/// Not `println!`: that panics when nobody reads any more.
fn write(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}
