//! A server whose tenants have linked numbers of WhatsApp, against the double of it.
//!
//! Numbers look like real ones (see [`crate::number`]), and nothing reaches those who hold them: the server is one that
//! takes the double for WhatsApp, which plays everybody.

mod double;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::double::{Admin, Double};
use crate::api::{self, ApiError, Requests};
use crate::client::{CallError, Client, Reply};
use crate::load::{self, Accepted, Beside, Bound, Course, Due, LoadError, Run, Target, micros_since};
use crate::number::Numbers;
use crate::process::{self, Memory, ProcessError, Server};
use crate::report::chain;
use crate::stand::{Stand, StandError, target, wait_until_ready};

/// The server's program, as it is built for the double.
const PROGRAM: &str = "wotp-for-the-double";
/// How much a number may send: more than it can. No message waits by chance.
const SETTINGS: &str = "[channels.whatsapp]
wait_max_ms = 0
look_ups_per_minute = 1000000
allowance = [{ from_days = 0, per_hour = 4000000, per_day = 4000000, strangers_per_day = 4000000 }]

[channels.console]
enabled = false
";
/// A version of WhatsApp Web, so that nobody is asked which one is current.
const VERSION: &str = "2.3000.1026131876";
/// What a key must be allowed to do.
const SCOPES: [&str; 5] =
    ["connections:read", "connections:write", "messages:write", "verifications:read", "verifications:write"];
/// Sessions that are being linked at once.
const LINKED_AT_ONCE: usize = 8;
/// How long one thing may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether it has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often sessions are broken that come and go: a client waits a second until it tries again.
const FLAP_EVERY: Duration = Duration::from_millis(1_500);
/// Connections over which calls are made.
const CONNECTIONS: usize = 64;

/// Why sessions cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum WhatsAppError {
    /// Nobody said where the programs are.
    #[error(
        "--whatsapp names the folder of the programs that are built beside the double of WhatsApp; `make bench` does"
    )]
    NoPrograms,
    /// There is nothing to measure on.
    #[error("there is nothing to measure on")]
    Stand(#[from] StandError),
    /// A process cannot be run or asked.
    #[error("a process cannot be run or asked")]
    Process(#[from] ProcessError),
    /// A call failed.
    #[error("a call failed")]
    Api(#[from] ApiError),
    /// Messages that were sent have no result.
    #[error("messages that were sent have no result")]
    Load(#[from] LoadError),
    /// A file, or something else of the system.
    #[error("the system does not do what is needed")]
    File(#[from] std::io::Error),
    /// A command of the server's failed.
    #[error("`wotp key create` failed: {0}")]
    Key(String),
    /// Something did not come about.
    #[error("{what}: waited in vain for {} s; {found}", PATIENCE.as_secs())]
    InVain {
        /// What was waited for.
        what: &'static str,
        /// What there was instead.
        found: String,
    },
}

/// A server, its tenants, and WhatsApp as it is played to them.
pub struct Linked {
    stand: Stand,
    double: Double,
    url: String,
    keys: Vec<String>,
    numbers: Arc<Numbers>,
    /// The numbers that are linked, each with the key of its tenant.
    linked: Vec<(String, String)>,
    // In this order: the server must be gone before its folder is removed. None while it is started again.
    server: Option<Server>,
    folder: TempDir,
}

/// How sessions came back.
#[derive(Debug, Clone, Copy)]
pub struct Back {
    /// Until all of them were in.
    pub after: Duration,
    /// Most that came in within a second.
    pub most_in_a_second: u64,
    /// Logins that it took.
    pub logins: u64,
}

/// A run beside sessions that came and went.
pub struct Flapped {
    /// It.
    pub run: Run,
    /// Sessions that were broken.
    pub sessions: usize,
    /// How often they were in again.
    pub logins: u64,
}

#[derive(Deserialize)]
struct Key {
    secret: String,
}

impl Linked {
    /// A server with so many tenants, none of which has linked a number yet.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn laid(stand: &Stand, programs: &Path, tenants: usize) -> Result<Self, WhatsAppError> {
        let stand = Stand { wotp: programs.join(PROGRAM), scratch: stand.scratch.clone() };
        let folder = stand.folder()?;
        fs::write(folder.path().join("wotp.toml"), SETTINGS)?;
        let double = Double::start(programs, &folder.path().join("bench-double.log"))?;
        let url = double.admin().url().await?;
        let keys = (0..tenants).map(|_| key(&stand, folder.path())).collect::<Result<_, _>>()?;
        let server = serve(&stand, folder.path(), &url)?;
        wait_until_ready(server.address()).await?;
        Ok(Self {
            stand,
            double,
            url,
            keys,
            numbers: Arc::new(Numbers::for_load()),
            linked: Vec::new(),
            server: Some(server),
            folder,
        })
    }

    /// Links so many numbers more of each tenant.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn link(&mut self, each: usize) -> Result<(), WhatsAppError> {
        let mut left: Vec<String> = (0..each).flat_map(|_| self.keys.iter().cloned()).collect();
        let mut linking = JoinSet::new();
        loop {
            while linking.len() < LINKED_AT_ONCE
                && let Some(key) = left.pop()
            {
                let number = self.numbers.take();
                self.linked.push((number.clone(), key.clone()));
                linking.spawn(link(self.address(), self.double.admin(), key, number));
            }
            match linking.join_next().await {
                // A panic goes on in here.
                Some(linked) => linked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?,
                None => break,
            }
        }
        self.all_are_in("sessions that were linked").await.map(drop)
    }

    fn running(&self) -> &Server {
        self.server.as_ref().expect("it was started again, or that failed and nobody measures any more")
    }

    fn address(&self) -> SocketAddr {
        self.running().address()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.linked.len()
    }

    /// Waits until all sessions are in.
    async fn all_are_in(&self, what: &'static str) -> Result<Back, WhatsAppError> {
        let (admin, began) = (self.double.admin(), Instant::now());
        let first = admin.standing().await?.logins;
        // Logins, by when they were seen.
        let mut seen: Vec<(Duration, u64)> = vec![(Duration::ZERO, first)];
        loop {
            let standing = admin.standing().await?;
            seen.push((began.elapsed(), standing.logins));
            if standing.connected == self.linked.len() {
                break;
            }
            if began.elapsed() > PATIENCE {
                let found = format!("{} of {} are in", standing.connected, self.linked.len());
                return Err(WhatsAppError::InVain { what, found });
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(Back {
            after: began.elapsed(),
            most_in_a_second: most_in_a_second(&seen),
            logins: seen.last().map_or(0, |(_, logins)| logins - first),
        })
    }

    /// WhatsApp is away for so long, and then back.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn goes_away(&self, away: Duration) -> Result<Back, WhatsAppError> {
        let admin = self.double.admin();
        admin.down().await?;
        sleep(away).await;
        admin.up().await?;
        self.all_are_in("sessions that come back").await
    }

    /// The server is stopped and started again.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn restart(&mut self) -> Result<Back, WhatsAppError> {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        self.server = Some(serve(&self.stand, self.folder.path(), &self.url)?);
        wait_until_ready(self.address()).await?;
        self.all_are_in("sessions of a server that was started again").await
    }

    /// Memory of the server.
    ///
    /// # Errors
    /// [`WhatsAppError::Process`].
    pub fn memory(&self) -> Result<Memory, WhatsAppError> {
        Ok(process::memory(self.running().pid())?)
    }

    /// Processor time of the server while it is left alone for so long, in cores.
    ///
    /// # Errors
    /// [`WhatsAppError::Process`].
    pub async fn idle(&self, time: Duration) -> Result<f64, WhatsAppError> {
        let (before, began) = (process::cpu(self.running().pid())?, Instant::now());
        sleep(time).await;
        Ok((process::cpu(self.running().pid())? - before).as_secs_f64() / began.elapsed().as_secs_f64())
    }

    /// Numbers that nobody else gets.
    pub fn people(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.numbers.take()).collect()
    }

    /// Has each of these people written to, by the tenant whose turn it is: they are known from then on.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn meet(&self, people: &[String]) -> Result<(), WhatsAppError> {
        let from = now_micros();
        for (nth, to) in people.iter().enumerate() {
            let mut client = Client::connect(self.address()).await.map_err(CallError::from).map_err(ApiError::from)?;
            let message = json!({ "to": to, "content": "Welcome." });
            let mut requests = self.requests(nth);
            let reply = client.call(requests.post(&["/v1/messages"], &message)).await.map_err(ApiError::from)?;
            if reply.status != 201 {
                return Err(ApiError::refused("message", reply.status, reply.body).into());
            }
        }
        self.came(people, from).await.map(drop)
    }

    /// Starts a verification of each of these people, so many a second, by the tenant whose turn it is. The run, with how
    /// long each took from when it was due to when its message was at the double.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn starts_at_rate(&self, people: Vec<String>, per_second: f64) -> Result<Run, WhatsAppError> {
        self.starts_by(&self.keys, people, per_second).await
    }

    async fn starts_by(&self, keys: &[String], people: Vec<String>, per_second: f64) -> Result<Run, WhatsAppError> {
        let time = Duration::from_secs_f64(people.len() as f64 / per_second);
        let turns = Turns::new(people);
        let call = |client, course, due| {
            let requests = keys.iter().map(|key| Requests::new(self.address(), Some(key))).collect();
            start_when_due(client, course, due, Arc::clone(&turns), requests)
        };
        let run = load::open(self.target(), CONNECTIONS, per_second, time, call).await?;
        self.with_latencies(run, &turns).await
    }

    /// As [`starts_at_rate`](Self::starts_at_rate), by every other tenant, while the sessions of those between are broken
    /// again and again.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn starts_while_half_flap(&self, people: Vec<String>, per_second: f64) -> Result<Flapped, WhatsAppError> {
        let admin = self.double.admin();
        let half = |odd| self.keys.iter().skip(odd).step_by(2).cloned().collect::<Vec<_>>();
        let (steady, flapping) = (half(0), half(1));
        let broken: Vec<_> = self.linked.iter().filter(|(_, key)| flapping.contains(key)).collect();
        let flap = async {
            loop {
                for (number, _) in &broken {
                    admin.strike(number).await?;
                }
                sleep(FLAP_EVERY).await;
            }
        };
        let before = admin.standing().await?.logins;
        let run = tokio::select! {
            run = self.starts_by(&steady, people, per_second) => run?,
            broken = flap => match broken {
                Ok(never) => match never {},
                Err::<Infallible, ApiError>(error) => return Err(error.into()),
            },
        };
        let logins = admin.standing().await?.logins - before;
        self.all_are_in("sessions that were broken").await?;
        Ok(Flapped { run, sessions: broken.len(), logins })
    }

    /// Starts a verification of each of these people, by so many callers, each one after the other. The run, and from when
    /// the first message was at the double to when the last was.
    ///
    /// # Errors
    /// [`WhatsAppError`].
    pub async fn starts(&self, people: Vec<String>, callers: usize) -> Result<(Run, Duration), WhatsAppError> {
        let (count, turns, from) = (people.len() as u64, Turns::new(people), now_micros());
        let call = |client, course| start_until_over(client, course, Arc::clone(&turns), self.all_requests());
        let run =
            load::closed(self.target(), callers, Bound::Count(count), call, async |_: &[Accepted]| Ok(())).await?;
        let came = self.came(&turns.people, from).await?;
        let (first, last) = (came.values().min().copied(), came.values().max().copied());
        let span = last.unwrap_or_default().saturating_sub(first.unwrap_or_default());
        Ok((self.with_latencies(run, &turns).await?, Duration::from_micros(span)))
    }

    async fn with_latencies(&self, mut run: Run, turns: &Turns) -> Result<Run, WhatsAppError> {
        let due = std::mem::take(&mut *turns.due.lock().unwrap_or_else(PoisonError::into_inner));
        let from = due.values().min().copied().unwrap_or_default();
        let came = self.came(&turns.people, from).await?;
        for (to, due) in &due {
            // One that was accepted before it was due would be a clock that was set.
            let micros = came.get(to).map_or(0, |came| came.saturating_sub(*due));
            run.tally.handover.add(micros);
        }
        Ok(run)
    }

    /// When the last message since then, in microseconds since 1970, came to each of these people, in microseconds since 1970.
    async fn came(&self, people: &[String], since: u64) -> Result<HashMap<String, u64>, WhatsAppError> {
        let (admin, began) = (self.double.admin(), Instant::now());
        loop {
            let messages = admin.inbox().await?.into_iter().filter(|message| message.at_micros >= since);
            let mut came: HashMap<String, u64> = HashMap::new();
            for message in messages {
                came.insert(format!("+{}", message.to), message.at_micros);
            }
            let missing = people.iter().filter(|to| !came.contains_key(*to)).count();
            if missing == 0 {
                return Ok(came);
            }
            if began.elapsed() > PATIENCE {
                let found = format!("{missing} of {} did not come", people.len());
                return Err(WhatsAppError::InVain { what: "messages", found });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn requests(&self, nth: usize) -> Requests {
        Requests::new(self.address(), Some(&self.keys[nth % self.keys.len()]))
    }

    fn all_requests(&self) -> Vec<Requests> {
        (0..self.keys.len()).map(|nth| self.requests(nth)).collect()
    }

    /// The server, and the double beside it.
    fn target(&self) -> Target {
        let double = Beside { name: "double", pid: self.double.pid() };
        Target { beside: [Some(double), None], ..target(self.running()) }
    }
}

/// Whose turn it is, and when each was due, in microseconds since 1970.
struct Turns {
    people: Vec<String>,
    next: AtomicUsize,
    due: Mutex<HashMap<String, u64>>,
}

impl Turns {
    fn new(people: Vec<String>) -> Arc<Self> {
        Arc::new(Self { people, next: AtomicUsize::new(0), due: Mutex::default() })
    }

    /// Starts the next verification, which was due so long ago.
    async fn start(&self, client: &mut Client, requests: &mut [Requests], ago: Duration) -> Result<String, ApiError> {
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        let to = &self.people[nth % self.people.len()];
        let due = now_micros().saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX));
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(to.clone(), due);
        let turn = nth % requests.len();
        let reply = client.call(requests[turn].start(to, None)).await?;
        if reply.status != 201 {
            return Err(ApiError::refused("start", reply.status, reply.body));
        }
        api::verification_id(reply.body)
    }
}

async fn start_when_due(
    mut client: Client,
    course: Arc<Course>,
    due: Due,
    turns: Arc<Turns>,
    mut requests: Vec<Requests>,
) {
    while let Some(was_due) = due.next().await {
        let ago = was_due.elapsed();
        let outcome = turns.start(&mut client, &mut requests, ago).await;
        let micros = micros_since(was_due);
        let mut tally = course.tally();
        tally.late.add(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX));
        match outcome {
            Ok(_) => {
                tally.done += 1;
                tally.start.add(micros);
            }
            Err(error) => tally.fail(error),
        }
    }
}

async fn start_until_over(mut client: Client, course: Arc<Course>, turns: Arc<Turns>, mut requests: Vec<Requests>) {
    while course.begin() {
        let sent = Instant::now();
        let outcome = turns.start(&mut client, &mut requests, Duration::ZERO).await;
        let micros = micros_since(sent);
        let mut tally = course.tally();
        match outcome {
            Ok(_) => {
                tally.done += 1;
                tally.start.add(micros);
            }
            Err(error) => tally.fail(error),
        }
    }
}

/// The double tells when a message came by the clock that both have.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now_micros() -> u64 {
    jiff::Timestamp::now().as_microsecond().cast_unsigned()
}

/// A key of a new tenant.
fn key(stand: &Stand, data: &Path) -> Result<String, WhatsAppError> {
    let tenant = stand.create_tenant(data)?.tenant;
    let mut command = stand.wotp();
    command.args(["key", "create", &tenant, "--name", "bench", "--json"]);
    command.args(SCOPES.iter().flat_map(|scope| ["--scope", *scope])).arg("--data").arg(data);
    let output = command.output()?;
    if !output.status.success() {
        return Err(WhatsAppError::Key(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let key: Key = serde_json::from_slice(&output.stdout).map_err(|error| WhatsAppError::Key(chain(&error)))?;
    Ok(key.secret)
}

fn serve(stand: &Stand, data: &Path, url: &str) -> Result<Server, ProcessError> {
    let mut command = stand.serving(data);
    command.envs([("WOTP_CHANNELS__WHATSAPP__URL", url), ("WOTP_CHANNELS__WHATSAPP__VERSION", VERSION)]);
    Server::spawn(command, &data.join("bench-serve.log"))
}

/// Links one number.
async fn link(server: SocketAddr, double: Admin, key: String, number: String) -> Result<(), WhatsAppError> {
    let mut client = Client::connect(server).await.map_err(CallError::from).map_err(ApiError::from)?;
    let mut requests = Requests::new(server, Some(&key));
    let made = requests.post(&["/v1/connections"], &json!({ "channel": "whatsapp", "name": number }));
    let made = answer("connection", client.call(made).await, 201)?;
    let id = made["id"].as_str().unwrap_or_default().to_owned();
    let asked = requests.post(&["/v1/connections/", &id, "/connect"], &json!({ "accept_risk": true }));
    answer("connect", client.call(asked).await, 202)?;
    let shown = async {
        loop {
            let seen = answer("get", client.call(requests.get(&["/v1/connections/", &id])).await, 200)?;
            if let Some(qr) = seen["session"]["qr"]["text"].as_str() {
                break Ok::<_, ApiError>(qr.to_owned());
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let in_vain = |_| WhatsAppError::InVain { what: "a QR", found: "there is none".to_owned() };
    let qr = timeout(PATIENCE, shown).await.map_err(in_vain)??;
    Ok(double.scan(&number, &qr).await?)
}

fn answer(call: &'static str, reply: Result<Reply<'_>, CallError>, expected: u16) -> Result<Value, ApiError> {
    let reply = reply?;
    if reply.status != expected {
        return Err(ApiError::refused(call, reply.status, reply.body));
    }
    serde_json::from_slice(reply.body).map_err(|_| ApiError::incomplete(call, "JSON", reply.body))
}

/// Of a count that only grows, looked at again and again: how much it grew within a second at most.
fn most_in_a_second(seen: &[(Duration, u64)]) -> u64 {
    let grown = |(nth, (at, count)): (usize, &(Duration, u64))| {
        let within = seen[nth..].iter().take_while(|(later, _)| *later <= *at + Duration::from_secs(1));
        within.last().map_or(0, |(_, last)| last - count)
    };
    seen.iter().enumerate().map(grown).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_the_most_that_came_within_a_second() {
        let at = |millis, count| (Duration::from_millis(millis), count);
        assert_eq!(most_in_a_second(&[]), 0);
        assert_eq!(most_in_a_second(&[at(0, 7), at(400, 9), at(1000, 12), at(1100, 20), at(1399, 20)]), 11);
        assert_eq!(most_in_a_second(&[at(0, 0), at(1001, 50)]), 0, "within more than a second");
    }
}
