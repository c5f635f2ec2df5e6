//! MLflow receives everything, once: against a stub in every test run, against PyPI's real server in `cargo xtask test mlflow`.

mod faults;
mod importing;
mod real;
mod server;
mod silence;
mod stub;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use adire_protocol::{EvaluationRequest, NewDataset, PromotionRequest, TrainingRequest, TrainingState};
use adire_studio::{
    Mover, NewAdapter, Pixels, Studio, StudioConfig, encode_png,
    fake::{ADAPTER_MAGIC, FakeBackend},
};
use serde_json::json;

use super::{Client, Failure, mirror::Mirror};

const PATIENCE: Duration = Duration::from_secs(120);

async fn studio() -> (tempfile::TempDir, Studio) {
    let folder = tempfile::tempdir().unwrap();
    let config = StudioConfig::new(folder.path().join("data"));
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    (folder, studio)
}

async fn dataset(studio: &Studio) -> String {
    let new = json!({ "name": "cloth", "trigger": "tok", "caption": "cloth" });
    let new: NewDataset = serde_json::from_value(new).unwrap();
    let dataset = studio.create_dataset(new).await.unwrap().id;
    let mut files = Vec::new();
    for shade in 0..6_u8 {
        let pixels = Pixels { width: 64, height: 64, rgb: [shade * 40, 20, 90].repeat(64 * 64) };
        let png = encode_png(&pixels, "").unwrap();
        let chunks = futures::stream::iter([Ok::<_, std::convert::Infallible>(png)]);
        files.push(studio.receive(&format!("{shade}.png"), chunks).await.unwrap());
    }
    studio.add_to_dataset(&dataset, files).await.unwrap();
    dataset
}

async fn trained(studio: &Studio, dataset: &str, steps: u32) -> String {
    let config = json!({ "steps": steps, "sample_every": 5, "checkpoint_every": 5, "sample_prompts": ["a tok cloth"] });
    let request = json!({ "name": "cloth", "dataset": dataset, "config": config, "note": "a note" });
    let request: TrainingRequest = serde_json::from_value(request).unwrap();
    let id = studio.train(request).await.unwrap().id;
    let waiting = async {
        while studio.training(&id).await.unwrap().run.state != TrainingState::Done {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    id
}

/// Runs, evaluations, versions with and without a run, moves of aliases.
async fn filled(folder: &Path, studio: &Studio, steps: u32) -> (String, String) {
    let dataset = dataset(studio).await;
    let run = trained(studio, &dataset, steps).await;
    let path = folder.join("a.safetensors");
    std::fs::write(&path, [ADAPTER_MAGIC, b"added"].concat()).unwrap();
    let new = NewAdapter {
        name: "cloth".to_owned(),
        version: None,
        path,
        description: "From a file.".to_owned(),
        trigger: String::new(),
        strict: false,
    };
    studio.add_adapter(new).await.unwrap();
    let suite =
        "name = \"small\"\nseeds = [1]\nprompts = [\"a red cloth, {trigger}\", \"a blue cloth, {trigger}\"]";
    let request = EvaluationRequest {
        version: "cloth@v1".to_owned(),
        suite: Some(suite.to_owned()),
        ..EvaluationRequest::default()
    };
    let evaluation = studio.evaluate(request).await.unwrap().id;
    let waiting = async {
        while !studio.evaluation(&evaluation).await.unwrap().evaluation.state.is_final() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    for version in [1, 2] {
        let request = PromotionRequest { reason: "next".to_owned(), force: true };
        studio.promote(&format!("cloth@v{version}"), request, Mover::Admin).await.unwrap();
    }
    studio.set_alias("cloth@v1", "stable", "", Mover::Admin).await.unwrap();
    studio.set_alias("cloth@v1", "passing", "", Mover::Admin).await.unwrap();
    studio.delete_alias("cloth", "passing", "", Mover::Admin).await.unwrap();
    (run, evaluation)
}

/// Tells until everything is sent; what was message of it on the way.
async fn send_all(studio: &Studio, port: u16, patience: Duration) -> Vec<String> {
    let client = Client::new(&format!("http://127.0.0.1:{port}"), patience).unwrap();
    let mirror = Mirror::new(studio.clone(), client, "adire".to_owned(), Duration::ZERO);
    let work = move || {
        let (mut mirror, start, mut message) = (mirror, Instant::now(), Vec::new());
        loop {
            match mirror.pass() {
                Ok(None) => return message,
                Ok(Some(sentence)) | Err(Failure::Away(sentence) | Failure::Refused(_, sentence)) => {
                    assert!(start.elapsed() < PATIENCE, "{sentence}");
                    message.push(sentence);
                }
            }
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until what the monitoring page says of the tracking server is found.
async fn problem<T>(studio: &Studio, find: impl Fn(Option<&str>) -> Option<T>) -> T {
    let waiting = async {
        loop {
            let tracking = studio.monitoring(Default::default(), None).await.unwrap().tracking;
            if let Some(found) = tracking.and_then(|tracking| find(tracking.problem.as_deref())) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}
