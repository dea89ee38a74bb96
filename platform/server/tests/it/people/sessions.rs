use axum::http::Method;
use serde_json::{Value, json};

use super::account::audited;
use crate::app::{TestApp, days, seconds};
use crate::client::race;

const EMAIL: &str = "ada@example.com";

fn token(body: &Value) -> String {
    body["refresh_token"].as_str().expect("a refresh token").to_owned()
}

#[tokio::test]
async fn a_refresh_token_turns_and_keeps_the_session_for_another_week() {
    let app = TestApp::start().await;
    let mut refresh = app.person(EMAIL).await.refresh_token;
    for _ in 0..3 {
        app.clock.advance(days(6));
        let turned = app.refresh(&refresh).await.expect(200);
        app.get("/v1/me").key(turned["access_token"].as_str().expect("a token")).await.expect(200);
        assert_ne!(token(&turned), refresh);
        refresh = token(&turned);
    }
    app.clock.advance(days(7));
    app.refresh(&refresh).await.problem(401, "session_ended");
}

#[tokio::test]
async fn an_old_refresh_token_ends_the_session_for_both() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let other = app.logged_in(EMAIL).await;
    let turned = app.refresh(&person.refresh_token).await.expect(200);
    app.clock.advance(seconds(11));
    app.refresh(&person.refresh_token).await.problem(401, "session_ended");
    app.refresh(&token(&turned)).await.problem(401, "session_ended");
    app.get("/v1/me").key(turned["access_token"].as_str().expect("a token")).await.problem(401, "session_ended");
    app.get("/v1/me").by(&other).await.expect(200);
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_get_the_same_next_token() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let refresh = || app.post("/v1/auth/refresh").json(json!({ "refresh_token": person.refresh_token }));
    let replies = race((0..8).map(|_| refresh())).await;
    let next: Vec<String> = replies.iter().map(|reply| token(&reply.expect(200))).collect();
    assert!(next.iter().all(|other| *other == next[0]));
    // A reply that was lost is asked for again.
    app.clock.advance(seconds(9));
    assert_eq!(token(&refresh().await.expect(200)), next[0]);
    let turned = app.refresh(&next[0]).await.expect(200);
    app.clock.advance(seconds(60));
    app.refresh(&token(&turned)).await.expect(200);
}

#[tokio::test]
async fn what_is_no_token_of_a_session_ends_none() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let other = app.person("eve@example.com").await;
    // The session's id in the place of another's: what somebody can make who has seen the id.
    let forged = format!("{}{}", &person.refresh_token[..24], &other.refresh_token[24..]);
    for wrong in [forged.as_str(), "", "wr_", "wr_AAAA", &person.access_token] {
        app.refresh(wrong).await.problem(401, "session_ended");
    }
    app.refresh(&person.refresh_token).await.expect(200);
    app.post("/v1/auth/refresh").json(json!({})).await.problem(401, "session_ended");
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once_and_twice_is_no_harm() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    app.get("/v1/me").by(&person).await.expect(200);
    let log_out = || app.post("/v1/auth/logout").json(json!({ "refresh_token": person.refresh_token }));
    log_out().await.expect(204);
    app.get("/v1/me").by(&person).await.problem(401, "session_ended");
    app.get("/v1/usage").by(&person).await.problem(401, "session_ended");
    app.refresh(&person.refresh_token).await.problem(401, "session_ended");
    log_out().await.expect(204);
    app.post("/v1/auth/logout").json(json!({ "refresh_token": "wr_nonsense" })).await.expect(204);
    // Without a refresh token, the access token says which session.
    let other = app.logged_in(&person.email).await;
    app.post("/v1/auth/logout").by(&other).json(json!({})).await.expect(204);
    app.get("/v1/me").by(&other).await.problem(401, "session_ended");
    app.post("/v1/auth/logout").by(&other).json(json!({})).await.expect(204);
    app.post("/v1/auth/logout").key("eyJhbGciOiJub25lIn0.e30.").json(json!({})).await.problem(401, "token_refused");
    app.post("/v1/auth/logout").key("nonsense").json(json!({})).await.problem(401, "token_refused");
    app.post("/v1/auth/logout").json(json!({})).await.expect(204);
}

#[tokio::test]
async fn however_somebody_logs_out_the_log_says_that_they_did() {
    let app = TestApp::start().await;
    let by_refresh_token = app.person(EMAIL).await;
    let (by_access_token, as_wotp) = (app.logged_in(EMAIL).await, app.logged_in(EMAIL).await);
    let refresh_token = json!({ "refresh_token": by_refresh_token.refresh_token });
    app.post("/v1/auth/logout").json(refresh_token).await.expect(204);
    app.post("/v1/auth/logout").by(&by_access_token).json(json!({})).await.expect(204);
    app.post("/api/auth/logout").key(&as_wotp.access_token).await.expect(200);
    let log = audited(&app).await;
    assert_eq!(log.matches("session.log_out").count(), 3, "{log}");
    assert!(!log.contains("session.revoke"), "{log}");
    for session in [&by_refresh_token, &by_access_token, &as_wotp] {
        app.get("/v1/me").by(session).await.problem(401, "session_ended");
    }
}

#[tokio::test]
async fn people_see_their_sessions_and_end_them() {
    let app = TestApp::start().await;
    let eve = app.person("eve@example.com").await;
    let first = app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    let second = app.logged_in(EMAIL).await;
    let third = app.logged_in(EMAIL).await;
    let list = app.get("/v1/me/sessions").by(&first).await.expect(200);
    let seen: Vec<(&str, bool)> = list["data"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|session| (session["id"].as_str().expect("an id"), session["current"].as_bool().expect("a flag")))
        .collect();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2], (first.session.as_str(), true));
    assert!(seen[..2].iter().all(|(_, current)| !current));
    let end = |id: &str| app.request(Method::DELETE, format!("/v1/me/sessions/{id}"));
    end(&second.session).by(&eve).await.problem(404, "not_found");
    end("ses_nonsense").by(&first).await.problem(404, "not_found");
    end(&second.session).by(&first).await.expect(204);
    app.get("/v1/me").by(&second).await.problem(401, "session_ended");
    app.get("/v1/me").by(&third).await.expect(200);
    app.request(Method::DELETE, "/v1/me/sessions").by(&first).await.expect(204);
    app.get("/v1/me").by(&third).await.problem(401, "session_ended");
    let list = app.get("/v1/me/sessions").by(&first).await.expect(200);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    app.get("/v1/me").by(&eve).await.expect(200);
}
