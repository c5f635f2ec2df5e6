//! Server-sent events.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Event, Server};

#[tokio::test]
async fn a_stream_tells_everything_in_order_and_ends() {
    let server = Server::with(Duration::from_millis(10), 32).await;
    let id = server.submit(r#"{"prompt": "red moons", "steps": 3, "count": 2}"#).await;
    let answer = server.get(&format!("/api/v1/generations/{id}/events")).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert!(answer.text().starts_with("retry: "), "{}", answer.text());

    let events = answer.events();
    assert!(events.is_sorted_by(|a, b| a.id < b.id), "{events:?}");
    // How many positions and steps are sent depends on how fast the client reads.
    let passing = ["queued", "progress"];
    let lasting = events.iter().map(|event| event.name.as_str()).filter(|name| !passing.contains(name));
    assert_eq!(lasting.collect::<Vec<_>>(), ["started", "image", "image", "done"]);
    for event in &events {
        assert_eq!(event.data["type"], event.name.as_str());
        assert_eq!(event.data["id"], event.id);
    }
    let progress = events.iter().find(|event| event.name == "progress").expect("a progress event");
    assert_eq!((progress.data["images"].as_u64(), progress.data["steps"].as_u64()), (Some(2), Some(3)));
    assert!(progress.data["preview"].as_str().unwrap().starts_with("data:image/png;base64,"));
}

#[tokio::test]
async fn a_stream_is_never_compressed() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "red moons"}"#).await;
    let request =
        Request::get(format!("/api/v1/generations/{id}/events")).header("accept-encoding", "br, gzip");
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.events().last().unwrap().name, "done");
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_seen() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "red moons", "count": 3}"#).await;
    let address = format!("/api/v1/generations/{id}/events");
    server.finished(&id).await;
    let all: Vec<u64> = server.get(&address).await.events().iter().map(|event| event.id).collect();
    assert!(all.len() > 3, "{all:?}");
    let (middle, last) = (all[1], all[all.len() - 1]);

    let request =
        Request::get(&address).header("last-event-id", middle.to_string()).body(Body::empty()).unwrap();
    let rest = server.send(request).await.events();
    assert_eq!(rest.iter().map(|event| event.id).collect::<Vec<_>>(), all[2..]);
    let rest = server.get(&format!("{address}?after={}", last - 1)).await.events();
    assert_eq!(rest.iter().map(|event| event.id).collect::<Vec<_>>(), [last]);

    // The header goes before the address: a browser that reconnects keeps the address.
    let request = Request::get(format!("{address}?after=1")).header("last-event-id", last.to_string());
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "nothing is left, so an EventSource may stop");
}

#[tokio::test]
async fn a_lost_connection_misses_nothing_that_lasts() {
    let server = Server::with(Duration::from_millis(10), 32).await;
    let id = server.submit(r#"{"prompt": "red moons", "steps": 10, "count": 2}"#).await;
    let (first, mut lost) = (server.follow(&id).await, server.follow(&id).await);
    let seen = lost.until("progress").await.last().unwrap().id;
    drop(lost);
    let whole = first.finish().await;
    let rest = server.get(&format!("/api/v1/generations/{id}/events?after={seen}")).await.events();
    assert!(rest.iter().all(|event| event.id > seen), "{rest:?}");
    let lasting = |events: &[Event]| -> Vec<(u64, String)> {
        let lasting = events.iter().filter(|event| event.id > seen && event.name != "progress");
        lasting.map(|event| (event.id, event.name.clone())).collect()
    };
    assert_eq!(lasting(&rest), lasting(&whole));
    assert_eq!(rest.last().unwrap().name, "done");
}

#[tokio::test]
async fn a_shutdown_ends_the_stream_at_once() {
    let server = Server::with(Duration::from_millis(50), 32).await;
    let id = server.submit(r#"{"prompt": "red moons", "steps": 150}"#).await;
    let mut follower = server.follow(&id).await;
    follower.until("progress").await;
    server.shutdown.start();
    let events = follower.finish().await;
    assert_ne!(events.last().unwrap().name, "done");
}

#[tokio::test]
async fn what_cannot_be_followed_is_a_problem() {
    let server = Server::start().await;
    let unknown = "/api/v1/generations/0199c0de-0000-7000-8000-000000000000/events";
    assert_eq!(server.get(unknown).await.problem()["status"], 404);
    assert_eq!(server.get("/api/v1/generations/7/events").await.problem()["status"], 400);
    let id = server.submit(r#"{"prompt": "red moons"}"#).await;
    let address = format!("/api/v1/generations/{id}/events");
    assert_eq!(server.get(&format!("{address}?after=x")).await.problem()["status"], 400);
    let request = Request::get(&address).header("last-event-id", "x").body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.problem()["status"], 400);
}
