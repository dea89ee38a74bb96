use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn locale(tag: &str) -> Locale {
    tag.parse().unwrap()
}

fn inputs() -> Inputs<'static> {
    Inputs {
        brand: "Acme",
        code: "123456",
        expires_in: SignedDuration::from_mins(5),
        web_origin: None,
        sms_retriever_hash: None,
    }
}

fn template(tag: &str, subject: Option<&str>, text: &str) -> CustomTemplate {
    CustomTemplate {
        channel: None,
        locale: locale(tag),
        version: 1,
        subject: subject.map(str::to_owned),
        text: text.to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn text_after(tag: &str, minutes: i64) -> String {
    let inputs = Inputs { expires_in: SignedDuration::from_mins(minutes), ..inputs() };
    render(&locale(tag), None, &inputs).text
}

fn custom_text(tag: &str, text: &str, inputs: &Inputs<'_>) -> String {
    render(&locale("en"), Some(&template(tag, None, text)), inputs).text
}

#[test]
fn every_language_tells_the_code_the_brand_and_the_minutes() {
    for language in languages() {
        for minutes in 1..=60 {
            let inputs = Inputs { expires_in: SignedDuration::from_mins(minutes), ..inputs() };
            let message = render(&language, None, &inputs);
            assert_eq!(message.locale, language);
            for text in [&message.subject, &message.text] {
                assert!(text.contains("123456") && text.contains("Acme"), "{language}: {text}");
                assert!(!text.contains(['{', '}']) && !text.contains("  "), "{language}: {text}");
            }
            // One and two are words in Arabic and Hebrew.
            if minutes > 2 || !language.is_rtl() {
                assert!(message.text.contains(&minutes.to_string()), "{language}: {}", message.text);
            }
        }
    }
}

#[test]
fn there_are_more_than_fifty_languages_and_no_two_say_the_same() {
    let mut texts: Vec<String> = languages().map(|l| render(&l, None, &inputs()).text).collect();
    let count = texts.len();
    assert!(count > 50, "{count}");
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count);
}

#[test]
fn every_built_in_text_passes_the_rules_for_a_tenants_own() {
    for language in languages() {
        let message = render(&language, None, &inputs());
        let own = message.text.replace("123456", "{{code}}").replace([ISOLATE, END_OF_ISOLATE], "");
        validate(&own, None, Policy::default()).unwrap_or_else(|error| panic!("{language}: {error}"));
    }
}

#[test]
fn minutes_are_in_the_plural_that_the_number_asks_for() {
    for (tag, minutes, words) in [
        ("en", 1, "1 minute."),
        ("en", 5, "5 minutes."),
        ("pl", 1, "1 minutę."),
        ("pl", 2, "2 minuty."),
        ("pl", 5, "5 minut."),
        ("pl", 22, "22 minuty."),
        ("ru", 1, "1 минуту."),
        ("ru", 3, "3 минуты."),
        ("ru", 11, "11 минут."),
        ("ru", 21, "21 минуту."),
        ("uk", 14, "14 хвилин."),
        ("cs", 4, "4 minuty."),
        ("cs", 21, "21 minut."),
        ("sl", 2, "2 minuti."),
        ("sr", 21, "21 минут."),
        ("ro", 19, "19 minute."),
        ("ro", 20, "20 de minute."),
        ("lv", 21, "21 minūtes."),
        ("lt", 10, "10 minučių."),
        ("he", 2, "שתי דקות."),
        ("ar", 1, "دقيقة واحدة."),
        ("ar", 2, "دقيقتين."),
        ("ar", 5, "5 دقائق."),
        ("ar", 11, "11 دقيقة."),
        ("fil", 4, "4 na minuto."),
        ("fil", 5, "5 minuto."),
        ("ja", 5, "5分です。"),
    ] {
        let text = text_after(tag, minutes);
        assert!(text.contains(words), "{tag} {minutes}: {text}");
    }
}

#[test]
fn what_is_left_is_rounded_up_to_minutes_between_one_and_sixty() {
    for (milliseconds, minutes) in [
        (i64::MIN, 1),
        (-1, 1),
        (0, 1),
        (1, 1),
        (60_000, 1),
        (60_001, 2),
        (299_000, 5),
        (3_600_000, 60),
        (i64::MAX, 60),
    ] {
        assert_eq!(whole_minutes(SignedDuration::from_millis(milliseconds)), minutes, "{milliseconds}");
    }
    assert_eq!(whole_minutes(SignedDuration::MAX), 60);
    assert_eq!(whole_minutes(SignedDuration::MIN), 1);
}

#[test]
fn a_language_without_texts_gets_english() {
    let message = render(&locale("tlh"), None, &inputs());
    assert_eq!(message.locale, Locale::ENGLISH);
    assert!(message.text.starts_with("123456 is your Acme"));
}

#[test]
fn code_and_brand_are_isolated_in_right_to_left_languages_and_only_there() {
    for language in languages() {
        let message = render(&language, None, &inputs());
        for text in [&message.subject, &message.text] {
            let isolated = text.contains("\u{2068}123456\u{2069}") && text.contains("\u{2068}Acme\u{2069}");
            assert_eq!(isolated, language.is_rtl(), "{language}: {text}");
            assert_eq!(text.contains('\u{2068}'), language.is_rtl(), "{language}: {text}");
        }
    }
    assert_eq!(custom_text("he", "{{code}} {{brand}}", &inputs()), "\u{2068}123456\u{2069} \u{2068}Acme\u{2069}");
}

#[test]
fn the_line_for_browsers_is_last_and_names_only_the_host() {
    let inputs = Inputs { web_origin: Some("https://login.example.com:8443/x"), ..inputs() };
    for language in languages() {
        let text = render(&language, None, &inputs).text;
        assert_eq!(text.lines().last(), Some("@login.example.com #123456"), "{language}");
    }
    assert_eq!(custom_text("en", "{{code}}", &inputs), "123456\n\n@login.example.com #123456");
}

#[test]
fn the_hash_ends_the_message_and_every_language_fits_the_sms_retriever() {
    let inputs = Inputs { sms_retriever_hash: Some("FA+9qCX9VSu"), ..inputs() };
    for language in languages() {
        let text = render(&language, None, &inputs).text;
        assert!(text.ends_with("\n\nFA+9qCX9VSu"), "{language}: {text}");
        assert!(fits_sms_retriever(&text), "{language}: {} bytes: {text}", text.len());
    }
    let english = render(&locale("en"), None, &inputs).text;
    assert!(english.contains("expires") && english.contains("share"), "{english}");
}

#[test]
fn a_long_brand_costs_the_sentences_and_never_the_code() {
    let brand = "B".repeat(200);
    let inputs = Inputs { brand: &brand, sms_retriever_hash: Some("FA+9qCX9VSu"), ..inputs() };
    let text = render(&locale("en"), None, &inputs).text;
    assert_eq!(text, format!("123456 is your {brand} verification code.\n\nFA+9qCX9VSu"));
}

#[test]
fn browser_and_app_share_the_last_line() {
    let inputs = Inputs { web_origin: Some("example.com"), sms_retriever_hash: Some("FA+9qCX9VSu"), ..inputs() };
    let text = render(&locale("en"), None, &inputs).text;
    assert_eq!(text.lines().last(), Some("@example.com #123456 FA+9qCX9VSu"));
}

#[test]
fn an_origin_or_hash_that_cannot_work_is_left_out() {
    let inputs = Inputs { web_origin: Some("http://example.com"), sms_retriever_hash: Some("short"), ..inputs() };
    assert_eq!(custom_text("en", "{{code}}", &inputs), "123456");
}

#[test]
fn a_template_of_ones_own_is_filled_in_its_own_language() {
    let own =
        template("pl", Some("{{ brand }}: {{code}}"), "{{code}}! {{expiry}} {{do_not_share}} ({{expires_in_minutes}})");
    let message = render(&locale("en"), Some(&own), &inputs());
    assert_eq!(message.subject, "Acme: 123456");
    assert_eq!(message.text, "123456! Wygaśnie za 5 minut. Nie udostępniaj go nikomu. (5)");
    assert_eq!(message.locale, locale("pl"));
}

#[test]
fn a_template_without_a_subject_has_ours_in_its_language() {
    let message = render(&locale("en"), Some(&template("de-AT", None, "{{code}}")), &inputs());
    assert_eq!(message.subject, "123456 ist Ihr Code für Acme");
    assert_eq!(message.locale, locale("de-AT"));
}

#[test]
fn a_template_that_cannot_be_read_gives_way_to_the_built_in_text() {
    for broken in ["no code", "{{code", "{{code}} {{what}}"] {
        let text = render(&locale("de"), Some(&template("fr", None, broken)), &inputs()).text;
        assert!(text.starts_with("123456 ist Ihr Bestätigungscode"), "{text}");
    }
}

#[test]
fn a_brand_cannot_smuggle_in_placeholders_lines_or_directions() {
    let named = |brand| Inputs { brand, ..inputs() };
    assert_eq!(custom_text("en", "{{brand}} {{code}}", &named("{{code}}")), "{{code}} 123456");
    assert_eq!(custom_text("en", "{{brand}} {{code}}", &named("A\n@evil.example #1")), "A@evil.example #1 123456");
    assert_eq!(
        custom_text("he", "{{brand}}{{code}}", &named("A\u{2069}\u{202E}B")),
        "\u{2068}AB\u{2069}\u{2068}123456\u{2069}"
    );
}

#[test]
fn neither_code_nor_link_is_in_a_debug_print() {
    let link = render_link(&locale("en"), "Acme", "https://secret");
    let printed = format!("{:?} {:?} {link:?}", inputs(), render(&locale("en"), None, &inputs()));
    assert!(!printed.contains("123456") && !printed.contains("secret"), "{printed}");
}

proptest! {
    #[test]
    fn whatever_is_filled_in_the_code_is_told(
        text in "(\\PC|\n|\\{\\{|\\{\\{ ?(code|brand|expiry|do_not_share) ?\\}\\}){0,40}",
        brand in ".{0,40}",
        code in "[A-Z0-9]{4,12}",
        seconds: i64,
        web_origin in proptest::option::of(".{0,30}|[a-z]{1,8}\\.[a-z]{2,5}"),
        sms_retriever_hash in proptest::option::of(".{0,12}|[a-zA-Z0-9+/]{11}"),
        at in 0usize..60,
    ) {
        let inputs = Inputs {
            brand: &brand,
            code: &code,
            expires_in: SignedDuration::from_secs(seconds),
            web_origin: web_origin.as_deref(),
            sms_retriever_hash: sms_retriever_hash.as_deref(),
        };
        let language = languages().nth(at % languages().count()).unwrap();
        let own = template(&language.to_string(), None, &text);
        for message in [render(&language, None, &inputs), render(&language, Some(&own), &inputs)] {
            prop_assert!(message.text.contains(&code));
            prop_assert!(!message.subject.contains('\n'));
        }
    }
}
