//! JSON as people like to read it, in the order in which it came: parsing it would sort its keys.

/// Longest line, where it can be helped.
const WIDTH: usize = 96;

/// Lines of JSON: what fits on one stays on one, the rest is broken up.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    write(text.trim(), "", "", 0, &mut lines);
    lines
}

/// Some of an object's fields, in their order, and a sign that there are more.
pub(super) fn some_of(object: &str, fields: &[&str]) -> String {
    let wanted = |item: &&str| pair(item).is_some_and(|(key, _)| fields.contains(&key.trim_matches('"')));
    let chosen: Vec<&str> = items(object.trim()).into_iter().filter(wanted).collect();
    format!("{{{},…}}", chosen.join(","))
}

fn write(value: &str, before: &str, after: &str, indent: usize, lines: &mut Vec<String>) {
    let margin = " ".repeat(indent);
    let items = items(value);
    if items.is_empty() || indent + before.len() + value.len() <= WIDTH {
        lines.push(format!("{margin}{before}{}{after}", spaced(value)));
        return;
    }
    lines.push(format!("{margin}{before}{}", &value[..1]));
    let last = items.len() - 1;
    for (index, item) in items.into_iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        match pair(item).filter(|_| value.starts_with('{')) {
            Some((key, value)) => write(value, &format!("{key}: "), comma, indent + 2, lines),
            None => write(item, "", comma, indent + 2, lines),
        }
    }
    lines.push(format!("{margin}{}{after}", &value[value.len() - 1..]));
}

/// Calls `at` for each character that is not part of a string, with how deep it lies.
fn outside_strings(text: &str, mut at: impl FnMut(usize, char, usize)) {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => {
                at(index, character, depth);
                depth += 1;
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                at(index, character, depth);
            }
            _ => at(index, character, depth),
        }
    }
}

/// The items of an object or array; none of anything else.
fn items(value: &str) -> Vec<&str> {
    let whole = (value.starts_with('{') && value.ends_with('}')) || (value.starts_with('[') && value.ends_with(']'));
    let inner = if whole { value[1..value.len() - 1].trim() } else { "" };
    if inner.is_empty() {
        return Vec::new();
    }
    let (mut items, mut start) = (Vec::new(), 0);
    outside_strings(inner, |index, character, depth| {
        if character == ',' && depth == 0 {
            items.push(inner[start..index].trim());
            start = index + 1;
        }
    });
    items.push(inner[start..].trim());
    items
}

fn pair(item: &str) -> Option<(&str, &str)> {
    let mut colon = None;
    outside_strings(item, |index, character, depth| {
        if character == ':' && depth == 0 && colon.is_none() {
            colon = Some(index);
        }
    });
    colon.map(|colon| (item[..colon].trim(), item[colon + 1..].trim()))
}

/// With a space after each comma and colon.
fn spaced(value: &str) -> String {
    let mut ends = Vec::new();
    outside_strings(value, |index, character, _| {
        if matches!(character, ',' | ':') && value[index + 1..].chars().next().is_some_and(|next| !next.is_whitespace())
        {
            ends.push(index + 1);
        }
    });
    let mut spaced = value.to_owned();
    ends.into_iter().rev().for_each(|end| spaced.insert(end, ' '));
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_things_stay_on_one_line() {
        assert_eq!(lines(r#"{"b":1,"a":[true,"x:{,"]}"#), [r#"{"b": 1, "a": [true, "x:{,"]}"#]);
        assert_eq!(lines("null"), ["null"]);
    }

    #[test]
    fn some_of_the_fields_keep_their_order_and_their_values() {
        let reply = r#"{"z":{"used":1,"allowed":5},"a":"z","b":null}"#;
        assert_eq!(some_of(reply, &["b", "z"]), r#"{"z":{"used":1,"allowed":5},"b":null,…}"#);
    }

    #[test]
    fn long_things_are_broken_up_in_their_order_and_lose_nothing() {
        let long = "x".repeat(80);
        let text = format!(r#"{{"z":"{long}","list":[{{"b":"{long}","a":"\"}}"}},{{}}],"a":1}}"#);
        let lines = lines(&text);
        let starts: Vec<&str> = lines.iter().map(|line| line.split('"').next().unwrap_or_default()).collect();
        assert_eq!(starts, ["{", "  ", "  ", "    {", "      ", "      ", "    },", "    {}", "  ],", "  ", "}"]);
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&lines.concat()), parsed(&text));
    }
}
