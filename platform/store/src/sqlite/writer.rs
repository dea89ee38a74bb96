//! The one thread that writes, and commits for everybody who waits.
//!
//! A commit costs a flush of the disk whatever is in it, so the writer takes all that waits into one
//! transaction: the busier it is, the cheaper a command gets. A command reads and checks first and
//! writes only then, or goes back to a savepoint, so a refused one leaves nothing behind. When one
//! fails in SQLite itself, the group is rolled back and each of its commands runs again alone: none is
//! half applied, and none fails because of its neighbour.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;
use wotp_core::ports::StoreError;

use super::addresses::Addresses;
use super::checkpoint::LogKeeper;
use super::fault::Fault;
use super::usage::UsageCounts;

/// Commands in one commit, at most: what comes later would wait too long for its answer.
const GROUP_MAX: usize = 512;

/// How long the writer lets commands gather before it commits, when fewer than half as many wait as
/// went into the last one: a commit costs some hundred microseconds of processor whatever is in it,
/// and waiting for more costs none. Who waits longer finds all callers waiting already, of 8 or 16.
const GATHER: Duration = Duration::from_micros(250);
/// Commands in the last commit from which there are many. A lone caller never waits.
const MANY: usize = 4;

/// What a command works on.
pub(super) struct Work<'a> {
    pub(super) connection: &'a Connection,
    pub(super) usage: &'a mut UsageCounts,
    pub(super) verification_addresses: &'a mut Addresses,
    pub(super) message_addresses: &'a mut Addresses,
}

/// A command may run more than once; only the last run counts.
trait Command: Send {
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Fault>;
    fn answer(self: Box<Self>, committed: Result<(), Fault>);
}

struct Task<F, A, T> {
    run: F,
    after: A,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, A, T> Command for Task<F, A, T>
where
    F: FnMut(&mut Work<'_>) -> Result<T, Fault> + Send,
    A: FnOnce(&T) + Send,
    T: Send,
{
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Fault> {
        self.outcome = Some((self.run)(work)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Fault>) {
        let Self { run, after, outcome, reply } = *self;
        // What the command borrowed from its caller goes back before the caller wakes.
        drop(run);
        let answer = committed.and_then(|()| outcome.ok_or(Fault::Closed)).map_err(StoreError::from);
        if let Ok(outcome) = &answer {
            after(outcome);
        }
        // A caller that went away does not want to know; the command is done all the same.
        let _ = reply.send(answer);
    }
}

/// The handle to the writing thread. Dropping it ends the thread once it has done what waits.
pub(super) struct Writer {
    commands: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        log: LogKeeper,
        verification_addresses: Addresses,
        message_addresses: Addresses,
    ) -> std::io::Result<Self> {
        let (commands, waiting) = mpsc::channel();
        let usage = UsageCounts::default();
        let ledger = Ledger { connection, usage, verification_addresses, message_addresses, log };
        let thread = std::thread::Builder::new().name("wotp-store".to_owned()).spawn(move || ledger.serve(&waiting))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Runs a command and answers once it is durable.
    pub(super) async fn submit<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Work<'_>) -> Result<T, Fault> + Send + 'static,
    {
        self.submit_then(run, |_| ()).await
    }

    /// Runs a command and answers once it is durable. `after` runs before that, once the command is
    /// committed and in the order of the commits.
    pub(super) async fn submit_then<T, F, A>(&self, run: F, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Work<'_>) -> Result<T, Fault> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Fault::Closed)?;
        commands.send(Box::new(Task { run, after, outcome: None, reply })).map_err(|_| Fault::Closed)?;
        answer.await.map_err(|_| Fault::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It only ends by panic outside of a command, and then there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

struct Ledger {
    connection: Connection,
    usage: UsageCounts,
    verification_addresses: Addresses,
    message_addresses: Addresses,
    log: LogKeeper,
}

impl Ledger {
    fn serve(mut self, waiting: &mpsc::Receiver<Box<dyn Command>>) {
        let mut group: Vec<Box<dyn Command>> = Vec::with_capacity(GROUP_MAX);
        let mut last = 1;
        while let Ok(first) = waiting.recv() {
            group.push(first);
            group.extend(waiting.try_iter().take(GROUP_MAX - 1));
            if last >= MANY && 2 * group.len() < last {
                // Nobody unparks this thread: it sleeps, and senders need not wake it either.
                std::thread::park_timeout(GATHER);
                let room = GROUP_MAX - group.len();
                group.extend(waiting.try_iter().take(room));
            }
            last = group.len();
            self.commit_for_all(&mut group);
            self.log.tend(&self.connection);
        }
    }

    fn commit_for_all(&mut self, group: &mut Vec<Box<dyn Command>>) {
        match self.commit(group) {
            Err(fault) if group.len() > 1 => {
                tracing::debug!(error = %fault, commands = group.len(), "a group failed; its commands run alone");
                for mut command in group.drain(..) {
                    let committed = self.commit(std::slice::from_mut(&mut command));
                    command.answer(committed);
                }
            }
            Err(fault) => {
                if let Some(command) = group.pop() {
                    command.answer(Err(fault));
                }
            }
            Ok(()) => group.drain(..).for_each(|command| command.answer(Ok(()))),
        }
    }

    /// All of the group, or nothing of it.
    fn commit(&mut self, group: &mut [Box<dyn Command>]) -> Result<(), Fault> {
        // What a panic may leave half changed is given up below: the transaction and the counts.
        let done = catch_unwind(AssertUnwindSafe(|| {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let mut work = Work {
                connection: &self.connection,
                usage: &mut self.usage,
                verification_addresses: &mut self.verification_addresses,
                message_addresses: &mut self.message_addresses,
            };
            for command in group {
                command.run(&mut work)?;
            }
            self.usage.flush(&self.connection)?;
            self.verification_addresses.move_some(&self.connection)?;
            self.message_addresses.move_some(&self.connection)?;
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(())
        }))
        .unwrap_or(Err(Fault::Panicked));
        if done.is_ok() {
            self.verification_addresses.committed();
            self.message_addresses.committed();
        } else {
            self.usage.forget();
            self.verification_addresses.rolled_back();
            self.message_addresses.rolled_back();
            // SQLite ends the transaction itself on some errors, a full disk among them.
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "the store could not roll back");
            }
        }
        done
    }
}
