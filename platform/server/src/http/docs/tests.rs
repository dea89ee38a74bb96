use serde_json::Value;

use super::*;
use crate::http::ProblemCode;

/// The values of an attribute, in the order of the page.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    html.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

fn document() -> Value {
    serde_json::from_str(&DOCUMENT).unwrap()
}

#[test]
fn every_operation_is_on_the_page() {
    let document = document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let mut count = 0;
    for operation in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(PAGE.contains(&format!("<article class=\"op\" id=\"op-{id}\"")), "{id}");
        assert!(PAGE.contains(&format!("<li><a href=\"#op-{id}\">")), "{id} is not in the contents");
        count += 1;
    }
    assert!(count > 20);
}

#[test]
fn every_problem_is_where_its_type_leads() {
    for code in ProblemCode::ALL {
        assert!(PAGE.contains(&format!("<section class=\"problem\" id=\"{}\"", code.id())), "{}", code.id());
    }
}

#[test]
fn every_link_within_the_page_leads_somewhere_and_every_anchor_is_one() {
    let ids = values(&PAGE, "id");
    for link in values(&PAGE, "href").into_iter().filter_map(|link| link.strip_prefix('#')) {
        assert!(ids.contains(&link), "#{link}");
    }
    for label in values(&PAGE, "aria-labelledby") {
        assert!(ids.contains(&label), "{label}");
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn the_page_loads_nothing_and_leads_nowhere_else() {
    assert_eq!(values(&PAGE, "src"), Vec::<&str>::new());
    for link in values(&PAGE, "href") {
        assert!(link.starts_with('#') || link == "/openapi.json", "{link}");
    }
    assert!(!PAGE.contains("<link") && !PAGE.contains("<img") && !PAGE.contains("<iframe"));
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    assert!(!SCRIPT.contains("fetch(") && !SCRIPT.contains("import"));
    // The policy would refuse them.
    assert!(!PAGE.contains(" style=\"") && !PAGE.contains(" onclick="));
}

#[test]
fn the_policy_names_the_style_and_the_script_that_are_on_the_page() {
    // What a browser hashes is exactly what stands between the tags.
    let between = |tag: &str| {
        let (_, rest) = PAGE.split_once(&format!("<{tag}>")).unwrap();
        rest.split_once(&format!("</{tag}>")).unwrap().0
    };
    let policy = POLICY.to_str().unwrap();
    assert!(policy.contains(&format!("style-src '{}'", source(between("style")))));
    assert!(policy.contains(&format!("script-src '{}'", source(between("script")))));
    assert_eq!(PAGE.matches("<script").count(), 1);
    assert_eq!(PAGE.matches("<style").count(), 1);
    // Computed with `printf abc | openssl dgst -sha256 -binary | base64`.
    assert_eq!(source("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
}

#[test]
fn what_the_document_says_cannot_become_markup() {
    let mut document = document();
    let evil = "</code><script>alert('1')</script> `<b>` \"x\"";
    document["tags"][0]["description"] = evil.into();
    let operation = &mut document["paths"]["/v1/verifications"]["post"];
    for text in ["summary", "description"] {
        operation[text] = evil.into();
    }
    operation["responses"]["201"]["description"] = evil.into();
    operation["parameters"][0]["name"] = evil.into();
    let field = &mut document["components"]["schemas"]["StartVerification"]["properties"]["to"];
    for text in ["description", "example", "pattern"] {
        field[text] = evil.into();
    }
    document["components"]["schemas"]["Verification"]["properties"]["id"]["example"] = evil.into();
    document["components"]["schemas"]["VerificationStatus"]["enum"][0] = evil.into();
    let page = render::page(&document, "", "");
    assert!(page.contains("&lt;script&gt;alert("));
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<b>") && !page.contains("alert('"));
}

#[test]
fn headings_do_not_skip_a_level_and_there_is_one_title() {
    let mut before = 0;
    let mut titles = 0;
    for rest in PAGE.split("<h").skip(1) {
        let Some(level) = rest.chars().next().and_then(|level| level.to_digit(10)) else { continue };
        assert!(level <= before + 1, "h{level} after h{before}: {}", rest.chars().take(60).collect::<String>());
        titles += u32::from(level == 1);
        before = level;
    }
    assert_eq!(titles, 1);
}

#[test]
fn every_language_has_a_name() {
    for locale in wotp_core::domain::template::languages() {
        assert!(guide::language_name(&locale.to_string()).is_some(), "{locale}");
    }
}

#[test]
fn the_page_grows_no_faster_than_the_api() {
    let document: Value = serde_json::from_str(&crate::http::openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|path| path.as_object().unwrap().len()).sum();
    // What the first 27 operations took: 300 KiB, of which the guide was 80.
    let most = 80 * 1024 + operations * 220 * 1024 / 27;
    assert!(PAGE.len() < most, "{} bytes for {operations} operations", PAGE.len());
}

#[tokio::test]
async fn the_page_says_how_it_may_be_used() {
    let response = page(HeaderMap::new()).await.into_response();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
    assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], *POLICY);
}
