//! Calls from one client, limited before anything else is looked at.

use crate::app::TestApp;
use crate::client::Request;

async fn three_at_once() -> TestApp {
    // One more only after a second: the test is over long before.
    TestApp::with()
        .http(|http| {
            http.per_ip = Some((1, 3));
            http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        })
        .start()
        .await
}

async fn statuses(requests: impl IntoIterator<Item = Request>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for request in requests {
        statuses.push(request.await.status);
    }
    statuses
}

#[tokio::test]
async fn the_fourth_call_of_one_client_is_refused_and_others_go_on() {
    let app = three_at_once().await;
    let ask = |ip: &str| app.get("/health/live").at_ip(ip);
    assert_eq!(statuses((0..3).map(|_| ask("192.0.2.1"))).await, [200; 3]);
    let refused = ask("192.0.2.1").await;
    let problem = refused.problem(429, "rate_limited");
    assert_eq!(problem["detail"], "at most 1 call a second, 3 at once, are taken from one address");
    assert!(refused.retry_after() >= 1);
    assert_eq!(ask("192.0.2.2").await.status, 200);
}

#[tokio::test]
async fn one_ipv6_customer_has_one_bucket_whatever_address_it_takes() {
    let app = three_at_once().await;
    let ask = |ip: &str| app.get("/health/live").at_ip(ip);
    let same = ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff::3", "2001:db8:1:2:8::4"];
    assert_eq!(statuses(same.map(ask)).await, [200, 200, 200, 429]);
    assert_eq!(ask("2001:db8:1:3::1").await.status, 200);
}

#[tokio::test]
async fn a_stranger_cannot_choose_its_bucket_with_a_header() {
    let app = three_at_once().await;
    let ask =
        |n: usize| app.get("/health/live").at_ip("192.0.2.1").header("x-forwarded-for", &format!("198.51.100.{n}"));
    assert_eq!(statuses((0..4).map(ask)).await, [200, 200, 200, 429]);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_bucket() {
    let app = three_at_once().await;
    let ask = |client: &str| app.get("/health/live").at_ip("10.0.0.1").header("x-forwarded-for", client);
    assert_eq!(statuses((0..4).map(|_| ask("198.51.100.1"))).await, [200, 200, 200, 429]);
    assert_eq!(ask("198.51.100.2").await.status, 200);
    // What a client writes itself stands left of what our proxy adds.
    let forged = |n: usize| ask(&format!("203.0.113.{n}, 198.51.100.3"));
    assert_eq!(statuses((0..4).map(forged)).await, [200, 200, 200, 429]);
}
