//! Against PyPI's real MLflow server, through a line that can be cut; `cargo xtask test mlflow` runs these.

use adire_studio::{Studio, StudioConfig, fake::FakeBackend};
use serde_json::{Value, json};

use super::{PATIENCE, filled, problem, send_all, server::Mlflow, studio};
use crate::{
    mlflow::{Client, Imported, Importer, Settings, run},
    testing::{Fault, Line, free_port},
};

fn check(found: &Value, studio_points: &[(u64, adire_protocol::TrainingPoint)], run: &str, evaluation: &str) {
    let sent = &found["runs"][run];
    assert_eq!((&sent["status"], &sent["name"]), (&json!("FINISHED"), &json!("cloth")));
    assert_eq!((&sent["params"]["steps"], &sent["kind"]), (&json!("250"), &json!("training")));
    let losses = sent["metrics"]["loss"].as_array().unwrap();
    let own: Vec<(u32, f64)> =
        studio_points.iter().filter_map(|(_, point)| Some((point.step, point.loss?))).collect();
    assert_eq!(losses.len(), own.len(), "each once");
    for (step, loss) in own {
        let there = losses.iter().any(|entry| entry[0] == step && entry[1].as_f64() == Some(loss));
        assert!(there, "step {step}, loss {loss}");
    }
    // As MLflow's pages show them: an image for each step, once, in both of its files.
    let steps: Vec<u64> =
        sent["series"]["sample 0"].as_array().unwrap().iter().map(|step| step.as_u64().unwrap()).collect();
    assert!(steps.len() > 20 && steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    for name in ["adapter", "config.json", "images"] {
        assert!(sent["artifacts"].as_array().unwrap().contains(&json!(name)), "{sent}");
    }
    let sent = &found["runs"][evaluation];
    assert_eq!(sent["status"], "FINISHED");
    assert!(sent["verdict"].is_string() && sent["metrics"].as_object().is_some_and(|all| !all.is_empty()));
    assert_eq!(sent["series"]["challenger 0"].as_array().map(Vec::is_empty), Some(false), "{sent}");
    let model = &found["models"]["cloth"];
    assert_eq!(model["versions"]["cloth@v1"][0], "1", "{model}");
    assert_eq!(model["versions"]["cloth@v2"][0], "2", "{model}");
    assert_eq!(model["aliases"], json!({ "production": "2", "stable": "1" }));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mlflow"]
async fn everything_is_told_once_however_often_the_line_is_cut() {
    let mlflow = Mlflow::start(&[]);
    let line = Line::to(
        mlflow.port,
        vec![
            ("experiments/create", 1, Fault::After),
            ("runs/create", 2, Fault::After),
            ("runs/log-batch", 2, Fault::After),
            ("runs/log-batch", 2, Fault::status(500)),
            ("mlflow-artifacts", 3, Fault::After),
            ("mlflow-artifacts", 2, Fault::status(429)),
            ("runs/set-tag", 1, Fault::After),
            ("runs/update", 1, Fault::After),
            ("runs/search", 1, Fault::answer(200, "", "<html>")),
            ("registered-models/create", 1, Fault::After),
            ("model-versions/create", 2, Fault::After),
            ("model-versions/search", 1, Fault::status(401)),
            ("registered-models/alias", 2, Fault::After),
        ],
    );
    let (folder, studio) = studio().await;
    let (run, evaluation) = filled(folder.path(), &studio, 250).await;
    send_all(&studio, line.port, PATIENCE).await;
    assert!(line.faults() > 15, "the line was cut");
    send_all(&studio, line.port, PATIENCE).await;
    let (points, _) = studio.numbered_training(&run).await.unwrap();
    check(&mlflow.found(), &points, &run, &evaluation);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mlflow"]
async fn what_happens_while_mlflow_is_away_is_told_when_it_is_back() {
    let (folder, studio) = studio().await;
    let port = free_port();
    let settings =
        Settings { uri: format!("http://ada:secret@127.0.0.1:{port}"), experiment: "adire".to_owned() };
    let telling = tokio::spawn(run(studio.clone(), settings));
    let (run, evaluation) = filled(folder.path(), &studio, 250).await;
    let problem = problem(&studio, |problem| problem.map(str::to_owned)).await;
    assert!(problem.contains("cannot be reached") && !problem.contains("secret"), "{problem}");
    telling.abort();
    // The spool is on the disk: another process continues with it.
    studio.shutdown().await;
    let config = StudioConfig::new(folder.path().join("data"));
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let mlflow = Mlflow::launch(tempfile::tempdir().unwrap(), port, &[]);
    mlflow.wait();
    send_all(&studio, port, PATIENCE).await;
    let (points, _) = studio.numbered_training(&run).await.unwrap();
    check(&mlflow.found(), &points, &run, &evaluation);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mlflow"]
async fn a_refused_host_is_explained() {
    let mlflow = Mlflow::start(&["--allowed-hosts", "mlflow.example,127.0.0.1:1"]);
    let client = Client::new(&format!("http://localhost:{}", mlflow.port), PATIENCE).unwrap();
    let refused = client.experiment("adire").unwrap_err();
    let words = format!("Start it with --allowed-hosts localhost:{}", mlflow.port);
    assert!(refused.sentence().contains(&words), "{refused:?}");
}

async fn import(studio: &Studio, port: u16, experiments: &[&str]) -> Result<Imported, String> {
    let (studio, handle) = (studio.clone(), tokio::runtime::Handle::current());
    let experiments: Vec<String> = experiments.iter().map(|name| (*name).to_owned()).collect();
    let work = move || {
        let data = tempfile::tempdir().unwrap();
        let client = Client::new(&format!("http://ada:secret@127.0.0.1:{port}"), PATIENCE).unwrap();
        Importer::new(&studio, &client, handle, data.path(), 100).import(&experiments, &mut |_| ())
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mlflow"]
async fn runs_and_versions_are_taken_over_once() {
    let mlflow = Mlflow::start(&[]);
    let (folder, studio) = studio().await;
    let adapter = folder.path().join("adapter");
    std::fs::write(&adapter, adire_studio::fake::ADAPTER_MAGIC).unwrap();
    mlflow.seed(&adapter, "1");
    // The line breaks now and then.
    let line = Line::to(
        mlflow.port,
        vec![
            ("metrics/get-history", 2, Fault::status(500)),
            ("get-artifact", 2, Fault::After),
            ("artifacts/list", 1, Fault::Before),
        ],
    );
    let imported = import(&studio, line.port, &["lora"]).await.unwrap();
    assert_eq!((imported.runs, imported.same_runs, imported.same_versions), (1, 0, 0), "{imported:?}");
    assert_eq!(imported.versions, [("Kente LoRA 1".to_owned(), "kente-lora@v1".to_owned())]);
    assert_eq!(imported.left_out.len(), 1, "{imported:?}");
    assert!(imported.left_out[0].starts_with("Kente LoRA 2 is left out: It has no .safetensors file"));

    let run = studio.imported_runs().await.unwrap().remove(0);
    assert_eq!(
        (run.name.as_str(), run.experiment.as_str(), run.status.as_str()),
        ("round 1", "lora", "FINISHED")
    );
    assert!(run.source.starts_with("http://127.0.0.1:") && run.finished_at.is_some(), "{run:?}");
    assert_eq!((run.params["rank"].as_str(), run.tags["team"].as_str()), ("8", "Adire"));
    let detail = studio.imported_run(&run.id).await.unwrap();
    assert_eq!(detail.versions, ["kente-lora@v1"]);
    let loss = &detail.metrics["loss"];
    assert_eq!(loss.len(), 900, "anything but a number is left out");
    assert!(loss.iter().zip(0..).all(|(point, step)| (point.step, point.at) == (step, 1000 + step)));
    assert_eq!(loss[1].value, 0.5);
    assert_eq!(detail.metrics["held out/loss"][0].value, 0.25);
    let version = studio.adapters().await.unwrap().remove(0);
    assert_eq!((version.description.as_str(), version.trigger.as_str()), ("Of round 1.", "kente"));
    // Production is decided here.
    assert_eq!(version.aliases, ["stable"]);

    // Again, nothing is new; then another run and version are.
    let again = import(&studio, line.port, &[]).await.unwrap();
    assert_eq!((again.runs, again.same_runs, again.same_versions), (0, 1, 1), "{again:?}");
    assert_eq!(again.versions, []);
    mlflow.seed(&adapter, "2");
    let more = import(&studio, line.port, &[]).await.unwrap();
    assert_eq!((more.runs, more.same_runs), (1, 1), "{more:?}");
    assert_eq!(more.versions, [("Kente LoRA 3".to_owned(), "kente-lora@v3".to_owned())]);
    let versions = studio.adapters().await.unwrap();
    let stable = versions.iter().find(|version| version.aliases == ["stable"]).unwrap();
    assert_eq!(stable.id(), "kente-lora@v1", "an alias that is here is not moved");

    let missing = import(&studio, mlflow.port, &["nothing"]).await.unwrap_err();
    assert!(missing.contains("has no experiment nothing; it has") && missing.contains("lora"), "{missing}");
    assert!(!missing.contains("secret"), "{missing}");
}

/// What this studio sent there does not come back twice; another studio takes it over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mlflow"]
async fn what_was_sent_there_does_not_come_back() {
    let mlflow = Mlflow::start(&[]);
    let (folder, studio) = studio().await;
    filled(folder.path(), &studio, 20).await;
    assert_eq!(send_all(&studio, mlflow.port, PATIENCE).await, Vec::<String>::new());
    let back = import(&studio, mlflow.port, &[]).await.unwrap();
    assert_eq!((back.runs, back.own_runs, back.same_versions), (0, 3, 2), "{back:?}");
    assert_eq!((back.versions.len(), back.left_out.len()), (0, 0), "{back:?}");

    let (_folder, other) = super::studio().await;
    let taken = import(&other, mlflow.port, &[]).await.unwrap();
    assert_eq!((taken.runs, taken.own_runs), (3, 0), "{taken:?}");
    let versions: Vec<&str> = taken.versions.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(versions, ["cloth@v1", "cloth@v2"]);
    let hashes = async |studio: &Studio| {
        let mut hashes: Vec<String> =
            studio.adapters().await.unwrap().into_iter().map(|version| version.hash).collect();
        hashes.sort();
        hashes
    };
    assert_eq!(hashes(&other).await, hashes(&studio).await);
}
