//! Schemas as tables.

use serde_json::Value;

use super::reference::Reference;
use super::render::{Name, Prose, Text, put};

/// Which side speaks: what a request may leave out, a reply says as null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Reply,
}

/// The names that a schema requires, in the order of the code.
pub(super) fn required(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The properties of an object: first the required ones in the order of the code, then the others.
pub(super) fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let required = required(schema);
    let place = |name: &str| required.iter().position(|other| *other == name).unwrap_or(usize::MAX);
    let all = schema["properties"].as_object().into_iter().flatten();
    let mut all: Vec<_> = all.map(|(name, schema)| (name.as_str(), schema)).collect();
    all.sort_by_key(|(name, _)| place(name));
    all
}

/// What a schema is when it is not null, and whether it may be.
fn without_null(schema: &Value) -> (&Value, bool) {
    let one_of = schema["oneOf"].as_array();
    let null = |schema: &&Value| schema["type"] == "null";
    match one_of.map(|schemas| (schemas.iter().find(|schema| !null(schema)), schemas.iter().any(|s| null(&s)))) {
        Some((Some(inner), nullable)) => (inner, nullable),
        _ => (schema, schema["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "null"))),
    }
}

fn type_name(schema: &Value) -> &str {
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    name.unwrap_or("any")
}

impl Reference<'_> {
    /// The type of a value, as HTML.
    pub(super) fn kind(&self, schema: &Value, side: Side) -> String {
        let (inner, nullable) = without_null(schema);
        let kind = self.kind_of(inner, side);
        if nullable && side == Side::Reply { format!("{kind} or null") } else { kind }
    }

    fn kind_of(&self, schema: &Value, side: Side) -> String {
        if let Some(name) = Self::name(schema) {
            let target = self.resolve(schema);
            return match type_name(target) {
                "object" if side == Side::Reply => format!("<a href=\"#object-{0}\">{0}</a>", Text(name)),
                other => other.to_owned(),
            };
        }
        match (type_name(schema), schema["format"].as_str()) {
            ("string", Some("date-time")) => "timestamp".to_owned(),
            ("array", _) => match self.kind(&schema["items"], side) {
                item if item.starts_with('<') => format!("array of {item}"),
                item => format!("array of {item}s"),
            },
            ("object", _) if schema["additionalProperties"].is_object() => {
                format!("map of {}s", self.kind(&schema["additionalProperties"], side))
            }
            (other, _) => other.to_owned(),
        }
    }

    /// A row for each field; those of objects in a request as `object.field`.
    pub(super) fn fields(&self, html: &mut String, schema: &Value, prefix: &str, side: Side) {
        let required = required(schema);
        for (name, field) in properties(schema) {
            let path = format!("{prefix}{name}");
            let mark = side == Side::Request && required.contains(&name);
            self.row(html, &path, field, mark, side);
            let (inner, _) = without_null(field);
            let target = self.resolve(inner);
            if side == Side::Request && target["properties"].is_object() {
                self.fields(html, target, &format!("{path}."), side);
            }
        }
    }

    /// A row: name and type, what it means, what it is bound to.
    pub(super) fn row(&self, html: &mut String, name: &str, schema: &Value, required: bool, side: Side) {
        put!(
            html,
            "<tr><th scope=\"row\"><code>{}</code> <span class=\"type\">{}</span>{}</th><td>",
            Name(name),
            self.kind(schema, side),
            if required { " <span class=\"must\">required</span>" } else { "" }
        );
        let (inner, _) = without_null(schema);
        let said = [schema, inner, self.resolve(inner)].into_iter().find_map(|schema| schema["description"].as_str());
        put!(html, "{}", Prose(said.unwrap_or_default()));
        let mut bounds = self.bounds(inner);
        if let Some(example) = schema.get("example").filter(|_| side == Side::Request) {
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            bounds.push(format!("Example: <code>{}</code>", Text(&text)));
        }
        for bound in bounds {
            put!(html, "<span class=\"bound\">{bound}</span>");
        }
        html.push_str("</td></tr>\n");
    }

    fn bounds(&self, schema: &Value) -> Vec<String> {
        let mut bounds = Vec::new();
        let mut range = |from: &str, to: &str, unit: &str| {
            // Every count is at least 0: not worth saying.
            let least = schema[from].as_u64().filter(|least| *least > 0);
            let range = match (least, schema[to].as_u64()) {
                (Some(least), Some(most)) if least == most => format!("{least}{unit}"),
                (Some(least), Some(most)) => format!("{least} to {most}{unit}"),
                (Some(least), None) => format!("at least {least}{unit}"),
                (None, Some(most)) => format!("at most {most}{unit}"),
                (None, None) => return,
            };
            bounds.push(range);
        };
        range("minimum", "maximum", "");
        range("minLength", "maxLength", " characters");
        range("minItems", "maxItems", " items");
        if let Some(default) = schema.get("default") {
            bounds.push(format!("Default: <code>{}</code>", Text(&default.to_string())));
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            bounds.push(format!("Matches <code>{}</code>", Text(pattern)));
        }
        let items = &schema["items"];
        let values = [self.resolve(schema), self.resolve(items)].into_iter().find_map(|s| s["enum"].as_array());
        match values {
            Some(_) if Self::name(schema) == Some("ProblemCode") => {
                bounds.push("See <a href=\"#errors\">Errors</a>".to_owned());
            }
            Some(values) => {
                let values = values.iter().filter_map(Value::as_str);
                let values: Vec<_> = values.map(|value| format!("<code>{}</code>", Name(value))).collect();
                bounds.push(format!("One of {}", values.join(", ")));
            }
            None => {}
        }
        bounds
    }
}
