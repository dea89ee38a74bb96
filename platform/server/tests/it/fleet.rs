//! Nodes of one installation as processes, and callers who keep book of all that they are told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Board, Exchange, Place, Server, exchange};

/// How long callers go on trying, and a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(120);
/// A client's pause before it tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// An installation over a MongoDB and a Redis, and where its nodes print.
pub struct Fleet {
    first: Place,
    variables: Vec<(String, String)>,
    pub board: Board,
    pub key: String,
    tenant: Value,
}

/// A node, and its data folder.
pub struct Node {
    pub server: Server,
    _place: Place,
}

impl Fleet {
    /// With one tenant, without limits; nothing runs yet.
    pub fn new(store_url: &str, queue_url: &str) -> Self {
        let first = Place::new();
        let variables = [("WOTP_STORE__URL", store_url), ("WOTP_QUEUE__URL", queue_url)];
        let tenant = first.run_with(&["tenant", "create", "Acme", "--plan", "unlimited", "--json"], &variables).json();
        let key = tenant["live_key"].as_str().unwrap().to_owned();
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { first, variables, board: Board::default(), key, tenant }
    }

    pub fn tenant(&self) -> &str {
        self.tenant["tenant"].as_str().unwrap()
    }

    /// Something else in the environment of nodes that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Starts a node that does everything.
    pub fn node(&self) -> Node {
        self.node_with(&[], &[])
    }

    /// Starts a node with more arguments and variables.
    pub fn node_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Node {
        let place = self.place();
        let mut all = self.variables();
        all.extend(variables);
        Node { server: Server::start_on(&place, arguments, &all, self.board.clone()), _place: place }
    }

    /// A data folder with the master key in it.
    pub fn place(&self) -> Place {
        let place = Place::new();
        std::fs::create_dir(place.data()).unwrap();
        // A copy has the permissions of what it is copied from.
        std::fs::copy(self.first.data().join("master.key"), place.data().join("master.key")).unwrap();
        place
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> crate::process::Said {
        self.first.run_with(arguments, &self.variables())
    }

    /// As [`run`](Self::run), from another data folder.
    pub fn run_at(&self, place: &Place, arguments: &[&str]) -> crate::process::Said {
        place.run_with(arguments, &self.variables())
    }
}

/// One request with the tenant's key; none when no whole answer came.
pub fn call(address: &str, method: &str, path: &str, key: &str, more: &str, body: &Value) -> Option<Exchange> {
    exchange(address, method, path, &format!("authorization: Bearer {key}\r\n{more}"), body)
}

/// What callers were told.
#[derive(Default)]
struct Told {
    /// Number by verification, for each 201.
    accepted: HashMap<String, String>,
    /// Replies `valid: true`, by verification.
    approvals: HashMap<String, usize>,
    /// Verifications of which a reply to a check was lost.
    in_doubt: HashSet<String>,
    /// How many the quota refused.
    refused: usize,
}

/// Callers, and what they were told.
pub struct Load {
    key: String,
    board: Board,
    nodes: RwLock<Vec<String>>,
    told: Mutex<Told>,
    numbers: AtomicU64,
    next: AtomicUsize,
    stop: AtomicBool,
    done: AtomicU64,
    retried: AtomicU64,
    turned_away: AtomicU64,
    /// Accepted from others.
    also: AtomicUsize,
    /// Verifications that the plan includes of a day, once callers count on being refused.
    limit: Option<usize>,
}

impl Load {
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            key: fleet.key.clone(),
            board: fleet.board.clone(),
            nodes: RwLock::default(),
            told: Mutex::default(),
            numbers: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            done: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            also: AtomicUsize::new(0),
            limit: None,
        }
    }

    /// Callers of a tenant whose plan includes so many verifications of a day: each goes on until it is
    /// refused the next.
    pub fn within(fleet: &Fleet, limit: usize) -> Self {
        Self { limit: Some(limit), ..Self::new(fleet) }
    }

    /// From now on callers call these.
    pub fn goes_to(&self, addresses: impl IntoIterator<Item = impl Into<String>>) {
        *self.nodes.write().unwrap() = addresses.into_iter().map(Into::into).collect();
    }

    fn address(&self, turn: usize) -> String {
        let nodes = self.nodes.read().unwrap();
        nodes[turn % nodes.len()].clone()
    }

    /// Verifications that went from start to approval.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Requests that were not answered, or answered with 503, and tried again.
    pub fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }

    /// Of these, 503 that said when to come back.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Tells of verifications that others started, of which only the number is known.
    pub fn also_accepted(&self, verifications: usize) {
        self.also.fetch_add(verifications, Ordering::Relaxed);
    }

    /// Verifications that were accepted.
    pub fn accepted(&self) -> usize {
        self.told.lock().unwrap().accepted.len()
    }

    /// Callers that the quota refused.
    pub fn refused(&self) -> usize {
        self.told.lock().unwrap().refused
    }

    /// Calls with `callers` while `fault` does its work, and lets each finish what it has begun.
    pub fn during(&self, callers: usize, fault: impl FnOnce()) {
        self.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..callers {
                scope.spawn(|| {
                    loop {
                        if self.stop.load(Ordering::Relaxed) || !self.verify_one() {
                            return;
                        }
                    }
                });
            }
            // However it ends: callers must not go on for ever after a fault that failed.
            struct Stop<'a>(&'a AtomicBool);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _stop = Stop(&self.stop);
            fault();
        });
    }

    /// Waits until so many more went through, from start to approval.
    pub fn until_more(&self, more: u64) {
        let (from, end) = (self.done(), Instant::now() + PATIENCE);
        while self.done() < from + more {
            assert!(Instant::now() < end, "only {} of {more} went through", self.done() - from);
            std::thread::sleep(PAUSE);
        }
    }

    /// Repeats one request, at one node after another, until one answers it.
    pub fn insist(&self, method: &str, path: &str, more: &str, body: &Value) -> Exchange {
        let end = Instant::now() + PATIENCE;
        loop {
            let address = self.address(self.next.fetch_add(1, Ordering::Relaxed));
            match call(&address, method, path, &self.key, more, body) {
                Some(answer) if answer.status < 500 => return answer,
                Some(answer) => {
                    assert_eq!(answer.status, 503, "{} {}", answer.head, answer.body);
                    assert!(answer.head.contains("retry-after: "), "a 503 says when to come back: {}", answer.head);
                    self.turned_away.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
            self.retried.fetch_add(1, Ordering::Relaxed);
            assert!(Instant::now() < end, "{method} {path} is not answered");
            std::thread::sleep(PAUSE);
        }
    }

    /// Where the verification of a number goes.
    fn to(number: u64) -> String {
        format!("+1212{:07}", 2_000_000 + number)
    }

    /// Starts the verification of a number; again it is the same request.
    fn start(&self, number: u64) -> Exchange {
        let key = format!("idempotency-key: number-{number}\r\n");
        self.insist("POST", "/v1/verifications", &key, &json!({ "to": Self::to(number) }))
    }

    /// Holds a refusal against what is used by then.
    fn hold_refusal(&self, answer: &Exchange, limit: usize) {
        assert_eq!((answer.status, &answer.body["code"]), (429, &json!("quota_exceeded")), "{}", answer.body);
        assert_eq!(answer.body["violated-policies"], json!(["day"]), "{}", answer.body);
        assert!(answer.head.contains("retry-after: "), "it says when to come back: {}", answer.head);
        assert_eq!(self.used("day"), json!(limit), "refused while something was left");
    }

    /// Starts every number again, on whichever node: who was admitted hears the same, who was refused is
    /// refused, and nobody new is admitted.
    pub fn hold_edge(&self) {
        let limit = self.limit.expect("a plan with a limit");
        let told = self.told.lock().unwrap();
        assert_eq!(told.accepted.len(), limit, "told that they are admitted");
        let ids: HashMap<&String, &String> = told.accepted.iter().map(|(id, to)| (to, id)).collect();
        let numbers = self.numbers.load(Ordering::Relaxed);
        assert_eq!(numbers, u64::try_from(limit + told.refused).unwrap(), "each was told one or the other");
        for number in 0..numbers + 8 {
            let answer = self.start(number);
            match ids.get(&Self::to(number)) {
                Some(id) => assert_eq!((answer.status, &answer.body["id"]), (201, &json!(id)), "{}", answer.body),
                None => self.hold_refusal(&answer, limit),
            }
        }
    }

    fn used(&self, window: &str) -> Value {
        let usage = self.insist("GET", "/v1/usage", "", &Value::Null).body;
        usage["verifications"][window]["used"].clone()
    }

    /// From start to approval; the right code is sent to two nodes at once. False where the quota refuses it.
    fn verify_one(&self) -> bool {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let to = Self::to(number);
        let answer = self.start(number);
        if let Some(limit) = self.limit.filter(|_| answer.status == 429) {
            self.hold_refusal(&answer, limit);
            self.told.lock().unwrap().refused += 1;
            return false;
        }
        assert_eq!(answer.status, 201, "{}", answer.body);
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        let before = self.told.lock().unwrap().accepted.insert(id.clone(), to.clone());
        assert_eq!(before, None, "{id} was given to two callers");
        let code = self.board.code_for(&to).unwrap_or_else(|| panic!("{id} to {to} was accepted and never delivered"));
        let path = format!("/v1/verifications/{id}/check");
        let guess = json!({ "code": code });
        let end = Instant::now() + PATIENCE;
        loop {
            let turn = self.next.fetch_add(2, Ordering::Relaxed);
            let replies = std::thread::scope(|scope| {
                let both = [turn, turn + 1].map(|turn| {
                    let (path, guess) = (&path, &guess);
                    scope.spawn(move || call(&self.address(turn), "POST", path, &self.key, "", guess))
                });
                both.map(|reply| reply.join().expect("a caller does not panic"))
            });
            let mut approved = false;
            let mut lost = false;
            for reply in replies {
                match reply {
                    Some(reply) if reply.status == 200 => {
                        if reply.body["valid"] == true {
                            *self.told.lock().unwrap().approvals.entry(id.clone()).or_default() += 1;
                        }
                        approved |= reply.body["valid"] == true || reply.body["status"] == "approved";
                    }
                    Some(reply) => {
                        assert!([409, 503].contains(&reply.status), "{} {}", reply.head, reply.body);
                        self.retried.fetch_add(1, Ordering::Relaxed);
                        lost |= reply.status == 503;
                    }
                    None => {
                        self.retried.fetch_add(1, Ordering::Relaxed);
                        lost = true;
                    }
                }
            }
            if lost {
                self.told.lock().unwrap().in_doubt.insert(id.clone());
            }
            if approved {
                break;
            }
            assert!(Instant::now() < end, "{id} is not approved, by the right code");
            std::thread::sleep(PAUSE);
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Holds what is stored against what callers were told, for every single verification; says how
    /// many messages went out more than once.
    pub fn settle(&self) -> usize {
        let told = self.told.lock().unwrap();
        let stored = self.stored();
        let accepted = told.accepted.len() + self.also.load(Ordering::Relaxed);
        assert_eq!(stored.len(), accepted, "stored is not what was accepted");
        let codes = self.board.codes();
        for (id, to) in &told.accepted {
            let verification = stored.get(id).unwrap_or_else(|| panic!("{id} was accepted and is not stored"));
            assert_eq!(verification["status"], "approved", "{verification}");
            let printed = &codes[to];
            assert!(printed.windows(2).all(|pair| pair[0] == pair[1]), "a retry to {to} carried another code");
            let approvals = told.approvals.get(id).copied().unwrap_or(0);
            assert!(approvals <= 1, "{id} was approved {approvals} times");
            assert!(approvals == 1 || told.in_doubt.contains(id), "{id} was approved and nobody was told");
        }
        for window in ["day", "month"] {
            assert_eq!(self.used(window), json!(accepted), "the ledger of the {window} is not what was admitted");
        }
        codes.values().map(|printed| printed.len() - 1).sum()
    }

    fn stored(&self) -> HashMap<String, Value> {
        let mut all = HashMap::new();
        let mut cursor = String::new();
        loop {
            let page = self.insist("GET", &format!("/v1/verifications?limit=100{cursor}"), "", &Value::Null).body;
            for verification in page["data"].as_array().expect("a list") {
                all.insert(verification["id"].as_str().expect("an id").to_owned(), verification.clone());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

/// Waits until `look` says yes.
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < end, "it took too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
