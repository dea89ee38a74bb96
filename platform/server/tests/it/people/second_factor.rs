//! The second factor: an authenticator app, recovery codes, and its question at sign-in.

use ring::hmac;
use serde_json::{Value, json};
use wotp_core::ports::{EntityList, Owner};

use super::{PASSWORD, TestPerson, credentials};
use crate::app::{TestApp, seconds};
use crate::client::{Reply, Request, race};

const EMAIL: &str = "ada@example.com";

/// An authenticator app, which shares no code with ours.
pub struct Authenticator(Vec<u8>);

impl Authenticator {
    /// From the secret as it is typed in.
    pub fn scan(base32: &str) -> Self {
        let digit = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'2'..=b'7' => c - b'2' + 26,
            _ => panic!("no base32: {base32}"),
        };
        let bits: Vec<u8> = base32.bytes().flat_map(|c| (0..5).rev().map(move |n| digit(c) >> n & 1)).collect();
        Self(bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect())
    }

    /// What it shows now.
    pub fn code(&self, app: &TestApp) -> String {
        self.code_at(app.app.ports().clock.now().as_second().try_into().expect("after 1970"))
    }

    /// What it shows at a second since 1970.
    pub fn code_at(&self, second: u64) -> String {
        let step = second / 30;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let digest = tag.as_ref();
        let from = usize::from(digest[19] & 15);
        let number = digest[from..from + 4].iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }
}

impl TestPerson {
    /// Switches a second factor on; gives a recovery code.
    pub async fn switch_second_factor_on(&self, app: &TestApp) -> String {
        self.scan_second_factor(app).await.1
    }

    /// Switches a second factor on; gives the app, and a recovery code.
    pub async fn scan_second_factor(&self, app: &TestApp) -> (Authenticator, String) {
        let begun = post(app, self, "", json!({ "password": PASSWORD })).await.expect(201);
        let phone = Authenticator::scan(begun["secret"].as_str().expect("a secret"));
        let codes = confirm(app, self, &phone).await.expect(200);
        (phone, codes["recovery_codes"][0].as_str().expect("a code").to_owned())
    }
}

/// `/v1/me/second-factor`.
fn get(app: &TestApp, person: &TestPerson) -> Request {
    app.get("/v1/me/second-factor").by(person)
}

/// Below `/v1/me/second-factor`.
fn post(app: &TestApp, person: &TestPerson, below: &str, body: Value) -> Request {
    app.post(format!("/v1/me/second-factor{below}")).by(person).json(body)
}

fn log_in(app: &TestApp, email: &str) -> Request {
    app.post("/v1/auth/login").json(credentials(email, PASSWORD))
}

fn answer(app: &TestApp, challenge: &str, code: &str) -> Request {
    app.post("/v1/auth/second-factor").json(json!({ "challenge": challenge, "code": code }))
}

/// A person whose second factor is on.
struct Stage {
    app: TestApp,
    ada: TestPerson,
    phone: Authenticator,
    recovery_codes: Vec<String>,
    secret: String,
}

impl Stage {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let ada = app.person(EMAIL).await;
        let begun = post(&app, &ada, "", json!({ "password": PASSWORD })).await.expect(201);
        let secret = begun["secret"].as_str().expect("a secret").to_owned();
        let phone = Authenticator::scan(&secret);
        let codes = confirm(&app, &ada, &phone).await.expect(200);
        let codes = codes["recovery_codes"].as_array().expect("a list").iter();
        let recovery_codes = codes.map(|code| code.as_str().expect("a text").to_owned()).collect();
        app.run_jobs().await;
        // The app shows another code.
        app.clock.advance(seconds(30));
        Self { app, ada, phone, recovery_codes, secret }
    }

    /// Signs in as far as the password goes.
    async fn challenge(&self) -> String {
        let asked = log_in(&self.app, EMAIL).await.expect(200);
        assert_eq!(asked["second_factor_required"], true);
        asked["challenge"].as_str().expect("a challenge").to_owned()
    }

    /// A code that the app does not show.
    fn wrong_code(&self) -> String {
        crate::app::wrong(&self.phone.code(&self.app))
    }

    /// Everything that the platform's audit log says, in the order in which it happened.
    async fn audit(&self) -> Vec<Value> {
        let list = EntityList::of(Owner::Platform);
        let rows = self.app.app.ports().store.list_entities("audit_entry", &list).await.expect("the log");
        let mut entries: Vec<Value> = rows.into_iter().map(|row| Value::Object(row.doc)).collect();
        entries.sort_by_key(|entry| entry["place"].as_u64());
        entries
    }
}

fn confirm(app: &TestApp, person: &TestPerson, phone: &Authenticator) -> Request {
    post(app, person, "/confirm", json!({ "code": phone.code(app) }))
}

#[tokio::test]
async fn it_is_asked_for_once_the_first_code_was_right() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let none = json!({ "active": false, "active_since": null, "recovery_codes_left": 0 });
    confirm(&app, &ada, &Authenticator(vec![0; 20])).await.problem(404, "not_found");

    let enrol = |body: Value| post(&app, &ada, "", body);
    assert_eq!(enrol(json!({})).await.wrong_fields(), ["password"]);
    enrol(json!({ "password": "a wrong one" })).await.problem(401, "credentials_wrong");
    let first = enrol(json!({ "password": PASSWORD })).await.expect(201);
    let begun = enrol(json!({ "password": PASSWORD })).await.expect(201);
    assert_ne!(first["secret"], begun["secret"], "begun again");
    let secret = begun["secret"].as_str().expect("a secret");
    assert_eq!(
        begun["uri"],
        format!("otpauth://totp/WOTP:ada%40example.com?secret={secret}&issuer=WOTP&algorithm=SHA1&digits=6&period=30")
    );
    assert_eq!(get(&app, &ada).await.expect(200), none);
    assert!(log_in(&app, EMAIL).await.expect(200)["access_token"].is_string(), "it is not on yet");

    let phone = Authenticator::scan(secret);
    confirm(&app, &ada, &Authenticator::scan(first["secret"].as_str().expect("one"))).await.problem(422, "code_wrong");
    let codes = confirm(&app, &ada, &phone).await.expect(200);
    assert_eq!(codes["recovery_codes"].as_array().expect("a list").len(), 10);
    app.run_jobs().await;
    assert!(app.outbox.last().text.contains("second factor was switched on"), "the owner is told");
    confirm(&app, &ada, &phone).await.problem(409, "second_factor_active");
    enrol(json!({ "password": PASSWORD })).await.problem(409, "second_factor_active");
    let state = get(&app, &ada).await.expect(200);
    assert_eq!((&state["active"], &state["recovery_codes_left"]), (&json!(true), &json!(10)));

    let asked = log_in(&app, EMAIL).await;
    assert!(!asked.text.contains("token"), "nothing that lets anybody in: {}", asked.text);
    let challenge = asked.json()["challenge"].as_str().expect("a challenge").to_owned();
    answer(&app, &challenge, &phone.code(&app)).await.problem(422, "code_wrong");
    app.clock.advance(seconds(30));
    let opened = answer(&app, &challenge, &phone.code(&app)).await.expect(200);
    assert!(opened["refresh_token"].is_string(), "as the login asked for");
    let token = opened["access_token"].as_str().expect("a session");
    assert_eq!(app.get("/v1/me").key(token).await.expect(200)["email"], EMAIL);
    app.clock.advance(seconds(30));
    answer(&app, &challenge, &phone.code(&app)).await.problem(401, "sign_in_over");
}

#[tokio::test]
async fn a_recovery_code_works_once_and_its_owner_is_told() {
    let stage = Stage::set().await;
    let Stage { app, ada, recovery_codes, .. } = &stage;
    let typed = recovery_codes[4].to_lowercase().replace('-', " ");
    answer(app, &stage.challenge().await, &typed).await.expect(200);
    app.run_jobs().await;
    assert!(app.outbox.last().text.contains("A recovery code was used"));
    assert_eq!(get(app, ada).await.expect(200)["recovery_codes_left"], 9);
    answer(app, &stage.challenge().await, &recovery_codes[4]).await.problem(422, "code_wrong");
}

#[tokio::test]
async fn wrong_codes_end_a_challenge_and_delay_the_next_but_lock_nobody_out() {
    let stage = Stage::set().await;
    let Stage { app, phone, recovery_codes, .. } = &stage;
    let challenge = stage.challenge().await;
    for wait in [1, 2, 4, 8] {
        answer(app, &challenge, &stage.wrong_code()).await.problem(422, "code_wrong");
        let delayed = answer(app, &challenge, &phone.code(app)).await;
        let detail = delayed.problem(429, "login_delayed")["detail"].to_string();
        assert!(detail.contains("recovery code") && !detail.contains("password"), "{detail}");
        assert_eq!(delayed.retry_after(), wait);
        app.clock.advance(seconds(wait.try_into().expect("small")));
    }
    answer(app, &challenge, &stage.wrong_code()).await.problem(422, "code_wrong");
    app.clock.advance(seconds(16));
    answer(app, &challenge, &phone.code(app)).await.problem(401, "sign_in_over");

    // Another challenge does not begin at nothing.
    let challenge = stage.challenge().await;
    let delayed = answer(app, &challenge, &phone.code(app)).await;
    delayed.problem(429, "login_delayed");
    assert_eq!(delayed.retry_after(), 14);
    // Who has lost nothing but patience comes in with a recovery code, and that ends the delay.
    answer(app, &challenge, &recovery_codes[0]).await.expect(200);
    answer(app, &stage.challenge().await, &phone.code(app)).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn of_many_answers_with_one_code_one_is_taken() {
    let stage = Stage::set().await;
    let Stage { app, phone, recovery_codes, .. } = &stage;
    for code in [phone.code(app), recovery_codes[7].clone()] {
        let (one, other) = (stage.challenge().await, stage.challenge().await);
        let answers = (0..20).map(|n| answer(app, if n % 2 == 0 { &one } else { &other }, &code));
        let replies = race(answers).await;
        let taken = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(taken, 1, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
        app.run_jobs().await;
    }
}

#[tokio::test]
async fn wrong_answers_at_one_moment_are_all_counted() {
    let stage = Stage::set().await;
    let Stage { app, phone, .. } = &stage;
    let challenge = stage.challenge().await;
    let wrong = stage.wrong_code();
    let replies = race((0..20).map(|_| answer(app, &challenge, &wrong))).await;
    let looked_at = replies.iter().filter(|reply| reply.status == 422).count();
    assert_eq!(looked_at, 1, "the others wait, since one was wrong");
    answer(app, &challenge, &phone.code(app)).await.problem(429, "login_delayed");
}

#[tokio::test]
async fn a_wrong_password_does_not_tell_of_the_second_factor() {
    let stage = Stage::set().await;
    let guess = |email: &str| {
        let body = json!({ "email": email, "password": "a wrong one" });
        stage.app.post("/v1/auth/login").json(body)
    };
    let bare = |reply: Reply| {
        let mut body = reply.problem(401, "credentials_wrong");
        body["request_id"] = Value::Null;
        body
    };
    assert_eq!(bare(guess(EMAIL).await), bare(guess("nobody@example.com").await));
    for challenge in ["", "guess", &"A".repeat(43)] {
        answer(&stage.app, challenge, &stage.phone.code(&stage.app)).await.problem(401, "sign_in_over");
    }
}

#[tokio::test]
async fn it_goes_off_with_the_password_or_a_code_and_not_without() {
    for by_code in [true, false] {
        let stage = Stage::set().await;
        let Stage { app, ada, phone, .. } = &stage;
        let disable = |body: Value| post(app, ada, "/disable", body);
        assert_eq!(disable(json!({})).await.wrong_fields(), ["code"]);
        disable(json!({ "code": stage.wrong_code() })).await.problem(422, "code_wrong");
        disable(json!({ "password": "a wrong one" })).await.problem(401, "credentials_wrong");
        assert_eq!(get(app, ada).await.expect(200)["active"], true);
        let challenge = stage.challenge().await;
        let right = if by_code { json!({ "code": phone.code(app) }) } else { json!({ "password": PASSWORD }) };
        disable(right).await.expect(204);
        app.run_jobs().await;
        assert!(app.outbox.last().text.contains("switched off"), "the owner is told");
        assert!(log_in(app, EMAIL).await.expect(200)["access_token"].is_string());
        app.clock.advance(seconds(30));
        answer(app, &challenge, &phone.code(app)).await.problem(401, "sign_in_over");
    }
}

#[tokio::test]
async fn new_recovery_codes_take_the_place_of_the_old_ones() {
    let stage = Stage::set().await;
    let Stage { app, ada, phone, recovery_codes, .. } = &stage;
    let renew = |body: Value| post(app, ada, "/recovery-codes", body);
    renew(json!({ "code": stage.wrong_code() })).await.problem(422, "code_wrong");
    let new = renew(json!({ "code": phone.code(app) })).await.expect(200);
    let challenge = stage.challenge().await;
    answer(app, &challenge, &recovery_codes[0]).await.problem(422, "code_wrong");
    app.clock.advance(seconds(1));
    answer(app, &challenge, new["recovery_codes"][0].as_str().expect("a code")).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_challenge_is_over_after_five_minutes_and_forgotten() {
    let stage = Stage::set().await;
    let Stage { app, phone, .. } = &stage;
    let challenge = stage.challenge().await;
    app.clock.advance(seconds(300));
    answer(app, &challenge, &phone.code(app)).await.problem(401, "sign_in_over");
    app.sweep().await;
    let left = app.app.ports().store.list_entities("sign_in_challenge", &EntityList::of(Owner::Platform)).await;
    assert_eq!(left.expect("a list"), []);
}

#[tokio::test]
async fn all_of_it_is_in_the_audit_log_and_no_secret_is_in_it_or_in_the_store() {
    let stage = Stage::set().await;
    let Stage { app, ada, phone, recovery_codes, secret } = &stage;
    let challenge = stage.challenge().await;
    answer(app, &challenge, &stage.wrong_code()).await.problem(422, "code_wrong");
    app.clock.advance(seconds(30));
    answer(app, &challenge, &phone.code(app)).await.expect(200);
    app.clock.advance(seconds(30));
    let renew = json!({ "code": phone.code(app) });
    post(app, ada, "/recovery-codes", renew).await.expect(200);

    let audit = stage.audit().await;
    let actions: Vec<&str> = audit.iter().filter_map(|entry| entry["action"].as_str()).collect();
    let of_factor: Vec<&&str> = actions.iter().filter(|action| action.starts_with("second_factor.")).collect();
    let expected = [
        "second_factor.enrol",
        "second_factor.activate",
        "second_factor.refuse",
        "second_factor.answer",
        "second_factor.renew_recovery_codes",
    ];
    assert_eq!(of_factor, expected.iter().collect::<Vec<_>>());

    let bare = recovery_codes.iter().map(|code| code.replace('-', ""));
    let secrets: Vec<String> = recovery_codes.iter().cloned().chain(bare).chain([secret.clone(), challenge]).collect();
    let log = serde_json::to_string(&audit).expect("JSON");
    let stolen = app.stolen();
    for secret in &secrets {
        assert!(!log.contains(secret), "the audit log tells {secret}");
        for (name, bytes) in &stolen {
            let found = bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!found, "{name} tells {secret}");
        }
    }
}
