use serde_json::json;
use wotp_workbench::settings;

use crate::tried::{faults, tried};

const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins");

/// A file beside the sources of a plugin.
fn beside(plugin: &str, file: &str) -> String {
    std::fs::read_to_string(format!("{PLUGINS}/{plugin}/{file}")).unwrap()
}

#[tokio::test]
async fn plugins_that_keep_the_contract_hold() {
    for plugin in ["twilio-sms", "telegram-gateway", "generic-http", "whatsapp-cloud"] {
        let settings = settings::read(&beside(plugin, "settings.toml")).unwrap();
        let outcomes = tried(&plugin.replace('-', "_"), settings, &beside(plugin, "provider.toml")).await;
        assert_eq!(faults(&outcomes), "", "{plugin}");
        assert!(outcomes.len() > 20, "{outcomes:?}");
    }
}

/// Each component of `plugins/misbehaving`, with a part of what is said of it.
const MISBEHAVING: &[(&str, &str)] = &[
    ("believer", "500: sent: the provider did not say that it took the message"),
    ("endless_loop", "computed for longer than 1 s"),
    ("fickle", "something else the second time"),
    ("fragile_status", "asks how a message fares: no-news, nothing: it crashed, or was stopped"),
    ("fragile_validate", "bears wrong settings: it crashes"),
    ("gullible", "sent: it made no request"),
    ("header_smuggler", "the header `host` is not for plugins to set"),
    ("hidden_host", "made no request"),
    ("huge_detail", "the plugin crashed"),
    ("huge_reply", "so it is `sent`"),
    ("log_flood", "sent: it made no request"),
    ("memory_bomb", "the plugin crashed"),
    ("newer_contract", "needs a newer WOTP"),
    ("no_plugin", "does not export"),
    ("nosy_validate", "it asks for a request"),
    ("nosy_webhook", "it takes a GET without a signature"),
    ("request_flood", "at most 8 requests"),
    ("secret_thief", "a mark went out as it is"),
    ("slow_describe", "computed for longer than 1 s"),
    ("slow_probe", "delivered with"),
    ("slow_server", "so it is `sent`"),
    ("stack_overflow", "call stack exhausted"),
    ("tattler", "made no request"),
    ("trap", "the plugin crashed"),
    ("undeclared_host", "so it is `sent`"),
    ("wasi_import", "nothing of WASI"),
    ("wrong_descriptor", "no JSON Schema"),
];

#[tokio::test]
async fn plugins_that_misbehave_are_told_what_is_wrong_with_them() {
    assert_eq!(
        std::fs::read_dir(format!("{PLUGINS}/misbehaving/attacks")).unwrap().count(),
        MISBEHAVING.len(),
        "each of them is here"
    );
    for (name, words) in MISBEHAVING {
        let outcomes = tried(name, json!({ "url": "https://allowed.example/" }), "hosts = [\"allowed.example\"]").await;
        let faults = faults(&outcomes);
        assert!(faults.contains(words), "{name}: {words}: {faults}");
    }
}

#[tokio::test]
async fn what_is_missing_to_try_a_plugin_is_said() {
    let settings = json!({ "url": "https://sms.example.com/messages", "success": { "pointer": "/ok", "equals": [1] } });
    let well = "hosts = [\"sms.example.com\"]\n[[answer]]\npath = \"/messages\"\nstatus = 200\nbody = '{\"ok\":1}'\n";
    for (settings, script, words) in [
        (settings.clone(), "", "name it with `--host`"),
        (json!({}), well, "with `--settings FILE`"),
        // It answers 200 and an empty object where nobody says otherwise.
        (settings.clone(), "hosts = [\"sms.example.com\"]", "write what it answers for `--script`"),
        (settings.clone(), &well.replace("/messages", "/sms"), "the script has no answer for `POST /messages`"),
        (settings, &format!("{well}[[case]]\nname = \"full\"\nstatus = 507\nexpect = \"temporary\""), "full: unknown"),
    ] {
        let faults = faults(&tried("generic_http", settings, script).await);
        assert!(faults.contains(words), "{words}: {faults}");
    }
}

/// Only connections are led to the provider on this machine: what would be refused in production is refused.
#[tokio::test]
async fn what_may_be_called_is_what_production_lets_through() {
    for (url, host, words) in [
        ("http://sms.example.com/messages", "sms.example.com:80", "does not begin with `https://`"),
        ("https://10.0.0.1/messages", "10.0.0.1", "an address that is not public"),
        ("https://127.0.0.1:8443/messages", "127.0.0.1:8443", "an address that is not public"),
        ("https://sms.example.com:25/messages", "sms.example.com:25", "a port other than 443"),
    ] {
        let faults = faults(&tried("generic_http", json!({ "url": url }), &format!("hosts = [\"{host}\"]")).await);
        assert!(faults.contains(words) && faults.contains("it made no request"), "{url}: {faults}");
    }
}

/// Each with its provider's own script, and what is tried of what it does besides delivering.
#[tokio::test]
async fn what_a_plugin_asks_and_hears_is_tried_too() {
    let tried_of = async |plugin: &str| {
        let settings = settings::read(&beside(plugin, "settings.toml")).unwrap();
        tried(&plugin.replace('-', "_"), settings, &beside(plugin, "provider.toml")).await
    };
    let telegram = tried_of("telegram-gateway").await;
    for (tried, said) in [
        ("asks whether somebody can be reached", "yes, with a token"),
        ("asks whether somebody can be reached, and is answered 500", "unknown: "),
        ("nobody can say whether there is Telegram at that number", "unknown: "),
        ("asks how a message fares", "delivered, again when its time comes"),
        ("asks how a message fares, and nobody is there", "no-news, again after "),
        ("a code that was read", "read, never again"),
        ("has a message taken back", "never again"),
        ("a code that cannot be taken back yet", "again after 30 s"),
        ("a report that a code arrived", "delivered"),
        ("a report that a code arrived: refuses it forged", "without its signature"),
    ] {
        let found = telegram.iter().find(|outcome| outcome.tried == tried);
        assert!(found.is_some_and(|outcome| outcome.holds && outcome.said.starts_with(said)), "{tried}: {found:?}");
    }
    for plugin in ["twilio-sms", "whatsapp-cloud"] {
        let tried = tried_of(plugin).await;
        let heard: Vec<_> = tried.iter().filter(|outcome| outcome.tried.starts_with("a receipt")).collect();
        assert!(heard.len() == 2 && heard.iter().all(|outcome| outcome.holds), "{plugin}: {heard:?}");
    }
}

/// A script that signs otherwise than the provider, or expects something else, is told so.
#[tokio::test]
async fn a_callback_that_the_plugin_does_not_take_is_told_of() {
    let settings = settings::read(&beside("twilio-sms", "settings.toml")).unwrap();
    let script = beside("twilio-sms", "provider.toml");
    for (script, words) in [
        (script.replace("hmac-sha1", "hmac-sha256"), "see that it signs as the provider does"),
        (script.replace("expect = \"delivered\"", "expect = \"read\""), "the script expects `read`"),
        (script.replace("secret = \"auth_token\"", "secret = \"token\""), "it asks for no secret `token`"),
    ] {
        let faults = faults(&tried("twilio_sms", settings.clone(), &script).await);
        assert!(faults.contains(words), "{words}: {faults}");
    }
    let callback = &script[script.find("[[callback]]").unwrap()..];
    let generic = json!({ "url": "https://sms.example.com/messages" });
    let script = format!("hosts = [\"sms.example.com\"]\n{callback}");
    let faults = faults(&tried("generic_http", generic, &script).await);
    assert!(faults.contains("it does not export `webhook`"), "{faults}");
    // It believes anybody.
    let script = format!("hosts = [\"allowed.example\"]\n{}", callback.replace("auth_token", "token"));
    let faults =
        crate::tried::faults(&tried("nosy_webhook", json!({ "url": "https://allowed.example/" }), &script).await);
    for words in
        ["a receipt: news of another message", "a receipt: refuses it forged: it takes it without its signature"]
    {
        assert!(faults.contains(words), "{words}: {faults}");
    }
}

/// One plugin for each, which falls for that alone.
#[tokio::test]
async fn each_forgery_of_a_callback_is_seen_by_itself() {
    const FORGERIES: [(&str, &str); 4] = [
        ("unsigned", "it takes it without its signature"),
        ("signature", "it takes it with a signature in which one bit is another"),
        ("secret", "it takes it signed with another secret"),
        ("body", "it takes it with a body that was changed after it was signed"),
    ];
    let tried_at = async |path: &str| {
        let script = format!(
            r#"
            hosts = ["allowed.example"]
            [[callback]]
            name = "a receipt"
            path = "{path}"
            headers = {{ x-signature = "{{signature}}" }}
            body = "reference={{reference}}"
            expect = "delivered"
            [callback.sign]
            secret = "token"
            algorithm = "hmac-sha256"
            encoding = "hex"
            data = "{{body}}"
            "#
        );
        let faults = faults(&tried("gullible", json!({}), &script).await);
        faults.lines().filter(|line| line.starts_with("a receipt")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(tried_at("nothing").await, "");
    for (path, words) in FORGERIES {
        let faults = tried_at(path).await;
        assert!(faults.starts_with(&format!("a receipt: refuses it forged: {words}")), "{path}: {faults}");
    }
}
