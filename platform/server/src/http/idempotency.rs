//! The `Idempotency-Key` header: a structured-field string, or the bare key as many clients send it.

use axum::http::HeaderMap;
use wotp_core::app::IdempotencyKey;

use super::Problem;

/// The caller's key for this request.
///
/// # Errors
/// A [`Problem`] when the header is there and is no key.
pub(super) fn key(headers: &HeaderMap, fingerprint: [u8; 32]) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none()).map(str::trim);
    match text.and_then(read) {
        Some(key) => Ok(Some(IdempotencyKey { key, fingerprint })),
        None => Err(Problem::field(
            "Idempotency-Key",
            "is a string of 1 to 255 printable ASCII characters, as in `\"8e03978e-40d5\"`, once",
        )),
    }
}

fn read(text: &str) -> Option<String> {
    let printable =
        |key: &String| !key.is_empty() && key.len() <= 255 && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let Some(quoted) = text.strip_prefix('"') else {
        return Some(text.to_owned()).filter(printable).filter(|key| !key.contains('"'));
    };
    // RFC 8941, section 3.3.3: only `\"` and `\\` are escaped.
    let mut key = String::new();
    let mut characters = quoted.strip_suffix('"')?.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => key.push(characters.next().filter(|c| *c == '"' || *c == '\\')?),
            '"' => return None,
            other => key.push(other),
        }
    }
    Some(key).filter(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_keys_are_the_same_key() {
        assert_eq!(read("\"abc\""), Some("abc".to_owned()));
        assert_eq!(read("abc"), Some("abc".to_owned()));
        assert_eq!(read(r#""a\"b\\c""#), Some(r#"a"b\c"#.to_owned()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "\"\"", "\"", "\"a", "\"a\"b\"", "a\"b", "\"a\\x\"", &"k".repeat(256)] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
