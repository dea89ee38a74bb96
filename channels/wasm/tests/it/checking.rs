//! How the account at the provider stands, with a plugin that breaks down and one that tells too much. What Meta says of
//! templates is tried where connections are made.

use std::task::{Context, Waker};

use serde_json::json;
use wotp_channel_wasm::{Plugin, Settings};
use wotp_core::ports::{Channel as _, Unchecked};

use crate::gateway::Gateway;
use crate::plugins::{channel, good, settings};

async fn fragile(url: &str, change: impl FnOnce(&mut Settings)) -> Plugin {
    let mut settings = settings(&["a.example"], json!({ "url": url }));
    change(&mut settings);
    channel("fragile_status", settings).await.unwrap()
}

#[tokio::test]
async fn one_that_breaks_down_leaves_what_was_known() {
    for (url, words) in [("crash", "the plugin crashed"), ("loop", "computed for longer than 1 s")] {
        let fragile = fragile(url, |_| ()).await;
        let Err(Unchecked::BrokeDown(why)) = fragile.account().expect("it looks").check().await else {
            panic!("{url}: nobody knows");
        };
        assert!(why.contains(words), "{why}");
        assert!(fragile.probe().await.unwrap_err().contains(words), "doctor says so");
    }
}

#[tokio::test]
async fn what_it_tells_is_bounded_and_without_what_steers() {
    let fragile = fragile("", |_| ()).await;
    let account = fragile.account().expect("it looks");
    let standing = account.check().await.unwrap();
    assert_eq!((standing.usable, standing.findings.len()), (false, 128));
    let finding = &standing.findings[0];
    let lengths = [&finding.name, &finding.state, &finding.about].map(|text| text.chars().count());
    assert_eq!(lengths, [128, 32, 400]);
    assert!(finding.about.starts_with("a b x"), "{}", finding.about);
    let told = fragile.probe().await.unwrap_err();
    assert!(told.contains("and 125 more"), "{told}");
}

#[tokio::test]
async fn accounts_are_looked_at_in_the_room_for_questions() {
    let fragile = fragile("loop", |settings| settings.concurrency = 4).await;
    let account = fragile.account().expect("it looks");
    // It stands still while nobody polls it, in its place.
    let mut held = account.check();
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(account.check().await, Err(Unchecked::Busy));
    drop(held);
    assert!(matches!(account.check().await, Err(Unchecked::BrokeDown(_))));
}

#[tokio::test]
async fn a_plugin_that_exports_no_account_looks_at_none() {
    let gateway = Gateway::start().await;
    assert!(good(&gateway).await.account().is_none());
}
