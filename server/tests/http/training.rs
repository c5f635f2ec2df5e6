//! Trainings from outside, on the fake backend.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    datasets::{DATASETS, dataset},
    support::{PATIENCE, Server},
};

const TRAINING: &str = "/admin/api/training";

async fn ask(server: &Server, body: Value) -> Value {
    let taken = server.post(TRAINING, &body.to_string()).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.text());
    let job = taken.json();
    assert_eq!(taken.header("location"), format!("{TRAINING}/{}", job["id"].as_str().unwrap()));
    job
}

async fn until(server: &Server, id: &str, state: &str) -> Value {
    let waiting = async {
        loop {
            let detail = server.get(&format!("{TRAINING}/{id}")).await.json();
            if detail["job"]["state"] == state {
                return detail;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to that")
}

#[tokio::test]
async fn samples_are_made_and_captions_kept_back_by_default() {
    let server = Server::start().await;
    let dataset = dataset(&server, "cloth").await;
    let job = ask(&server, json!({"name": "cloth", "dataset": dataset, "config": {"steps": 10}})).await;
    assert_eq!(job["config"]["sample_every"], 1);
    assert_eq!(job["config"]["publish_captions"], false);
    assert!(!job["config"]["sample_prompts"].as_array().unwrap().is_empty(), "{job}");
}

#[tokio::test]
async fn a_run_is_started_followed_and_ends_with_a_version() {
    let server = Server::start().await;
    let dataset = dataset(&server, "cloth").await;
    let config =
        json!({"steps": 6, "checkpoint_every": 3, "sample_every": 3, "sample_prompts": ["a tok cloth"]});
    let job = ask(&server, json!({"name": "cloth", "dataset": dataset, "config": config})).await;
    let id = job["id"].as_str().unwrap();
    let events = server.get(&format!("{TRAINING}/{id}/events")).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    let events = events.events();
    assert!(events.iter().any(|event| event.name == "point" && event.data["point"]["step"] == 6));
    assert!(events.iter().any(|event| event.name == "sample"));
    let last = events.iter().rev().find(|event| event.name == "job").unwrap();
    assert_eq!(last.data["job"]["version"], "cloth@v1");

    let detail = until(&server, id, "done").await;
    assert_eq!(detail["points"].as_array().unwrap().len(), 7);
    let sample = server.get(detail["samples"][0]["url"].as_str().unwrap()).await;
    assert_eq!((sample.status, sample.header("content-type")), (StatusCode::OK, "image/png"));
    let made = server.submit(r#"{"prompt": "x", "adapters": [{"name": "cloth@v1"}]}"#).await;
    assert_eq!(server.finished(&made).await["state"], "done");
    let file = server.get(&format!("{TRAINING}/{id}/files/kohya")).await;
    assert!(file.header("content-disposition").contains("cloth.safetensors"), "{:?}", file.headers);
    assert_eq!(server.get(&format!("{TRAINING}/{id}/files/secret")).await.problem()["status"], 404);
    assert_eq!(server.get(TRAINING).await.json()[0]["id"], id);
    // The dataset can no longer be changed.
    let frozen = server.get(&format!("{DATASETS}/{dataset}")).await.json();
    assert_eq!(frozen["frozen"], job["dataset_hash"]);
    let refused = crate::datasets::bring(&server, &dataset, &[("z.png", crate::datasets::png(7))]).await;
    assert_eq!(refused.problem()["status"], 409);
}

#[tokio::test]
async fn a_run_queues_pauses_resumes_and_is_cancelled() {
    // An image that takes a while holds the training up.
    let server = Server::with(std::time::Duration::from_millis(20), 32).await;
    let dataset = dataset(&server, "cloth").await;
    let long = server.submit(r#"{"prompt": "long", "steps": 100}"#).await;
    let ask_for = json!({"name": "cloth", "dataset": dataset, "config": {"steps": 5}});
    let first = ask(&server, ask_for.clone()).await["id"].as_str().unwrap().to_owned();
    let second = ask(&server, ask_for).await["id"].as_str().unwrap().to_owned();
    let post = async |id: &str, what: &str| server.post(&format!("{TRAINING}/{id}/{what}"), "").await;
    assert_eq!(post(&first, "pause").await.json()["state"], "paused");
    assert_eq!(post(&second, "cancel").await.json()["state"], "cancelled");
    let request = Request::delete(format!("/api/v1/generations/{long}"));
    server.send(request.body(Body::empty()).unwrap()).await;
    assert_ne!(post(&first, "resume").await.json()["state"], "paused");
    until(&server, &first, "done").await;
    assert_eq!(post(&first, "pause").await.problem()["status"], 409);
    assert_eq!(post(&second, "resume").await.problem()["status"], 409);
    assert_eq!(post("nothing", "cancel").await.problem()["status"], 404);
}

#[tokio::test]
async fn bad_requests_name_every_field() {
    let server = Server::start().await;
    let body = json!({"name": "A B", "dataset": "x", "config": {"rank": 10_000, "steps": 0}});
    let problem = server.post(TRAINING, &body.to_string()).await.problem();
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["name", "config.steps", "config.rank"]);
    let problem = server.post(TRAINING, r#"{"name": "a", "dataset": "x"}"#).await.problem();
    assert_eq!(problem["errors"][0]["field"], "dataset");
    let body = r#"{"name": "a", "dataset": "x", "config": {"stepps": 1}}"#;
    let problem = server.post(TRAINING, body).await.problem();
    assert_eq!(problem["errors"][0]["field"], "config.stepps");
    assert_eq!(server.get(&format!("{TRAINING}/nothing/events")).await.problem()["status"], 404);
}

#[tokio::test]
async fn the_setting_is_kept() {
    let server = Server::start().await;
    let address = "/admin/api/settings/training";
    assert_eq!(
        server.get(address).await.json(),
        json!({"yield_to_generations": true, "pause_while_people_wait": true})
    );
    let put = async |body: &str| {
        let request = Request::put(address).header(header::CONTENT_TYPE, "application/json");
        server.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    assert_eq!(put(r#"{"pause_while_people_wait": false}"#).await.status, StatusCode::OK);
    assert_eq!(
        server.get(address).await.json(),
        json!({"yield_to_generations": false, "pause_while_people_wait": false})
    );
    assert_eq!(put(r#"{"pause": 1}"#).await.problem()["status"], 422);
}
