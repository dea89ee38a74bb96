//! What may die, dies under load: after it, every single verification is as its caller was told.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use wotp_test_servers::{MongoDatabase, Redis, ReplicaSet, redis_url};

use crate::fleet::{Fleet, Load};

const CALLERS: usize = 8;

/// Says what happened, for who reads the output.
fn report(what: &str, load: &Load, duplicates: usize) {
    println!(
        "{what}: {} verifications; {} calls tried again, {} of them turned away with Retry-After; {duplicates} \
         messages sent twice",
        load.accepted(),
        load.retried.load(std::sync::atomic::Ordering::Relaxed),
        load.turned_away.load(std::sync::atomic::Ordering::Relaxed),
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
    let nodes = [fleet.node(), fleet.node()];
    let load = Load::new(&fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
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
    let nodes = [fleet.node(), fleet.node()];
    let load = Load::new(&fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    load.during(CALLERS, || {
        load.until_more(20);
        redis.kill();
        let back = Instant::now() + Duration::from_secs(30);
        let mut accepted = load.accepted();
        while Instant::now() < back {
            // The API keeps accepting, and codes keep going out, all the while.
            load.until_more(5);
            assert!(load.accepted() > accepted);
            accepted = load.accepted();
        }
        redis.restart();
        load.until_more(50);
    });
    let duplicates = load.settle();
    assert_eq!(load.turned_away.load(std::sync::atomic::Ordering::Relaxed), 0, "nobody is turned away for Redis");
    assert_eq!(duplicates, 0, "no message goes out twice because of Redis");
    report("Redis away for 30 s", &load, duplicates);
}

#[test]
fn the_primary_killed_and_stepped_down() {
    let mut set = ReplicaSet::start(3);
    let fleet = Fleet::new(&set.url("wotp"), redis_url());
    let nodes = [fleet.node(), fleet.node()];
    let load = Load::new(&fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
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
    let mut fleet = Fleet::new(&set.url("wotp"), redis_url());
    // Requests wait two thirds of this for a primary.
    fleet.set("WOTP_SERVER__REQUEST_TIMEOUT_SECONDS", "6");
    let nodes = [fleet.node(), fleet.node()];
    let load = Load::new(&fleet);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    load.during(CALLERS, || {
        load.until_more(20);
        // No majority is left, so the third steps down.
        let primary = set.primary();
        let other = (primary + 1) % 3;
        let gone = Instant::now();
        set.kill(primary);
        set.kill(other);
        crate::fleet::until("callers are turned away", || {
            load.turned_away.load(std::sync::atomic::Ordering::Relaxed) >= 4
        });
        crate::fleet::until("ten seconds passed", || gone.elapsed() >= Duration::from_secs(10));
        set.restart(primary);
        set.restart(other);
        load.until_more(50);
    });
    report("10 s without a primary", &load, load.settle());
}
