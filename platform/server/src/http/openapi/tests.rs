//! The document: whole, true, and the committed one.

use super::*;
use wotp_core::domain::api_key::Scope;
use wotp_core::domain::permission::Permission;

fn document() -> Value {
    serde_json::from_str(&openapi_json()).unwrap()
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_committed_document_is_the_one_of_this_code() {
    let committed = include_str!("../../../../../sdk/openapi.json");
    assert!(
        committed == openapi_json(),
        "sdk/openapi.json is stale; refresh it with `wotp openapi > sdk/openapi.json` and commit it"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some(), "{reference}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_who_may_call_it() {
    let document = document();
    let mut names = Vec::new();
    for (path, method, operation) in operations(&document) {
        names.push(operation["operationId"].as_str().unwrap());
        let security = operation["security"].as_array().unwrap();
        if security[0].get("session").is_some() {
            assert_eq!(security.len(), 1, "{method} {path}");
            // What a member needs besides, by its name in the table.
            for needed in security[0]["session"].as_array().unwrap() {
                let known = Permission::ALL.iter().any(|permission| permission.name() == needed);
                assert!(known, "{method} {path}: {needed}");
            }
            assert!(operation["responses"].get("401").is_some(), "{method} {path}");
            continue;
        }
        let public = path.starts_with("/health/")
            || path.starts_with("/v1/auth/")
            || path.starts_with("/api/auth/")
            || ["/v1/limits", "/.well-known/jwks.json", "/v1/invitations/preview"].contains(&path);
        if public {
            assert_eq!(security, &[serde_json::json!({})], "{method} {path}");
            continue;
        }
        assert_eq!(security.len(), 2, "{method} {path}");
        for (requirement, scheme) in security.iter().zip(["api_key", "api_key_header"]) {
            let [scope] = requirement[scheme].as_array().unwrap().as_slice() else { panic!("{method} {path}") };
            assert!(scope.as_str().unwrap().parse::<Scope>().is_ok(), "{method} {path}: {scope}");
        }
        for status in ["401", "403", "429", "500"] {
            assert!(operation["responses"].get(status).is_some(), "{method} {path}: {status}");
        }
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn problems_are_documented_with_the_status_they_have() {
    let document = document();
    let mut documented = Vec::new();
    for (path, method, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let description = response["description"].as_str().unwrap();
            for word in description.split('`') {
                if let Some(code) = ProblemCode::ALL.iter().find(|code| code.id() == word) {
                    assert_eq!(code.status().as_str(), status, "{method} {path}: {word}");
                    documented.push(*code);
                }
            }
        }
    }
    // These belong to no operation.
    documented.extend([
        ProblemCode::RouteNotFound,
        ProblemCode::MethodNotAllowed,
        ProblemCode::MalformedRequest,
        ProblemCode::OperatorNeeded,
    ]);
    // On WOTP's paths alone, whose errors have no code.
    documented.push(ProblemCode::SecondFactorNeeded);
    for code in ProblemCode::ALL {
        assert!(documented.contains(code), "{}", code.id());
    }
}

#[test]
fn the_names_of_problems_are_those_that_replies_carry() {
    let document = document();
    let names: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.id()).collect();
    assert_eq!(document["components"]["schemas"]["ProblemCode"]["enum"], serde_json::json!(names));
}

#[test]
fn no_schema_forbids_what_another_part_of_it_requires() {
    // `additionalProperties: false` inside `allOf` refuses the properties of its siblings.
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema.get("allOf").is_none(), "{name}");
    }
}
