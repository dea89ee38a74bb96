//! Events as they happen, over a real connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wotp_core::app::WantedEvents;
use wotp_core::domain::audit::By;
use wotp_core::domain::dispatch::Receipt;
use wotp_core::domain::event::{Event, Fact, TestData, VerificationData};
use wotp_core::domain::id::{EndpointId, EventId, ServiceId, VerificationId};
use wotp_core::domain::magic_link;
use wotp_core::domain::member::Member;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::permission::Role;
use wotp_core::domain::verification::Status;
use wotp_core::domain::webhook::endpoint::EventPattern;
use wotp_core::ports::{Change, Item};

use crate::app::{NUMBER, TestApp, TestTenant, id, seconds};
use crate::loopback::{Arriving, Loopback};
use crate::webhooks::Receiver;

struct Scene {
    app: TestApp,
    tenant: TestTenant,
    served: Loopback,
}

impl Scene {
    async fn set() -> Self {
        let (app, tenant) = TestApp::start_with_tenant().await;
        let served = Loopback::serve(app.router()).await;
        Self { app, tenant, served }
    }

    fn now(&self) -> Timestamp {
        self.app.app.ports().clock.now()
    }

    async fn follow(&self, key: &str, query: &str, last: Option<&Event>) -> Followed {
        let last = last.map(|event| event.id.to_string());
        let headers: Vec<_> = last.iter().map(|id| ("Last-Event-ID", id.as_str())).collect();
        let reply = self.served.get(&format!("/v1/events/stream{query}"), key, &headers).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "text/event-stream"));
        let mut followed = Followed { reply, rest: String::new() };
        assert_eq!(followed.next().await.as_deref(), Some("retry: 2000"));
        followed
    }

    /// One that happened so many seconds ago, and that nobody was told of yet.
    fn event(&self, tenant: &TestTenant, ago: i64) -> Event {
        let at = self.now().saturating_sub(seconds(ago)).expect("within the calendar");
        let fact = Fact::VerificationApproved(VerificationData {
            id: VerificationId::new(at, &*self.app.app.ports().entropy),
            service: tenant.service,
            method: magic_link::Method::Code,
            status: Status::Pending,
            reason: None,
            channel: None,
            country: None,
            test_mode: false,
            checks_used: 1,
            sends_used: 1,
            created_at: at,
            expires_at: at,
            ended_at: None,
        });
        Event::new(tenant.id, Some(tenant.service), &fact, at, &*self.app.app.ports().entropy)
    }

    async fn happens(&self, events: &[&Event]) {
        let changes = events.iter().map(|event| Change::insert(*event)).collect();
        self.app.app.ports().store.commit(changes).await.expect("they are new");
    }
}

/// A stream that somebody listens to.
struct Followed {
    reply: Arriving,
    rest: String,
}

impl Followed {
    /// What is said next, comments included; none at the end.
    async fn next(&mut self) -> Option<String> {
        while !self.rest.contains("\n\n") {
            self.rest.push_str(&self.reply.chunk().await.expect("the stream is not cut off")?);
        }
        let (said, rest) = self.rest.split_once("\n\n").expect("there is one");
        let (said, rest) = (said.to_owned(), rest.to_owned());
        self.rest = rest;
        Some(said)
    }

    /// The next event, as its data say.
    async fn event(&mut self) -> Option<Value> {
        loop {
            let said = self.next().await?;
            let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(data) = field("data: ") {
                let data: Value = serde_json::from_str(&data).expect("it is JSON");
                assert_eq!(field("id: ").as_deref(), data["id"].as_str());
                assert_eq!(field("event: ").as_deref(), data["type"].as_str());
                return Some(data);
            }
            assert!(said.starts_with(':'), "{said}");
        }
    }

    async fn tells(&mut self, events: &[&Event]) {
        for event in events {
            assert_eq!(self.event().await.expect("it goes on")["id"], event.id.to_string());
        }
    }
}

#[tokio::test]
async fn events_come_as_they_happen_and_whoever_comes_back_hears_what_it_missed() {
    let scene = Scene::set().await;
    let key = &scene.tenant.live;
    let before = scene.event(&scene.tenant, 1);
    scene.happens(&[&before]).await;
    let mut followed = scene.follow(key, "", None).await;
    let [one, two] = [0, 0].map(|ago| scene.event(&scene.tenant, ago));
    scene.happens(&[&one]).await;
    let told = followed.event().await.expect("it goes on");
    assert_eq!(told["data"]["status"], "pending");
    assert_eq!(told, scene.app.get(format!("/v1/events/{}", one.id)).key(key).await.expect(200));
    scene.happens(&[&two]).await;
    followed.tells(&[&two]).await;
    drop(followed);

    scene.app.clock.advance(seconds(100));
    let mut missed: Vec<Event> = (0..450).map(|_| scene.event(&scene.tenant, 0)).collect();
    missed.sort_by_key(|event| event.id);
    scene.happens(&missed.iter().collect::<Vec<_>>()).await;
    scene.app.clock.advance(seconds(100));
    let mut followed = scene.follow(key, "", Some(&two)).await;
    // The last seconds before, and then what it missed.
    let mut again = BTreeSet::new();
    for _ in 0..2 {
        again.insert(followed.event().await.expect("it goes on")["id"].to_string());
    }
    assert_eq!(again, [&before, &one].map(|event| json!(event.id.to_string()).to_string()).into());
    followed.tells(&missed.iter().collect::<Vec<_>>()).await;
    let last = scene.event(&scene.tenant, 0);
    scene.happens(&[&last]).await;
    followed.tells(&[&last]).await;
}

#[tokio::test]
async fn what_a_node_was_slow_to_store_is_told_too_and_nothing_twice() {
    let scene = Scene::set().await;
    let mut followed = scene.follow(&scene.tenant.live, "", None).await;
    let [new, late, later] = [0, 1, 40].map(|ago| scene.event(&scene.tenant, ago));
    scene.happens(&[&new]).await;
    followed.tells(&[&new]).await;
    scene.happens(&[&late]).await;
    followed.tells(&[&late]).await;
    // Too late for a near look; the next far one finds it. And what takes a whole minute to be stored, just after a
    // far look, is found by the one after it.
    scene.happens(&[&later]).await;
    scene.app.clock.advance(seconds(15));
    followed.tells(&[&later]).await;
    let latest = scene.event(&scene.tenant, 60);
    scene.happens(&[&latest]).await;
    scene.app.clock.advance(seconds(15));
    followed.tells(&[&latest]).await;
    let last = scene.event(&scene.tenant, 0);
    scene.happens(&[&last]).await;
    followed.tells(&[&last]).await;
}

#[tokio::test]
async fn of_events_that_are_stored_all_over_the_place_each_is_told_once() {
    let scene = Scene::set().await;
    let mut followed = scene.follow(&scene.tenant.live, "", None).await;
    let events: Vec<Event> = (0..600).map(|_| scene.event(&scene.tenant, 0)).collect();
    let mut nodes = JoinSet::new();
    for part in events.chunks(150) {
        let (store, part) = (Arc::clone(&scene.app.app.ports().store), part.to_vec());
        nodes.spawn(async move {
            for event in part {
                store.commit(vec![Change::insert(&event)]).await.expect("it is new");
            }
        });
    }
    let mut told = Vec::new();
    for _ in 0..events.len() {
        told.push(followed.event().await.expect("it goes on")["id"].as_str().expect("an id").to_owned());
    }
    nodes.join_all().await;
    told.sort();
    let mut expected: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    expected.sort();
    assert_eq!(told, expected);
}

/// Where hardly any of what was missed is wanted, a look goes on in steps, and says how far it is.
#[tokio::test]
async fn a_look_at_much_that_nobody_asked_for_ends_and_the_next_goes_on_from_there() {
    let scene = Scene::set().await;
    let first = scene.event(&scene.tenant, 0);
    let mut missed = Vec::new();
    for _ in 0..5 {
        scene.app.clock.advance(seconds(600));
        missed.extend((0..1000).map(|_| scene.event(&scene.tenant, 0)));
    }
    let mut rare = scene.event(&scene.tenant, 0);
    rare.kind = "verification.expired".to_owned();
    missed.push(rare.clone());
    for part in missed.chunks(500) {
        scene.happens(&part.iter().collect::<Vec<_>>()).await;
    }
    scene.app.clock.advance(seconds(600));
    let caller = scene.app.app.authenticate(Some(&scene.tenant.live), None, None).await.expect("its key");
    let kinds = vec![EventPattern::parse("verification.expired").expect("a kind")];
    let wanted = WantedEvents { kinds, service: None };
    let app = &scene.app.app;
    let mut following = app.follow_events(&caller, wanted.clone(), Some(first.id)).await.expect("it is theirs");
    let (mut told, mut looks, mut last) = (Vec::new(), 0, first.id);
    loop {
        let seen = app.next_events(&mut following).await.expect("the store answers");
        told.extend(seen.events);
        looks += 1;
        let Some(reached) = seen.reached else { break };
        assert!(reached > last, "each look gets further");
        last = reached;
    }
    assert_eq!((told.iter().map(|event| event.id).collect::<Vec<_>>(), looks), (vec![rare.id], 3));
    // Whoever hangs up meanwhile need not begin anew.
    let mut back = app.follow_events(&caller, wanted.clone(), Some(last)).await.expect("it is theirs");
    let seen = app.next_events(&mut back).await.expect("the store answers");
    assert_eq!(seen.events.iter().map(|event| event.id).collect::<Vec<_>>(), [rare.id]);
    // Nor is whoever stays led back, when a look goes far back once more.
    let many: Vec<_> = (0..2500).map(|n| scene.event(&scene.tenant, n / 50)).collect();
    for part in many.chunks(500) {
        scene.happens(&part.iter().collect::<Vec<_>>()).await;
    }
    while app.next_events(&mut back).await.expect("the store answers").reached.is_some() {}
    let before = EventId::first_at(scene.now());
    scene.app.clock.advance(seconds(20));
    let reached = app.next_events(&mut back).await.expect("the store answers").reached.expect("it is not done");
    assert!(reached >= before, "{reached} is before {before}");
}

#[tokio::test]
async fn connecting_again_and_again_is_a_call_like_any_other() {
    let app = TestApp::with().plan("limits = { rate_per_second = 1, rate_burst = 3 }").start().await;
    let tenant = app.tenant("Acme").await;
    let scene = Scene { served: Loopback::serve(app.router()).await, app, tenant };
    let mut refused = None;
    for _ in 0..20 {
        let reply = scene.served.get("/v1/events/stream", &scene.tenant.live, &[]).await;
        refused = refused.or((reply.status != 200).then_some(reply.status));
    }
    assert_eq!(refused, Some(429));
}

#[tokio::test]
async fn a_stream_shows_what_its_caller_may_see_and_asked_for() {
    let scene = Scene::set().await;
    let globex = scene.app.tenant("Globex").await;
    let bound = scene.app.key(&scene.tenant, |key| key.service = Some(scene.tenant.service)).await;
    let elsewhere = ServiceId::new(scene.now(), &*scene.app.app.ports().entropy);
    let approved = scene.event(&scene.tenant, 0);
    let theirs = scene.event(&globex, 0);
    let other = Event { service: Some(elsewhere), ..scene.event(&scene.tenant, 0) };
    let mut in_test = scene.event(&scene.tenant, 0);
    in_test.data["test_mode"] = json!(true);
    let fact = Fact::WebhookTest(TestData { endpoint: EndpointId::from_bytes([1; 16]), message: "a test" });
    let tenants = Event::new(scene.tenant.id, None, &fact, scene.now(), &*scene.app.app.ports().entropy);
    let mut all = [&approved, &other, &in_test, &tenants];
    all.sort_by_key(|event| event.id);
    let sees = |event: &Event, of: &[&Event]| of.iter().any(|one| one.id == event.id);
    let mut streams = Vec::new();
    for (key, query, seen) in [
        (&scene.tenant.live, "", vec![&approved, &other, &tenants]),
        (&scene.tenant.test, "", vec![&in_test, &tenants]),
        (&bound, "", vec![&approved]),
        (&scene.tenant.live, &*format!("?service={elsewhere}"), vec![&other]),
        (&scene.tenant.live, "?types=verification.approved", vec![&approved, &other]),
        (&scene.tenant.live, "?types=webhook.*,message.sent", vec![&tenants]),
        (&globex.live, "", vec![&theirs]),
    ] {
        let in_order: Vec<&Event> = all.iter().copied().chain([&theirs]).filter(|event| sees(event, &seen)).collect();
        streams.push((scene.follow(key, query, None).await, in_order));
    }
    scene.happens(&[&approved, &theirs, &other, &in_test, &tenants]).await;
    for (stream, in_order) in &mut streams {
        stream.tells(in_order).await;
    }
    let asked = |query: &str| scene.app.get(format!("/v1/events/stream?{query}")).key(&scene.tenant.live);
    for (query, field) in [("types=nothing", "types"), ("service=svc_1", "service"), ("kind=a", "kind")] {
        assert_eq!(asked(query).await.wrong_fields(), [field]);
    }
    assert_eq!(asked("").header("last-event-id", "7").await.wrong_fields(), ["Last-Event-ID"]);
    let refused = scene.app.get(format!("/v1/events/stream?service={elsewhere}")).key(&bound).await;
    refused.problem(403, "service_not_allowed");
}

#[tokio::test]
async fn a_stream_from_somebody_elses_event_on_tells_ones_own() {
    let scene = Scene::set().await;
    let globex = scene.app.tenant("Globex").await;
    let theirs = scene.event(&globex, 60);
    scene.happens(&[&theirs, &scene.event(&globex, 50)]).await;
    let mut stream = scene.follow(&scene.tenant.live, "", Some(&theirs)).await;
    let own = scene.event(&scene.tenant, 0);
    scene.happens(&[&scene.event(&globex, 0), &own]).await;
    stream.tells(&[&own]).await;
}

/// What a key may see is asked again every few seconds, and an operator's call is noted once.
#[tokio::test]
async fn a_stream_tells_what_its_caller_may_see_now_and_is_one_line_of_the_log() {
    let scene = Scene::set().await;
    let (app, acme) = (&scene.app, &scene.tenant);
    let operator = app.operator().await;
    let act = app.post(format!("/operator/v1/tenants/{}/accesses", acme.id)).by(&operator);
    act.json(json!({ "reason": "you asked", "minutes": 5 })).await.expect(201);
    let tenant = acme.id.to_string();
    let acting = scene.served.get("/v1/events/stream", &operator.access_token, &[("wotp-tenant", &tenant)]).await;
    let mut acting = Followed { reply: acting, rest: String::new() };
    assert_eq!(acting.next().await.as_deref(), Some("retry: 2000"));
    let mut stream = scene.follow(&acme.live, "", None).await;
    let admin = app.member(acme, Role::Admin).await;
    let keys = app.get("/v1/keys").by(&admin).await.expect(200);
    let shown = |key: &&Value| acme.live.starts_with(key["shown"].as_str().expect("how it begins"));
    let live = keys["data"].as_array().expect("keys").iter().find(shown).expect("its key").clone();
    let bind = app.request(Method::PATCH, format!("/v1/keys/{}", id(&live))).by(&admin);
    bind.json(json!({ "service": acme.service.to_string() })).await.expect(200);
    let elsewhere = ServiceId::new(scene.now(), &*app.app.ports().entropy);
    let mut told_of_own_only = false;
    for _ in 0..100 {
        let other = Event { service: Some(elsewhere), ..scene.event(acme, 0) };
        let own = scene.event(acme, 0);
        scene.happens(&[&other, &own]).await;
        let first = stream.event().await.expect("it goes on");
        told_of_own_only = first["id"] == own.id.to_string();
        if told_of_own_only {
            break;
        }
        let (mut of, mut heard) = (
            [other.id.to_string(), own.id.to_string()],
            [first["id"].clone(), stream.event().await.expect("it goes on")["id"].clone()]
                .map(|id| id.as_str().unwrap().to_owned()),
        );
        of.sort();
        heard.sort();
        assert_eq!(heard, of);
    }
    assert!(told_of_own_only, "the key is bound to one service");
    let last = scene.event(acme, 0);
    scene.happens(&[&last]).await;
    while acting.event().await.expect("it goes on")["id"] != last.id.to_string() {}
    let noted = app.get("/v1/audit?action=operator_access.call").by(&admin).await.expect(200);
    assert_eq!(noted["data"].as_array().expect("entries").len(), 1, "{noted}");
}

#[tokio::test]
async fn a_tenant_has_so_many_streams_and_whoever_hangs_up_leaves_its_place() {
    let scene = Scene::set().await;
    let globex = scene.app.tenant("Globex").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(scene.follow(&scene.tenant.live, "", None).await);
    }
    let refused = scene.served.get("/v1/events/stream", &scene.tenant.live, &[]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "5"));
    scene.follow(&globex.live, "", None).await;
    streams.pop();
    while scene.served.get("/v1/events/stream", &scene.tenant.live, &[]).await.status != 200 {}
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked_and_when_its_node_is_to_stop() {
    let scene = Scene::set().await;
    let by = By::command_line();
    let issued = scene.app.app.issue_key(
        &by,
        scene.tenant.id,
        wotp_core::app::NewKeySettings {
            scopes: [wotp_core::domain::api_key::Scope::EventsRead].into(),
            ..wotp_core::app::NewKeySettings::named("short", Mode::Live)
        },
    );
    let issued = issued.await.expect("a new key");
    let mut short = scene.follow(issued.secret.reveal(), "", None).await;
    let mut long = scene.follow(&scene.tenant.live, "", None).await;
    scene.app.app.revoke_key(&By::command_line(), scene.tenant.id, issued.key.id).await.expect("it is there");
    // To its end, not cut off.
    assert_eq!(short.next().await, None);
    let event = scene.event(&scene.tenant, 0);
    scene.happens(&[&event]).await;
    long.tells(&[&event]).await;
    scene.app.ready.store(false, Ordering::Release);
    assert_eq!(long.next().await, None);
    scene.app.get("/v1/events/stream").key(&scene.tenant.live).await.problem(503, "unavailable");
    let known = EventId::first_at(scene.now());
    scene.app.ready.store(true, Ordering::Release);
    let mut back = scene.follow(&scene.tenant.live, "", Some(&Event { id: known, ..event.clone() })).await;
    back.tells(&[&event]).await;
}

#[tokio::test]
async fn a_persons_stream_outlasts_their_access_token_and_ends_with_their_session() {
    let scene = Scene::set().await;
    let member = scene.app.member(&scene.tenant, Role::Developer).await;
    let mut stream = scene.follow(&member.access_token, "", None).await;
    // Nor does it matter that they are in two tenants from now on, where it did not say of which it is.
    let (globex, joined_at) = (scene.app.tenant("Globex").await, scene.now());
    let second = Member { tenant: globex.id, user: member.user, role: Role::Owner, joined_at };
    scene.app.app.ports().store.commit(vec![Change::insert(&second)]).await.expect("a membership");
    scene.app.clock.advance(seconds(16 * 60));
    scene.app.get("/v1/me").by(&member).await.problem(401, "token_expired");
    // It is asked every five seconds of the real time whether they still may.
    let asked = Instant::now() + Duration::from_secs(6);
    while Instant::now() < asked {
        let event = scene.event(&scene.tenant, 0);
        scene.happens(&[&event]).await;
        stream.tells(&[&event]).await;
    }
    scene.app.post("/v1/auth/logout").json(json!({ "refresh_token": member.refresh_token })).await.expect(204);
    while let Some(said) = stream.next().await {
        assert!(said.starts_with(':'), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_becomes_of_a_message_is_told_once_by_stream_list_and_webhook_whoever_folds() {
    let scene = Scene::set().await;
    let (app, acme) = (&scene.app, &scene.tenant);
    let receiver = Receiver::start().await;
    app.endpoint(&acme.live, json!({ "url": receiver.url(), "events": ["message.*"] })).await;
    let mut followed = scene.follow(&acme.live, "?types=message.*", None).await;
    let message = json!({ "to": NUMBER, "content": "Your parcel is at the door." });
    let message = app.post("/v1/messages").key(&acme.live).json(message).await.expect(201);
    app.run_jobs().await;
    let of_message = format!("/v1/messages/{}", id(&message));
    let sent = app.get(of_message.clone()).key(&acme.live).await.expect(200);
    let (item, delivery) = (id(&message).parse().unwrap(), id(&sent["deliveries"][0]).parse().unwrap());
    for receipt in [Receipt::Delivered, Receipt::Read, Receipt::Delivered] {
        app.app.record_receipt(acme.id, Item::Message(item), delivery, receipt).await.unwrap();
    }
    let fellow = app.fellow();
    let folds = [&app.app, &fellow.app, &app.app, &fellow.app].map(Arc::clone);
    let mut racing: JoinSet<_> =
        folds.into_iter().map(|app| async move { app.fold(50).await.unwrap().events }).collect();
    let mut events = 0;
    while let Some(folded) = racing.join_next().await {
        events += folded.unwrap();
    }
    while app.app.fold(50).await.unwrap().taken > 0 {}
    assert!(events <= 2, "{events}");
    app.run_webhooks().await;
    let page = app.get("/v1/events?type=message.*").key(&acme.live).await.expect(200);
    let mut listed = page["data"].as_array().unwrap().clone();
    listed.reverse();
    let kinds: Vec<&str> = listed.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message.sent", "message.delivered"]);
    let told = &listed[1]["data"];
    assert_eq!((&told["id"], &told["channel"], &told["country"]), (&message["id"], &json!("outbox"), &json!("US")));
    assert_eq!(
        (&told["test_mode"], &told["reason"], &told["service"]),
        (&json!(false), &Value::Null, &message["service"])
    );
    for event in &listed {
        assert_eq!(followed.event().await.as_ref(), Some(event));
    }
    let mut called: Vec<_> = receiver.received().iter().map(|call| call.json()).collect();
    called.sort_by_key(|call| call["type"].as_str() != Some("message.sent"));
    assert_eq!(called.iter().map(|call| &call["data"]).collect::<Vec<_>>(), [&listed[0]["data"], told]);
}
