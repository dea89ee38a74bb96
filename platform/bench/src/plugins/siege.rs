//! What plugins that misbehave do to tenants that do not use them: a server with all of `plugins/misbehaving`, and two
//! tenants beside the one whose messages go through those.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{fs, io};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::operator::{Given, Operator};
use super::press::{self, Pressure, call_back, install_again, press};
use super::{Gateway, PluginsError, Provider};
use crate::api::{ApiError, Requests};
use crate::client::{CallError, Client};
use crate::load::{self, Accepted, Course, Due, Run, Summary, Target, micros_since};
use crate::number::Numbers;
use crate::process::{self, Memory, Server};
use crate::scenario::{self, Callers};
use crate::stand::{Stand, target, wait_until_ready};

/// Calls of one plugin at once: so many that all of them together may be on.
const CONCURRENCY: u32 = 24;
/// Connections of each tenant.
const CONNECTIONS: usize = 32;
/// Verifications that each of the other tenants starts a second.
pub const STARTS_PER_SECOND: f64 = 50.0;
/// How long the provider of the plugin that behaves takes to answer: as one that is far away.
const PROVIDER_TAKES: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(30), Duration::from_millis(40), Duration::from_millis(50)];
/// A while counts where so much of the attack on it was made.
const ATTACKED: f64 = 0.9;
/// How long what is left of an attack is waited for, once its plugins are off.
const REST: Duration = Duration::from_secs(90);

/// Those that do not act as the rest of them: what they do is in their settings' URL.
const PATHS: [(&str, &str); 2] = [("huge_reply", "/huge"), ("slow_server", "/slow")];

/// A server with plugins that misbehave.
pub struct Siege {
    /// Those that are installed: their channel, and their id.
    attacks: Vec<(String, String)>,
    /// Those that are not taken: their channel, what they are made of, and why.
    refused: Vec<(String, Vec<u8>, String)>,
    operator: Operator,
    besieger: Requests,
    others: [(&'static str, Callers); 2],
    numbers: Arc<Numbers>,
    target: Target,
    _gateway: Gateway,
    // In this order: the server must be gone before its folder is removed.
    server: Server,
    _folder: TempDir,
}

/// Which plugins have messages to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack<'a> {
    /// None: the other tenants are alone.
    None,
    /// This one, with more messages than it can take.
    One(&'a str),
    /// All, and those that are refused are installed again and again.
    All,
}

/// How others fared.
pub struct Fared {
    /// Whose messages go through what.
    pub through: &'static str,
    /// From accepted to handed over.
    pub handover: Option<Summary>,
    /// Messages.
    pub done: u64,
    /// Those that were not taken or not handed over.
    pub failed: u64,
    /// Why the first was not.
    pub first_failure: Option<String>,
}

/// What a while came to.
pub struct While {
    /// How the others fared.
    pub fared: Vec<Fared>,
    /// Messages for plugins that misbehave.
    pub messages: u64,
    /// How many of them there were to be.
    pub planned: f64,
    /// Callbacks that a plugin made an endless loop of.
    pub callbacks: u64,
    /// Components that were looked at again, and refused again.
    pub refusals: u64,
    /// How long it was.
    pub wall: Duration,
    /// Processor time of the server, in cores.
    pub cores: f64,
    /// Memory of the server at the end.
    pub memory: Memory,
}

impl While {
    /// Whether it was attacked as it was to be.
    pub fn was_attacked(&self) -> bool {
        self.planned > 0.0 && self.messages as f64 >= ATTACKED * self.planned
    }
}

impl Siege {
    /// A server with all plugins in `components` that misbehave, none of which has anything to do.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn laid(stand: &Stand, components: &Path) -> Result<Self, PluginsError> {
        let folder = stand.folder()?;
        let (besieger, other) = (stand.create_tenant(folder.path())?, stand.create_tenant(folder.path())?);
        stand.create_operator(folder.path())?;
        let server = stand.serve(folder.path())?;
        wait_until_ready(server.address()).await?;
        let gateway = Gateway::taking(&PROVIDER_TAKES).await?;
        let mut operator = Operator::sign_in(server.address()).await?;
        let good = Provider::TwilioSms;
        let (name, secret) = good.secret();
        let host = [gateway.address().to_string()];
        let given = Given {
            hosts: &host,
            config: good.config(&format!("http://{}", gateway.address())),
            secrets: json!({ name: secret }),
            concurrency: CONCURRENCY,
        };
        operator.install(&read(components, good.component())?, "sms", given, &[]).await?;
        let (mut attacks, mut refused) = (Vec::new(), Vec::new());
        for (name, component) in misbehaving(components)? {
            let channel = name.clone();
            match operator
                .install(&component, &channel, attack(&name, gateway.address(), &host), &[&besieger.tenant])
                .await
            {
                Ok(id) => {
                    operator.switch(&id, false).await?;
                    attacks.push((channel, id));
                }
                // Said of the component; whatever else goes wrong is no refusal.
                Err(ApiError::Refused { status: 422, body, .. }) => refused.push((channel, component, body)),
                Err(error) => return Err(error.into()),
            }
        }
        let numbers = Arc::new(Numbers::for_load());
        let keys: Arc<[String]> = vec![other.live_key].into();
        let others = ["console", "sms"].map(|channel| {
            let callers = Callers {
                target: target(&server),
                keys: Arc::clone(&keys),
                numbers: Arc::clone(&numbers),
                count: CONNECTIONS,
                delivers: true,
            };
            (channel, callers)
        });
        Ok(Self {
            attacks,
            refused,
            operator,
            besieger: Requests::new(server.address(), Some(&besieger.live_key)),
            others,
            numbers,
            target: target(&server),
            _gateway: gateway,
            server,
            _folder: folder,
        })
    }

    /// Plugins that are installed, and those that are not taken.
    pub fn counts(&self) -> (usize, usize) {
        (self.attacks.len(), self.refused.len())
    }

    /// Lets this go on for a while, with so many messages a second for each plugin that misbehaves, and waits until what
    /// is left of it is done.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn endured(
        &mut self,
        attack: Attack<'_>,
        per_second: f64,
        time: Duration,
    ) -> Result<While, PluginsError> {
        let at_work: Vec<(String, String)> =
            self.attacks.iter().filter(|(channel, _)| attack.has(channel)).cloned().collect();
        for (_, id) in &at_work {
            self.operator.switch(id, true).await?;
        }
        let channels: Vec<String> = at_work.iter().map(|(channel, _)| channel.clone()).collect();
        let each_second = per_second * channels.len() as f64;
        let pressure = Arc::new(Pressure::default());
        let (begun, before) = (Instant::now(), process::cpu(self.target.pid)?);
        let pressing = press(
            self.target.address,
            self.besieger.clone(),
            Arc::clone(&self.numbers),
            channels,
            per_second,
            Arc::clone(&pressure),
        );
        let (all, address) = (attack == Attack::All, self.target.address);
        let refused = if all { self.refused.as_slice() } else { &[] };
        let besieging = async {
            let calling = async {
                match all {
                    true => call_back(address, &pressure).await,
                    false => std::future::pending().await,
                }
            };
            tokio::join!(pressing, install_again(&mut self.operator, refused, &pressure), calling);
        };
        let others = async {
            let [first, second] = &self.others;
            tokio::join!(endure(first, time), endure(second, time))
        };
        // What goes on in the background ends with the others' time.
        let (first, second) = tokio::select! {
            fared = others => fared,
            () = besieging => unreachable!("it goes on until it is dropped"),
        };
        let cpu = process::cpu(self.target.pid)?.saturating_sub(before);
        let wall = begun.elapsed();
        let cores = cpu.as_secs_f64() / wall.as_secs_f64();
        let memory = process::memory(self.target.pid)?;
        for (_, id) in &at_work {
            self.operator.switch(id, false).await?;
        }
        let (first, second) = (self.looked_at(0, first?).await?, self.looked_at(1, second?).await?);
        self.rest().await?;
        Ok(While {
            fared: vec![first, second],
            messages: pressure.messages.load(Ordering::Relaxed),
            planned: each_second * time.as_secs_f64(),
            callbacks: pressure.callbacks.load(Ordering::Relaxed),
            refusals: pressure.refusals.load(Ordering::Relaxed),
            wall,
            cores,
            memory,
        })
    }

    /// Whether the server that began is still there, and answers.
    pub async fn stands(&self) -> bool {
        wait_until_ready(self.server.address()).await.is_ok() && process::memory(self.server.pid()).is_ok()
    }

    async fn looked_at(&self, nth: usize, run: Run) -> Result<Fared, PluginsError> {
        let (through, callers) = &self.others[nth];
        let accepted = run.tally.all.unwrap_or_default();
        let (handover, lost) = match scenario::handovers(callers, &accepted).await {
            Ok(handover) => (handover, None),
            Err(error) => (None, Some(error)),
        };
        let first_failure = run.tally.first_failure.or(lost);
        Ok(Fared {
            through,
            handover,
            done: run.tally.done,
            failed: run.tally.failed + u64::from(handover.is_none()),
            first_failure: first_failure.as_ref().map(crate::report::chain),
        })
    }

    /// Waits until nothing is left of an attack: no message that may be tried again, and nothing that waits for a worker.
    async fn rest(&mut self) -> Result<(), PluginsError> {
        let give_up = Instant::now() + REST;
        while self.is_pending().await? || self.operator.waiting().await? > 0 {
            if Instant::now() > give_up {
                return Err(PluginsError::Restless);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn is_pending(&mut self) -> Result<bool, PluginsError> {
        // Anew each time: between two whiles the server may have had enough of waiting.
        let mut client = Client::connect(self.target.address).await.map_err(CallError::from).map_err(ApiError::from)?;
        let reply = client
            .call(self.besieger.get(&["/v1/verifications?status=pending&limit=1"]))
            .await
            .map_err(ApiError::from)?;
        let found: Value = match reply.status {
            200 => serde_json::from_slice(reply.body).unwrap_or_default(),
            status => return Err(ApiError::refused("list", status, reply.body).into()),
        };
        match found["data"].as_array() {
            Some(pending) => Ok(!pending.is_empty()),
            None => Err(ApiError::incomplete("list", "verifications", reply.body).into()),
        }
    }
}

impl Attack<'_> {
    fn has(self, channel: &str) -> bool {
        match self {
            Self::None => false,
            Self::One(name) => name == channel,
            Self::All => true,
        }
    }
}

fn read(components: &Path, name: &str) -> Result<Vec<u8>, PluginsError> {
    let file = components.join(name).with_extension("wasm");
    fs::read(&file).map_err(|source| PluginsError::Component { file, source })
}

/// All that misbehave, by their names: what is neither a sample nor made of a template.
fn misbehaving(components: &Path) -> Result<Vec<(String, Vec<u8>)>, PluginsError> {
    let mut all = Vec::new();
    for entry in
        fs::read_dir(components).map_err(|source| PluginsError::Component { file: components.to_owned(), source })?
    {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let is_ours = name.starts_with("template_") || SAMPLES.contains(&name);
        if !is_ours && path.extension().is_some_and(|ending| ending == "wasm") {
            all.push((name.to_owned(), fs::read(&path)?));
        }
    }
    if all.is_empty() {
        return Err(PluginsError::Component {
            file: components.join("endless_loop.wasm"),
            source: io::ErrorKind::NotFound.into(),
        });
    }
    all.sort();
    Ok(all)
}

/// What behaves.
const SAMPLES: [&str; 6] =
    ["generic_http", "smtp2go", "telegram_gateway", "twilio_sms", "vonage_sms", "whatsapp_cloud"];

fn attack<'a>(name: &str, gateway: SocketAddr, host: &'a [String]) -> Given<'a> {
    let path = PATHS.iter().find(|(of, _)| *of == name).map_or("/echo", |(_, path)| path);
    let secrets = if name == "secret_thief" { json!({ "token": "s3cr3t-of-ours" }) } else { json!({}) };
    Given {
        hosts: host,
        config: json!({ "url": format!("http://{gateway}{path}") }),
        secrets,
        concurrency: CONCURRENCY,
    }
}

/// Messages of a tenant beside the besieged, through one channel.
async fn endure((channel, callers): &(&'static str, Callers), time: Duration) -> Result<Run, PluginsError> {
    let caller = |client, course, due| {
        let requests = Requests::new(callers.target.address, callers.keys.first().map(String::as_str));
        start_when_due(client, course, due, (requests, channel), Arc::clone(&callers.numbers))
    };
    Ok(load::open(callers.target, callers.count, STARTS_PER_SECOND, time, caller).await?)
}

async fn start_when_due(
    mut client: Client,
    course: Arc<Course>,
    due: Due,
    (mut requests, channel): (Requests, &'static str),
    numbers: Arc<Numbers>,
) {
    while let Some(was_due) = due.next().await {
        let body = json!({ "to": numbers.take(), "channels": [channel] });
        let outcome = press::start(&mut client, &mut requests, &body).await;
        let mut tally = course.tally();
        match outcome {
            Ok(id) => {
                tally.done += 1;
                tally.start.add(micros_since(was_due));
                tally.accepted(Accepted { id, turn: 0 });
            }
            Err(error) => tally.fail(error),
        }
    }
}
