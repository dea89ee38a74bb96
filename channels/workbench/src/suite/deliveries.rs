//! What is tried of a plugin that delivers, on good days of its provider and on bad ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use wotp_channel_wasm::{Plugin, Said};
use wotp_core::domain::dispatch::DeliveryStatus;
use wotp_core::ports::Outgoing;

use super::Report;
use super::bench::{Bench, Delivered};
use super::days;
use super::judging::{Did, Judged, judged, shown};
use crate::message::DEMANDING;
use crate::provider::Conduct;
use crate::script::{Answer, Called, Case, Expected};
use crate::wire::Exchange;

/// What every mark of a secret begins with.
const MARK: &str = "WOTPSECRET_";
const NO_REQUEST: &str =
    "it made no request, or none that it may make: the host of its URL has to be one that `describe` names";

impl Bench {
    /// What the provider answers when all is well: as scripted, or 200 and an empty object.
    pub(super) fn well(&self) -> Vec<Answer> {
        match self.script.answers.as_slice() {
            [] => vec![Answer::always(200, &[("content-type", "application/json")], "{}")],
            answers => answers.to_vec(),
        }
    }

    fn note(&self, tried: &str, did: Did, delivered: &Delivered, report: &mut Report) {
        let Judged { why, advice } = judged(did, &delivered.said, self.component.descriptor().idempotent);
        report.note(tried, shown(&delivered.said), why.map(str::to_owned), advice.map(str::to_owned));
    }
}

/// It delivers what its provider takes. Whether it does something that is worth trying on bad days.
pub(super) async fn on_a_good_day(bench: &Bench, plugin: &Plugin, report: &mut Report) -> bool {
    bench.provider.does(Conduct::Answers(bench.well()));
    for kind in bench.component.descriptor().reaches.clone() {
        let tried = format!("delivers to a {kind} what its provider takes");
        let delivered = bench.delivered(plugin, &bench.message_to(kind)).await;
        let took = delivered.exchanges.iter().any(is_taken);
        match (&delivered.said, delivered.exchanges.last()) {
            (Said::Stopped(_), _) => {
                bench.note(&tried, Did::Took, &delivered, report);
                return not_tried(report);
            }
            (said, None) => {
                report.no(&tried, shown(said), NO_REQUEST);
                return not_tried(report);
            }
            (said, Some(last)) if !took => {
                let asked = format!("{} {}", last.request.method, path_of(&last.request.url));
                report.no(&tried, shown(said), format!("the script has no answer for `{asked}`; write one"));
            }
            _ => bench.note(&tried, Did::Took, &delivered, report),
        }
        secrets(bench, &delivered, report);
    }
    let whole = bench.message();
    let others = [
        ("bears a text of many lines, scripts and marks", Outgoing { text: DEMANDING.to_owned(), ..whole.clone() }),
        ("bears a message without a code", Outgoing { code: None, text: "Your parcel is here.".to_owned(), ..whole }),
    ];
    for (tried, message) in others {
        match bench.delivered(plugin, &message).await.said {
            said @ Said::Stopped(_) => report.no(tried, shown(&said), "such messages come; say at least `rejected`"),
            said => report.ok(tried, shown(&said)),
        }
    }
    true
}

fn not_tried(report: &mut Report) -> bool {
    report.no("bears a provider's bad days", "nothing: it was not tried", "first it has to deliver on a good one");
    false
}

pub(super) fn is_taken(exchange: &Exchange) -> bool {
    exchange.came.as_ref().is_ok_and(|answer| answer.status != 404)
}

pub(super) fn path_of(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned())
}

/// All of a request that a secret could stand in, Basic credentials decoded.
fn all_of(exchange: &Exchange) -> String {
    let request = &exchange.request;
    let mut all = format!("{}\n", request.url);
    for (name, value) in &request.headers {
        all.push_str(&String::from_utf8_lossy(value.as_bytes()));
        all.push('\n');
        let credentials =
            value.to_str().ok().filter(|_| name == AUTHORIZATION).and_then(|text| text.strip_prefix("Basic "));
        if let Some(decoded) = credentials.and_then(|text| STANDARD.decode(text).ok()) {
            all.push_str(&String::from_utf8_lossy(&decoded));
            all.push('\n');
        }
    }
    all.push_str(&String::from_utf8_lossy(&request.body));
    all
}

/// Its secrets are where it said, and nowhere as marks.
fn secrets(bench: &Bench, delivered: &Delivered, report: &mut Report) {
    const TRIED: &str = "puts its secrets where it said";
    let descriptor = bench.component.descriptor();
    if descriptor.secrets.is_empty() || delivered.exchanges.is_empty() {
        return;
    }
    let requests: Vec<_> = delivered.exchanges.iter().map(all_of).collect();
    if requests.iter().any(|request| request.contains(MARK)) {
        return report.no(
            TRIED,
            "a mark went out as it is",
            "the place where it stands is none of those that `describe` names for that secret, so the provider got the \
             mark and not the secret",
        );
    }
    let found = |name: &String| {
        let value = &bench.secrets[name];
        requests.iter().any(|request| request.contains(value.as_str()))
    };
    let unused = descriptor.secrets.iter().find(|secret| !secret.optional && !found(&secret.name));
    if let Some(secret) = unused.filter(|_| !bench.component.hears()) {
        let why = "it is asked of every operator, and no request holds it; put it in, or declare it `optional`";
        return report.no(TRIED, format!("`{}` is nowhere", secret.name), why);
    }
    let used: Vec<_> = bench.secrets.keys().filter(|name| found(name)).map(|name| format!("`{name}`")).collect();
    report.ok(TRIED, if used.is_empty() { "none is sent".to_owned() } else { used.join(", ") });
}

/// What it makes of answers that mean trouble, and of none.
pub(super) async fn on_bad_days(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    for (tried, conduct, did) in days::bad() {
        bench.provider.does(conduct);
        let delivered = bench.delivered(plugin, &bench.message()).await;
        bench.note(&format!("the provider answers {tried}"), did, &delivered, report);
    }
    let delivered = bench.delivered_nowhere(plugin, &bench.message()).await;
    bench.note("the provider is not there", Did::Away, &delivered, report);
}

/// What it makes of answers that its author wrote down.
pub(super) async fn as_scripted(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    for case in bench.script.cases_of(Called::Deliver) {
        let answers = std::iter::once(case.answer()).chain(bench.well()).collect();
        bench.provider.does(Conduct::Answers(answers));
        let said = bench.delivered(plugin, &bench.message()).await.said;
        report.note(&case.name, shown(&said), as_expected(case, &said).err(), None);
    }
}

fn as_expected(case: &Case, said: &Said) -> Result<(), String> {
    let (found, after) = match said {
        Said::Acknowledged(acknowledged) if acknowledged.reached == DeliveryStatus::Delivered => {
            (Expected::Delivered, None)
        }
        Said::Acknowledged(_) => (Expected::Sent, None),
        Said::InvalidRecipient(_) => (Expected::InvalidRecipient, None),
        Said::Rejected(_) => (Expected::Rejected, None),
        Said::Misconfigured(_) => (Expected::Misconfigured, None),
        Said::Temporary { after, .. } => (Expected::Temporary, Some(after.as_secs())),
        Said::Unknown(_) => (Expected::Unknown, None),
        Said::Stopped(_) => return Err(format!("the script expects `{}`", case.expect)),
    };
    if found != case.expect {
        return Err(format!("the script expects `{}`", case.expect));
    }
    match case.pause_seconds {
        Some(seconds) if after != Some(seconds) => Err(format!("the script expects a pause of {seconds} s")),
        _ => Ok(()),
    }
}
