//! What is answered besides the operations of the document: one list, and why each is on it.

use std::collections::BTreeSet;

use axum::Router;

use super::Stage;
use super::callers::nobody;
use super::document::Document;
use crate::app::{NUMBER, TestApp};

/// Method and path, and why the document has it not.
const BESIDE: [(&str, &str, &str); 9] = [
    ("get", "/openapi.json", "it is the document"),
    ("get", "/docs", "it is the document, as a page"),
    ("get", "/metrics", "it is for whoever runs the machines, and tells of no tenant"),
    ("get", "/hooks/{channel}/{*path}", "it is for providers, who say who they are in their own way"),
    ("post", "/hooks/{channel}/{*path}", "it is for providers, who say who they are in their own way"),
    ("get", "/l/{link}", "it is for whoever was sent the link, which is a secret; it only reads"),
    ("post", "/l/{link}", "it is for whoever was sent the link, which is a secret"),
    ("get", "/l/browser/{pass}", "it is for the browser that a link is bound to, which the pass says"),
    ("post", "/api/auth/dev-login", "it is there in development alone, and nobody is to build on it"),
];

/// HEAD is answered wherever GET is.
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "options", "trace"];

/// Every path that a router has, as axum shows it.
fn routes(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let paths = shown.split('"').filter(|text| text.starts_with('/'));
    // Those by which axum finds what is not found.
    paths.filter(|path| *path != "/" && !path.contains("__private__axum")).map(str::to_owned).collect()
}

#[tokio::test]
async fn nothing_is_answered_that_neither_the_document_nor_the_list_has() {
    let app = TestApp::with().http(|http| http.development = true).start().await;
    let document = Document::read();
    let listed = BESIDE.iter().map(|(method, path, _)| (*method, *path));
    let known: BTreeSet<(&str, &str)> = document.operations().chain(listed).collect();
    let routes = routes(&app.router());
    for (_, path) in &known {
        assert!(routes.contains(*path), "{path} is no route; if it is one, axum shows routes in another way now");
    }
    app.get("/").await.problem(404, "route_not_found");
    for path in &routes {
        for method in METHODS.into_iter().filter(|method| !known.contains(&(*method, path.as_str()))) {
            let named = path.replace(['{', '}'], "");
            let reply = app.request(method.to_uppercase().parse().expect("a method"), named).await;
            assert_eq!(reply.status, 405, "{method} {path} is in no document, and not listed: {}", reply.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_answered_besides_the_document_tells_nobody_of_a_tenant() {
    let stage = Stage::set().await;
    for (_, path, _) in BESIDE.iter().filter(|(method, ..)| *method == "get") {
        let named = path.replace(['{', '}', '*'], "");
        let reply = nobody().sends(stage.app.get(named.as_str())).await;
        // No channel of a stage is told anything, and `link` and `pass` are nobody's.
        let status = if path.starts_with("/hooks/") || path.starts_with("/l/") { 404 } else { 200 };
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
        // The number is the one of the document's examples.
        let told: Vec<_> = stage.told(&reply.text).filter(|secret| !NUMBER.ends_with(secret)).collect();
        assert_eq!(told, [""; 0], "{path}");
    }
    // Where it is not there it is as if it never were.
    stage.app.post("/api/auth/dev-login").at_ip("127.0.0.1").await.problem(404, "route_not_found");
}
