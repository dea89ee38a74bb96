use serde_json::json;
use wotp_core::domain::tenant::HOUSE;

use super::{PASSWORD, credentials};
use crate::app::{TestApp, seconds, wrong};

const EMAIL: &str = "ada@example.com";

#[tokio::test]
async fn who_names_no_tenant_begins_without_one() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let started = app.post("/v1/auth/sign-up").json(body).await.expect(202);
    let code = app.mailed("ada@example.com").await;
    let confirmed = app.confirm(&started, &code).await.expect(201);
    assert_eq!(confirmed["tenant"], json!(null));
    let ada = app.logged_in("ada@example.com").await;
    assert_eq!(app.get("/v1/me").by(&ada).await.expect(200)["memberships"], json!([]));
    app.get("/v1/tenant").by(&ada).await.problem(404, "not_found");
}

#[tokio::test]
async fn who_signs_up_confirms_the_address_and_owns_a_tenant() {
    let app = TestApp::start().await;
    let started = app.sign_up("Ada@Example.com").await.expect(202);
    app.log_in(EMAIL, PASSWORD).await.problem(401, "credentials_wrong");
    let code = app.mailed(EMAIL).await;
    let confirmed = app.confirm(&started, &code).await.expect(201);
    let login = app.log_in("ADA@example.com", PASSWORD).await.expect(200);
    assert_eq!(login["expires_in_seconds"], 900);
    let token = login["access_token"].as_str().expect("a token");
    let me = app.get("/v1/me").key(token).await.expect(200);
    assert_eq!(me["email"], EMAIL);
    assert_eq!(me["id"], confirmed["user"]);
    assert_eq!(me["memberships"][0]["tenant"], confirmed["tenant"]);
    assert_eq!(me["memberships"][0]["role"], "owner");
    // The tenant works: it has a service, and the plan.
    let usage = app.get("/v1/usage").key(token).await.expect(200);
    assert_eq!(usage["plan"], "free");
    let services = app.get("/v1/services").key(token).await.expect(200);
    assert_eq!(services["data"][0]["name"], "Acme");
}

#[tokio::test]
async fn a_wrong_code_and_a_used_one_make_no_account() {
    let app = TestApp::start().await;
    let started = app.sign_up(EMAIL).await.expect(202);
    let code = app.mailed(EMAIL).await;
    app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    app.confirm(&json!({ "verification": "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M" }), &code).await.problem(422, "code_wrong");
    app.confirm(&started, &code).await.expect(201);
    app.confirm(&started, &code).await.problem(422, "code_wrong");
    let started = app.sign_up("eve@example.com").await.expect(202);
    let code = app.mailed("eve@example.com").await;
    app.clock.advance(seconds(601));
    app.confirm(&started, &code).await.problem(422, "code_wrong");
}

#[tokio::test]
async fn five_wrong_codes_use_up_the_right_one() {
    let app = TestApp::start().await;
    let started = app.sign_up(EMAIL).await.expect(202);
    let code = app.mailed(EMAIL).await;
    for _ in 0..5 {
        app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    }
    app.confirm(&started, &code).await.problem(422, "code_wrong");
}

#[tokio::test]
async fn sign_up_answers_and_does_the_same_whether_or_not_there_is_an_account() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    // Past the limits of the address from the first time.
    app.clock.advance(seconds(86_400));
    let work = async |email: &str| {
        let (hashed, mails) = (app.passwords.hashed(), app.outbox.letters().len());
        let reply = app.sign_up(email).await;
        let mut body = reply.expect(202);
        let id = body["verification"].take();
        assert!(id.as_str().expect("an id").starts_with("ver_"));
        let again = app.sign_up(email).await;
        app.run_jobs().await;
        let letters = app.outbox.letters();
        let texts: Vec<String> = letters[mails..].iter().map(|letter| letter.text.replace(&letter.code, "?")).collect();
        (body, again.problem(429, "cool_down")["detail"].clone(), app.passwords.hashed() - hashed, texts)
    };
    let known = work(EMAIL).await;
    let unknown = work("nobody@example.com").await;
    assert_eq!(known, unknown);
    assert_eq!(known.2, 2, "each sign-up hashes one password");
}

#[tokio::test]
async fn only_who_holds_the_address_hears_that_there_is_an_account() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    app.clock.advance(seconds(86_400));
    let body = json!({ "email": EMAIL, "password": "another long sentence", "tenant": "Other" });
    let started = app.post("/v1/auth/sign-up").json(body).await.expect(202);
    let code = app.mailed(EMAIL).await;
    app.confirm(&started, &code).await.problem(409, "taken");
    app.log_in(EMAIL, "another long sentence").await.problem(401, "credentials_wrong");
    let me = app.get("/v1/me").by(&app.logged_in(EMAIL).await).await.expect(200);
    assert_eq!(me["id"], person.user.to_string());
    assert_eq!(me["memberships"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_does_not_hold_is_named() {
    let app = TestApp::start().await;
    let sign_up = |body| app.post("/v1/auth/sign-up").json(body);
    let wrong = sign_up(json!({ "email": "ada", "password": "short", "tenant": "" })).await.wrong_fields();
    assert_eq!(wrong, ["email", "tenant"]);
    let wrong = sign_up(json!({ "email": EMAIL, "password": "short", "tenant": "Acme", "name": "\u{7}" })).await;
    assert_eq!(wrong.wrong_fields(), ["password", "name"]);
    for common in ["password1", "iloveyou1", "AAAAAAAAAA", EMAIL] {
        let body = json!({ "email": EMAIL, "password": common, "tenant": "Acme" });
        assert_eq!(sign_up(body).await.wrong_fields(), ["password"], "{common}");
    }
    let unknown = json!({ "email": EMAIL, "password": PASSWORD, "tenant": "Acme", "plan": "unlimited" });
    assert_eq!(sign_up(unknown).await.wrong_fields(), ["plan"]);
}

#[tokio::test]
async fn one_client_cannot_have_us_write_to_everybody() {
    let app = TestApp::start().await;
    let reset = |n: usize| {
        let body = json!({ "email": format!("n{n}@example.com") });
        app.post("/v1/auth/password-reset").json(body)
    };
    for n in 0..20 {
        reset(n).await.expect(202);
    }
    let refused = reset(20).await;
    let problem = refused.problem(429, "rate_limited");
    assert_eq!(problem["detail"], "there may be 1 call a second, 20 at once, for each client");
    assert!(refused.retry_after() >= 1);
    reset(20).at_ip("192.0.2.9").await.expect(202);
    app.run_jobs().await;
}

#[tokio::test]
async fn the_platforms_own_tenant_is_no_customer() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.person(EMAIL).await;
    let house = app.app.ports().store.tenant(HOUSE).find_tenant().await.expect("the store answers");
    assert!(house.is_some());
    let listed = app.app.tenants().await.expect("the store answers");
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|tenant| tenant.id == acme.id));
    assert!(listed.iter().all(|tenant| tenant.id != HOUSE));
}

#[tokio::test]
async fn a_stolen_database_tells_neither_addresses_nor_passwords_nor_tokens() {
    let app = TestApp::start().await;
    let person = app.person("ada.lovelace@example.com").await;
    let secret = person.refresh_token[20..].to_owned();
    for (name, bytes) in app.stolen() {
        for text in ["ada.lovelace", PASSWORD, &secret, &person.access_token] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{name} tells {text}");
        }
    }
    let body = credentials("ada.lovelace@example.com", PASSWORD);
    app.post("/v1/auth/login").json(body).await.expect(200);
}

#[tokio::test]
async fn a_name_is_refused_in_words_that_hold_for_it() {
    let app = TestApp::start().await;
    let sign_up = |name: &str| {
        let body = json!({ "email": EMAIL, "password": PASSWORD, "name": name });
        app.post("/v1/auth/sign-up").json(body)
    };
    for wrong in ["\u{7}", &"a".repeat(101)] {
        let problem = sign_up(wrong).await.problem(422, "invalid_request");
        assert_eq!(problem["detail"], "`name`: has 0 to 100 characters and no control characters");
    }
    sign_up("  ").await.expect(202);
    app.run_jobs().await;
}
