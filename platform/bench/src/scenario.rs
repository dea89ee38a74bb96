//! What is measured: starts, whole life cycles, and the way from accepted to handed over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::api::{self, ApiError, OWN_CODE, Requests, WRONG_CODE};
use crate::client::{CallError, Client};
use crate::load::{self, Accepted, Bound, Course, Due, Latencies, LoadError, Run, Summary, Target, micros_since};
use crate::number::Numbers;

/// One check in so many has its reply read for the times of its delivery; reading all of them would cost
/// more than the rest of the driver.
const HANDOVER_SAMPLE: u64 = 16;
/// How long we wait for the last deliveries of a run.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections of an open loop: enough that a stall of 50 ms at 10,000 calls a second makes none wait.
const OPEN_CONNECTIONS: usize = 512;
/// Verifications whose times are read after an open loop: 50 of them lie above the 99th percentile.
const LOOK_UPS: usize = 5_000;

/// Who calls, and with which numbers.
#[derive(Debug, Clone)]
pub struct Callers {
    /// The server.
    pub target: Target,
    /// Keys, dealt to the callers in turn. None for a server that asks for none.
    pub keys: Arc<[String]>,
    /// Addresses that nobody has called before.
    pub numbers: Arc<Numbers>,
    /// How many call at once.
    pub count: usize,
    /// Whether the server delivers what it accepts.
    pub delivers: bool,
}

impl Callers {
    /// Requests as the caller whose turn it is would write them.
    fn requests(&self, turn: usize) -> Requests {
        let key = (!self.keys.is_empty()).then(|| self.keys[turn % self.keys.len()].as_str());
        Requests::new(self.target.address, key)
    }
}

/// How a life cycle comes to know its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A live key brings its own code: the whole way, channel included, to `approved`.
    OwnCode,
    /// A live key guesses wrong, where the platform does not allow own codes: the whole way, and a
    /// counted check instead of the approval.
    WrongCode,
    /// A test key is told the code; no channel is reached.
    TestKey,
}

/// Starts, one after another by each caller. The bare server's request is the same but for the key.
///
/// For the platform the run ends when the last verifications accepted have been handed to the channel:
/// accepting and not delivering would be half the work.
///
/// # Errors
/// [`LoadError`].
pub async fn starts(callers: &Callers, bound: Bound) -> Result<Run, LoadError> {
    let mut turn = 0;
    let caller = |client, course| {
        turn += 1;
        start_until_over(client, course, (turn, callers.requests(turn)), Arc::clone(&callers.numbers))
    };
    load::closed(callers.target, callers.count, bound, caller, async |last: &[Accepted]| {
        handed_over(callers, last).await
    })
    .await
}

async fn start_until_over(
    mut client: Client,
    course: Arc<Course>,
    (turn, mut requests): (usize, Requests),
    numbers: Arc<Numbers>,
) {
    while course.begin() {
        let sent = Instant::now();
        let outcome = start(&mut client, &mut requests, &numbers, None).await;
        let micros = micros_since(sent);
        let mut tally = course.tally();
        match outcome {
            Ok(started) => {
                tally.done += 1;
                tally.start.add(micros);
                tally.accepted(Accepted { id: started.id, turn });
            }
            Err(error) => tally.fail(error),
        }
    }
}

struct Started {
    id: String,
    test_code: Option<String>,
}

async fn start(
    client: &mut Client,
    requests: &mut Requests,
    numbers: &Numbers,
    mode: Option<Mode>,
) -> Result<Started, ApiError> {
    let code = (mode == Some(Mode::OwnCode)).then_some(OWN_CODE);
    let reply = client.call(requests.start(&numbers.take(), code)).await?;
    if reply.status != 201 {
        return Err(ApiError::refused("start", reply.status, reply.body));
    }
    let test_code = match mode {
        Some(Mode::TestKey) => Some(api::test_code(reply.body)?),
        _ => None,
    };
    Ok(Started { id: api::verification_id(reply.body)?, test_code })
}

/// Waits until each of these has been handed to its channel.
async fn handed_over(callers: &Callers, accepted: &[Accepted]) -> Result<(), ApiError> {
    if !callers.delivers {
        return Ok(());
    }
    let mut client = Client::connect(callers.target.address).await.map_err(CallError::from)?;
    let give_up = Instant::now() + HANDOVER_TIMEOUT;
    for one in accepted {
        let mut requests = callers.requests(one.turn);
        loop {
            let seen = api::verification(&mut client, &mut requests, &one.id).await?;
            if seen.handed_over_micros().is_some() {
                break;
            }
            let status = seen.deliveries.into_iter().next().map(|first| first.status);
            let status = status.unwrap_or_else(|| "missing".to_owned());
            if status == "failed" || Instant::now() > give_up {
                return Err(ApiError::NotHandedOver { id: one.id.clone(), status });
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

/// Whole life cycles: start, delivered, checked.
///
/// A caller does not stand still until a delivery is through, as a person would not keep a server idle:
/// it starts others meanwhile, and checks each once `settle` has passed since its start. A check's reply
/// tells whether the delivery had really come first; [`load::Tally::early`] counts where it had not.
///
/// # Errors
/// [`LoadError`].
pub async fn life_cycles(callers: &Callers, mode: Mode, settle: Duration, bound: Bound) -> Result<Run, LoadError> {
    let mut turn = 0;
    let caller = |client, course| {
        turn += 1;
        let life_cycle = LifeCycles {
            client,
            requests: callers.requests(turn),
            numbers: Arc::clone(&callers.numbers),
            mode,
            settle,
        };
        life_cycle.until_over(course)
    };
    load::closed(callers.target, callers.count, bound, caller, async |_: &[Accepted]| Ok(())).await
}

struct LifeCycles {
    client: Client,
    requests: Requests,
    numbers: Arc<Numbers>,
    mode: Mode,
    settle: Duration,
}

struct Pending {
    started: Started,
    settled: Instant,
}

impl LifeCycles {
    async fn until_over(mut self, course: Arc<Course>) {
        let mut pending: VecDeque<Pending> = VecDeque::new();
        loop {
            let going_on = course.begin();
            if going_on && let Some(started) = self.start(&course).await {
                pending.push_back(Pending { started, settled: Instant::now() + self.settle });
            }
            let Some(next) = pending.front() else {
                if going_on {
                    continue;
                }
                return;
            };
            if Instant::now() < next.settled {
                if going_on {
                    continue;
                }
                sleep_until(next.settled).await;
            }
            if let Some(next) = pending.pop_front() {
                self.check(&course, &next.started).await;
            }
        }
    }

    async fn start(&mut self, course: &Course) -> Option<Started> {
        let sent = Instant::now();
        let outcome = start(&mut self.client, &mut self.requests, &self.numbers, Some(self.mode)).await;
        let micros = micros_since(sent);
        let mut tally = course.tally();
        match outcome {
            Ok(started) => {
                tally.start.add(micros);
                Some(started)
            }
            Err(error) => {
                tally.fail(error);
                None
            }
        }
    }

    async fn check(&mut self, course: &Course, started: &Started) {
        let code = match self.mode {
            Mode::OwnCode => OWN_CODE,
            Mode::WrongCode => WRONG_CODE,
            Mode::TestKey => started.test_code.as_deref().unwrap_or(WRONG_CODE),
        };
        let sent = Instant::now();
        let outcome = self.client.call(self.requests.check(&started.id, code)).await;
        let micros = micros_since(sent);
        let mut tally = course.tally();
        match outcome {
            Ok(reply) if reply.status == 200 => {
                // One wrong guess in a million is right.
                if api::is_valid(reply.body) != (self.mode != Mode::WrongCode) {
                    let error = ApiError::refused("check of this code", reply.status, reply.body);
                    return tally.fail(error);
                }
                tally.done += 1;
                tally.check.add(micros);
                if !api::is_sent(reply.body) {
                    tally.early += 1;
                } else if tally.done.is_multiple_of(HANDOVER_SAMPLE)
                    && let Some(micros) = api::checked_verification(reply.body).and_then(|v| v.handed_over_micros())
                {
                    tally.handover.add(micros);
                }
            }
            Ok(reply) => tally.fail(ApiError::refused("check", reply.status, reply.body)),
            Err(error) => tally.fail(error.into()),
        }
    }
}

/// Starts that fall due `per_second` times a second, each timed from when it was due.
///
/// # Errors
/// [`LoadError`].
pub async fn starts_at_rate(callers: &Callers, per_second: f64, time: Duration) -> Result<Run, LoadError> {
    let mut turn = 0;
    let caller = |client, course, due| {
        turn += 1;
        start_when_due(client, course, due, (turn, callers.requests(turn)), Arc::clone(&callers.numbers))
    };
    load::open(callers.target, OPEN_CONNECTIONS, per_second, time, caller).await
}

async fn start_when_due(
    mut client: Client,
    course: Arc<Course>,
    due: Due,
    (turn, mut requests): (usize, Requests),
    numbers: Arc<Numbers>,
) {
    while let Some(was_due) = due.next().await {
        let late = micros_since(was_due);
        let outcome = start(&mut client, &mut requests, &numbers, None).await;
        let micros = micros_since(was_due);
        let mut tally = course.tally();
        tally.late.add(late);
        match outcome {
            Ok(started) => {
                tally.done += 1;
                tally.start.add(micros);
                tally.accepted(Accepted { id: started.id, turn });
            }
            Err(error) => tally.fail(error),
        }
    }
}

/// From accepted to handed over, by the platform's own times, of up to 5,000 of `accepted` evenly spread.
///
/// # Errors
/// [`ApiError`], also when one of them is never handed over.
pub async fn handovers(callers: &Callers, accepted: &[Accepted]) -> Result<Option<Summary>, ApiError> {
    if let Some(last) = accepted.last() {
        handed_over(callers, std::slice::from_ref(last)).await?;
    }
    let mut client = Client::connect(callers.target.address).await.map_err(CallError::from)?;
    let mut latencies = Latencies::new();
    for one in accepted.iter().step_by(accepted.len().div_ceil(LOOK_UPS).max(1)) {
        let mut requests = callers.requests(one.turn);
        let seen = api::verification(&mut client, &mut requests, &one.id).await?;
        match seen.handed_over_micros() {
            Some(micros) => latencies.add(micros),
            None => {
                // Overtaken by later ones, and therefore one of the slowest: it must not be left out.
                handed_over(callers, std::slice::from_ref(one)).await?;
                let seen = api::verification(&mut client, &mut requests, &one.id).await?;
                seen.handed_over_micros().into_iter().for_each(|micros| latencies.add(micros));
            }
        }
    }
    Ok(latencies.summary())
}
