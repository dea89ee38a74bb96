//! People with accounts, made as people make them, and what they and strangers ask of the platform.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use crate::api::{ApiError, Requests};
use crate::client::{CallError, Client, find};
use crate::load::{self, Accepted, Bound, Course, Latencies, LoadError, Run, Target, micros_since};
use crate::process::Server;
use crate::shared::Shared;
use crate::stand::{Side, Stand, StandError, target, wait_until_ready};

const PASSWORD: &str = "a sentence that nobody else thought of";
const WRONG_PASSWORD: &str = "a sentence that is not the right one";
/// How long a code is waited for that was sent.
const PRINTED: Duration = Duration::from_secs(30);

/// On what an installation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The embedded store.
    Sqlite,
    /// A node over MongoDB and Redis.
    MongoDb,
}

impl Store {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::MongoDb];

    /// As it is called in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::MongoDb => "MongoDB",
        }
    }
}

/// An installation in which people have accounts.
#[derive(Debug)]
pub struct Town {
    /// As a tenant's program calls it.
    pub side: Side,
    /// Who has an account.
    pub people: Vec<Person>,
    // In this order: what runs in the place must be gone before it is removed.
    _server: Server,
    _place: Place,
}

#[derive(Debug)]
enum Place {
    Sqlite(TempDir),
    MongoDb(Shared),
}

/// Somebody with an account, or without one.
#[derive(Debug, Clone)]
pub struct Person {
    email: String,
}

impl Person {
    /// Somebody nobody has heard of.
    pub fn stranger(nth: usize) -> Self {
        Self { email: format!("stranger-{nth}@example.com") }
    }
}

/// A client that nobody has seen before, of the addresses that are set aside for benchmarks.
///
/// What the platform counts by address of the client (guesses, mails) is lifted by this and by nothing else:
/// the server is told to trust the driver as its proxy.
fn new_client() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed) % (1 << 17);
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() | nth)
}

impl Stand {
    /// An installation in which so many people have signed up, by the API and with the codes that the console
    /// channel printed. It is started anew after that, with a console that prints nowhere.
    ///
    /// # Errors
    /// [`StandError`].
    pub async fn town(&self, store: Store, people: usize) -> Result<Town, StandError> {
        let (place, tenant) = match store {
            Store::Sqlite => {
                let folder = self.folder()?;
                let tenant = self.create_tenant(folder.path())?;
                (Place::Sqlite(folder), tenant)
            }
            Store::MongoDb => {
                let mut shared = self.shared(1)?;
                let tenant = shared.tenants.remove(0);
                (Place::MongoDb(shared), tenant)
            }
        };
        let serving = || -> Result<_, StandError> {
            let (mut command, log) = match &place {
                Place::Sqlite(folder) => (self.serving(folder.path()), folder.path().join("bench-serve.log")),
                Place::MongoDb(shared) => self.node_serving(shared, 0)?,
            };
            command.env("WOTP_SERVER__TRUSTED_PROXIES", "127.0.0.1");
            Ok::<(Command, _), StandError>((command, log))
        };
        let (mut command, log) = serving()?;
        command.env("WOTP_CHANNELS__CONSOLE__OUTPUT", "stdout");
        let (server, mut printed) = Server::spawn_heard(command, &log)?;
        wait_until_ready(server.address()).await?;
        let people = sign_up(server.address(), &mut printed, people).await?;
        server.stop().await;
        let (command, log) = serving()?;
        let server = Server::spawn(command, &log)?;
        wait_until_ready(server.address()).await?;
        let beside = match &place {
            Place::Sqlite(_) => [None, None],
            Place::MongoDb(shared) => shared.servers.beside(),
        };
        let side =
            Side { target: Target { beside, ..target(&server) }, keys: vec![tenant.live_key].into(), delivers: true };
        Ok(Town { side, people, _server: server, _place: place })
    }
}

async fn sign_up(
    address: SocketAddr,
    printed: &mut UnboundedReceiver<String>,
    people: usize,
) -> Result<Vec<Person>, ApiError> {
    let mut client = Client::connect(address).await.map_err(CallError::from)?;
    let mut requests = Requests::new(address, None);
    let mut known = Vec::with_capacity(people);
    for nth in 0..people {
        requests.on_behalf_of(new_client());
        let person = Person { email: format!("person-{nth}@example.com") };
        let body = Question::SignUp.body(&person);
        let reply = client.call(requests.post(&[Question::SignUp.path()], &body)).await?;
        if reply.status != 202 {
            return Err(ApiError::refused("sign-up", reply.status, reply.body));
        }
        let said: Value = serde_json::from_slice(reply.body).unwrap_or_default();
        let Some(verification) = said["verification"].as_str() else {
            return Err(ApiError::incomplete("sign-up", "a verification", reply.body));
        };
        let code = code_for(&person.email, printed).await?;
        let body = json!({ "verification": verification, "code": code });
        let reply = client.call(requests.post(&["/v1/auth/confirm-email"], &body)).await?;
        if reply.status != 201 {
            return Err(ApiError::refused("confirm-email", reply.status, reply.body));
        }
        known.push(person);
    }
    Ok(known)
}

/// The code that the console channel printed for an address.
async fn code_for(email: &str, printed: &mut UnboundedReceiver<String>) -> Result<String, ApiError> {
    let to = format!("to={email} ");
    let found = async {
        while let Some(line) = printed.recv().await {
            let code = line.split_once(" code=").filter(|(head, _)| line.contains(&to) && !head.is_empty());
            if let Some((_, rest)) = code {
                return rest.split(' ').next().map(str::to_owned);
            }
        }
        None
    };
    timeout(PRINTED, found).await.ok().flatten().ok_or_else(|| ApiError::NoCode(email.to_owned()))
}

/// Logins of these people by turns, so many at once, from clients never seen before.
///
/// # Errors
/// [`LoadError`].
pub async fn log_ins(target: Target, people: &[Person], callers: usize, bound: Bound) -> Result<Run, LoadError> {
    let mut first = 0..;
    let caller = |client, course| {
        let people = people.iter().skip(first.next().unwrap_or(0)).step_by(callers).cloned().collect();
        log_in_until_over(client, course, Requests::new(target.address, None), people)
    };
    load::closed(target, callers, bound, caller, async |_: &[Accepted]| Ok(())).await
}

async fn log_in_until_over(mut client: Client, course: Arc<Course>, mut requests: Requests, people: Vec<Person>) {
    let mut people = people.iter().cycle();
    while course.begin() {
        let person = people.next().expect("somebody has an account");
        let body = json!({ "email": person.email, "password": PASSWORD, "token_transport": "body" });
        requests.on_behalf_of(new_client());
        let sent = Instant::now();
        let outcome = client.call(requests.post(&[Question::LogIn.path()], &body)).await;
        let micros = micros_since(sent);
        let mut tally = course.tally();
        match outcome {
            Ok(reply) if reply.status == 200 && find(reply.body, b"\"access_token\":\"").is_some() => {
                tally.done += 1;
                tally.answer.add(micros);
            }
            Ok(reply) => tally.fail(ApiError::refused("login", reply.status, reply.body)),
            Err(error) => tally.fail(error.into()),
        }
    }
}

/// What is answered alike whether or not there is an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A login with a wrong password.
    LogIn,
    /// Signing up.
    SignUp,
    /// Asking for a new password.
    Reset,
}

impl Question {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::LogIn, Self::SignUp, Self::Reset];

    /// As it is called in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogIn => "login with a wrong password",
            Self::SignUp => "sign-up",
            Self::Reset => "request for a new password",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::LogIn => "/v1/auth/login",
            Self::SignUp => "/v1/auth/sign-up",
            Self::Reset => "/v1/auth/password-reset",
        }
    }

    fn status(self) -> u16 {
        if self == Self::LogIn { 401 } else { 202 }
    }

    fn body(self, person: &Person) -> Value {
        match self {
            Self::LogIn => {
                json!({ "email": person.email, "password": WRONG_PASSWORD, "token_transport": "body" })
            }
            Self::SignUp => json!({ "email": person.email, "password": PASSWORD, "tenant": "Bench" }),
            Self::Reset => json!({ "email": person.email }),
        }
    }
}

/// How long answers took to people with an account, and to others.
#[derive(Debug)]
pub struct Answers {
    /// To those with one.
    pub known: Latencies,
    /// To those without.
    pub unknown: Latencies,
}

/// Asks for each of `pairs` of somebody with an account and somebody without, by turns the one and the other
/// first, over one connection and with nothing else going on.
///
/// # Errors
/// [`ApiError`], also when one is answered otherwise than it should be.
pub async fn answers<'a>(
    address: SocketAddr,
    question: Question,
    pairs: impl Iterator<Item = (&'a Person, Person)>,
) -> Result<Answers, ApiError> {
    let mut client = Client::connect(address).await.map_err(CallError::from)?;
    let mut requests = Requests::new(address, None);
    let mut answers = Answers { known: Latencies::new(), unknown: Latencies::new() };
    for (nth, (known, unknown)) in pairs.enumerate() {
        let mut order = [(known, true), (&unknown, false)];
        if nth % 2 == 1 {
            order.reverse();
        }
        for (person, has_account) in order {
            requests.on_behalf_of(new_client());
            let body = question.body(person);
            let sent = Instant::now();
            let reply = client.call(requests.post(&[question.path()], &body)).await?;
            let micros = micros_since(sent);
            if reply.status != question.status() {
                return Err(ApiError::refused(question.name(), reply.status, reply.body));
            }
            if has_account { answers.known.add(micros) } else { answers.unknown.add(micros) }
        }
    }
    Ok(answers)
}
