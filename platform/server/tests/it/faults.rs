//! What may die, dies under load: after it, every single verification is as its caller was told.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use wotp_test_servers::{MongoDatabase, Redis, ReplicaSet, redis_url};

use crate::fleet::{Fleet, Load, Node, call, until};
use crate::relay::Relay;

mod edge;
mod outage;
mod slow;

const CALLERS: usize = 8;
/// Two nodes, and callers who call both.
fn two_nodes(fleet: &Fleet) -> ([Node; 2], Load) {
    let nodes = [fleet.node(), fleet.node()];
    let load = Load::new(fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    (nodes, load)
}

/// Says what happened, for who reads the output.
#[allow(clippy::print_stdout, reason = "`allow-print-in-tests` does not see what tests call")]
fn report(what: &str, load: &Load, duplicates: usize) {
    println!(
        "{what}: {} verifications; {} calls tried again, {} of them turned away with Retry-After; {duplicates} \
         messages sent twice",
        load.accepted(),
        load.retried(),
        load.turned_away(),
    );
}

#[test]
fn every_node_killed_at_once() {
    let database = MongoDatabase::fresh();
    let fleet = Fleet::new(database.url(), redis_url());
    let mut nodes = vec![fleet.node(), fleet.node()];
    let load = Load::new(&fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    load.during(CALLERS, || {
        for _ in 0..2 {
            load.until_more(20);
            for node in &nodes {
                node.server.signal(Signal::KILL);
            }
            nodes = vec![fleet.node(), fleet.node()];
            load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
        }
        load.until_more(20);
    });
    report("every node killed at once", &load, load.settle());
}

#[test]
fn redis_cut_emptied_restarted() {
    let database = MongoDatabase::fresh();
    let mut redis = Redis::start();
    let fleet = Fleet::new(database.url(), &redis.url());
    let (_nodes, load) = two_nodes(&fleet);
    load.during(CALLERS, || {
        load.until_more(20);
        for _ in 0..5 {
            redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            load.until_more(10);
        }
        for _ in 0..5 {
            redis.command(&["FLUSHALL"]);
            load.until_more(10);
        }
        redis.restart();
        load.until_more(50);
    });
    let duplicates = load.settle();
    assert_eq!(duplicates, 0, "no message goes out twice because of Redis");
    report("Redis cut, emptied, restarted", &load, duplicates);
}

#[test]
fn redis_away_for_thirty_seconds() {
    let database = MongoDatabase::fresh();
    let mut redis = Redis::start();
    let fleet = Fleet::new(database.url(), &redis.url());
    let (_nodes, load) = two_nodes(&fleet);
    load.during(CALLERS, || {
        load.until_more(20);
        redis.kill();
        let back = Instant::now() + Duration::from_secs(30);
        let before = load.accepted();
        while Instant::now() < back {
            // The API keeps accepting, and codes keep going out, all the while.
            load.until_more(5);
        }
        assert!(load.accepted() > before + 50, "{} were accepted meanwhile", load.accepted() - before);
        redis.restart();
        load.until_more(50);
    });
    let duplicates = load.settle();
    assert_eq!(load.turned_away(), 0, "nobody is turned away for Redis");
    assert_eq!(duplicates, 0, "no message goes out twice because of Redis");
    report("Redis away for 30 s", &load, duplicates);
}

#[test]
fn the_primary_killed_and_stepped_down() {
    let mut set = ReplicaSet::start(3);
    let fleet = Fleet::new(&set.url("stepped_down"), redis_url());
    let (_nodes, load) = two_nodes(&fleet);
    load.during(CALLERS, || {
        load.until_more(20);
        let primary = set.primary();
        set.kill(primary);
        load.until_more(20);
        set.restart(primary);
        for _ in 0..2 {
            load.until_more(20);
            set.step_down(10);
        }
        load.until_more(50);
    });
    report("primary killed, and stepped down twice", &load, load.settle());
}

#[test]
fn ten_seconds_without_a_primary() {
    let mut set = ReplicaSet::start(3);
    let mut fleet = Fleet::new(&set.url("no_primary"), redis_url());
    // Requests wait two thirds of this for a primary.
    fleet.set("WOTP_SERVER__REQUEST_TIMEOUT_SECONDS", "6");
    let (_nodes, load) = two_nodes(&fleet);
    load.during(CALLERS, || {
        load.until_more(20);
        // No majority is left, so the third steps down.
        let primary = set.primary();
        let other = (primary + 1) % 3;
        let gone = Instant::now();
        set.kill(primary);
        set.kill(other);
        until("callers are turned away", || load.turned_away() >= 4);
        until("ten seconds passed", || gone.elapsed() >= Duration::from_secs(10));
        set.restart(primary);
        set.restart(other);
        load.until_more(50);
    });
    report("10 s without a primary", &load, load.settle());
}

#[test]
fn a_worker_killed_while_a_channel_has_the_message() {
    let database = MongoDatabase::fresh();
    let relay = Relay::start();
    let mut fleet = Fleet::new(database.url(), redis_url());
    let port = relay.port().to_string();
    for (name, value) in [("HOST", "127.0.0.1"), ("PORT", &port), ("TLS", "none"), ("FROM", "Acme <codes@example.com>")]
    {
        fleet.set(&format!("WOTP_CHANNELS__EMAIL__{name}"), value);
    }
    let (api, worker) = (fleet.node_with(&["--role", "api"], &[]), fleet.node_with(&["--role", "worker"], &[]));
    // The mail server takes the connection, and says nothing.
    relay.hold();
    let start = json!({ "to": "ada@example.com", "channels": ["email"] });
    let started = call(&api.server.address, "POST", "/v1/verifications", &fleet.key, "", &start).unwrap();
    assert_eq!(started.status, 201, "{}", started.body);
    until("the worker calls the mail server", || relay.held() == 1);
    let other = fleet.node_with(&["--role", "worker"], &[]);
    worker.server.signal(Signal::KILL);
    let killed = Instant::now();
    relay.let_through();
    until("another worker sends it", || relay.messages() == 1);
    let took = killed.elapsed();
    println!("a worker killed in the middle of a delivery: sent by another after {:.1} s", took.as_secs_f64());
    // 10 seconds that the dead one held it, and what a busy machine adds.
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    let path = format!("/v1/verifications/{}", started.body["id"].as_str().unwrap());
    let mut read = Value::Null;
    until("its delivery is known", || {
        read = call(&api.server.address, "GET", &path, &fleet.key, "", &Value::Null).unwrap().body;
        read["deliveries"].as_array().unwrap().iter().any(|delivery| delivery["status"] == "sent")
    });
    assert_eq!((relay.messages(), &read["status"]), (1, &json!("pending")), "one message: {read}");
    let usage = call(&api.server.address, "GET", "/v1/usage", &fleet.key, "", &Value::Null).unwrap().body;
    assert_eq!(usage["verifications"]["day"]["used"], 1);
    drop(other);
}

#[test]
fn a_node_whose_clock_is_five_minutes_off() {
    let database = MongoDatabase::fresh();
    let fleet = Fleet::new(database.url(), redis_url());
    let off = |offset: &str| {
        let library = faketime();
        fleet.node_with(&[], &[("LD_PRELOAD", &library), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")])
    };
    let (ahead, behind, right) = (off("+300"), off("-300"), fleet.node());
    let nodes = [&ahead, &behind, &right].map(|node| node.server.address.clone());
    // Their clocks are as wrong as they were made, and each knows it.
    for (address, expected) in nodes.iter().zip([300.0, -300.0, 0.0]) {
        until("the node looked at the store's clock", || {
            let shown = crate::process::text(address, "/metrics");
            let line = shown.lines().find(|line| line.starts_with("wotp_clock_offset_seconds ")).unwrap_or_default();
            line.split(' ').nth(1).is_some_and(|seconds| (seconds.parse::<f64>().unwrap() - expected).abs() < 2.0)
        });
    }
    let load = Load::new(&fleet);
    load.goes_to(nodes.clone());
    load.during(CALLERS, || load.until_more(100));
    report("clocks 5 minutes ahead and behind", &load, load.settle());
    // What one node starts expires for all at the same moment, five minutes from now by the right clock.
    for address in &nodes {
        let body = json!({ "to": "+447700900123" });
        let started = call(address, "POST", "/v1/verifications", &fleet.key, "", &body).unwrap();
        if started.status == 429 {
            // The same address again, within the cool-down that all nodes share.
            continue;
        }
        let expires: jiff::Timestamp = started.body["expires_at"].as_str().unwrap().parse().unwrap();
        let lives = expires.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((290..=310).contains(&lives), "a code lives {lives} seconds");
    }
}

/// The library that tells a process another time.
fn faketime() -> String {
    let places =
        ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|abi| format!("/usr/lib/{abi}/faketime/libfaketime.so.1"));
    let found = places.into_iter().find(|path| std::path::Path::new(path).exists());
    found.expect("libfaketime, of the package of that name, is there")
}

#[test]
fn a_key_that_is_revoked_stops_working_everywhere_within_a_second() {
    let database = MongoDatabase::fresh();
    let fleet = Fleet::new(database.url(), redis_url());
    let nodes = [fleet.node(), fleet.node()];
    let made = fleet.run(&["key", "create", fleet.tenant(), "--name", "short-lived", "--json"]).json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let works = |node: usize| {
        call(&nodes[node].server.address, "GET", "/v1/usage", secret, "", &Value::Null).unwrap().status == 200
    };
    assert!(works(0) && works(1));
    std::thread::scope(|scope| {
        // Used all the time, so that every node has it at hand.
        let last: Vec<_> = (0..2)
            .map(|node| {
                scope.spawn(move || {
                    let mut last = Instant::now();
                    while works(node) {
                        last = Instant::now();
                    }
                    last
                })
            })
            .collect();
        fleet.run(&["key", "revoke", fleet.tenant(), id]).succeeded();
        let revoked = Instant::now();
        for last in last {
            let late = last.join().unwrap().saturating_duration_since(revoked);
            println!("a revoked key last worked {:.3} s after `wotp key revoke` had ended", late.as_secs_f64());
            assert!(late < Duration::from_secs(1), "it worked for {late:?}");
        }
    });
}

#[test]
fn a_rolling_upgrade_refuses_nobody() {
    let database = MongoDatabase::fresh();
    let mut fleet = Fleet::new(database.url(), redis_url());
    fleet.set("WOTP_SERVER__DRAIN_SECONDS", "1");
    let mut nodes = vec![fleet.node(), fleet.node()];
    let load = Load::new(&fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    load.during(CALLERS, || {
        for _ in 0..4 {
            load.until_more(20);
            let mut old = nodes.remove(0);
            old.server.signal(Signal::TERM);
            // A load balancer's look: once it says that it is not ready, nobody is sent there.
            let address = old.server.address.clone();
            until("it says that it is not ready", || {
                call(&address, "GET", "/health/ready", "", "", &Value::Null).is_none_or(|health| health.status == 503)
            });
            load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
            assert!(old.server.ended().success());
            nodes.push(fleet.node());
            load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
        }
        load.until_more(20);
    });
    let duplicates = load.settle();
    assert_eq!((load.retried(), duplicates), (0, 0), "every request was answered, and every message sent once");
    report("a rolling upgrade", &load, duplicates);
}
