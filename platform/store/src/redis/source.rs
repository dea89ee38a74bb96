//! Where a Redis server is, as its URL says, and connections to it.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisFuture, RedisResult, TlsMode, Value,
};

use super::{CONNECT_WITHIN, RedisError};

/// What a URL for Sentinels may say after `?`: the password that they themselves ask for.
const SENTINEL_PASSWORD: &str = "sentinel_password=";
/// Longest that one of several hosts is waited for.
const HOST_WITHIN: Duration = Duration::from_secs(1);
/// A connection that is silent for so long is asked whether anybody is there.
const SILENT: Duration = Duration::from_secs(5);
/// Pause until it is asked again.
const ASKED_EVERY: Duration = Duration::from_secs(2);
/// How often it is asked before it counts as dead.
const ASKED_TIMES: u32 = 3;
/// A connection on which nobody confirmed what was sent for so long counts as dead.
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// Where the server is.
pub(super) enum Source {
    Single(Box<ConnectionInfo>),
    Sentinel(Box<Sentinels>),
    Cluster(Vec<ConnectionInfo>),
}

/// Who knows where the master is.
pub(super) struct Sentinels {
    hosts: Vec<ConnectionAddr>,
    name: String,
    database: i64,
    /// How to log in at the servers.
    servers: RedisConnectionInfo,
    /// How to log in at the Sentinels.
    own: RedisConnectionInfo,
    tls: bool,
}

/// A connection that many share.
#[derive(Clone)]
pub(super) enum Line {
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

impl Source {
    /// Reads a URL.
    pub(super) fn of(url: &str) -> Result<Self, RedisError> {
        let wrong = |what: &str| RedisError::Url(what.to_owned());
        let built = |error: redis::RedisError| RedisError::Url(error.category().to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("there is no scheme"))?;
        let plain = match scheme {
            "redis" | "redis+sentinel" | "redis+cluster" => "redis",
            "rediss" | "rediss+sentinel" | "rediss+cluster" => "rediss",
            _ => return Err(wrong("it begins otherwise")),
        };
        if plain == "rediss" {
            // An error says that one is chosen already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        // One URL of a single server for each host: the library reads user, password and options of those.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let info = |login: &str, host: &str, path: &str| -> Result<ConnectionInfo, RedisError> {
            let at = if login.is_empty() { "" } else { "@" };
            let single = format!("{plain}://{login}{at}{host}/{path}");
            let info =
                single.as_str().into_connection_info().map_err(|_| wrong("host, port or options cannot be read"))?;
            Ok(info.set_tcp_settings(tcp()))
        };
        let infos = || hosts.split(',').map(|host| info(login, host, "")).collect::<Result<Vec<_>, _>>();
        let source = if scheme.ends_with("+cluster") {
            Self::Cluster(infos()?)
        } else if scheme.ends_with("+sentinel") {
            let (path, options) = path.split_once('?').unwrap_or((path, ""));
            let (name, database) = path.split_once('/').unwrap_or((path, "0"));
            if name.is_empty() {
                return Err(wrong("the name of the master is missing, as in redis+sentinel://host:26379/mymaster"));
            }
            let own = match options.strip_prefix(SENTINEL_PASSWORD) {
                Some(password) => info(&format!(":{password}"), "sentinel", "")?.redis_settings().clone(),
                None if options.is_empty() => RedisConnectionInfo::default(),
                None => return Err(wrong("after ? it may only say sentinel_password=")),
            };
            let infos = infos()?;
            Self::Sentinel(Box::new(Sentinels {
                hosts: infos.iter().map(|info| info.addr().clone()).collect(),
                name: name.to_owned(),
                database: database.parse().map_err(|_| wrong("the database is no number"))?,
                servers: infos[0].redis_settings().clone(),
                own,
                tls: plain == "rediss",
            }))
        } else if hosts.contains(',') {
            return Err(wrong("several hosts need +sentinel or +cluster"));
        } else {
            Self::Single(Box::new(info(login, hosts, path)?))
        };
        // What the library finds wrong is said now, and not only when it is to connect.
        match &source {
            Self::Single(info) => drop(Client::open((**info).clone()).map_err(built)?),
            Self::Sentinel(sentinels) => drop(sentinels.client().map_err(built)?),
            Self::Cluster(infos) => drop(cluster(infos, HOST_WITHIN).map_err(built)?),
        }
        Ok(source)
    }

    /// A connection on which a call takes at most `answer_within`.
    pub(super) async fn connect(&self, answer_within: Duration) -> RedisResult<Line> {
        if let Self::Cluster(infos) = self {
            return Ok(Line::Cluster(cluster(infos, answer_within)?.get_async_connection().await?));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(answer_within));
        Ok(Line::Single(self.server().await?.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// A connection that hears what is published.
    pub(super) async fn listen(&self) -> RedisResult<PubSub> {
        let Self::Cluster(infos) = self else { return self.server().await?.get_async_pubsub().await };
        // Every node of a Cluster hears all that is published.
        let mut failed = None;
        for info in infos {
            let client = Client::open(info.clone())?;
            match tokio::time::timeout(HOST_WITHIN, client.get_async_pubsub()).await {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some((ErrorKind::Io, "no connection in time").into()),
            }
        }
        Err(failed.unwrap_or_else(|| (ErrorKind::Io, "there are no hosts").into()))
    }

    /// How long connecting may take.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Single(_) | Self::Sentinel(_) => CONNECT_WITHIN,
            // Its hosts are tried one after the other.
            Self::Cluster(infos) => HOST_WITHIN * u32::try_from(infos.len()).unwrap_or(1) + HOST_WITHIN,
        }
    }

    /// The one server that is written to.
    async fn server(&self) -> RedisResult<Client> {
        match self {
            Self::Single(info) => Client::open((**info).clone()),
            Self::Sentinel(sentinels) => sentinels.client()?.async_get_client().await,
            Self::Cluster(infos) => Client::open(infos[0].clone()),
        }
    }
}

impl Sentinels {
    /// Asks them anew each time: whoever connects again may be looking for another master.
    fn client(&self) -> RedisResult<SentinelClient> {
        let mut builder =
            SentinelClientBuilder::new(self.hosts.iter().cloned(), &self.name, SentinelServerType::Master)?
                .set_client_to_redis_db(self.database)
                .set_client_to_redis_tcp_settings(tcp())
                .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(user) = self.servers.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.servers.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(password) = self.own.password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        builder.build()
    }
}

fn cluster(infos: &[ConnectionInfo], answer_within: Duration) -> RedisResult<ClusterClient> {
    ClusterClient::builder(infos.to_vec())
        .response_timeout(answer_within)
        .connection_timeout(HOST_WITHIN)
        .tcp_settings(tcp())
        .retries(1)
        .build()
}

/// How a connection learns that nobody is at the other end any more.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENT).with_interval(ASKED_EVERY).with_retries(ASKED_TIMES);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNCONFIRMED);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_is_read_and_none_is_shown() {
        for url in [
            "redis://localhost",
            "redis://:secret@localhost:6380/3",
            "rediss://user:secret@localhost:6380/3",
            "redis+sentinel://a:26379,b:26379/mymaster",
            "redis+sentinel://user:secret@a:26379/mymaster/2",
            "rediss+sentinel://a:26379/mymaster?sentinel_password=secret",
            "redis+cluster://:secret@a:7000,b:7001",
            "rediss+cluster://:secret@a:7000,b:7001",
        ] {
            assert!(Source::of(url).is_ok(), "{url}");
        }
        for url in [
            "localhost",
            "http://:secret@a",
            "redis://:secret@a:b",
            "redis+sentinel://:secret@a",
            "redis+sentinel://a/mymaster?password=secret",
            "redis+sentinel://a/mymaster/secret",
            "redis://:secret@a,b",
        ] {
            let error = Source::of(url).err().expect(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn sentinels_and_servers_have_passwords_of_their_own() {
        let url = "redis+sentinel://user:one@a:26379/mymaster/2?sentinel_password=t%40wo";
        let Ok(Source::Sentinel(sentinels)) = Source::of(url) else { panic!("{url} can be read") };
        assert_eq!((sentinels.servers.username(), sentinels.servers.password()), (Some("user"), Some("one")));
        assert_eq!((sentinels.own.username(), sentinels.own.password()), (None, Some("t@wo")));
        assert_eq!((sentinels.name.as_str(), sentinels.database), ("mymaster", 2));
    }
}
