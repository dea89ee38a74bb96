//! HTTP for plugins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::time::Instant;
use url::Url;
use wotp_outbound::{Answer, NoAnswer, Reading, Request};

use crate::descriptor::Place;
use crate::headers;
use crate::hosts::Host;
use crate::report;
use crate::sandbox::{Call, Errand, REQUESTS_MAX};
use crate::secrets::{Form, Secret};
use crate::since_v0_1_0::wotp::channel::http::{self as contract, Error, Method, Response};

/// Longest URL, in bytes.
const URL_MAX: usize = 8 * 1024;
/// Largest body of a request, in bytes.
const BODY_SENT_MAX: usize = 256 * 1024;
/// Largest body of an answer, in bytes.
const BODY_READ_MAX: usize = 1024 * 1024;
/// What is left of a call when its requests have to be over, for the plugin to say what that means.
const LAST_WORDS: Duration = Duration::from_millis(250);

impl contract::Host for Call {
    async fn fetch(&mut self, request: contract::Request) -> Result<Response, Error> {
        if matches!(self.errand, Errand::Look | Errand::Hear) {
            // Strangers can have it written as often as they like, by calling a plugin that does that.
            tracing::debug!(channel = self.grant.channel, "a plugin asked for a request where it may make none");
            return Err(Error::Denied("requests are not allowed here, only in what reaches a provider".to_owned()));
        }
        let left = self.requests_left.checked_sub(1);
        self.requests_left =
            left.ok_or_else(|| Error::Denied(format!("a call makes at most {REQUESTS_MAX} requests")))?;
        let time = self.time_for(request.timeout_milliseconds)?;
        let (host, request) = self.permitted(request).map_err(|why| {
            // Named for all that it is not: a plugin could make up as many names as it likes.
            report::requested(&self.grant.channel, "none", "denied");
            Error::Denied(why)
        })?;
        let caller = Arc::clone(&self.grant.world.caller);
        let came = caller.call(request, Reading::Whole { bytes: BODY_READ_MAX }, time).await;
        let outcome = self.sight.note(came.as_ref().map(|answer| answer.status).map_err(|reason| *reason));
        report::requested(&self.grant.channel, &host.to_string(), outcome);
        match came {
            Ok(answer) => Ok(self.answered(answer)),
            Err(reason) => Err(self.failed(reason)),
        }
    }
}

impl Call {
    /// How long a request may take.
    fn time_for(&self, milliseconds: u32) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now()).saturating_sub(LAST_WORDS);
        let asked = match milliseconds {
            0 => left,
            some => left.min(Duration::from_millis(some.into())),
        };
        if asked.is_zero() { Err(Error::Timeout) } else { Ok(asked) }
    }

    /// The request as it goes out, if it may, and to whom.
    fn permitted(&mut self, request: contract::Request) -> Result<(Host, Request), String> {
        if request.url.len() > URL_MAX {
            return Err(format!("the URL is longer than {URL_MAX} bytes"));
        }
        if request.body.len() > BODY_SENT_MAX {
            return Err(format!("the body is larger than {BODY_SENT_MAX} bytes"));
        }
        let grant = &*self.grant;
        let url = grant.world.caller.policy().read(&request.url).map_err(|fault| format!("the URL {fault}"))?;
        let host = Host::of(&url).ok_or("the URL names no host")?;
        if !grant.hosts.contains(&host) {
            return Err(format!("the host `{host}` is not one that the plugin names and the operator approves"));
        }
        let fill = |text: &str, place, form| self.marks.filled_text(text, &grant.secrets, place, form);
        let headers = headers::to_send(&request.headers, |value| fill(value, Place::Header, Form::Plain))?;
        // Encoded, a secret is none that would be found in an answer.
        let encoded = headers.get_all(AUTHORIZATION).iter().filter(|value| value.is_sensitive());
        let encoded = encoded.filter_map(|value| value.to_str().ok()).filter_map(headers::credentials);
        let encoded: Vec<_> = encoded.map(|text| Secret::from(text.to_owned())).collect();
        let form = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map_or(Form::Plain, Form::of_body);
        let body = self.marks.filled(request.body, &grant.secrets, Place::Body, form);
        let url = filled_query(url, |query| fill(query, Place::Query, Form::Percent));
        let method = method(request.method);
        self.encoded.extend(encoded);
        Ok((host, Request { method, url: url.into(), headers, body: Bytes::from(body) }))
    }

    fn answered(&self, answer: Answer) -> Response {
        let clean = |mut header: contract::Header| {
            let value = self.grant.without_secrets(header.value.into_bytes(), &self.encoded);
            header.value = String::from_utf8_lossy(&value).into_owned();
            header
        };
        let headers = headers::received(&answer.headers).into_iter().map(clean).collect();
        Response { status: answer.status, headers, body: self.grant.without_secrets(answer.body, &self.encoded) }
    }

    /// What a plugin is told; what it is not told is for the operator.
    fn failed(&self, reason: NoAnswer) -> Error {
        let unreachable = |reason: NoAnswer| Error::Unreachable(reason.to_string());
        match reason {
            NoAnswer::NotAllowed => Error::Denied(reason.to_string()),
            NoAnswer::NotPublic => {
                tracing::warn!(
                    channel = self.grant.channel,
                    "a plugin asked for a host with an address that is not public"
                );
                unreachable(NoAnswer::Unresolved)
            }
            NoAnswer::OutOfSockets | NoAnswer::Unresolved | NoAnswer::NotConnected | NoAnswer::Tls => {
                unreachable(reason)
            }
            NoAnswer::Timeout => Error::Timeout,
            NoAnswer::TooLarge => Error::TooLarge,
            NoAnswer::Broken => Error::Broken,
        }
    }
}

/// The URL with its query filled, and nothing else: a secret in a host or a path is nothing that anybody declares.
fn filled_query(mut url: Url, fill: impl FnOnce(&str) -> String) -> Url {
    if let Some(filled) = url.query().map(fill) {
        url.set_query(Some(&filled));
    }
    url
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}
