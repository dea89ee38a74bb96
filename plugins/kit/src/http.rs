//! Requests, which the host makes: over TLS, to hosts that the plugin names and the operator approved.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::wotp::channel::http::fetch;
pub use crate::bindings::wotp::channel::http::{Error, Header, Method, Request, Response};
use crate::{DeliveryError, Kept, Pause, Trouble, Unchecked};

/// How long to wait before the next try when nobody was reached, in seconds.
const AWAY_SECONDS: u32 = 5;
/// How long to wait before the provider is asked again how a message fares, when it did not answer, in seconds.
const ASK_AGAIN_SECONDS: u32 = 30;

const CONTENT_TYPE: &str = "content-type";

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Call(Request);

impl Call {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self(Request { method, url: url.into(), headers: Vec::new(), body: Vec::new(), timeout_milliseconds: 0 })
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// With a body, of this kind where no header says another one yet.
    #[must_use]
    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        let said = self.0.headers.iter().any(|header| header.name.eq_ignore_ascii_case(CONTENT_TYPE));
        if said { self } else { self.header(CONTENT_TYPE, content_type) }
    }

    /// The request as it would be sent.
    pub fn request(&self) -> &Request {
        &self.0
    }

    /// With JSON for a body.
    ///
    /// # Panics
    /// When the value is one that JSON does not know, as a map whose keys are no texts.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> Self {
        self.body("application/json", serde_json::to_vec(value).expect("the value can be written as JSON"))
    }

    /// Waits for the answer no longer than this, in milliseconds.
    #[must_use]
    pub fn within(mut self, milliseconds: u32) -> Self {
        self.0.timeout_milliseconds = milliseconds;
        self
    }

    /// Makes the request and waits for the whole answer.
    ///
    /// # Errors
    /// [`Error`], which `?` turns into a [`DeliveryError`].
    pub fn send(self) -> Result<Response, Error> {
        fetch(&self.0)
    }
}

/// What an answer holds, besides what it is made of.
pub trait Answer {
    /// The first header of this name, in small letters.
    fn header(&self, name: &str) -> Option<&str>;

    /// The body, read as JSON; none where it is something else.
    fn json<T: DeserializeOwned>(&self) -> Option<T>;

    /// How long the server asks to wait, in seconds: 1 to 3600, where it says so in a number.
    fn retry_after_seconds(&self) -> Option<u32> {
        Some(self.header("retry-after")?.trim().parse::<u32>().ok()?.clamp(1, 3600))
    }
}

impl Answer for Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
    }

    fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Error {
    /// What happened, for the operator.
    pub fn words(self) -> String {
        match self {
            Self::Denied(why) | Self::Unreachable(why) => why,
            Self::Timeout => "the provider did not answer in time".to_owned(),
            Self::TooLarge => "the provider's answer is too large".to_owned(),
            Self::Broken => "the connection to the provider broke".to_owned(),
        }
    }
}

impl From<Error> for Trouble {
    /// What it means for a question that its request had no answer: asking again does no harm.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(why) => Self::Misconfigured(why),
            other => Self::Temporary(Pause { detail: other.words(), seconds: ASK_AGAIN_SECONDS }),
        }
    }
}

impl From<Error> for Kept {
    /// What it means for a message that is to be taken back that its request had no answer: asking again does no harm.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(why) => Self::Misconfigured(why),
            other => Self::Temporary(Pause { detail: other.words(), seconds: ASK_AGAIN_SECONDS }),
        }
    }
}

impl From<Error> for Unchecked {
    /// What it means for a look at the account that its request had no answer.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(why) => Self::Misconfigured(why),
            other => Self::Temporary(other.words()),
        }
    }
}

impl From<Error> for DeliveryError {
    /// What it means for a message that its request had no answer. One that may have been sent is of unknown outcome,
    /// so that nobody gets two codes.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(why) => Self::Misconfigured(why),
            Error::Unreachable(why) => Self::Temporary(Pause { detail: why, seconds: AWAY_SECONDS }),
            other => Self::Unknown(other.words()),
        }
    }
}
