//! Pages of other sites cannot act for a visitor.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};

use crate::support::Server;

async fn post(server: &Server, path: &str, from: &[(&str, &str)]) -> StatusCode {
    let mut request =
        Request::post(path).header(header::CONTENT_TYPE, "application/json").header("host", "adire.example");
    for (name, value) in from {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::from(r#"{"prompt": "moons"}"#)).unwrap()).await.status
}

#[tokio::test]
async fn only_our_own_pages_and_programs_may_change_things() {
    let server = Server::start().await;
    for path in ["/api/v1/generations", "/api/fn/nothing", "/"] {
        for from in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
        ] {
            assert_eq!(post(&server, path, from).await, StatusCode::FORBIDDEN, "{path} {from:?}");
        }
    }
    for from in [
        &[][..],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://adire.example")],
        &[("origin", "https://adire.example")],
    ] {
        assert_eq!(post(&server, "/api/v1/generations", from).await, StatusCode::ACCEPTED, "{from:?}");
    }
}

#[tokio::test]
async fn reading_is_open() {
    let server = Server::start().await;
    let request =
        Request::get("/api/v1/adapters").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.status, StatusCode::OK);
}
