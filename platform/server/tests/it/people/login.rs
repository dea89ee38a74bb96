use axum::http::Method;
use serde_json::json;
use wotp_core::domain::audit::AuditEntry;
use wotp_core::domain::login_brake::LoginBrake;
use wotp_core::domain::password::Password;
use wotp_core::domain::permission::Role;
use wotp_core::domain::session::Session;
use wotp_core::domain::user::User;
use wotp_core::ports::{Change, Entity as _, EntityList, Owner, Passwords as _, Stored};

use super::{PASSWORD, cheap, credentials};
use crate::app::{TestApp, seconds};
use crate::client::race;

const EMAIL: &str = "ada@example.com";
const WRONG: &str = "not the right sentence";

async fn stored(app: &TestApp, user: &wotp_core::domain::id::UserId) -> Stored<User> {
    let row = app.app.ports().store.find_entity(User::KIND, Owner::Platform, user.to_bytes()).await;
    Stored::read(row.expect("the store answers").expect("a person")).expect("it reads")
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_answered_alike_after_one_hash() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let work = async |email: &str| {
        let hashed = app.passwords.hashed();
        let mut problem = app.log_in(email, WRONG).await.problem(401, "credentials_wrong");
        problem["request_id"].take();
        (problem, app.passwords.hashed() - hashed)
    };
    let known = work(EMAIL).await;
    assert_eq!(known, work("nobody@example.com").await);
    assert_eq!(known.1, 1);
    app.log_in("not an address", WRONG).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn after_five_wrong_passwords_the_next_one_waits_whoever_has_an_account() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    for email in [EMAIL, "nobody@example.com"] {
        for _ in 0..5 {
            app.log_in(email, WRONG).await.problem(401, "credentials_wrong");
        }
        let hashed = app.passwords.hashed();
        let delayed = app.log_in(email, PASSWORD).await;
        delayed.problem(429, "login_delayed");
        assert_eq!(delayed.retry_after(), 30);
        assert_eq!(app.passwords.hashed(), hashed, "a password that comes too early is not looked at");
    }
    app.clock.advance(seconds(30));
    app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    assert_eq!(app.log_in(EMAIL, PASSWORD).await.retry_after(), 60);
    app.clock.advance(seconds(60));
    app.log_in(EMAIL, PASSWORD).await.expect(200);
    // A right one makes up for all wrong ones from here.
    for _ in 0..5 {
        app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
}

#[tokio::test]
async fn guesses_at_the_same_moment_are_all_counted() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let guess = || app.post("/v1/auth/login").json(credentials(EMAIL, WRONG));
    let before = app.passwords.hashed();
    let replies = race((0..12).map(|_| guess())).await;
    let looked_at = app.passwords.hashed() - before;
    assert!((1..=5).contains(&looked_at), "{looked_at} were looked at");
    assert!(replies.iter().all(|reply| [401, 429, 503].contains(&reply.status)));
}

#[tokio::test]
async fn guesses_at_the_same_moment_at_two_nodes_are_all_counted() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let fellow = app.fellow();
    let guess = |n: usize| {
        let node = if n.is_multiple_of(2) { &app } else { &fellow };
        node.post("/v1/auth/login").json(credentials(EMAIL, WRONG))
    };
    let (before, replies) = (app.passwords.hashed(), race((0..24).map(guess)).await);
    let looked_at = app.passwords.hashed() - before;
    assert!((1..=5).contains(&looked_at), "{looked_at} were looked at");
    assert!(replies.iter().all(|reply| [401, 429, 503].contains(&reply.status)));
    // What was under way is over, and what was wrong stays counted.
    for _ in looked_at..5 {
        app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
    fellow.log_in(EMAIL, PASSWORD).await.problem(429, "login_delayed");
}

#[tokio::test]
async fn without_a_limiter_guesses_are_counted_before_they_are_looked_at() {
    let app = TestApp::with().no_limiter().start().await;
    app.person(EMAIL).await;
    let guess = || app.post("/v1/auth/login").json(credentials(EMAIL, WRONG));
    let before = app.passwords.hashed();
    race((0..12).map(|_| guess())).await;
    let looked_at = app.passwords.hashed() - before;
    assert!((1..=5).contains(&looked_at), "{looked_at} were looked at");
    for _ in looked_at..5 {
        app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
    app.log_in(EMAIL, PASSWORD).await.problem(429, "login_delayed");
    app.clock.advance(seconds(30));
    app.log_in(EMAIL, PASSWORD).await.expect(200);
    for _ in 0..5 {
        app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
}

#[tokio::test]
async fn a_guess_whose_caller_hangs_up_is_counted_all_the_same() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let held = app.passwords.hold().await;
    for _ in 0..5 {
        let begun = app.passwords.hashed() + 1;
        let looked_at = async {
            while app.passwords.hashed() < begun {
                tokio::task::yield_now().await;
            }
        };
        let guess = app.post("/v1/auth/login").json(credentials(EMAIL, WRONG));
        tokio::select! {
            _ = guess.into_future() => panic!("it was answered"),
            () = looked_at => {}
        }
    }
    app.log_in(EMAIL, PASSWORD).await.problem(429, "login_delayed");
    drop(held);
    let list = EntityList::of(Owner::Platform);
    let counted = async || {
        let rows = app.app.ports().store.list_entities(LoginBrake::KIND, &list).await.expect("a list");
        let brakes = rows.into_iter().map(|row| Stored::<LoginBrake>::read(row).expect("it reads").failures);
        brakes.min().unwrap_or(0)
    };
    while counted().await < 5 {
        tokio::task::yield_now().await;
    }
    // The last counts twice from when it is written to when it is over.
    let mut waits = app.log_in(EMAIL, PASSWORD).await.retry_after();
    while waits > 30 {
        tokio::task::yield_now().await;
        waits = app.log_in(EMAIL, PASSWORD).await.retry_after();
    }
    assert_eq!(waits, 30);
    app.clock.advance(seconds(30));
    app.log_in(EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn after_a_wrong_guess_that_could_not_be_written_none_is_looked_at_before_it_is_counted() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.refuse(Some(LoginBrake::KIND));
    let work = async |password| {
        let hashed = app.passwords.hashed();
        let reply = app.log_in(EMAIL, password).await;
        (reply.status, app.passwords.hashed() - hashed)
    };
    assert_eq!(work(WRONG).await, (503, 1), "whether it was wrong is not told");
    for password in [WRONG, PASSWORD] {
        assert_eq!(work(password).await, (503, 0));
    }
    app.refuse(None);
    // The one that was looked at is one of the five.
    for _ in 0..4 {
        assert_eq!(work(WRONG).await, (401, 1));
    }
    assert_eq!(work(PASSWORD).await, (429, 0));
    // It was held and not written, so that nobody waits for it for long.
    app.clock.advance(seconds(120));
    assert_eq!(work(WRONG).await, (401, 1));
    assert_eq!(work(PASSWORD).await, (429, 0));
    app.clock.advance(seconds(30));
    assert_eq!(work(PASSWORD).await, (200, 1));
}

#[tokio::test]
async fn a_right_password_that_opens_no_session_is_as_a_wrong_one_to_those_beside_it() {
    let app = TestApp::start().await;
    app.account(EMAIL).await;
    app.refuse(Some(Session::KIND));
    for _ in 0..5 {
        app.log_in(EMAIL, PASSWORD).await.problem(503, "unavailable");
    }
    let hashed = app.passwords.hashed();
    app.log_in(EMAIL, PASSWORD).await.problem(429, "login_delayed");
    assert_eq!(app.passwords.hashed(), hashed, "a store that takes nothing gives nobody more guesses");
    app.refuse(None);
    app.clock.advance(seconds(120));
    app.log_in(EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn people_who_sign_in_at_the_same_moment_all_get_in() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let mut people = Vec::new();
    for _ in 0..8 {
        people.push(app.member(&acme, Role::Viewer).await);
    }
    let login = |email: &str| app.post("/v1/auth/login").json(credentials(email, PASSWORD));
    for reply in race(people.iter().map(|person| login(&person.email))).await {
        reply.expect(200);
    }
}

#[tokio::test]
async fn nobody_locks_out_an_owner_from_where_they_signed_in_before() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    // From many addresses, until the account waits from everywhere.
    let mut delayed = 0;
    for n in 0..60 {
        let guess = app.post("/v1/auth/login").json(credentials(EMAIL, WRONG)).at_ip(&format!("203.0.113.{n}"));
        delayed += usize::from(guess.await.status == 429);
    }
    assert_eq!(delayed, 10, "fifty guesses are free, from wherever");
    let fresh = app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD)).at_ip("192.0.2.1");
    fresh.clone().await.problem(429, "login_delayed");
    let mut known = credentials(EMAIL, PASSWORD);
    known["device_token"] = person.device_token.clone().into();
    let known = app.post("/v1/auth/login").json(known).at_ip("192.0.2.1");
    known.await.expect(200);
    fresh.await.problem(429, "login_delayed");
}

#[tokio::test]
async fn the_audit_log_tells_once_a_day_of_an_account_that_is_guessed_at() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let guess = |email: &str, n: u32| {
        app.post("/v1/auth/login").json(credentials(email, WRONG)).at_ip(&format!("203.0.113.{n}"))
    };
    let told = async || {
        app.sweep().await;
        let log = super::account::audited(&app).await;
        log.lines().filter(|line| line.contains("user.login_delayed")).map(str::to_owned).collect::<Vec<_>>()
    };
    for n in 0..49 {
        guess(EMAIL, n).await.problem(401, "credentials_wrong");
        guess("nobody@example.com", n).await.problem(401, "credentials_wrong");
    }
    assert!(told().await.is_empty());
    guess(EMAIL, 49).await.problem(401, "credentials_wrong");
    guess("nobody@example.com", 49).await.problem(401, "credentials_wrong");
    let lines = told().await;
    assert!(lines.len() == 1 && lines[0].contains(&person.user.to_string()), "{lines:?}");
    assert!(lines[0].contains("\"wrong_passwords\":50") && !lines[0].contains("example.com"), "{lines:?}");
    // Whoever goes on all day fills nothing.
    for n in 50..74 {
        app.clock.advance(seconds(3600));
        guess(EMAIL, n).await.problem(401, "credentials_wrong");
        assert_eq!(told().await.len(), if n < 73 { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_device_token_is_for_one_account_lets_nobody_in_and_has_a_brake_of_its_own() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.person("eve@example.com").await;
    let guess = |email: &str, password: &str| {
        let mut body = credentials(email, password);
        body["device_token"] = ada.device_token.clone().into();
        app.post("/v1/auth/login").json(body)
    };
    for _ in 0..5 {
        guess(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
    guess(EMAIL, PASSWORD).await.problem(429, "login_delayed");
    app.log_in(EMAIL, PASSWORD).await.expect(200);
    // For another account it is as if it were not there.
    for _ in 0..5 {
        app.log_in("eve@example.com", WRONG).await.problem(401, "credentials_wrong");
    }
    guess("eve@example.com", PASSWORD).await.problem(429, "login_delayed");
}

#[tokio::test]
async fn a_network_of_ipv6_shares_a_brake() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    let login = |password: &str, ip: &str| app.post("/v1/auth/login").json(credentials(EMAIL, password)).at_ip(ip);
    for n in 0..5 {
        login(WRONG, &format!("2001:db8:1:2::{n}")).await.problem(401, "credentials_wrong");
    }
    login(PASSWORD, "2001:db8:1:2:9::9").await.problem(429, "login_delayed");
    login(PASSWORD, "2001:db8:1:3::1").await.expect(200);
}

#[tokio::test]
async fn a_hash_with_old_parameters_is_made_anew_at_the_next_login() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let mut user = stored(&app, &person.user).await;
    user.password = Some(cheap(3).hash(&Password::typed(PASSWORD), [9; 16]).await.expect("a hash"));
    app.app.ports().store.commit(vec![Change::replace(&user)]).await.expect("it is replaced");
    let parameters = |user: &User| user.password.as_ref().expect("a hash").0.split('$').nth(3).map(str::to_owned);
    assert_eq!(parameters(&user).as_deref(), Some("m=8,t=3,p=1"));
    app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    assert_eq!(parameters(&*stored(&app, &person.user).await).as_deref(), Some("m=8,t=3,p=1"));
    app.log_in(EMAIL, PASSWORD).await.expect(200);
    assert_eq!(parameters(&*stored(&app, &person.user).await).as_deref(), Some("m=8,t=1,p=1"));
    let hashed = app.passwords.hashed();
    app.log_in(EMAIL, PASSWORD).await.expect(200);
    assert_eq!(app.passwords.hashed(), hashed + 1);
}

#[tokio::test]
async fn what_people_do_is_in_the_audit_log_without_what_is_secret() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let other = app.logged_in(EMAIL).await;
    app.request(Method::DELETE, format!("/v1/me/sessions/{}", other.session)).by(&person).await.expect(204);
    app.post("/v1/auth/logout").json(json!({ "refresh_token": person.refresh_token })).await.expect(204);
    let list = EntityList::of(Owner::Platform);
    let rows = app.app.ports().store.list_entities(AuditEntry::KIND, &list).await.expect("the store answers");
    let entries: Vec<AuditEntry> = rows.into_iter().map(|row| Stored::read(row).expect("an entry").entity).collect();
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|entry| entry.place);
    let told: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.target.as_str())).collect();
    let user = person.user.to_string();
    assert_eq!(
        told,
        [
            ("user.create", user.as_str()),
            ("session.create", &person.session),
            ("session.create", &other.session),
            ("session.revoke", &other.session),
            ("session.log_out", &person.session),
        ]
    );
    for entry in entries {
        assert_eq!(entry.ip.map(|ip| ip.to_string()).as_deref(), Some("198.51.100.7"));
        assert!(entry.request.is_some());
        let text = serde_json::to_string(entry).expect("it serialises");
        for secret in [EMAIL, PASSWORD, &person.refresh_token, "argon2"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn brakes_and_sessions_that_are_over_are_forgotten() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    app.sign_up("eve@example.com").await.expect(202);
    app.run_jobs().await;
    assert_eq!(app.sweep().await.forgotten, 0);
    app.clock.advance(seconds(86_400));
    // The two brakes, what waited for a code, and that codes went to two addresses.
    assert_eq!(app.sweep().await.forgotten, 5);
    app.clock.advance(seconds(6 * 86_400));
    assert_eq!(app.sweep().await.forgotten, 1);
}
