//! The edge of a quota, met while nodes and MongoDB's primary die: it is exact all the same.

use std::collections::BTreeMap;

use wotp_test_servers::bson::{Document, doc};

use super::*;
use crate::process::Place;

/// What the plan includes of a day.
const LIMIT: usize = 400;
const PLANS: &str = r#"
[plans.unlimited]
name = "Unlimited"
[plans.edge]
name = "Edge"
on_quota = "refuse"
limits = { verifications_day = 400 }
"#;
const DATABASE: &str = "edge";
/// Uses that a node must have left of what it was lent for its death to be a test.
const HELD_MIN: i64 = 20;

/// A fleet that knows both plans, and the folder of their file.
fn fleet(set: &ReplicaSet) -> (Fleet, Place) {
    let mut fleet = Fleet::new(&set.url(DATABASE), redis_url());
    let place = fleet.place();
    let plans = place.file("plans.toml");
    std::fs::write(&plans, PLANS).unwrap();
    fleet.set("WOTP_PLANS__FILE", &plans);
    fleet.set("WOTP_PLANS__DEFAULT", "unlimited");
    (fleet, place)
}

fn lower(fleet: &Fleet) {
    fleet.run(&["tenant", "set-plan", fleet.tenant(), "edge"]).succeeded();
}

/// What each tally has left of what it was lent, by the name that MongoDB keeps it under.
fn held(set: &ReplicaSet) -> BTreeMap<String, i64> {
    let answer = set.run(DATABASE, doc! { "find": "tallies", "batchSize": 1_000 }).unwrap();
    let tallies = answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let left = |tally: &Document| tally.get_i64("lent").unwrap() - tally.get_i64("used").unwrap();
    let tallies = tallies.iter().filter_map(|tally| tally.as_document());
    tallies.map(|tally| (tally.get("_id").unwrap().to_string(), left(tally))).collect()
}

#[test]
fn a_quota_is_exact_while_nodes_that_hold_some_of_it_and_the_primary_die() {
    let mut set = ReplicaSet::start(3);
    let (fleet, _plans) = fleet(&set);
    lower(&fleet);
    let mut nodes = [fleet.node(), fleet.node(), fleet.node()];
    let load = Load::within(&fleet, LIMIT);
    let goes_to = |nodes: &[Node; 3]| load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    goes_to(&nodes);
    load.during(CALLERS, || {
        load.until_more(20);
        // Each of the three was lent some, so whichever dies takes what it has left along.
        let before = held(&set);
        assert!(before.len() == 3 && before.values().all(|left| *left >= HELD_MIN), "{before:?}");
        nodes[0].server.signal(Signal::KILL);
        // What the dead one was lent is still its own: nobody took it back the moment it died.
        let after = held(&set);
        assert!(before.keys().all(|tally| after.contains_key(tally)), "{before:?}, then {after:?}");
        load.until_more(20);
        nodes[0] = fleet.node();
        goes_to(&nodes);
        load.until_more(20);
        set.step_down(10);
        load.until_more(20);
        nodes[1].server.signal(Signal::KILL);
        let primary = set.primary();
        set.kill(primary);
        load.until_more(20);
        nodes[1] = fleet.node();
        goes_to(&nodes);
        set.restart(primary);
        until("every caller is refused", || load.refused() == CALLERS);
    });
    load.hold_edge();
    assert_eq!(held(&set), BTreeMap::new(), "everything that was lent was taken back");
    report("a quota's edge, nodes and the primary killed", &load, load.settle());
}

#[test]
fn a_plan_that_is_lowered_under_load_is_exact_once_every_node_knows() {
    let set = ReplicaSet::start(1);
    let (fleet, _plans) = fleet(&set);
    let nodes = [fleet.node(), fleet.node(), fleet.node()];
    let load = Load::within(&fleet, LIMIT);
    load.goes_to(nodes.iter().map(|node| node.server.address.clone()));
    // Few callers, so that they are not beyond the limit before every node knows it.
    load.during(2, || {
        load.until_more(20);
        assert!(held(&set).values().any(|left| *left > 1 << 30), "without a limit as good as everything is lent");
        lower(&fleet);
        for node in &nodes {
            until("the node knows the plan", || {
                let usage = call(&node.server.address, "GET", "/v1/usage", &fleet.key, "", &Value::Null).unwrap().body;
                usage["verifications"]["day"]["included"] == LIMIT
            });
        }
    });
    assert!(load.accepted() < LIMIT, "{} were accepted before every node knew", load.accepted());
    load.during(CALLERS, || until("every caller is refused", || load.refused() == CALLERS));
    load.hold_edge();
    report("a plan lowered under load", &load, load.settle());
}
