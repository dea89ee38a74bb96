//! A connection to Redis that is there again when the server is: a single server, one that Sentinels
//! watch over, or a Cluster.
//!
//! Nothing that must not be lost is in Redis. So a call that cannot be made fails soon, rather than
//! wait, and while the server is away all fail at once: connections are made in the background.

mod source;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, ServerErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use source::{Line, Source};

/// Longest that one call may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Longest that making a connection to one server may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Longest that a call waits for a connection that is being made.
const PATIENCE: Duration = Duration::from_millis(250);
/// Pause after an attempt to connect that failed.
const REST: Duration = Duration::from_millis(250);
/// What all names of keys begin with when nobody says another.
const PREFIX: &str = "wotp";

/// Why Redis cannot be used. Never shows the URL, which may hold a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedisError {
    /// It is no URL of Redis.
    #[error(
        "queue.url is no Redis URL ({0}): write redis://host:6379, rediss:// for TLS, \
         redis+sentinel://host1:26379,host2:26379/NAME, or redis+cluster://host1:6379,host2:6379"
    )]
    Url(String),
    /// It does not answer.
    #[error("Redis does not answer: {0}")]
    Unavailable(String),
}

fn unavailable(error: &redis::RedisError) -> RedisError {
    // Never the whole error: it may tell what was sent.
    let said = match error.kind() {
        ErrorKind::Io => error.to_string(),
        kind => format!("{kind:?} {}", error.code().unwrap_or("")).trim_end().to_owned(),
    };
    RedisError::Unavailable(said)
}

/// The connection that clones share.
#[derive(Default)]
struct Link {
    state: watch::Sender<State>,
    attempt: Mutex<Option<Attempt>>,
}

/// How the connection is.
#[derive(Default)]
struct State {
    line: Option<Line>,
    /// Counts connections, so that whoever finds one broken takes down no newer one.
    number: u64,
    /// When and why the last attempt to connect failed; none once one succeeded.
    failed: Option<(Instant, RedisError)>,
}

/// An attempt to connect.
struct Attempt {
    begun: Instant,
    task: JoinHandle<()>,
}

/// A server, and one connection to it that all clones share.
#[derive(Clone)]
pub struct Redis {
    source: Arc<Source>,
    link: Arc<Link>,
    prefix: Arc<str>,
    answer_within: Duration,
    patience: Duration,
}

impl Redis {
    /// A server at `url`; nothing is sent yet. `prefix` begins the names of all keys, or `wotp`.
    ///
    /// # Errors
    /// [`RedisError::Url`].
    pub fn at(url: &str, prefix: Option<&str>) -> Result<Self, RedisError> {
        let prefix = prefix.unwrap_or(PREFIX);
        Ok(Self {
            source: Arc::new(Source::of(url)?),
            link: Arc::default(),
            // In braces: in a Cluster all keys lie together, since one command may name several.
            prefix: format!("{{{prefix}}}").into(),
            answer_within: ANSWER_WITHIN,
            patience: PATIENCE,
        })
    }

    /// The same server by a connection of its own, for work in the background: a call may take
    /// `answer_within`, and waits for a connection.
    pub(crate) fn apart(&self, answer_within: Duration) -> Self {
        Self { link: Arc::default(), answer_within, patience: self.source.patience(), ..self.clone() }
    }

    /// The name of a key.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Asks whether it answers.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`].
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.run(&redis::cmd("PING")).await
    }

    /// Runs one command.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        self.with(async |line| command.query_async(line).await).await
    }

    /// Runs several commands, sent together.
    pub(crate) async fn run_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        self.with(async |line| commands.query_async(line).await).await
    }

    /// Runs a script.
    pub(crate) async fn run_script<T: FromRedisValue>(
        &self,
        script: &redis::ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        self.with(async |line| script.invoke_async(line).await).await
    }

    async fn with<T>(&self, act: impl AsyncFnOnce(&mut Line) -> redis::RedisResult<T>) -> Result<T, RedisError> {
        let (mut line, number) = self.line().await?;
        match act(&mut line).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if is_about_the_line(&error) {
                    self.link.state.send_modify(|state| {
                        if state.number == number {
                            state.line = None;
                        }
                    });
                }
                Err(unavailable(&error))
            }
        }
    }

    /// The connection. While one is made, it is waited for a little; after a failure it is not, until
    /// another attempt succeeds.
    async fn line(&self) -> Result<(Line, u64), RedisError> {
        let found = |state: &State| state.line.as_ref().map(|line| (line.clone(), state.number));
        if let Some(line) = found(&self.link.state.borrow()) {
            return Ok(line);
        }
        let end = self.attempt() + self.patience;
        let mut changes = self.link.state.subscribe();
        let settled = changes.wait_for(|state| state.line.is_some() || state.failed.is_some());
        let yet = || RedisError::Unavailable("no connection yet".to_owned());
        // We hold the sender: it cannot be gone.
        let Ok(Ok(state)) = tokio::time::timeout_at(end, settled).await else { return Err(yet()) };
        found(&state).ok_or_else(|| state.failed.as_ref().map_or_else(yet, |(_, error)| error.clone()))
    }

    /// Begins to connect, unless that is being done or failed a moment ago. Returns when it was begun.
    fn attempt(&self) -> Instant {
        let mut attempt = self.link.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends by itself; one that is gone without (its runtime ended) keeps nobody from another.
        let under_way = attempt.as_ref().filter(|attempt| !attempt.task.is_finished());
        let begun = under_way.map(|attempt| attempt.begun);
        let idle = {
            let state = self.link.state.borrow();
            state.line.is_some() || state.failed.as_ref().is_some_and(|(at, _)| at.elapsed() < REST)
        };
        let now = Instant::now();
        if idle || begun.is_some() {
            return begun.unwrap_or(now);
        }
        let (source, link, answer_within) = (Arc::clone(&self.source), Arc::clone(&self.link), self.answer_within);
        let task = tokio::spawn(async move {
            let made = match tokio::time::timeout(source.patience(), source.connect(answer_within)).await {
                Ok(made) => made.map_err(|error| unavailable(&error)),
                Err(_) => Err(RedisError::Unavailable("no connection in time".to_owned())),
            };
            link.state.send_modify(|state| match made {
                Ok(line) => *state = State { line: Some(line), number: state.number + 1, failed: None },
                Err(error) => state.failed = Some((Instant::now(), error)),
            });
        });
        *attempt = Some(Attempt { begun: now, task });
        now
    }

    /// A connection that hears what is published.
    pub(crate) async fn listen(&self) -> Result<redis::aio::PubSub, RedisError> {
        match tokio::time::timeout(self.source.patience(), self.source.listen()).await {
            Ok(connected) => connected.map_err(|error| unavailable(&error)),
            Err(_) => Err(RedisError::Unavailable("no connection in time".to_owned())),
        }
    }
}

/// Whether another connection, maybe to another server, would help.
fn is_about_the_line(error: &redis::RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_timeout()
        || matches!(
            error.kind(),
            // A master that became a replica, or one that is only starting.
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading)
                // A Cluster none of whose nodes is where it was.
                | ErrorKind::ClusterConnectionNotFound
        )
}
