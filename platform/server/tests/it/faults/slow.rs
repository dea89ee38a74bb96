//! A MongoDB that is slow, while far more comes at once than it can take.
//!
//! The flood is in before a single answer is let through, and what is asserted is how often MongoDB is asked, or that
//! an answer cannot be there in time: neither depends on how fast the machine is.

use std::sync::atomic::{AtomicUsize, Ordering};

use wotp_test_servers::Wire;

use super::*;

/// Starts at one moment.
const FLOOD: usize = 800;
/// What each of them may take of a node's memory.
const EACH_TAKES: u64 = 128 << 10;
/// Transactions that all of them may take. They go 256 at once, beside those that are a moment ahead, and the
/// callers that call all the while.
const COMMITS_MAX: usize = 16;

/// One MongoDB behind a wire.
struct Slow {
    _set: ReplicaSet,
    wire: Wire,
    fleet: Fleet,
}

impl Slow {
    /// Whose nodes give a request so many seconds.
    fn with_requests_of(seconds: u32) -> Self {
        let set = ReplicaSet::start(1);
        let wire = Wire::to(&set.member(0).address());
        // Straight to the wire: a driver that knows the set would go around it.
        // And the driver must not take a wire that says nothing for a dead one, however long the flood comes in.
        let url = format!("mongodb://{}/slow?directConnection=true&connectTimeoutMS=300000", wire.address());
        let mut fleet = Fleet::new(&url, redis_url());
        fleet.set("WOTP_SERVER__REQUEST_TIMEOUT_SECONDS", &seconds.to_string());
        fleet.set("WOTP_SERVER__CONNECTIONS_MAX", "3000");
        Self { _set: set, wire, fleet }
    }

    /// Starts at `node`, all at once, while MongoDB says nothing; once all are in, its answers come with `delay`.
    /// How each was answered.
    fn flood(&self, node: &Node, delay: Duration) -> Vec<u16> {
        let (address, done) = (&node.server.address, &AtomicUsize::new(0));
        // However it ends: nobody must wait for ever after a flood that failed.
        struct Speak<'a>(&'a Wire);
        impl Drop for Speak<'_> {
            fn drop(&mut self) {
                self.0.delay(Duration::ZERO);
            }
        }
        std::thread::scope(|scope| {
            let _speak = Speak(&self.wire);
            self.wire.delay(Duration::MAX);
            let start = move |n| {
                let status = self.start(address, n);
                done.fetch_add(1, Ordering::Relaxed);
                status
            };
            let calls: Vec<_> = (0..FLOOD).map(|n| scope.spawn(move || start(n))).collect();
            // On a slow machine the first may be turned away before the last is in.
            until("all are in", || connections(address) + done.load(Ordering::Relaxed) >= FLOOD);
            self.wire.count(b"commitTransaction\0");
            self.wire.delay(delay);
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        })
    }

    fn start(&self, address: &str, n: usize) -> u16 {
        let (more, body) = nth(n);
        // Not all of so many connections at once are taken; those come again.
        let tries = (0..100).map(|_| call(address, "POST", "/v1/verifications", &self.fleet.key, &more, &body));
        let answer = tries.flatten().next().expect("an answer");
        assert!(answer.status != 503 || answer.head.contains("retry-after: "), "{}", answer.head);
        answer.status
    }
}

/// One start of the flood.
fn nth(n: usize) -> (String, Value) {
    (format!("idempotency-key: flood-{n}\r\n"), json!({ "to": format!("+1213{:07}", 2_000_000 + n) }))
}

/// Connections that a node has open.
fn connections(address: &str) -> usize {
    let shown = crate::process::text(address, "/metrics");
    let open = shown.lines().find_map(|line| line.strip_prefix("wotp_http_connections "));
    open.expect("it counts them").parse().unwrap()
}

/// Resident memory of a process, in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_slow_mongodb_takes_all_who_wait_together() {
    // Calls wait two thirds of it for the store.
    let slow = Slow::with_requests_of(150);
    let node = slow.fleet.node();
    let load = Load::new(&slow.fleet);
    load.goes_to([node.server.address.clone()]);
    load.during(CALLERS, || {
        load.until_more(20);
        let answered = slow.flood(&node, Duration::from_millis(500));
        let commits = slow.wire.counted();
        assert!(answered.iter().all(|status| *status == 201), "{answered:?}");
        println!("a slow MongoDB: {FLOOD} at once took {commits} transactions");
        assert!(commits <= COMMITS_MAX, "{FLOOD} at once took {commits} transactions");
        load.until_more(50);
    });
    load.also_accepted(FLOOD);
    report("MongoDB slower by 500 ms", &load, load.settle());
}

#[test]
fn a_mongodb_that_is_too_slow_is_waited_for_in_bounds_and_everybody_is_turned_away() {
    // A start takes seven answers, one after another.
    let slow = Slow::with_requests_of(8);
    let node = slow.fleet.node();
    let load = Load::new(&slow.fleet);
    load.goes_to([node.server.address.clone()]);
    load.during(CALLERS, || {
        load.until_more(20);
        // Nobody may wait for ever, and what waits may not grow.
        let before = memory(node.server.id());
        let answered = slow.flood(&node, Duration::from_secs(2));
        let grown = memory(node.server.id()).saturating_sub(before);
        assert!(answered.iter().all(|status| *status == 503), "{answered:?}");
        println!("a MongoDB that is too slow: {FLOOD} at once made the node grow by {grown} bytes");
        assert!(grown < FLOOD as u64 * EACH_TAKES, "{FLOOD} requests made the node grow by {grown} bytes");
        load.until_more(50);
    });
    // Whoever was turned away comes again; what was stored all the same is not stored twice.
    for n in 0..FLOOD {
        let (more, body) = nth(n);
        assert_eq!(load.insist("POST", "/v1/verifications", &more, &body).status, 201);
    }
    load.also_accepted(FLOOD);
    report("MongoDB slower by 2 s", &load, load.settle());
}
