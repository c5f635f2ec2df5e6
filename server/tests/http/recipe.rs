//! From a picture back to its request.

use axum::{
    body::{Body, Bytes},
    http::{Request, header},
};
use serde_json::json;

use crate::support::{Answer, Server};

async fn recipe(server: &Server, png: Bytes) -> Answer {
    let request = Request::post("/api/v1/recipe").header(header::CONTENT_TYPE, "image/png");
    server.send(request.body(Body::from(png)).unwrap()).await
}

#[tokio::test]
async fn a_picture_gives_its_request_back() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let asked = json!({
        "prompt": "red moons, \"in\" indigo: on white", "negative_prompt": "blur, steps", "seed": 41, "steps": 6,
        "guidance": 6.5, "sampler": "euler_a", "rng": "cuda", "width": 64, "height": 72,
        "adapters": [{"name": "adire@v1", "strength": 0.75}],
    });
    let id = server.submit(&asked.to_string()).await;
    let url = server.finished(&id).await["images"][0]["url"].as_str().unwrap().to_owned();
    let answer = recipe(&server, server.get(&url).await.body).await.json();
    for (field, value) in asked.as_object().unwrap() {
        assert_eq!(&answer[field], value, "{field}");
    }
}

#[tokio::test]
async fn what_is_no_such_picture_is_refused() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "moons"}"#).await;
    let url = server.finished(&id).await["images"][0]["url"].as_str().unwrap().to_owned();
    let png = server.get(&url).await.body;
    let half = png.slice(..40);
    for body in [Bytes::new(), Bytes::from_static(b"GIF89a"), half] {
        let problem = recipe(&server, body).await.problem();
        assert_eq!(problem["status"], 422, "{problem}");
    }
}

#[tokio::test]
async fn a_large_picture_is_taken_and_a_huge_one_is_not() {
    let server = Server::start().await;
    let large = Bytes::from(vec![0; 1 << 20]);
    assert_eq!(recipe(&server, large).await.problem()["status"], 422, "read, and no PNG");
    let huge = Bytes::from(vec![0; (32 << 20) + 1]);
    assert_eq!(recipe(&server, huge).await.problem()["status"], 413);
}
