//! Lists: filters, and cursors that neither skip nor repeat.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::app::{NUMBER, TestApp, id, number, path, seconds};

async fn ids(app: &TestApp, key: &str, query: &str) -> Vec<String> {
    let page = app.get(format!("/v1/verifications?{query}")).key(key).await.expect(200);
    page["data"].as_array().expect("a page").iter().map(|item| id(item).to_owned()).collect()
}

#[tokio::test]
async fn the_newest_come_first() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let mut started = Vec::new();
    for n in 0..3 {
        started.insert(0, id(&app.started(&acme.live, &number(n)).await.0).to_owned());
        app.clock.advance(seconds(1));
    }
    assert_eq!(ids(&app, &acme.live, "").await, started);
}

#[tokio::test]
async fn every_filter_narrows_the_list() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    let (approved, code) =
        app.started_as(&acme.live, json!({ "to": number(0), "metadata": { "order": "7", "a b": "ö" } })).await;
    app.checking(&acme.live, &approved, &code).await.expect(200);
    app.clock.advance(seconds(60));
    let spare = app
        .starting(&acme.live, json!({ "to": number(1), "channels": ["spare"], "metadata": { "order": "8" } }))
        .await
        .expect(201);
    app.run_jobs().await;
    app.clock.advance(seconds(60));
    let (shopped, _) = app.started_as(&acme.live, json!({ "to": number(2), "service": shop["id"] })).await;
    let (test, _) = app.started(&acme.test, &number(0)).await;
    let [approved, spare, shopped, test] = [&approved, &spare, &shopped, &test].map(|v| id(v).to_owned());

    let key = &acme.live;
    let only = |expected: &String| vec![expected.clone()];
    assert_eq!(ids(&app, key, "status=approved").await, only(&approved));
    assert_eq!(ids(&app, key, "status=pending").await, [shopped.clone(), spare.clone()]);
    assert_eq!(ids(&app, key, "channel=spare").await, only(&spare));
    assert_eq!(ids(&app, key, &format!("address=%2B{}", &number(1)[1..])).await, only(&spare));
    assert_eq!(ids(&app, key, &format!("service={}", id(&shop))).await, only(&shopped));
    assert_eq!(ids(&app, key, "metadata[order]=7&metadata%5Ba+b%5D=%C3%B6").await, only(&approved));
    assert_eq!(ids(&app, key, "metadata[order]=9").await, Vec::<String>::new());
    assert_eq!(
        ids(&app, key, "created_from=2026-11-22T12:01:00Z&created_before=2026-11-22T12:02:00Z").await,
        only(&spare)
    );
    assert_eq!(ids(&app, key, "status=pending&channel=outbox").await, only(&shopped));
    assert_eq!(ids(&app, &acme.test, "").await, only(&test), "a test key sees what test keys made");
}

#[tokio::test]
async fn a_wrong_parameter_is_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let wrong = async |query: &str| app.get(format!("/v1/verifications?{query}")).key(&acme.live).await.wrong_fields();
    assert_eq!(wrong("limit=0").await, ["limit"]);
    assert_eq!(wrong("limit=101").await, ["limit"]);
    assert_eq!(wrong("page=2").await, ["page"]);
    assert_eq!(wrong("status=done&created_from=yesterday").await, ["status", "created_from"]);
    assert_eq!(wrong("address=12025550123").await, ["address"]);
    assert_eq!(wrong("cursor=nonsense").await, ["cursor"]);
}

/// Walks the whole list, calling `between` after each page.
async fn walk(app: &TestApp, key: &str, limit: usize, mut between: impl AsyncFnMut()) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = app.get(format!("/v1/verifications?limit={limit}{after}")).key(key).await.expect(200);
        let items = page["data"].as_array().expect("a page");
        assert!(items.len() <= limit);
        seen.extend(items.iter().map(|item| id(item).to_owned()));
        match &page["next_cursor"] {
            Value::String(next) => cursor = Some(next.clone()),
            other => {
                assert_eq!(other, &Value::Null);
                return seen;
            }
        }
        between().await;
    }
}

#[tokio::test]
async fn a_walk_neither_skips_nor_repeats_while_more_comes_in() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let mut before = BTreeSet::new();
    for n in 0..25 {
        before.insert(id(&app.started(&acme.live, &number(n)).await.0).to_owned());
    }
    let mut next = 25;
    let seen = walk(&app, &acme.live, 4, async || {
        // In the same millisecond and in later ones.
        app.started(&acme.live, &number(next)).await;
        app.clock.advance(seconds(1));
        app.started(&acme.live, &number(next + 1)).await;
        next += 2;
    })
    .await;
    let unique: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len(), "nothing comes twice");
    assert!(before.is_subset(&unique), "what was there at the start is seen");
}

#[tokio::test]
async fn the_last_page_says_so() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for n in 0..4 {
        app.started(&acme.live, &number(n)).await;
    }
    assert_eq!(walk(&app, &acme.live, 2, async || {}).await.len(), 4);
    let page = app.get("/v1/verifications?limit=4").key(&acme.live).await.expect(200);
    assert_eq!(page["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_cursor_is_no_door_to_another_tenant() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    for n in 0..3 {
        app.started(&acme.live, &number(n)).await;
    }
    let page = app.get("/v1/verifications?limit=1").key(&acme.live).await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("there is more");
    assert_eq!(ids(&app, &globex.live, &format!("cursor={cursor}")).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_list_shows_is_what_reading_it_shows() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let page = app.get("/v1/verifications").key(&acme.live).await.expect(200);
    assert_eq!(page["data"][0], app.get(path(&verification)).key(&acme.live).await.expect(200));
}
