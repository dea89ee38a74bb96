//! The JSON Schema of a plugin's settings. A stranger wrote it, so it is looked at before anything follows it: what it
//! asks to be done with its references written out has to be bounded.

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use wotp_core::domain::template::is_control;

/// Longest schema, in bytes.
const SIZE_MAX: usize = 64 * 1024;
/// Values within values, references written out.
const DEPTH_MAX: usize = 64;
/// Values altogether, references written out: far more than 64 KiB hold without any.
const VALUES_MAX: usize = 100_000;
/// What looks at all beside it once more. Each within another one makes it about four times as much to do: of 6, one
/// setting takes a fraction of a millisecond, of 14 it takes 2.6 seconds, and nothing stops it.
const UNEVALUATED: &[&str] = &["unevaluatedProperties", "unevaluatedItems"];
/// Of these, within each other, references written out.
const UNEVALUATED_MAX: usize = 6;
/// How much more there is to do for each of them that is within another.
const UNEVALUATED_COSTS: usize = 4;
/// What settings may cost to hold against a schema: its values, references written out, for each of theirs. A tenant
/// writes them, so this is what it may have a server compute: some tens of milliseconds.
const COST_MAX: usize = 200_000;
/// Bytes of a text that count as one value: a pattern looks at each.
const BYTES_OF_A_VALUE: usize = 64;
/// Faults that are told of at once.
const FAULTS_MAX: usize = 10;
/// Characters of a fault: it may hold what the schema lists.
const FAULT_CHARACTERS_MAX: usize = 200;
/// Bytes that a pattern may take once it is compiled.
const PATTERN_SIZE_MAX: usize = 64 * 1024;
/// The one kind of JSON Schema that is read: others resolve references in other ways.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What makes a reference mean something else than its place in the document.
const ELSEWHERE: &[&str] = &["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor"];

/// A schema that was looked at.
pub(crate) struct Schema {
    validator: Validator,
    /// What one value costs to hold against it.
    cost: usize,
}

impl Schema {
    /// What is wrong with settings, each with its place and without what stands there: it is told to logs as well.
    pub(crate) fn faults(&self, settings: &Value) -> Vec<String> {
        if self.cost.saturating_mul(weight(settings)) > COST_MAX {
            return vec![
                "there are too many values, or too long ones, for a schema as large as that of the plugin".to_owned(),
            ];
        }
        let mut faults: Vec<_> =
            self.validator.iter_errors(settings).take(FAULTS_MAX + 1).map(|fault| in_place(&fault)).collect();
        if faults.len() > FAULTS_MAX {
            faults[FAULTS_MAX] = "and more".to_owned();
        }
        faults
    }
}

fn in_place(fault: &ValidationError<'_>) -> String {
    let (place, fault) = (fault.instance_path().to_string(), fault.masked());
    let told = if place.is_empty() { fault.to_string() } else { format!("{place}: {fault}") };
    match told.char_indices().nth(FAULT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// How many values there are, long texts counted as more than one.
fn weight(settings: &Value) -> usize {
    let of_text = |text: &str| 1 + text.len() / BYTES_OF_A_VALUE;
    match settings {
        Value::String(text) => of_text(text),
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => 1 + fields.iter().map(|(name, value)| of_text(name) + weight(value)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// Reads a schema, with what holds settings against it.
///
/// # Errors
/// In words for whoever made the plugin.
pub(crate) fn read(text: &str) -> Result<(Value, Schema), String> {
    if text.len() > SIZE_MAX {
        return Err(format!("it is longer than {} KiB", SIZE_MAX / 1024));
    }
    let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let Some(fields) = schema.as_object() else { return Err("it is no object".to_owned()) };
    if fields
        .get("$schema")
        .is_some_and(|dialect| dialect.as_str().map(|url| url.trim_end_matches('#')) != Some(DIALECT))
    {
        return Err(format!("its `$schema` is not `{DIALECT}`"));
    }
    // As it is shown to operators: JSON writes line ends and the like in letters, and these as they are.
    if schema.to_string().chars().any(is_control) {
        return Err("it holds characters that steer how the text around them is shown".to_owned());
    }
    let size = Measure { schema: &schema, known: HashMap::new() }.of(&schema, 0)?;
    // Patterns of a stranger's: this engine takes no longer than what it looks at is long.
    // Nor memory for patterns that are short and say much.
    let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE_MAX);
    let options = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns);
    let validator = options.build(&schema).map_err(|error| error.to_string())?;
    let cost = (0..size.unevaluated).fold(size.values, |cost, _| cost.saturating_mul(UNEVALUATED_COSTS));
    Ok((schema, Schema { validator, cost }))
}

/// How large something is with its references written out.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: usize,
    depth: usize,
    /// How many of [`UNEVALUATED`] are within each other.
    unevaluated: usize,
}

/// Measures a schema without writing anything out.
struct Measure<'a> {
    schema: &'a Value,
    /// What each reference leads to; none while it is being measured, which is how one that leads to itself is found.
    known: HashMap<&'a str, Option<Size>>,
}

impl<'a> Measure<'a> {
    fn of(&mut self, value: &'a Value, depth: usize) -> Result<Size, String> {
        let mut size = Size { values: 1, depth: 1, unevaluated: 0 };
        let mut add = |part: Size| {
            size.values = size.values.saturating_add(part.values);
            size.depth = size.depth.max(part.depth + 1);
            size.unevaluated = size.unevaluated.max(part.unevaluated);
            let holds = depth + size.depth <= DEPTH_MAX && size.values <= VALUES_MAX;
            holds.then_some(()).ok_or_else(too_large)
        };
        if depth >= DEPTH_MAX {
            return Err(too_large());
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| add(self.of(item, depth + 1)?))?,
            Value::Object(fields) => {
                for (name, field) in fields {
                    add(match field.as_str() {
                        Some(reference) if name == "$ref" => self.behind(reference, depth + 1)?,
                        Some(_) if ELSEWHERE.contains(&name.as_str()) => {
                            return Err(format!(
                                "it has `{name}`; write `$ref` with a place in it, as in `#/$defs/sender`"
                            ));
                        }
                        Some(_) if name == "$id" && depth > 0 => {
                            return Err("it has an `$id` within, and is to be one document".to_owned());
                        }
                        _ => self.of(field, depth + 1)?,
                    })?;
                }
            }
            _ => {}
        }
        let looks_again = |fields: &serde_json::Map<_, _>| UNEVALUATED.iter().any(|name| fields.contains_key(*name));
        size.unevaluated += usize::from(value.as_object().is_some_and(looks_again));
        if size.unevaluated > UNEVALUATED_MAX {
            let names = UNEVALUATED.join("` or `");
            return Err(format!("it has more than {UNEVALUATED_MAX} of `{names}` within each other"));
        }
        Ok(size)
    }

    fn behind(&mut self, reference: &'a str, depth: usize) -> Result<Size, String> {
        match self.known.get(reference) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(format!("its reference {} leads to itself", shown(reference))),
            None => {}
        }
        let place = reference.strip_prefix('#').and_then(|pointer| percent_decode_str(pointer).decode_utf8().ok());
        let target = place.and_then(|pointer| self.schema.pointer(&pointer));
        let nowhere =
            || format!("its reference {} leads to no place in it, as `#/$defs/sender` does", shown(reference));
        let target = target.ok_or_else(nowhere)?;
        self.known.insert(reference, None);
        let size = self.of(target, depth)?;
        self.known.insert(reference, Some(size));
        Ok(size)
    }
}

fn too_large() -> String {
    format!("it is deeper than {DEPTH_MAX} values or has more than {VALUES_MAX}, with its references written out")
}

/// The beginning of a stranger's words.
fn shown(text: &str) -> String {
    format!("`{}`", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn assert_refused(schema: &str, words: &str) {
        let said = read(schema).err().unwrap();
        assert!(said.contains(words), "{words}: {said}");
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        for (schema, words) in [
            ("{", "no JSON"),
            ("[]", "no object"),
            (r#"{"type": "text"}"#, "text"),
            (r#"{"$ref": "https://example.com/schema.json"}"#, "leads to no place in it"),
            (r##"{"$ref": "#/$defs/a"}"##, "leads to no place in it"),
            (r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#, "`$schema`"),
            (r#"{"properties": {"a": {"$id": "https://a.example/"}}}"#, "`$id` within"),
            (r#"{"$defs": {"a": {"$anchor": "a"}}}"#, "`$anchor`"),
            // Look-around is what takes for ever.
            (r#"{"properties": {"a": {"pattern": "(?=a)"}}}"#, "regex"),
            // Shown, what follows would read from right to left.
            (r#"{"title": "a\u202eb"}"#, "steer"),
        ] {
            assert_refused(schema, words);
        }
        assert_refused(&format!("{{\"a\":\"{}\"}}", "x".repeat(SIZE_MAX)), "64 KiB");
    }

    /// `links` definitions, each of which refers to the next as often as `times` says.
    fn chain(links: usize, times: usize) -> String {
        let mut defs = String::new();
        for at in 0..links {
            let next = vec![format!("{{\"$ref\":\"#/$defs/a{}\"}}", at + 1); times].join(",");
            write!(defs, "\"a{at}\":{{\"allOf\":[{next}]}},").unwrap();
        }
        format!("{{\"$ref\":\"#/$defs/a0\",\"$defs\":{{{defs}\"a{links}\":{{\"type\":\"object\"}}}}}}")
    }

    #[test]
    fn references_that_grow_are_refused_before_anybody_follows_them() {
        assert_refused(&chain(15, 3), "more than 100000");
        assert_refused(&chain(500, 1), "deeper than 64");
        assert_refused(&chain(20, 2), "more than");
        let (_, schema) = read(&chain(6, 2)).unwrap();
        assert!(schema.faults(&json!({})).is_empty() && !schema.faults(&json!([])).is_empty());
    }

    #[test]
    fn a_reference_that_leads_to_itself_is_refused() {
        for schema in [
            r##"{"$ref": "#"}"##,
            r##"{"properties": {"a": {"$ref": "#"}}}"##,
            r##"{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##,
            r##"{"$defs": {"a": {"items": {"$ref": "#/%24defs/a"}}}}"##,
        ] {
            assert_refused(schema, "leads to itself");
        }
    }

    #[test]
    fn settings_are_held_against_what_is_written_once_and_used_twice() {
        let written = json!({
            "$schema": DIALECT,
            "properties": { "from": { "$ref": "#/$defs/text" }, "to": { "$ref": "#/$defs/text" }, "$ref": true },
            "$defs": { "text": { "type": "string", "minLength": 2 } },
        });
        let (_, schema) = read(&written.to_string()).unwrap();
        assert!(schema.faults(&json!({ "from": "ab", "to": "cd" })).is_empty());
        assert!(!schema.faults(&json!({ "from": "ab", "to": "c" })).is_empty());
    }

    /// Each of them looks once more at what those within it look at.
    #[test]
    fn what_looks_again_at_all_beside_it_is_bounded() {
        let nested = |times| {
            let within = |inner, _| json!({ "allOf": [inner], "unevaluatedProperties": false });
            (0..times).fold(json!({ "type": "object" }), within).to_string()
        };
        assert_refused(&nested(7), "more than 6 of `unevaluatedProperties`");
        let (_, schema) = read(&nested(6)).unwrap();
        assert!(schema.faults(&json!({})).is_empty() && !schema.faults(&json!({ "a": 1 })).is_empty());
        let mut defs = serde_json::Map::from_iter([("a7".to_owned(), json!({}))]);
        for at in 0..7 {
            let next = format!("#/$defs/a{}", at + 1);
            defs.insert(format!("a{at}"), json!({ "$ref": next, "unevaluatedItems": false }));
        }
        assert_refused(
            &json!({ "$ref": "#/$defs/a0", "$defs": defs }).to_string(),
            "`unevaluatedItems` within each other",
        );
    }

    #[test]
    fn faults_name_their_place_and_not_what_stands_there() {
        let schema = json!({
            "properties": { "key": { "type": "integer" }, "from": { "const": "a".repeat(300) } },
            "additionalProperties": false,
        });
        let (_, schema) = read(&schema.to_string()).unwrap();
        assert_eq!(schema.faults(&json!({ "key": "a-secret" })), ["/key: value is not of type \"integer\""]);
        let long = schema.faults(&json!({ "from": "a-secret" })).remove(0);
        assert!(long.starts_with("/from: \"aaa") && long.ends_with('…'), "{long}");
        assert_eq!(long.chars().count(), FAULT_CHARACTERS_MAX + 1);
        let many: serde_json::Map<_, _> = (0..50).map(|at| (format!("n{at}"), json!(1))).collect();
        let (_, schema) = read(r#"{"additionalProperties": {"type": "string"}}"#).unwrap();
        let faults = schema.faults(&Value::Object(many));
        assert_eq!((faults.len(), faults[FAULTS_MAX].as_str()), (FAULTS_MAX + 1, "and more"));
    }

    /// A schema that is not too large by itself, and settings that are not: together they are.
    #[test]
    fn settings_are_held_against_nothing_that_takes_too_long() {
        let times = |times: usize, of: &str| vec![json!({ "$ref": format!("#/$defs/{of}") }); times];
        let schema = json!({
            "properties": { "a": { "items": { "$ref": "#/$defs/many" } }, "b": { "$ref": "#/$defs/many" } },
            "$defs": { "many": { "allOf": times(60, "some") }, "some": { "allOf": times(60, "one") }, "one": { "type": "integer" } },
        });
        let (_, schema) = read(&schema.to_string()).unwrap();
        for settings in [json!({ "a": vec![0; 1_200] }), json!({ "b": "x".repeat(15_000) })] {
            let faults = schema.faults(&settings);
            assert!(faults.len() == 1 && faults[0].contains("too many values"), "{faults:?}");
        }
        assert_eq!(schema.faults(&json!({ "b": 1 })), [""; 0]);
        let faults = schema.faults(&json!({ "b": "x" }));
        assert_eq!((faults.len(), faults[0].as_str()), (FAULTS_MAX + 1, "/b: value is not of type \"integer\""));
        // As large as an operator's page allows, and a schema as large as ours are.
        let (_, ours) = read(include_str!("../../../plugins/generic-http/src/config.schema.json")).unwrap();
        let body = json!({ "url": "https://a.example/", "success": {}, "body": { "text": "x".repeat(60_000) } });
        assert!(ours.faults(&body).iter().all(|fault| !fault.contains("too many")), "{:?}", ours.faults(&body));
    }
}
