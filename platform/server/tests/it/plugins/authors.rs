//! What authors of plugins do with the binary: begin one, try it, deliver a message, sign. That what is begun builds is
//! seen by `.ci/first-plugin`, which has a compiler for it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{ADA, Gateway, TOKEN, component};
use crate::process::{Place, Said};

/// A file beside the sources of a plugin.
fn beside(plugin: &str, file: &str) -> String {
    format!("{}/../../plugins/{plugin}/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_plugin_that_is_begun_has_all_that_it_needs_and_is_not_begun_twice() {
    let place = Place::new();
    let begin = || place.run(&["plugin", "new", "acme-sms", "--in", &place.file("")]);
    let said = begin();
    said.succeeded();
    assert!(said.out.contains("wotp plugin build"), "{}", said.out);
    for file in [
        "Cargo.toml",
        "src/lib.rs",
        "config.schema.json",
        "README.md",
        ".gitignore",
        "kit/src/lib.rs",
        "wit/channel.wit",
    ] {
        assert!(fs::metadata(place.file("acme-sms")).unwrap().is_dir());
        assert!(fs::metadata(format!("{}/{file}", place.file("acme-sms"))).unwrap().is_file(), "{file}");
    }
    begin().failed_saying(&["`acme-sms` was not begun", "is there already"]);
    place.run(&["plugin", "new", "Acme"]).failed_saying(&["small letters, digits and dashes"]);
    assert_eq!(place.run(&["plugin", "new", "acme", "--language", "cobol"]).code, 2);
}

#[test]
fn what_cannot_be_built_says_what_is_missing() {
    let place = Place::new();
    place.run(&["plugin", "build", &place.file("")]).failed_saying(&["was not built", "there is no Cargo.toml"]);
    place.run(&["plugin", "new", "acme-sms", "--in", &place.file("")]).succeeded();
    let build = |variables: &[(&str, &str)]| place.run_with(&["plugin", "build", &place.file("acme-sms")], variables);
    // A compiler with no library for plugins, and no cargo at all.
    build(&[("RUSTC", "echo")]).failed_saying(&["`rustup target add wasm32-unknown-unknown`"]);
    build(&[("RUSTC", "false"), ("CARGO", "/nowhere/cargo")]).failed_saying(&["/nowhere/cargo", "https://rustup.rs"]);
    build(&[("RUSTC", "false"), ("CARGO", "false")])
        .failed_saying(&["the build failed; what `cargo build` says is above"]);
}

#[test]
fn plugins_that_keep_the_contract_pass_and_each_case_is_told() {
    let place = Place::new();
    for plugin in ["twilio-sms", "telegram-gateway", "generic-http"] {
        let (file, settings, script) =
            (component(&plugin.replace('-', "_")), beside(plugin, "settings.toml"), beside(plugin, "provider.toml"));
        let said = place.run(&["plugin", "test", &file, "--settings", &settings, "--script", &script]);
        said.succeeded();
        assert!(said.out.contains("ok  the provider answers 500: unknown: "), "{}", said.out);
        assert!(said.out.trim_end().ends_with(" hold"), "{}", said.out);
    }
}

#[test]
fn plugins_that_misbehave_fail_in_time_with_a_sentence() {
    let place = Place::new();
    let (settings, script) = (place.file("settings.toml"), place.file("provider.toml"));
    fs::write(&settings, "url = \"https://allowed.example/\"\n").unwrap();
    fs::write(&script, "hosts = [\"allowed.example\"]\n").unwrap();
    for (name, words) in [
        ("endless_loop", "computed for longer than 1 s"),
        ("memory_bomb", "the plugin crashed"),
        ("log_flood", "made no request"),
        ("nosy_webhook", "without a signature"),
        ("secret_thief", "a mark went out as it is"),
        ("wasi_import", "plugins get nothing of WASI"),
    ] {
        let said = place.run(&["plugin", "test", &component(name), "--settings", &settings, "--script", &script]);
        assert_eq!(said.code, 1, "{name}: {}", said.err);
        assert!(said.out.contains("not allowed: ") && said.out.contains(words), "{name}: {}", said.out);
        assert!(said.out.trim_end().ends_with("do not hold"), "{}", said.out);
    }
    let said = place.run(&["plugin", "test", &component("trap"), "--script", &script, "--json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &report["ok"], &report["cases"][0]["holds"]), (1, &json!(false), &json!(true)), "{report}");
    fs::write(&script, "[[answers]]\n").unwrap();
    place
        .run(&["plugin", "test", &component("trap"), "--script", &script])
        .failed_saying(&["cannot be followed", "answers"]);
}

/// A message delivered to a gateway on this machine, with further arguments.
fn delivered(place: &Place, gateway: &Gateway, further: &[&str]) -> Said {
    let (settings, token, host) =
        (place.file("settings.json"), place.file("gateway.token"), format!("127.0.0.1:{}", gateway.port));
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let written = json!({
        "url": format!("http://{host}/sms"),
        "headers": { "authorization": "Bearer {{secret:token}}" },
        "body": { "json": { "to": "{{to}}", "text": "{{text}}", "code": "{{code}}" } },
        "message_id": "/messages/0/id",
    });
    fs::write(&settings, written.to_string()).unwrap();
    let (file, secret) = (component("generic_http"), format!("token={token}"));
    let given = [
        "plugin",
        "run",
        &file,
        "--settings",
        &settings,
        "--secret",
        &secret,
        "--host",
        &host,
        "--to",
        ADA,
        "--text",
        "Hello 4711",
    ];
    place.run(&[&given, further].concat())
}

#[test]
fn one_message_is_delivered_for_real_and_what_went_over_the_wire_is_shown_without_secrets() {
    let (place, gateway) = (Place::new(), Gateway::start());
    let said = delivered(&place, &gateway, &["--code", "4711", "--loopback"]);
    said.succeeded();
    let came = gateway.next();
    assert_eq!(came.body, json!({ "to": ADA, "text": "Hello 4711", "code": "4711" }));
    assert!(came.head.contains(&format!("authorization: Bearer {TOKEN}")), "{}", came.head);
    for line in [
        &format!("> POST http://127.0.0.1:{}/sms", gateway.port),
        "> authorization: Bearer {{secret:token}}",
        "< HTTP 202",
        "The plugin says: sent, under the name gw-42",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    assert!(!said.out.contains(TOKEN), "{}", said.out);
    let shown = delivered(&place, &gateway, &["--loopback", "--json"]).json();
    assert_eq!((&shown["ok"], &shown["exchanges"][0]["status"]), (&json!(true), &json!(202)), "{shown}");
    // As in production, which calls no network but the public one.
    let said = delivered(&place, &gateway, &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("No request went out.") && said.out.contains("misconfigured"), "{}", said.out);
    delivered(&place, &gateway, &["--secret", "key=/nowhere"]).failed_saying(&["/nowhere cannot be read"]);
}

#[test]
fn what_is_signed_is_held_against_the_component_and_a_changed_byte_is_found() {
    let place = Place::new();
    let (file, key, manifest) = (place.file("plugin.wasm"), place.file("publisher.key"), place.file("plugin.toml"));
    fs::copy(component("twilio_sms"), &file).unwrap();
    assert_eq!(place.run(&["plugin", "sign", &file]).code, 2);
    let signed = place.run(&["plugin", "sign", &file, "--new-key", &key, "--json"]).json();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let check = || place.run(&["plugin", "check", &file, "--manifest", &manifest, "--json"]);
    assert_eq!(check().json()["publisher"], signed["publisher"]);
    place.run(&["plugin", "sign", &file, "--new-key", &key]).failed_saying(&["is there already"]);
    place.run(&["plugin", "sign", &file, "--key", &key]).succeeded();
    assert!(!fs::read_to_string(&manifest).unwrap().contains("private"));
    fs::copy(component("telegram_gateway"), &file).unwrap();
    check().failed_saying(&["plugin.toml does not hold", "of another component"]);
}
