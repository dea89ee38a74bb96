//! Operations and objects, from the OpenAPI document.

use std::collections::BTreeSet;

use serde_json::Value;

use super::render::{Name, Prose, Text, block, open_section, put, verb};
use super::sample::{Sample, curl};
use super::schema::Side;

/// In which order the methods of one path are shown.
const METHODS: [&str; 5] = ["post", "get", "put", "patch", "delete"];
/// Before the name in a reference to a schema.
const SCHEMAS: &str = "#/components/schemas/";

/// One operation.
pub(super) struct Operation<'a> {
    pub(super) id: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) title: &'a str,
    value: &'a Value,
}

impl<'a> Operation<'a> {
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'a Value> {
        self.value["parameters"].as_array().into_iter().flatten()
    }

    /// The schema of its body.
    pub(super) fn body(&self) -> Option<&'a Value> {
        self.value["requestBody"]["content"].get("application/json")?.get("schema")
    }

    /// Whether no key is asked for.
    pub(super) fn public(&self) -> bool {
        self.value["security"][0].as_object().is_some_and(serde_json::Map::is_empty)
    }

    fn scope(&self) -> Option<&'a str> {
        self.value["security"][0]["api_key"][0].as_str()
    }

    fn responses(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.value["responses"].as_object().into_iter().flatten().map(|(status, response)| (status.as_str(), response))
    }
}

/// The schema of a response's body.
fn content(response: &Value) -> Option<&Value> {
    response["content"].as_object()?.values().next()?.get("schema")
}

/// The OpenAPI document, read.
pub(super) struct Reference<'a> {
    document: &'a Value,
    operations: Vec<Operation<'a>>,
}

impl<'a> Reference<'a> {
    pub(super) fn of(document: &'a Value) -> Self {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let Some(value) = item.get(method) else { continue };
                let text = |name: &str| value[name].as_str().unwrap_or_default();
                let title = text("summary");
                operations.push(Operation {
                    id: text("operationId"),
                    method,
                    path,
                    title: title.strip_suffix('.').unwrap_or(title),
                    value,
                });
            }
        }
        Self { document, operations }
    }

    /// Each tag with its description and its operations.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str, Vec<&Operation<'a>>)> {
        self.document["tags"].as_array().into_iter().flatten().map(|tag| {
            let operations = self.operations.iter().filter(|operation| operation.value["tags"][0] == tag["name"]);
            let text = |name: &str| tag[name].as_str().unwrap_or_default();
            (text("name"), text("description"), operations.collect())
        })
    }

    /// The schema of this name.
    pub(super) fn schema(&self, name: &str) -> &'a Value {
        &self.document["components"]["schemas"][name]
    }

    /// The name of the schema that is referred to.
    pub(super) fn name(schema: &Value) -> Option<&str> {
        schema["$ref"].as_str()?.strip_prefix(SCHEMAS)
    }

    /// A schema, or the one it refers to.
    pub(super) fn resolve<'b>(&self, schema: &'b Value) -> &'b Value
    where
        'a: 'b,
    {
        Self::name(schema).map_or(schema, |name| self.schema(name))
    }

    /// An operation: what it does on the left, an example on the right.
    pub(super) fn write(&self, html: &mut String, operation: &Operation<'a>) {
        let Operation { id, method, path, title, value } = operation;
        put!(
            html,
            "<article class=\"op\" id=\"op-{id}\" aria-labelledby=\"op-{id}-title\">\n\
             <h3 id=\"op-{id}-title\">{title}<a class=\"here\" href=\"#op-{id}\" aria-label=\"Link to {title}\">#</a></h3>\n\
             <p class=\"route\"><span class=\"verb {method}\">{}</span> <code>{}</code></p>\n\
             <div class=\"columns\"><div>\n",
            verb(method),
            Name(path),
            id = Text(id),
            title = Text(title),
        );
        for paragraph in value["description"].as_str().unwrap_or_default().split("\n\n").filter(|text| !text.is_empty())
        {
            put!(html, "<p>{}</p>\n", Prose(paragraph));
        }
        match operation.scope() {
            Some(scope) => put!(html, "<p class=\"scope\">Needs the scope <code>{}</code></p>\n", Text(scope)),
            None => html.push_str("<p class=\"scope\">Public: no API key</p>\n"),
        }
        self.parameters(html, operation);
        if let Some(body) = operation.body() {
            html.push_str("<h4>Body</h4>\n<table class=\"fields\"><tbody>\n");
            self.fields(html, self.resolve(body), "", Side::Request);
            html.push_str("</tbody></table>\n");
        }
        self.responses(html, operation);
        html.push_str("</div><div class=\"samples\">\n");
        block(html, "Request", &curl(self, operation));
        let success = operation.responses().find(|(status, _)| status.starts_with('2'));
        if let Some((status, schema)) = success.and_then(|(status, response)| Some((status, content(response)?))) {
            block(html, &format!("Reply {status}"), &Sample::of(self, schema).html());
        }
        html.push_str("</div></div></article>\n");
    }

    fn parameters(&self, html: &mut String, operation: &Operation<'a>) {
        for (place, title) in [("path", "Path"), ("query", "Query"), ("header", "Headers")] {
            let mut parameters = operation.parameters().filter(|parameter| parameter["in"] == place).peekable();
            if parameters.peek().is_none() {
                continue;
            }
            put!(html, "<h4>{title}</h4>\n<table class=\"fields\"><tbody>\n");
            for parameter in parameters {
                // A row is written from a schema: the parameter's, with the parameter's words.
                let mut schema = self.resolve(&parameter["schema"]).clone();
                for said in ["description", "example"] {
                    if let (Some(schema), Some(words)) = (schema.as_object_mut(), parameter.get(said)) {
                        schema.insert(said.to_owned(), words.clone());
                    }
                }
                let name = parameter["name"].as_str().unwrap_or_default();
                self.row(html, name, &schema, parameter["required"] == true, Side::Request);
            }
            html.push_str("</tbody></table>\n");
        }
    }

    fn responses(&self, html: &mut String, operation: &Operation<'a>) {
        html.push_str("<h4>Replies</h4>\n<table class=\"fields replies\"><tbody>\n");
        for (status, response) in operation.responses() {
            put!(
                html,
                "<tr><th scope=\"row\"><code class=\"status s{}\">{}</code></th><td>{}",
                Text(status.get(..1).unwrap_or_default()),
                Text(status),
                Prose(response["description"].as_str().unwrap_or_default())
            );
            // Problems have one shape, told once under "Errors".
            if let Some(schema) = content(response).filter(|schema| Self::name(schema) != Some("Problem")) {
                put!(html, ": {}", self.kind(schema, Side::Reply));
            }
            let headers: Vec<_> = response["headers"].as_object().into_iter().flatten().collect();
            for (name, header) in headers {
                put!(
                    html,
                    "<span class=\"bound\">Header <code>{}</code>: {}</span>",
                    Text(name),
                    Prose(header["description"].as_str().unwrap_or_default())
                );
            }
            html.push_str("</td></tr>\n");
        }
        html.push_str("</tbody></table>\n");
    }

    /// Every object that a reply can hold.
    pub(super) fn write_objects(&self, html: &mut String) {
        let mut names = BTreeSet::new();
        for (_, response) in self.operations.iter().flat_map(Operation::responses) {
            content(response).into_iter().for_each(|schema| self.collect(schema, &mut names));
        }
        open_section(html, "objects", "Objects");
        html.push_str(
            "<p class=\"lead\">What replies are made of. Fields may be added at any time; ignore those you do not know.</p>\n",
        );
        for name in names {
            let schema = self.schema(name);
            put!(
                html,
                "<section class=\"object\" id=\"object-{0}\" aria-labelledby=\"object-{0}-title\"><h3 id=\"object-{0}-title\">{0}</h3><p>{1}</p>\n\
                 <table class=\"fields\"><tbody>\n",
                Text(name),
                Prose(schema["description"].as_str().unwrap_or_default())
            );
            self.fields(html, schema, "", Side::Reply);
            html.push_str("</tbody></table></section>\n");
        }
        html.push_str("</section>\n");
    }

    fn collect(&self, value: &'a Value, names: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                if let Some(name) = Self::name(value).filter(|name| self.schema(name)["type"] == "object")
                    && names.insert(name)
                {
                    self.collect(self.schema(name), names);
                }
                members.values().for_each(|member| self.collect(member, names));
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, names)),
            _ => {}
        }
    }
}
