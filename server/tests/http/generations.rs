//! The life of a generation.

use std::{sync::atomic::Ordering, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

#[tokio::test]
async fn from_request_to_image() {
    let server = Server::start().await;
    let answer =
        server.post("/api/v1/generations", r#"{"prompt": "red moons", "seed": 7, "count": 2}"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let generation = answer.json();
    let id = generation["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/generations/{id}"));
    assert_eq!(generation["links"]["self"], format!("/api/v1/generations/{id}"));
    assert_eq!(generation["spec"]["steps"], 4, "the model's default is filled in");

    let events = server.get(&format!("/api/v1/generations/{id}/events")).await.events();
    assert_eq!(events.last().unwrap().name, "done");

    let done = server.get(&format!("/api/v1/generations/{id}")).await.json();
    assert_eq!(done["state"], "done");
    let images = done["images"].as_array().unwrap();
    let seeds: Vec<_> =
        images.iter().map(|image| image["recipe"]["spec"]["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [7, 8]);
    for image in images {
        let image = server.get(image["url"].as_str().unwrap()).await;
        assert_eq!(image.status, StatusCode::OK);
        assert!(image.body.starts_with(b"\x89PNG"));
    }
}

#[tokio::test]
async fn a_request_without_seed_gets_a_random_one_in_its_record() {
    let server = Server::start().await;
    let generation = server.post("/api/v1/generations", r#"{"prompt": "red moons"}"#).await.json();
    assert!(generation["spec"]["seed"].is_u64(), "{generation}");
}

#[tokio::test]
async fn a_running_one_stops_within_a_step() {
    let server = Server::with(Duration::from_millis(200), 32).await;
    let id = server.submit(r#"{"prompt": "red moons", "steps": 150}"#).await;
    let mut follower = server.follow(&id).await;
    follower.until("progress").await;

    let request = Request::delete(format!("/api/v1/generations/{id}")).body(Body::empty()).unwrap();
    let answer = server.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["id"], id);
    let events = follower.finish().await;
    assert_eq!(events.last().unwrap().name, "cancelled");
    assert!(server.steps_done.load(Ordering::Relaxed) < 100, "it went on to the end");
    let record = server.get(&format!("/api/v1/generations/{id}")).await.json();
    assert_eq!(record["state"], "cancelled");
}

#[tokio::test]
async fn stopping_what_has_ended_changes_nothing() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "red moons"}"#).await;
    server.finished(&id).await;
    let request = Request::delete(format!("/api/v1/generations/{id}")).body(Body::empty()).unwrap();
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (StatusCode::OK, Some("done")));
}

#[tokio::test]
async fn one_that_fails_says_why() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "fail!"}"#).await;
    let record = server.finished(&id).await;
    assert_eq!(record["state"], "failed");
    assert_eq!(record["error"], "The fake engine was asked to fail.");
}

#[tokio::test]
async fn an_image_blocked_by_the_safety_checker_is_marked() {
    const SENTENCE: &str = "Blocked by the safety checker.";
    let server = Server::start().await;
    for (prompt, withheld) in [("withhold!", true), ("red moons", false)] {
        let id = server.submit(&format!(r#"{{"prompt": "{prompt}"}}"#)).await;
        let record = server.finished(&id).await;
        let image = &record["images"][0];
        assert_eq!(image["recipe"].get("withheld").is_some(), withheld, "{image}");
        let png = server.get(image["url"].as_str().unwrap()).await.body;
        assert_eq!(adire_studio::read_recipe(&png).unwrap().withheld, withheld);
        // The second name is the one of links from before.
        for name in ["generation", "job"] {
            let page = Request::get(format!("/?{name}={id}")).header("accept", "text/html");
            let html = server.send(page.body(Body::empty()).unwrap()).await.text();
            assert_eq!(html.contains(SENTENCE), withheld, "{html}");
        }
    }
}

#[tokio::test]
async fn the_model_and_the_queue_are_described() {
    let server = Server::start().await;
    let model = server.get("/api/v1/model").await.json();
    assert_eq!((model["name"].as_str(), model["limits"]["steps"].as_u64()), (Some("fake"), Some(150)));
    let queue = server.get("/api/v1/queue").await.json();
    assert_eq!((queue["ahead"].as_u64(), queue["capacity"].as_u64()), (Some(0), Some(32)));
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let server = Server::with(Duration::from_millis(50), 1).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(server.post("/api/v1/generations", r#"{"prompt": "red moons", "steps": 150}"#).await);
    }
    // The second one, or the third if the first has been claimed by then; another place may be free after that.
    let full = |answer: &&Answer| answer.status == StatusCode::SERVICE_UNAVAILABLE;
    let refused = answers.iter().find(full).expect("one waits at most");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    let problem = refused.problem();
    assert_eq!(problem["type"], "urn:adire:problem:queue-full");
    assert!(problem["detail"].as_str().unwrap().contains("The queue is full"), "{problem}");
}
