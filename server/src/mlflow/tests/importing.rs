//! Taking over from a server that is down, slow, confused, or refuses: what was left out comes with the next try, and nothing
//! comes twice.

use adire_protocol::ImportedRunDetail;
use adire_studio::{Studio, fake::ADAPTER_MAGIC};
use axum::{
    Json, Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    faults::{faults, patience},
    studio,
};
use crate::{
    mlflow::{Client, Imported, Importer},
    testing::{Fault, Line, free_port},
};

const RUN: &str = "0123456789abcdef0123456789abcdef";

/// Every kind of request.
const ASKED: [&str; 8] = [
    "experiments/search",
    "runs/search",
    "metrics/get-history",
    "registered-models/search",
    "model-versions/search",
    "artifacts/list",
    "get-artifact",
    "registered-models/get",
];

/// The part of MLflow's REST that an import reads, with one run and one registered version.
async fn source() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new()
        .route("/api/2.0/mlflow/{*path}", get(read).post(read))
        .route("/get-artifact", get(|| async { [ADAPTER_MAGIC, b" from elsewhere"].concat() }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn read(Path(path): Path<String>) -> Response {
    Json(match path.as_str() {
        "experiments/search" => json!({ "experiments": [{ "experiment_id": "1", "name": "looms" }] }),
        "runs/search" => json!({ "runs": [run()] }),
        "metrics/get-history" => json!({ "metrics": [
            { "value": 0.5, "timestamp": 1000, "step": 0 }, { "value": 0.25, "timestamp": 2000, "step": 1 } ] }),
        "registered-models/search" => json!({ "registered_models": [{ "name": "Looms" }] }),
        "model-versions/search" => {
            json!({ "model_versions": [{ "version": "1", "run_id": RUN, "source": format!("runs:/{RUN}/weights") }] })
        }
        "artifacts/list" => json!({ "files": [{ "path": "weights/lora.safetensors", "is_dir": false }] }),
        "registered-models/get" => {
            json!({ "registered_model": { "aliases": [{ "alias": "stable", "version": "1" }] } })
        }
        other => panic!("nothing asks for {other}"),
    })
    .into_response()
}

fn run() -> Value {
    json!({
        "info": { "run_id": RUN, "run_name": "indigo", "status": "FINISHED", "start_time": 1000, "end_time": 2000 },
        "data": { "metrics": [{ "key": "loss" }], "params": [{ "key": "rank", "value": "8" }], "tags": [] },
    })
}

async fn import(studio: &Studio, port: u16, fault: &Fault) -> Result<Imported, String> {
    let (studio, handle, patience) = (studio.clone(), tokio::runtime::Handle::current(), patience(fault));
    let work = move || {
        let data = tempfile::tempdir().unwrap();
        let client = Client::new(&format!("http://ada:secret@127.0.0.1:{port}"), patience).unwrap();
        Importer::new(&studio, &client, handle, data.path(), 10_000).import(&[], &mut |_| ())
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// What a studio has of it: the run, and its versions with hash and aliases.
async fn taken(studio: &Studio) -> (Vec<ImportedRunDetail>, Vec<(String, String, Vec<String>)>) {
    let mut runs = Vec::new();
    for run in studio.imported_runs().await.unwrap() {
        let mut detail = studio.imported_run(&run.id).await.unwrap();
        // Its address is another one each time.
        detail.run.source = String::new();
        runs.push(detail);
    }
    let versions = studio.adapters().await.unwrap().into_iter();
    (runs, versions.map(|version| (version.id(), version.hash, version.aliases)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_out_or_taken_over_twice_whatever_a_server_answers() {
    let source = source().await;
    let (_folder, whole) = studio().await;
    import(&whole, source, &Fault::Before).await.unwrap();
    let expected = taken(&whole).await;
    let (runs, versions) = &expected;
    assert_eq!((runs.len(), runs[0].metrics["loss"].len()), (1, 2), "{expected:?}");
    assert_eq!((versions[0].0.as_str(), versions[0].2[0].as_str()), ("looms@v1", "stable"), "{expected:?}");
    for path in ASKED {
        // For longer than an import tries, and once so short that it does not end.
        let short = (2, (Fault::status(500), "has a problem (500)"));
        for (times, (fault, words)) in faults().into_iter().map(|fault| (5, fault)).chain([short]) {
            let (_folder, studio) = studio().await;
            let line = Line::to(source, vec![(path, times, fault.clone())]);
            let mut messages = Vec::new();
            loop {
                match import(&studio, line.port, &fault).await {
                    Ok(imported) if imported.left_out.is_empty() => break,
                    Ok(imported) => messages.extend(imported.left_out),
                    Err(sentence) => messages.push(sentence),
                }
                assert!(messages.len() <= 5, "{path} {fault:?}: {messages:?}");
            }
            assert_eq!(line.faults(), times, "{path} {fault:?}: it happened");
            assert_eq!(messages.is_empty(), times == 2, "{path} {fault:?}: {messages:?}");
            // A file of nonsense is a file.
            let is_file = path == "get-artifact" && words == "is not an MLflow server";
            for sentence in &messages {
                let fits = sentence.contains(if is_file { "is left out" } else { words });
                assert!(fits && !sentence.contains("secret"), "{path} {fault:?}: {sentence}");
            }
            assert_eq!(taken(&studio).await, expected, "{path} {fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named() {
    let (_folder, studio) = studio().await;
    let port = free_port();
    let refused = import(&studio, port, &Fault::Before).await.unwrap_err();
    assert!(
        refused.starts_with(&format!("MLflow at http://127.0.0.1:{port} cannot be reached")),
        "{refused}"
    );
    assert_eq!(taken(&studio).await, (Vec::new(), Vec::new()));
}
