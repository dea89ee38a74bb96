//! The page of a link as HTML: one file with its style in it, which loads nothing and needs no script.

use std::sync::LazyLock;

use axum::http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use wotp_core::app::{LinkAbout, LinkState};
use wotp_core::domain::locale::Locale;
use wotp_core::domain::template::{LinkWords, is_control, link_words, speaks};

use crate::http::docs::{Text, put, source};

const STYLE: &str = include_str!("page.css");
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        source(STYLE)
    );
    HeaderValue::from_str(&policy).expect("a hash in Base64 is ASCII")
});

/// What a page is about.
pub(super) enum Shown<'a> {
    /// What became of a link.
    State(&'a LinkState),
    /// The server could not do it just now.
    Later,
}

/// A page about a link that is known.
pub(super) fn shown(status: StatusCode, about: &LinkAbout, shown: Shown<'_>) -> Response {
    let (locale, words) = link_words(&about.locale);
    respond(status, locale, &html(locale, words, Some(about), &shown))
}

/// A page about a link that is nobody's, in the language of the browser.
pub(super) fn unknown(headers: &HeaderMap) -> Response {
    anonymous(StatusCode::NOT_FOUND, headers, &Shown::State(&LinkState::Unknown))
}

/// A page for when the server could not do it, in the language of the browser.
pub(super) fn later(headers: &HeaderMap) -> Response {
    anonymous(StatusCode::SERVICE_UNAVAILABLE, headers, &Shown::Later)
}

fn anonymous(status: StatusCode, headers: &HeaderMap, shown: &Shown<'_>) -> Response {
    let (locale, words) = link_words(&asked_for(headers));
    respond(status, locale, &html(locale, words, None, shown))
}

fn respond(status: StatusCode, locale: Locale, html: &str) -> Response {
    let language = HeaderValue::from_str(&locale.to_string()).expect("a language tag is ASCII");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_LANGUAGE, language),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (ROBOTS, HeaderValue::from_static("noindex, nofollow")),
    ];
    (status, headers, html.to_owned()).into_response()
}

/// The language that a browser asks for first, of those that there are words in; else English.
fn asked_for(headers: &HeaderMap) -> Locale {
    let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weighed = asked.split(',').take(20).filter_map(|part| {
        let (tag, weight) = part.split_once(';').unwrap_or((part, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=")?.trim().parse().ok()?;
        Some((tag.trim().parse::<Locale>().ok()?, weight))
    });
    let mut best: Option<(Locale, f32)> = None;
    for (locale, weight) in weighed.filter(|(locale, weight)| *weight > 0.0 && speaks(locale)) {
        if best.is_none_or(|(_, found)| weight > found) {
            best = Some((locale, weight));
        }
    }
    best.map_or(Locale::ENGLISH, |(locale, _)| locale)
}

fn html(locale: Locale, words: &LinkWords, about: Option<&LinkAbout>, shown: &Shown<'_>) -> String {
    let (heading, then) = match shown {
        Shown::Later => (&words.later, None),
        Shown::State(LinkState::Open) => (&words.title, Some(&words.ask)),
        Shown::State(LinkState::Approved { .. }) => (&words.done, Some(&words.close)),
        Shown::State(LinkState::Used) => (&words.used, Some(&words.close)),
        Shown::State(LinkState::Expired) => (&words.expired, Some(&words.again)),
        Shown::State(LinkState::Canceled) => (&words.canceled, Some(&words.again)),
        Shown::State(LinkState::OtherBrowser) => (&words.other_browser, None),
        Shown::State(LinkState::Unknown) => (&words.unknown, Some(&words.again)),
    };
    let direction = if locale.is_rtl() { "rtl" } else { "ltr" };
    let mut body = String::with_capacity(4096);
    let mut title = String::new();
    if let Some(about) = about {
        let brand: String = about.brand.chars().filter(|c| !is_control(*c)).collect();
        // Isolated, so that neither turns the other about.
        put!(&mut title, "\u{2068}{}\u{2069}{}", Text(&brand), Text(&words.colon));
        put!(&mut body, "<p class=\"brand\"><bdi>{}</bdi></p>\n", Text(&brand));
    }
    put!(&mut title, "{}", Text(heading));
    put!(&mut body, "<h1>{}</h1>\n", Text(heading));
    let to = about.and_then(|about| about.to.as_deref()).filter(|_| matches!(shown, Shown::State(LinkState::Open)));
    if let Some(to) = to {
        put!(&mut body, "<p class=\"to\"><bdi dir=\"ltr\">{}</bdi></p>\n", Text(to));
    }
    if let Some(then) = then {
        put!(&mut body, "<p>{}</p>\n", Text(then));
    }
    match shown {
        // Without an action it posts to where it came from: the link is in no page.
        Shown::State(LinkState::Open) => {
            put!(&mut body, "<form method=\"post\"><button type=\"submit\">{}</button></form>\n", Text(&words.button));
        }
        Shown::State(LinkState::Approved { redirect_url: Some(url) }) => {
            put!(
                &mut body,
                "<p><a class=\"button\" rel=\"noreferrer\" href=\"{}\">{}</a></p>\n",
                Text(url),
                Text(&words.back)
            );
        }
        _ => {}
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"{locale}\" dir=\"{direction}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex, nofollow\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(value: &'static str) -> String {
        let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(value))]);
        asked_for(&headers).to_string()
    }

    #[test]
    fn a_browser_gets_the_language_that_it_wants_most_of_those_there_are() {
        for (asked, given) in [
            ("de", "de"),
            ("tlh, de;q=0.8, fr;q=0.9", "fr"),
            ("de-AT,de;q=0.9,en;q=0.5", "de-AT"),
            ("he;q=0", "en"),
            ("*, ar;q=0.1", "ar"),
            (";;q=,", "en"),
            ("", "en"),
        ] {
            assert_eq!(asks(asked), given, "{asked}");
        }
        assert_eq!(asked_for(&HeaderMap::new()), Locale::ENGLISH);
    }

    #[test]
    fn nothing_that_a_tenant_says_becomes_markup() {
        let about = LinkAbout {
            brand: "</title><script>alert(1)</script>\u{202E}".to_owned(),
            locale: "de".parse().unwrap(),
            to: Some("a***@\"><img>.example".to_owned()),
        };
        let (locale, words) = link_words(&about.locale);
        let url = "https://app.example.com/?a='&b=<x>".to_owned();
        for state in [LinkState::Open, LinkState::Approved { redirect_url: Some(url) }, LinkState::OtherBrowser] {
            let html = html(locale, words, Some(&about), &Shown::State(&state));
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<x>"), "{html}");
            assert!(!html.contains('\u{202E}'), "{html}");
            assert_eq!(html.matches("</title>").count(), 1, "{html}");
        }
    }
}
