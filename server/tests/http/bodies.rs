//! Large bodies that arrive slowly.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures::{StreamExt, stream};

use crate::support::Server;

#[tokio::test]
async fn slow_uploads_keep_nobody_waiting() {
    let server = Arc::new(Server::start().await);
    let slow: Vec<_> = (0..5)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move {
                let piece = stream::iter([Ok::<_, std::io::Error>(vec![b' '; 300 << 10])]);
                let body = Body::from_stream(piece.chain(stream::pending()));
                let request = Request::post("/sdapi/v1/txt2img").header(header::CONTENT_LENGTH, 50 << 20);
                server.send(request.body(body).unwrap()).await
            })
        })
        .collect();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let large = format!(r#"{{"prompt": "moons", "steps": 2, "padding": "{}"}}"#, "x".repeat(2 << 20));
    let answer =
        tokio::time::timeout(Duration::from_secs(20), server.post("/sdapi/v1/txt2img", &large)).await;
    assert_eq!(answer.expect("it waits for slow ones").status, StatusCode::OK);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}
