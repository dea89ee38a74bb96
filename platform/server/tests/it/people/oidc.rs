//! Sign-in by an identity provider: a real one, in a process of its own.

use std::sync::Arc;

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use wotp_core::ports::{EntityList, Owner};
use wotp_oidc::{OidcProvider, Settings};
use wotp_test_servers::{CameBack, OidcIssuer};

use crate::app::{TestApp, seconds};
use crate::client::{Reply, Request, race};

const PAGE: &str = "https://app.example.com/signed-in";
pub const EMAIL: &str = "ada@example.com";

pub struct Stage {
    pub app: TestApp,
    pub issuer: OidcIssuer,
}

/// A browser: what cookies it has, as it sends them.
#[derive(Clone, Default)]
struct Browser(String);

impl Browser {
    fn after(headers: &HeaderMap) -> Self {
        let cookies = headers.get_all("set-cookie").iter().map(|value| {
            let cookie = value.to_str().expect("cookies are ASCII");
            assert!(cookie.contains("HttpOnly") && cookie.contains("Secure"), "{cookie}");
            cookie.split(';').next().expect("a pair").to_owned()
        });
        Self(cookies.collect::<Vec<_>>().join("; "))
    }
}

impl Stage {
    pub async fn set() -> Self {
        Self::with("mock").await
    }

    /// With the provider under this name.
    pub async fn with(name: &str) -> Self {
        let issuer = OidcIssuer::start();
        issuer.says_of("ada", &json!({ "email": EMAIL, "email_verified": true, "name": "Ada" }));
        let provider = OidcProvider::new(Settings {
            name: name.to_owned(),
            display_name: "Mock".to_owned(),
            issuer: issuer.url(),
            client_id: OidcIssuer::CLIENT_ID.to_owned(),
            client_secret: OidcIssuer::CLIENT_SECRET.to_owned().into(),
            redirect_uris: vec![PAGE.to_owned(), "http://localhost:8765/done".to_owned()],
        });
        let now = Timestamp::from_second(issuer.now_seconds()).expect("a time");
        let app = TestApp::with()
            .starts_at(now.to_string().leak())
            .identity_provider(Arc::new(provider.expect("a provider")))
            .start()
            .await;
        Self { app, issuer }
    }

    /// Begins to sign in: where to go, and the browser that goes there.
    async fn begin(&self) -> (String, Browser) {
        let begun = self.app.post("/v1/auth/oidc/mock/start").json(json!({ "token_transport": "body" })).await;
        let url = begun.expect(200)["authorization_url"].as_str().expect("a URL").to_owned();
        (url, Browser::after(&begun.headers))
    }

    /// Signs in at the provider as far as the way back.
    async fn come_back(&self, subject: &str) -> (CameBack, Browser) {
        let (url, browser) = self.begin().await;
        (self.issuer.sign_in(&url, subject), browser)
    }

    fn complete(&self, back: &CameBack, browser: &Browser) -> Request {
        let body = json!({ "state": back.state, "code": back.code });
        self.app.post("/v1/auth/oidc/complete").header("cookie", &browser.0).json(body)
    }

    pub async fn sign_in(&self, subject: &str) -> Reply {
        let (back, browser) = self.come_back(subject).await;
        self.complete(&back, &browser).await
    }

    /// What becomes of a sign-in whose ID token differs like this.
    async fn sign_in_with(&self, how: Value) -> Reply {
        let (back, browser) = self.come_back("ada").await;
        self.issuer.next_token(&how);
        self.complete(&back, &browser).await
    }

    pub async fn count(&self, kind: &'static str) -> usize {
        let list = EntityList::of(Owner::Platform);
        self.app.app.ports().store.list_entities(kind, &list).await.expect("a list").len()
    }
}

fn user(reply: &Reply) -> String {
    reply.expect(200)["user"].as_str().expect("a session").to_owned()
}

#[tokio::test]
async fn somebody_new_gets_an_account_and_is_known_from_then_on() {
    let stage = Stage::set().await;
    let providers = stage.app.get("/v1/auth/oidc").await.expect(200);
    let pages = [PAGE, "http://localhost:8765/done"];
    assert_eq!(providers["data"], json!([{ "name": "mock", "display_name": "Mock", "redirect_uris": pages }]));

    let opened = stage.sign_in("ada").await;
    let token = opened.expect(200)["access_token"].as_str().expect("a session").to_owned();
    let me = stage.app.get("/v1/me").key(&token).await.expect(200);
    assert_eq!((&me["email"], &me["name"], &me["has_password"]), (&json!(EMAIL), &json!("Ada"), &json!(false)));
    assert_eq!(user(&stage.sign_in("ada").await), user(&opened));
    // By the subject, whatever becomes of the address there.
    stage.issuer.says_of("ada", &json!({ "email": "other@example.com", "email_verified": false }));
    assert_eq!(user(&stage.sign_in("ada").await), user(&opened));
    assert_eq!((stage.count("user").await, stage.count("linked_identity").await), (1, 1));
}

#[tokio::test]
async fn the_account_with_the_address_that_the_provider_verified_is_linked() {
    let stage = Stage::set().await;
    let ada = stage.app.person(EMAIL).await;
    assert_eq!(user(&stage.sign_in("ada").await), ada.user.to_string());
    stage.app.run_jobs().await;
    let told = stage.app.outbox.last();
    assert!(told.to == ada.email && told.text.contains("sign in with Mock"), "the owner is told: {}", told.text);
    assert_eq!(stage.count("user").await, 1);
}

#[tokio::test]
async fn an_address_that_nobody_verified_neither_finds_nor_makes_an_account() {
    let stage = Stage::set().await;
    for claims in [json!({ "email": EMAIL, "email_verified": false }), json!({ "email": EMAIL }), json!({})] {
        stage.issuer.says_of("eve", &claims);
        stage.sign_in("eve").await.problem(403, "email_not_verified");
    }
    assert_eq!(stage.count("user").await, 0);
    stage.app.person(EMAIL).await;
    stage.issuer.says_of("eve", &json!({ "email": EMAIL, "email_verified": false }));
    stage.sign_in("eve").await.problem(403, "email_not_verified");
    assert_eq!((stage.count("user").await, stage.count("linked_identity").await), (1, 0));
}

#[tokio::test]
async fn an_answer_with_another_state_or_from_another_browser_is_refused_and_ends_nothing() {
    let stage = Stage::set().await;
    let (back, browser) = stage.come_back("ada").await;
    let (other_back, other_browser) = stage.come_back("ada").await;
    let mut tampered = back.clone();
    tampered.state = back.state.chars().rev().collect();
    for (back, browser) in [
        (&tampered, &browser),
        (&CameBack { state: String::new(), ..back.clone() }, &browser),
        (&back, &Browser::default()),
        (&back, &other_browser),
        (&other_back, &browser),
    ] {
        stage.complete(back, browser).await.problem(401, "sign_in_over");
    }
    // Two attempts are not mixed: the code of one comes with the other's state.
    let mixed = CameBack { code: other_back.code.clone(), ..back.clone() };
    stage.complete(&mixed, &browser).await.problem(401, "provider_refused");
    stage.complete(&other_back, &other_browser).await.problem(401, "provider_refused");
    assert_eq!(stage.count("user").await, 0);
    let (back, browser) = stage.come_back("ada").await;
    stage.complete(&back, &browser).await.expect(200);
}

#[tokio::test]
async fn an_answer_counts_once() {
    let stage = Stage::set().await;
    let (back, browser) = stage.come_back("ada").await;
    let replies = race((0..10).map(|_| stage.complete(&back, &browser))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    stage.complete(&back, &browser).await.problem(401, "sign_in_over");
    // With an attempt of its own, the old code is refused by the provider.
    let (new, browser) = stage.come_back("ada").await;
    let replayed = CameBack { code: back.code, ..new };
    stage.complete(&replayed, &browser).await.problem(401, "provider_refused");
}

#[tokio::test]
async fn an_attempt_is_over_after_ten_minutes_and_forgotten() {
    let stage = Stage::set().await;
    let (back, browser) = stage.come_back("ada").await;
    stage.app.clock.advance(seconds(600));
    stage.complete(&back, &browser).await.problem(401, "sign_in_over");
    stage.app.sweep().await;
    assert_eq!(stage.count("sign_in_attempt").await, 0);
}

#[tokio::test]
async fn a_token_that_does_not_hold_lets_nobody_in() {
    let stage = Stage::set().await;
    let past = stage.issuer.now_seconds() - 3600;
    for how in [
        json!({ "claims": { "nonce": "another" } }),
        json!({ "claims": { "nonce": null } }),
        json!({ "claims": { "exp": past } }),
        json!({ "claims": { "aud": "another" } }),
        json!({ "claims": { "iss": "https://id.example.com" } }),
        json!({ "unknown_key": true }),
        json!({ "unsigned": true }),
    ] {
        stage.sign_in_with(how).await.problem(401, "provider_refused");
    }
    let (back, browser) = stage.come_back("ada").await;
    let body = json!({ "state": back.state, "code": back.code, "iss": "https://id.example.com" });
    let mixed_up = stage.app.post("/v1/auth/oidc/complete").header("cookie", &browser.0).json(body);
    mixed_up.await.problem(401, "provider_refused");
    assert_eq!((stage.count("user").await, stage.count("session").await), (0, 0));
    stage.sign_in("ada").await.expect(200);
}

#[tokio::test]
async fn people_come_back_to_pages_that_the_operator_named_and_to_no_other() {
    let stage = Stage::set().await;
    let start = |body: Value| stage.app.post("/v1/auth/oidc/mock/start").json(body);
    assert_eq!(start(json!({ "redirect_uri": "https://evil.example.com/" })).await.wrong_fields(), ["redirect_uri"]);
    assert_eq!(start(json!({ "redirect_uri": format!("{PAGE}/") })).await.wrong_fields(), ["redirect_uri"]);
    let begun = start(json!({ "redirect_uri": "http://localhost:8765/done" })).await.expect(200);
    let back = stage.issuer.sign_in(begun["authorization_url"].as_str().expect("a URL"), "ada");
    assert_eq!(back.page, "http://localhost:8765/done");
    stage.app.post("/v1/auth/oidc/other/start").json(json!({})).await.problem(404, "not_found");
}

#[tokio::test]
async fn who_has_a_second_factor_is_asked_for_it_here_too() {
    let stage = Stage::set().await;
    let ada = stage.app.person(EMAIL).await;
    let recovery_code = ada.switch_second_factor_on(&stage.app).await;
    let asked = stage.sign_in("ada").await.expect(200);
    assert_eq!(asked["second_factor_required"], true);
    let body = json!({ "challenge": asked["challenge"], "code": recovery_code });
    let opened = stage.app.post("/v1/auth/second-factor").json(body).await.expect(200);
    assert!(opened["refresh_token"].is_string(), "as the start asked for");
    stage.app.run_jobs().await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let stage = Stage::set().await;
    let (back, browser) = stage.come_back("ada").await;
    let Stage { app, issuer } = stage;
    drop(issuer);
    let body = json!({ "state": back.state, "code": back.code });
    let reply = app.post("/v1/auth/oidc/complete").header("cookie", &browser.0).json(body).await;
    assert_eq!(reply.problem(502, "provider_unavailable")["retryable"], true);
}

/// What holds of the binary, which chooses its store itself.
mod alone {
    use super::*;
    use crate::process::{Board, Place, Server, exchange};

    /// A configuration with one provider, whose secret is in this file.
    fn configuration(place: &Place, issuer: &str, secret: &str) -> String {
        let text = format!(
            "[[auth.oidc]]\nname = 'mock'\nissuer = '{issuer}'\nclient_id = 'wotp-client'\n\
             client_secret_file = '{secret}'\nredirect_uris = ['{PAGE}']\n"
        );
        let file = place.file("wotp.toml");
        std::fs::write(&file, text).expect("a file");
        file
    }

    #[test]
    fn the_server_knows_the_providers_of_its_configuration() {
        let (issuer, place) = (OidcIssuer::start(), Place::new());
        let secret = place.file("mock.secret");
        std::fs::write(&secret, format!("{}\n", OidcIssuer::CLIENT_SECRET)).expect("a file");
        let config = configuration(&place, &issuer.url(), &secret);
        let server = Server::start_on(&place, &["--config", &config], &[], Board::default());
        let listed = exchange(&server.address, "GET", "/v1/auth/oidc", "", &Value::Null).expect("an answer");
        assert_eq!(listed.body["data"], json!([{ "name": "mock", "display_name": "mock", "redirect_uris": [PAGE] }]));
        let begun = exchange(&server.address, "POST", "/v1/auth/oidc/mock/start", "", &json!({})).expect("an answer");
        let url = begun.body["authorization_url"].as_str().expect("a URL");
        assert_eq!(issuer.sign_in(url, "ada").page, PAGE);
        server.stop();
    }

    #[test]
    fn a_provider_without_its_secret_keeps_the_server_from_starting() {
        let place = Place::new();
        let config = configuration(&place, "https://id.example.com", "missing.secret");
        let said = place.run(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
        said.failed_saying(&["missing.secret", "auth.oidc.client_secret_file"]);
    }

    #[test]
    fn an_issuer_that_is_not_protected_is_refused() {
        let place = Place::new();
        let secret = place.file("mock.secret");
        std::fs::write(&secret, "hush").expect("a file");
        let config = configuration(&place, "http://id.example.com", &secret);
        let said = place.run(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
        said.failed_saying(&["identity provider `mock`", "http://id.example.com"]);
    }
}

#[tokio::test]
async fn people_see_by_whom_they_sign_in_and_end_it() {
    let stage = Stage::set().await;
    let ada = stage.app.person(EMAIL).await;
    let eve = stage.app.person("eve@example.com").await;
    let elsewhere = stage.sign_in("ada").await.expect(200)["access_token"].as_str().expect("a token").to_owned();
    let list = |person| stage.app.get("/v1/me/identities").by(person);
    let linked = list(&ada).await.expect(200)["data"][0].clone();
    assert_eq!((&linked["provider"], &linked["issuer"]), (&json!("mock"), &json!(stage.issuer.url())));
    assert_eq!(list(&eve).await.expect(200)["data"], json!([]));
    let path = format!("/v1/me/identities/{}", linked["id"].as_str().expect("an id"));
    let unlink = |person| stage.app.request(http::Method::DELETE, &path).by(person);
    unlink(&eve).await.problem(404, "not_found");
    unlink(&ada).await.expect(204);
    unlink(&ada).await.problem(404, "not_found");
    assert_eq!(list(&ada).await.expect(200)["data"], json!([]));
    stage.app.get("/v1/me").key(&elsewhere).await.problem(401, "session_ended");
    // An address that the provider does not vouch for any more finds no account.
    stage.issuer.says_of("ada", &json!({ "email": EMAIL, "email_verified": false }));
    stage.sign_in("ada").await.problem(403, "email_not_verified");
    stage.app.run_jobs().await;
}

#[tokio::test]
async fn who_has_no_password_shows_a_mailed_code_before_a_second_factor() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let token = |reply: &Value| reply["access_token"].as_str().expect("a token").to_owned();
    let (here, there) =
        (token(&stage.sign_in("ada").await.expect(200)), token(&stage.sign_in("ada").await.expect(200)));
    let enrol = |body: Value, token: &str| app.post("/v1/me/second-factor").key(token).json(body);
    assert_eq!(enrol(json!({}), &here).await.wrong_fields(), ["code"]);
    let sent = app.post("/v1/me/second-factor/code").key(&here).await.expect(202);
    let code = app.mailed(EMAIL).await;
    let body = json!({ "verification": sent["verification"], "code": code });
    enrol(body.clone(), &there).await.problem(422, "code_wrong");
    enrol(body.clone(), &here).await.expect(201);
    enrol(body, &here).await.problem(422, "code_wrong");
    app.run_jobs().await;
}

#[tokio::test]
async fn one_client_does_not_begin_sign_ins_without_end() {
    let stage = Stage::set().await;
    let begin = || stage.app.post("/v1/auth/oidc/mock/start").json(json!({}));
    for _ in 0..100 {
        begin().await.expect(200);
    }
    begin().await.problem(429, "rate_limited");
    begin().at_ip("203.0.113.9").await.expect(200);
}
