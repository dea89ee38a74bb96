//! An issuer of OpenID Connect: `oidc_issuer.py` beside this file says what stands behind it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::process::{self, PATIENCE};

/// An issuer of its own for one test.
pub struct OidcIssuer {
    child: Child,
    port: u16,
    /// It ends when this is closed.
    _open: ChildStdin,
}

/// What a person comes back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameBack {
    /// To which page.
    pub page: String,
    /// The issuer's code.
    pub code: String,
    /// What was sent along.
    pub state: String,
}

impl OidcIssuer {
    /// What it knows the only client by.
    pub const CLIENT_ID: &str = "wotp-client";
    /// The client's secret, with characters in it that have to be encoded.
    pub const CLIENT_SECRET: &str = "hush & tell: 100%";

    /// Starts one.
    pub fn start() -> Self {
        let mut child = Command::new(python())
            // Authlib's own warnings of what will change in it.
            .args(["-W", "ignore"])
            // Not by its path: what was built in another clone would look for it there.
            .args(["-c", include_str!("oidc_issuer.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the Python for tests starts");
        let open = child.stdin.take().expect("it was asked for");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("it was asked for")).read_line(&mut said).expect("it says UTF-8");
        let said: Value = serde_json::from_str(&said).expect("the issuer says where it listens");
        let port = said["port"].as_u64().and_then(|port| port.try_into().ok()).expect("it is a port");
        Self { child, port, _open: open }
    }

    /// Its issuer identifier.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its time, in seconds since 1970.
    pub fn now_seconds(&self) -> i64 {
        self.call("GET", "/test/now", "", "").1.trim().parse().expect("it is a number")
    }

    /// What it says of a person from now on, beside the subject.
    pub fn says_of(&self, subject: &str, claims: &Value) {
        let (status, _) = self.call("PUT", &format!("/users/{subject}"), "application/json", &claims.to_string());
        assert!(status.contains(" 204 "), "{status}");
    }

    /// How the next ID token differs: `claims` and `header` are laid over it (null takes one away),
    /// `unknown_key` signs it with a key that it does not publish, `unsigned` not at all.
    pub fn next_token(&self, how: &Value) {
        let (status, _) = self.call("POST", "/test/next", "application/json", &how.to_string());
        assert!(status.contains(" 204 "), "{status}");
    }

    /// What the issuer's own button on a page gives for a person: an ID token without a nonce. `how` it differs is
    /// said as for [`next_token`](Self::next_token).
    pub fn button(&self, subject: &str, how: &Value) -> String {
        let mut body = how.clone();
        body["sub"] = subject.into();
        let (status, token) = self.call("POST", "/test/button", "application/json", &body.to_string());
        assert!(status.contains(" 200 "), "{status}");
        token
    }

    /// It signs with another key from now on, and publishes only that.
    pub fn rotate_key(&self) {
        let (status, _) = self.call("POST", "/test/rotate", "application/json", &json!({}).to_string());
        assert!(status.contains(" 204 "), "{status}");
    }

    /// A person signs in there, and is sent back.
    pub fn sign_in(&self, authorization_url: &str, subject: &str) -> CameBack {
        let path = authorization_url.strip_prefix(&self.url()).expect("the URL is this issuer's");
        let (head, _) = self.call("POST", path, "application/x-www-form-urlencoded", &format!("sub={subject}"));
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        let location = headers.find(|(name, _)| name.eq_ignore_ascii_case("location"));
        let location = location.map(|(_, value)| value.trim().to_owned());
        let location = location.unwrap_or_else(|| panic!("the issuer sends the person back: {head}"));
        let (page, query) = location.split_once('?').expect("it says with what");
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        let [code, state] =
            ["code", "state"].map(|name| value(name).unwrap_or_else(|| panic!("no {name}: {location}")));
        CameBack { page: page.to_owned(), code, state }
    }

    /// The head of the answer, and its body.
    fn call(&self, method: &str, path: &str, content_type: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the issuer listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("the issuer reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the issuer answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("it is HTTP");
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for OidcIssuer {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}

/// The Python that has oidc-provider-mock. `make test` makes it and names it; a bare `cargo test` finds it
/// where `make test` put it.
fn python() -> PathBuf {
    let python = std::env::var_os("TEST_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(home);
        cache.join("wotp/venv/bin/python")
    });
    assert!(
        python.exists(),
        "the tests need a Python with oidc-provider-mock, and there is none at {}: run `make test` once, which \
         makes it, or set TEST_PYTHON",
        python.display()
    );
    python
}
