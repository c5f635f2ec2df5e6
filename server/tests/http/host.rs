//! Names that the server answers to.

use std::time::Duration;

use adire_server::AccessSettings;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

async fn asked(server: &Server, hosts: &[&str]) -> Answer {
    let mut request = Request::post("/api/v1/generations").header("content-type", "application/json");
    for host in hosts {
        request = request.header("host", *host).header("origin", format!("http://{host}"));
    }
    server.send(request.body(r#"{"prompt": "moons"}"#.into()).unwrap()).await
}

#[tokio::test]
async fn on_a_loopback_address_only_its_own_names_count() {
    let hosts = vec!["studio.example".to_owned()];
    let settings = AccessSettings { on_loopback: true, hosts, ..AccessSettings::default() };
    let server = Server::behind(Duration::ZERO, 32, settings).await;
    for host in ["localhost:4310", "127.0.0.1:4310", "[::1]:4310", "studio.example", "Studio.Example:4310"] {
        assert_eq!(asked(&server, &[host]).await.status, StatusCode::ACCEPTED, "{host}");
    }
    for hosts in [
        &["evil.example:4310"][..],
        &["localhost:4310.evil.example"],
        &["[::1].evil.example"],
        &["sub.studio.example"],
        &["localhost", "evil.example"],
        &["evil.example", "localhost"],
    ] {
        let problem = asked(&server, hosts).await.problem();
        assert_eq!(problem["status"], 421, "{hosts:?}");
        assert!(problem["detail"].as_str().unwrap().contains("--host"), "{problem}");
    }
    // Every address is behind it, pages and files included.
    for path in ["/", "/healthz", "/favicon.svg", "/admin", "/api/v1/adapters"] {
        let request = Request::get(path).header("host", "evil.example");
        assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status.as_u16(), 421, "{path}");
    }
    let absolute = Request::get("http://evil.example/").header("host", "localhost");
    assert_eq!(server.send(absolute.body(Body::empty()).unwrap()).await.status.as_u16(), 421);
}

#[tokio::test]
async fn elsewhere_every_name_counts_until_one_is_given() {
    let server = Server::behind(Duration::ZERO, 32, AccessSettings::default()).await;
    assert_eq!(asked(&server, &["anything.example"]).await.status, StatusCode::ACCEPTED);
    let settings = AccessSettings { hosts: vec!["studio.example".to_owned()], ..AccessSettings::default() };
    let server = Server::behind(Duration::ZERO, 32, settings).await;
    assert_eq!(asked(&server, &["studio.example"]).await.status, StatusCode::ACCEPTED);
    assert_eq!(asked(&server, &["anything.example"]).await.status.as_u16(), 421);
}
