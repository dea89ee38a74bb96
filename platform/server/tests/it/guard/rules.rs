//! Each rule of the guard, as its caller sees it: in the reply, in the verification, and on both settings.

use serde_json::{Value, json};
use wotp_core::domain::guard::{Destination, Rule, State, Watch};
use wotp_core::ports::Change;

use super::{blocked_by, list, london, set, start_as};
use crate::app::{TestApp, TestTenant, seconds};

/// Starts after which every rule here has spoken.
const STARTS: usize = 10;

/// What makes a rule speak when enough is started.
#[derive(Default)]
struct Scene {
    /// What the guard is set to, but its mode.
    guard: Value,
    /// What is on its list.
    listed: Option<Value>,
    /// What the watch has restricted.
    restricted: Option<(Destination, State)>,
    /// Whether all of it goes to one number.
    one_number: bool,
}

impl Scene {
    /// A rule that is added does not compile until it is here.
    fn of(rule: Rule) -> Self {
        let (prefix, country) =
            (|| Destination::Prefix("+44207946".to_owned()), || Destination::Country("GB".to_owned()));
        match rule {
            Rule::AddressListed => Self { one_number: true, ..Self::listed(json!({ "address": london(0) })) },
            Rule::PrefixListed => Self::listed(json!({ "prefix": "+44207946" })),
            Rule::NetworkListed => Self::listed(json!({ "network": "192.0.2.0/24" })),
            Rule::CountryNotAllowed => Self::set(json!({ "countries": { "allowed": ["FR"] } })),
            Rule::CountryBlocked => Self::set(json!({ "countries": { "blocked": ["GB"] } })),
            Rule::CountryWatched => Self::set(json!({ "countries": { "watched": ["GB"] } })),
            Rule::CapAddress => Self { one_number: true, ..Self::capped(json!({ "address": { "per_day": 1 } })) },
            Rule::CapPrefix => Self::capped(json!({ "prefix": { "per_day": 1 } })),
            Rule::CapIp => Self::capped(json!({ "ip": { "per_day": 1 } })),
            Rule::CapService => Self::capped(json!({ "service": { "per_day": 1 } })),
            Rule::CapTenant => Self::capped(json!({ "tenant_per_day": 1 })),
            Rule::CapSpend => Self::set(json!({
                "caps": { "spend_micros_per_day": 70_000 },
                "costs": { "countries": { "GB": 40_000 }, "other_micros": 0 },
            })),
            Rule::PrefixSlowed => Self::restricted(prefix(), State::Slowed),
            Rule::PrefixCollapsed => Self::restricted(prefix(), State::Blocked),
            Rule::PrefixProbed => Self::restricted(prefix(), State::Probing),
            Rule::CountrySlowed => Self::restricted(country(), State::Slowed),
            Rule::CountryCollapsed => Self::restricted(country(), State::Blocked),
            Rule::CountryProbed => Self::restricted(country(), State::Probing),
        }
    }

    fn set(guard: Value) -> Self {
        Self { guard, ..Self::default() }
    }

    fn capped(caps: Value) -> Self {
        Self::set(json!({ "caps": caps }))
    }

    fn listed(mut entry: Value) -> Self {
        entry["effect"] = "block".into();
        Self { listed: Some(entry), ..Self::set(json!({})) }
    }

    fn restricted(destination: Destination, state: State) -> Self {
        Self { restricted: Some((destination, state)), ..Self::set(json!({})) }
    }

    /// A tenant with this guard.
    async fn play(&self, mode: &str) -> (TestApp, TestTenant) {
        let (app, acme) = TestApp::start_with_tenant().await;
        app.change_service(&acme, json!({ "address_limits": { "cool_down_seconds": [0] } })).await;
        let mut guard = self.guard.clone();
        guard["mode"] = mode.into();
        set(&app, &acme, guard).await;
        if let Some(entry) = &self.listed {
            list(&app, &acme, entry.clone()).await;
        }
        if let Some((destination, state)) = &self.restricted {
            let (ports, country) = (app.app.ports(), Some("GB".to_owned()));
            let watch = Watch::new(acme.id, acme.service, destination.clone(), country, ports.clock.now());
            ports.store.commit(vec![Change::insert(&Watch { state: *state, ..watch })]).await.unwrap();
            // What is restricted is known within a second.
            app.clock.advance(seconds(1));
        }
        (app, acme)
    }
}

/// What a rule says in a timeline of the start of a verification, if it does.
fn said(verification: &Value, rule: Rule) -> Option<&str> {
    let mut timeline = verification["timeline"].as_array()?.iter();
    let note = timeline.find(|note| note["rule"] == rule.name())?;
    assert_eq!(note["step"], "start");
    note["effect"].as_str()
}

/// Starts verifications until a rule has this effect; that one as it was answered, and what it said of each before.
async fn until(
    app: &TestApp,
    acme: &TestTenant,
    (rule, effect): (Rule, &str),
    one_number: bool,
) -> (Value, Vec<Option<String>>) {
    let mut before = Vec::new();
    for n in 0..STARTS {
        let to = london(if one_number { 0 } else { n });
        let started = start_as(app, acme, json!({ "to": to, "ip": "192.0.2.7" })).await;
        let said = said(&started, rule);
        if said == Some(effect) {
            return (started, before);
        }
        before.push(said.map(str::to_owned));
        assert_eq!(blocked_by(&started), None, "{}: another rule stopped it", rule.name());
    }
    panic!("{} has no effect in {STARTS} starts", rule.name());
}

#[tokio::test]
async fn every_rule_is_seen_where_it_acts_and_in_shadow_where_it_would() {
    for rule in Rule::ALL {
        for mode in ["on", "shadow"] {
            let scene = Scene::of(*rule);
            let (app, acme) = scene.play(mode).await;
            let effect = match (*rule, mode) {
                // It stops nothing by itself.
                (Rule::CountryWatched, _) => "noted",
                (_, "on") => "blocked",
                _ => "would_block",
            };
            let (answered, before) = until(&app, &acme, (*rule, effect), scene.one_number).await;
            let name = rule.name();
            // What still goes out to where only some does says so.
            let trickles = name.ends_with("_slowed") || name.ends_with("_probed");
            let said_before = trickles.then_some("noted");
            assert!(before.iter().all(|said| said.as_deref() == said_before), "{name} {mode}: {before:?}");
            assert!(!before.is_empty() || !trickles, "{name} {mode}: some still go out");

            let stopped = effect == "blocked";
            let verdict = &answered["verdict"];
            if effect == "noted" {
                assert_eq!(*verdict, Value::Null, "{name} {mode}");
            } else {
                assert_eq!((&verdict["reason"], &verdict["blocked"]), (&json!(name), &json!(stopped)), "{answered}");
            }
            let read = app.read(&acme.live, &answered).await;
            assert_eq!((&read["verdict"], &read["timeline"]), (&answered["verdict"], &answered["timeline"]), "{name}");
            assert_eq!(blocked_by(&read), stopped.then_some(name), "{mode}");
            let went_out = before.len() + usize::from(!stopped);
            assert_eq!(app.outbox.letters().len(), went_out, "{name} {mode}");
        }
    }
}
