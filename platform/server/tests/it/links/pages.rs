//! What the page of a link looks like, in every language, and what it lets browsers do.

use serde_json::json;
use wotp_core::domain::template::{languages, link_words};

use super::{CANCELED, DONE, Scene, TITLE, UNKNOWN, heading};
use crate::app::{NUMBER, number, path};

#[tokio::test]
async fn the_page_loads_nothing_keeps_nothing_and_tells_no_other_site() {
    let scene = Scene::set().await;
    let (_, link) = scene.started(NUMBER).await;
    let pages = [scene.app.get(&*link).await, scene.press(&link).await, scene.app.get("/l/nothing").await];
    for page in &pages {
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("x-robots-tag"), "noindex, nofollow");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        let policy = page.header("content-security-policy");
        let (style, rest): (Vec<_>, Vec<_>) = policy.split("; ").partition(|part| part.starts_with("style-src"));
        assert_eq!(rest, ["default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"]);
        assert!(style.len() == 1 && style[0].starts_with("style-src 'sha256-"), "{policy}");
        for forbidden in ["<script", "<link", "<img", "src=", "url(", "@import", "javascript:", "onclick", "http-equiv"]
        {
            assert!(!page.text.contains(forbidden), "{forbidden} in {}", page.text);
        }
        assert!(!page.text.contains(&link["/l/".len()..]), "the link is in no page");
        assert!(page.text.contains("prefers-color-scheme: dark") && page.text.contains("width=device-width"));
    }
}

#[tokio::test]
async fn the_style_is_the_one_that_the_policy_names() {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};
    let scene = Scene::set().await;
    let page = scene.app.get("/l/nothing").await;
    let (_, rest) = page.text.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    assert!(page.header("content-security-policy").contains(&format!("style-src 'sha256-{hash}'")));
}

#[tokio::test]
async fn the_page_is_in_the_language_of_the_message_in_all_of_them() {
    let scene = Scene::set().await;
    for (n, language) in languages().enumerate() {
        let body = json!({ "to": number(n), "method": "link", "locale": language.to_string() });
        let (verification, link) = scene.started_as(body).await;
        let (_, words) = link_words(&language);
        let letter = scene.app.outbox.last();
        assert_eq!(letter.locale, language.to_string());
        assert!(letter.text.contains(&words.open) && letter.subject.ends_with(&words.title), "{}", letter.text);
        // Whatever the browser asks for: the person knows the message.
        let page = scene.app.get(&*link).header("accept-language", "tlh, en").await;
        let direction = if language.is_rtl() { "rtl" } else { "ltr" };
        assert!(page.text.contains(&format!("<html lang=\"{language}\" dir=\"{direction}\">")), "{}", page.text);
        assert_eq!(page.header("content-language"), language.to_string());
        let shown = page.text.replace("&#39;", "'");
        for words in [&words.title, &words.ask, &words.button] {
            assert!(shown.contains(words.as_str()), "{language}: {words} in {shown}");
        }
        if n % 2 == 0 {
            let done = scene.press(&link).await.text.replace("&#39;", "'");
            assert!(done.contains(&words.done) && done.contains(&words.close), "{language}: {done}");
        } else {
            scene.app.post(format!("{}/cancel", path(&verification))).key(&scene.acme.live).await.expect(200);
            let over = scene.app.get(&*link).await.text.replace("&#39;", "'");
            assert!(over.contains(&words.canceled) && over.contains(&words.again), "{language}: {over}");
        }
    }
}

#[tokio::test]
async fn arabic_and_hebrew_read_from_right_to_left_with_the_address_the_other_way() {
    let scene = Scene::set().await;
    let start = async |n, locale| {
        let body = json!({ "to": number(n), "method": "link", "locale": locale });
        let (_, link) = scene.started_as(body).await;
        scene.app.get(&*link).await.text
    };
    let arabic = start(1, "ar").await;
    assert!(arabic.contains("dir=\"rtl\"") && arabic.contains("<h1>يرجى تأكيد أنك أنت</h1>"), "{arabic}");
    assert!(arabic.contains("<bdi dir=\"ltr\">+44"), "{arabic}");
    let hebrew = start(2, "he-IL").await;
    assert!(hebrew.contains("<html lang=\"he\" dir=\"rtl\">") && hebrew.contains("נא לאשר שזה אתם"), "{hebrew}");
}

#[tokio::test]
async fn nobodys_link_is_answered_in_the_language_of_the_browser() {
    let scene = Scene::set().await;
    let page = scene.app.get("/l/nothing").header("accept-language", "ja;q=0.9, fr;q=1.0").await;
    assert_eq!(heading(&page, 404), "Ce lien n&#39;est pas valide");
    assert!(page.text.contains("<html lang=\"fr\" dir=\"ltr\">"), "{}", page.text);
    assert_eq!(heading(&scene.app.get("/l/nothing").await, 404), UNKNOWN);
}

#[tokio::test]
async fn a_brand_is_shown_as_it_is_and_never_run() {
    let scene = Scene::set().await;
    scene.app.change_service(&scene.acme, json!({ "brand": "<b>A&B</b> \"q\" 'x'" })).await;
    let (_, link) = scene.started(NUMBER).await;
    let page = scene.app.get(&*link).await;
    assert_eq!(heading(&page, 200), TITLE);
    assert!(page.text.contains("<bdi>&lt;b&gt;A&amp;B&lt;/b&gt; &quot;q&quot; &#39;x&#39;</bdi>"), "{}", page.text);
    assert!(!page.text.contains("<b>"));
    assert!(page.text.contains("<bdi dir=\"ltr\">+1********23</bdi>"), "the address is masked: {}", page.text);
}

#[tokio::test]
async fn only_who_approved_is_led_on_and_only_where_the_tenant_said() {
    let scene = Scene::set().await;
    let url = "https://app.example.com/welcome?a=1&b=2#top";
    let body = json!({ "to": NUMBER, "method": "link", "link": { "redirect_url": url } });
    let (verification, link) = scene.started_as(body).await;
    assert_eq!(verification["link"]["redirect_url"], url);
    let before = scene.app.get(format!("{link}?redirect_url=https://evil.example")).await;
    assert!(!before.text.contains("app.example.com") && !before.text.contains("evil.example"), "{}", before.text);
    let done = scene.press(&link).await;
    assert_eq!(heading(&done, 200), DONE);
    let anchor =
        "<a class=\"button\" rel=\"noreferrer\" href=\"https://app.example.com/welcome?a=1&amp;b=2#top\">Go back</a>";
    assert!(done.text.contains(anchor), "{}", done.text);
    let later = scene.app.get(&*link).await;
    assert!(!later.text.contains("app.example.com"), "whoever finds the link is led nowhere: {}", later.text);

    let (canceled, link) = scene.started(&number(1)).await;
    scene.app.post(format!("{}/cancel", path(&canceled))).key(&scene.acme.live).await.expect(200);
    let over = scene.app.get(&*link).await;
    assert_eq!(heading(&over, 410), CANCELED);
    assert!(!over.text.contains("<form") && !over.text.contains("<a "), "{}", over.text);
}
