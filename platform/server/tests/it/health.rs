//! For load balancers and monitors.

use std::sync::atomic::Ordering;

use insta::assert_json_snapshot;

use crate::app::TestApp;

#[tokio::test]
async fn a_server_that_can_serve_says_so() {
    let app = TestApp::start().await;
    assert_json_snapshot!("live", app.get("/health/live").await.expect(200));
    assert_json_snapshot!("ready", app.get("/health/ready").await.expect(200));
}

#[tokio::test]
async fn a_server_that_is_stopping_lives_and_is_not_ready() {
    let app = TestApp::start().await;
    app.ready.store(false, Ordering::Release);
    app.get("/health/live").await.expect(200);
    assert_json_snapshot!("draining", app.get("/health/ready").await.expect(503));
}

/// What holds only of a server with a queue of its own.
mod alone {
    use super::*;

    #[tokio::test]
    async fn a_server_whose_workers_are_gone_is_not_ready() {
        let app = TestApp::start().await;
        app.stop_workers().await;
        assert_json_snapshot!("no_workers", app.get("/health/ready").await.expect(503));
    }
}
