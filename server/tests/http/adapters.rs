//! Adapter versions over HTTP.

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
async fn versions_change_the_picture_and_none_gives_the_first_one_again() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let mut hashes = Vec::new();
    for adapters in ["", r#""adire@v1""#, r#""adire@v2""#, r#""adire""#, ""] {
        let list = if adapters.is_empty() { String::new() } else { format!(r#"{{"name": {adapters}}}"#) };
        let id = server.submit(&format!(r#"{{"prompt": "moons", "seed": 3, "adapters": [{list}]}}"#)).await;
        let picture = server.finished(&id).await["images"][0].clone();
        hashes.push((
            picture["hash"].as_str().unwrap().to_owned(),
            picture["url"].as_str().unwrap().to_owned(),
        ));
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
