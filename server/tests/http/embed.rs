//! The prompt box in a frame on other sites' pages.

use std::time::Duration;

use adire_server::AccessSettings;
use axum::http::StatusCode;

use crate::support::Server;

#[tokio::test]
async fn only_pages_of_allowed_origins_may_show_the_box() {
    let cors = vec!["https://blog.example".to_owned()];
    let server = Server::behind(Duration::ZERO, 32, AccessSettings { cors, ..Default::default() }).await;
    server.adapter("adire", 2).await;
    let script = server.get("/embed.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(script.header("cross-origin-resource-policy"), "cross-origin");
    let page = server.get("/embed?version=adire%40v2&prompt=%3Cscript%3E").await;
    assert_eq!(page.status, StatusCode::OK);
    let policy = page.header("content-security-policy");
    assert!(policy.ends_with("frame-ancestors 'self' https://blog.example"), "{policy}");
    assert_eq!(page.header("x-frame-options"), "", "it would forbid what the policy allows");
    let html = page.text();
    assert!(
        html.contains("data-version=\"adire@v2\"") && html.contains("&lt;script&gt;</textarea>"),
        "{html}"
    );
    assert_eq!(server.get("/embed?version=nothing").await.status, StatusCode::NOT_FOUND);
    // Other pages stay closed.
    assert_eq!(server.get("/").await.header("x-frame-options"), "DENY");
    let closed = Server::start().await.get("/embed").await;
    assert!(closed.header("content-security-policy").ends_with("frame-ancestors 'self'"));
}
