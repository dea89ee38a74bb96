//! A provider on loopback that answers as it is told.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::AbortHandle;

use crate::script::Answer;

/// More than a plugin may be given, in bytes.
const HUGE: usize = 2 << 20;

/// What it does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Conduct {
    /// Gives the first of these that is meant for the request; 404 where none is.
    Answers(Vec<Answer>),
    /// Answers with more than anybody wants to read.
    Huge,
    /// Hangs up without an answer.
    Breaks,
    /// Takes the request and says nothing.
    Silent,
}

/// A provider. It ends when this does.
pub(crate) struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    conduct: Arc<Mutex<Conduct>>,
    /// A port that nobody listens at, and that nobody else gets meanwhile.
    nobody: TcpSocket,
    serving: AbortHandle,
}

impl Provider {
    /// One that answers nothing yet but 404.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let nobody = TcpSocket::new_v4()?;
        nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let conduct = Arc::new(Mutex::new(Conduct::Answers(Vec::new())));
        let serving = tokio::spawn(serve(listener, Arc::clone(&conduct))).abort_handle();
        Ok(Self { address, conduct, nobody, serving })
    }

    /// From now on it does this.
    pub fn does(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap_or_else(PoisonError::into_inner) = conduct;
    }

    /// Where nobody is.
    pub fn nowhere(&self) -> io::Result<SocketAddr> {
        self.nobody.local_addr()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, conduct: Arc<Mutex<Conduct>>) {
    // A connection that fails to be accepted is one of the plugin's that failed.
    while let Ok((stream, _)) = listener.accept().await {
        let conduct = Arc::clone(&conduct);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let conduct = conduct.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer(conduct, request)
            });
            // Who has enough hangs up.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// It hung up.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HungUp;

async fn answer(conduct: Conduct, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, HungUp> {
    let (head, body) = request.into_parts();
    // All of it, so that nobody is answered who still sends.
    body.collect().await.map_err(|_| HungUp)?;
    match conduct {
        Conduct::Answers(answers) => {
            let found = answers.iter().find(|answer| answer.is_for(head.method.as_str(), head.uri.path()));
            Ok(found.map_or_else(|| made(404, &[], ""), |answer| made(answer.status, &answer.headers(), &answer.body)))
        }
        Conduct::Huge => Ok(Response::new(Full::new(Bytes::from(vec![b'x'; HUGE])))),
        Conduct::Breaks => Err(HungUp),
        Conduct::Silent => std::future::pending().await,
    }
}

fn made(status: u16, headers: &[(String, String)], body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from(body.to_owned()));
    // What a script may hold was looked at when it was read.
    response.body(body).unwrap_or_else(|_: http::Error| Response::new(Full::default()))
}
