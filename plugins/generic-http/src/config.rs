//! What the operator writes about a gateway.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use wotp_plugin_kit::http;

use crate::rule::{Rule, pointer_problem};
use crate::template::Template;

/// How the gateway is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Method {
    /// Everything is in the URL.
    #[serde(rename = "GET")]
    Get,
    /// As most gateways are.
    #[default]
    #[serde(rename = "POST")]
    Post,
    /// As some gateways are that take an id in the URL.
    #[serde(rename = "PUT")]
    Put,
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Post => Self::Post,
            Method::Put => Self::Put,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// JSON, whose texts are templates.
    Json(Value),
    /// A form: names, and templates for their values.
    Form(BTreeMap<String, String>),
    /// Anything else: what is filled in is not escaped.
    Text {
        /// What it is, as in `text/plain; charset=utf-8`.
        content_type: String,
        /// The template.
        text: String,
    },
}

/// A gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How it is asked.
    #[serde(default)]
    pub method: Method,
    /// A template, fixed as far as the host.
    pub url: String,
    /// Names, and templates for their values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<Body>,
    /// What counts as taken.
    #[serde(default)]
    pub success: Rule,
    /// What says that nobody has this address.
    #[serde(default)]
    pub invalid_recipient: Option<Rule>,
    /// Where the gateway's own name for the message is. Source: RFC 6901.
    #[serde(default)]
    pub message_id: Option<String>,
}

impl Config {
    /// What is wrong with it, in sentences for the operator.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.templates().into_iter().filter_map(|text| Template::parse(text).err()).collect();
        let (host, path, query) = parts(&self.url);
        problems.extend(port_problem(host));
        if !Template::parse(host).is_ok_and(|template| template.is_fixed()) {
            problems.push("the host of `url` is the same for all messages: nothing can be filled in there".to_owned());
        }
        if Template::parse(path).is_ok_and(|template| template.has_secret()) {
            problems.push("a secret in `url` can only stand behind the `?`".to_owned());
        }
        if path.contains('#') || query.contains('#') {
            problems.push("`url` ends before the `#`".to_owned());
        }
        if has_dots(path) {
            problems.push(
                "the path of `url` has a segment of dots, as `..` is one, which would be taken out of it".to_owned(),
            );
        }
        problems.extend(self.success.problem("success"));
        problems.extend(self.invalid_recipient.as_ref().and_then(|rule| rule.problem("invalid_recipient")));
        problems.extend(self.message_id.as_deref().and_then(|pointer| pointer_problem("message_id", pointer)));
        problems
    }

    /// All texts that are templates.
    fn templates(&self) -> Vec<&str> {
        let mut all = vec![self.url.as_str()];
        all.extend(self.headers.values().map(String::as_str));
        match &self.body {
            None => {}
            Some(Body::Json(value)) => texts(value, &mut all),
            Some(Body::Form(fields)) => all.extend(fields.values().map(String::as_str)),
            Some(Body::Text { text, .. }) => all.push(text),
        }
        all
    }
}

fn texts<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => all.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, all)),
        _ => {}
    }
}

/// What is wrong with the port of a URL, as far as its host.
fn port_problem(host: &str) -> Option<String> {
    let authority = host.split_once("://").map_or(host, |(_, authority)| authority);
    // An IPv6 address has colons of its own, in brackets.
    let (_, port) = authority.rsplit(']').next()?.rsplit_once(':')?;
    let holds = port.parse::<u16>().is_ok_and(|port| port > 0);
    (!holds).then(|| format!("the port `{port}` of `url` is none; write 1 to 65535"))
}

/// Whether a path has segments that are not steps down, which whoever reads the URL would take out: what a message fills
/// in would choose another page. Source: the URL standard, "single-dot" and "double-dot path segment".
pub(crate) fn has_dots(path: &str) -> bool {
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    path.split(['/', '\\']).any(dots)
}

/// A URL as far as its host, its path, and its query.
pub(crate) fn parts(url: &str) -> (&str, &str, &str) {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let host_end = url[after_scheme..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| after_scheme + at);
    let (host, rest) = url.split_at(host_end);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (host, path, query)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(config: Value) -> Vec<String> {
        serde_json::from_value::<Config>(config).unwrap().problems()
    }

    #[test]
    fn a_gateway_that_holds_has_no_problems() {
        let config = json!({
            "method": "PUT",
            "url": "https://gateway.example/{{to_digits}}/send?key={{secret:token}}",
            "headers": { "authorization": "Basic {{secret:password}}" },
            "body": { "json": { "messages": [{ "to": "{{to}}", "text": "{{text}}" }] } },
            "success": { "statuses": [201], "pointer": "/ok", "equals": [true] },
            "message_id": "/id",
        });
        assert_eq!(problems(config), Vec::<String>::new());
    }

    #[test]
    fn a_url_is_looked_at_before_anything_is_sent() {
        for (url, words) in [
            ("https://a.example:0/", "the port `0`"),
            ("https://a.example:65536/", "the port `65536`"),
            ("https://[2001:db8::1]:x/", "the port `x`"),
            ("https://a.example/a#{{to}}", "before the `#`"),
            ("https://a.example/a/../b", "segment of dots"),
            ("https://a.example/a/%2E./b", "segment of dots"),
            ("https://a.example/a\\..", "segment of dots"),
        ] {
            let said = problems(json!({ "url": url }));
            assert!(said.len() == 1 && said[0].contains(words), "{url}: {said:?}");
        }
        for url in ["https://[2001:db8::1]/", "https://a.example:8443/..a/b..?c=../d", "https://a.example"] {
            assert_eq!(problems(json!({ "url": url })), Vec::<String>::new(), "{url}");
        }
    }

    #[test]
    fn what_does_not_hold_is_said_all_at_once() {
        let config = json!({
            "url": "https://{{to_digits}}.example/{{secret:token}}?a#b",
            "headers": { "x": "{{nobody}}" },
            "body": { "form": { "a": "{{" } },
            "message_id": "id",
        });
        let said = problems(config);
        for words in ["{{nobody}}", "not closed", "same for all", "behind the `?`", "before the `#`", "`message_id`"] {
            assert!(said.iter().any(|one| one.contains(words)), "{words}: {said:?}");
        }
    }
}
