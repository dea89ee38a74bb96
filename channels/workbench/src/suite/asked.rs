//! What is tried of a plugin that asks its provider something: whether somebody can be reached, how a message fares, that it
//! be taken back, and how the account stands.

use jiff::SignedDuration;
use wotp_channel_wasm::{Plugin, Reachable, Said};
use wotp_core::domain::account::AccountStanding;
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::Receipt;
use wotp_core::ports::{Channel as _, Question, Standing, Unchecked};

use super::bench::Bench;
use super::days;
use super::deliveries::{is_taken, path_of};
use super::judging::{self, Did, Judged};
use super::{Report, judging::shown};
use crate::provider::Conduct;
use crate::script::{Called, Case, Expected};
use crate::wire::Exchange;

/// Whether somebody can be reached.
pub(super) async fn beforehand(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    const TRIED: &str = "asks whether somebody can be reached";
    let message = bench.message();
    let ask = async || plugin.reachable(&message).await.unwrap_or(Reachable::Unknown(String::new()));
    if !bench.component.probes() {
        return;
    }
    bench.provider.does(Conduct::Answers(bench.well()));
    let (said, exchanges) = bench.watched(ask()).await;
    if !on_a_good_day(TRIED, &of_reachable(&said), judging::reachable(Did::Took, &said), &exchanges, report) {
        return;
    }
    for (name, conduct, did) in days::bad() {
        bench.provider.does(conduct);
        let (said, _) = bench.watched(ask()).await;
        note(&format!("{TRIED}, and is answered {name}"), &of_reachable(&said), judging::reachable(did, &said), report);
    }
    let (said, _) = bench.watched_nowhere(ask()).await;
    let judged = judging::reachable(Did::Away, &said);
    note(&format!("{TRIED}, and nobody is there"), &of_reachable(&said), judged, report);
    for case in bench.script.cases_of(Called::Probe) {
        bench.answers(case);
        let (said, _) = bench.watched(ask()).await;
        let found = match &said {
            Reachable::Yes(_) => Some(Expected::Reachable),
            Reachable::No(_) => Some(Expected::InvalidRecipient),
            Reachable::Unknown(_) => Some(Expected::Unknown),
            Reachable::Stopped(_) => None,
        };
        report.note(&case.name, of_reachable(&said), unlike(case, found, None), None);
    }
}

/// How a message fares.
pub(super) async fn later(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    const TRIED: &str = "asks how a message fares";
    let Some(asks) = plugin.asks() else { return };
    let question = bench.question(plugin).await;
    bench.provider.does(Conduct::Answers(bench.well()));
    let (standing, exchanges) = bench.watched(asks.ask(&question)).await;
    if !on_a_good_day(TRIED, &of_standing(standing), judging::standing(Did::Took, standing), &exchanges, report) {
        return;
    }
    for (name, conduct, did) in days::bad() {
        bench.provider.does(conduct);
        let (standing, _) = bench.watched(asks.ask(&question)).await;
        let judged = judging::standing(did, standing);
        note(&format!("{TRIED}, and is answered {name}"), &of_standing(standing), judged, report);
    }
    let (standing, _) = bench.watched_nowhere(asks.ask(&question)).await;
    let judged = judging::standing(Did::Away, standing);
    note(&format!("{TRIED}, and nobody is there"), &of_standing(standing), judged, report);
    for case in bench.script.cases_of(Called::Status) {
        bench.answers(case);
        let (standing, _) = bench.watched(asks.ask(&question)).await;
        let (found, pause) = match (standing.receipt, standing.again) {
            (_, Again::BrokeDown) => (None, None),
            (Some(receipt), _) => (Some(expected(receipt)), None),
            (None, Again::After(pause)) if case.expect == Expected::Temporary => {
                (Some(Expected::Temporary), Some(pause))
            }
            (None, _) => (Some(Expected::NoNews), None),
        };
        report.note(&case.name, of_standing(standing), unlike(case, found, pause), None);
    }
}

/// That a message be taken back.
pub(super) async fn back(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    const TRIED: &str = "has a message taken back";
    let Some(revokes) = plugin.revokes() else { return };
    let question = bench.question(plugin).await;
    bench.provider.does(Conduct::Answers(bench.well()));
    let (again, exchanges) = bench.watched(revokes.revoke(&question)).await;
    if !on_a_good_day(TRIED, &of_again(again), judging::revoked(Did::Took, again), &exchanges, report) {
        return;
    }
    for (name, conduct, did) in days::bad() {
        bench.provider.does(conduct);
        let (again, _) = bench.watched(revokes.revoke(&question)).await;
        note(&format!("{TRIED}, and is answered {name}"), &of_again(again), judging::revoked(did, again), report);
    }
    let (again, _) = bench.watched_nowhere(revokes.revoke(&question)).await;
    note(&format!("{TRIED}, and nobody is there"), &of_again(again), judging::revoked(Did::Away, again), report);
    for case in bench.script.cases_of(Called::Revoke) {
        bench.answers(case);
        let (again, _) = bench.watched(revokes.revoke(&question)).await;
        let (found, pause) = match again {
            Again::Never => (Some(Expected::Over), None),
            Again::After(pause) => (Some(Expected::Temporary), Some(pause)),
            Again::AsPlanned => (Some(Expected::Temporary), None),
            Again::BrokeDown => (None, None),
        };
        report.note(&case.name, of_again(again), unlike(case, found, pause), None);
    }
}

/// How the account stands.
pub(super) async fn account(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    const TRIED: &str = "looks at the account";
    let Some(account) = plugin.account() else { return };
    bench.provider.does(Conduct::Answers(bench.well()));
    let (looked, exchanges) = bench.watched(account.check()).await;
    if !on_a_good_day(TRIED, &of_account(&looked), judging::looked(&looked), &exchanges, report) {
        return;
    }
    for (name, conduct, _) in days::bad() {
        bench.provider.does(conduct);
        let (looked, _) = bench.watched(account.check()).await;
        note(&format!("{TRIED}, and is answered {name}"), &of_account(&looked), judging::looked(&looked), report);
    }
    let (looked, _) = bench.watched_nowhere(account.check()).await;
    note(&format!("{TRIED}, and nobody is there"), &of_account(&looked), judging::looked(&looked), report);
}

impl Bench {
    /// About a message that the provider took, and named if it names any.
    async fn question(&self, plugin: &Plugin) -> Question {
        let message = self.message();
        self.provider.does(Conduct::Answers(self.well()));
        let provider_id = match self.delivered(plugin, &message).await.said {
            Said::Acknowledged(acknowledged) => acknowledged.provider_id,
            _ => None,
        };
        Question { reference: message.reference(), provider_id, sent_at: self.now(), asked: 1 }
    }

    /// From now on the provider answers as a case says, and else as on a good day.
    fn answers(&self, case: &Case) {
        self.provider.does(Conduct::Answers(std::iter::once(case.answer()).chain(self.well()).collect()));
    }
}

/// Notes what came of a question on a good day; says whether it is worth asking on bad ones.
fn on_a_good_day(tried: &str, said: &str, judged: Judged, exchanges: &[Exchange], report: &mut Report) -> bool {
    match exchanges.last() {
        None if judged.why.is_none() => report.note(
            tried,
            said,
            None,
            Some("it made no request, so nothing else of this was tried; with other settings it may".to_owned()),
        ),
        Some(last) if !is_taken(last) => {
            let asked = format!("{} {}", last.request.method, path_of(&last.request.url));
            report.no(tried, said, format!("the script has no answer for `{asked}`; write one"));
        }
        _ => note(tried, said, judged, report),
    }
    exchanges.last().is_some_and(is_taken)
}

fn note(tried: &str, said: &str, Judged { why, advice }: Judged, report: &mut Report) {
    report.note(tried, said, why.map(str::to_owned), advice.map(str::to_owned));
}

/// Why something is not what the script expects.
fn unlike(case: &Case, found: Option<Expected>, pause: Option<SignedDuration>) -> Option<String> {
    if found != Some(case.expect) {
        return Some(format!("the script expects `{}`", case.expect));
    }
    let seconds = case.pause_seconds?;
    let is_like = pause.is_some_and(|pause| pause.as_secs() == seconds);
    (!is_like).then(|| format!("the script expects a pause of {seconds} s"))
}

/// What a receipt is called in scripts.
pub(super) fn expected(receipt: Receipt) -> Expected {
    match receipt {
        Receipt::Sent => Expected::Sent,
        Receipt::Delivered => Expected::Delivered,
        Receipt::Read => Expected::Read,
        Receipt::Failed(_) => Expected::Failed,
    }
}

fn of_reachable(said: &Reachable) -> String {
    match said {
        Reachable::Yes(Some(_)) => "yes, with a token".to_owned(),
        Reachable::Yes(None) => "yes".to_owned(),
        Reachable::No(why) => format!("no: {why}"),
        Reachable::Unknown(why) => shown(&Said::Unknown(why.clone())),
        Reachable::Stopped(why) => shown(&Said::Stopped(why.clone())),
    }
}

fn of_standing(Standing { receipt, again }: Standing) -> String {
    let fate = receipt.map_or(Expected::NoNews, expected);
    format!("{fate}, {}", of_again(again))
}

fn of_account(looked: &Result<AccountStanding, Unchecked>) -> String {
    match looked {
        Ok(standing) => standing.holds().err().unwrap_or_else(|| "messages can get out".to_owned()),
        Err(unchecked) => unchecked.to_string(),
    }
}

fn of_again(again: Again) -> String {
    match again {
        Again::AsPlanned => "again when its time comes".to_owned(),
        Again::After(pause) => format!("again after {} s", pause.as_secs()),
        Again::Never => "never again".to_owned(),
        Again::BrokeDown => "nothing: it crashed, or was stopped".to_owned(),
    }
}
