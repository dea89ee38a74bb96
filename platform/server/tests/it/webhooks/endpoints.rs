//! Endpoints by the API: what they may be, whose they are, and what they are told of.

use wotp_core::app::NewKeySettings;

use super::*;

#[tokio::test]
async fn what_cannot_be_an_endpoint_is_refused_by_the_name_of_the_field() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let wrong = [
        (json!({ "url": "ftp://example.com" }), "url"),
        (json!({ "url": "https://169.254.169.254/latest/meta-data" }), "url"),
        (json!({ "url": "https://[::ffff:10.0.0.1]/" }), "url"),
        (json!({ "url": "https://user:secret@example.com/" }), "url"),
        (json!({ "url": format!("https://example.com/{}", "a".repeat(2000)) }), "url"),
        (json!({ "url": "https://example.com", "description": "a".repeat(201) }), "description"),
        (json!({ "url": "https://example.com", "events": ["message.sent", "verification.aproved"] }), "events[1]"),
        (json!({ "url": "https://example.com", "events": ["message.*", "message.*"] }), "events[1]"),
        (json!({ "url": "https://example.com", "service": "svc_1" }), "service"),
        (json!({ "url": "https://example.com", "secret": "whsec_mine" }), "secret"),
        (json!({}), "url"),
    ];
    for (body, field) in wrong {
        let reply = app.post("/v1/webhooks/endpoints").key(&acme.live).json(body).await;
        let problem = reply.problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    assert_eq!(app.get("/v1/webhooks/endpoints").key(&acme.live).await.expect(200), json!({ "data": [] }));
}

#[tokio::test]
async fn an_endpoint_is_told_what_it_asked_for_and_nothing_else() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let receiver = Receiver::start().await;
    let another = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Another" })).await.expect(201);
    let url = |name: &str| format!("http://127.0.0.1:{}/{name}", receiver.port);
    let bodies = [
        json!({ "url": url("all") }),
        json!({ "url": url("quotas"), "events": ["quota.threshold"] }),
        json!({ "url": url("verifications"), "events": ["verification.*"] }),
        json!({ "url": url("service"), "service": acme.service.to_string() }),
        json!({ "url": url("another"), "service": another["id"] }),
    ];
    for body in bodies {
        app.endpoint(&acme.live, body).await;
    }
    app.endpoint(&acme.test, json!({ "url": url("test"), "events": ["verification.*"] })).await;
    let off = app.endpoint(&acme.live, json!({ "url": url("off") })).await;
    let path = format!("/v1/webhooks/endpoints/{}", id(&off["endpoint"]));
    let off = app.request(Method::PATCH, path).key(&acme.live).json(json!({ "enabled": false }));
    assert_eq!(off.await.expect(200)["disabled_reason"], "member");
    let (verification, _) = app.started(&acme.live, crate::app::NUMBER).await;
    app.event(&acme, &verification).await;
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    let mut told: Vec<(String, String)> = receiver
        .received()
        .iter()
        .map(|received| (received.path.clone(), received.json()["type"].as_str().unwrap().to_owned()))
        .collect();
    told.sort();
    let (approved, used) = ("verification.approved", "quota.threshold");
    let expected =
        [("/all", used), ("/all", approved), ("/quotas", used), ("/service", approved), ("/verifications", approved)];
    assert_eq!(told, expected.map(|(path, kind)| (path.to_owned(), kind.to_owned())));
}

#[tokio::test]
async fn a_key_of_one_service_sees_only_its_endpoints_and_events() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let bound = app.key(&acme, |key: &mut NewKeySettings| key.service = Some(acme.service)).await;
    let wide = app.endpoint(&acme.live, json!({ "url": "https://example.com/wide" })).await;
    let narrow = app.endpoint(&bound, json!({ "url": "https://example.com/narrow" })).await;
    assert_eq!(narrow["endpoint"]["service"], acme.service.to_string());
    let seen = app.get("/v1/webhooks/endpoints").key(&bound).await.expect(200);
    assert_eq!(seen["data"], json!([narrow["endpoint"]]));
    app.of_endpoint(&wide, "rotate").key(&bound).await.problem(404, "not_found");
    let path = format!("/v1/webhooks/endpoints/{}", id(&narrow["endpoint"]));
    let widen = app.request(Method::PATCH, path).key(&bound).json(json!({ "service": null }));
    widen.await.problem(403, "service_not_allowed");
    let hidden = app.uses_up(&acme).await;
    let (verification, _) = app.started(&acme.live, crate::app::NUMBER).await;
    let shown = app.event(&acme, &verification).await;
    let events = app.get("/v1/events").key(&bound).await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
    assert_eq!(events["data"][0]["id"], shown);
    app.get(format!("/v1/events/{hidden}")).key(&bound).await.problem(404, "not_found");
    app.run_webhooks().await;
}

#[tokio::test]
async fn events_are_listed_page_by_page_and_by_type() {
    let (app, acme) = TestApp::start_with_tenant().await;
    assert!(!app.app.listens(acme.id).await.unwrap());
    let (verification, _) = app.started(&acme.live, crate::app::NUMBER).await;
    let approved = app.event(&acme, &verification).await;
    let mut used = Vec::new();
    for _ in 0..5 {
        app.clock.advance(crate::app::seconds(1));
        used.push(app.uses_up(&acme).await);
    }
    used.reverse();
    let mut seen = Vec::new();
    let mut query = "limit=2&type=quota.*".to_owned();
    loop {
        let page = app.get(format!("/v1/events?{query}")).key(&acme.live).await.expect(200);
        let events = page["data"].as_array().unwrap();
        seen.extend(events.iter().map(|event| id(event).to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => query = format!("limit=2&type=quota.*&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, used);
    let one = app.get("/v1/events?type=verification.approved").key(&acme.live).await.expect(200);
    assert_eq!((one["data"][0]["id"].as_str(), &one["next_cursor"]), (Some(approved.as_str()), &Value::Null));
    for wrong in ["type=verification", "limit=0", "limit=101", "cursor=x", "page=2"] {
        app.get(format!("/v1/events?{wrong}")).key(&acme.live).await.problem(422, "invalid_request");
    }
    // Somebody reads: for a day, events are kept.
    assert!(app.app.listens(acme.id).await.unwrap());
    app.clock.advance(crate::app::seconds(24 * 3600 + 2));
    assert!(!app.app.listens(acme.id).await.unwrap());
    app.endpoint(&acme.live, json!({ "url": "https://example.com/" })).await;
    assert!(app.app.listens(acme.id).await.unwrap());
}

#[tokio::test]
async fn a_tenant_has_at_most_fifty_endpoints() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for n in 0..50 {
        app.endpoint(&acme.live, json!({ "url": format!("https://example.com/{n}") })).await;
    }
    let more = app.post("/v1/webhooks/endpoints").key(&acme.live).json(json!({ "url": "https://example.com/" }));
    more.await.problem(409, "limit_reached");
    app.endpoint(&acme.test, json!({ "url": "https://example.com/test" })).await;
}

#[tokio::test]
async fn a_test_goes_to_its_endpoint_alone_whatever_that_is_told_of() {
    let (app, acme, receiver, endpoint) = stage().await;
    let narrow = app
        .endpoint(&acme.live, json!({ "url": receiver.url().replace("hook", "narrow"), "events": ["message.*"] }))
        .await;
    let delivery = app.of_endpoint(&narrow, "test").key(&acme.live).await.expect(202);
    assert_eq!((&delivery["event_type"], &delivery["status"]), (&json!("webhook.test"), &json!("pending")));
    app.run_webhooks().await;
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].path.as_str(), received[0].id()), ("/narrow?a=b", delivery["event"].as_str().unwrap()));
    assert_eq!(received[0].json()["data"]["endpoint"], narrow["endpoint"]["id"]);
    let attempts = app.attempts(&acme.live, &narrow, "").await;
    assert_eq!(attempts[0]["status"], "delivered");
    assert_eq!(attempts[0]["attempts"][0]["status_code"], 204);
    assert!(app.attempts(&acme.live, &endpoint, "").await.is_empty());
}

#[tokio::test]
async fn what_is_changed_of_endpoints_is_in_the_audit_log_without_secrets() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let endpoint = app.endpoint(&acme.live, json!({ "url": "https://example.com/secret-path?token=1" })).await;
    app.of_endpoint(&endpoint, "rotate").key(&acme.live).await.expect(200);
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    app.request(Method::DELETE, path.clone()).key(&acme.live).await.expect(204);
    app.get(path).key(&acme.live).await.problem(404, "not_found");
    let list = EntityList::of(Owner::Tenant(acme.id));
    let entries = app.app.ports().store.list_entities("audit_entry", &list).await.unwrap();
    let text = format!("{entries:?}");
    for action in ["webhook_endpoint.create", "webhook_endpoint.rotate", "webhook_endpoint.delete"] {
        assert!(text.contains(action), "{action}");
    }
    for secret in ["secret-path", "token=1", "whsec_", &endpoint["secret"].as_str().unwrap()[6..]] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn that_an_endpoint_is_elsewhere_on_the_same_host_is_told_and_not_where() {
    let app = TestApp::start().await;
    let mut marks = Vec::new();
    for name in ["Acme", "Globex"] {
        let tenant = app.tenant(name).await;
        let endpoint = app.endpoint(&tenant.live, json!({ "url": "https://hooks.example.com/acme/s3cret" })).await;
        let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
        let move_to = |url: &str| app.request(Method::PATCH, &path).key(&tenant.live).json(json!({ "url": url }));
        move_to("https://hooks.example.com/eve/s3cret").await.expect(200);
        move_to("https://hooks.example.com/acme/s3cret").await.expect(200);
        let list = EntityList::of(Owner::Tenant(tenant.id));
        let rows = app.app.ports().store.list_entities("audit_entry", &list).await.unwrap();
        let log: Vec<Value> = rows.into_iter().map(|row| Value::Object(row.doc)).collect();
        let changes: Vec<&Value> = log.iter().filter(|entry| entry["action"] == "webhook_endpoint.change").collect();
        assert_eq!(changes.len(), 2);
        for change in &changes {
            assert_ne!(change["before"], change["after"]);
            assert_eq!(
                (&change["before"]["host"], &change["after"]["host"]),
                (&json!("hooks.example.com"), &json!("hooks.example.com"))
            );
        }
        assert_eq!(changes[0]["before"], changes[1]["after"], "that it is back is told too");
        let text = json!(log).to_string();
        for part in ["acme/", "/eve", "s3cret"] {
            assert!(!text.contains(part), "{part}");
        }
        marks.push(changes[0]["before"]["url_mark"].as_str().expect("a mark").to_owned());
    }
    assert_eq!(marks[0].len(), 16);
    assert_ne!(marks[0], marks[1], "of two tenants nobody learns that they have the same");
}
