//! Analytics: exact, whatever happens and whoever crashes, and in the words of the API.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::cost::Cost;
use wotp_core::domain::dispatch::{Delivery, DeliveryFailure, DeliveryStatus, Receipt};
use wotp_core::domain::event::Event;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::rollup::{Counts, Figures, Interval, Reach, Rollup, RollupKey};
use wotp_core::domain::verification::{FailureReason, Status, Verification};
use wotp_core::ports::{Change, Entity, EntityList, Filter, Item, Owner, Stored};

use crate::app::{NUMBER, TestApp, TestTenant, days, number, path, seconds, wrong};
use crate::outbox::Answer;

/// Dice that fall the same way each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

async fn all<E: Entity>(app: &TestApp, tenant: TenantId) -> Vec<E> {
    let list = EntityList { limit: 100_000, ..EntityList::of(Owner::Tenant(tenant)) };
    let rows = app.app.ports().store.list_entities(E::KIND, &list).await.expect("the store answers");
    rows.into_iter().map(|row| Stored::read(row).expect("it is one of ours").entity).collect()
}

async fn records(app: &TestApp, tenant: TenantId) -> Vec<Verification> {
    let door = app.app.ports().store.tenant(tenant);
    let page = door.verifications(&Filter::default(), None, 10_000).await.expect("the store answers");
    assert!(!page.more);
    page.items
}

async fn fold_all(app: &TestApp) {
    while app.app.fold(50).await.expect("the store answers").taken > 0 {}
}

fn cost(micros: u64, currency: &str) -> Cost {
    Cost::new(micros, currency.parse().expect("a currency")).expect("an amount")
}

fn first(deliveries: &[Delivery], at: fn(&Delivery) -> Option<Timestamp>) -> Option<(&Delivery, Timestamp)> {
    deliveries.iter().filter_map(|delivery| Some((delivery, at(delivery)?))).min_by_key(|(_, at)| *at)
}

/// What rollups should say, counted from the records themselves.
fn recounted(records: &[Verification]) -> BTreeMap<RollupKey, Figures> {
    let mut all: BTreeMap<RollupKey, Figures> = BTreeMap::new();
    for record in records.iter().filter(|record| record.mode == Mode::Live) {
        let after = |at: Timestamp| at.duration_since(record.created_at);
        let deliveries = &record.dispatch.deliveries;
        for (interval, seconds) in [(Interval::Hour, 3600), (Interval::Day, 86_400)] {
            let starts = Timestamp::from_second(record.created_at.as_second() / seconds * seconds).unwrap();
            let mut figures = |channel: &str, add: &dyn Fn(&mut Figures)| {
                let key = RollupKey {
                    tenant: record.tenant,
                    interval,
                    starts,
                    service: record.service,
                    channel: channel.to_owned(),
                    country: record.address.as_ref().and_then(|address| address.region.clone()),
                };
                add(all.entry(key).or_default());
            };
            for charge in &record.charges {
                let delivery = deliveries.iter().find(|delivery| delivery.id == charge.delivery).unwrap();
                figures(&delivery.channel, &|figures| figures.costs.add(charge.cost));
            }
            let mut at = |channel: &str, count: &dyn Fn(&mut Counts)| {
                figures(channel, &|figures| count(&mut figures.counts));
            };
            // What the guard stopped came to no channel.
            at(deliveries.first().map_or("", |first| &first.channel), &|counts| counts.started += 1);
            for (place, delivery) in deliveries.iter().enumerate() {
                let anew = deliveries[..place].iter().all(|before| before.channel != delivery.channel);
                at(&delivery.channel, &|counts| {
                    counts.sends += 1;
                    counts.tried += u64::from(anew);
                });
            }
            if let Some((delivery, moment)) = first(deliveries, |delivery| delivery.sent_at) {
                at(&delivery.channel, &|counts| {
                    counts.sent += 1;
                    counts.sent_after.record(after(moment));
                });
            }
            if let Some((delivery, moment)) = first(deliveries, |delivery| delivery.delivered_at) {
                at(&delivery.channel, &|counts| {
                    counts.delivered += 1;
                    counts.delivered_after.record(after(moment));
                });
            }
            at(deliveries.last().map_or("", |last| &last.channel), &|counts| match record.status {
                Status::Pending => {}
                Status::Approved => {
                    counts.approved += 1;
                    counts.approved_after.record(after(record.ended_at.unwrap()));
                }
                Status::Expired => counts.expired += 1,
                Status::Canceled => counts.canceled += 1,
                Status::Failed => {
                    let reason = serde_json::to_value(record.reason.unwrap()).unwrap();
                    *counts.failed.entry(reason.as_str().unwrap().to_owned()).or_default() += 1;
                }
            });
        }
    }
    all
}

/// The events that each verification should have: kind and id, in their order by kind and id.
fn expected_events(records: &[Verification]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for record in records {
        let mut tell = |kind: &str| all.push((format!("verification.{kind}"), record.id.to_string()));
        tell("started");
        if record.dispatch.deliveries.iter().any(|delivery| delivery.sent_at.is_some()) {
            tell("sent");
        }
        if record.dispatch.deliveries.iter().any(|delivery| delivery.delivered_at.is_some()) {
            tell("delivered");
        }
        if record.reason == Some(FailureReason::Blocked) {
            tell("blocked");
        } else if record.status != Status::Pending {
            tell(record.status.name());
        }
    }
    all.sort();
    all
}

/// What a folder does, and does not get to the end of.
async fn crashing_fold(app: &TestApp, polls: u64) {
    let mut fold = Box::pin(app.app.fold(7));
    for _ in 0..polls {
        let ready = poll_fn(|context| Poll::Ready(fold.as_mut().poll(context).is_ready())).await;
        if ready {
            return;
        }
        tokio::task::yield_now().await;
    }
}

struct Flow {
    app: TestApp,
    acme: TestTenant,
    services: Vec<String>,
    open: Vec<(Value, String, String)>,
    numbers: usize,
    dice: Dice,
}

impl Flow {
    async fn begin(seed: u64) -> Self {
        // Over the end of an hour and of a day.
        let app = TestApp::with().starts_at("2026-11-22T23:40:00Z").start().await;
        let acme = app.tenant("Acme").await;
        let other = json!({ "name": "Other", "brand": "Other" });
        let other = app.post("/v1/services").key(&acme.live).json(other).await;
        // Events are kept for whoever listens.
        let endpoint = json!({ "url": "https://example.com/events" });
        app.post("/v1/webhooks/endpoints").key(&acme.live).json(endpoint).await.expect(201);
        let services = vec![acme.service.to_string(), other.expect(201)["id"].as_str().unwrap().to_owned()];
        for service in &services {
            let guard = json!({ "mode": "on", "countries": { "blocked": ["FR"] } });
            let path = format!("/v1/services/{service}/guard");
            app.request(Method::PUT, path).key(&acme.live).json(guard).await.expect(200);
        }
        Self { app, acme, services, open: Vec::new(), numbers: 0, dice: Dice(seed) }
    }

    fn pick(&mut self) -> Option<(Value, String, String)> {
        let count = u64::try_from(self.open.len()).unwrap();
        (count > 0).then(|| self.open[usize::try_from(self.dice.below(count)).unwrap()].clone())
    }

    async fn start(&mut self) {
        let to = match self.dice.below(4) {
            3 => format!("+33612{:06}", 345_000 + self.numbers),
            0 => format!("someone{}@example.com", self.numbers),
            1 => format!("+1212{:07}", 2_000_000 + self.numbers),
            _ => number(self.numbers),
        };
        self.numbers += 1;
        let key = if self.dice.below(8) == 0 { self.acme.test.clone() } else { self.acme.live.clone() };
        let service = self.services[usize::try_from(self.dice.below(2)).unwrap()].clone();
        for _ in 0..self.dice.below(3) {
            self.app.outbox.next(match self.dice.below(8) {
                0 => Answer::Refuses(DeliveryFailure::Rejected),
                1 => Answer::AsksToWait(SignedDuration::from_secs(20)),
                2 => Answer::Breaks,
                3 => Answer::Reaches(DeliveryStatus::Delivered),
                4 => Answer::Charges(DeliveryStatus::Delivered, cost(self.dice.below(90_000), "EUR")),
                5 => Answer::Charges(DeliveryStatus::Sent, cost(self.dice.below(90_000), "USD")),
                _ => Answer::Reaches(DeliveryStatus::Sent),
            });
        }
        let started = self.app.starting(&key, json!({ "to": to, "service": service })).await.expect(201);
        if started["status"] == "pending" {
            self.open.push((started, key, to));
        }
    }

    async fn check(&mut self) {
        let Some((verification, key, to)) = self.pick() else { return };
        let mut letters = self.app.outbox.letters();
        letters.extend(self.app.spare.letters());
        let code = letters.iter().rev().find(|letter| letter.to == to).map(|letter| letter.code.clone());
        let right = self.dice.below(3) > 0;
        let code = code.filter(|_| right).unwrap_or_else(|| wrong("123456"));
        self.app.checking(&key, &verification, &code).await;
    }

    async fn receipt(&mut self) {
        let Some((verification, key, _)) = self.pick() else { return };
        let read = self.app.read(&key, &verification).await;
        let deliveries = read["deliveries"].as_array().unwrap();
        let place = usize::try_from(self.dice.below(u64::try_from(deliveries.len()).unwrap())).unwrap();
        let delivery = deliveries[place]["id"].as_str().unwrap().parse().unwrap();
        let item = Item::Verification(verification["id"].as_str().unwrap().parse().unwrap());
        let receipt = match self.dice.below(4) {
            0 => Receipt::Sent,
            1 => Receipt::Read,
            2 => Receipt::Failed(DeliveryFailure::Rejected),
            _ => Receipt::Delivered,
        };
        self.app.app.record_receipt(self.acme.id, item, delivery, receipt).await.expect("the store answers");
    }

    async fn post(&mut self, what: &str) {
        if let Some((verification, key, _)) = self.pick() {
            self.app.post(format!("{}/{what}", path(&verification))).key(&key).await;
        }
    }

    async fn step(&mut self) {
        // No two things at one moment: the records would not tell which was first.
        let pause = i64::try_from(self.dice.below(9_000)).unwrap() + 1;
        self.app.clock.advance(SignedDuration::from_millis(pause));
        match self.dice.below(16) {
            0..=3 => self.start().await,
            4..=6 => {
                self.app.run_jobs().await;
            }
            7..=9 => self.check().await,
            10 => self.receipt().await,
            11 => self.post("cancel").await,
            12 => {
                let what = if self.dice.below(4) == 0 { "cancel" } else { "resend" };
                self.post(what).await;
            }
            13 => {
                self.app.clock.advance(seconds(i64::try_from(self.dice.below(60)).unwrap()));
                self.app.sweep().await;
            }
            14 => {
                let polls = self.dice.below(40);
                crashing_fold(&self.app, polls).await;
            }
            _ => {
                let (one, two, three) = tokio::join!(self.app.app.fold(5), self.app.app.fold(9), self.app.app.fold(5));
                for folded in [one, two, three] {
                    folded.expect("the store answers");
                }
            }
        }
    }
}

async fn exact(seed: u64) {
    let mut flow = Flow::begin(seed).await;
    for _ in 0..260 {
        flow.step().await;
    }
    let Flow { app, acme, .. } = flow;
    app.run_jobs().await;
    // What is left expires, each at its own time.
    for _ in 0..12 {
        app.clock.advance(seconds(60));
        app.sweep().await;
        app.run_jobs().await;
    }
    fold_all(&app).await;
    let records = records(&app, acme.id).await;
    let expected = recounted(&records);
    let statuses: std::collections::BTreeSet<_> = records.iter().map(|record| record.status.name()).collect();
    assert!(records.len() > 30 && statuses.len() >= 4, "{} records of {statuses:?}", records.len());
    assert!(
        expected.keys().map(|key| (key.interval, key.starts)).collect::<std::collections::BTreeSet<_>>().len() >= 4
    );
    assert!(records.iter().any(|record| record.address.as_ref().unwrap().kind == AddressKind::Email));
    let live = || records.iter().filter(|record| record.mode == Mode::Live);
    let blocked = live().filter(|record| record.reason == Some(FailureReason::Blocked)).count();
    assert!(blocked > 0, "the guard stops some");
    let rollups = all::<Rollup>(&app, acme.id).await;
    let (rollups, world): (Vec<_>, Vec<_>) = rollups.into_iter().partition(|one| one.reach == Reach::Country);
    let found: BTreeMap<RollupKey, Figures> = rollups.into_iter().flat_map(Rollup::into_figures).collect();
    assert_eq!(found, expected, "seed {seed}");
    let by_id = |all: Vec<Rollup>| all.into_iter().map(|one| (one.id(), one)).collect::<BTreeMap<_, _>>();
    let together = Rollup::of(expected.clone()).into_iter().filter(|one| one.reach == Reach::World);
    assert_eq!(by_id(world), by_id(together.collect()), "seed {seed}");
    let events = all::<Event>(&app, acme.id).await;
    let mut told: Vec<(String, String)> =
        events.iter().map(|event| (event.kind.clone(), event.data["id"].as_str().unwrap().to_owned())).collect();
    told.sort();
    assert_eq!(told, expected_events(&records), "seed {seed}");
    // Read in the order of their ids, what happened to one verification is in its order.
    for record in &records {
        let id = json!(record.id);
        let moments = events.iter().filter(|event| event.data["id"] == id).map(|event| event.at);
        assert!(moments.is_sorted(), "events of {} are out of order", record.id);
    }
    // And what the API says is the sum of it.
    let whole = "from=2026-11-22T00:00:00Z&to=2026-11-24T00:00:00Z";
    let by_day = analytics(&app, &acme, &format!("{whole}&group_by=service,channel,country")).await;
    let by_hour = analytics(&app, &acme, &format!("{whole}&interval=hour")).await;
    assert_eq!(by_day["totals"], by_hour["totals"]);
    assert_eq!(by_day["totals"]["started"], live().count());
    assert_eq!(by_day["totals"]["failed"]["blocked"], blocked);
    // What the guard stopped is no failure of anybody to type in a code, and went through no channel.
    let approved = live().filter(|record| record.status == Status::Approved).count();
    let conversion = (approved * 10_000 / (live().count() - blocked)) as f64 / 10_000.0;
    assert_eq!(by_day["totals"]["conversion"], conversion);
    let nowhere = by_day["data"].as_array().unwrap().iter().filter(|group| group["channel"].is_null());
    let nowhere: Vec<u64> = nowhere.map(|group| group["figures"]["started"].as_u64().unwrap()).collect();
    assert_eq!(nowhere.iter().sum::<u64>(), u64::try_from(blocked).unwrap());
    let charged = |currency: &str| -> u64 {
        let live = records.iter().filter(|record| record.mode == Mode::Live);
        let costs = live.flat_map(|record| record.charges.iter().map(|charge| charge.cost));
        costs.filter(|cost| cost.currency().to_string() == currency).map(Cost::micros).sum()
    };
    let costs = ["EUR", "USD"].map(|currency| json!({ "currency": currency, "micros": charged(currency) }));
    assert!(charged("EUR") > 0 && charged("USD") > 0);
    assert_eq!(by_day["totals"]["costs"], json!(costs));
    let days = expected.keys().filter(|key| key.interval == Interval::Day).count();
    assert_eq!(by_day["data"].as_array().unwrap().len(), days);
}

async fn analytics(app: &TestApp, tenant: &TestTenant, query: &str) -> Value {
    app.get(format!("/v1/analytics?{query}")).key(&tenant.live).await.expect(200)
}

#[tokio::test]
async fn whatever_happens_rollups_and_events_are_exact_to_a_recount_of_the_records() {
    for seed in [1, 2] {
        exact(seed).await;
    }
}

#[tokio::test]
async fn what_was_started_before_an_hour_ends_counts_in_it_whenever_it_is_approved() {
    let app = TestApp::with().starts_at("2026-11-22T23:59:59.999999Z").start().await;
    let acme = app.tenant("Acme").await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(9));
    app.checking(&acme.live, &verification, &code).await.expect(200);
    app.started(&acme.live, &number(1)).await;
    fold_all(&app).await;
    let told = analytics(&app, &acme, "interval=hour&group_by=channel").await;
    let hours: Vec<_> = told["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            let figures = &group["figures"];
            (group["starts_at"].as_str().unwrap(), figures["started"].as_u64(), figures["approved"].as_u64())
        })
        .collect();
    assert_eq!(hours, [("2026-11-22T23:00:00Z", Some(1), Some(1)), ("2026-11-23T00:00:00Z", Some(1), Some(0)),]);
    assert_eq!(told["data"][0]["channel"], "outbox");
    assert_eq!(told["data"][0]["country"], Value::Null);
    assert_eq!(told["totals"]["conversion"], 0.5);
    let p50 = told["totals"]["approved_after"]["p50_milliseconds"].as_u64().unwrap();
    assert!((8550..=9450).contains(&p50), "{p50} instead of 9000");
    assert_eq!(told["totals"]["delivered_after"], Value::Null);
    // Only what was started on the second day.
    let told = analytics(&app, &acme, "from=2026-11-23T00:00:00Z").await;
    assert_eq!((told["totals"]["started"].as_u64(), told["to"].as_str()), (Some(1), Some("2026-11-24T00:00:00Z")));
    let told = analytics(&app, &acme, "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z").await;
    assert_eq!((told["totals"]["started"].as_u64(), told["to"].as_str()), (Some(1), Some("2026-11-23T00:00:00Z")));
}

#[tokio::test]
async fn what_channels_charge_is_summed_by_currency_at_the_channel_that_charged() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let charges = |micros, currency| Answer::Charges(DeliveryStatus::Sent, cost(micros, currency));
    app.outbox.next(charges(45_000, "EUR"));
    let (first, _) = app.started(&acme.live, NUMBER).await;
    // A resend is charged for like a send.
    app.clock.advance(seconds(60));
    app.outbox.next(charges(5_000, "EUR"));
    app.post(format!("{}/resend", path(&first))).key(&acme.live).await.expect(200);
    app.run_jobs().await;
    app.outbox.next(charges(7, "USD"));
    app.started(&acme.live, "+12122000001").await;
    // A channel that says nothing costs nothing, and test keys reach no channel.
    app.started(&acme.live, &number(1)).await;
    app.started(&acme.test, &number(2)).await;
    // The answer of a channel that nobody waited for any more.
    let held = app.outbox.holds_next();
    let slow = app.starting(&acme.live, json!({ "to": number(3) })).await.expect(201);
    let (called, jobs) = (app.outbox.letters().len() + 1, app.run_jobs());
    let answering = async {
        app.outbox.called(called).await;
        app.clock.advance(seconds(60));
        app.post(format!("{}/resend", path(&slow))).key(&acme.live).await.expect(200);
        held.answer(charges(1_000, "EUR"));
    };
    tokio::join!(jobs, answering);
    app.run_jobs().await;
    fold_all(&app).await;
    let by_country = analytics(&app, &acme, "group_by=channel,country").await;
    assert_eq!(
        by_country["totals"]["costs"],
        json!([{ "currency": "EUR", "micros": 51_000 }, { "currency": "USD", "micros": 7 }])
    );
    let told = |country: &str| {
        let groups = by_country["data"].as_array().unwrap();
        let group = groups.iter().find(|group| group["country"] == country && group["channel"] == "outbox");
        group.unwrap()["figures"]["costs"].clone()
    };
    let (euro, dollar) = (json!({ "currency": "EUR", "micros": 50_000 }), json!({ "currency": "USD", "micros": 7 }));
    assert_eq!(told("US"), json!([euro, dollar]));
    assert_eq!(analytics(&app, &acme, "country=DE").await["totals"]["costs"], json!([]));
}

#[tokio::test]
async fn hours_and_days_go_after_13_months() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.started(&acme.live, NUMBER).await;
    fold_all(&app).await;
    let kept = async || {
        while app.app.retire_rollups(1).await.expect("the store answers") > 0 {}
        all::<Rollup>(&app, acme.id).await.iter().map(|rollup| rollup.interval).collect::<Vec<_>>()
    };
    // Of the country, and of all.
    let both = [Interval::Hour, Interval::Day, Interval::Hour, Interval::Day];
    assert_eq!(kept().await, both);
    app.clock.advance(days(397));
    assert_eq!(kept().await, both);
    for query in ["from=2026-11-22T00:00:00Z", "interval=hour&from=2026-11-22T12:00:00Z&to=2026-11-23T00:00:00Z"] {
        assert_eq!(analytics(&app, &acme, query).await["totals"]["started"], 1, "{query}");
    }
    // With the whole of their day.
    app.clock.advance(days(1));
    assert!(kept().await.is_empty());
}

#[tokio::test]
async fn a_verification_that_is_deleted_before_it_is_folded_counts_all_the_same() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    let id = verification["id"].as_str().unwrap().parse().unwrap();
    app.app.ports().store.tenant(acme.id).delete_verification(id).await.expect("the store answers");
    assert!(records(&app, acme.id).await.is_empty());
    fold_all(&app).await;
    let totals = analytics(&app, &acme, "").await["totals"].clone();
    assert_eq!((totals["started"].as_u64(), totals["approved"].as_u64()), (Some(1), Some(1)));
}

#[tokio::test]
async fn test_verifications_are_told_of_and_not_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.app.heard(acme.id).await.unwrap();
    app.started(&acme.test, NUMBER).await;
    fold_all(&app).await;
    let events = all::<Event>(&app, acme.id).await;
    assert!(!events.is_empty() && events.iter().all(|event| event.data["test_mode"] == json!(true)));
    assert!(all::<Rollup>(&app, acme.id).await.is_empty());
    assert_eq!(analytics(&app, &acme, "").await["totals"]["started"], 0);
}

#[tokio::test]
async fn analytics_are_filtered_and_a_key_of_one_service_sees_that_one() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let other = json!({ "name": "Other", "brand": "Other" });
    let other = app.post("/v1/services").key(&acme.live).json(other).await.expect(201);
    let other = other["id"].as_str().unwrap();
    app.started(&acme.live, &number(1)).await;
    for to in ["+12122000001", "someone@example.com"] {
        app.started_as(&acme.live, json!({ "to": to, "service": other })).await;
    }
    fold_all(&app).await;
    let started = async |key: &str, query: &str| {
        let reply = app.get(format!("/v1/analytics?{query}")).key(key).await;
        reply.expect(200)["totals"]["started"].as_u64().unwrap()
    };
    assert_eq!(started(&acme.live, "").await, 3);
    assert_eq!(started(&acme.live, &format!("service={other}")).await, 2);
    assert_eq!(started(&acme.live, "country=US").await, 1);
    assert_eq!(started(&acme.live, "channel=spare").await, 0);
    let bound = app.key(&acme, |key| key.service = Some(other.parse().unwrap())).await;
    assert_eq!(started(&bound, "").await, 2);
    let refused = app.get(format!("/v1/analytics?service={}", acme.service)).key(&bound).await;
    refused.problem(403, "service_not_allowed");
    let by_country = analytics(&app, &acme, "group_by=country").await;
    let countries: Vec<_> =
        by_country["data"].as_array().unwrap().iter().map(|group| group["country"].as_str()).collect();
    assert!(countries.contains(&Some("US")) && countries.contains(&None), "{countries:?}");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for (query, field) in [
        ("interval=hour&from=2025-10-20T00:00:00Z", "from"),
        ("interval=hour&from=2025-10-20T00:00:00Z&to=2025-10-22T00:00:00Z", "from"),
        ("interval=hour&to=2025-10-22T00:00:00Z", "from"),
        ("from=2025-01-01T00:00:00Z", "from"),
        ("from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z", "from"),
        ("interval=week", "interval"),
        ("group_by=city", "group_by"),
        ("page=2", "page"),
    ] {
        let refused = app.get(format!("/v1/analytics?{query}")).key(&acme.live).await;
        assert_eq!(refused.wrong_fields(), [field], "{query}");
    }
}

/// A tenant with 3 channels, 100 countries and a week: more than fits into an answer, and not more than is summed up.
#[tokio::test]
async fn a_large_tenant_is_answered_and_told_which_bound_it_meets() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let end: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let mut counted = BTreeMap::new();
    for hour in 1..=24 * 7 {
        for place in 0..300u16 {
            let (country, channel) = (place / 3, ["sms", "voice", "\"odd\" ✓"][usize::from(place % 3)]);
            let letter = |n: u16| char::from(b'A' + u8::try_from(n).unwrap());
            let key = RollupKey {
                tenant: acme.id,
                interval: Interval::Hour,
                starts: end.saturating_sub(SignedDuration::from_hours(hour)).unwrap(),
                service: acme.service,
                channel: channel.to_owned(),
                country: Some([letter(country / 10), letter(country % 10)].iter().collect()),
            };
            let counts = Counts { started: 1, ..Counts::default() };
            counted.insert(key, Figures { counts, ..Figures::default() });
        }
    }
    let rollups = Rollup::of(counted);
    for part in rollups.chunks(2_000) {
        app.app.ports().store.commit(part.iter().map(Change::insert).collect()).await.expect("they are new");
    }
    let started = async |query: &str| {
        analytics(&app, &acme, &format!("interval=hour&{query}")).await["totals"]["started"].clone()
    };
    assert_eq!(started("").await, 300 * 24 * 7);
    assert_eq!(started("country=BC&channel=sms").await, 24 * 7);
    assert_eq!(started("channel=%22odd%22%20%E2%9C%93&group_by=country&from=2026-11-22T00:00:00Z").await, 100 * 12);
    assert_eq!(started(&format!("service={}", acme.service)).await, 300 * 24 * 7);
    let refused = app.get("/v1/analytics?interval=hour&group_by=country,channel").key(&acme.live).await;
    assert_eq!(refused.wrong_fields(), ["group_by"]);
}
