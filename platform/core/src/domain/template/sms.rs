//! The last line that phones read by themselves: WebOTP and Android's SMS Retriever.

/// Longest message that Android's SMS Retriever reads, in bytes.
///
/// Source: Android, "Perform SMS verification on a server".
pub const SMS_RETRIEVER_MAX_BYTES: usize = 140;

/// Length of the hash that tells the SMS Retriever which app a message is for, in characters.
pub const SMS_RETRIEVER_HASH_CHARACTERS: usize = 11;

/// Whether a message is short enough for Android's SMS Retriever: at most 140 bytes.
///
/// Android does not say in which encoding. So both in UTF-8, which apps are handed, and as it goes
/// over the air: an SMS holds 140 bytes, which is 70 characters once a single one of them is not of
/// the GSM alphabet. To be too strict costs a sentence, to be too lax the whole feature.
#[must_use]
pub fn fits_sms_retriever(text: &str) -> bool {
    let on_air = if text.chars().all(is_gsm) { 0 } else { 2 * text.encode_utf16().count() };
    text.len().max(on_air) <= SMS_RETRIEVER_MAX_BYTES
}

/// Whether a character takes seven bits in an SMS. Source: 3GPP TS 23.038, the basic table.
fn is_gsm(c: char) -> bool {
    match c {
        '\n' | '\r' | ' '..='Z' | '_' | 'a'..='z' => true,
        _ => "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà".contains(c),
    }
}

/// Whether a text is an app's hash for the SMS Retriever: 11 characters of Base64.
#[must_use]
pub fn is_sms_retriever_hash(text: &str) -> bool {
    text.len() == SMS_RETRIEVER_HASH_CHARACTERS
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// The host that WebOTP binds a code to: `example.com` for `https://example.com:443/login`, and for
/// `example.com` itself. `None` where there is no host that a browser would take: plain `http`, an
/// address instead of a name, or an international name that is not in its ASCII form (`xn--…`).
#[must_use]
pub fn webotp_host(origin: &str) -> Option<&str> {
    let rest = match origin.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return None,
        None => origin,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.split_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return None,
        None => authority,
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = host.rsplit('.').next()?;
    let named = top.bytes().any(|b| b.is_ascii_alphabetic());
    (host.len() <= 253 && host.split('.').all(label) && named).then_some(host)
}

/// Appends the last line, set off by an empty one, if there is anything to put on it.
///
/// Both formats want the end of the message: WebOTP reads the last line from its start, and ignores
/// whatever follows the code on it ("Trailing text in the last line is ignored", section 3.1 of
/// "Origin-bound one-time codes delivered via SMS"); the SMS Retriever looks for the hash, which is
/// at the end by custom. So both share one line, `@example.com #123456 FA+9qCX9VSu`, which starts as
/// the one wants and ends as the other does. The hash cannot be taken for WebOTP's embedded host,
/// which starts with `%`. A hash or an origin that is neither is left out: what cannot work there
/// would only puzzle the reader, and settings are checked when they are saved.
pub(super) fn push_last_line(text: &mut String, code: &str, web_origin: Option<&str>, hash: Option<&str>) {
    let host = web_origin.and_then(webotp_host);
    let hash = hash.filter(|hash| is_sms_retriever_hash(hash));
    if host.is_some() || hash.is_some() {
        text.push_str("\n\n");
    }
    if let Some(host) = host {
        for part in ["@", host, " #", code] {
            text.push_str(part);
        }
    }
    if let Some(hash) = hash {
        text.push_str(if host.is_some() { " " } else { "" });
        text.push_str(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_cut_to_its_host() {
        for (origin, host) in [
            ("https://example.com", Some("example.com")),
            ("HTTPS://login.example.com:8443/a?b#c", Some("login.example.com")),
            ("example.com", Some("example.com")),
            ("localhost", Some("localhost")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("http://example.com", None),
            ("https://", None),
            ("", None),
            ("https://exa mple.com", None),
            ("example..com", None),
            ("-a.com", None),
            ("https://192.0.2.1", None),
            ("https://[2001:db8::1]/", None),
            ("https://user:pw@example.com", None),
            ("bücher.example", None),
            ("example.com\n@evil.example", None),
        ] {
            assert_eq!(webotp_host(origin), host, "{origin:?}");
        }
    }

    #[test]
    fn a_hash_is_eleven_characters_of_base64() {
        assert!(is_sms_retriever_hash("FA+9qCX9VSu"));
        assert!(is_sms_retriever_hash("aB/9qCX9VSu"));
        for wrong in ["", "FA+9qCX9VS", "FA+9qCX9VSuX", "FA+9 CX9VSu", "FA_9qCX9VSu", "FA+9qCX9VS\n"] {
            assert!(!is_sms_retriever_hash(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_of_140_bytes_fits_and_of_141_does_not() {
        assert!(fits_sms_retriever(&"a".repeat(140)));
        assert!(!fits_sms_retriever(&"a".repeat(141)));
        assert!(fits_sms_retriever(&"é".repeat(70)));
        assert!(fits_sms_retriever(&"й".repeat(70)));
        assert!(!fits_sms_retriever(&"й".repeat(71)));
        assert!(!fits_sms_retriever(&format!("й{}", "a".repeat(70))), "one letter makes all of them wide");
        assert!(fits_sms_retriever(&"के".repeat(23)) && !fits_sms_retriever(&"के".repeat(24)));
    }
}
