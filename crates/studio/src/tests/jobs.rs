//! The queue of all jobs as the admin sees and changes it.

use adire_protocol::{
    GenerationState, Intake, JobMove, QueuedKind, TrainingConfig, TrainingRequest, TrainingState,
};

use super::{datasets::dataset, *};
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

#[tokio::test]
async fn jobs_of_every_kind_are_listed_moved_and_cancelled() {
    let (_folder, studio, _, latch) = latched().await;
    let running = studio.submit(request("running"), &nobody()).await.unwrap();
    until(&studio, &running.id, "started").await;
    let mut ids = Vec::new();
    for prompt in ["first", "second", "third"] {
        ids.push(studio.submit(request(prompt), &at(Some("me"), "192.0.2.1")).await.unwrap().id);
    }
    let run = studio.train(training(&studio).await).await.unwrap();
    let queue = studio.jobs().await.unwrap();
    assert!(!queue.paused);
    assert_eq!(titles(&studio).await, ["running", "first", "second", "third", "cloth"]);
    let (first, last) = (&queue.jobs[0], queue.jobs.last().unwrap());
    assert!(first.running && first.why.is_none() && first.network.is_none());
    assert_eq!((last.kind, last.id.as_str()), (QueuedKind::Training, run.id.as_str()));
    let owner = queue.jobs[1].owner.as_deref().unwrap();
    assert!(owner.len() == 8 && !owner.contains("me"), "{owner}");
    assert_eq!(queue.jobs[2].why.as_deref(), Some("behind 2 others; its adapters are loaded"));

    studio.move_job(&ids[2], JobMove::Front).await.unwrap();
    assert_eq!(titles(&studio).await[..4], ["running", "third", "first", "second"]);
    let moved = studio.generation(&ids[2]).await.unwrap();
    assert_eq!(moved.ahead, Some(1), "its page knows");
    studio.move_job(&ids[0], JobMove::Later).await.unwrap();
    studio.move_job(&ids[2], JobMove::Earlier).await.unwrap();
    assert_eq!(titles(&studio).await[..4], ["running", "third", "second", "first"]);
    let refused = studio.move_job(&running.id, JobMove::Front).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    for missing in [studio.move_job("nothing", JobMove::Front).await, studio.cancel_job("nothing").await] {
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    studio.cancel_job(&ids[1]).await.unwrap();
    studio.cancel_job(&run.id).await.unwrap();
    assert_eq!(studio.training(&run.id).await.unwrap().run.state, TrainingState::Cancelled);
    drop(latch);
    let (third, first) = (finished(&studio, &ids[2]).await, finished(&studio, &ids[0]).await);
    assert_eq!((third.state, first.state), (GenerationState::Done, GenerationState::Done));
    assert!(third.finished_at <= first.started_at, "in the order that the admin chose");
    assert_eq!(studio.generation(&ids[1]).await.unwrap().state, GenerationState::Cancelled);
}

#[tokio::test]
async fn a_paused_intake_refuses_new_jobs_over_a_restart_and_lets_queued_ones_run() {
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
    let refused = studio.train(training(&studio).await).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IntakePaused, "{refused}");
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
