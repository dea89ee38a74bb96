//! Block and allow lists.

use axum::http::Method;
use serde_json::json;

use super::{blocked_by, guard_of, list, london, set, sheffield, start, start_as, stored};
use crate::app::{TestApp, id};
use crate::client::race;

#[tokio::test]
async fn an_address_a_prefix_and_a_network_are_blocked() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on" })).await;
    for entry in [
        json!({ "address": london(1) }),
        json!({ "address": "ada@example.com" }),
        json!({ "prefix": "+44 114" }),
        json!({ "network": "192.0.2.7" }),
        json!({ "network": "2001:db8::/32" }),
        json!({ "network": "::ffff:198.51.100.0/120" }),
    ] {
        let mut entry = entry;
        entry["effect"] = "block".into();
        list(&app, &acme, entry).await;
    }
    for (to, ip, rule) in [
        (london(1), None, Some("address_listed")),
        (london(2), None, None),
        ("ada@example.com".to_owned(), None, Some("address_listed")),
        ("bob@example.com".to_owned(), None, None),
        (sheffield(1), None, Some("prefix_listed")),
        (london(3), Some("192.0.2.7"), Some("network_listed")),
        (london(4), Some("::ffff:192.0.2.7"), Some("network_listed")),
        (london(5), Some("192.0.2.8"), None),
        (london(6), Some("2001:db8:1::5"), Some("network_listed")),
        (london(7), Some("198.51.100.9"), Some("network_listed")),
    ] {
        let started = start_as(&app, &acme, json!({ "to": to, "ip": ip })).await;
        assert_eq!(blocked_by(&started), rule, "{to} {ip:?}");
    }
}

#[tokio::test]
async fn what_may_pass_is_above_all_other_rules_and_the_closest_entry_decides() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let rules = json!({ "mode": "on", "countries": { "blocked": ["GB"] }, "caps": { "service": { "per_day": 1 } } });
    set(&app, &acme, rules).await;
    list(&app, &acme, json!({ "effect": "allow", "prefix": "+44207946" })).await;
    list(&app, &acme, json!({ "effect": "block", "address": london(9) })).await;
    list(&app, &acme, json!({ "effect": "block", "network": "192.0.2.0/24" })).await;
    for n in 0..3 {
        let passed = start(&app, &acme, &london(n)).await;
        assert_eq!(blocked_by(&passed), None);
        assert_eq!(
            (&passed["timeline"][0]["rule"], &passed["timeline"][0]["effect"]),
            (&json!("prefix_listed"), &json!("allowed"))
        );
    }
    assert_eq!(blocked_by(&start(&app, &acme, &london(9)).await), Some("address_listed"));
    assert_eq!(blocked_by(&start(&app, &acme, &sheffield(1)).await), Some("country_blocked"));
    let both = json!({ "to": london(4), "ip": "192.0.2.1" });
    assert_eq!(blocked_by(&start_as(&app, &acme, both).await), Some("network_listed"));
}

#[tokio::test]
async fn an_entry_is_there_until_it_is_removed_and_keeps_no_number() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on" })).await;
    let entry = list(&app, &acme, json!({ "effect": "block", "address": london(77), "note": "complained" })).await;
    assert_eq!((&entry["kind"], &entry["note"]), (&json!("address"), &json!("complained")));
    assert_eq!(entry["value"], "+44********77");
    let entries = format!("{}/entries", guard_of(&acme));
    assert_eq!(app.get(&entries).key(&acme.live).await.expect(200)["data"], json!([entry]));
    for (name, bytes) in app.stolen() {
        assert!(!bytes.windows(12).any(|part| part == &london(77).as_bytes()[1..]), "{name} holds the number");
    }
    let again = app.post(&entries).key(&acme.live).json(json!({ "effect": "allow", "address": london(77) })).await;
    again.problem(409, "taken");
    let globex = app.tenant("Globex").await;
    let gone = format!("{entries}/{}", id(&entry));
    app.request(Method::DELETE, &gone).key(&globex.live).await.problem(404, "not_found");
    assert_eq!(blocked_by(&start(&app, &acme, &london(77)).await), Some("address_listed"));
    assert_eq!(app.request(Method::DELETE, &gone).key(&acme.live).await.status, 204);
    app.request(Method::DELETE, &gone).key(&acme.live).await.problem(404, "not_found");
    assert_eq!(blocked_by(&start(&app, &acme, &london(77)).await), None);
    let audit = stored(&app, &acme, "audit_entry").await;
    let actions = audit.iter().filter_map(|entry| entry["action"].as_str());
    let actions: Vec<_> = actions.filter(|action| action.starts_with("guard")).collect();
    assert_eq!(actions, ["guard.set", "guard_entry.add", "guard_entry.remove"]);
}

#[tokio::test]
async fn an_entry_that_names_nothing_or_two_things_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let entries = format!("{}/entries", guard_of(&acme));
    let put = |entry| app.post(&entries).key(&acme.live).json(entry);
    for (entry, field) in [
        (json!({ "effect": "block" }), "address"),
        (json!({ "effect": "block", "prefix": "+44", "network": "192.0.2.1" }), "address"),
        (json!({ "effect": "block", "address": "12" }), "address"),
        (json!({ "effect": "block", "prefix": "44" }), "prefix"),
        // A person's number is not kept in clear.
        (json!({ "effect": "block", "prefix": london(1) }), "prefix"),
        (json!({ "effect": "block", "prefix": "+1 202 555 0123" }), "prefix"),
        (json!({ "effect": "block", "prefix": "+442079460001" }), "prefix"),
        (json!({ "effect": "block", "network": "home" }), "network"),
        (json!({ "effect": "deny", "prefix": "+44" }), "effect"),
        (json!({ "effect": "block", "prefix": "+44", "note": "x".repeat(101) }), "note"),
    ] {
        assert_eq!(put(entry.clone()).await.wrong_fields(), [field], "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_changes_none_is_lost_and_of_additions_none_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let fellow = app.fellow();
    let entries = format!("{}/entries", guard_of(&acme));
    let add = |n: usize| {
        let entry = json!({ "effect": "block", "prefix": format!("+4477009{n:02}") });
        let node = if n.is_multiple_of(2) { &app } else { &fellow };
        node.post(&entries).key(&acme.live).json(entry)
    };
    let put = app.request(Method::PUT, guard_of(&acme)).key(&acme.live).json(json!({ "mode": "on" }));
    let replies = race((0..50).map(add).chain(vec![put; 4])).await;
    let added = replies.iter().filter(|reply| reply.status == 201).count();
    let set = replies.iter().filter(|reply| reply.status == 200).count();
    for reply in replies.iter().filter(|reply| reply.status >= 300) {
        reply.problem(409, "conflict");
    }
    assert_eq!(added, 50);
    assert!(set > 0);
    let list = app.get(&entries).key(&acme.live).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), added, "each that was told to be on the list is");
    let audit = stored(&app, &acme, "audit_entry").await;
    let told = |action: &str| audit.iter().filter(|entry| entry["action"] == action).count();
    // Whoever sets what is set already changes nothing.
    assert_eq!((told("guard_entry.add"), told("guard.set")), (50, 1));
    let gone =
        |entry: &serde_json::Value| app.request(Method::DELETE, format!("{entries}/{}", id(entry))).key(&acme.live);
    for reply in race(list["data"].as_array().unwrap().iter().map(gone)).await {
        reply.done();
    }
}
