//! The queue of all jobs, as the admin sees and changes it, on the fake backend.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    datasets::{DATASETS, dataset},
    support::{Answer, Server},
};

const JOBS: &str = "/admin/api/jobs";
const INTAKE: &str = "/admin/api/intake";

async fn generation(server: &Server, prompt: &str) -> String {
    let body = json!({"prompt": prompt, "steps": 20}).to_string();
    let accepted = server.post("/api/v1/generations", &body).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text());
    accepted.json()["id"].as_str().unwrap().to_owned()
}

async fn jobs(server: &Server) -> Value {
    let answer = server.get(JOBS).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

fn ids(queue: &Value) -> Vec<&str> {
    queue["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

async fn change(server: &Server, id: &str, body: Value) -> Answer {
    server.request("PATCH", &format!("{JOBS}/{id}"), &body.to_string()).await
}

/// A server whose images take a while, with one that runs and three that wait.
async fn busy() -> (Server, Vec<String>) {
    let server = Server::with(Duration::from_millis(50), 8).await;
    let mut made = vec![generation(&server, "the first").await];
    while !jobs(&server).await["jobs"][0]["running"].as_bool().unwrap() {
        tokio::task::yield_now().await;
    }
    for prompt in ["the second", "the third", "the fourth"] {
        made.push(generation(&server, prompt).await);
    }
    (server, made)
}

#[tokio::test]
async fn jobs_of_every_kind_are_listed_with_what_they_wait_for() {
    let (server, made) = busy().await;
    let dataset = dataset(&server, "cloth").await;
    let run = json!({"name": "cloth", "dataset": dataset, "config": {"steps": 4}}).to_string();
    let run = server.post("/admin/api/training", &run).await.json()["id"].as_str().unwrap().to_owned();
    let queue = jobs(&server).await;
    assert_eq!(queue["paused"], false);
    let listed = ids(&queue);
    assert_eq!(listed.len(), 5, "{queue}");
    assert!(made.iter().all(|id| listed.contains(&id.as_str())) && listed.contains(&run.as_str()));
    let job = |id: &str| queue["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).unwrap();
    assert_eq!(job(&made[0])["running"], true);
    assert_eq!(job(&made[0])["title"], "the first");
    assert_eq!(job(&made[3])["why"], "behind 3 others; its adapters are loaded");
    assert_eq!(job(&run)["kind"], "training");
    assert!(job(&made[1])["cost_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_queued_job_is_moved_and_any_is_cancelled() {
    let (server, made) = busy().await;
    let moved = change(&server, &made[3], json!({"to": "front"})).await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text());
    assert_eq!(ids(&moved.json())[1..], [&made[3], &made[1], &made[2]]);
    let moved = change(&server, &made[1], json!({"to": "later"})).await.json();
    assert_eq!(ids(&moved)[1..], [&made[3], &made[2], &made[1]]);
    // Beyond the end it stays where it is.
    let moved = change(&server, &made[1], json!({"to": "later"})).await.json();
    assert_eq!(ids(&moved)[1..], [&made[3], &made[2], &made[1]]);

    let left = server.request("DELETE", &format!("{JOBS}/{}", made[2]), "").await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.text());
    assert!(!ids(&left.json()).contains(&made[2].as_str()));
    let record = server.get(&format!("/api/v1/generations/{}", made[2])).await.json();
    assert_eq!(record["state"], "cancelled");
    // The one that runs stops within a step.
    server.request("DELETE", &format!("{JOBS}/{}", made[0]), "").await;
    let events = server.get(&format!("/api/v1/generations/{}/events", made[0])).await.events();
    assert_eq!(events.last().unwrap().name, "cancelled");
}

#[tokio::test]
async fn changes_that_do_not_fit_say_why() {
    let (server, made) = busy().await;
    let running = change(&server, &made[0], json!({"to": "front"})).await;
    assert_eq!(running.status, StatusCode::CONFLICT);
    assert_eq!(running.json()["detail"], "This job does not wait any more.");
    for (id, body, status) in [
        (made[1].as_str(), json!({"to": "sideways"}), StatusCode::UNPROCESSABLE_ENTITY),
        (&made[1], json!({"to": "front", "by": 2}), StatusCode::UNPROCESSABLE_ENTITY),
        (&made[1], json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        ("019ad000-0000-7000-8000-000000000000", json!({"to": "front"}), StatusCode::NOT_FOUND),
        ("no-id", json!({"to": "front"}), StatusCode::NOT_FOUND),
    ] {
        let answer = change(&server, id, body.clone()).await;
        assert_eq!(answer.status, status, "{id} {body}: {}", answer.text());
    }
    let gone = server.request("DELETE", &format!("{JOBS}/019ad000-0000-7000-8000-000000000000"), "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(ids(&jobs(&server).await), made, "nothing was changed");
}

#[tokio::test]
async fn paused_intake_refuses_every_kind_and_lets_go_on_what_is_there() {
    let (server, made) = busy().await;
    let dataset = dataset(&server, "cloth").await;
    let paused = server.request("PUT", INTAKE, &json!({"paused": true}).to_string()).await;
    assert_eq!((paused.status, paused.json()), (StatusCode::OK, json!({"paused": true})));
    assert_eq!(jobs(&server).await["paused"], true);
    let run = json!({"name": "cloth", "dataset": dataset, "config": {"steps": 4}}).to_string();
    for (address, body) in
        [("/api/v1/generations", json!({"prompt": "one more"}).to_string()), ("/admin/api/training", run)]
    {
        let refused = server.post(address, &body).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{address}");
        let problem = refused.json();
        assert_eq!(problem["type"], "urn:adire:problem:intake-paused");
        assert_eq!(problem["title"], "New requests are paused");
        assert_eq!(refused.header("retry-after"), "60");
    }
    for id in &made {
        let events = server.get(&format!("/api/v1/generations/{id}/events")).await.events();
        assert_eq!(events.last().unwrap().name, "done");
    }
    server.request("PUT", INTAKE, &json!({"paused": false}).to_string()).await;
    generation(&server, "again").await;
    // Datasets are not jobs: they can be filled meanwhile.
    assert_eq!(server.get(DATASETS).await.status, StatusCode::OK);
}
