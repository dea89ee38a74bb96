//! Finds what a phone would make tappable: addresses of sites, however they are written.

/// The first link in a text, as the word it is part of; `None` if there is none.
///
/// Looks for what messaging apps turn into links, and rather too much than too little: a scheme
/// with `://`, `www.`, a name with a dot before letters (`example.com`, `t.me/x`, and also
/// `end.Next` where the space is missing), and an IPv4 address. One pass, linear in the text.
pub(super) fn find(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| is_link(word))
}

fn is_link(word: &str) -> bool {
    word.contains("://") || word.contains("：//") || starts_with_www(word) || has_domain(word) || has_ipv4(word)
}

fn starts_with_www(word: &str) -> bool {
    let start = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    start.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("www."))
}

/// Whether a dot stands between a label and what could be a top-level domain: two or more letters.
fn has_domain(word: &str) -> bool {
    let mut before = None;
    // Letters since the last dot that followed a label; `None` outside of such a run.
    let mut run: Option<usize> = None;
    for c in word.chars().filter(|c| !is_invisible(*c)) {
        let label = before.is_some_and(is_label);
        run = match run {
            _ if c == '.' && label => Some(0),
            // The other dots of IDNA end Chinese and Japanese sentences, so only in ASCII company.
            _ if matches!(c, '。' | '．' | '｡') && before.is_some_and(|b: char| b.is_ascii_alphanumeric()) => {
                Some(0)
            }
            Some(letters) if c.is_alphabetic() && !(letters == 0 && is_east_asian(c)) => Some(letters + 1),
            Some(letters) if letters > 0 && is_label(c) => Some(letters + 1),
            _ => None,
        };
        if run.is_some_and(|letters| letters >= 2) {
            return true;
        }
        before = Some(c);
    }
    false
}

fn is_label(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// Han, kana and Hangul, which follow a full stop without a space.
fn is_east_asian(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11FF}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}')
}

/// Drawn as nothing: could hide a link from us and not from the eye.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

fn has_ipv4(word: &str) -> bool {
    word.split(|c: char| !c.is_ascii_digit() && c != '.').any(|run| {
        let run = run.trim_matches('.');
        run.len() <= 15 && run.parse::<std::net::Ipv4Addr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_however_they_are_written() {
        for link in [
            "http://example.com",
            "HTTPS://EXAMPLE.COM/a",
            "ftp://x",
            "myapp://open",
            "www.example",
            "(WWW.x",
            "example.com",
            "example.com/path?x=1",
            "sub.example.co.uk.",
            "t.me/x",
            "wa.me",
            "help@example.org",
            "bit.ly/3x",
            "xn--80ak6aa92e.xn--p1ai",
            "пример.рф",
            "1.2.3.4",
            "1.2.3.4/x",
            "10.0.0.1:8080.",
            "example\u{200B}.co\u{200B}m",
            "example。com",
            "under_score.io",
            "code.Do",
        ] {
            let text = format!("Go to {link} now");
            assert_eq!(find(&text), Some(link), "{link}");
        }
    }

    #[test]
    fn ordinary_writing_is_no_link() {
        for text in [
            "Your code is 123456. Do not share it.",
            "Wait... then go",
            "e.g. this, i.e. that, z.B. dies, at 5 p.m. today",
            "1.5 or 3.14 or 1.2.3 or 21.11.2026",
            "1.2.3.4.5 and 999.1.1.1",
            "验证码是1234。请勿告知他人。",
            "コードは1234です。教えないでください。",
            "Acme .com is not one, nor ..com",
            "ЗАО «Ромашка». Код: 1234.",
            "and/or 24/7 #1 @ home",
            "",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
