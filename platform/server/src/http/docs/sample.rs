//! Examples, made from the examples of the schemas.

use serde_json::Value;

use super::reference::{Operation, Reference};
use super::render::{Text, put, verb};
use super::schema::{properties, required};

/// A moment for fields that have no example.
const MOMENT: &str = "2026-11-22T12:00:00Z";
/// Longest list or object that stays on one line, in characters.
const LINE_LENGTH: usize = 40;

/// A JSON value whose members keep the order in which the schema requires them.
pub(super) enum Sample {
    Scalar(Value),
    List(Vec<Sample>),
    Object(Vec<(String, Sample)>),
}

impl Sample {
    /// The example of a schema: its own, else made of those of its parts.
    pub(super) fn of(reference: &Reference<'_>, schema: &Value) -> Self {
        if let Some(example) = schema.get("example") {
            return example.into();
        }
        if schema.get("$ref").is_some() {
            return Self::of(reference, reference.resolve(schema));
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.into();
        }
        // Without an example, what may be null is null: nothing has happened yet.
        match schema["type"].as_str() {
            Some("object") => {
                let member = |(name, schema): (&str, &Value)| (name.to_owned(), Self::of(reference, schema));
                Self::Object(properties(schema).into_iter().map(member).collect())
            }
            Some("array") => match Self::of(reference, &schema["items"]) {
                item @ Self::Object(_) => Self::List(vec![item]),
                _ => Self::List(Vec::new()),
            },
            Some("string") if schema["format"] == "date-time" => Self::Scalar(MOMENT.into()),
            Some("string") => Self::Scalar("…".into()),
            Some("boolean") => Self::Scalar(false.into()),
            Some("integer" | "number") => Self::Scalar(schema.get("minimum").cloned().unwrap_or_else(|| 0.into())),
            _ => Self::Scalar(Value::Null),
        }
    }

    /// The smallest request that shows something: what is required, else what has an example.
    fn request(reference: &Reference<'_>, schema: &Value) -> Self {
        let schema = reference.resolve(schema);
        let required = required(schema);
        let shown = |(name, schema): &(&str, &Value)| {
            if required.is_empty() { schema.get("example").is_some() } else { required.contains(name) }
        };
        let member = |(name, schema): (&str, &Value)| (name.to_owned(), Self::of(reference, schema));
        Self::Object(properties(schema).into_iter().filter(shown).map(member).collect())
    }

    /// As indented HTML.
    pub(super) fn html(&self) -> String {
        let mut html = String::new();
        self.write(&mut html, 0);
        html
    }

    fn write(&self, html: &mut String, depth: usize) {
        let (brackets, members): (_, Vec<(Option<&str>, &Self)>) = match self {
            Self::Scalar(value) => return scalar(html, value),
            Self::List(items) => (('[', ']'), items.iter().map(|item| (None, item)).collect()),
            Self::Object(members) => {
                (('{', '}'), members.iter().map(|(name, value)| (Some(name.as_str()), value)).collect())
            }
        };
        let one_line = self.length().is_some_and(|length| length <= LINE_LENGTH);
        html.push(brackets.0);
        for (index, (name, value)) in members.iter().enumerate() {
            html.push_str(match (index, one_line) {
                (0, true) => "",
                (_, true) => ", ",
                (0, false) => "\n",
                (_, false) => ",\n",
            });
            if !one_line {
                html.push_str(&"  ".repeat(depth + 1));
            }
            if let Some(name) = name {
                put!(html, "<span class=\"k\">&quot;{}&quot;</span>: ", Text(name));
            }
            value.write(html, depth + 1);
        }
        if !one_line {
            html.push('\n');
            html.push_str(&"  ".repeat(depth));
        }
        html.push(brackets.1);
    }

    /// Characters on one line, where nothing in it is nested.
    fn length(&self) -> Option<usize> {
        let flat = |value: &Self| match value {
            Self::Scalar(value) => Some(value.to_string().chars().count() + 2),
            Self::List(items) => items.is_empty().then_some(2),
            Self::Object(members) => members.is_empty().then_some(2),
        };
        match self {
            Self::Scalar(_) => None,
            Self::List(items) => items.iter().map(flat).sum(),
            Self::Object(members) => members.iter().map(|(name, value)| Some(name.len() + 4 + flat(value)?)).sum(),
        }
    }
}

impl From<&Value> for Sample {
    fn from(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(members.iter().map(|(name, value)| (name.clone(), value.into())).collect())
            }
            scalar => Self::Scalar(scalar.clone()),
        }
    }
}

fn scalar(html: &mut String, value: &Value) {
    let class = if value.is_string() { "s" } else { "n" };
    put!(html, "<span class=\"{class}\">{}</span>", Text(&value.to_string()));
}

/// The command that makes this request.
pub(super) fn curl(reference: &Reference<'_>, operation: &Operation<'_>) -> String {
    let mut path = operation.path.to_owned();
    let mut query = Vec::new();
    for parameter in operation.parameters() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let example = parameter.get("example").or_else(|| parameter["schema"].get("example"));
        let example = example.and_then(Value::as_str).unwrap_or("…");
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), example),
            Some("query") if parameter["required"] == true => query.push(format!("{name}={example}")),
            _ => {}
        }
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let mut html = String::from("curl ");
    if operation.method != "get" {
        put!(&mut html, "-X {} ", verb(operation.method));
    }
    put!(&mut html, "<span class=\"s\">&quot;$WOTP_URL{}&quot;</span>", Text(&path));
    if !operation.public() {
        html.push_str(" \\\n  -H <span class=\"s\">&quot;Authorization: Bearer $WOTP_KEY&quot;</span>");
    }
    if let Some(body) = operation.body() {
        html.push_str(" \\\n  -H <span class=\"s\">&quot;Content-Type: application/json&quot;</span> \\\n  -d &#39;");
        // In a shell, the one character that ends single quotes.
        html.push_str(&Sample::request(reference, body).html().replace("&#39;", "&#39;\\&#39;&#39;"));
        html.push_str("&#39;");
    }
    html
}
