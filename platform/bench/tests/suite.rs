//! The whole driver against a double of the platform that lives in this file only.
//!
//! Started with arguments of `wotp` (`serve`, `tenant create`) this program is the double. Otherwise it
//! is the test: it runs `wotp-bench` with itself as the binary to measure.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is a test; the lint knows only functions of the ordinary harness"
)]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{Path as At, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => double(&arguments),
        Some("operator") => {
            let file = value_of(&arguments, "--password-file");
            assert!(!std::fs::read_to_string(file).unwrap().is_empty());
        }
        Some("tenant") => {
            let data = Path::new(value_of(&arguments, "--data"));
            std::fs::write(data.join("plan"), value_of(&arguments, "--plan")).unwrap();
            println!(
                "{}",
                json!({"tenant": "ten_1", "service": "srv_1", "live_key": "wk_live_1", "test_key": "wk_test_1"})
            );
        }
        // Test runners ask for a list first, then for each by its name.
        Some("--list") if arguments.iter().any(|argument| argument == "--ignored") => {}
        Some("--list") => TESTS.iter().for_each(|(name, _)| println!("{name}: test")),
        _ => {
            let named = |name: &str| arguments.iter().any(|argument| argument == name);
            let all = !TESTS.iter().any(|(name, _)| named(name));
            for (name, test) in TESTS.iter().filter(|(name, _)| all || named(name)) {
                test();
                println!("{name}: passed");
            }
        }
    }
    ExitCode::SUCCESS
}

const TESTS: &[(&str, fn())] = &[
    ("a_report_holds_every_part_and_its_figures", a_report_holds_every_part_and_its_figures),
    (
        "own_codes_refused_are_said_so_and_measured_by_wrong_checks",
        own_codes_refused_are_said_so_and_measured_by_wrong_checks,
    ),
    (
        "refused_calls_spoil_the_figure_they_would_have_flattered",
        refused_calls_spoil_the_figure_they_would_have_flattered,
    ),
    ("the_queue_hears_each_ring_once_and_leaves_nothing", the_queue_hears_each_ring_once_and_leaves_nothing),
    ("plugins_are_held_against_what_is_built_in_and_loaded", plugins_are_held_against_what_is_built_in_and_loaded),
    ("tenants_beside_plugins_that_misbehave_are_measured", tenants_beside_plugins_that_misbehave_are_measured),
];

struct Outcome {
    ok: bool,
    text: String,
    report: Value,
}

fn bench(mood: &str, more: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    // The driver hands no `WOTP_…` on to the server, so the double's mood has another name.
    let output = Command::new(env!("CARGO_BIN_EXE_wotp-bench"))
        .args(["--quick", "--seconds", "0.1", "--callers", "1,64", "--json"])
        .arg(&json)
        .arg("--scratch")
        .arg(folder.path().join("scratch"))
        .arg("--wotp")
        .arg(std::env::current_exe().unwrap())
        .arg("--embedded")
        .arg(std::env::current_exe().unwrap())
        .args(more)
        .env("DOUBLE_MOOD", mood)
        .env("WOTP_LOG__LEVEL", "trace")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(&json).unwrap_or_else(|_| panic!("no report:\n{text}"));
    // Not there at all where no part needed a folder.
    let left: Vec<_> = std::fs::read_dir(folder.path().join("scratch")).into_iter().flatten().collect();
    assert!(left.is_empty(), "folders left behind: {left:?}");
    Outcome { ok: output.status.success(), text, report: serde_json::from_slice(&report).unwrap() }
}

fn a_report_holds_every_part_and_its_figures() {
    let outcome = bench("", &["--rounds", "2", "--only", "start,lifecycle,handover,cold"]);
    assert!(outcome.ok, "{}", outcome.text);
    let sections = outcome.report["sections"].as_array().unwrap();
    let names: Vec<_> = sections.iter().map(|section| section["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "lifecycle", "handover", "cold"], "{}", outcome.text);
    let figures: usize = sections.iter().map(|s| s["figures"].as_array().unwrap().len()).sum();
    assert_eq!(figures, 1 + 1 + 2 + 3, "{}", outcome.text);
    for run in sections.iter().flat_map(|section| section["runs"].as_array().unwrap()) {
        assert_eq!(run["failed"], 0, "{run:#}");
        assert!(run["done"].as_u64().unwrap() > 0, "{run:#}");
    }
    // 2 levels, 2 rounds, each bare, live and test.
    assert_eq!(sections[1]["runs"].as_array().unwrap().len(), 12);
    // The double hands over a millisecond after it has accepted.
    let handover = &sections[2]["figures"][0]["measured"];
    assert!(handover["median"].as_f64().unwrap() >= 0.99, "{handover}");
    assert!(outcome.text.contains("Figures to reach"));
}

fn own_codes_refused_are_said_so_and_measured_by_wrong_checks() {
    let outcome = bench("no own codes", &["--only", "lifecycle"]);
    assert!(outcome.ok, "{}", outcome.text);
    assert!(outcome.text.contains("did not allow own codes"), "{}", outcome.text);
    let runs = outcome.report["sections"][0]["runs"].as_array().unwrap();
    let wrong: Vec<_> = runs.iter().filter(|run| run["subject"] == "wrong_code").collect();
    assert!(wrong.iter().all(|run| run["failed"] == 0), "{}", outcome.text);
    assert_eq!(wrong.len(), 2);
}

fn refused_calls_spoil_the_figure_they_would_have_flattered() {
    let outcome = bench("busy", &["--only", "start"]);
    let section = &outcome.report["sections"][0];
    assert_eq!(section["figures"][0]["ok"], false, "{}", outcome.text);
    assert!(outcome.text.contains("answered 429"), "{}", outcome.text);
}

/// Over a real Redis, without the double.
fn the_queue_hears_each_ring_once_and_leaves_nothing() {
    let outcome = bench("", &["--only", "queue"]);
    assert!(outcome.ok, "{}", outcome.text);
    let section = &outcome.report["sections"][0];
    let runs = section["runs"].as_array().unwrap();
    for run in runs {
        assert_eq!((&run["failed"], &run["doorbell"]["left"]), (&json!(0), &json!(0)), "{run:#}");
        assert!(run["done"].as_u64().unwrap() > 0, "{run:#}");
    }
    let of = |subject: &str| runs.iter().find(|run| run["subject"] == subject).unwrap();
    for (subject, rings) in [("ring, nobody hears", 50_000), ("drained", 50_000), ("ring, after them", 50_000)] {
        assert_eq!(of(subject)["done"], rings, "{}", outcome.text);
    }
    // A hundred a second, three times as long as another run.
    assert_eq!(of("ring, idle")["handover"]["count"], 30, "{}", outcome.text);
    let figures = section["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 5, "{}", outcome.text);
    let bytes = |figure: usize| figures[figure]["measured"]["median"].as_f64().unwrap();
    // Each says 41 bytes, which Redis keeps with an id; what is done is not kept.
    assert!((41.0..300.0).contains(&bytes(3)), "{}", outcome.text);
    assert!(bytes(4) < 41.0, "{}", outcome.text);
}

fn components() -> String {
    std::env::var("TEST_PLUGINS").expect("TEST_PLUGINS is the folder that `.ci/guests` prints; `make test` sets it")
}

/// With real components in the real sandbox, without the double.
fn plugins_are_held_against_what_is_built_in_and_loaded() {
    let outcome = bench("", &["--only", "plugins", "--components", &components()]);
    assert!(outcome.ok, "{}", outcome.text);
    let section = &outcome.report["sections"][0];
    let runs = section["runs"].as_array().unwrap();
    for run in runs {
        assert!(run["done"].as_u64().unwrap() > 0 && run["server_cpu_micros"].as_f64().unwrap() > 0.0, "{run:#}");
    }
    let cost = |subject: &str| {
        let run = runs.iter().find(|run| run["subject"] == subject).unwrap_or_else(|| panic!("{}", outcome.text));
        run["server_cpu_micros"].as_f64().unwrap()
    };
    // Whatever the machine does meanwhile: an instance costs more than nothing, and a connection more than none.
    for (less, more) in [
        ("twilio_sms, answers at once, built in", "twilio_sms, answers at once, plugin"),
        ("vonage_sms, answers at once, built in", "vonage_sms, answers at once, plugin"),
        ("twilio_sms, answers at once, built in", "twilio_sms, over HTTP, built in"),
    ] {
        assert!(cost(less) < cost(more), "{less}, {more}: {}", outcome.text);
    }
    assert_eq!(runs.iter().find(|run| run["subject"] == "no request, many").unwrap()["done"], 2_000);
    let figures: Vec<_> =
        section["figures"].as_array().unwrap().iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(figures.len(), 5, "{figures:#?}");
    assert!(figures[0].contains("Rust (twilio_sms)") && figures[1].contains("JavaScript (vonage_sms)"), "{figures:#?}");
    assert!(figures[4].starts_with("loading 4 installed plugins"), "{figures:#?}");

    let nowhere = bench("", &["--only", "plugins", "--components", "/nowhere"]);
    assert!(!nowhere.ok && nowhere.text.contains("`.ci/guests` builds it"), "{}", nowhere.text);
}

fn tenants_beside_plugins_that_misbehave_are_measured() {
    let outcome = bench("", &["--only", "hostile", "--components", &components()]);
    assert!(outcome.ok, "{}", outcome.text);
    let section = &outcome.report["sections"][0];
    let runs = section["runs"].as_array().unwrap();
    for run in runs {
        assert_eq!(run["failed"], 0, "{run:#}");
        assert!(run["handover"]["count"].as_u64().unwrap() > 0, "{run:#}");
    }
    // Beside nobody and beside each of four and all of them, through each of two channels.
    assert_eq!(runs.len(), 2 * 5 * 2, "{}", outcome.text);
    let figures = section["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 2 * 5 + 1, "{}", outcome.text);
    // The double takes every plugin, those that are refused as well.
    assert_eq!(figures[10]["measured"]["median"], 27.0, "{}", outcome.text);
    // Which asks for callbacks that reached a plugin.
    assert_eq!(figures[10]["ok"], true, "{}", outcome.text);
}

// ---- the double ----

#[derive(Clone, Default)]
struct Double {
    mood: String,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

struct Known {
    code: String,
    created: Duration,
}

fn value_of<'a>(arguments: &'a [String], name: &str) -> &'a str {
    let at = arguments.iter().position(|argument| argument == name).unwrap();
    &arguments[at + 1]
}

fn double(arguments: &[String]) {
    let plan = Path::new(value_of(arguments, "--data")).join("plan");
    assert_eq!(std::fs::read_to_string(plan).unwrap(), "unlimited");
    assert_eq!(std::env::var("WOTP_CHANNELS__CONSOLE__OUTPUT").unwrap(), "nowhere");
    assert_eq!(std::env::var("WOTP_LOG__LEVEL").unwrap(), "warn");
    let double = Double { mood: std::env::var("DOUBLE_MOOD").unwrap_or_default(), ..Double::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(value_of(arguments, "--listen")).await.unwrap();
        let router = Router::new()
            .route("/health/ready", get(async || "ready"))
            .route("/v1/verifications", post(start).get(async || Json(json!({ "data": [] }))))
            .route("/v1/verifications/{id}", get(look_up))
            .route("/v1/verifications/{id}/check", post(check))
            .route("/v1/services/{id}", patch(change))
            .route("/v1/auth/login", post(async || Json(json!({ "access_token": "session" }))))
            .route("/operator/v1/plugins", post(install))
            .route("/operator/v1/plugins/{id}/{what}", post(async || Json(json!({}))))
            .route("/hooks/nosy_webhook/loop", post(async || StatusCode::SERVICE_UNAVAILABLE))
            .route("/operator/v1/work", get(async || Json(json!({ "waiting": 0 }))))
            .with_state(double);
        println!("listening on http://{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}

#[expect(clippy::disallowed_methods, reason = "a double of a server lives in real time")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn at(time: Duration) -> String {
    jiff::Timestamp::from_microsecond(time.as_micros() as i64).unwrap().to_string()
}

impl Known {
    fn shown(&self, id: &str) -> Value {
        let sent = self.created + Duration::from_millis(1);
        let mut delivery = json!({"id": "del_1", "channel": "console", "status": "queued", "attempt": 1});
        if now() >= sent {
            delivery["status"] = "sent".into();
            delivery["sent_at"] = at(sent).into();
        }
        json!({"deliveries": [delivery], "id": id, "created_at": at(self.created)})
    }
}

async fn start(State(double): State<Double>, headers: HeaderMap, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut known = double.known.lock().unwrap();
    if double.mood == "busy" && known.len() % 10 == 9 {
        let number = known.len();
        known.insert(format!("refused {number}"), Known { code: String::new(), created: now() });
        return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"code": "rate_limited"})));
    }
    let number = body["to"].as_str().unwrap();
    assert!(number.starts_with("+1") && number.len() == 12);
    let id = format!("ver_{:026}", known.len());
    let code = body["code"].as_str().unwrap_or("246810").to_owned();
    let new = Known { code: code.clone(), created: now() };
    let mut reply = new.shown(&id);
    if headers["authorization"].to_str().unwrap().starts_with("Bearer wk_test_") {
        reply["test_code"] = code.into();
    }
    known.insert(id, new);
    (StatusCode::CREATED, Json(reply))
}

async fn look_up(State(double): State<Double>, At(id): At<String>) -> Json<Value> {
    Json(double.known.lock().unwrap()[&id].shown(&id))
}

async fn check(State(double): State<Double>, At(id): At<String>, Json(body): Json<Value>) -> Json<Value> {
    let known = double.known.lock().unwrap();
    let valid = body["code"] == known[&id].code.as_str();
    Json(json!({"valid": valid, "verification": known[&id].shown(&id)}))
}

async fn install(headers: HeaderMap, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    assert_eq!(headers["authorization"], "Bearer session");
    // `\0asm`, in base64.
    assert!(body["component"].as_str().unwrap().starts_with("AGFzb"));
    (StatusCode::CREATED, Json(json!({ "id": format!("plg_{}", body["channel"].as_str().unwrap()) })))
}

async fn change(State(double): State<Double>, At(id): At<String>, Json(body): Json<Value>) -> StatusCode {
    assert_eq!((id.as_str(), &body), ("srv_1", &json!({"code": {"custom_allowed": true}})));
    match double.mood.as_str() {
        "no own codes" => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    }
}
