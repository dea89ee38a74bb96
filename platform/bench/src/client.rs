//! A very cheap HTTP/1.1 keep-alive client: one connection, one request at a time.
//!
//! The driver shares its machine's cores with the server it measures, so what the client costs is taken
//! from the figure. It understands what our servers send (a status line, `content-length` or chunked, no
//! body on 204 and 304) and nothing more; it is no client for the wide world.
//!
//! Measured against `hyper::client::conn::http1`, 64 connections on one thread, the bare server on the
//! same two cores: 9 µs of driver CPU for each call here (histogram and ids included), 11 µs there
//! (neither); 54,600 calls a second against 49,700. Near enough that hyper would do; this one is kept
//! because what it saves goes to the server under test, and because it needs no crate.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest reply we read, in bytes: far above any reply of the API, so only a broken server meets it.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// Why a call brought no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The peer hung up in the middle of a reply, or before it.
    #[error("the server closed the connection before its reply was complete")]
    Closed,
    /// What came back is not HTTP/1.1 as we know it.
    #[error("the reply is not understood: {0}")]
    Malformed(&'static str),
}

/// One reply, borrowed from the client's buffer until the next call.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body, chunks already joined.
    pub body: &'a [u8],
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
    input: Vec<u8>,
    joined: Vec<u8>,
    reopen: bool,
}

impl Client {
    /// An open connection, with Nagle's delay off.
    ///
    /// # Errors
    /// The socket's own error.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            address,
            stream: open(address).await?,
            input: Vec::with_capacity(4096),
            joined: Vec::new(),
            reopen: false,
        })
    }

    /// Sends one whole request (head and body) and reads its reply.
    ///
    /// A connection that the server has announced to close is opened anew first; nothing is ever sent
    /// twice, because a start that is repeated is two verifications.
    ///
    /// # Errors
    /// [`CallError`]. The connection is opened anew by the next call.
    pub async fn call(&mut self, request: &[u8]) -> Result<Reply<'_>, CallError> {
        if self.reopen {
            self.stream = open(self.address).await?;
        }
        // Until the reply is read whole, the connection cannot carry another request.
        self.reopen = true;
        self.stream.write_all(request).await?;
        self.input.clear();
        let head = self.read_head().await?;
        let end = match head.body {
            Framing::Length(length) => {
                let end = head.length + length;
                if end > MAX_REPLY_BYTES {
                    return Err(CallError::Malformed("the body is too long"));
                }
                while self.input.len() < end {
                    self.fill().await?;
                }
                Some(end)
            }
            Framing::Chunked => {
                self.join_chunks(head.length).await?;
                None
            }
        };
        self.reopen = head.close;
        Ok(Reply {
            status: head.status,
            body: match end {
                Some(end) => &self.input[head.length..end],
                None => &self.joined,
            },
        })
    }

    async fn read_head(&mut self) -> Result<Head, CallError> {
        let mut seen = 0;
        loop {
            self.fill().await?;
            // The blank line may straddle two reads: look three bytes back.
            let from = seen.max(3) - 3;
            if let Some(at) = find(&self.input[from..], b"\r\n\r\n") {
                let length = from + at + 4;
                return parse_head(&self.input[..length]);
            }
            seen = self.input.len();
        }
    }

    async fn fill(&mut self) -> Result<(), CallError> {
        if self.input.len() > MAX_REPLY_BYTES {
            return Err(CallError::Malformed("the reply is too long"));
        }
        self.input.reserve(2048);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(CallError::Closed),
            _ => Ok(()),
        }
    }

    async fn join_chunks(&mut self, mut at: usize) -> Result<(), CallError> {
        self.joined.clear();
        loop {
            let line = self.line_end(at).await?;
            let size = chunk_size(&self.input[at..line])?;
            at = line + 2;
            if size == 0 {
                break;
            }
            while self.input.len() < at + size + 2 {
                self.fill().await?;
            }
            self.joined.extend_from_slice(&self.input[at..at + size]);
            at += size + 2;
        }
        // Trailers end with an empty line.
        loop {
            let line = self.line_end(at).await?;
            if line == at {
                return Ok(());
            }
            at = line + 2;
        }
    }

    async fn line_end(&mut self, from: usize) -> Result<usize, CallError> {
        loop {
            if let Some(at) = self.input.get(from..).and_then(|rest| find(rest, b"\r\n")) {
                return Ok(from + at);
            }
            self.fill().await?;
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes up to and including the blank line.
    length: usize,
    body: Framing,
    close: bool,
}

fn parse_head(head: &[u8]) -> Result<Head, CallError> {
    let text = str::from_utf8(head).map_err(|_| CallError::Malformed("the head is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or(CallError::Malformed("no HTTP/1.1 status line"))?;
    let mut body = None;
    let mut close = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        // By length first: it spares the comparison for nearly every header.
        match name.len() {
            14 if name.eq_ignore_ascii_case("content-length") => {
                let length = value.parse().map_err(|_| CallError::Malformed("content-length is no number"))?;
                body.get_or_insert(Framing::Length(length));
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(CallError::Malformed("an unknown transfer-encoding"));
                }
                body = Some(Framing::Chunked);
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                close = value.eq_ignore_ascii_case("close");
            }
            _ => {}
        }
    }
    let body = match (status, body) {
        (204 | 304, _) => Framing::Length(0),
        (_, Some(framing)) => framing,
        (_, None) => return Err(CallError::Malformed("neither content-length nor chunked")),
    };
    Ok(Head { status, length: head.len(), body, close })
}

fn chunk_size(line: &[u8]) -> Result<usize, CallError> {
    let bad = CallError::Malformed("a chunk's size is no hexadecimal number");
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let Ok(digits) = str::from_utf8(digits) else {
        return Err(bad);
    };
    match usize::from_str_radix(digits.trim(), 16) {
        Ok(size) if size <= MAX_REPLY_BYTES => Ok(size),
        _ => Err(bad),
    }
}

/// Where `needle` first occurs.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if hay[from..].starts_with(rest) {
            return Some(from - 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers each request of one connection with the next of `replies`, cut into the given pieces.
    async fn peer(replies: Vec<Vec<&'static str>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = [0; 512];
            for pieces in replies {
                assert_ne!(stream.read(&mut buffer).await.unwrap(), 0);
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    // Lets the client read this piece by itself.
                    tokio::task::yield_now().await;
                }
            }
        });
        address
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

    #[tokio::test]
    async fn bodies_arrive_whole_however_they_are_framed_or_cut() {
        let address = peer(vec![
            vec!["HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"],
            vec!["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r", "\n", "he", "llo"],
            vec![
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nh",
                "el\r\n2;x=y\r",
                "\nlo\r\n0\r\n",
                "trailer: t\r\n\r\n",
            ],
            vec!["HTTP/1.1 204 No Content\r\n\r\n"],
        ])
        .await;
        let mut client = Client::connect(address).await.unwrap();
        for (status, body) in [(201, "hello"), (200, "hello"), (200, "hello"), (204, "")] {
            let reply = client.call(REQUEST).await.unwrap();
            assert_eq!(reply, Reply { status, body: body.as_bytes() });
        }
    }

    #[tokio::test]
    async fn a_reply_cut_short_is_an_error_and_not_a_short_body() {
        let address = peer(vec![vec!["HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhel"]]).await;
        let mut client = Client::connect(address).await.unwrap();
        assert!(matches!(client.call(REQUEST).await, Err(CallError::Closed)));
    }

    #[test]
    fn heads_that_cannot_be_framed_are_refused() {
        for head in [
            "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        ] {
            assert!(matches!(parse_head(head.as_bytes()), Err(CallError::Malformed(_))), "{head}");
        }
    }

    #[test]
    fn a_needle_is_found_after_a_false_start() {
        assert_eq!(find(b"\r\r\n\r\r\n\r\n", b"\r\n\r\n"), Some(4));
        assert_eq!(find(b"abc", b"cd"), None);
        assert_eq!(find(b"", b"a"), None);
    }
}
