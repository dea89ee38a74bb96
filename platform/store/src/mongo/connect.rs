//! Reaching the server, and telling in plain words why not.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{Client, Database};
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::message::Message;
use wotp_core::domain::verification::Verification;

use super::gather::{Gather, Shape};
use super::row::{self, Row};
use super::schema::{self, SchemaError};
use super::{MongoStore, Records, Server, Small, admit, connection_states, entities, forms, moves, read, replace};

/// The database when the URL names none.
const DATABASE: &str = "wotp";
/// How we call ourselves to the server: a node knows the transactions of its fellows by it.
pub(super) const APP_NAME: &str = "wotp";
/// The oldest server: `6.0`.
const OLDEST_WIRE_VERSION: i32 = 17;
/// How long one attempt looks for a primary at a start.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Connections of one node to one server, unless the URL says otherwise: more than what is gathered
/// takes at once, so that a slow server is not waited for in line.
const CONNECTIONS: u32 = 64;
/// Of these, made at once.
const CONNECTING: u32 = 8;

/// How long records to be read, changes and admissions wait for more to go with them, where some do.
/// Measured with 64 callers of 100 tenants, against not waiting at all: a start costs mongod 190 µs instead of
/// 245, and of two nodes 260 instead of 375. Longer saves little more, and makes callers wait.
const LINGER_READ: Duration = Duration::from_millis(2);
const LINGER_CHANGE: Duration = Duration::from_millis(4);
const LINGER_ADMIT: Duration = Duration::from_millis(2);

/// How to reach a store.
#[derive(Clone)]
pub struct ConnectOptions {
    /// How long to keep trying while the server does not answer.
    pub patience: Duration,
    /// Called with a line for the operator while it waits.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
    /// Calls of one kind that may wait for the server; more are refused at once.
    pub queue_max: usize,
    /// Longest that a call waits for a primary, and for its answer.
    pub call_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(60),
            progress: Arc::new(|_| {}),
            queue_max: 4096,
            // Below the 30 seconds that a request may take, so that its caller hears a reason.
            call_timeout: Duration::from_secs(20),
        }
    }
}

/// Why a store cannot be used. Says what to do; never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It is no MongoDB URL.
    #[error("the URL of the store is no MongoDB URL: write it as in mongodb://host1,host2,host3/wotp?replicaSet=rs0")]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody answers.
    #[error("MongoDB at {hosts} did not answer for {seconds} seconds: {detail}")]
    Unreachable {
        /// Where it was looked for.
        hosts: String,
        /// For how long.
        seconds: u64,
        /// What was heard.
        detail: String,
    },
    /// User or password is wrong.
    #[error("MongoDB at {hosts} refuses the user or the password in the URL of the store")]
    Refused {
        /// Which server.
        hosts: String,
    },
    /// A single server, without transactions.
    #[error(
        "MongoDB at {hosts} is a standalone server, which cannot do transactions: start it with --replSet rs0, run \
         rs.initiate() in its shell once, and start again"
    )]
    Standalone {
        /// Which server.
        hosts: String,
    },
    /// Too old.
    #[error("MongoDB at {hosts} is older than 6.0, the oldest version that is supported: upgrade it")]
    TooOld {
        /// Which server.
        hosts: String,
    },
    /// Half of an installation is in it.
    #[error(
        "the database `{database}` is being filled from another store, since {since}, or that was cut off: no node may \
         use it before that is done. Run the same `wotp migrate-store` again, which goes on where it was"
    )]
    Moving {
        /// Its name.
        database: String,
        /// When it was begun.
        since: Timestamp,
    },
    /// The collections cannot be made ready.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// What is reached.
pub(super) struct Reached {
    pub(super) client: Client,
    pub(super) database: Database,
    /// Where, as in `host1:27017, host2:27017`.
    #[cfg(feature = "sqlite")]
    pub(super) hosts: String,
}

impl MongoStore {
    /// Reaches the server, waiting for it as long as `options` say, and makes the collections ready.
    ///
    /// # Errors
    /// [`ConnectError`], in words that say what to do.
    pub async fn connect(url: &str, options: ConnectOptions) -> Result<Self, ConnectError> {
        let store = Self::reached(url, &options).await?;
        schema::ensure(&store.server.database).await?;
        forms::bring_up_to_date(&store.server, &*options.progress).await?;
        Ok(store)
    }

    /// Reaches the server, and makes nothing; says too what of the collections is missing, which
    /// [`connect`](Self::connect) makes.
    ///
    /// # Errors
    /// [`ConnectError`], in words that say what to do.
    pub async fn look(url: &str, options: ConnectOptions) -> Result<(Self, Vec<String>), ConnectError> {
        let store = Self::reached(url, &options).await?;
        let missing = schema::missing(&store.server.database).await?;
        Ok((store, missing))
    }

    async fn reached(url: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let Reached { client, database, .. } = reach(url, options).await?;
        let note = moves::find(&database).await.map_err(SchemaError::from)?;
        if let Some(note) = note.filter(|note| note.finished_at.is_none()) {
            return Err(ConnectError::Moving { database: database.name().to_owned(), since: note.began_at });
        }
        let server = Server::new(client, database, options.call_timeout);
        Ok(Self {
            verifications: Records::<Verification>::start(&server, options),
            messages: Records::<Message>::start(&server, options),
            small: Small::start(&server, options),
            states: connection_states::States::start(&server, options),
            server,
        })
    }
}

/// Reaches the server, waiting for it as long as `options` say.
pub(super) async fn reach(url: &str, options: &ConnectOptions) -> Result<Reached, ConnectError> {
    let invalid = |error: mongodb::error::Error| ConnectError::Url(Box::new(error));
    let mut settings = ClientOptions::parse(url).await.map_err(invalid)?;
    let hosts = settings.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    settings.app_name = Some(APP_NAME.to_owned());
    settings.retry_writes = Some(true);
    settings.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    // What is read is checked when it is written: a change is refused if it was read before another.
    settings.read_concern = Some(ReadConcern::local());
    settings.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    settings.server_selection_timeout = Some(ATTEMPT.min(options.patience));
    settings.connect_timeout.get_or_insert(Duration::from_secs(5));
    settings.max_pool_size.get_or_insert(CONNECTIONS);
    settings.max_connecting.get_or_insert(CONNECTING);
    let name = settings.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());

    greet(&settings, &hosts, options).await?;
    settings.server_selection_timeout = Some(options.call_timeout);
    let client = Client::with_options(settings).map_err(invalid)?;
    let database = client.database(&name);
    Ok(Reached {
        client,
        database,
        #[cfg(feature = "sqlite")]
        hosts,
    })
}

/// Waits until the server answers, and looks whether it can do what we need.
async fn greet(settings: &ClientOptions, hosts: &str, options: &ConnectOptions) -> Result<(), ConnectError> {
    let client = Client::with_options(settings.clone()).map_err(|error| ConnectError::Url(Box::new(error)))?;
    let started = Instant::now();
    loop {
        let answer = client.database("admin").run_command(doc! { "hello": 1 }).await;
        let detail = match answer {
            Ok(hello) => {
                able(&hello, hosts)?;
                // `hello` needs no permission; this does.
                let permitted = client.database("admin").run_command(doc! { "connectionStatus": 1 }).await;
                return match permitted {
                    Err(error) if is_refusal(&error) => Err(ConnectError::Refused { hosts: hosts.to_owned() }),
                    _ => Ok(()),
                };
            }
            Err(error) if is_refusal(&error) => return Err(ConnectError::Refused { hosts: hosts.to_owned() }),
            Err(error) if is_too_old(&error) => return Err(ConnectError::TooOld { hosts: hosts.to_owned() }),
            Err(error) => detail(&error),
        };
        let waited = started.elapsed();
        if waited >= options.patience {
            let seconds = waited.as_secs();
            return Err(ConnectError::Unreachable { hosts: hosts.to_owned(), seconds, detail });
        }
        (options.progress)(&format!(
            "waiting for MongoDB at {hosts}: {detail} ({} of {} seconds)",
            waited.as_secs(),
            options.patience.as_secs()
        ));
        tokio::time::sleep(Duration::from_millis(500).min(options.patience - waited)).await;
    }
}

fn able(hello: &Document, hosts: &str) -> Result<(), ConnectError> {
    let hosts = hosts.to_owned();
    if hello.get_i32("maxWireVersion").unwrap_or(0) < OLDEST_WIRE_VERSION {
        return Err(ConnectError::TooOld { hosts });
    }
    // A router of a sharded cluster says so; a member of a replica set names its set.
    let shared = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|said| said == "isdbgrid");
    if shared { Ok(()) } else { Err(ConnectError::Standalone { hosts }) }
}

fn is_refusal(error: &mongodb::error::Error) -> bool {
    use mongodb::error::ErrorKind;
    // 18 is "authentication failed", 13 "not authorized".
    matches!(&*error.kind, ErrorKind::Authentication { .. })
        || matches!(&*error.kind, ErrorKind::Command(command) if matches!(command.code, 13 | 18))
}

/// So old that the driver does not speak to it; it says so by this alone.
fn is_too_old(error: &mongodb::error::Error) -> bool {
    error.to_string().contains("driver requires at least")
}

/// What is wrong, without the options of the URL.
fn detail(error: &mongodb::error::Error) -> String {
    let said = error.to_string();
    if said.contains("Connection refused") {
        "the connection is refused".to_owned()
    } else if said.contains("failed to lookup") || said.contains("dns") || said.contains("DNS") {
        "the host name is not known".to_owned()
    } else {
        "no primary answers".to_owned()
    }
}

/// Questions of one kind that go to the server together, at most.
const TOGETHER: usize = 256;

/// Point reads that go together, at most: of many calls at one moment most want the same few records, and a
/// record that many want is read once.
const READ_TOGETHER: usize = 2048;

/// How what is asked for goes together: one batch of a kind at a time, since two of half the size cost the
/// server nearly twice as much.
fn shape(options: &ConnectOptions, linger: Duration) -> Shape {
    Shape { queue_max: options.queue_max, batch_max: TOGETHER, in_flight: 1, linger, patience: options.call_timeout }
}

fn reading(options: &ConnectOptions, linger: Duration) -> Shape {
    Shape { batch_max: READ_TOGETHER, ..shape(options, linger) }
}

/// Point reads of one collection.
fn reads<const N: usize>(
    server: &Server,
    options: &ConnectOptions,
    collection: &'static str,
    projection: fn() -> Document,
    linger: Duration,
) -> Gather<[u8; N], Option<RawDocumentBuf>> {
    let server = server.clone();
    Gather::start(reading(options, linger), move |batch| {
        read::by_ids(server.clone(), (collection, projection()), batch)
    })
}

impl Small {
    fn start(server: &Server, options: &ConnectOptions) -> Self {
        Self {
            keys: reads(server, options, schema::API_KEYS, read::held, Duration::ZERO),
            tenants: reads(server, options, schema::TENANTS, read::held, Duration::ZERO),
            services: reads(server, options, schema::SERVICES, read::held, Duration::ZERO),
            entities: {
                let server = server.clone();
                let read = move |batch| entities::by_names(server.clone(), batch);
                Gather::start(reading(options, Duration::ZERO), read)
            },
            listed: {
                let server = server.clone();
                let read = move |batch| entities::by_keys(server.clone(), batch);
                Gather::start(reading(options, Duration::ZERO), read)
            },
        }
    }
}

impl connection_states::States {
    fn start(server: &Server, options: &ConnectOptions) -> Self {
        let writing = server.clone();
        Self {
            reads: reads(server, options, schema::CONNECTION_STATES, connection_states::whole, Duration::ZERO),
            writes: Gather::start(shape(options, Duration::ZERO), move |batch| {
                connection_states::write(writing.clone(), batch)
            }),
        }
    }
}

impl<R: Row> Records<R> {
    fn start(server: &Server, options: &ConnectOptions) -> Self {
        let (admitting, changing) = (server.clone(), server.clone());
        Self {
            admissions: Gather::start(shape(options, LINGER_ADMIT), move |batch| {
                admit::admit(admitting.clone(), batch)
            }),
            changes: Gather::start(shape(options, LINGER_CHANGE), move |batch| {
                replace::change(changing.clone(), R::COLLECTION, batch)
            }),
            reads: reads(server, options, R::COLLECTION, row::projection, LINGER_READ),
        }
    }
}
