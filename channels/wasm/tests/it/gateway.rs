//! An HTTP gateway on loopback, which keeps what it was sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::providers;

/// What came.
#[derive(Debug, Clone)]
pub struct Came {
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Came {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct State {
    came: Mutex<Vec<Came>>,
    connections: AtomicUsize,
    someone: Notify,
    away: AtomicBool,
}

/// What it does is in the path: `/send` takes a message, `/huge` never ends, `/slow` never begins, `/redirect` points
/// to `/send`, `/echo` says what it was told, `/mirror`
/// names a message by the credentials that it was told, `/full` asks to wait, and what else there is belongs to
/// some provider.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<State>,
}

impl Gateway {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(&state, address, request));
                    // Who has enough hangs up.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, state }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn came(&self) -> Vec<Came> {
        self.state.came.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Whether all that anybody gets is a proxy that says that nobody is there.
    pub fn is_away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }

    /// Waits until somebody is there.
    pub async fn someone(&self) {
        self.state.someone.notified().await;
    }
}

type Answered = Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible>;

/// A body without an end.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 64 * 1024])))))
    }
}

async fn answer(state: &State, address: SocketAddr, request: Request<Incoming>) -> Answered {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let came = Came {
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let number = {
        let mut all = state.came.lock().unwrap();
        all.push(came.clone());
        all.len()
    };
    state.someone.notify_one();
    let text = |status: u16, text: String| {
        Response::builder().status(status).body(Full::new(Bytes::from(text)).boxed_unsync())
    };
    let of = |(status, body)| text(status, body);
    let answer = match came.path.as_str() {
        _ if state.away.load(Ordering::SeqCst) => text(503, String::new()),
        "/send" => text(200, json!({ "status": "queued", "id": format!("gw-{number}") }).to_string()),
        "/huge" => Response::builder().body(Endless.boxed_unsync()),
        "/slow" => std::future::pending().await,
        "/redirect" => Response::builder()
            .status(307)
            .header("location", format!("http://{address}/send"))
            .body(Full::default().boxed_unsync()),
        "/echo" => {
            let token = came.headers.get("authorization").map(|value| value.to_str().unwrap_or_default());
            let body = String::from_utf8_lossy(&came.body);
            text(200, format!("{} {} {body}", came.query, token.unwrap_or_default()))
        }
        "/mirror" => {
            // The last of them, if there are several.
            let credentials = came.headers.get_all("authorization").iter().next_back();
            let credentials = credentials.map(|value| value.to_str().unwrap_or_default());
            let credentials = credentials.unwrap_or_default().trim_start_matches("Basic ");
            text(200, json!({ "status": "queued", "id": credentials }).to_string())
        }
        "/full" => text(429, String::new()),
        // As Telegram answers, with HTTP 200 whatever it is. Source: core.telegram.org/gateway/api.
        "/sendVerificationMessage" => {
            let phone = came.json()["phone_number"].as_str().unwrap_or_default().to_owned();
            let request = came.json()["request_id"].as_str().map_or_else(|| number.to_string(), str::to_owned);
            let taken = json!({ "request_id": request, "phone_number": phone, "request_cost": 0.01 });
            let said = match phone.ends_with("11") {
                true => json!({ "ok": false, "error": "PHONE_NUMBER_INVALID" }),
                false => json!({ "ok": true, "result": taken }),
            };
            text(200, said.to_string())
        }
        "/checkSendAbility" => {
            let phone = came.json()["phone_number"].as_str().unwrap_or_default().to_owned();
            let able = json!({ "request_id": format!("able-{number}"), "phone_number": phone, "request_cost": 0.01 });
            match &phone[phone.len() - 2..] {
                "11" => text(200, json!({ "ok": false, "error": "PHONE_NUMBER_NOT_FOUND" }).to_string()),
                "12" => std::future::pending().await,
                "13" => text(200, json!({ "ok": false, "error": "FLOOD_WAIT_9" }).to_string()),
                _ => text(200, json!({ "ok": true, "result": able }).to_string()),
            }
        }
        // By the name of the request.
        "/checkVerificationStatus" => {
            let request = came.json()["request_id"].as_str().unwrap_or_default().to_owned();
            let stands = json!({ "status": request, "updated_at": 1_795_348_800 });
            let said = match request.as_str() {
                "unheard-of" => json!({ "ok": false, "error": "REQUEST_ID_INVALID" }),
                "busy" => json!({ "ok": false, "error": "FLOOD_WAIT_40" }),
                "slow" => std::future::pending().await,
                _ => json!({ "ok": true, "result": { "request_id": request, "delivery_status": stands } }),
            };
            text(200, said.to_string())
        }
        "/revokeVerificationMessage" => {
            let said = match came.json()["request_id"].as_str().unwrap_or_default() {
                "unheard-of" => json!({ "ok": false, "error": "REQUEST_ID_INVALID" }),
                "busy" => json!({ "ok": false, "error": "FLOOD_WAIT_40" }),
                "ours-to-mend" => json!({ "ok": false, "error": "ACCESS_TOKEN_INVALID" }),
                "slow" => std::future::pending().await,
                _ => json!({ "ok": true, "result": true }),
            };
            text(200, said.to_string())
        }
        "/sms/json" => of(providers::vonage(&came)),
        "/v3/email/send" => of(providers::smtp2go(&came)),
        // As Twilio answers, by the end of the number. Source: twilio.com/docs/messaging/api/message-resource.
        path if path.ends_with("/Messages.json") => {
            let body = String::from_utf8_lossy(&came.body).into_owned();
            let to = |end: &str| body.contains(&format!("To=%2B120255501{end}&"));
            let error = |status: u16, code: u32| {
                let more = format!("https://www.twilio.com/docs/errors/{code}");
                text(status, json!({ "code": code, "message": body, "more_info": more, "status": status }).to_string())
            };
            if to("11") {
                error(400, 21211)
            } else if to("12") {
                error(401, 20003)
            } else if to("13") {
                let busy = json!({ "code": 20429, "message": "Too Many Requests", "status": 429 }).to_string();
                Response::builder().status(429).header("retry-after", "9").body(Full::from(busy).boxed_unsync())
            } else {
                let sid = format!("SM{number:032}");
                let made =
                    json!({ "sid": sid, "status": "queued", "error_code": null, "price": null, "num_segments": "1" });
                text(201, made.to_string())
            }
        }
        _ => text(404, String::new()),
    };
    Ok(answer.unwrap())
}
