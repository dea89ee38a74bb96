//! One HTTP request to a server of ours. No TLS, no redirects, no kept connections: for the demo and
//! the doctor, which talk to this machine.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest that a whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Largest reply that is read.
const REPLY_SIZE_MAX: u64 = 1 << 20;

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// As in 201.
    pub(super) status: u16,
    /// As in `201 Created`.
    pub(super) status_line: String,
    /// The body.
    pub(super) body: String,
}

/// Sends a request and reads the whole reply. A body is JSON.
pub(super) async fn call(
    to: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&str>,
) -> io::Result<Reply> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    if let Some(key) = key {
        request.push_str(&format!("authorization: Bearer {key}\r\n"));
    }
    if let Some(body) = body {
        request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body.unwrap_or_default());
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.take(REPLY_SIZE_MAX).read_to_end(&mut reply).await?;
        parse(&reply)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the reply is not HTTP/1.1 with a length"))
    };
    tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn parse(reply: &[u8]) -> Option<Reply> {
    let text = std::str::from_utf8(reply).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next()?.strip_prefix("HTTP/1.1 ")?.to_owned();
    let status = status_line.get(..3)?.parse().ok()?;
    let header = |name: &str| {
        let mut headers = lines.clone().filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    // A reply that was cut off is none.
    let length: usize = header("content-length")?.parse().ok()?;
    (body.len() == length).then(|| Reply { status, status_line, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_reply_is_read() {
        let reply = parse(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!(reply, Reply { status: 201, status_line: "201 Created".to_owned(), body: "{}".to_owned() });
    }

    #[test]
    fn a_reply_that_was_cut_off_is_none() {
        for cut in
            [&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}"[..], b"HTTP/1.1 200 OK\r\n", b"", b"SSH-2.0-x\r\n\r\n"]
        {
            assert_eq!(parse(cut), None, "{}", String::from_utf8_lossy(cut));
        }
    }
}
