//! Servers echo what they are told. What they say goes to a log, so it is cleaned first.

use wotp_core::domain::code::Code;
use wotp_core::ports::Outgoing;

/// Longest text of a server's that is kept, in characters.
const LENGTH_MAX: usize = 200;
/// What stands where something was taken out. No address and no code holds it, so what is left on
/// either side of it never joins into one.
const GAP: char = '…';

/// The text without the address, the part before its `@`, and the code; on one line, and cut.
pub(crate) fn redacted(text: &str, outgoing: &Outgoing) -> String {
    let address = outgoing.to.as_str();
    let local = address.split('@').next().unwrap_or(address);
    let code = outgoing.code.as_ref().map_or("", Code::as_str);
    // First, so that nothing that is taken out here joins what is looked for below.
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut clean = without(&plain, address, Within::Anything);
    clean = without(&clean, code, Within::Anything);
    // "ada" is in "Canada" too.
    clean = without(&clean, local, Within::Words);
    // Whatever else looks like an address: rewritten by an alias, or somebody else's.
    let words = clean.split_whitespace().map(|word| if word.contains('@') { "…" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(LENGTH_MAX).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    Anything,
    Words,
}

/// `text` with every `secret` in it, in whatever case, taken out.
fn without(text: &str, secret: &str, within: Within) -> String {
    let secret: Vec<char> = secret.chars().flat_map(char::to_lowercase).collect();
    let chars: Vec<char> = text.chars().collect();
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let found = length_at_start(&chars[at..], &secret).filter(|length| {
            let before = at.checked_sub(1).map(|before| chars[before]);
            let after = chars.get(at + length);
            let in_word = before.is_some_and(char::is_alphanumeric) || after.is_some_and(|c| c.is_alphanumeric());
            within == Within::Anything || !in_word
        });
        clean.push(if found.is_some() { GAP } else { chars[at] });
        at += found.unwrap_or(1);
    }
    clean
}

/// How many characters at the start are `secret` when in lower case; `None` when they are not.
fn length_at_start(chars: &[char], secret: &[char]) -> Option<usize> {
    let mut rest = secret;
    for (taken, c) in chars.iter().enumerate() {
        if rest.is_empty() {
            return (taken > 0).then_some(taken);
        }
        for lower in c.to_lowercase() {
            rest = rest.strip_prefix(&[lower])?;
        }
    }
    (rest.is_empty() && !chars.is_empty()).then_some(chars.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wotp_core::domain::address::{Address, AddressKind};
    use wotp_core::testing::channel::outgoing;

    fn to(address: &str) -> Outgoing {
        Outgoing { to: Address::parse(address).unwrap(), ..outgoing(AddressKind::Email, 1) }
    }

    #[test]
    fn the_servers_words_stay_readable_without_the_address_and_the_code() {
        let message = to("ada@example.com");
        for (said, kept) in [
            ("5.1.1 <Ada@Example.COM>: no such user", "5.1.1 <…>: no such user"),
            ("ada: unknown here in Canada", "…: unknown here in Canada"),
            ("550 alias@elsewhere.example\tis\r\nfull", "550 … is full"),
            ("body \"482913 is your code\" is spam", "body \"… is your code\" is spam"),
            ("", ""),
        ] {
            assert_eq!(redacted(said, &message), kept);
        }
        assert_eq!(redacted(&"x".repeat(5000), &message).len(), LENGTH_MAX);
    }

    #[test]
    fn an_address_in_any_script_is_found_in_any_case() {
        assert_eq!(redacted("JÖRG@EXAMPLE.COM and jörg", &to("jörg@example.com")), "… and …");
    }

    proptest! {
        #[test]
        fn whatever_stands_around_them_neither_survives(
            before in "\\PC{0,30}|[a-z<: \u{0}\u{1b}]{0,10}",
            between in "\\PC{0,30}|[a-z<:@ ]{0,10}",
            after in "\\PC{0,30}|[a-z>: ]{0,10}",
        ) {
            let message = to("ada.lovelace1@example.com");
            let said = format!("{before}ADA.lovelace1@example.com{between}482913{after} ada.Lovelace1 {before}");
            let kept = redacted(&said, &message).to_lowercase();
            prop_assert!(!kept.contains("lovelace1@"), "{}", kept);
            prop_assert!(!kept.contains(" ada.lovelace1 "), "{}", kept);
            prop_assert!(!kept.contains("482913"), "{}", kept);
        }
    }
}
