//! One call of a plugin: what it may use up, and what became of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmtime::{Engine, Store, Trap, UpdateDeadline};
use wotp_core::domain::id::ConnectionId;
use wotp_core::ports::{Clock, Entropy, Outgoing};
use wotp_outbound::Fetch;

use crate::bounds::Bounds;
use crate::hosts::Host;
use crate::report::Sight;
use crate::secrets::{Granted, Marks, Secret};
use crate::since_v0_1_0::exports::wotp::channel::delivery::{DeliveryError, Descriptor, Message, Receipt};
use crate::since_v0_1_0::{ChannelPlugin, ChannelPluginPre};
use crate::since_v0_1_1::HearingPluginPre;
use crate::since_v0_1_1::exports::wotp::channel::webhook;
use crate::since_v0_1_2::asking::AskingPluginPre;
use crate::since_v0_1_2::asking::exports::wotp::channel::status;
use crate::since_v0_1_2::probing::ProbingPluginPre;
use crate::since_v0_1_2::probing::exports::wotp::channel::probe;
use crate::since_v0_1_3::RevokingPluginPre;
use crate::since_v0_1_3::exports::wotp::channel::revoke;
use crate::since_v0_1_4::CheckingPluginPre;
use crate::since_v0_1_4::exports::wotp::channel::account;
use crate::turns::{Effort, Turns};

/// How long a plugin may compute in one call. Waiting for an answer is no computing.
pub(crate) const RUNNING_MAX: Duration = Duration::from_secs(1);
/// What a turn of it may compute at least before a tick ends it.
const TURN_MIN: Duration = Duration::from_millis(1);
/// Bytes that a plugin may write to the log in one call.
pub(crate) const LOG_MAX: usize = 8 * 1024;
/// Bytes that a plugin may hand over in one of its calls, or as its answer: its largest request is a quarter of it. The
/// host copies them while no tick stops it.
const HANDED_MAX: usize = 1 << 20;
/// Requests that a plugin may make in one call.
pub(crate) const REQUESTS_MAX: u32 = 8;
/// Signatures that a plugin may have verified in one call.
const VERIFICATIONS_MAX: u32 = 8;

/// What plugins are lent of the world outside.
#[derive(Clone)]
pub struct World {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Makes their requests.
    pub caller: Arc<dyn Fetch>,
    /// Where the installation can be reached from outside, if the operator said so: a web origin.
    pub public_url: Option<String>,
}

/// What one plugin is allowed, in every call.
pub(crate) struct Grant {
    /// The name of its channel, for the log.
    pub channel: String,
    /// The connection of a tenant that it is; none where it is the operator's.
    pub connection: Option<ConnectionId>,
    /// The hosts that it may call.
    pub hosts: Vec<Host>,
    /// The secrets that are put in for it.
    pub secrets: Vec<Granted>,
    /// What it is lent.
    pub world: World,
    /// When it may compute: its turns are the same whatever it is called for.
    pub turns: Arc<Turns>,
}

/// What a plugin is called for.
pub(crate) enum Errand {
    /// To say something about itself or its settings. It calls nobody: an operator looks at it, who may not have
    /// approved anything yet.
    Look,
    /// To deliver this, with what the provider gave along when it was asked whether that reaches anybody.
    Deliver { outgoing: Box<Outgoing>, token: Option<String> },
    /// To ask whether this reaches anybody.
    Probe(Box<Outgoing>),
    /// To ask what became of a message.
    Ask,
    /// To have a message taken back.
    Revoke,
    /// To look at the account at the provider.
    Check,
    /// To say what a provider tells, or whoever says to be one: strangers have nobody called.
    Hear,
}

/// The state of one call.
pub(crate) struct Call {
    pub(crate) grant: Arc<Grant>,
    pub(crate) errand: Errand,
    pub(crate) marks: Marks,
    pub(crate) deadline: Instant,
    pub(crate) log_left: usize,
    pub(crate) requests_left: u32,
    pub(crate) verifications_left: u32,
    /// What secrets became in what went out, where that is not how they are written.
    pub(crate) encoded: Vec<Secret>,
    pub(crate) sight: Arc<Sight>,
    /// What it has taken so far.
    pub(crate) effort: Arc<Effort>,
    /// Whether it said that the account is not as it was.
    pub(crate) account_changed: Arc<AtomicBool>,
    bounds: Bounds,
}

/// Why a plugin gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// It computed for too long.
    #[error("the plugin computed for longer than {} s and was stopped", RUNNING_MAX.as_secs())]
    Running,
    /// It took too long altogether.
    #[error("the plugin gave no answer in time and was stopped")]
    Deadline,
    /// It crashed.
    #[error("the plugin crashed: {0}")]
    Trap(String),
}

impl Call {
    /// A call that ends after `time` at the latest.
    pub(crate) fn new(grant: &Arc<Grant>, errand: Errand, time: Duration) -> Self {
        Self {
            marks: Marks::draw(&*grant.world.entropy),
            grant: Arc::clone(grant),
            errand,
            deadline: Instant::now() + time,
            log_left: LOG_MAX,
            requests_left: REQUESTS_MAX,
            verifications_left: VERIFICATIONS_MAX,
            encoded: Vec::new(),
            sight: Arc::default(),
            effort: Arc::default(),
            account_changed: Arc::default(),
            bounds: Bounds::default(),
        }
    }

    /// What a plugin wrote, for the log: on one line, cut, without secrets, address and code.
    pub(crate) fn redacted(&self, text: &str) -> String {
        let outgoing = match &self.errand {
            Errand::Look | Errand::Check => None,
            Errand::Deliver { outgoing, .. } | Errand::Probe(outgoing) => Some(&**outgoing),
            Errand::Hear | Errand::Ask | Errand::Revoke => return self.grant.without_people(text),
        };
        self.grant.redacted(text, outgoing)
    }
}

/// Asks what it is.
pub(crate) async fn describe(pre: &ChannelPluginPre<Call>, call: Call) -> Result<Descriptor, Stopped> {
    let (within, pre) = (Within::of(&call), pre.clone());
    within
        .run(async move {
            let (mut store, plugin) = start(&pre, call).await?;
            plugin.wotp_channel_delivery().call_describe(&mut store).await
        })
        .await
}

/// Asks whether it can work with these settings.
pub(crate) async fn validate(
    pre: &ChannelPluginPre<Call>,
    call: Call,
    config: &str,
) -> Result<Result<(), Vec<String>>, Stopped> {
    let (within, pre, config) = (Within::of(&call), pre.clone(), config.to_owned());
    within
        .run(async move {
            let (mut store, plugin) = start(&pre, call).await?;
            plugin.wotp_channel_delivery().call_validate(&mut store, &config).await
        })
        .await
}

/// Has it deliver a message.
pub(crate) async fn deliver(
    pre: &ChannelPluginPre<Call>,
    call: Call,
    message: Message,
) -> Result<Result<Receipt, DeliveryError>, Stopped> {
    let (within, pre) = (Within::of(&call), pre.clone());
    within
        .run(async move {
            let (mut store, plugin) = start(&pre, call).await?;
            plugin.wotp_channel_delivery().call_deliver(&mut store, &message).await
        })
        .await
}

/// Has it read what came from its provider, or from whoever says to be.
pub(crate) async fn hear(
    pre: &HearingPluginPre<Call>,
    call: Call,
    told: webhook::Call,
) -> Result<Result<Vec<webhook::Receipt>, webhook::Refusal>, Stopped> {
    let (within, pre) = (Within::of(&call), pre.clone());
    within
        .run(async move {
            let mut store = store(pre.engine(), call);
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin.wotp_channel_webhook().call_receive(&mut store, &told).await
        })
        .await
}

/// Has it ask what became of a message.
pub(crate) async fn ask(
    pre: &AskingPluginPre<Call>,
    call: Call,
    query: status::Query,
) -> Result<Result<status::Answer, status::Trouble>, Stopped> {
    let (within, pre) = (Within::of(&call), pre.clone());
    within
        .run(async move {
            let mut store = store(pre.engine(), call);
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin.wotp_channel_status().call_poll(&mut store, &query).await
        })
        .await
}

/// Has it ask that a message be taken back.
pub(crate) async fn revoke(
    pre: &RevokingPluginPre<Call>,
    call: Call,
    sent: revoke::Sent,
) -> Result<Result<(), revoke::Trouble>, Stopped> {
    let (within, pre) = (Within::of(&call), pre.clone());
    within
        .run(async move {
            let mut store = store(pre.engine(), call);
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin.wotp_channel_revoke().call_take_back(&mut store, &sent).await
        })
        .await
}

/// Has it look at the account at its provider.
pub(crate) async fn check(
    pre: &CheckingPluginPre<Call>,
    call: Call,
    config: &str,
) -> Result<Result<account::Report, account::Trouble>, Stopped> {
    let (within, pre, config) = (Within::of(&call), pre.clone(), config.to_owned());
    within
        .run(async move {
            let mut store = store(pre.engine(), call);
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin.wotp_channel_account().call_check(&mut store, &config).await
        })
        .await
}

/// Has it ask whether a message would reach anybody.
pub(crate) async fn probe(
    pre: &ProbingPluginPre<Call>,
    call: Call,
    message: Message,
) -> Result<probe::Answer, Stopped> {
    let (within, pre) = (Within::of(&call), pre.clone());
    within
        .run(async move {
            let mut store = store(pre.engine(), call);
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin.wotp_channel_probe().call_reachable(&mut store, &message).await
        })
        .await
}

/// Until when, and by whose turns, a call goes on.
struct Within {
    end: Instant,
    turns: Arc<Turns>,
    hears: bool,
    effort: Arc<Effort>,
}

impl Within {
    fn of(call: &Call) -> Self {
        let (turns, effort) = (Arc::clone(&call.grant.turns), Arc::clone(&call.effort));
        Self { end: call.deadline, turns, hears: matches!(call.errand, Errand::Hear), effort }
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl Future<Output = wasmtime::Result<T>> + Send + 'static,
    ) -> Result<T, Stopped> {
        let line = if self.hears { &self.turns.hearing } else { &self.turns.asked };
        match timeout_at(self.end, line.taken(&self.effort, work)).await {
            Ok(result) => result.map_err(|error| stopped(&error)),
            Err(_) => Err(Stopped::Deadline),
        }
    }
}

/// A fresh instance, with nothing left of any other.
async fn start(pre: &ChannelPluginPre<Call>, call: Call) -> wasmtime::Result<(Store<Call>, ChannelPlugin)> {
    let mut store = store(pre.engine(), call);
    let plugin = pre.instantiate_async(&mut store).await?;
    Ok((store, plugin))
}

/// What an instance lives in, with all that bounds it.
fn store(engine: &Engine, call: Call) -> Store<Call> {
    let mut store = Store::new(engine, call);
    store.limiter(|call| &mut call.bounds);
    store.set_hostcall_fuel(HANDED_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        let call = context.data_mut();
        if Instant::now() >= call.deadline {
            return Err(Stopped::Deadline.into());
        }
        if call.effort.computed() + call.effort.turn() >= RUNNING_MAX {
            return Err(Stopped::Running.into());
        }
        // It waited for somebody, or began, just before this tick: the next one is for it.
        if call.effort.turn() < TURN_MIN {
            return Ok(UpdateDeadline::Continue(1));
        }
        call.effort.interrupted();
        // Whoever else waits for this thread is next.
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// What the engine says, without the names of what crashed: those are the plugin's own words.
fn stopped(error: &wasmtime::Error) -> Stopped {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.clone();
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Stopped::Trap(trap.to_string()),
        None => Stopped::Trap(error.root_cause().to_string()),
    }
}
