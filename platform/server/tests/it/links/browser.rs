//! Links that are bound to the browser that the verification was started in.

use serde_json::{Value, json};

use super::{DONE, ORIGIN, Scene, TITLE, UNKNOWN, heading, path_in};
use crate::app::{TestApp, number, path, seconds};
use crate::client::Reply;

const RETURN_URL: &str = "https://app.example.com/look-at-your-phone?x=1";
const OTHER_BROWSER: &str = "Please open this link in the browser in which you started";

struct Bound {
    verification: Value,
    link: String,
    bind: String,
}

async fn bound(scene: &Scene, to: &str) -> Bound {
    let terms = json!({ "same_browser": { "return_url": RETURN_URL } });
    let (verification, link) = scene.started_as(json!({ "to": to, "method": "link", "link": terms })).await;
    let bind = path_in(verification["bind_url"].as_str().expect("the start says where to send the browser"));
    Bound { verification, link, bind }
}

/// The cookie that a reply gives, as the browser sends it back.
fn given(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().expect("a cookie has a beginning").to_owned()
}

#[tokio::test]
async fn only_the_browser_that_was_sent_through_approves() {
    let scene = Scene::set().await;
    let Bound { verification, link, bind } = bound(&scene, &number(1)).await;
    assert_eq!(verification["link"]["same_browser"]["return_url"], RETURN_URL);

    let through = scene.app.get(&*bind).await;
    assert_eq!((through.status, through.header("location"), through.text.as_str()), (303, RETURN_URL, ""));
    assert_eq!((through.header("cache-control"), through.header("referrer-policy")), ("no-store", "no-referrer"));
    let cookie = through.header("set-cookie");
    let name = format!("__Secure-wotp_link_{}=", verification["id"].as_str().unwrap());
    assert!(cookie.starts_with(&name), "{cookie}");
    assert!(cookie.ends_with("; Path=/l/; Max-Age=300; HttpOnly; SameSite=Lax; Secure"), "{cookie}");

    for cookie in ["", "other=1", &format!("{name}x"), &name] {
        let elsewhere = |request: crate::client::Request| request.header("cookie", cookie);
        let opened = elsewhere(scene.app.get(&*link)).await;
        assert_eq!(heading(&opened, 403), OTHER_BROWSER);
        assert!(!opened.text.contains("<form"), "there is no button: {}", opened.text);
        assert_eq!(heading(&elsewhere(scene.press(&link)).await, 403), OTHER_BROWSER);
    }
    assert_eq!(scene.status(&verification).await, "pending");

    let cookie = format!("theme=dark; {}", given(&through));
    assert_eq!(heading(&scene.app.get(&*link).header("cookie", &cookie).await, 200), TITLE);
    assert_eq!(heading(&scene.press(&link).header("cookie", &cookie).await, 200), DONE);
    assert_eq!(scene.status(&verification).await, "approved");
}

#[tokio::test]
async fn the_cookie_of_one_verification_is_of_no_use_for_another() {
    let scene = Scene::set().await;
    let (one, other) = (bound(&scene, &number(1)).await, bound(&scene, &number(2)).await);
    let mark = given(&scene.app.get(&*one.bind).await);
    let (_, value) = mark.split_once('=').unwrap();
    let renamed = format!("__Secure-wotp_link_{}={value}", other.verification["id"].as_str().unwrap());
    for cookie in [&mark, &renamed] {
        assert_eq!(heading(&scene.press(&other.link).header("cookie", cookie).await, 403), OTHER_BROWSER);
    }
    // Two at once in one browser do not disturb each other.
    let both = format!("{mark}; {}", given(&scene.app.get(&*other.bind).await));
    for bound in [&one, &other] {
        assert_eq!(heading(&scene.press(&bound.link).header("cookie", &both).await, 200), DONE);
    }
}

#[tokio::test]
async fn a_post_from_another_site_approves_nothing() {
    let scene = Scene::set().await;
    let Bound { verification, link, bind } = bound(&scene, &number(1)).await;
    let cookie = given(&scene.app.get(&*bind).await);
    for site in ["cross-site", "same-site"] {
        let posted = scene.app.post(&*link).header("cookie", &cookie).header("sec-fetch-site", site).await;
        assert_eq!(heading(&posted, 200), TITLE, "it is shown the button, and no more");
    }
    assert_eq!(scene.status(&verification).await, "pending");
    // A browser that is too old to say goes by the cookie alone.
    assert_eq!(heading(&scene.app.post(&*link).header("cookie", &cookie).await, 200), DONE);
}

#[tokio::test]
async fn a_pass_binds_and_leads_on_while_the_verification_is_open() {
    let scene = Scene::set().await;
    let Bound { verification, bind, .. } = bound(&scene, &number(1)).await;
    scene.app.clock.advance(seconds(100));
    assert!(scene.app.get(&*bind).await.header("set-cookie").contains("; Max-Age=200;"));
    scene.app.post(format!("{}/cancel", path(&verification))).key(&scene.acme.live).await.expect(200);
    let late = scene.app.get(&*bind).await;
    assert_eq!(heading(&late, 404), UNKNOWN);
    assert_eq!((late.header("location"), late.header("set-cookie")), ("", ""));

    let (_, link) = scene.started(&number(2)).await;
    let token = link["/l/".len()..].to_owned();
    for pass in ["nothing", &token, &bind["/l/browser/".len()..bind.len() - 1]] {
        let refused = scene.app.get(format!("/l/browser/{pass}")).await;
        assert_eq!(heading(&refused, 404), UNKNOWN);
        assert_eq!((refused.header("location"), refused.header("set-cookie")), ("", ""));
    }
    assert_eq!(scene.app.post(&*bind).await.status, 405);
}

#[tokio::test]
async fn where_to_bind_is_told_to_who_starts_and_not_to_who_reads() {
    let scene = Scene::set().await;
    let Bound { verification, .. } = bound(&scene, &number(1)).await;
    let read = scene.app.read(&scene.acme.live, &verification).await;
    assert!(read.get("bind_url").is_none(), "{read}");
    let listed = scene.app.get("/v1/verifications").key(&scene.acme.live).await.expect(200);
    let [shown] = &listed["data"].as_array().unwrap()[..] else { panic!("one is listed: {listed}") };
    assert!(shown["method"] == "link" && shown.get("bind_url").is_none(), "{shown}");
    let (free, _) = scene.started(&number(2)).await;
    assert!(free.get("bind_url").is_none(), "{free}");
}

#[tokio::test]
async fn without_tls_the_cookie_goes_without_its_prefix() {
    let with = TestApp::with().http(|http| {
        http.public_url = Some(ORIGIN.to_owned());
        http.cookie_secure = false;
    });
    let app = with.start().await;
    let acme = app.tenant("Acme").await;
    let scene = Scene { app, acme };
    let Bound { link, bind, .. } = bound(&scene, &number(1)).await;
    let through = scene.app.get(&*bind).await;
    assert!(through.header("set-cookie").starts_with("wotp_link_ver_"), "{}", through.header("set-cookie"));
    assert!(!through.header("set-cookie").contains("Secure"));
    assert_eq!(heading(&scene.press(&link).header("cookie", &given(&through)).await, 200), DONE);
}
