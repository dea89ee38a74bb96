//! Requests as a client writes them, and replies as it sees them.

use std::future::{Future, IntoFuture};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method};
use futures_util::future::join_all;
use futures_util::poll;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::people::TestPerson;

/// One request. Await it to send it.
#[derive(Clone)]
pub struct Request {
    router: Router,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    ip: IpAddr,
}

impl Request {
    pub fn new(router: Router, method: Method, path: impl Into<String>) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
        Self { router, method, path: path.into(), headers: Vec::new(), body: Vec::new(), ip }
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// As somebody who is signed in, for the tenant that they are seen in.
    pub fn by(self, person: &TestPerson) -> Self {
        let request = self.key(&person.access_token);
        match &person.tenant {
            Some(tenant) => request.header("wotp-tenant", &tenant.to_string()),
            None => request,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string())
    }

    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn at_ip(mut self, ip: &str) -> Self {
        self.ip = ip.parse().expect("a test names an IP address");
        self
    }

    async fn send(self) -> Reply {
        let mut request = http::Request::builder().method(self.method.clone()).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(self.body)).expect("a test writes a request that can be sent");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.ip, 40_000)));
        let response = self.router.oneshot(request).await.expect("a router always replies");
        let (parts, body) = response.into_parts();
        // A stream has no end: what comes in it is for a real connection.
        let streamed = parts.headers.get("content-type").is_some_and(|value| value == "text/event-stream");
        let body = match streamed {
            true => Bytes::new(),
            false => body.collect().await.expect("the reply arrives whole").to_bytes(),
        };
        // What is compressed is no text yet.
        let text = match parts.headers.contains_key("content-encoding") {
            true => String::new(),
            false => String::from_utf8(body.to_vec()).expect("replies are UTF-8"),
        };
        let asked = format!("{} {}", self.method, self.path);
        Reply { asked, status: parts.status.as_u16(), headers: parts.headers, text, body }
    }
}

impl IntoFuture for Request {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Sends all of them at the same time; the replies are in the order of the requests.
pub async fn race(requests: impl IntoIterator<Item = Request>) -> Vec<Reply> {
    let racing: Vec<_> = requests.into_iter().map(|request| tokio::spawn(request.into_future())).collect();
    let replies = join_all(racing).await.into_iter();
    replies.map(|reply| reply.expect("a request does not panic")).collect()
}

/// What comes of `work`, with `meanwhile` done at each moment at which it waits for something.
pub async fn interrupted<T>(work: impl Future<Output = T>, mut meanwhile: impl AsyncFnMut()) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = poll!(work.as_mut()) {
            return done;
        }
        meanwhile().await;
        tokio::task::yield_now().await;
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// As it came.
    pub body: Bytes,
}

impl Reply {
    /// The body, when the status is this one.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} answered {}", self.asked, self.text);
        self.json()
    }

    /// That it is done, and there is nothing more to say.
    #[track_caller]
    pub fn done(&self) {
        assert_eq!((self.status, self.text.as_str()), (204, ""), "{} answered {}", self.asked, self.text);
    }

    /// The problem, when it is this one.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{} answered {}", self.asked, self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"], self.header("x-request-id"), "a problem names its request");
        body
    }

    /// The fields that a refusal names.
    #[track_caller]
    pub fn wrong_fields(&self) -> Vec<String> {
        let body = self.problem(422, "invalid_request");
        let errors = body["errors"].as_array().expect("a refusal names fields");
        errors.iter().map(|error| error["field"].as_str().expect("a field has a name").to_owned()).collect()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} answered no JSON: {}", self.asked, self.text))
    }

    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("headers are ASCII")).unwrap_or_default()
    }

    pub fn retry_after(&self) -> u64 {
        self.header("retry-after").parse().expect("`Retry-After` is a number of seconds")
    }
}
