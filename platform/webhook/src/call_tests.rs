use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;

/// Answers with what a test says, one answer a question; the last one again and again.
struct Told {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Told {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let read = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(read).collect(), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolve for Told {
    async fn resolve(&self, _: &str) -> Vec<IpAddr> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.get(at).or(self.answers.last()).cloned().unwrap_or_default()
    }
}

fn loopback() -> Policy {
    Policy { allowed_networks: vec!["127.0.0.0/8".parse().unwrap()], http_allowed: true }
}

fn call_of(url: String) -> WebhookCall {
    let headers = [
        ("webhook-id", "evt_1".to_owned()),
        ("webhook-timestamp", "7".to_owned()),
        ("webhook-signature", "v1,x".to_owned()),
    ];
    WebhookCall { url, headers, body: "{}".to_owned() }
}

/// A server that reads one request and says what it is told to; gives its port, and what it read.
async fn receiver(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let read = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the request comes whole");
            request.extend_from_slice(&bytes[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (port, read)
}

#[test]
fn a_url_is_public_https_on_a_port_of_the_web() {
    let sender = HttpSender::new(Policy::default(), Told::new(&[]));
    let right = [
        "https://example.com/webhooks?a=b",
        "https://example.com:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "HTTPS://EXAMPLE.COM",
    ];
    for url in right {
        assert!(sender.check(url).is_ok(), "{url}");
    }
    let wrong = [
        "",
        "example.com",
        "/webhooks",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:80/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://0/",
    ];
    for url in wrong {
        assert!(sender.check(url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_host_with_one_address_that_is_not_public_is_not_called() {
    let table: &[(&[&str], Unsent)] = &[
        (&["127.0.0.1"], Unsent::NotPublic),
        (&["8.8.8.8", "10.0.0.1"], Unsent::NotPublic),
        (&["::ffff:192.168.0.1"], Unsent::NotPublic),
        (&["64:ff9b::a00:1"], Unsent::NotPublic),
        (&["2002:7f00:1::1"], Unsent::NotPublic),
        (&["fe80::1"], Unsent::NotPublic),
        (&[], Unsent::Unresolved),
    ];
    for (addresses, error) in table {
        let sender = HttpSender::new(Policy::default(), Told::new(&[addresses]));
        let called = sender.call(call_of("https://example.com/".to_owned())).await;
        assert_eq!(called, Err(*error), "{addresses:?}");
    }
}

#[tokio::test]
async fn a_host_that_is_another_address_the_second_time_is_not_asked_a_second_time() {
    let (port, read) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    // The address that was looked at is the one that is called, whatever the name is by then.
    let rebinding = Told::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let sender = HttpSender::new(loopback(), Arc::clone(&rebinding) as Arc<dyn Resolve>);
    let answer = sender.call(call_of(format!("http://rebinding.example:{port}/hook?a=b"))).await.unwrap();
    assert_eq!((answer.status, rebinding.asked()), (204, 1));
    let request = read.await.unwrap();
    assert!(request.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: rebinding.example:{port}\r\n")), "{request}");
    // And the next call looks again.
    let again = sender.call(call_of(format!("http://rebinding.example:{port}/"))).await;
    assert_eq!((again, rebinding.asked()), (Err(Unsent::NotPublic), 2));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (inner, read) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\r\n");
    let (port, _) = receiver(answer.leak()).await;
    let sender = HttpSender::new(loopback(), Told::new(&[]));
    let answer = sender.call(call_of(format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.status, 307);
    assert!(!read.is_finished(), "nobody came to where it points");
    read.abort();
}

#[tokio::test]
async fn of_an_answer_the_beginning_is_read_and_retry_after() {
    let body = "x".repeat(100_000);
    let answer = format!("HTTP/1.1 503 No\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (port, _read) = receiver(answer.leak()).await;
    let sender = HttpSender::new(loopback(), Told::new(&[]));
    let answer = sender.call(call_of(format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!((answer.status, answer.retry_after.as_deref(), answer.body.len()), (503, Some("7"), BODY_READ));
}

#[tokio::test]
async fn who_is_not_there_and_who_does_not_speak_http_is_told_apart() {
    let sender = HttpSender::new(loopback(), Told::new(&[]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_eq!(sender.call(call_of(format!("http://127.0.0.1:{port}/"))).await, Err(Unsent::NotConnected));
    let (port, _read) = receiver("SSH-2.0-OpenSSH_9.9\r\n").await;
    assert_eq!(sender.call(call_of(format!("http://127.0.0.1:{port}/"))).await, Err(Unsent::Broken));
}

#[tokio::test]
async fn who_speaks_no_tls_gets_nothing() {
    // What answers is no TLS at all: a client that falls back would get its answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    });
    let sender = HttpSender::new(loopback(), Told::new(&[]));
    assert_eq!(sender.call(call_of(format!("https://127.0.0.1:{port}/"))).await, Err(Unsent::Tls));
    plain.await.unwrap();
}

#[tokio::test]
async fn an_ipv6_literal_of_an_allowed_network_is_checked_as_what_it_stands_for() {
    let sender = HttpSender::new(loopback(), Told::new(&[]));
    assert_eq!(sender.check("http://[::ffff:127.0.0.1]:9/"), Ok("http://[::ffff:7f00:1]:9/".to_owned()));
    assert!(sender.check("http://[::1]:9000/").is_err());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_given_up_after_15_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = HttpSender::new(loopback(), Told::new(&[]));
    let begun = Instant::now();
    let called = sender.call(call_of(format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!((called, begun.elapsed().as_secs()), (Err(Unsent::Timeout), 15));
}

#[tokio::test]
async fn a_host_some_of_whose_addresses_lead_nowhere_is_reached_by_another_one() {
    // Nobody accepts there, and there is no room to wait in: a connection is never made, nor refused.
    let deaf: Vec<_> =
        (2..5).map(|host| tokio::net::TcpSocket::new_v4().map(|socket| (host, socket)).unwrap()).collect();
    let (port, read) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let mut waiting = Vec::new();
    let mut held = Vec::new();
    for (host, socket) in deaf {
        let address = SocketAddr::from(([127, 0, 0, host], port));
        socket.bind(address).unwrap();
        held.push(socket.listen(0).unwrap());
        waiting.push(TcpStream::connect(address).await.unwrap());
    }
    let told = Told::new(&[&["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"]]);
    let sender = HttpSender::new(loopback(), told);
    let called = sender.call(call_of(format!("http://receiver.example:{port}/"))).await;
    assert_eq!(called.map(|answer| answer.status), Ok(204));
    read.await.unwrap();
}

/// A certificate for `receiver.example` and its key, both DER.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let run = std::process::Command::new("openssl").args(arguments.split(' ')).current_dir(folder.path()).output();
        let run = run.expect("the tests need `openssl`; `make test` installs it");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
         -addext subjectAltName=DNS:receiver.example -addext basicConstraints=critical,CA:FALSE \
         -outform DER -out certificate.der -keyout key.pem",
    );
    openssl("pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.der");
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    (read("certificate.der"), read("key.der"))
}

#[tokio::test]
async fn a_certificate_holds_for_its_name_and_for_whoever_trusts_it() {
    let (certificate, key) = certificate();
    let root = rustls::pki_types::CertificateDer::from(certificate);
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![root.clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust it hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    let here = || Told::new(&[&["127.0.0.1"]]);
    let policy = || Policy { http_allowed: false, ..loopback() };
    let call = |host: &str| call_of(format!("https://{host}:{port}/"));
    let trusting = HttpSender::new(policy(), here()).trusting(root);
    assert_eq!(trusting.call(call("receiver.example")).await.map(|answer| answer.status), Ok(204));
    assert_eq!(trusting.call(call("other.example")).await, Err(Unsent::Tls));
    let stranger = HttpSender::new(policy(), here());
    assert_eq!(stranger.call(call("receiver.example")).await, Err(Unsent::Tls));
    server.abort();
}
