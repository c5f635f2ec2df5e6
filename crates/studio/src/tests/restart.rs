//! Crashes and shutdowns: nothing that was asked for is lost, nothing that was made is made again.

use std::sync::atomic::Ordering;

use adire_protocol::GenerationState::{Done, Failed, Queued};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_running_and_queued_jobs_go_on_in_order() {
    let (folder, studio, _) = fresh(SLOW).await;
    let three = GenerationRequest { count: Some(3), ..request("running") };
    let running = studio.submit(three, Some("me")).await.unwrap();
    let waiting = [
        studio.submit(request("first"), Some("me")).await.unwrap(),
        studio.submit(request("second"), Some("me")).await.unwrap(),
    ];
    let image = until(&studio, &running.id, "image").await;
    let seen = until(&studio, &running.id, "progress").await;
    drop(studio);

    let backend = FakeBackend::new(SLOW);
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    let active = studio.active("me").await.unwrap();
    let ids: Vec<&str> = active.iter().map(|generation| generation.id.as_str()).collect();
    assert_eq!(ids, [&running.id, &waiting[0].id, &waiting[1].id]);
    // A page that was watching resumes after the last number it saw and misses nothing.
    let rest = all_events(&studio, &running.id, seen.id.max(image.id)).await;
    assert_numbers_grow(&rest);
    assert_eq!(milestones(&rest).last(), Some(&"done"));
    let record = studio.generation(&running.id).await.unwrap();
    assert_eq!((record.state, record.images.len()), (Done, 3));
    let kept = image_hashes(&[image]);
    assert_eq!(record.images[0].hash, kept[0]);
    let [first, second] = [&waiting[0].id, &waiting[1].id];
    let (first, second) = (finished(&studio, first).await, finished(&studio, second).await);
    assert_eq!((first.state, second.state), (Done, Done));
    assert!(first.finished_at <= second.started_at, "in their old order");
    // At most two pictures of the first job and one of each other: the finished one was not made again.
    assert!(backend.steps_done.load(Ordering::Relaxed) <= 4 * 4);
}

#[tokio::test]
async fn a_shutdown_ends_streams_frees_the_folder_and_keeps_the_jobs() {
    let (folder, studio, backend) = fresh(SLOW).await;
    let long = GenerationRequest { steps: Some(100), ..request("long") };
    let running = studio.submit(long, None).await.unwrap();
    let waiting = submit(&studio, "waiting").await;
    until(&studio, &running.id, "progress").await;
    let streams =
        [studio.events(&running.id, 0).await.unwrap(), studio.events(&waiting.id, 0).await.unwrap()];
    let before = backend.steps_done.load(Ordering::Relaxed);
    tokio::time::timeout(PATIENCE, studio.shutdown()).await.unwrap();
    assert!(backend.steps_done.load(Ordering::Relaxed) <= before + 1, "the running step ended, no more");
    for stream in streams {
        let events: Vec<Event> = tokio::time::timeout(PATIENCE, stream.collect()).await.unwrap();
        assert!(events.iter().all(|event| !event.event.is_last()), "it has not ended");
    }
    let refused = studio.submit(request("late"), None).await;
    assert!(matches!(refused, Err(StudioError::ShuttingDown)), "{refused:?}");
    studio.shutdown().await;

    // The old handle is still there; the folder is free all the same.
    let again = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(finished(&again, &running.id).await.state, Done);
    assert_eq!(finished(&again, &waiting.id).await.state, Done);
}

#[tokio::test]
async fn expectations_survive_a_restart() {
    let (folder, studio, _) = fresh(SLOW).await;
    finished(&studio, &submit(&studio, "measure").await.id).await;
    let known = studio.queue();
    assert!(known.step_ms.is_some() && known.fixed_ms.is_some());
    studio.shutdown().await;
    let studio = open(folder.path(), FakeBackend::new(SLOW)).await.unwrap();
    assert_eq!(studio.queue(), known);
}

#[tokio::test]
async fn a_job_that_brings_the_server_down_every_time_is_given_up() {
    let (folder, studio, _) = fresh(SLOW).await;
    let long = GenerationRequest { steps: Some(150), ..request("deadly") };
    let id = studio.submit(long, None).await.unwrap().id;
    until(&studio, &id, "started").await;
    drop(studio);
    for _ in 0..2 {
        let studio = open(folder.path(), FakeBackend::new(SLOW)).await.unwrap();
        until(&studio, &id, "started").await;
    }
    let studio = open(folder.path(), FakeBackend::new(SLOW)).await.unwrap();
    let record = finished(&studio, &id).await;
    assert_eq!(record.state, Failed);
    assert!(record.error.unwrap().contains("3 times"));
    assert_eq!(finished(&studio, &submit(&studio, "harmless").await.id).await.state, Done);
}

#[tokio::test]
async fn a_waiting_job_survives_any_number_of_restarts() {
    let (folder, studio, _) = fresh(SLOW).await;
    let long = GenerationRequest { steps: Some(150), ..request("long") };
    studio.submit(long, None).await.unwrap();
    let waiting = submit(&studio, "patient").await;
    studio.shutdown().await;
    for _ in 0..4 {
        let studio = open(folder.path(), FakeBackend::new(SLOW)).await.unwrap();
        let record = studio.generation(&waiting.id).await.unwrap();
        assert_eq!((record.state, record.ahead), (Queued, Some(1)));
        studio.shutdown().await;
    }
}
