//! The part of MLflow's REST that is used, in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) tags: BTreeMap<String, String>,
    pub(super) params: BTreeMap<String, String>,
    /// Key, step, timestamp and value, as JSON: one that is sent again is one.
    pub(super) metrics: BTreeSet<String>,
    pub(super) status: String,
}

/// What an MLflow server holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) experiments: Vec<String>,
    pub(super) runs: Vec<Run>,
    pub(super) artifacts: BTreeMap<String, usize>,
    pub(super) models: BTreeSet<String>,
    /// Name, run.
    pub(super) versions: Vec<(String, String)>,
    /// Model and alias: version.
    pub(super) aliases: BTreeMap<(String, String), String>,
}

type Shared = Arc<Mutex<Held>>;

pub(super) struct Stub {
    pub(super) port: u16,
    held: Shared,
}

impl Stub {
    pub(super) async fn start() -> Self {
        Self::at(0).await
    }

    /// One at this port.
    pub(super) async fn at(port: u16) -> Self {
        let held = Shared::default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let api = |path: &str| format!("/api/2.0/mlflow/{path}");
        let router = Router::new()
            .route(&api("experiments/get-by-name"), get(experiment))
            .route("/api/2.0/mlflow-artifacts/artifacts/{*path}", put(artifact))
            .route(&api("model-versions/search"), get(versions))
            .route(&api("{*path}"), post(change).delete(remove))
            .with_state(held.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, held }
    }

    pub(super) fn held(&self) -> Held {
        self.held.lock().unwrap().clone()
    }
}

fn error(code: &str) -> Response {
    let status =
        if code == "RESOURCE_DOES_NOT_EXIST" { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
    (status, Json(json!({ "error_code": code, "message": code }))).into_response()
}

async fn experiment(State(held): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let held = held.lock().unwrap();
    match held.experiments.iter().position(|name| *name == query["experiment_name"]) {
        Some(id) => Json(json!({ "experiment": { "experiment_id": id.to_string() } })).into_response(),
        None => error("RESOURCE_DOES_NOT_EXIST"),
    }
}

async fn artifact(State(held): State<Shared>, Path(path): Path<String>, bytes: Bytes) -> Response {
    held.lock().unwrap().artifacts.insert(path, bytes.len());
    Json(json!({})).into_response()
}

async fn versions(State(held): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let run = query["filter"].strip_prefix("run_id = '").unwrap().trim_end_matches('\'').to_owned();
    let held = held.lock().unwrap();
    let found: Vec<Value> = held
        .versions
        .iter()
        .filter(|(_, of)| *of == run)
        .map(|(name, of)| json!({ "name": name, "version": number(&held, name, of), "run_id": of }))
        .collect();
    Json(json!({ "model_versions": found })).into_response()
}

/// Versions of a model count from 1.
fn number(held: &Held, name: &str, run: &str) -> String {
    let before = held.versions.iter().filter(|(of, _)| of == name).position(|(_, of)| of == run).unwrap();
    (before + 1).to_string()
}

async fn remove(State(held): State<Shared>, Path(_): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    match held.lock().unwrap().aliases.remove(&(text(&body, "name"), text(&body, "alias"))) {
        Some(_) => Json(json!({})).into_response(),
        None => error("RESOURCE_DOES_NOT_EXIST"),
    }
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("{name} in {body}")).to_owned()
}

async fn change(State(held): State<Shared>, Path(path): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut held = held.lock().unwrap();
    let held = &mut *held;
    let of = |held: &Held, id: &str| {
        let root = format!("mlflow-artifacts:/0/{id}/artifacts");
        json!({ "info": { "run_id": id, "artifact_uri": root, "status": held.runs[id.parse::<usize>().unwrap()].status } })
    };
    let answer = match path.as_str() {
        "experiments/create" => {
            let name = text(&body, "name");
            if held.experiments.contains(&name) {
                return error("RESOURCE_ALREADY_EXISTS");
            }
            held.experiments.push(name);
            json!({ "experiment_id": (held.experiments.len() - 1).to_string() })
        }
        "runs/search" => {
            let filter = text(&body, "filter");
            let id = filter.strip_prefix("tags.`adire.id` = '").unwrap().trim_end_matches('\'');
            let found = held.runs.iter().position(|run| run.tags["adire.id"] == id);
            json!({ "runs": found.map(|run| vec![of(held, &run.to_string())]).unwrap_or_default() })
        }
        "runs/create" => {
            let tags = body["tags"].as_array().unwrap();
            let tags = tags.iter().map(|tag| (text(tag, "key"), text(tag, "value"))).collect();
            held.runs.push(Run { tags, ..Run::default() });
            json!({ "run": of(held, &(held.runs.len() - 1).to_string()) })
        }
        "registered-models/create" => {
            if !held.models.insert(text(&body, "name")) {
                return error("RESOURCE_ALREADY_EXISTS");
            }
            json!({})
        }
        "model-versions/create" => {
            let (name, run) = (text(&body, "name"), text(&body, "run_id"));
            assert!(held.models.contains(&name), "{body}");
            held.versions.push((name.clone(), run.clone()));
            json!({ "model_version": { "version": number(held, &name, &run) } })
        }
        "registered-models/alias" => {
            held.aliases.insert((text(&body, "name"), text(&body, "alias")), text(&body, "version"));
            json!({})
        }
        _ => {
            let run = &mut held.runs[text(&body, "run_id").parse::<usize>().unwrap()];
            match path.as_str() {
                "runs/log-batch" => {
                    for metric in body["metrics"].as_array().into_iter().flatten() {
                        run.metrics.insert(metric.to_string());
                    }
                    for param in body["params"].as_array().into_iter().flatten() {
                        let before = run.params.insert(text(param, "key"), text(param, "value"));
                        // As MLflow does, where another value is refused.
                        assert!(before.is_none_or(|before| before == text(param, "value")), "{param}");
                    }
                }
                "runs/set-tag" => drop(run.tags.insert(text(&body, "key"), text(&body, "value"))),
                "runs/update" => run.status = text(&body, "status"),
                other => panic!("nothing asks for {other}"),
            }
            json!({})
        }
    };
    Json(answer).into_response()
}
