//! Numbers that cannot send: nothing is accepted for them that would wait in vain, and what holds them back is told.

use std::sync::Arc;

use serde_json::{Value, json};
use wotp_core::domain::live_connection::{LiveStatus, SenderGrade, SenderHealth, SenderHeld, Standing};
use wotp_core::ports::TenantAccount;

use crate::app::{NUMBER, TestApp, TestTenant, id, number, seconds};
use crate::client::Request;
use crate::sessions::{Linked, MANY, account, made, standing, stands};

/// A platform, and a tenant whose codes go out through its own number and through nothing else.
struct Stage {
    app: TestApp,
    acme: TestTenant,
    to: TenantAccount,
}

impl Stage {
    async fn set() -> Self {
        let app = TestApp::with().plan(MANY).channel(Arc::new(Linked)).start().await;
        let mut acme = app.tenant("Acme").await;
        acme.live = app.key(&acme, |_| {}).await;
        let to = connecting(&app, &acme).await;
        app.change_service(&acme, json!({ "channels": ["whatsapp"] })).await;
        Self { app, acme, to }
    }

    async fn stands(&self, status: LiveStatus, reason: Option<&str>) {
        let standing = Standing { reason: reason.map(str::to_owned), ..standing(&self.app, status) };
        stands(&self.app, self.to, &standing).await;
        // What was read is used for a second.
        self.app.clock.advance(seconds(1));
    }

    /// Each to somebody else, so that no limit is in the way.
    fn starting(&self, n: usize, channels: &[&str]) -> Request {
        self.app.starting(&self.acme.live, json!({ "to": number(n), "channels": channels }))
    }
}

/// A number that somebody had log in, and of which nothing is known yet.
async fn connecting(app: &TestApp, acme: &TestTenant) -> TenantAccount {
    let connection = made(app, acme).await;
    let path = format!("/v1/connections/{}/connect", id(&connection));
    app.post(path).key(&acme.live).json(json!({ "accept_risk": true })).await.expect(202);
    account(acme, &connection)
}

#[tokio::test]
async fn nothing_is_accepted_for_a_number_that_sends_only_once_somebody_does_something() {
    let stage = Stage::set().await;
    let Stage { app, acme, .. } = &stage;
    stage.starting(1, &[]).await.expect(201);
    let sent = |path: &str, body: Value| app.post(path).key(&acme.live).json(body);
    for (n, (status, reason)) in [
        (LiveStatus::Unpaired, Some("timed_out")),
        (LiveStatus::Pairing, None),
        (LiveStatus::Replaced, None),
        (LiveStatus::Banned, Some("blocked")),
        (LiveStatus::LoggedOut, None),
    ]
    .into_iter()
    .enumerate()
    {
        stage.stands(status, reason).await;
        let used = app.used_today(&acme.live, "verifications").await;
        for channels in [&[][..], &["whatsapp"]] {
            let refused = stage.starting(10 + n, channels).await.expect(422);
            assert_eq!(refused["code"], "not_connected", "{status:?}: {refused}");
        }
        let message = json!({ "to": number(10 + n), "content": "Hello" });
        assert_eq!(sent("/v1/messages", message).await.expect(422)["code"], "not_connected", "{status:?}");
        let code = json!({ "phone": number(10 + n) });
        assert_eq!(sent("/api/otp/send", code).await.expect(403)["error"], "No number that can send is connected");
        let message = json!({ "phone": number(10 + n), "content": "Hello" });
        sent("/api/message/send", message).await.expect(403);
        assert_eq!(app.used_today(&acme.live, "verifications").await, used);
    }
    // It is there as soon as it is connected, and while it comes back by itself.
    stands(app, stage.to, &standing(app, LiveStatus::Connected)).await;
    stage.starting(2, &[]).await.expect(201);
    for (n, reason) in ["lost", "unavailable", "not_kept"].into_iter().enumerate() {
        stage.stands(LiveStatus::Disconnected, Some(reason)).await;
        stage.starting(20 + n, &[]).await.expect(201);
    }
    stage.stands(LiveStatus::Connecting, None).await;
    sent("/api/otp/send", json!({ "phone": number(3) })).await.expect(200);
    app.lose_jobs().await;
}

#[tokio::test]
async fn one_of_several_numbers_or_another_channel_is_enough() {
    let stage = Stage::set().await;
    let Stage { app, acme, to } = &stage;
    stage.stands(LiveStatus::LoggedOut, None).await;
    stage.starting(1, &["whatsapp"]).await.expect(422);
    // Another channel of the call, or of the service.
    let started = stage.starting(1, &["whatsapp", "outbox"]).await.expect(201);
    assert_eq!(started["channel"], "outbox");
    app.change_service(acme, json!({ "channels": ["whatsapp", "spare"] })).await;
    assert_eq!(stage.starting(2, &[]).await.expect(201)["channel"], "spare");
    app.change_service(acme, json!({ "channels": ["whatsapp"] })).await;
    // Nothing reaches anybody with a test key.
    let body = json!({ "to": NUMBER, "channels": ["whatsapp"] });
    assert_eq!(app.starting(&acme.test, body).await.expect(201)["channel"], "whatsapp");
    // An address that the number would not reach is another matter.
    let by_email = app.starting(&acme.live, json!({ "to": "ada@example.com" })).await;
    assert_eq!(by_email.expect(422)["code"], "no_channel");
    let other = connecting(app, acme).await;
    assert_ne!(other, *to);
    assert_eq!(stage.starting(3, &[]).await.expect(201)["channel"], "whatsapp");
    app.lose_jobs().await;
}

#[tokio::test]
async fn wotps_own_paths_say_that_a_number_is_disconnected_that_nobody_wants_connected() {
    let stage = Stage::set().await;
    let Stage { app, acme, to } = &stage;
    app.post(format!("/v1/connections/{}/disconnect", to.connection)).key(&acme.live).await.expect(202);
    let send = |body| app.post("/api/otp/send").key(&acme.live).json(body);
    let refused = send(json!({ "phone": NUMBER })).await.expect(403);
    assert_eq!(refused["error"], "No number that can send is connected");
    assert!(refused["details"].as_str().unwrap().contains("none of your WhatsApp numbers can send"), "{refused}");
    app.change_service(acme, json!({ "channels": [] })).await;
    send(json!({ "phone": NUMBER })).await.expect(200);
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 1);
}

#[tokio::test]
async fn what_whatsapp_imposes_is_told_with_its_end_and_what_helps_though_the_number_was_limited_before() {
    let stage = Stage::set().await;
    let Stage { app, acme, to } = &stage;
    app.get("/v1/events").key(&acme.live).await.expect(200);
    let limited = async |reasons: &[(&str, i64)]| {
        let mut standing = standing(app, LiveStatus::Connected);
        let held = |&(reason, after): &(&str, i64)| SenderHeld {
            reason: reason.to_owned(),
            until: "2026-11-22T12:00:00Z".parse::<wotp_core::domain::Timestamp>().unwrap() + seconds(after),
        };
        standing.health = Some(SenderHealth {
            grade: SenderGrade::Limited,
            reasons: reasons.iter().map(held).collect(),
            sent_today: 3,
            left_today: 17,
            strangers_left_today: 0,
        });
        stands(app, *to, &standing).await;
        let page = app.get("/v1/events?type=connection.health").key(&acme.live).await.expect(200);
        let events = page["data"].as_array().unwrap();
        (events.len(), events.first().map_or(Value::Null, |event| event["data"].clone()))
    };
    let ours = ("strangers_of_day", 86_400);
    let (count, told) = limited(&[ours]).await;
    assert_eq!(
        (count, &told["held_by"], &told["until"]),
        (1, &json!(["strangers_of_day"]), &json!("2026-11-23T12:00:00Z"))
    );
    assert!(told["advice"].as_str().unwrap().contains("more would have it banned"), "{told}");
    // 463: the same grade, and another matter.
    let lock = ("time_locked", 7200);
    let (count, told) = limited(&[ours, lock]).await;
    assert_eq!((count, &told["health"], &told["until"]), (2, &json!("limited"), &json!("2026-11-22T14:00:00Z")));
    assert!(told["advice"].as_str().unwrap().contains("`method: \"inbound\"`"), "{told}");
    for again in [&[ours, lock][..], &[lock], &[("hour_is_full", 60), lock]] {
        assert_eq!(limited(again).await.0, 2, "{again:?}");
    }
    assert_eq!(limited(&[lock, ("new_chats_used_up", 3600)]).await.0, 3);
}
