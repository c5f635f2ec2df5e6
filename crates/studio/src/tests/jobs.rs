//! The queue of all jobs as the admin sees and changes it.

use adire_protocol::{
    EvaluationRequest, EvaluationState, GenerationState, Intake, JobMove, PushRequest, PushState, QueuedKind,
    TrainingConfig, TrainingRequest, TrainingSettings, TrainingState,
};

use super::{
    datasets::dataset,
    evaluation::{adapter, asked, suite},
    *,
};
use crate::ErrorKind;

async fn training(studio: &Studio) -> TrainingRequest {
    TrainingRequest {
        name: "cloth".to_owned(),
        dataset: dataset(studio, "cloth", 2).await.id,
        config: TrainingConfig { steps: 4, sample_every: Some(0), ..TrainingConfig::default() },
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    }
}

async fn titles(studio: &Studio) -> Vec<String> {
    studio.jobs().await.unwrap().jobs.into_iter().map(|job| job.title).collect()
}

fn push(repository: &str) -> PushRequest {
    PushRequest { repository: repository.to_owned(), private: true, license: None, base_model: None }
}

#[tokio::test]
async fn jobs_of_every_kind_are_listed_moved_and_cancelled() {
    let (_folder, studio, _, latch) = latched().await;
    let version = adapter(&studio, "dots", "dots").await;
    let running = studio.submit(request("running"), &nobody()).await.unwrap();
    until(&studio, &running.id, "started").await;
    let mut ids = Vec::new();
    for prompt in ["first", "second", "third"] {
        ids.push(studio.submit(request(prompt), &at(Some("me"), "192.0.2.1")).await.unwrap().id);
    }
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(studio.push(&version, push("ada/dots")).await.unwrap().id);
        others.push(studio.train(training(&studio).await).await.unwrap().id);
        let wanted = EvaluationRequest { suite: Some(suite(1)), ..asked(&version) };
        others.push(studio.evaluate(wanted).await.unwrap().id);
    }
    // The same push again is the one that waits.
    assert_eq!(others[0], others[3]);
    others[3] = studio.push(&version, push("ada/more")).await.unwrap().id;

    // What runs first comes first, whatever the names of the kinds.
    let queue = studio.jobs().await.unwrap();
    assert!(!queue.paused);
    assert_eq!(
        titles(&studio).await,
        [
            "running",
            "first",
            "second",
            "third",
            "dots@v1",
            "dots@v1",
            "cloth",
            "cloth",
            "dots@v1 to ada/dots",
            "dots@v1 to ada/more",
        ]
    );
    let kinds: Vec<QueuedKind> = queue.jobs[3..].iter().map(|job| job.kind).collect();
    let [generation, evaluation, training, push] =
        [QueuedKind::Generation, QueuedKind::Evaluation, QueuedKind::Training, QueuedKind::Push];
    assert_eq!(kinds, [generation, evaluation, evaluation, training, training, push, push]);
    let first = &queue.jobs[0];
    assert!(first.running && first.why.is_none() && first.network.is_none());
    let owner = queue.jobs[1].owner.as_deref().unwrap();
    assert!(owner.len() == 8 && !owner.contains("me"), "{owner}");
    let why = |at: usize| queue.jobs[at].why.as_deref().unwrap_or_default();
    assert_eq!(why(2), "behind 2 others; its adapters are loaded");
    assert_eq!(why(5), "behind 1 other; runs while no generation waits");
    assert_eq!(why(7), "behind 1 other; runs while no generation waits");
    assert_eq!((why(8), why(9)), ("next", "behind 1 other; one push at a time"));
    let settings = TrainingSettings { yield_to_generations: false };
    studio.set_training_settings(settings).await.unwrap();
    let queue = studio.jobs().await.unwrap();
    assert_eq!(queue.jobs[7].why.as_deref(), Some("behind 1 other; takes turns with generations"));

    studio.move_job(&ids[2], JobMove::Front).await.unwrap();
    assert_eq!(titles(&studio).await[..4], ["running", "third", "first", "second"]);
    let moved = studio.generation(&ids[2]).await.unwrap();
    assert_eq!(moved.ahead, Some(1), "its page knows");
    studio.move_job(&ids[0], JobMove::Later).await.unwrap();
    studio.move_job(&ids[2], JobMove::Earlier).await.unwrap();
    assert_eq!(titles(&studio).await[..4], ["running", "third", "second", "first"]);
    studio.move_job(&others[3], JobMove::Front).await.unwrap();
    assert_eq!(titles(&studio).await[8..], ["dots@v1 to ada/more", "dots@v1 to ada/dots"]);
    let refused = studio.move_job(&running.id, JobMove::Front).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    for missing in [studio.move_job("nothing", JobMove::Front).await, studio.cancel_job("nothing").await] {
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    studio.cancel_job(&ids[1]).await.unwrap();
    for id in &others {
        studio.cancel_job(id).await.unwrap();
    }
    for run in [&others[1], &others[4]] {
        assert_eq!(studio.training(run).await.unwrap().run.state, TrainingState::Cancelled);
    }
    for id in [&others[2], &others[5]] {
        assert_eq!(studio.evaluation(id).await.unwrap().evaluation.state, EvaluationState::Cancelled);
    }
    for id in [&others[0], &others[3]] {
        assert_eq!(studio.push_record(id).await.unwrap().state, PushState::Cancelled);
    }
    drop(latch);
    let (third, first) = (finished(&studio, &ids[2]).await, finished(&studio, &ids[0]).await);
    assert_eq!((third.state, first.state), (GenerationState::Done, GenerationState::Done));
    assert!(third.finished_at <= first.started_at, "in the order that the admin chose");
    assert_eq!(studio.generation(&ids[1]).await.unwrap().state, GenerationState::Cancelled);
    let refused = studio.cancel_job(&ids[2]).await.unwrap_err();
    assert_eq!(refused.to_string(), "This generation is done and cannot be cancelled.");
    studio.cancel_job(&ids[1]).await.unwrap();
    // What was held ends, too.
    for id in others {
        let events = studio.job_events(&id, 0).await.unwrap().unwrap();
        tokio::time::timeout(PATIENCE, events.collect::<Vec<_>>()).await.expect("it ends");
    }
    assert_eq!(titles(&studio).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_paused_intake_refuses_new_jobs_of_every_kind_over_a_restart_and_lets_queued_ones_run() {
    let (folder, studio, _, latch) = latched().await;
    let queued = submit(&studio, "queued").await;
    studio.set_intake(Intake { paused: true }).await.unwrap();
    let refused = studio.submit(request("late"), &who("me")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IntakePaused, "{refused}");
    assert!(refused.to_string().contains("paused by the admin"), "{refused}");
    drop(latch);
    assert_eq!(finished(&studio, &queued.id).await.state, GenerationState::Done);
    studio.shutdown().await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert!(studio.jobs().await.unwrap().paused);
    assert!(studio.submit(request("late"), &who("me")).await.is_err());
    let version = adapter(&studio, "dots", "dots").await;
    let training = studio.train(training(&studio).await).await.unwrap_err();
    let evaluation = studio.evaluate(asked(&version)).await.unwrap_err();
    let push = studio.push(&version, push("ada/dots")).await.unwrap_err();
    for refused in [training, evaluation, push] {
        assert_eq!(refused.kind(), ErrorKind::IntakePaused, "{refused}");
    }
    studio.set_intake(Intake { paused: false }).await.unwrap();
    submit(&studio, "again").await;
}

#[tokio::test]
async fn a_newcomer_goes_between_the_images_of_a_longer_generation() {
    let (_folder, studio, backend, latch) = latched().await;
    let many = GenerationRequest { count: Some(3), ..request("many") };
    let many = studio.submit(many, &who("greedy")).await.unwrap();
    until(&studio, &many.id, "started").await;
    let also = studio.submit(request("also"), &who("greedy")).await.unwrap();
    let new = studio.submit(request("new"), &who("new")).await.unwrap();
    drop(latch);
    for id in [&many.id, &also.id, &new.id] {
        assert_eq!(finished(&studio, id).await.state, GenerationState::Done);
    }
    let log = backend.call_log();
    assert_eq!(log, ["many", "new", "many", "many", "also"].map(|prompt| format!("picture {prompt}")));
}

#[tokio::test]
async fn a_job_of_any_kind_that_crashes_the_server_too_often_fails() {
    let (folder, studio, _, latch) = latched().await;
    let version = adapter(&studio, "dots", "dots").await;
    // Nothing is run before the last start: this one holds the device.
    let running = studio.submit(request("running"), &nobody()).await.unwrap();
    until(&studio, &running.id, "started").await;
    studio.set_training_settings(TrainingSettings { yield_to_generations: true }).await.unwrap();
    let generation = studio.submit(request("waits"), &who("me")).await.unwrap().id;
    let run = studio.train(training(&studio).await).await.unwrap().id;
    let evaluation = studio.evaluate(asked(&version)).await.unwrap().id;
    let push = studio.push(&version, push("ada/dots")).await.unwrap().id;
    studio.cancel(&running.id, By::Admin).await.unwrap();
    let store = studio.shared().store.clone();
    for id in [&generation, &run, &evaluation, &push] {
        store.count_attempts(id, crate::job::MAX_ATTEMPTS + 1).await;
    }
    drop((studio, latch));
    drop(store);
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let next = tokio::spawn({
        let studio = studio.clone();
        async move { studio.next_push().await.map(drop) }
    });
    for (id, what) in
        [(&generation, "generation"), (&run, "training run"), (&evaluation, "evaluation"), (&push, "push")]
    {
        let events = studio.job_events(id, 0).await.unwrap();
        if let Some(events) = events {
            tokio::time::timeout(PATIENCE, events.collect::<Vec<_>>()).await.expect("it ends");
        }
        let (state, error) = store_end(&studio, id).await;
        assert_eq!(state, "failed", "{what}: {error}");
        let start = format!("The server crashed 3 times during this {what}, so it is not retried.");
        assert!(error.starts_with(&start), "{error}");
    }
    next.abort();
}

/// The state of a job and its error.
async fn store_end(studio: &Studio, id: &str) -> (String, String) {
    studio.shared().store.state_and_error(id).await
}
