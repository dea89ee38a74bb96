use wotp_core::domain::password::Password;
use wotp_core::ports::Passwords as _;

use super::load::{dict, keys};
use super::*;
use crate::people::Argon2Passwords;

fn variables(pairs: &[(&str, &str)]) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(FILE_NAME), text).unwrap();
    load(Inputs { data: data.path().to_owned(), variables: variables(pairs), ..Inputs::default() })
}

fn with_variables(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(Inputs { variables: variables(pairs), ..Inputs::default() })
}

fn complaint(result: Result<Loaded, ConfigError>) -> String {
    let ConfigError(complaints) = result.unwrap_err();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    complaints[0].to_string()
}

/// The reference with what is commented out put in force: keys, not prose.
fn reference_in_force() -> String {
    let key = |line: &str| {
        let known = keys(&dict(&Config::complete()));
        let name = line.split(" = ").next().unwrap_or_default();
        let named = |section: &str| known.iter().any(|key| key == &format!("{section}.{name}"));
        let provider = serde_json::to_value(Oidc::example()).unwrap();
        ["[channels.email]", "[[auth.oidc]]"].contains(&line)
            || (line.contains(" = ") && (named("channels.email") || provider.get(name).is_some()))
    };
    let lines = REFERENCE.lines().map(|line| line.strip_prefix("# ").filter(|line| key(line)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_holds_the_defaults() {
    assert_eq!(with_file(REFERENCE, &[]).unwrap().config, Config::default());
}

#[test]
fn the_reference_names_every_key_there_is() {
    let loaded = with_file(&reference_in_force(), &[]).unwrap();
    assert_eq!(loaded.config, Config::complete());
    for shown in loaded.shown() {
        assert!(shown.source.ends_with(FILE_NAME), "{} is missing from the reference", shown.key);
    }
}

#[test]
fn nothing_at_all_means_the_defaults() {
    let loaded = with_variables(&[("PATH", "/bin"), ("HOME", "/root")]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.file, None);
}

#[test]
fn a_variable_goes_before_the_file_and_the_flag_before_both() {
    let file = "[server]\nlisten = '127.0.0.1:1'\nrequest_timeout_seconds = 5\n[worker]\nconcurrency = 7";
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(FILE_NAME), file).unwrap();
    let loaded = load(Inputs {
        data: data.path().to_owned(),
        variables: variables(&[("WOTP_SERVER__LISTEN", "127.0.0.1:2"), ("WOTP_SERVER__REQUEST_TIMEOUT_SECONDS", "6")]),
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 3))),
        ..Inputs::default()
    })
    .unwrap();
    assert_eq!(loaded.config.server.listen.port(), 3);
    assert_eq!(loaded.config.server.request_timeout_seconds, 6);
    assert_eq!(loaded.config.worker.concurrency, 7);
    let source = |key: &str| loaded.shown().into_iter().find(|shown| shown.key == key).unwrap().source;
    assert_eq!(source("server.listen"), "--listen");
    assert_eq!(source("server.request_timeout_seconds"), "WOTP_SERVER__REQUEST_TIMEOUT_SECONDS");
    assert!(source("worker.concurrency").ends_with("wotp.toml"));
    assert_eq!(source("log.level"), "default");
}

#[test]
fn a_variable_that_does_not_exist_is_refused_by_name() {
    let said = complaint(with_variables(&[("WOTP_FOO", "1")]));
    assert!(said.contains("WOTP_FOO") && said.contains("no such key"), "{said}");
    let said = complaint(with_variables(&[("WOTP_LISTEN", "127.0.0.1:1")]));
    assert!(said.contains("did you mean `server.listen`?"), "{said}");
    // A section is not a key.
    assert!(complaint(with_variables(&[("WOTP_SERVER", "1")])).contains("no such key"));
}

#[test]
fn a_key_that_does_not_exist_is_refused_with_the_one_that_was_meant() {
    let said = complaint(with_file("[server]\nlisen = '127.0.0.1:1'", &[]));
    assert!(said.starts_with("server.lisen ("), "{said}");
    assert!(said.contains("wotp.toml") && said.ends_with("did you mean `server.listen`?"), "{said}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let ConfigError(complaints) = with_file("a = 1\n[server]\nb = 2", &[("WOTP_C", "3")]).unwrap_err();
    assert_eq!(complaints.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["a", "server.b", "c"]);
}

#[tokio::test]
async fn a_password_hash_costs_what_the_configuration_says() {
    let file = "[auth]\nargon2_memory_kib = 64\nargon2_passes = 3\nhashing_threads = 1\nhashing_waiting_max = 5";
    let hashing = with_file(file, &[("WOTP_AUTH__ARGON2_LANES", "2")]).unwrap().config.auth.hashing();
    assert_eq!((hashing.threads, hashing.waiting_max), (1, 5));
    let hash = Argon2Passwords::new(hashing).unwrap().hash(&Password::typed("correct horse"), [7; 16]).await.unwrap();
    assert!(hash.0.starts_with("$argon2id$v=19$m=64,t=3,p=2$"), "{}", hash.0);
}

#[test]
fn a_value_of_the_wrong_kind_is_explained() {
    for (file, pairs, expected) in [
        ("[worker]\nconcurrency = 'many'", &[][..], "worker.concurrency ("),
        ("[worker]\nconcurrency = 'many'", &[], "write it as in `concurrency = 64`"),
        ("[server]\nlisten = '8080'", &[], "write IP:PORT, as in 127.0.0.1:8080"),
        ("[server]\ntrusted_proxies = ['10.0.0.0/99']", &[], "server.trusted_proxies ("),
        ("environment = 'staging'", &[], r#"write "development" or "production""#),
        ("[channels.email]\nfrom = 'a@example.com'", &[], "channels.email.host ("),
        ("", &[("WOTP_WORKER__CONCURRENCY", "-1")], "WOTP_WORKER__CONCURRENCY"),
        ("", &[("WOTP_CHANNELS__CONSOLE__ENABLED", "maybe")], "write true or false"),
        ("[server", &[], "is not TOML"),
    ] {
        let said = complaint(with_file(file, pairs));
        assert!(said.contains(expected), "{file:?} {pairs:?}: {said}");
    }
}

#[test]
fn a_value_out_of_bounds_is_refused_with_its_origin() {
    for (name, value, expected) in [
        ("WOTP_SERVER__CONNECTIONS_MAX", "0", "write 1 to 1000000"),
        ("WOTP_SERVER__CONNECTIONS_MAX", "1000001", "write 1 to 1000000"),
        ("WOTP_SERVER__REQUEST_TIMEOUT_SECONDS", "0", "write 1 to 300"),
        ("WOTP_SERVER__CORS_ORIGINS", "https://a.example/path", "without a path"),
        ("WOTP_SERVER__CORS_ORIGINS", "*", "is no web origin"),
        ("WOTP_STORE__URL", "postgres://x", "write sqlite:wotp.db"),
        ("WOTP_STORE__URL", "sqlite:", "write sqlite:wotp.db"),
        ("WOTP_STORE__URL", "mongodb://", "write sqlite:wotp.db"),
        ("WOTP_STORE__URL_FILE", "nowhere", "cannot be read"),
        ("WOTP_QUEUE__URL", "amqp://h", "write memory:, redis://host:6379"),
        ("WOTP_QUEUE__URL", "redis://h", "name a MongoDB in store.url"),
        ("WOTP_SERVER__DRAIN_SECONDS", "301", "write 0 to 300"),
        ("WOTP_LOG__LEVEL", "loud=very", "is no filter"),
        ("WOTP_LIMITS__PER_IP_BURST", "0", "at least 1"),
        ("WOTP_WORKER__CONCURRENCY", "0", "write 1 to 4096"),
        ("WOTP_PLANS__DEFAULT", "gold", "there are: free, pro, unlimited"),
        ("WOTP_PLANS__FILE", "nowhere.toml", "cannot be read"),
    ] {
        let said = complaint(with_variables(&[(name, value)]));
        assert!(said.contains(expected) && said.contains(name), "{name}={value}: {said}");
    }
}

#[test]
fn production_refuses_the_channel_that_prints_codes() {
    let said = complaint(with_variables(&[("WOTP_ENVIRONMENT", "production")]));
    assert!(said.contains("channels.console.enabled (default)") && said.contains("enabled = false"), "{said}");
    let quiet = [("WOTP_ENVIRONMENT", "production"), ("WOTP_CHANNELS__CONSOLE__ENABLED", "false")];
    assert_eq!(with_variables(&quiet).unwrap().config.environment, Environment::Production);
}

#[test]
fn a_text_that_looks_like_a_number_stays_a_text_and_a_list_has_commas() {
    let loaded = with_variables(&[
        ("WOTP_CHANNELS__EMAIL__HOST", "12345"),
        ("WOTP_CHANNELS__EMAIL__FROM", "codes@example.com"),
        ("WOTP_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7"),
        ("WOTP_SERVER__CORS_ORIGINS", r#"["https://a.example", "http://localhost:3000"]"#),
    ])
    .unwrap();
    assert_eq!(loaded.config.channels.email.unwrap().host, "12345");
    assert_eq!(loaded.config.server.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()]);
    assert_eq!(loaded.config.server.cors_origins, ["https://a.example", "http://localhost:3000"]);
}

#[test]
fn no_complaint_and_nothing_that_is_shown_holds_a_password() {
    for pairs in [
        [("WOTP_STORE__URL", "postgres://wotp:hunter2@h"), ("WOTP_QUEUE__URL", "memory:")],
        [("WOTP_STORE__URL", "mongodb://wotp:hunter2@h"), ("WOTP_QUEUE__URL", "memory:")],
        [("WOTP_STORE__URL", "sqlite:wotp.db"), ("WOTP_QUEUE__URL", "redis://:hunter2@h")],
        [("WOTP_STORE__URL", "wotp:hunter2@h"), ("WOTP_QUEUE__URL", "hunter2")],
    ] {
        let said = with_variables(&pairs).unwrap_err().to_string();
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = with_file("[store]\nurl = 'mongodb://wotp:hunter2@h'x", &[]).unwrap_err().to_string();
    assert!(said.contains("line 2") && !said.contains("hunter2"), "{said}");
    let pairs = [("WOTP_STORE__URL", "mongodb://wotp:hunter2@h"), ("WOTP_QUEUE__URL", "redis://:hunter2@h")];
    let shown = format!("{:?}", with_variables(&pairs).unwrap().shown());
    assert!(shown.contains("mongodb://wotp:…@h") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_reference_shows_a_plugin_with_every_key_that_there_is() {
    let lines =
        REFERENCE.lines().skip_while(|line| *line != "# [channels.sms]").take_while(|line| line.starts_with('#'));
    let section: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let loaded = with_file(&section.join("\n"), &[]).unwrap();
    let plugin = &loaded.config.channels.plugins["sms"];
    assert_eq!(plugin.config["url"], "https://sms.example.com/messages");
    assert_eq!(Plugin { config: serde_json::Map::new(), ..plugin.clone() }, Plugin::example());
    // A key with its default could be left out and nobody would see.
    for (key, _) in Plugin::example().values("sms") {
        let name = key.rsplit('.').next().unwrap();
        assert!(
            section.iter().any(|line| line.starts_with(&format!("{name} = "))),
            "{key} is missing from the reference"
        );
    }
}

#[test]
fn what_is_wrong_with_a_plugins_section_is_said_with_its_place() {
    let plugin = "plugin = 'a.wasm'\n";
    for (section, words) in [
        ("[channels.sms]\nplugin = 7", "channels.sms.plugin ("),
        ("[channels.sms]\nplugin = 'a.wasm'\nhost = []", "did you mean `hosts`?"),
        ("[channels.sms]\nplugin = 'a.wasm'\nreaches = ['fax']", r#"write "phone" or "email""#),
        ("[channels.email]\nplugin = 'a.wasm'", "`email` is no name"),
        ("[channels.a-b]\nplugin = 'a.wasm'", "`a-b` is no name"),
        ("[channels.sms]\nplugin = 'a.wasm'\nconcurrency = 0", "write 1 to 256"),
        ("[channels.sms]\nhosts = []", "channels.sms"),
    ] {
        let said = complaint(with_file(section, &[]));
        assert!(said.contains(words) && said.contains(FILE_NAME), "{section}: {said}");
    }
    let many: String = (0..5).map(|n| format!("[channels.sms{n}]\n{plugin}concurrency = 256\n")).collect();
    assert!(complaint(with_file(&many, &[])).contains("for 1024 together"));
}

#[test]
fn an_allowance_of_whatsapp_numbers_is_in_the_order_of_their_ages() {
    let with = |rest: &str| with_file(&format!("[channels.whatsapp]\n{rest}"), &[]);
    let step = |days| format!("{{ from_days = {days}, per_hour = 1, per_day = 2, strangers_per_day = 3 }}");
    let loaded = with(&format!("allowance = [{}, {}]\nwait_max_ms = 0", step(0), step(9))).unwrap();
    let expected = |from_days| AllowanceStep { from_days, per_hour: 1, per_day: 2, strangers_per_day: 3 };
    assert_eq!(loaded.config.channels.whatsapp.allowance, [expected(0), expected(9)]);
    for (rest, key) in [
        (format!("allowance = [{}]", step(1)), "allowance"),
        (format!("allowance = [{}, {}]", step(0), step(0)), "allowance"),
        ("allowance = [{ from_days = 0, per_hour = 1, per_day = 1 }]".to_owned(), "allowance"),
        ("wait_max_ms = 2001".to_owned(), "wait_max_ms"),
        ("strangers_percent_max = 0".to_owned(), "strangers_percent_max"),
        ("look_ups_per_minute = 0".to_owned(), "look_ups_per_minute"),
    ] {
        let complaint = complaint(with(&rest));
        assert!(complaint.contains(&format!("channels.whatsapp.{key}")), "{complaint}");
    }
}
