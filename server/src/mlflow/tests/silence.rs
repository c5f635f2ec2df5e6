//! Servers that accept requests and answer none: MLflow, the Hub and a webhook. Nothing here waits for them.

use std::sync::Arc;

use adire_protocol::{AlertSettings, GenerationRequest, GenerationState, PushRequest, PushState};
use adire_studio::Client as Caller;

use super::*;
use crate::{
    exports::Exports,
    mlflow::{Settings, run},
    notify,
    publish::{self, Destination},
    testing::{Fault, Line, free_port},
};

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn training_and_generating_go_on_while_no_server_answers() {
    let (folder, studio) = studio().await;
    let silent = || Line::to(free_port(), vec![("HTTP", u32::MAX, Fault::Silence)]);
    let [mlflow, hub, webhook] = [silent(), silent(), silent()];
    let toml = format!("webhook = \"http://127.0.0.1:{}/hook\"", webhook.port);
    studio.set_alerts(AlertSettings { toml }).await.unwrap();
    studio.test_alert().await.unwrap();
    let dataset = dataset(&studio).await;
    trained(&studio, &dataset, 5).await;
    let request =
        PushRequest { repository: "ada/cloth".to_owned(), private: true, license: None, base_model: None };
    let push = studio.push("cloth@v1", request).await.unwrap().id;

    let settings =
        Settings { uri: format!("http://127.0.0.1:{}", mlflow.port), experiment: "adire".to_owned() };
    let destination = Destination {
        endpoint: format!("http://127.0.0.1:{}", hub.port),
        token: Some("hf_token".to_owned()),
        allowed: Vec::new(),
        hurry: 1,
        silence: PATIENCE,
    };
    let exports = Arc::new(Exports::new(folder.path().join("exports"), None));
    let tasks = [
        tokio::spawn(run(studio.clone(), settings)),
        tokio::spawn(publish::run(studio.clone(), exports, destination)),
        tokio::spawn(notify::run(studio.clone(), vec!["127.0.0.1".to_owned()])),
    ];
    let lines = [&mlflow, &hub, &webhook];
    until("each is asked something", async || lines.iter().all(|line| line.faults() > 0)).await;

    // Both are done while all three lines are silent.
    let run = trained(&studio, &dataset, 20).await;
    assert_eq!(studio.training(&run).await.unwrap().run.step, 20);
    let asked = GenerationRequest { prompt: "blue moons".to_owned(), ..GenerationRequest::default() };
    let made = studio.submit(asked, &Caller::default()).await.unwrap().id;
    until("the image", async || studio.generation(&made).await.unwrap().state == GenerationState::Done).await;
    assert_eq!(studio.push_record(&push).await.unwrap().state, PushState::Running);
    let delivery = studio.alerts().await.unwrap().alerts.remove(0).deliveries.remove(0);
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("waiting", 0));

    // Once the lines are cut, each says so and keeps what it has to send.
    lines.iter().for_each(|line| line.cut());
    problem(&studio, |problem| problem.map(str::to_owned)).await;
    until("the webhook fails", async || {
        studio.alerts().await.unwrap().alerts[0].deliveries[0].error.is_some()
    })
    .await;
    until("the push waits", async || {
        studio.push_record(&push).await.unwrap().progress.contains("Next try in")
    })
    .await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
