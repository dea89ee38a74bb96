//! The life of a verification.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::app::{NUMBER, TestApp, id, path, seconds};

#[tokio::test]
async fn a_code_goes_out_and_comes_back() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let started = app.starting(&acme.live, json!({ "to": NUMBER, "metadata": { "order": "7" } })).await;
    let verification = started.expect(201);
    assert_eq!(started.header("location"), path(&verification));
    assert_json_snapshot!("started", verification, { ".id" => "[id]", ".service" => "[id]", ".deliveries[].id" => "[id]" });

    app.clock.advance(seconds(2));
    app.run_jobs().await;
    let letter = app.outbox.last();
    assert_eq!((letter.to.as_str(), letter.code.len()), (NUMBER, 6));
    assert!(letter.text.contains(&letter.code) && letter.text.contains("Acme"), "{}", letter.text);
    let sent = app.read(&acme.live, &verification).await;
    assert_json_snapshot!("sent", sent, { ".id" => "[id]", ".service" => "[id]", ".deliveries[].id" => "[id]" });
    assert_eq!(letter.message_id, sent["deliveries"][0]["id"], "the channel is given the delivery's id");

    app.clock.advance(seconds(10));
    let checked = app.checking(&acme.live, &verification, &letter.code).await.expect(200);
    assert_json_snapshot!("checked", checked, { ".verification.id" => "[id]", ".verification.service" => "[id]", ".verification.deliveries[].id" => "[id]" });
    assert_eq!(app.read(&acme.live, &verification).await, checked["verification"]);
}

#[tokio::test]
async fn a_verification_expires_when_its_time_is_over() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(300));
    let checked = app.checking(&acme.live, &verification, &code).await.expect(200);
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("expired")));
    assert_eq!(checked["checks"]["used"], 0, "a guess that came too late is not counted");
}

#[tokio::test]
async fn the_right_code_is_right_until_the_last_moment() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(299));
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
}

#[tokio::test]
async fn the_sweep_expires_what_nobody_asks_about() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(299));
    assert_eq!(app.sweep().await.expired, 0);
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.expired, 1);
    let expired = app.read(&acme.live, &verification).await;
    assert_eq!(expired["status"], "expired");
    assert_eq!(expired["ended_at"], "2026-11-22T12:05:00Z");
}

#[tokio::test]
async fn a_canceled_verification_takes_no_code() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let cancel = || app.post(format!("{}/cancel", path(&verification))).key(&acme.live);
    assert_eq!(cancel().await.expect(200)["status"], "canceled");
    assert_eq!(cancel().await.expect(200)["status"], "canceled", "once more changes nothing");
    let checked = app.checking(&acme.live, &verification, &code).await.expect(200);
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("canceled")));
}

#[tokio::test]
async fn what_was_approved_cannot_be_canceled() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    let refused = app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await;
    refused.problem(409, "verification_ended");
    assert_eq!(app.read(&acme.live, &verification).await["status"], "approved");
}

#[tokio::test]
async fn only_replies_to_test_keys_carry_the_code_and_nothing_reaches_a_channel() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.test, NUMBER).await;
    assert_eq!(verification["test_mode"], true);
    assert_eq!(app.outbox.letters(), [], "a test key reaches nobody");
    let delivered = app.read(&acme.test, &verification).await;
    assert_eq!(delivered["deliveries"][0]["status"], "delivered");
    assert_eq!(delivered["test_code"], code.as_str());
    let checked = app.checking(&acme.test, &verification, &code).await.expect(200);
    assert_eq!(checked["valid"], true);
    assert!(checked["verification"].get("test_code").is_none(), "a code that was used is of no use");

    let live = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    app.run_jobs().await;
    assert!(live.get("test_code").is_none());
    app.get(path(&verification)).key(&acme.live).await.problem(404, "not_found");
    app.get(path(&live)).key(&acme.test).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_sandbox_number_behaves_as_promised_with_a_live_key() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let limits = app.get("/v1/limits").await.expect(200);
    for sandbox in limits["sandbox_numbers"].as_array().expect("numbers are listed") {
        let to = sandbox["number"].as_str().expect("a number");
        let verification = app.starting(&acme.live, json!({ "to": to })).await.expect(201);
        app.run_jobs().await;
        for _ in 0..2 {
            app.clock.advance(seconds(5));
            app.sweep().await;
            app.run_jobs().await;
        }
        let ended = app.read(&acme.live, &verification).await;
        let deliveries: Vec<_> = ended["deliveries"].as_array().expect("deliveries").iter().collect();
        let statuses: Vec<_> = deliveries.iter().map(|delivery| delivery["status"].as_str().unwrap()).collect();
        let expected: (&str, &[&str]) = match to {
            "+447700900001" | "+447700900003" => ("pending", &["delivered"]),
            "+447700900002" => ("failed", &["failed", "failed"]),
            "+447700900004" => ("pending", &["read"]),
            "+447700900005" => ("pending", &["failed", "delivered"]),
            "+447700900006" => ("pending", &["sent"]),
            other => panic!("say what is promised of {other}"),
        };
        assert_eq!((ended["status"].as_str().unwrap(), statuses.as_slice()), expected, "{to}: {ended}");
    }
    assert_eq!(app.outbox.letters(), [], "no sandbox number reaches a channel");
}

#[tokio::test]
async fn metadata_is_kept_and_bounded() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let pairs =
        |count: usize| (0..count).map(|n| (format!("name{n}"), json!("value"))).collect::<serde_json::Map<_, _>>();
    let full = app.starting(&acme.live, json!({ "to": NUMBER, "metadata": pairs(20) })).await.expect(201);
    app.run_jobs().await;
    assert_eq!(app.read(&acme.live, &full).await["metadata"], json!(pairs(20)));
    for metadata in [
        json!(pairs(21)),
        json!({ "a".repeat(41): "b" }),
        json!({ "a": "b".repeat(501) }),
        json!({ "": "b" }),
        json!({ "a\0b": "b" }),
    ] {
        let refused = app.starting(&acme.live, json!({ "to": "+12025550124", "metadata": metadata })).await;
        assert_eq!(refused.wrong_fields(), ["metadata"]);
    }
    let number = app.starting(&acme.live, json!({ "to": "+12025550124", "metadata": { "order": 7 } })).await;
    assert_eq!(number.wrong_fields(), ["metadata.order"]);
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let refused = app.starting(&acme.live, json!({ "to": NUMBER, "chanels": ["outbox"] })).await;
    assert_eq!(refused.wrong_fields(), ["chanels"]);
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let check = app.post(format!("{}/check", path(&verification))).key(&acme.live);
    assert_eq!(check.json(json!({ "code": code, "to": NUMBER })).await.wrong_fields(), ["to"]);
    assert_eq!(app.read(&acme.live, &verification).await["checks"]["used"], 0);
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({
        "to": "2025550123", "locale": "not a locale", "code_length": 13, "expires_in_seconds": 29,
        "code": "123456", "template": "no placeholder", "metadata": { "": "" },
    });
    let mut wrong = app.starting(&acme.live, body).await.wrong_fields();
    wrong.sort();
    assert_eq!(wrong, ["code", "code_length", "expires_in_seconds", "locale", "metadata", "template", "to"]);
}

#[tokio::test]
async fn an_unknown_verification_is_not_found_whatever_its_id_looks_like() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for id in ["ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M", "msg_01J9ZK3V8X6W5T4S3R2Q1P0N9M", "7", "ver_"] {
        app.get(format!("/v1/verifications/{id}")).key(&acme.live).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_verification_keeps_the_settings_that_it_started_with() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    app.change_service(&acme, json!({ "brand": "Umbrella", "code": { "checks": 1 } })).await;
    app.run_jobs().await;
    assert_eq!(app.outbox.last().brand, "Acme");
    assert_eq!(app.read(&acme.live, &verification).await["checks"]["allowed"], 5);
    let next = app.starting(&acme.live, json!({ "to": "+12025550124" })).await.expect(201);
    app.run_jobs().await;
    assert_eq!((app.outbox.last().brand.as_str(), &next["checks"]["allowed"]), ("Umbrella", &json!(1)));
    assert_ne!(id(&verification), id(&next));
}
