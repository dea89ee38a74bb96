//! An outage that lasts beyond codes' lives: what was under way ends as its story says, not silently.

use super::*;

/// The shortest life of a code.
const LIFE: Duration = Duration::from_secs(30);
/// Verifications of each story.
const EACH: usize = 4;

/// What became of a verification before the outage, and so what must be said of it after.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Story {
    Approved,
    OutOfGuesses,
    Delivered,
    GuessedWrongOnce,
    NeverDelivered,
}

impl Story {
    /// Status and reason, and whether it stays counted.
    fn end(self) -> (&'static str, Value, bool) {
        match self {
            Self::Approved => ("approved", Value::Null, true),
            Self::OutOfGuesses => ("failed", json!("max_checks"), true),
            Self::Delivered | Self::GuessedWrongOnce => ("expired", Value::Null, true),
            Self::NeverDelivered => ("failed", json!("undeliverable"), false),
        }
    }
}

/// Verifications that live through an outage.
struct Stories<'a> {
    fleet: &'a Fleet,
    api: String,
    told: Vec<(Story, String, String)>,
    last: Instant,
}

impl<'a> Stories<'a> {
    /// Everything that a worker has a part in.
    fn begin(fleet: &'a Fleet, api: &Node) -> Self {
        let mut stories = Self { fleet, api: api.server.address.clone(), told: Vec::new(), last: Instant::now() };
        for story in [Story::Delivered, Story::GuessedWrongOnce, Story::Approved, Story::OutOfGuesses] {
            for _ in 0..EACH {
                let (id, to) = stories.start(story);
                let code = fleet.board.code_for(&to).expect("it is delivered");
                let wrong = if code == "000000" { "111111" } else { "000000" };
                match story {
                    Story::Approved => assert_eq!(stories.check(&id, &code).body["valid"], true),
                    Story::GuessedWrongOnce => assert_eq!(stories.check(&id, wrong).body["valid"], false),
                    Story::OutOfGuesses => while stories.check(&id, wrong).body["status"] == "pending" {},
                    Story::Delivered | Story::NeverDelivered => {}
                }
            }
        }
        stories
    }

    /// What comes while no worker can.
    fn begin_without_worker(&mut self) {
        for _ in 0..EACH {
            self.start(Story::NeverDelivered);
        }
    }

    fn start(&mut self, story: Story) -> (String, String) {
        let to = format!("+1212{:07}", 2_000_000 + self.told.len());
        let body = json!({ "to": to, "expires_in_seconds": LIFE.as_secs() });
        let started = call(&self.api, "POST", "/v1/verifications", &self.fleet.key, "", &body).unwrap();
        assert_eq!(started.status, 201, "{}", started.body);
        let id = started.body["id"].as_str().unwrap().to_owned();
        self.told.push((story, id.clone(), to.clone()));
        self.last = Instant::now();
        (id, to)
    }

    fn check(&self, id: &str, code: &str) -> crate::process::Exchange {
        let path = format!("/v1/verifications/{id}/check");
        call(&self.api, "POST", &path, &self.fleet.key, "", &json!({ "code": code })).unwrap()
    }

    /// Waits until every code's time ran out, and more.
    fn outlive(&self) {
        until("every code's time ran out", || self.last.elapsed() > LIFE + Duration::from_secs(2));
    }

    /// Holds every single one against its story, as `node` tells it; `more` were accepted beside them.
    fn hold(&self, node: &Node, more: usize) {
        let read = |id: &str| {
            let path = format!("/v1/verifications/{id}");
            call(&node.server.address, "GET", &path, &self.fleet.key, "", &Value::Null).unwrap().body
        };
        for (story, id, to) in &self.told {
            let mut is = Value::Null;
            until("it is not pending any more", || {
                is = read(id);
                is["status"].is_string() && is["status"] != "pending"
            });
            let (status, reason, _) = story.end();
            assert_eq!((&is["status"], &is["reason"]), (&json!(status), &reason), "{story:?} to {to}: {is}");
            let printed = self.fleet.board.codes().get(to).map_or(0, Vec::len);
            let sent = usize::from(*story != Story::NeverDelivered);
            assert_eq!(printed, sent, "no code goes out once its time ran out: {story:?} to {to}");
        }
        let counted = self.told.iter().filter(|(story, ..)| story.end().2).count() + more;
        let usage = call(&node.server.address, "GET", "/v1/usage", &self.fleet.key, "", &Value::Null).unwrap().body;
        for window in ["day", "month"] {
            assert_eq!(usage["verifications"][window]["used"], json!(counted), "the ledger of the {window}: {usage}");
        }
    }
}

#[test]
fn every_node_dead_until_codes_expired() {
    let database = MongoDatabase::fresh();
    let fleet = Fleet::new(database.url(), redis_url());
    let (api, worker) = (fleet.node_with(&["--role", "api"], &[]), fleet.node_with(&["--role", "worker"], &[]));
    let mut stories = Stories::begin(&fleet, &api);
    worker.server.signal(Signal::KILL);
    stories.begin_without_worker();
    api.server.signal(Signal::KILL);
    stories.outlive();
    let node = fleet.node();
    stories.hold(&node, 0);
}

#[test]
fn mongodb_away_until_codes_expired() {
    let mut set = ReplicaSet::start(1);
    let mut fleet = Fleet::new(&set.url("outage"), redis_url());
    fleet.set("WOTP_SERVER__REQUEST_TIMEOUT_SECONDS", "6");
    let (api, worker) = (fleet.node_with(&["--role", "api"], &[]), fleet.node_with(&["--role", "worker"], &[]));
    let mut stories = Stories::begin(&fleet, &api);
    // It hears nothing of what comes now until there is no store any more.
    worker.server.signal(Signal::STOP);
    stories.begin_without_worker();
    set.kill(0);
    worker.server.signal(Signal::CONT);
    // Callers are told that it is away, of starts as of checks.
    let (_, delivered, to) = stories.told[0].clone();
    let code = fleet.board.code_for(&to).unwrap();
    let start = json!({ "to": "+12123000000" });
    let again = "idempotency-key: again\r\n";
    let refused = [
        stories.check(&delivered, &code),
        call(&stories.api, "POST", "/v1/verifications", &fleet.key, again, &start).unwrap(),
    ];
    for refused in refused {
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    }
    stories.outlive();
    set.restart(0);
    set.primary();
    until("the store is back", || stories.check(&delivered, &code).status == 200);
    let late = stories.check(&delivered, &code).body;
    assert_eq!((&late["valid"], &late["status"]), (&json!(false), &json!("expired")), "{late}");
    let mut ids = std::collections::HashSet::new();
    for _ in 0..2 {
        let started = call(&stories.api, "POST", "/v1/verifications", &fleet.key, again, &start).unwrap();
        assert_eq!(started.status, 201, "{}", started.body);
        ids.insert(started.body["id"].to_string());
    }
    assert_eq!(ids.len(), 1, "what was refused meanwhile is started once");
    assert!(fleet.board.code_for("+12123000000").is_some(), "deliveries go on");
    stories.hold(&api, 1);
    drop(worker);
}
