//! Servers echo what they are told. What they say goes to a log, so it is cleaned first.

use super::Outgoing;
use crate::domain::address::AddressKind;
use crate::domain::code::Code;
use crate::domain::template::is_control;

/// Fewest digits at the end of a phone number that tell whose it is.
const NUMBER_END: usize = 7;
/// Longest text of a server's that is kept, in characters.
const LENGTH_MAX: usize = 200;
/// What stands where something was taken out. No address and no code holds it, so what is left on
/// either side of it never joins into one.
const GAP: char = '…';

/// What a provider said of a message, for a log: without the address, the part before its `@` or the end of its
/// number, the code, and what approves of a link; on one line, and cut after 200 characters.
pub fn redacted(text: &str, outgoing: &Outgoing) -> String {
    let address = outgoing.to.as_str();
    let local = address.split('@').next().unwrap_or(address);
    let code = outgoing.code.as_ref().map_or("", Code::as_str);
    // First, so that nothing that is taken out here joins what is looked for below.
    let plain: String = text.chars().map(|c| if is_control(c) { ' ' } else { c }).collect();
    let mut clean = without(&plain, address, Within::Anything);
    clean = without(&clean, code, Within::Anything);
    if let Some(link) = &outgoing.link {
        // Servers cut a URL up, and what is after its last slash is what approves.
        clean = without(&clean, link.rsplit('/').next().unwrap_or(link), Within::Anything);
    }
    clean = match outgoing.to.kind() {
        // As it is written at home, or with a prefix that is not ours.
        AddressKind::Phone => without_number(&clean, address),
        // "ada" is in "Canada" too.
        AddressKind::Email => without(&clean, local, Within::Words),
    };
    // Whatever else looks like an address: rewritten by an alias, or somebody else's.
    let words = clean.split_whitespace().map(|word| if word.contains('@') { "…" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(LENGTH_MAX).collect()
}

/// `text` without every run of digits that ends as the number does; what people write between digits is within a run.
fn without_number(text: &str, number: &str) -> String {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let number = digits(number);
    let end = &number[number.len().saturating_sub(NUMBER_END)..];
    let in_run = |c: char| c.is_ascii_digit() || " -.()/".contains(c);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, run) = rest.split_at(start);
        let length = run.find(|c| !in_run(c)).unwrap_or(run.len());
        let (run, after) = run.split_at(length);
        clean.push_str(before);
        if digits(run).contains(end) {
            clean.push(GAP)
        } else {
            clean.push_str(run)
        }
        rest = after;
    }
    clean + rest
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
    use crate::domain::address::Address;
    use crate::domain::id::{DeliveryId, TenantId, VerificationId};
    use crate::domain::locale::Locale;
    use crate::ports::Item;
    use proptest::prelude::*;

    fn to(address: &str) -> Outgoing {
        Outgoing {
            message_id: DeliveryId::from_bytes([7; 16]),
            tenant: TenantId::from_bytes([3; 16]),
            connection: None,
            item: Item::Verification(VerificationId::from_bytes([7; 16])),
            to: Address::parse(address).unwrap(),
            subject: String::new(),
            text: String::new(),
            code: Some(Code::typed("482913")),
            link: None,
            brand: String::new(),
            locale: Locale::ENGLISH,
            expires_at: crate::domain::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_approves_of_a_link_is_taken_out_wherever_its_url_is_cut() {
        let link = Some("https://wotp.example/l/Ab3-_xYz".to_owned().into());
        let message = Outgoing { code: None, link, ..to("ada@example.com") };
        for (said, kept) in [
            ("no links: https://wotp.example/l/Ab3-_xYz", "no links: https://wotp.example/l/…"),
            ("spam (l/Ab3-_xYz)", "spam (l/…)"),
            ("ab3-_xyz", "…"),
        ] {
            assert_eq!(redacted(said, &message), kept);
        }
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

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let message = to("+12025550123");
        for (said, kept) in [
            ("no route to +12025550123", "no route to …"),
            ("no route to 0012025550123.", "no route to …"),
            ("(202) 555-0123 is no mobile", "(…is no mobile"),
            ("5550123: unknown", "…: unknown"),
            ("error 1234567 of 55501", "error 1234567 of 55501"),
        ] {
            assert_eq!(redacted(said, &message), kept);
        }
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
