//! Which headers pass between plugins and servers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::since_v0_1_0::wotp::channel::http::Header;

/// Headers of a request.
const COUNT_MAX: usize = 32;
/// Bytes of all headers of a request, names and values.
const BYTES_MAX: usize = 16 * 1024;
/// Headers that belong to the connection, which is the host's: with them a plugin could make two requests of one, or
/// name another server to a proxy on the way.
const OF_THE_CONNECTION: &[HeaderName] = &[
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::FORWARDED,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
];
/// How HTTP Basic begins.
const BASIC: &str = "Basic ";
/// Names whose headers are the host's by how they begin.
const BEGINNINGS: &[&str] = &["proxy-", "x-forwarded-", "keep-alive"];

fn is_of_the_connection(name: &HeaderName) -> bool {
    OF_THE_CONNECTION.contains(name) || BEGINNINGS.iter().any(|beginning| name.as_str().starts_with(beginning))
}

/// The headers of a request. `fill` puts secrets into a value.
///
/// # Errors
/// In words, which header cannot be sent; never its value.
pub(crate) fn to_send(headers: &[Header], fill: impl Fn(&str) -> String) -> Result<HeaderMap, String> {
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if headers.len() > COUNT_MAX || bytes > BYTES_MAX {
        return Err(format!("there are more than {COUNT_MAX} headers, or more than {BYTES_MAX} bytes of them"));
    }
    let mut map = HeaderMap::new();
    map.insert(header::USER_AGENT, HeaderValue::from_static(concat!("WOTP/", env!("CARGO_PKG_VERSION"))));
    for header in headers {
        let no_header = || format!("`{}` is no header", header.name.escape_default());
        let name = HeaderName::try_from(&header.name).map_err(|_| no_header())?;
        if is_of_the_connection(&name) {
            return Err(format!("the header `{name}` is not for plugins to set"));
        }
        let mut filled = fill(&header.value);
        if name == header::AUTHORIZATION && filled != header.value {
            filled = basic(&filled).unwrap_or(filled);
        }
        let mut value = HeaderValue::try_from(&filled).map_err(|_| format!("the value of `{name}` is no text"))?;
        value.set_sensitive(filled != header.value);
        match name {
            // The one that is there already is for plugins that do not say who they are.
            header::USER_AGENT => _ = map.insert(name, value),
            _ => _ = map.append(name, value),
        }
    }
    Ok(map)
}

/// What a user and a secret are within HTTP Basic: the plugin cannot encode what it does not have. None where it is
/// encoded already, or something else. Source: RFC 7617; Base64 has no colon.
fn basic(value: &str) -> Option<String> {
    let credentials = value.strip_prefix(BASIC).filter(|credentials| credentials.contains(':'))?;
    Some(format!("{BASIC}{}", STANDARD.encode(credentials)))
}

/// What follows `Basic` in a value that is to be sent.
pub(crate) fn credentials(value: &str) -> Option<&str> {
    value.strip_prefix(BASIC)
}

/// The headers of an answer, as far as they are text: without those of the connection, and without cookies, which
/// would outlive the call.
pub(crate) fn received(headers: &HeaderMap) -> Vec<Header> {
    let passes = |name: &HeaderName| !is_of_the_connection(name) && *name != header::SET_COOKIE;
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some(Header { name: name.as_str().to_owned(), value: value.to_str().ok()?.to_owned() })
    };
    headers.iter().filter(|(name, _)| passes(name)).filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&str, &str)]) -> Result<HeaderMap, String> {
        let header = |(name, value): &(&str, &str)| Header { name: (*name).to_owned(), value: (*value).to_owned() };
        to_send(&headers.iter().map(header).collect::<Vec<_>>(), |value| value.replace("MARK", "s3cr3t"))
    }

    #[test]
    fn what_belongs_to_the_connection_is_refused() {
        for name in
            ["Host", "content-length", "Transfer-Encoding", "Connection", "X-Forwarded-For", "proxy-x", "expect"]
        {
            assert!(sent(&[(name, "x")]).unwrap_err().contains("not for plugins"), "{name}");
        }
        for (name, value) in [("a b", "x"), ("", "x"), ("x", "a\r\nhost: evil"), ("x", "\0")] {
            assert!(sent(&[(name, value)]).is_err(), "{name:?} {value:?}");
        }
        let many: Vec<_> = (0..=COUNT_MAX).map(|_| ("x", "y")).collect();
        assert!(sent(&many).is_err());
        assert!(sent(&[("x", &"y".repeat(BYTES_MAX))]).is_err());
    }

    #[test]
    fn a_secret_in_a_header_is_marked_as_one_and_shown_in_no_refusal() {
        let map = sent(&[("Authorization", "Bearer MARK"), ("x-a", "1"), ("user-agent", "mine")]).unwrap();
        assert_eq!(
            (&map["authorization"], &map["x-a"], &map["user-agent"]),
            (
                &HeaderValue::from_static("Bearer s3cr3t"),
                &HeaderValue::from_static("1"),
                &HeaderValue::from_static("mine")
            )
        );
        assert!(map["authorization"].is_sensitive() && !map["x-a"].is_sensitive());
        assert!(!sent(&[("x", "MARK\n")]).unwrap_err().contains("s3cr3t"));
    }

    /// Source: RFC 7617, section 2, whose user and password these are.
    #[test]
    fn a_user_and_a_secret_are_encoded_as_http_basic_asks() {
        let basic = |value: &str| {
            let header = Header { name: "Authorization".to_owned(), value: value.to_owned() };
            let fill = |value: &str| value.replace("MARK", "open sesame");
            to_send(&[header], fill).unwrap()["authorization"].to_str().unwrap().to_owned()
        };
        assert_eq!(basic("Basic Aladdin:MARK"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        // A secret that is encoded already, and what holds none.
        assert_eq!(basic("Basic MARK"), "Basic open sesame");
        assert_eq!(basic("Basic a:b"), "Basic a:b");
    }

    #[test]
    fn cookies_are_not_for_plugins() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("set-cookie", "a=b"), ("connection", "close"), ("x-id", "7")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let received = received(&headers);
        assert!(matches!(&received[..], [one] if one.name == "x-id" && one.value == "7"), "{received:?}");
    }
}
