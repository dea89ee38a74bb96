//! What is tried of a plugin that delivers nothing: what it says of itself, of settings, of callers, and to the log.

use std::sync::PoisonError;

use wotp_channel_wasm::{Plugin, SettingsError};
use wotp_core::ports::{Channel as _, HearError, Heard};

use super::Report;
use super::bench::Bench;
use crate::message::CODE;
use crate::settings::spoilt;

/// What the host puts in the place of what it takes out of a log.
const GAP: char = '…';
/// What the host writes to the log when a plugin makes a request where it may make none.
const NOSY: &str = "asked for a request where it may make none";

/// It is the same each time that it is asked.
pub(super) async fn at_itself(bench: &Bench, report: &mut Report) {
    const TRIED: &str = "says the same of itself each time";
    match bench.component.describe(bench.world()).await {
        Ok(again) if again == *bench.component.descriptor() => report.ok(TRIED, "the same"),
        Ok(_) => report.no(
            TRIED,
            "something else the second time",
            "operators approve what it said, so `describe` has to say that for ever; take nothing from `now` or `random`",
        ),
        Err(refusal) => report.no(TRIED, refusal.to_string(), "`describe` has to answer each time"),
    }
}

/// It takes the settings that it is given, and bears those that are wrong. The plugin with its settings, if it took them.
pub(super) async fn at_settings(bench: &Bench, report: &mut Report) -> Option<Plugin> {
    const TAKES: &str = "takes its settings";
    let made = bench.plugin(&bench.settings).await;
    let nosy = bench.log.taken().iter().any(|line| line.contains(NOSY));
    let plugin = match made {
        Ok(plugin) => {
            report.ok(TAKES, "schema and `validate` take them");
            Some(plugin)
        }
        Err(error) => {
            report.no(TAKES, error.to_string(), help(&error));
            None
        }
    };
    const ASKS: &str = "calls nobody while it looks at settings";
    match nosy || bench.requests() > 0 {
        true => {
            report.no(ASKS, "it asks for a request", "operators look at settings before they approve whom it may call")
        }
        false => report.ok(ASKS, "no request"),
    }
    wrong_settings(bench, report).await;
    plugin
}

fn help(error: &SettingsError) -> &'static str {
    match error {
        SettingsError::NoHosts => {
            "it calls whichever host the operator names: name it with `--host`, or as `hosts` in the script"
        }
        SettingsError::Config(_) => "give settings that it works with, with `--settings FILE`",
        SettingsError::Silent(_) => "`validate` has to answer, whatever stands in the settings",
        _ => "without that, nothing can be delivered",
    }
}

async fn wrong_settings(bench: &Bench, report: &mut Report) {
    const TRIED: &str = "bears wrong settings";
    let (mut refused, all) = (0, spoilt(&bench.settings));
    for settings in &all {
        match bench.plugin(settings).await {
            Ok(_) => {}
            Err(SettingsError::Silent(why)) => {
                let shown: String = settings.to_string().chars().take(80).collect();
                let why = format!("{why}; `validate` has to say what is wrong instead, here of {shown}");
                report.no(TRIED, "it crashes", why);
                return;
            }
            Err(_) => refused += 1,
        }
    }
    bench.log.taken();
    let mut unknown = bench.settings.clone();
    unknown["setting_that_nobody_knows"] = 1.into();
    let advice = bench.plugin(&unknown).await.is_ok().then(|| {
        "a setting that it does not know is taken, so nobody sees a slip of the pen; write `\"additionalProperties\": \
         false` into the schema"
            .to_owned()
    });
    report.note(TRIED, format!("{refused} of {} refused, none of them a crash", all.len()), None, advice);
}

/// It takes nobody for the provider who did not sign.
pub(super) async fn at_callers(plugin: &Plugin, report: &mut Report) {
    const TRIED: &str = "refuses a caller who is not the provider";
    let Some(ears) = plugin.ears() else { return };
    let reference = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let url = format!("https://wotp.example/hooks/tried/{reference}");
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let form = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    let calls = [
        ("a GET", false, Vec::new(), Vec::new()),
        ("an empty POST", true, Vec::new(), Vec::new()),
        ("JSON", true, vec![json], br#"{"status":"delivered","id":"m-1"}"#.to_vec()),
        ("a form", true, vec![form], b"MessageStatus=delivered&SmsStatus=delivered&MessageSid=SM1".to_vec()),
        ("bytes", true, Vec::new(), vec![0xff; 64 * 1024]),
    ];
    for (what, posted, headers, body) in calls {
        let heard = Heard { posted, url: url.clone(), path: reference.to_owned(), headers, body };
        match ears.hear(heard).await {
            Err(HearError::NotAuthentic | HearError::Unreadable) => {}
            Err(HearError::Busy) => {
                return report.no(
                    TRIED,
                    format!("{what} crashes it, or keeps it too long"),
                    "anybody can call: say `not-authentic` or `unreadable`",
                );
            }
            Ok(heard) => {
                let said = format!("it takes {what} without a signature, with {} receipts", heard.news.len());
                return report.no(
                    TRIED,
                    said,
                    "anybody can call, and would tell what became of messages; hold the signature against a secret with \
                     `signatures.verify`",
                );
            }
        }
    }
    report.ok(TRIED, "five calls without a signature, all refused");
}

/// What it wrote tells nobody anything.
pub(super) fn at_the_log(bench: &Bench, report: &mut Report) {
    const TRIED: &str = "keeps people and secrets out of the log";
    let written = bench.written.lock().unwrap_or_else(PoisonError::into_inner);
    let of_the_plugin: Vec<_> = written.iter().filter(|line| line.contains("a plugin says")).collect();
    let message = bench.message();
    let told = |line: &&&String| {
        line.contains(CODE)
            || line.contains(message.to.as_str())
            || bench.secrets.values().any(|secret| line.contains(secret.as_str()))
    };
    if let Some(line) = of_the_plugin.iter().find(told) {
        return report.no(TRIED, line.as_str(), "this is to be reported: the host did not take it out");
    }
    let advice = of_the_plugin.iter().any(|line| line.contains(GAP)).then(|| {
        "the host took something out of what it writes, as it does with addresses, codes and secrets; better not to write it"
            .to_owned()
    });
    report.note(TRIED, format!("{} lines, none of which tells", of_the_plugin.len()), None, advice);
}
