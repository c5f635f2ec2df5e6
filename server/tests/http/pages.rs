//! Pages, files, and the headers around them.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_page_is_rendered_with_a_policy_that_lets_its_own_scripts_run() {
    let server = Server::start().await;
    let answer = get(&server, "/", &[("accept", "text/html")]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    let policy = answer.header("content-security-policy");
    let nonce =
        policy.split_once("script-src 'self' 'nonce-").and_then(|(_, rest)| rest.split_once('\'')).unwrap().0;
    assert!(policy.contains("'wasm-unsafe-eval'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let html = answer.text();
    assert!(html.contains("<form"), "{html}");
    for script in html.split("<script").skip(1) {
        let tag = script.split_once('>').unwrap().0;
        assert!(tag.contains(&format!("nonce=\"{nonce}\"")), "a script without the nonce: {tag}");
    }
    let again = get(&server, "/", &[("accept", "text/html")]).await;
    assert_ne!(again.header("content-security-policy"), policy, "a nonce serves once");
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let server = Server::start().await;
    for path in ["/", "/healthz", "/api/v1/queue", "/api/v1/nothing", "/pkg/adire.js", "/nothing"] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_window_that_opened_an_admin_page_loses_it() {
    let server = Server::start().await;
    for (path, policy) in [
        ("/admin", "same-origin"),
        ("/admin/sign-in", "same-origin"),
        ("/admin/nothing", "same-origin"),
        ("/", ""),
        ("/history", ""),
        ("/administer", ""),
    ] {
        assert_eq!(get(&server, path, &[]).await.header("cross-origin-opener-policy"), policy, "{path}");
    }
}

#[tokio::test]
async fn html_travels_compressed() {
    let server = Server::start().await;
    let plain = get(&server, "/", &[("accept", "text/html")]).await;
    let small = get(&server, "/", &[("accept", "text/html"), ("accept-encoding", "gzip, br")]).await;
    assert_eq!(small.header("content-encoding"), "br");
    assert!(small.body.len() * 2 < plain.body.len(), "{} of {}", small.body.len(), plain.body.len());
}

#[tokio::test]
async fn files_come_with_their_type_and_are_revalidated() {
    let server = Server::start().await;
    let wasm = get(&server, "/pkg/adire_bg.wasm", &[]).await;
    assert_eq!(wasm.header("content-type"), "application/wasm");
    let plain = get(&server, "/pkg/adire.js", &[]).await;
    assert_eq!(plain.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!((plain.header("cache-control"), plain.header("content-encoding")), ("no-cache", ""));
    let brotli = get(&server, "/pkg/adire.js", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((brotli.header("content-encoding"), brotli.text().as_str()), ("br", "pretend brotli"));
    assert!(brotli.header("vary").contains("accept-encoding"));
    let known = get(&server, "/pkg/adire.js", &[("if-none-match", plain.header("etag"))]).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
async fn nothing_outside_the_site_folder_is_served() {
    let server = Server::start().await;
    std::fs::write(server.folder.path().join("secret.txt"), "secret").unwrap();
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/pkg/..%2f..%2fsecret.txt",
        "/pkg/%2e%2e/%2e%2e/secret.txt",
        "/pkg/../../secret.txt",
        "//etc/passwd",
        "/pkg/",
        "/pkg",
        "/pkg/adire.js.br",
        "/data/adire.db",
    ] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.problem()["status"], 404, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_address_shows_a_page_to_people() {
    let server = Server::start().await;
    let answer = get(&server, "/nothing/here", &[("accept", "text/html")]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn it_says_that_it_lives_and_is_ready() {
    let server = Server::start().await;
    assert_eq!(get(&server, "/healthz", &[]).await.json()["status"], "ok");
    let ready = get(&server, "/readyz", &[]).await;
    assert_eq!((ready.status, ready.json()["model"].as_str()), (StatusCode::OK, Some("fake")));
}
