//! A server that speaks TLS, with a certificate that we made.

use std::path::Path;
use std::process::Command;

use tokio::sync::watch;
use wotp_core::testing::queue::jobs;
use wotp_store::bulletin::RedisBulletin;
use wotp_store::queue::ListenOptions;
use wotp_test_servers::{Redis as Server, free_port};

use crate::{Node, at, insist, queue_at, until};

/// Tells this test, run again in a process of its own, where the server is.
const URL: &str = "TEST_REDIS_TLS_URL";

/// Makes a certificate for `localhost` and its key.
fn certificate(certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=WOTP test", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn rings_and_news_go_over_tls_and_a_stranger_is_not_trusted() {
    if let Ok(url) = std::env::var(URL) {
        let queue = queue_at(&url);
        let mut node = Node::listening(&queue, ListenOptions::default());
        let job = jobs(1)[0];
        insist(&queue, job).await;
        node.hear_all(&[job]).await;
        let (heard, mut hears) = watch::channel(0);
        let (_stop, stopping) = watch::channel(false);
        RedisBulletin::new(at(&url)).listen(move |_| heard.send_modify(|heard| *heard += 1), stopping);
        hears.wait_for(|heard| *heard > 0).await.unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [file, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    certificate(&file, &key);
    let port = free_port();
    let server = Server::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        file.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    let stranger = at(&url);
    until(async || stranger.ping().await.unwrap_err().to_string().contains("UnknownIssuer")).await;
    // Whom to trust is said before a process starts.
    let name = "tls::rings_and_news_go_over_tls_and_a_stranger_is_not_trusted";
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("SSL_CERT_FILE", &file)
        .env(URL, &url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    assert!(server.command(&["INFO", "commandstats"]).contains("cmdstat_xadd"), "it was this server");
}
