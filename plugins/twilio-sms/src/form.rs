//! Forms, in both directions. Source: the URL standard, `application/x-www-form-urlencoded`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All that RFC 3986 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A form of these fields.
pub(crate) fn written(fields: &[(&str, &str)]) -> String {
    let encoded = |text| utf8_percent_encode(text, RESERVED);
    fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

/// The fields of a form; none where it is not text.
pub(crate) fn read(body: &[u8]) -> Option<Vec<(String, String)>> {
    let text = str::from_utf8(body).ok()?;
    let decoded = |part: &str| Some(percent_decode_str(&part.replace('+', " ")).decode_utf8().ok()?.into_owned());
    let field = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        Some((decoded(name)?, decoded(value)?))
    };
    text.split('&').filter(|field| !field.is_empty()).map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let form = written(&[("To", "+12025550123"), ("Body", "a&b=c é\n"), ("X", "")]);
        assert_eq!(form, "To=%2B12025550123&Body=a%26b%3Dc%20%C3%A9%0A&X=");
        let read = read(form.as_bytes()).unwrap();
        assert_eq!(read[1], ("Body".to_owned(), "a&b=c é\n".to_owned()));
        assert_eq!(super::read(b"a=b+c&&d"), Some(vec![("a".into(), "b c".into()), ("d".into(), String::new())]));
        assert_eq!(super::read(b"a=%ff"), None);
    }
}
