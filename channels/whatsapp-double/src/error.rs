//! What can go wrong.

use std::fmt::Display;

/// What a call on the double can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A QR that expired, was scanned before, or is of another server.
    #[error("no device offers this QR: it has expired, was scanned before, or is of another server")]
    UnknownQr,
    /// What was scanned is no QR of a device.
    #[error("this is no QR for linking a device")]
    NotAQr,
    /// Nobody asked to be linked to this number by a code, or so long ago that it has expired.
    #[error("no device asked for a code for this number, or it has expired")]
    NoCodeAskedFor,
    /// What the device then sent does not open with the code.
    #[error("the code is wrong")]
    WrongCode,
    /// The device did not sign what the phone had signed, signed it wrongly, or went away.
    #[error("the device did not complete the pairing")]
    PairingRefused,
    /// No device of this number is linked.
    #[error("no device is linked to this number")]
    NoSuchDevice,
    /// No message of this id was received.
    #[error("no message has this id")]
    NoSuchMessage,
    /// A client that was shown the server's certificate said nothing more.
    #[error("the client ended the handshake once it had seen the certificate")]
    CertificateRefused,
    /// What came over the wire is not the protocol.
    #[error("not WhatsApp's protocol: {0}")]
    Malformed(&'static str),
    /// Keys or ciphertexts that do not fit.
    #[error("cryptography: {0}")]
    Crypto(String),
    /// The network.
    #[error("the network failed")]
    Network(#[from] std::io::Error),
    /// The connection was no web socket, or stopped being one.
    #[error("the web socket failed")]
    WebSocket(#[from] tokio_websockets::Error),
}

impl Error {
    /// What a library of the protocol said, which has a type of its own in each module.
    pub(crate) fn crypto(source: impl Display) -> Self {
        Self::Crypto(source.to_string())
    }
}

/// The result of a call on the double.
pub type Result<T, E = Error> = std::result::Result<T, E>;
