use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::call::NoAnswer;

/// How long one address has a start before the next one is tried beside it. Source: RFC 8305.
const HEAD_START: Duration = Duration::from_millis(250);

/// The first connection that is made: of a host whose addresses of one family lead nowhere, by the other one. The
/// caller bounds the time.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, NoAnswer> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(SocketAddr::is_ipv6);
    let mut by_turns: Vec<(usize, SocketAddr)> = six.into_iter().enumerate().collect();
    by_turns.extend(four.into_iter().enumerate());
    by_turns.sort_by_key(|(turn, _)| *turn);
    let mut rest = by_turns.into_iter();
    let mut tries = FuturesUnordered::new();
    loop {
        match rest.next() {
            Some((_, address)) => tries.push(TcpStream::connect(address)),
            None if tries.is_empty() => return Err(NoAnswer::NotConnected),
            None => {}
        }
        let next = match rest.len() {
            0 => tries.next().await,
            _ => timeout(HEAD_START, tries.next()).await.unwrap_or(None),
        };
        match next {
            Some(Ok(stream)) => {
                // A request is one write: there is nothing to gather.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Some(Err(error)) if is_our_fault(&error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no connection could be opened");
                return Err(NoAnswer::OutOfSockets);
            }
            // The next one is tried, if there is one.
            _ => {}
        }
    }
}

/// Whether there was no socket to be had: the process or the machine has as many files open as it may.
fn is_our_fault(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
