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
    for plugin in ["twilio-sms", "telegram-gateway", "generic-http"] {
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
    ("fragile_status", "it made no request"),
    ("fragile_validate", "bears wrong settings: it crashes"),
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
