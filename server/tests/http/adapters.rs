//! Adapter versions over HTTP.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn every_version_is_listed() {
    let server = Server::start().await;
    assert_eq!(server.get("/api/v1/adapters").await.json(), json!([]));
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let listed = server.get("/api/v1/adapters").await.json();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|a| (a["name"].as_str(), a["version"].as_u64())).collect();
    assert_eq!(names, [(Some("adire"), Some(2)), (Some("adire"), Some(1))]);
}

#[tokio::test]
async fn versions_change_the_image_and_none_gives_the_first_one_again() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let mut hashes = Vec::new();
    for adapters in ["", r#""adire@v1""#, r#""adire@v2""#, r#""adire""#, ""] {
        let list = if adapters.is_empty() { String::new() } else { format!(r#"{{"name": {adapters}}}"#) };
        let id = server.submit(&format!(r#"{{"prompt": "moons", "seed": 3, "adapters": [{list}]}}"#)).await;
        let image = server.finished(&id).await["images"][0].clone();
        hashes.push((image["hash"].as_str().unwrap().to_owned(), image["url"].as_str().unwrap().to_owned()));
    }
    let mut pixels = Vec::new();
    for (_, url) in &hashes {
        let png = server.get(url).await.body;
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let mut reader = decoder.read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        pixels.push(rgb);
    }
    assert_ne!(pixels[0], pixels[1]);
    assert_ne!(pixels[1], pixels[2]);
    assert_eq!(pixels[2], pixels[3], "a bare name is the newest version");
    assert_eq!(pixels[0], pixels[4]);
}

#[tokio::test]
async fn an_unknown_one_is_named_with_those_that_exist() {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    let body = r#"{"prompt": "moons", "adapters": [{"name": "adrie"}]}"#;
    let problem = server.post("/api/v1/generations", body).await.problem();
    assert_eq!(problem["status"], 422);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("adrie") && detail.contains("adire@v2"), "{detail}");
}

#[tokio::test]
async fn a_version_comes_with_its_receipt_and_its_file() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let detail = server.get("/api/v1/adapters/adire").await.json();
    assert_eq!((&detail["name"], &detail["version"]), (&json!("adire"), &json!(2)));
    assert_eq!(detail["receipt"]["applied"][0]["ratio"], json!(0.125));
    let first = server.get("/api/v1/adapters/adire@v1").await.json();
    assert_eq!(first["version"], json!(1));

    let file = server.get("/api/v1/adapters/adire@v1/file").await;
    assert_eq!((file.status, file.header("content-type")), (StatusCode::OK, "application/octet-stream"));
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"adire-v1.safetensors\"");
    assert_eq!(file.body.len() as u64, first["bytes"].as_u64().unwrap());
    assert!(file.body.starts_with(adire_studio::fake::ADAPTER_MAGIC));
    let part = Request::get("/api/v1/adapters/adire@v1/file").header(header::RANGE, "bytes=0-3");
    let part = server.send(part.body(Body::empty()).unwrap()).await;
    assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 4));
}

#[tokio::test]
async fn nothing_but_a_name_names_an_adapter() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    for name in ["nothing", "adire@v2", "adire@v0", "..%2f..%2fadire.db", "%2e%2e", "ADIRE", &"a".repeat(300)]
    {
        for address in [format!("/api/v1/adapters/{name}"), format!("/api/v1/adapters/{name}/file")] {
            assert_eq!(server.get(&address).await.problem()["status"], 404, "{address}");
        }
        let page = Request::get(format!("/adapters/{name}")).header(header::ACCEPT, "text/html");
        let page = server.send(page.body(Body::empty()).unwrap()).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn pages_tell_what_adapters_are() {
    let server = Server::start().await;
    let html = async |address: &str| {
        let answer = server.get(address).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}");
        answer.text()
    };
    assert!(html("/adapters").await.contains("No adapters yet"));
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let list = html("/adapters").await;
    assert!(
        list.contains("href=\"/adapters/adire@v2\"") && list.contains("href=\"/adapters/adire@v1\""),
        "{list}"
    );
    let page = html("/adapters/adire@v1").await;
    for words in
        ["down_blocks.0", "0.1250", "in some style", "/api/v1/adapters/adire@v1/file", "alpha / rank"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(
        page.contains(
            "href=\"/?prompt=red%20moons%20on%20white%2C%20in%20some%20style&amp;adapter=adire%40v1%3A1\""
        ),
        "{page}"
    );
    assert!(!page.contains("adire.js"), "a document needs no script of ours");
}

#[tokio::test]
async fn a_busy_model_does_not_hold_a_known_receipt_back() {
    let server = Server::with(Duration::from_millis(400), 32).await;
    server.adapter("adire", 1).await;
    let id = server.submit(r#"{"prompt": "moons", "steps": 20}"#).await;
    server.follow(&id).await.until("started").await;
    let asked = std::time::Instant::now();
    assert!(server.get("/api/v1/adapters/adire").await.json()["receipt"].is_object());
    assert!(asked.elapsed() < Duration::from_secs(2));
}
