//! What the document says of operations, and whether a refusal is as it says.

use serde_json::Value;
use wotp_server::http::ProblemCode;

use super::operations::Operation;
use crate::client::Reply;

/// `sdk/openapi.json`, as this code writes it.
pub struct Document(Value);

impl Document {
    pub fn read() -> Self {
        Self(serde_json::from_str(&wotp_server::http::openapi_json()).expect("the document is JSON"))
    }

    /// Method and path of every operation.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &str)> {
        let paths = self.0["paths"].as_object().expect("the document has paths").iter();
        paths.flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path has operations").keys();
            methods.map(move |method| (method.as_str(), path.as_str()))
        })
    }

    /// What it says of one.
    pub fn of(&self, operation: &Operation) -> &Value {
        &self.0["paths"][operation.path][operation.method]
    }

    /// The parameters of query and header, and the fields of the body, that name a thing.
    pub fn naming(&self, operation: &Operation) -> Vec<&str> {
        let said = self.of(operation);
        let parameters = said["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.filter(|parameter| parameter["in"] != "path");
        let parameters = parameters.map(|parameter| (parameter["name"].as_str().expect("a name"), parameter));
        let schema = &said["requestBody"]["content"]["application/json"]["schema"];
        let schema = match schema["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.trim_start_matches('#')).expect("it leads somewhere"),
            None => schema,
        };
        let fields = schema["properties"].as_object().into_iter().flatten();
        let fields = fields.map(|(name, field)| (name.as_str(), field));
        parameters.chain(fields).filter(|(name, said)| names_a_thing(name, said)).map(|(name, _)| name).collect()
    }

    /// Whether it can be asked for with this parameter.
    pub fn takes(&self, operation: &Operation, parameter: &str) -> bool {
        let parameters = self.of(operation)["parameters"].as_array().into_iter().flatten();
        parameters.into_iter().any(|said| said["name"] == parameter)
    }

    /// What is wrong with an answer to whom the operation is for, if it is neither a success that the document has nor
    /// what the table says.
    pub fn serves(&self, operation: &Operation, reply: &Reply) -> Result<(), String> {
        let responses = &self.of(operation)["responses"];
        match operation.instead {
            Some((status, code)) => self.check(operation, reply, status, code),
            None if !(200..300).contains(&reply.status) => Err(format!("is {} {}", reply.status, reply.text)),
            None if responses.get(reply.status.to_string()).is_none() => {
                Err(format!("is {}, which the document has not", reply.status))
            }
            None => Ok(()),
        }
    }

    /// What is wrong with a refusal, if it is not this one, or not as the document says.
    pub fn check(&self, operation: &Operation, reply: &Reply, status: u16, code: &str) -> Result<(), String> {
        let body: Value = serde_json::from_str(&reply.text).unwrap_or_default();
        let (status, said, wanted) = if operation.speaks_wotp() {
            // WOTP clients know no other statuses; its errors have a title and no code, so that the document's words
            // are not held against it.
            let status = match status {
                _ if code == "not_connected" => 403,
                409 | 415 | 422 => 400,
                503 => 500,
                status => status,
            };
            (status, &body["error"], title(code))
        } else {
            (status, &body["code"], code)
        };
        if reply.status != status || said != wanted {
            return Err(format!("is {} {}, not {status} {code}", reply.status, reply.text));
        }
        let Some(response) = self.of(operation)["responses"].get(status.to_string()) else {
            return Err(format!("is {status} {code}, and the document has no {status}"));
        };
        if operation.speaks_wotp() {
            return Ok(());
        }
        if body["type"] != format!("/docs#{code}") || reply.header("content-type") != "application/problem+json" {
            return Err(format!("is no problem of its type: {}", reply.text));
        }
        let description = response["description"].as_str().unwrap_or_default();
        if !description.contains(&format!("`{code}`")) {
            return Err(format!("is {status} {code}, and the document says of {status}: {description}"));
        }
        Ok(())
    }
}

fn title(code: &str) -> &'static str {
    ProblemCode::ALL.iter().find(|known| known.id() == code).expect("there is such a problem").title()
}

/// By its name, or because its example is an id.
fn names_a_thing(name: &str, said: &Value) -> bool {
    const NAMING: [&str; 6] = ["service", "actor", "target", "user", "event", "token"];
    let example = said["example"].as_str().and_then(|example| example.split_once('_'));
    let is_id = example.is_some_and(|(kind, id)| kind.len() == 3 && id.len() == 26);
    // What is searched for by its address is there already; in a body it may be new.
    is_id || NAMING.contains(&name) || (name == "address" && said["in"] == "query")
}
