//! The platform's HTTP interface as far as the driver speaks it.
//!
//! In the measured loops requests are written and replies searched as bytes: the driver takes the same
//! cores as the server. Everything else goes through serde.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{CallError, Client, find};

/// The code that a live life cycle brings itself, where the service lets it.
pub const OWN_CODE: &str = "493817";
/// A code that no verification of ours has.
pub const WRONG_CODE: &str = "000000";

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No reply.
    #[error("no reply")]
    Call(#[from] CallError),
    /// A status that the call should not bring.
    #[error("{call} was answered {status}: {body}")]
    Refused {
        /// What was called.
        call: &'static str,
        /// The status that came.
        status: u16,
        /// The beginning of the body, which is a Problem that says why.
        body: String,
    },
    /// The reply does not hold what the interface promises.
    #[error("{call} was answered without {missing}: {body}")]
    Incomplete {
        /// What was called.
        call: &'static str,
        /// What was looked for.
        missing: &'static str,
        /// The beginning of the body.
        body: String,
    },
    /// A code that was sent was not printed.
    #[error("no code for {0} was printed within half a minute")]
    NoCode(String),
    /// A verification was accepted and then not handed to its channel.
    #[error("{id} was accepted, and half a minute later its delivery is {status}")]
    NotHandedOver {
        /// The verification.
        id: String,
        /// The state of its first delivery.
        status: String,
    },
}

impl ApiError {
    /// A refusal with the beginning of its body.
    pub fn refused(call: &'static str, status: u16, body: &[u8]) -> Self {
        Self::Refused { call, status, body: beginning(body) }
    }

    /// A reply without what was looked for, with the beginning of its body.
    pub fn incomplete(call: &'static str, missing: &'static str, body: &[u8]) -> Self {
        Self::Incomplete { call, missing, body: beginning(body) }
    }
}

fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 300;
    String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned()
}

/// What `wotp tenant create --json` prints, as far as it is needed here.
#[derive(Debug, Clone, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub tenant: String,
    /// Id of its first service.
    pub service: String,
    /// Key whose calls reach a channel.
    pub live_key: String,
    /// Key whose calls reach none and tell their code. Empty where only live calls are made.
    #[serde(default)]
    pub test_key: String,
}

/// A verification as a reply shows it, as far as times are concerned.
#[derive(Debug, Deserialize)]
pub struct Verification {
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Its attempts, first one first.
    pub deliveries: Vec<Delivery>,
}

/// One attempt through one channel.
#[derive(Debug, Deserialize)]
pub struct Delivery {
    /// `queued`, `sending`, `sent`, `delivered`, `read` or `failed`.
    pub status: String,
    /// When the channel acknowledged it.
    #[serde(default)]
    pub sent_at: Option<Timestamp>,
}

impl Verification {
    /// From accepted to acknowledged by the first channel, in microseconds; `None` while it is not.
    pub fn handed_over_micros(&self) -> Option<u64> {
        let sent = self.deliveries.first()?.sent_at?;
        // A clock that stepped back in between would make it negative: call that none at all.
        u64::try_from(sent.as_microsecond() - self.created_at.as_microsecond()).ok()
    }
}

#[derive(Deserialize)]
struct Checked {
    verification: Verification,
}

/// The verification inside a check's reply, if the reply holds one.
pub fn checked_verification(body: &[u8]) -> Option<Verification> {
    serde_json::from_slice::<Checked>(body).ok().map(|checked| checked.verification)
}

/// Writes requests for one server and one key into a buffer that is used again and again.
#[derive(Debug, Clone)]
pub struct Requests {
    authority: String,
    key: Option<String>,
    client: Option<Ipv4Addr>,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

impl Requests {
    /// Requests to `address`, with `key` as the bearer where there is one.
    pub fn new(address: SocketAddr, key: Option<&str>) -> Self {
        Self {
            authority: address.to_string(),
            key: key.map(str::to_owned),
            client: None,
            buffer: Vec::with_capacity(512),
            body: Vec::with_capacity(128),
        }
    }

    /// Starts a verification of `to`, with a code of our own where one is given.
    pub fn start(&mut self, to: &str, code: Option<&str>) -> &[u8] {
        self.body.clear();
        self.body.extend_from_slice(b"{\"to\":\"");
        self.body.extend_from_slice(to.as_bytes());
        if let Some(code) = code {
            self.body.extend_from_slice(b"\",\"code\":\"");
            self.body.extend_from_slice(code.as_bytes());
        }
        self.body.extend_from_slice(b"\"}");
        self.render("POST", &["/v1/verifications"])
    }

    /// Checks `code` against the verification `id`.
    pub fn check(&mut self, id: &str, code: &str) -> &[u8] {
        self.body.clear();
        self.body.extend_from_slice(b"{\"code\":\"");
        self.body.extend_from_slice(code.as_bytes());
        self.body.extend_from_slice(b"\"}");
        self.render("POST", &["/v1/verifications/", id, "/check"])
    }

    /// From now on in the name of this client, as a proxy says it that the server trusts.
    pub fn on_behalf_of(&mut self, client: Ipv4Addr) {
        self.client = Some(client);
    }

    /// Hands something in at `path`.
    pub fn post(&mut self, path: &[&str], body: &Value) -> &[u8] {
        self.body.clear();
        write!(self.body, "{body}").expect("writing to memory does not fail");
        self.render("POST", path)
    }

    /// Reads what lies at `path`.
    pub fn get(&mut self, path: &[&str]) -> &[u8] {
        self.body.clear();
        self.render("GET", path)
    }

    /// Changes what lies at `path`.
    pub fn patch(&mut self, path: &[&str], body: &Value) -> &[u8] {
        self.body.clear();
        write!(self.body, "{body}").expect("writing to memory does not fail");
        self.render("PATCH", path)
    }

    fn render(&mut self, method: &str, path: &[&str]) -> &[u8] {
        let out = &mut self.buffer;
        out.clear();
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        for part in path {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(self.authority.as_bytes());
        if let Some(key) = &self.key {
            out.extend_from_slice(b"\r\nauthorization: Bearer ");
            out.extend_from_slice(key.as_bytes());
        }
        if let Some(client) = self.client {
            write!(out, "\r\nx-forwarded-for: {client}").expect("writing to memory does not fail");
        }
        if !self.body.is_empty() {
            write!(out, "\r\ncontent-type: application/json\r\ncontent-length: {}", self.body.len())
                .expect("writing to memory does not fail");
        }
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

/// The id of the verification that a start's reply shows.
///
/// # Errors
/// [`ApiError::Incomplete`] when it shows none.
pub fn verification_id(body: &[u8]) -> Result<String, ApiError> {
    // By its prefix: deliveries have ids as well, and may come first.
    text_after(body, b"\"id\":\"ver_")
        .map(|rest| format!("ver_{rest}"))
        .ok_or_else(|| ApiError::incomplete("start", "an id", body))
}

/// The code that a start's reply tells to a test key.
///
/// # Errors
/// [`ApiError::Incomplete`] when it tells none.
pub fn test_code(body: &[u8]) -> Result<String, ApiError> {
    text_after(body, b"\"test_code\":\"")
        .map(str::to_owned)
        .ok_or_else(|| ApiError::incomplete("start", "a test_code", body))
}

/// Whether a check's reply says that the code was right.
pub fn is_valid(body: &[u8]) -> bool {
    find(body, b"\"valid\":true").is_some()
}

/// Whether a reply shows a delivery that its channel has acknowledged.
pub fn is_sent(body: &[u8]) -> bool {
    find(body, b"\"sent_at\":\"").is_some()
}

fn text_after<'a>(body: &'a [u8], opening: &[u8]) -> Option<&'a str> {
    let rest = &body[find(body, opening)? + opening.len()..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    str::from_utf8(&rest[..end]).ok()
}

/// Lets callers of `tenant`'s service bring their own code; says whether the platform agreed.
///
/// # Errors
/// [`ApiError::Call`]; a refusal is no error, it is the answer.
pub async fn allow_own_codes(address: SocketAddr, tenant: &Tenant) -> Result<bool, ApiError> {
    let mut client = Client::connect(address).await.map_err(CallError::from)?;
    let mut requests = Requests::new(address, Some(&tenant.live_key));
    let wish = serde_json::json!({"code": {"custom_allowed": true}});
    let reply = client.call(requests.patch(&["/v1/services/", &tenant.service], &wish)).await?;
    Ok(reply.status == 200)
}

/// The verification `id`, with its deliveries.
///
/// # Errors
/// [`ApiError`].
pub async fn verification(client: &mut Client, requests: &mut Requests, id: &str) -> Result<Verification, ApiError> {
    let reply = client.call(requests.get(&["/v1/verifications/", id])).await?;
    if reply.status != 200 {
        return Err(ApiError::refused("get", reply.status, reply.body));
    }
    serde_json::from_slice(reply.body).map_err(|_| ApiError::incomplete("get", "created_at and deliveries", reply.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_one_request_with_a_body_of_the_length_it_says() {
        let mut requests = Requests::new(SocketAddr::from(([127, 0, 0, 1], 80)), Some("wk_live_x"));
        let text = String::from_utf8(requests.start("+12025550123", Some("123456")).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/verifications HTTP/1.1\r\nhost: 127.0.0.1:80\r\n"));
        assert!(head.contains("authorization: Bearer wk_live_x"));
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        assert_eq!(body, r#"{"to":"+12025550123","code":"123456"}"#);
    }

    #[test]
    fn a_client_is_named_as_a_proxy_would() {
        let mut requests = Requests::new(SocketAddr::from(([127, 0, 0, 1], 80)), None);
        requests.on_behalf_of(Ipv4Addr::new(198, 18, 0, 7));
        let text = String::from_utf8(requests.post(&["/v1/auth/login"], &serde_json::json!({})).to_vec()).unwrap();
        assert!(text.starts_with("POST /v1/auth/login HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("\r\nx-forwarded-for: 198.18.0.7\r\n") && text.ends_with("\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn the_id_is_the_verifications_even_behind_a_deliverys() {
        let body = br#"{"deliveries":[{"id":"del_1"}],"id":"ver_2","test_code":"77"}"#;
        assert_eq!(verification_id(body).unwrap(), "ver_2");
        assert_eq!(test_code(body).unwrap(), "77");
        let problem = br#"{"type":"about:blank","title":"no"}"#;
        assert!(matches!(verification_id(problem), Err(ApiError::Incomplete { .. })));
    }

    #[test]
    fn handing_over_is_measured_from_accepted_to_the_first_acknowledgement() {
        let body = br#"{"valid":true,"verification":{"created_at":"2026-01-01T00:00:00.000100Z",
            "deliveries":[{"id":"del_1","status":"sent","sent_at":"2026-01-01T00:00:00.002600Z"}]}}"#;
        assert_eq!(checked_verification(body).unwrap().handed_over_micros(), Some(2500));
        let queued = br#"{"verification":{"created_at":"2026-01-01T00:00:00Z",
            "deliveries":[{"status":"queued"}]}}"#;
        assert_eq!(checked_verification(queued).unwrap().handed_over_micros(), None);
    }
}
