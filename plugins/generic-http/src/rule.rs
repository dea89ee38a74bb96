//! What an answer has to be for something to hold.

use serde::Deserialize;
use serde_json::Value;

/// A rule for answers: all that is written has to hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The statuses, one of which it has; empty means any that says "taken": 200 to 299.
    pub statuses: Vec<u16>,
    /// Where to look in the body, which is JSON then. Source: RFC 6901.
    pub pointer: Option<String>,
    /// The values, one of which is there; empty means that there is anything but null.
    pub equals: Vec<Value>,
}

impl Rule {
    /// Whether it holds of an answer with this status and this body, if that is JSON.
    pub(crate) fn holds(&self, status: u16, body: Option<&Value>) -> bool {
        let status_holds = match self.statuses.is_empty() {
            true => (200..300).contains(&status),
            false => self.statuses.contains(&status),
        };
        let Some(pointer) = &self.pointer else { return status_holds };
        let found = body.and_then(|body| body.pointer(pointer)).filter(|found| !found.is_null());
        status_holds && found.is_some_and(|found| self.equals.is_empty() || self.equals.contains(found))
    }

    /// What is wrong with it.
    pub(crate) fn problem(&self, name: &str) -> Option<String> {
        match &self.pointer {
            Some(pointer) => pointer_problem(name, pointer),
            None if !self.equals.is_empty() => Some(format!("`{name}` has `equals` and no `pointer` to look at")),
            None => None,
        }
    }
}

/// What is wrong with a pointer.
pub(crate) fn pointer_problem(name: &str, pointer: &str) -> Option<String> {
    let holds = pointer.is_empty() || pointer.starts_with('/');
    (!holds).then(|| format!("the pointer `{pointer}` of `{name}` does not begin with `/`, as in `/messages/0/id`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: Value) -> Rule {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn all_that_is_written_has_to_hold() {
        let body = json!({ "status": "ok", "error": null });
        for (written, status, holds) in [
            (json!({}), 204, true),
            (json!({}), 302, false),
            (json!({ "statuses": [302] }), 302, true),
            (json!({ "statuses": [302] }), 200, false),
            (json!({ "pointer": "/status" }), 200, true),
            (json!({ "pointer": "/status", "equals": ["ok", "queued"] }), 200, true),
            (json!({ "pointer": "/status", "equals": ["queued"] }), 200, false),
            (json!({ "pointer": "/status" }), 500, false),
            (json!({ "pointer": "/error" }), 200, false),
            (json!({ "pointer": "/nothing" }), 200, false),
        ] {
            assert_eq!(rule(written.clone()).holds(status, Some(&body)), holds, "{written} {status}");
        }
        assert!(!rule(json!({ "pointer": "/status" })).holds(200, None), "the body is no JSON");
    }

    #[test]
    fn a_rule_that_looks_nowhere_is_told() {
        assert!(rule(json!({ "equals": [1] })).problem("success").unwrap().contains("no `pointer`"));
        assert!(rule(json!({ "pointer": "status" })).problem("success").unwrap().contains("begin with `/`"));
        assert_eq!(rule(json!({ "pointer": "/a", "equals": [1] })).problem("success"), None);
    }
}
