//! A connection to Redis that is there again when the server is: a single server, one that Sentinels
//! watch over, or a Cluster.
//!
//! Nothing that must not be lost is in Redis. So a call that cannot be made fails soon, rather than
//! wait, and while the server is away most fail at once.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    Pipeline, RedisFuture, ServerErrorKind, TlsMode, Value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Longest that one call may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Longest that making a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// After an attempt to connect failed, calls fail at once for so long.
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

/// Where the server is.
enum Source {
    Single(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<(ClusterClient, Client)>),
}

/// A connection that many share.
#[derive(Clone)]
enum Line {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Line {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(line) => line.req_packed_command(command),
            Self::Cluster(line) => line.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(line) => line.req_packed_commands(pipeline, offset, count),
            Self::Cluster(line) => line.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(line) => line.get_db(),
            Self::Cluster(line) => line.get_db(),
        }
    }
}

/// The connection as it is now.
#[derive(Default)]
struct State {
    line: Option<Line>,
    /// Counts connections, so that whoever finds one broken takes down no newer one.
    number: u64,
    failed_at: Option<Instant>,
}

/// A server, and one connection to it that all clones share.
#[derive(Clone)]
pub struct Redis {
    source: Arc<Source>,
    state: Arc<Mutex<State>>,
    prefix: Arc<str>,
    answer_within: Option<Duration>,
}

impl Redis {
    /// A server at `url`; nothing is sent yet. `prefix` begins the names of all keys, or `wotp`.
    ///
    /// # Errors
    /// [`RedisError::Url`].
    pub fn at(url: &str, prefix: Option<&str>) -> Result<Self, RedisError> {
        let prefix = prefix.unwrap_or(PREFIX);
        Ok(Self {
            source: Arc::new(source(url)?),
            state: Arc::default(),
            // In braces: in a Cluster all keys lie together, since one command may name several.
            prefix: format!("{{{prefix}}}").into(),
            answer_within: Some(ANSWER_WITHIN),
        })
    }

    /// The same server by a connection of its own, on which a call may take as long as it likes.
    pub(crate) fn apart(&self) -> Self {
        Self { state: Arc::default(), answer_within: None, ..self.clone() }
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
                    let mut state = self.state.lock().await;
                    if state.number == number {
                        state.line = None;
                    }
                }
                Err(unavailable(&error))
            }
        }
    }

    /// The connection, made when there is none. Whoever comes while it is made waits for it.
    async fn line(&self) -> Result<(Line, u64), RedisError> {
        let mut state = self.state.lock().await;
        if let Some(line) = &state.line {
            return Ok((line.clone(), state.number));
        }
        if state.failed_at.is_some_and(|failed| failed.elapsed() < REST) {
            return Err(RedisError::Unavailable("it did not a moment ago".to_owned()));
        }
        let made = tokio::time::timeout(CONNECT_WITHIN, self.connect()).await;
        match made {
            Ok(Ok(line)) => {
                state.number += 1;
                state.failed_at = None;
                state.line = Some(line.clone());
                Ok((line, state.number))
            }
            failed => {
                state.failed_at = Some(Instant::now());
                Err(match failed {
                    Ok(Err(error)) => unavailable(&error),
                    _ => RedisError::Unavailable("no connection in time".to_owned()),
                })
            }
        }
    }

    async fn connect(&self) -> redis::RedisResult<Line> {
        let config = || AsyncConnectionConfig::new().set_response_timeout(self.answer_within);
        Ok(match &*self.source {
            Source::Single(client) => {
                Line::Single(client.get_multiplexed_async_connection_with_config(&config()).await?)
            }
            Source::Sentinel(sentinels) => {
                let client = sentinels.lock().await.async_get_client().await?;
                Line::Single(client.get_multiplexed_async_connection_with_config(&config()).await?)
            }
            Source::Cluster(cluster) => Line::Cluster(cluster.0.get_async_connection().await?),
        })
    }

    /// A connection that hears what is published.
    pub(crate) async fn listen(&self) -> Result<redis::aio::PubSub, RedisError> {
        let connect = async {
            match &*self.source {
                // In a Cluster every node hears all that is published.
                Source::Single(client) => client.get_async_pubsub().await,
                Source::Cluster(cluster) => cluster.1.get_async_pubsub().await,
                Source::Sentinel(sentinels) => {
                    let client = sentinels.lock().await.async_get_client().await?;
                    client.get_async_pubsub().await
                }
            }
        };
        match tokio::time::timeout(CONNECT_WITHIN, connect).await {
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
        )
}

fn source(url: &str) -> Result<Source, RedisError> {
    let wrong = |what: &str| RedisError::Url(what.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("there is no scheme"))?;
    let plain = match scheme {
        "redis" | "redis+sentinel" | "redis+cluster" => "redis",
        "rediss" | "rediss+sentinel" | "rediss+cluster" => "rediss",
        _ => return Err(wrong("it begins otherwise")),
    };
    // One URL of a single server for each host: the library reads user, password and options of those.
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let info = |host: &str, path: &str| -> Result<ConnectionInfo, RedisError> {
        let at = if login.is_empty() { "" } else { "@" };
        let single = format!("{plain}://{login}{at}{host}/{path}");
        single.as_str().into_connection_info().map_err(|_| wrong("host, port or options cannot be read"))
    };
    let built = |error: redis::RedisError| RedisError::Url(error.category().to_owned());
    if scheme.ends_with("+cluster") {
        let infos = hosts.split(',').map(|host| info(host, "")).collect::<Result<Vec<_>, _>>()?;
        let first = Client::open(infos[0].clone()).map_err(built)?;
        let client = ClusterClient::builder(infos)
            .response_timeout(Duration::from_secs(10))
            .connection_timeout(CONNECT_WITHIN)
            .retries(1)
            .build()
            .map_err(built)?;
        return Ok(Source::Cluster(Box::new((client, first))));
    }
    if scheme.ends_with("+sentinel") {
        let (name, database) = path.split_once('/').unwrap_or((path, "0"));
        if name.is_empty() {
            return Err(wrong("the name of the master is missing, as in redis+sentinel://host:26379/mymaster"));
        }
        let infos = hosts.split(',').map(|host| info(host, "")).collect::<Result<Vec<_>, _>>()?;
        let first = infos[0].redis_settings();
        let addresses: Vec<ConnectionAddr> = infos.iter().map(|info| info.addr().clone()).collect();
        let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)
            .map_err(built)?
            .set_client_to_redis_db(database.parse().map_err(|_| wrong("the database is no number"))?);
        if let Some(user) = first.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = first.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if plain == "rediss" {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        return Ok(Source::Sentinel(Box::new(Mutex::new(builder.build().map_err(built)?))));
    }
    if hosts.contains(',') {
        return Err(wrong("several hosts need +sentinel or +cluster"));
    }
    Ok(Source::Single(Box::new(Client::open(info(hosts, path)?).map_err(built)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_is_read_and_none_is_shown() {
        // `rustls` asks for one when a secure URL is read.
        for url in [
            "redis://localhost",
            "redis://:secret@localhost:6380/3",
            "redis+sentinel://a:26379,b:26379/mymaster",
            "redis+sentinel://user:secret@a:26379/mymaster/2",
            "redis+cluster://:secret@a:7000,b:7001",
        ] {
            assert!(Redis::at(url, None).is_ok(), "{url}");
        }
        for url in [
            "localhost",
            "http://:secret@a",
            "redis://:secret@a:b",
            "redis+sentinel://:secret@a",
            "redis://:secret@a,b",
        ] {
            let error = Redis::at(url, None).err().expect(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
