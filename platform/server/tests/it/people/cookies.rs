use serde_json::{Value, json};

use super::PASSWORD;
use crate::app::{TestApp, seconds};
use crate::client::{Reply, Request, race};

const EMAIL: &str = "ada@example.com";
const REFRESH: &str = "__Secure-wotp_refresh";

/// What a browser has after a login: the cookies that it would send to `/v1/auth`, and the body.
struct Browser {
    cookies: Vec<(String, String)>,
    body: Value,
}

impl Browser {
    async fn log_in(app: &TestApp, email: &str) -> Self {
        let reply = app.post("/v1/auth/login").json(json!({ "email": email, "password": PASSWORD })).await;
        let body = reply.expect(200);
        Self { cookies: cookies(&reply), body }
    }

    fn csrf(&self) -> &str {
        self.body["csrf_token"].as_str().expect("a CSRF token")
    }

    /// A refresh as a page of ours sends it, but for what is left to the test.
    fn refreshing(&self, app: &TestApp) -> Request {
        let all: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        app.post("/v1/auth/refresh").header("cookie", &all.join("; "))
    }
}

fn cookies(reply: &Reply) -> Vec<(String, String)> {
    let set = reply.headers.get_all("set-cookie").into_iter().map(|value| value.to_str().expect("ASCII"));
    let pair = |cookie: &str| {
        let (name, rest) = cookie.split_once('=').expect("a cookie has a name");
        (name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned())
    };
    set.map(pair).collect()
}

#[tokio::test]
async fn a_browser_gets_the_refresh_token_where_no_script_reads_it() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let reply = app.post("/v1/auth/login").json(json!({ "email": EMAIL, "password": PASSWORD })).await;
    let body = reply.expect(200);
    assert_eq!((&body["refresh_token"], &body["device_token"]), (&Value::Null, &Value::Null));
    let set: Vec<&str> =
        reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII")).collect();
    let attributes = |name: &str| {
        let cookie = set.iter().find(|cookie| cookie.starts_with(&format!("{name}="))).expect("the cookie is set");
        cookie.split_once("; ").expect("it has attributes").1.to_owned()
    };
    assert_eq!(attributes(REFRESH), "Path=/v1/auth; Max-Age=604800; HttpOnly; SameSite=Strict; Secure");
    assert_eq!(attributes("__Secure-wotp_csrf"), "Path=/; Max-Age=604800; SameSite=Strict; Secure");
    assert_eq!(
        attributes("__Secure-wotp_device"),
        "Path=/v1/auth; Max-Age=34560000; HttpOnly; SameSite=Strict; Secure"
    );
    let refresh = &cookies(&reply)[0].1;
    assert!(refresh.starts_with("wr_") && !reply.text.contains(refresh.as_str()));
}

#[tokio::test]
async fn the_cookie_works_with_the_sessions_own_csrf_token_only() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.person("eve@example.com").await;
    let (ada, eve) = (Browser::log_in(&app, EMAIL).await, Browser::log_in(&app, "eve@example.com").await);
    let second = Browser::log_in(&app, EMAIL).await;
    ada.refreshing(&app).await.problem(403, "csrf_refused");
    for replayed in [eve.csrf(), second.csrf(), "", "nonsense"] {
        ada.refreshing(&app).header("x-csrf-token", replayed).await.problem(403, "csrf_refused");
    }
    // What was refused did not use the token.
    let reply = ada.refreshing(&app).header("x-csrf-token", ada.csrf()).await;
    assert_eq!(reply.expect(200)["csrf_token"], ada.body["csrf_token"]);
    assert!(cookies(&reply).iter().any(|(name, value)| name == REFRESH && *value != ada.cookies[0].1));
    // Logging out is as much a use of the cookie.
    let cookie = format!("{REFRESH}={}", cookies(&reply)[0].1);
    let log_out = || app.post("/v1/auth/logout").header("cookie", &cookie).json(json!({}));
    log_out().await.problem(403, "csrf_refused");
    let reply = log_out().header("x-csrf-token", ada.csrf()).await;
    reply.expect(204);
    assert!(cookies(&reply).iter().any(|(name, value)| name == REFRESH && value.is_empty()));
    app.clock.advance(seconds(1));
    app.get("/v1/me").key(ada.body["access_token"].as_str().expect("a token")).await.problem(401, "session_ended");
    // The token that was right is worth nothing once its session is over, nor for the next one.
    let replayed = app.post("/v1/auth/refresh").header("cookie", &cookie).header("x-csrf-token", ada.csrf());
    replayed.await.problem(401, "session_ended");
    let next = Browser::log_in(&app, EMAIL).await;
    next.refreshing(&app).header("x-csrf-token", ada.csrf()).await.problem(403, "csrf_refused");
    next.refreshing(&app).header("x-csrf-token", next.csrf()).await.expect(200);
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_are_given_the_same_cookie() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    let refresh = |browser: &Browser| browser.refreshing(&app).header("x-csrf-token", browser.csrf());
    let replies = race((0..8).map(|_| refresh(&browser))).await;
    for reply in &replies {
        assert_eq!(reply.expect(200)["csrf_token"], browser.body["csrf_token"]);
        assert_eq!(cookies(reply), cookies(&replies[0]), "whichever comes last");
    }
    let next = Browser { cookies: cookies(&replies[0]), body: replies[0].json() };
    assert_ne!(next.cookies[0], browser.cookies[0]);
    app.clock.advance(seconds(60));
    refresh(&next).await.expect(200);
}

#[tokio::test]
async fn the_cookie_does_not_work_from_other_pages() {
    let app = TestApp::with()
        .http(|http| {
            http.public_url = Some("https://wotp.example".to_owned());
            http.cors_origins = vec!["https://app.example".to_owned()];
        })
        .start()
        .await;
    app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    let refresh = || browser.refreshing(&app).header("x-csrf-token", browser.csrf());
    for origin in ["https://evil.example", "http://wotp.example", "https://wotp.example:8443", "null"] {
        refresh().header("origin", origin).await.problem(403, "csrf_refused");
    }
    refresh().header("sec-fetch-site", "cross-site").await.problem(403, "csrf_refused");
    for origin in ["https://wotp.example", "https://app.example"] {
        refresh().header("origin", origin).await.expect(200);
    }
}

#[tokio::test]
async fn where_no_url_is_known_pages_of_the_host_that_is_called_are_ours() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    let refresh = |origin: &str| {
        let request = browser.refreshing(&app).header("x-csrf-token", browser.csrf());
        request.header("host", "wotp.example:8080").header("origin", origin)
    };
    refresh("https://evil.example").await.problem(403, "csrf_refused");
    refresh("http://wotp.example:8080").await.expect(200);
}

#[tokio::test]
async fn a_token_that_travels_in_a_cookie_does_not_work_in_a_body() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    app.refresh(&browser.cookies[0].1).await.problem(401, "session_ended");
    let csrf = app.app.ports().vault.csrf_token(person.session.parse().expect("an id"));
    let swapped = app.post("/v1/auth/refresh").header("cookie", &format!("{REFRESH}={}", person.refresh_token));
    swapped.header("x-csrf-token", &csrf).json(json!({})).await.problem(401, "session_ended");
    browser.refreshing(&app).header("x-csrf-token", browser.csrf()).await.expect(200);
}

#[tokio::test]
async fn a_cookie_lets_nobody_call_anything_else() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    let cookie = format!("{REFRESH}={}", browser.cookies[0].1);
    app.get("/v1/me").header("cookie", &cookie).await.problem(401, "token_missing");
    app.get("/v1/usage").header("cookie", &cookie).await.problem(401, "api_key_missing");
    app.get("/v1/me").key(&browser.cookies[0].1).await.problem(401, "token_refused");
}

#[tokio::test]
async fn a_known_browser_is_not_stopped_by_others_wrong_passwords() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    for _ in 0..5 {
        app.log_in(EMAIL, "not the right sentence").await.problem(401, "credentials_wrong");
    }
    let login = || app.post("/v1/auth/login").json(json!({ "email": EMAIL, "password": PASSWORD }));
    login().await.problem(429, "login_delayed");
    let device = browser.cookies.iter().find(|(name, _)| name.ends_with("device")).expect("it is known");
    login().header("cookie", &format!("{}={}", device.0, device.1)).await.expect(200);
}

#[tokio::test]
async fn without_tls_cookies_say_so_by_their_names() {
    let app = TestApp::with().http(|http| http.cookie_secure = false).start().await;
    app.person(EMAIL).await;
    let browser = Browser::log_in(&app, EMAIL).await;
    let names: Vec<&str> = browser.cookies.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["wotp_refresh", "wotp_csrf", "wotp_device"]);
    browser.refreshing(&app).header("x-csrf-token", browser.csrf()).await.expect(200);
}
