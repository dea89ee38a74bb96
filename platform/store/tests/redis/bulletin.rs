//! News for all nodes.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use wotp_core::domain::id::TenantId;
use wotp_core::ports::{Bulletin as _, Changed};
use wotp_core::testing::builders::{entropy, noon};
use wotp_store::bulletin::RedisBulletin;
use wotp_store::redis::Redis;
use wotp_test_servers::{Redis as Server, Wire};

use crate::{at, until};

#[tokio::test(flavor = "multi_thread")]
async fn news_are_heard_by_all_and_after_a_break_everything_is_forgotten() {
    let server = Server::start();
    let redis = || Redis::at(&server.url(), None).unwrap();
    let (stop, stopping) = watch::channel(false);
    let heard: [Arc<Mutex<Vec<Changed>>>; 2] = Default::default();
    for heard in &heard {
        let heard = Arc::clone(heard);
        RedisBulletin::new(redis()).listen(move |changed| heard.lock().unwrap().push(changed), stopping.clone());
    }
    until(async || heard.iter().all(|heard| !heard.lock().unwrap().is_empty())).await;
    let bulletin = RedisBulletin::new(redis());
    let news = Changed::Tenant(TenantId::new(noon(), entropy()));
    bulletin.tell(news).await.unwrap();
    until(async || heard.iter().all(|heard| heard.lock().unwrap().len() == 2)).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until(async || heard.iter().all(|heard| heard.lock().unwrap().len() == 3)).await;
    for heard in &heard {
        assert_eq!(*heard.lock().unwrap(), [Changed::Anything, news, Changed::Anything]);
    }
    stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_a_server_that_fell_silent_goes_to_the_one_in_its_place() {
    let (old, new) = (Server::start(), Server::start());
    let wire = Wire::to(&old.address());
    let (_stop, stopping) = watch::channel(false);
    let heard: Arc<Mutex<Vec<Changed>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let near = RedisBulletin::new(at(&format!("redis://{}", wire.address())));
    near.listen(move |changed| hears.lock().unwrap().push(changed), stopping);
    until(async || heard.lock().unwrap().len() == 1).await;
    old.freeze(true);
    wire.lead_to(&new.address());
    until(async || heard.lock().unwrap().len() == 2).await;
    let news = Changed::Tenant(TenantId::new(noon(), entropy()));
    RedisBulletin::new(at(&new.url())).tell(news).await.unwrap();
    until(async || heard.lock().unwrap().len() == 3).await;
    assert_eq!(*heard.lock().unwrap(), [Changed::Anything, Changed::Anything, news]);
    old.freeze(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_no_news_for_a_while_still_listens() {
    let server = Server::start();
    let (_stop, stopping) = watch::channel(false);
    let heard: Arc<Mutex<Vec<Changed>>> = Arc::default();
    let hears = Arc::clone(&heard);
    RedisBulletin::new(at(&server.url())).listen(move |changed| hears.lock().unwrap().push(changed), stopping);
    // Until it has asked twice whether the server is there.
    let asked = || server.command(&["INFO", "commandstats"]).contains("cmdstat_ping:calls=3");
    until(async || asked()).await;
    assert_eq!(*heard.lock().unwrap(), [Changed::Anything], "it listened all the time");
}
