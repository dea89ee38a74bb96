//! Channels that plugins bring, in the real binary: from the configuration to a gateway on loopback.

mod authors;
mod doctor;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use crate::fleet::until;
use crate::process::{PATIENCE, Place, Server};

const ADA: &str = "+12025550123";
const TOKEN: &str = "t0ken-of-the-gateway";

/// The file of a component, from the folder that `.ci/guests` prints.
fn component(name: &str) -> String {
    let folder = std::env::var("TEST_PLUGINS");
    let folder =
        PathBuf::from(folder.expect("TEST_PLUGINS is the folder that `.ci/guests` prints; `make test` sets it"));
    folder.join(name).with_extension("wasm").to_str().unwrap().to_owned()
}

/// What an HTTP gateway was sent: its head, in small letters but for what is in it, and its body.
struct Came {
    head: String,
    body: Value,
}

/// A gateway that takes whatever comes.
struct Gateway {
    port: u16,
    came: Receiver<Came>,
}

impl Gateway {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, came) = channel();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                take(client, &tell);
            }
        });
        Self { port, came }
    }

    fn next(&self) -> Came {
        self.came.recv_timeout(PATIENCE).expect("something comes to the gateway")
    }
}

fn take(mut client: TcpStream, tell: &Sender<Came>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "a head ends with an empty line: {head}");
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    // As Telegram answers, and everybody else.
    let answer = match head.lines().next().unwrap_or_default().split(' ').nth(1) {
        Some("/checkSendAbility") => r#"{"ok":true,"result":{"request_id":"able","request_cost":0.01}}"#,
        Some("/sendVerificationMessage") => r#"{"ok":true,"result":{"request_id":"able","request_cost":0}}"#,
        Some("/checkVerificationStatus") => {
            r#"{"ok":true,"result":{"request_id":"able","delivery_status":{"status":"delivered","updated_at":1}}}"#
        }
        Some("/revokeVerificationMessage") => r#"{"ok":true,"result":true}"#,
        _ => r#"{"messages":[{"id":"gw-42"}],"sid":"SM42","status":"queued"}"#,
    };
    write!(client, "HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
    // A form is a text.
    let text = || Value::from(String::from_utf8_lossy(&body));
    let _ = tell.send(Came { head, body: serde_json::from_slice(&body).unwrap_or_else(|_| text()) });
}

/// The section of a channel over `generic-http` to a gateway.
fn gateway_section(name: &str, port: u16) -> String {
    let file = component("generic_http");
    format!(
        r#"
        [channels.{name}]
        plugin = "{file}"
        reaches = ["phone"]
        hosts = ["127.0.0.1:{port}"]
        [channels.{name}.secret_files]
        token = "gateway.token"
        [channels.{name}.config]
        url = "http://127.0.0.1:{port}/sms?from={{{{brand}}}}"
        headers = {{ authorization = "Bearer {{{{secret:token}}}}" }}
        body = {{ json = {{ to = "{{{{to}}}}", text = "{{{{text}}}}", code = "{{{{code}}}}" }} }}
        message_id = "/messages/0/id"
        "#
    )
}

/// An installation with these sections, and the live key of its tenant.
fn installation(sections: &str) -> (Place, String) {
    let place = Place::new();
    let key = place.tenant("Acme")["live_key"].as_str().unwrap().to_owned();
    fs::write(place.data().join("gateway.token"), format!("{TOKEN}\n")).unwrap();
    fs::write(place.data().join("wotp.toml"), sections).unwrap();
    (place, key)
}

/// A verification once its code got out.
fn sent(server: &Server, key: &str, id: &str) -> Value {
    let mut read = Value::Null;
    until("the code gets out", || {
        read = server.request("GET", &format!("/v1/verifications/{id}"), key, Value::Null).1;
        read["deliveries"].as_array().unwrap().last().is_some_and(|last| last["status"] == "sent")
    });
    read
}

#[test]
fn a_code_goes_out_through_a_plugin_and_is_right() {
    let gateway = Gateway::start();
    let (place, key) = installation(&gateway_section("sms", gateway.port));
    let server = Server::start(&place);
    let id = server.start_verification(&key, ADA);
    let came = gateway.next();
    assert!(came.head.starts_with("POST /sms?from=Acme HTTP/1.1\r\n"), "{}", came.head);
    assert!(came.head.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{}", came.head);
    let code = came.body["code"].as_str().unwrap();
    assert_eq!(came.body["to"], ADA);
    assert!(came.body["text"].as_str().unwrap().contains(code), "{}", came.body);
    let read = sent(&server, &key, &id);
    let delivery = &read["deliveries"][0];
    assert_eq!((&delivery["channel"], &delivery["attempts"]), (&json!("sms"), &json!(1)), "{read}");
    let path = format!("/v1/verifications/{id}/check");
    let (status, checked) = server.request("POST", &path, &key, json!({ "code": code }));
    assert_eq!((status, &checked["status"]), (200, &json!("approved")), "{checked}");
}

#[test]
fn a_plugin_that_misbehaves_is_followed_by_the_next_channel() {
    let gateway = Gateway::start();
    for name in ["endless_loop", "memory_bomb", "stack_overflow", "trap"] {
        let attack = format!("[channels.attack]\nplugin = \"{}\"\nhosts = [\"a.example\"]\n", component(name));
        let (place, key) = installation(&(attack + &gateway_section("sms", gateway.port)));
        let server = Server::start(&place);
        let id = server.start_verification(&key, ADA);
        let code = gateway.next().body["code"].as_str().unwrap().to_owned();
        let read = sent(&server, &key, &id);
        let told: Vec<_> =
            read["deliveries"].as_array().unwrap().iter().map(|one| (&one["channel"], &one["reason"])).collect();
        // It may have got out, for all that anybody knows, and was not sent again.
        assert_eq!(told, [(&json!("attack"), &json!("no_ack")), (&json!("sms"), &Value::Null)], "{name}: {read}");
        let (_, checked) =
            server.request("POST", &format!("/v1/verifications/{id}/check"), &key, json!({ "code": code }));
        assert_eq!(checked["status"], "approved", "{name}: {checked}");
    }
}

#[test]
fn a_gateway_that_does_not_answer_holds_up_no_other_channel() {
    let gateway = Gateway::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = gateway_section("slow", silent.local_addr().unwrap().port());
    let (place, key) = installation(&format!("worker.concurrency = 1\n{slow}{}", gateway_section("sms", gateway.port)));
    let server = Server::start(&place);
    let start = |channel: &str, to: &str| {
        let body = json!({ "to": to, "channels": [channel] });
        assert_eq!(server.request("POST", "/v1/verifications", &key, body).0, 201);
    };
    // More than there are workers.
    start("slow", "+447700900101");
    let first = silent.accept().unwrap().0;
    start("slow", "+447700900102");
    let second = silent.accept().unwrap().0;
    start("sms", ADA);
    assert_eq!(gateway.next().body["to"], ADA);
    for waiting in [first, second] {
        waiting.set_nonblocking(true).unwrap();
        let mut head = [0; 4096];
        while (&waiting).read(&mut head).is_ok_and(|read| read > 0) {}
        let told = (&waiting).read(&mut head).map_err(|error| error.kind());
        assert_eq!(told, Err(std::io::ErrorKind::WouldBlock), "it is still waited for");
    }
}

#[test]
fn a_plugin_that_cannot_be_used_keeps_the_server_from_starting_and_says_why() {
    let gateway = Gateway::start();
    let section = gateway_section("sms", gateway.port);
    for (sections, words) in [
        (section.replace("generic_http", "wasi_import"), &["`sms`", "nothing of WASI", "wotp plugin check FILE"][..]),
        (section.replace("generic_http.wasm", "nowhere.wasm"), &["channels.sms.plugin", "cannot be read"]),
        (section.replace("gateway.token", "nowhere.token"), &["channels.sms.secret_files.token", "cannot be read"]),
        (section.replace("token = ", "key = "), &["asks for no secret `key`"]),
        (section.replace("message_id = \"/", "message_id = \""), &["does not take its `config`", "begin with `/`"]),
        (section.replace("hosts = [\"", "hosts = [\"https://"), &["is no host"]),
        (
            section.replace("hosts = ", "# "),
            &["`sms`", "`hosts` names, and it names none", "hosts = [\"sms.example.com\"]"],
        ),
        (section.replace("hosts", "host"), &["channels.sms.host", "did you mean `hosts`?"]),
        (
            section.replace("reaches", "timeout_seconds = 0\nreaches"),
            &["channels.sms.timeout_seconds", "write 1 to 60"],
        ),
        (section.replace("channels.sms", "channels.SMS"), &["`SMS` is no name"]),
    ] {
        let (place, _) = installation(&sections);
        let said = place.run(&["serve", "--listen", "127.0.0.1:0"]);
        said.failed_saying(words);
        assert!(!said.err.contains(TOKEN), "{}", said.err);
    }
}

/// What HMAC-SHA1 of `data` is, in Base64, by somebody else's reckoning.
fn hmac_sha1(key: &str, data: &str) -> String {
    const SCRIPT: &str = "import sys, hmac, base64; key, data = (text.encode() for text in sys.argv[1:]); \
                          print(base64.b64encode(hmac.new(key, data, 'sha1').digest()).decode(), end='')";
    let python = std::env::var("TEST_PYTHON").expect("TEST_PYTHON is a Python; `make test` sets it");
    let said = std::process::Command::new(python).args(["-c", SCRIPT, key, data]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// Posts a form with a signature of Twilio's; gives the status.
fn tells(server: &Server, path: &str, form: &str, signature: &str) -> u16 {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: wotp.example\r\nconnection: close\r\nx-twilio-signature: {signature}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply[9..12].parse().unwrap()
}

#[test]
fn what_a_provider_tells_reaches_the_delivery_that_it_is_about() {
    let gateway = Gateway::start();
    let (file, port, account) = (component("twilio_sms"), gateway.port, "AC00000000000000000000000000000000");
    let (place, key) = installation(&format!(
        r#"
        auth.public_url = "https://wotp.example"
        [channels.sms]
        plugin = "{file}"
        hosts = ["127.0.0.1:{port}"]
        [channels.sms.secret_files]
        auth_token = "gateway.token"
        [channels.sms.config]
        account_sid = "{account}"
        from = "+12025550100"
        api = "http://127.0.0.1:{port}"
        "#
    ));
    let server = Server::start(&place);
    let id = server.start_verification(&key, ADA);
    let form = gateway.next().body.as_str().unwrap().to_owned();
    let (_, callback) = form.split_once("StatusCallback=https%3A%2F%2Fwotp.example").expect("it says whom to call");
    let path = callback.split('&').next().unwrap().replace("%2F", "/");
    assert!(path.starts_with("/hooks/sms/"), "{path}");
    sent(&server, &key, &id);
    let status = || {
        let read = server.request("GET", &format!("/v1/verifications/{id}"), &key, Value::Null).1;
        read["deliveries"][0]["status"].as_str().unwrap().to_owned()
    };
    let told = "AccountSid=AC00000000000000000000000000000000&MessageSid=SM42&MessageStatus=delivered";
    let signature =
        hmac_sha1(TOKEN, &format!("https://wotp.example{path}AccountSid{account}MessageSidSM42MessageStatusdelivered"));
    assert_eq!((tells(&server, &path, told, "c2ln"), status().as_str()), (401, "sent"));
    assert_eq!((tells(&server, &path, told, &signature), status().as_str()), (200, "delivered"));
    assert_eq!(tells(&server, &path, told, &signature), 200, "twice is once");
    let metrics = crate::process::text(&server.address, "/metrics");
    for outcome in ["outcome=\"ok\"} 2", "outcome=\"error\"} 1"] {
        let line = format!("wotp_plugin_calls_total{{channel=\"sms\",function=\"webhook\",{outcome}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[test]
fn a_provider_is_asked_beforehand_and_later_and_takes_back_what_is_canceled() {
    let gateway = Gateway::start();
    let (file, port) = (component("telegram_gateway"), gateway.port);
    let (place, key) = installation(&format!(
        r#"
        [channels.telegram]
        plugin = "{file}"
        hosts = ["127.0.0.1:{port}"]
        [channels.telegram.secret_files]
        token = "gateway.token"
        [channels.telegram.config]
        probe = true
        api = "http://127.0.0.1:{port}"
        "#
    ));
    let server = Server::start(&place);
    let id = server.start_verification(&key, ADA);
    let asked = |path: &str| {
        let came = gateway.next();
        assert!(came.head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{}", came.head);
        came.body
    };
    assert_eq!(asked("/checkSendAbility"), json!({ "phone_number": ADA }));
    assert_eq!(asked("/sendVerificationMessage")["request_id"], "able");
    sent(&server, &key, &id);
    assert_eq!(asked("/checkVerificationStatus"), json!({ "request_id": "able" }));
    until("what it says is known", || {
        let read = server.request("GET", &format!("/v1/verifications/{id}"), &key, Value::Null).1;
        read["deliveries"][0]["status"] == "delivered"
    });
    assert_eq!(server.request("POST", &format!("/v1/verifications/{id}/cancel"), &key, Value::Null).0, 200);
    assert_eq!(asked("/revokeVerificationMessage"), json!({ "request_id": "able" }));
    for function in ["probe", "status", "revoke"] {
        let line = format!("wotp_plugin_calls_total{{channel=\"telegram\",function=\"{function}\",outcome=\"ok\"}} 1");
        until("the call is counted", || crate::process::text(&server.address, "/metrics").contains(&line));
    }
}

#[test]
fn what_a_plugin_is_can_be_seen_before_it_is_used() {
    let place = Place::new();
    let said = place.run(&["plugin", "check", &component("generic_http")]);
    said.succeeded();
    for words in [
        "HTTP gateway (wotp.generic-http 0.1.0)",
        "reaches   phone, email",
        "asks      nothing later",
        "`token` in header, query, body",
    ] {
        assert!(said.out.contains(words), "{}", said.out);
    }
    let checked = place.run(&["plugin", "check", &component("undeclared_host"), "--json"]).json();
    assert_eq!((&checked["ok"], &checked["hosts"]), (&json!(true), &json!(["allowed.example"])));
    assert_eq!(checked["hears"], false);
    assert_eq!(place.run(&["plugin", "check", &component("twilio_sms"), "--json"]).json()["hears"], true);
    let telegram = place.run(&["plugin", "check", &component("telegram_gateway"), "--json"]).json();
    for (ability, generic) in [("hears", false), ("asks", false), ("probes", false), ("revokes", false)] {
        assert_eq!((&telegram[ability], &checked[ability]), (&json!(true), &json!(generic)), "{ability}");
    }
    for (name, words) in [
        ("wasi_import", "it asks for `wasi:clocks/monotonic-clock@0.2.0`, and plugins get nothing of WASI"),
        ("newer_contract", "a newer contract needs a newer WOTP"),
        ("no_plugin", "does not export `wotp:channel/delivery`"),
        // As installing it is refused.
        ("fickle", "did not say the same"),
        ("fragile_validate", "crashed instead of saying so"),
    ] {
        place.run(&["plugin", "check", &component(name)]).failed_saying(&["is no plugin that can be used", words]);
    }
    place.run(&["plugin", "check", "/nowhere.wasm"]).failed_saying(&["cannot be read"]);
}

#[test]
fn the_doctor_looks_at_plugins_and_the_configuration_shows_them_without_secrets() {
    let gateway = Gateway::start();
    let (place, _) = installation(&gateway_section("sms", gateway.port));
    let said = place.run(&["doctor"]);
    assert!(said.out.contains("sms can send"), "{}{}", said.out, said.err);
    let shown = place.run(&["config", "show", "--json"]).json();
    let value =
        |key: &str| shown["values"].as_array().unwrap().iter().find(|one| one["key"] == key).map(|one| &one["value"]);
    assert_eq!(value("channels.sms.secret_files.token"), Some(&json!("gateway.token")));
    assert_eq!(value("channels.sms.timeout_seconds"), Some(&json!(7)));
    assert!(!shown.to_string().contains(TOKEN));
}

/// Everything that the guide tells an operator to type, beside a server that runs.
#[test]
fn a_plugin_is_installed_by_commands_and_stays_over_a_restart() {
    let gateway = Gateway::start();
    let (place, key) = installation("");
    let server = Server::start(&place);
    let run = |arguments: &[&str]| place.run(&[&["plugin"], arguments].concat());
    let file = component("generic_http");
    let told = |arguments: &[&str]| {
        let said = run(arguments);
        said.succeeded();
        said.out
    };
    run(&["install", &file, "--channel", "sms"]).failed_saying(&["nobody signed"]);
    let said = told(&["list"]);
    assert!(said.contains("no plugin is installed"), "{said}");
    let said = told(&["install", &file, "--channel", "sms", "--unsigned"]);
    assert!(
        said.contains("waits for approval")
            && said.contains("wotp plugin approve sms --release ")
            && said.contains(" --host HOST"),
        "{said}"
    );
    let host = format!("127.0.0.1:{}", gateway.port);
    let said = told(&["approve", "sms", "--host", &host]);
    assert!(said.contains("wotp plugin configure sms"), "{said}");
    let config = place.data().join("sms.json");
    let url = format!("http://{host}/sms?from={{{{brand}}}}");
    let authorization = "Bearer {{secret:token}}";
    let body = json!({ "json": { "to": "{{to}}", "code": "{{code}}" } });
    let settings = json!({ "url": url, "headers": { "authorization": authorization }, "body": body });
    fs::write(&config, settings.to_string()).unwrap();
    let secret = format!("token={}", place.data().join("gateway.token").display());
    let said = told(&["configure", "sms", "--settings", config.to_str().unwrap(), "--secret", &secret]);
    assert!(said.contains("token (given)") && said.contains("wotp plugin enable sms"), "{said}");
    told(&["enable", "wotp.generic-http"]);

    // The server finds it by itself.
    let verify = |server: &Server, number: &str| {
        let mut started = Value::Null;
        until("the server knows the channel", || {
            let body = json!({ "to": number, "channels": ["sms"] });
            let (status, answer) = server.request("POST", "/v1/verifications", &key, body);
            started = answer;
            status == 201
        });
        let came = gateway.next();
        assert!(came.head.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{}", came.head);
        let id = started["id"].as_str().unwrap();
        sent(server, &key, id);
        let path = format!("/v1/verifications/{id}/check");
        let (status, checked) = server.request("POST", &path, &key, json!({ "code": came.body["code"] }));
        assert_eq!((status, &checked["status"]), (200, &json!("approved")), "{checked}");
    };
    verify(&server, ADA);
    drop(server);
    // Killed, it starts with what it compiled before: the channel is there before the first request.
    let server = Server::start(&place);
    let body = json!({ "to": "+12025550124", "channels": ["sms"] });
    assert_eq!(server.request("POST", "/v1/verifications", &key, body).0, 201);
    gateway.next();
    let said = told(&["list"]);
    assert!(said.contains("sms") && said.contains("on") && said.contains(&host), "{said}");
    told(&["disable", "sms"]);
    told(&["remove", "sms"]);
    run(&["remove", "sms"]).failed_saying(&["no such plugin"]);
}
