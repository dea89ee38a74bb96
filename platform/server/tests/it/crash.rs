//! kill -9 at random moments under load: nothing accepted is lost, nothing is approved twice.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::process::{Place, Server};

/// Kills in a row; `make crash` for the long run.
fn rounds() -> u32 {
    std::env::var("CRASH_ROUNDS").ok().map_or(5, |text| text.parse().expect("CRASH_ROUNDS is a number"))
}

const CALLERS: usize = 8;

/// What callers were told, over all rounds.
#[derive(Default)]
struct Told {
    /// Number by verification, for each 201.
    accepted: HashMap<String, String>,
    /// Verifications with a reply `valid: true`.
    approved: HashSet<String>,
    /// Verifications whose check was sent and whose reply was lost: either may be.
    in_doubt: HashSet<String>,
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// Starts, waits for the code, checks it, until the server is gone.
fn call(server: &Server, key: &str, numbers: &AtomicU64, accepted: &AtomicU64, told: &Mutex<Told>) {
    loop {
        // Nothing leaves the console channel; the numbers only have to be valid and distinct.
        let to = format!("+1212{:07}", 2_000_000 + numbers.fetch_add(1, Ordering::Relaxed));
        let Some((status, reply)) = server.try_request("POST", "/v1/verifications", key, json!({ "to": to })) else {
            return;
        };
        assert_eq!(status, 201, "{reply}");
        let id = reply["id"].as_str().expect("an id").to_owned();
        told.lock().unwrap().accepted.insert(id.clone(), to.clone());
        accepted.fetch_add(1, Ordering::Relaxed);
        let Some(code) = server.code_for(&to) else { return };
        told.lock().unwrap().in_doubt.insert(id.clone());
        let Some((status, reply)) = check(server, key, &id, &code) else { return };
        assert_eq!((status, &reply["valid"]), (200, &Value::Bool(true)), "{reply}");
        let mut told = told.lock().unwrap();
        told.in_doubt.remove(&id);
        assert!(told.approved.insert(id));
    }
}

fn check(server: &Server, key: &str, id: &str, code: &str) -> Option<(u16, Value)> {
    server.try_request("POST", &format!("/v1/verifications/{id}/check"), key, json!({ "code": code }))
}

/// Every verification that is stored.
fn stored(server: &Server, key: &str) -> HashMap<String, Value> {
    let mut all = HashMap::new();
    let mut cursor = String::new();
    loop {
        let (status, page) = server.request("GET", &format!("/v1/verifications?limit=100{cursor}"), key, Value::Null);
        assert_eq!(status, 200, "{page}");
        for verification in page["data"].as_array().expect("a list") {
            all.insert(verification["id"].as_str().expect("an id").to_owned(), verification.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Returns once analytics count so many started and approved. They are behind by moments, and never ahead.
fn counted(server: &Server, key: &str, started: usize, approved: usize) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, told) = server.request("GET", "/v1/analytics", key, Value::Null);
        assert_eq!(status, 200, "{told}");
        let totals = &told["totals"];
        let now = [&totals["started"], &totals["approved"]].map(|count| count.as_u64().expect("a count") as usize);
        assert!(now[0] <= started && now[1] <= approved, "counted more than once: {totals}");
        if now == [started, approved] {
            return;
        }
        assert!(Instant::now() < end, "of {started} started and {approved} approved were counted: {totals}");
        std::thread::yield_now();
    }
}

#[test]
fn killed_at_random_moments_under_load_it_loses_nothing_and_approves_nothing_twice() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let key = tenant["live_key"].as_str().unwrap();
    // What was started in the first round is checked after the last one: its code has to live so long.
    let service = format!("/v1/services/{}", tenant["service"].as_str().unwrap());
    let long = json!({ "code": { "expires_in_seconds": 3600, "long_expiry_allowed": true } });
    assert_eq!(Server::start(&place).request("PATCH", &service, key, long).0, 200);
    let (numbers, told) = (AtomicU64::new(0), Mutex::new(Told::default()));
    let mut codes: HashMap<String, Vec<String>> = HashMap::new();
    for _ in 0..rounds() {
        let server = Server::start(&place);
        let (accepted, enough) = (AtomicU64::new(0), 1 + random(60));
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| call(&server, key, &numbers, &accepted, &told));
            }
            while accepted.load(Ordering::Relaxed) < enough {
                std::thread::yield_now();
            }
            for _ in 0..random(200_000) {
                std::hint::spin_loop();
            }
            // No handler runs, nothing is flushed.
            server.signal(Signal::KILL);
        });
        for (to, printed) in server.codes() {
            codes.entry(to).or_default().extend(printed);
        }
    }

    let told = told.into_inner().unwrap();
    let server = Server::start(&place);
    // Whatever the last kill left undelivered comes out now.
    for (id, to) in &told.accepted {
        if !codes.contains_key(to) {
            let code = server.code_for(to).unwrap_or_else(|| panic!("{id} was accepted and never delivered"));
            codes.entry(to.clone()).or_default().push(code);
        }
    }
    for (to, printed) in &codes {
        assert!(printed.windows(2).all(|pair| pair[0] == pair[1]), "a retry to {to} carried another code");
    }
    let stored = stored(&server, key);
    for (id, to) in &told.accepted {
        assert!(stored.contains_key(id), "{id} was accepted and is not stored");
        let code = &codes[to][0];
        let (_, reply) = check(&server, key, id, code).expect("a reply");
        let valid = reply["valid"] == Value::Bool(true);
        if told.approved.contains(id) {
            assert!(!valid && reply["status"] == "approved", "{id} was approved twice: {reply}");
        } else if !told.in_doubt.contains(id) {
            assert!(valid, "{id} was delivered and its code is not right: {reply}");
        }
    }
    let (_, usage) = server.request("GET", "/v1/usage", key, Value::Null);
    assert_eq!(usage["verifications"]["month"]["used"], json!(stored.len()), "usage is not what was admitted");
    let all = self::stored(&server, key);
    counted(&server, key, all.len(), all.values().filter(|one| one["status"] == "approved").count());
    drop(server);
    place.run(&["doctor"]).succeeded();
}
