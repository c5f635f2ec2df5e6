//! The visitor's cookie.

use std::time::Duration;

use adire_server::AccessSettings;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

const HTML: (&str, &str) = ("accept", "text/html,*/*");

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_page_load_gives_a_cookie_and_the_next_one_keeps_it() {
    let server = Server::start().await;
    let first = get(&server, "/", &[HTML]).await;
    assert_eq!(first.status, StatusCode::OK);
    let cookie = first.header("set-cookie");
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    // A signature of 44 characters, then the id.
    let id = pair.strip_prefix("adire_visitor=").unwrap().get(44..).unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=31536000");

    let second = get(&server, "/", &[HTML, ("cookie", pair)]).await;
    assert!(second.header("set-cookie").starts_with(pair));
    let other = get(&server, "/", &[HTML, ("cookie", "adire_visitor=me")]).await;
    assert!(!other.header("set-cookie").contains("=me"));
}

#[tokio::test]
async fn over_https_the_cookie_stays_there() {
    let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let server =
        Server::behind(Duration::ZERO, 32, AccessSettings { trusted_proxies, ..AccessSettings::default() })
            .await;
    let answer = get(&server, "/", &[HTML, ("x-forwarded-proto", "https")]).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-adire_visitor=") && cookie.contains("; Secure"), "{cookie}");
    // Nobody else can say so.
    let server = Server::start().await;
    let answer = get(&server, "/", &[HTML, ("x-forwarded-proto", "https")]).await;
    assert!(answer.header("set-cookie").starts_with("adire_visitor="));
}

#[tokio::test]
async fn programs_get_none_and_pages_calling_the_api_do() {
    let server = Server::start().await;
    assert_eq!(get(&server, "/api/v1/queue", &[]).await.header("set-cookie"), "");
    let from_page = get(&server, "/api/v1/queue", &[("sec-fetch-site", "same-origin")]).await;
    assert!(from_page.header("set-cookie").starts_with("adire_visitor="));
}

#[tokio::test]
async fn a_visitors_images_are_found_again_and_nobody_elses() {
    let server = Server::start().await;
    let page = get(&server, "/", &[HTML]).await;
    let pair = page.header("set-cookie").split(';').next().unwrap().to_owned();
    let id = &pair["adire_visitor=".len() + 44..];
    // What no key of ours signed names nobody: neither the bare id nor one with another signature.
    let forged = [format!("adire_visitor={id}"), format!("adire_visitor={}{id}", "A".repeat(44))];
    for (cookie, found) in [(&forged[0], 0), (&forged[1], 0), (&pair, 1)] {
        let request = Request::post("/api/v1/generations")
            .header("content-type", "application/json")
            .header("cookie", format!("a=b; {cookie}"));
        let answer = server.send(request.body(Body::from(r#"{"prompt": "moons"}"#)).unwrap()).await;
        server.finished(answer.json()["id"].as_str().unwrap()).await;
        assert_eq!(server.studio.history(id, 10, None).await.unwrap().len(), found, "{cookie}");
    }
    assert_eq!(server.studio.history("someone else", 10, None).await.unwrap().len(), 0);
}
