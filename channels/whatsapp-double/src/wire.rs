//! Frames over a web socket.

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};
use wacore::framing::{FrameDecoder, encode_frame};

use crate::error::{Error, Result};
use crate::node::unsigned;

/// One client's connection, as frames.
pub(crate) struct Wire {
    socket: WebSocketStream<TcpStream>,
    frames: FrameDecoder,
    /// What came before the first frame is known to begin; `None` once the header is read.
    opening: Option<BytesMut>,
    header: [u8; 4],
}

impl Wire {
    /// Takes a connection over, at any path: clients ask for `/ws/chat`.
    pub(crate) async fn accept(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        let (_, socket) = ServerBuilder::new().accept(stream).await?;
        Ok(Self { socket, frames: FrameDecoder::new(), opening: Some(BytesMut::new()), header: [0; 4] })
    }

    /// The four bytes that the client opened with: `WA` and two versions. They are part of the handshake's hash.
    pub(crate) fn header(&self) -> [u8; 4] {
        self.header
    }

    /// The next frame; `None` when the client has gone. Nothing is lost when this is dropped while it waits.
    pub(crate) async fn frame(&mut self) -> Result<Option<BytesMut>> {
        loop {
            if let Some(frame) = self.frames.decode_frame() {
                return Ok(Some(frame));
            }
            let message = match self.socket.next().await {
                None => return Ok(None),
                Some(message) => message?,
            };
            if message.is_close() {
                return Ok(None);
            }
            if message.is_binary() {
                let bytes: Bytes = message.into_payload().into();
                self.feed(&bytes)?;
            }
        }
    }

    pub(crate) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let frame = encode_frame(payload, None).map_err(|_| Error::Malformed("a frame is too long"))?;
        Ok(self.socket.send(Message::binary(Bytes::from(frame))).await?)
    }

    pub(crate) async fn close(&mut self) -> Result<()> {
        Ok(self.socket.close().await?)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(opening) = &mut self.opening else {
            self.frames.feed(bytes);
            return Ok(());
        };
        opening.extend_from_slice(bytes);
        if let Some((header, length)) = read_opening(opening)? {
            self.header = header;
            let rest = opening.split_off(length);
            self.opening = None;
            self.frames.feed(&rest);
        }
        Ok(())
    }
}

/// Reads what a client opens with: where the server once told it how it is routed, `ED`, two bytes, a length of three
/// and that; then the header. The header and the length of all, or `None` while there is more to come.
fn read_opening(bytes: &[u8]) -> Result<Option<([u8; 4], usize)>> {
    let start = if bytes.starts_with(b"ED") {
        let Some(length) = bytes.get(4..7) else { return Ok(None) };
        7 + unsigned(length) as usize
    } else {
        0
    };
    let Some(header) = bytes.get(start..start + 4) else { return Ok(None) };
    if !header.starts_with(b"WA") {
        return Err(Error::Malformed("the header is not WhatsApp's"));
    }
    Ok(Some((header.try_into().expect("sliced to four bytes"), start + 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_is_read_with_and_without_routing_and_however_it_is_cut() {
        let plain = b"WA\x06\x03rest";
        assert_eq!(read_opening(plain).unwrap(), Some((*b"WA\x06\x03", 4)));
        let routed = b"ED\x00\x01\x00\x00\x02xyWA\x06\x03rest";
        assert_eq!(read_opening(routed).unwrap(), Some((*b"WA\x06\x03", 13)));
        for cut in 0..13 {
            assert_eq!(read_opening(&routed[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert!(read_opening(b"HTTP").is_err());
    }
}
