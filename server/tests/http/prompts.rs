//! Prompt syntax over HTTP: how long prompts are, tags, clip skip.

use axum::http::StatusCode;

use crate::support::Server;

#[tokio::test]
async fn tokens_are_counted() {
    let server = Server::start().await;
    let body = r#"{"prompt": "two words <lora:x:1>", "negative_prompt": ""}"#;
    let answer = server.post("/api/v1/tokens", body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let counts = answer.json();
    assert_eq!((&counts["prompt"]["tokens"], &counts["prompt"]["capacity"]), (&2.into(), &75.into()));
    assert_eq!((&counts["negative_prompt"]["tokens"], &counts["prompt"]["chunks"]), (&0.into(), &1.into()));

    let long = format!(r#"{{"prompt": "{}"}}"#, "x".repeat(5000));
    let answer = server.post("/api/v1/tokens", &long).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["errors"][0]["field"], "prompt");
}

#[tokio::test]
async fn embeddings_are_listed_and_count_as_many_tokens_as_they_have_vectors() {
    let server = Server::start().await;
    assert_eq!(server.get("/api/v1/embeddings").await.json(), serde_json::json!([]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, b"vectors").unwrap();
    let new = adire_studio::NewEmbedding { word: "mystyle".to_owned(), path, vectors: 8, width: 768 };
    server.studio.add_embedding(new).await.unwrap();
    let listed = server.get("/api/v1/embeddings").await.json();
    assert_eq!((&listed[0]["word"], &listed[0]["vectors"]), (&"mystyle".into(), &8.into()));
    let counts = server.post("/api/v1/tokens", r#"{"prompt": "red mystyle moons"}"#).await.json();
    assert_eq!(counts["prompt"]["tokens"], 10);
    let id = server.submit(r#"{"prompt": "red mystyle moons"}"#).await;
    let made = server.finished(&id).await;
    let used = &made["images"][0]["recipe"]["embeddings"];
    assert_eq!((&used[0]["word"], &used[0]["hash"]), (&"mystyle".into(), &listed[0]["hash"]));
}

#[tokio::test]
async fn clip_skip_and_strengths_are_part_of_the_record() {
    let server = Server::start().await;
    let body = r#"{"prompt": "moons", "clip_skip": 2}"#;
    let generation = server.post("/api/v1/generations", body).await.json();
    assert_eq!(generation["spec"]["clip_skip"], 2);
    let answer = server.post("/api/v1/generations", r#"{"prompt": "moons", "clip_skip": 40}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["errors"][0]["field"], "clip_skip");
    let answer = server.post("/api/v1/generations", r#"{"prompt": "moons <lora:nope:1>"}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("Adapter nope not found."));
}
