//! What serde says of a value that it cannot read, in words for whoever sent it: serde names types of this program.

/// What would be right, from what serde says. What we say ourselves stays as it is.
pub(super) fn in_words(said: &str) -> String {
    if said.starts_with("missing field `") {
        return "is missing".to_owned();
    }
    if said.starts_with("duplicate field `") {
        return "is there twice".to_owned();
    }
    if said.starts_with("unknown field `") {
        return match said.rsplit_once(", expected ") {
            Some((_, known)) => format!("is not known here; known are {}", all(known, "and")),
            None => "is not known here; nothing is".to_owned(),
        };
    }
    // How large it may be is said by whoever reads the field; the type's own bound would be another, and wrong.
    if let Some(rest) = said.strip_prefix("invalid value: integer `")
        && let Some((number, "u8" | "u16" | "u32" | "u64" | "usize")) = rest.split_once("`, expected ")
    {
        return if number.starts_with('-') { "is a larger number" } else { "is a smaller number" }.to_owned();
    }
    let about_value = ["unknown variant `", "invalid type: ", "invalid value: ", "invalid length "];
    if about_value.iter().any(|start| said.starts_with(start))
        && let Some((_, expected)) = said.rsplit_once(", expected ")
    {
        return format!("is {}", right(expected));
    }
    match said {
        "invalid digit found in string" | "cannot parse integer from empty string" => "is a whole number",
        "number too large to fit in target type" => "is a smaller number",
        "number too small to fit in target type" => "is a larger number",
        "provided string was not `true` or `false`" => "is `true` or `false`",
        _ => return said.to_owned(),
    }
    .to_owned()
}

/// What serde expected.
fn right(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" => "text in quotes",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.contains('`') => return all(expected, "or"),
        _ if expected.starts_with("struct ") => "an object",
        _ => return expected.to_owned(),
    }
    .to_owned()
}

/// All names between backticks, as one reads them out.
fn all(names: &str, last: &str) -> String {
    let names: Vec<_> = names.split('`').skip(1).step_by(2).map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [others @ .., end] if !others.is_empty() => format!("{} {last} {end}", others.join(", ")),
        few => few.concat(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its refusals are looked at")]
    struct Asked {
        percent: Option<u8>,
        day: Option<u64>,
        on: Option<bool>,
        role: Option<Role>,
        names: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Viewer,
        Admin,
        Owner,
    }

    fn said(json: &str) -> String {
        let said = serde_json::from_str::<Asked>(json).unwrap_err().to_string();
        in_words(said.rsplit_once(" at line ").unwrap().0)
    }

    #[test]
    fn no_type_of_this_program_is_named() {
        assert_eq!(said(r#"{"percent": 500}"#), "is a smaller number");
        assert_eq!(said(r#"{"day": -1}"#), "is a larger number");
        assert_eq!(said(r#"{"percent": 2.5}"#), "is a whole number");
        assert_eq!(said(r#"{"day": "many, expected u8"}"#), "is a whole number");
        assert_eq!(said(r#"{"on": 1}"#), "is `true` or `false`");
        assert_eq!(said(r#"{"role": "boss"}"#), "is `viewer`, `admin` or `owner`");
        assert_eq!(said(r#"{"names": "a"}"#), "is a list");
        assert_eq!(said(r#"{"names": [1]}"#), "is text in quotes");
        assert_eq!(said(r#"{"nmaes": []}"#), "is not known here; known are `percent`, `day`, `on`, `role` and `names`");
        assert_eq!(said(r#"{"day": 1, "day": 1}"#), "is there twice");
    }

    #[test]
    fn what_is_said_by_us_stays() {
        assert_eq!(in_words("not a key id: expected `key_`"), "not a key id: expected `key_`");
    }
}
