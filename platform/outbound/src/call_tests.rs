use std::net::IpAddr;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::policy::Plain;

const LONG: Duration = Duration::from_secs(30);

struct Nowhere;

#[async_trait]
impl Resolve for Nowhere {
    async fn resolve(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

fn caller() -> Caller {
    let allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    Caller::new(Policy { allowed_networks, plain: Plain::ToLoopback }, Arc::new(Nowhere))
}

fn get(url: String) -> Request {
    Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
}

/// A server that reads one request and says what it is told to; gives its URL, and what it read.
async fn server(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let read = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the request comes whole");
            request.extend_from_slice(&bytes[..read]);
        }
        // Who has read enough hangs up.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(request).unwrap()
    });
    (url, read)
}

fn answer(length: usize, sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nx-one: 1\r\ncontent-length: {length}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; sent]].concat()
}

#[tokio::test]
async fn a_whole_body_is_all_of_it_or_none() {
    let whole = Reading::Whole { bytes: 10 };
    let (url, read) = server(answer(10, 10)).await;
    let came = caller().call(get(url), whole, LONG).await.unwrap();
    assert_eq!((came.status, came.body.len(), came.headers["x-one"].to_str().unwrap()), (200, 10, "1"));
    assert!(read.await.unwrap().starts_with("GET / HTTP/1.1\r\nhost: 127.0.0.1:"));
    let (url, _read) = server(answer(11, 11)).await;
    assert_eq!(caller().call(get(url), whole, LONG).await.err(), Some(NoAnswer::TooLarge));
    let (url, _read) = server(answer(10, 9)).await;
    assert_eq!(caller().call(get(url), whole, LONG).await.err(), Some(NoAnswer::Broken));
}

#[tokio::test]
async fn a_beginning_is_what_came_of_it() {
    let (url, _read) = server(answer(10, 9)).await;
    let reading = Reading::Beginning { bytes: 4, patience: LONG };
    assert_eq!(caller().call(get(url), reading, LONG).await.unwrap().body, b"xxxx");
}

#[tokio::test]
async fn a_host_of_the_callers_own_is_not_theirs_to_name() {
    let (url, read) = server(answer(0, 0)).await;
    let mut request = get(url);
    request.headers.insert("x-two", HeaderValue::from_static("2"));
    request.headers.insert("host", HeaderValue::from_static("internal.example"));
    caller().call(request, Reading::Whole { bytes: 1 }, LONG).await.unwrap();
    let head = read.await.unwrap();
    assert_eq!((head.matches("host: ").count(), head.contains("x-two: 2")), (1, true), "{head}");
    assert!(!head.contains("internal.example"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let begun = Instant::now();
    let called = caller().call(get(url), Reading::Whole { bytes: 1 }, Duration::from_secs(7)).await;
    assert_eq!((called.err(), begun.elapsed().as_secs()), (Some(NoAnswer::Timeout), 7));
}
