//! Servers of a version that is not supported.

use wotp_store::mongo::ConnectError;
use wotp_test_servers::Greeter;

use super::*;

async fn refused(wire_version: i32) -> ConnectError {
    let server = Greeter::start(wire_version);
    let url = format!("mongodb://{}/wotp?replicaSet=rs0", server.address());
    let connected = MongoStore::connect(&url, ConnectOptions::default()).await;
    connected.err().expect("it is refused")
}

#[tokio::test]
async fn a_mongodb_older_than_6_0_is_refused_at_once_and_it_is_said_why() {
    // 5.0, and the newest of 5: 5.3.
    for wire_version in [13, 16] {
        let error = refused(wire_version).await;
        assert!(matches!(error, ConnectError::TooOld { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("is older than 6.0") && said.contains("upgrade it"), "{said}");
    }
}

#[tokio::test]
async fn so_is_one_that_is_too_old_for_the_driver() {
    // 3.6.
    let error = refused(6).await;
    assert!(matches!(error, ConnectError::TooOld { .. }), "{error}");
}
