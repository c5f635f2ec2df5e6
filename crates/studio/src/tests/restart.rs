//! Crashes and shutdowns: no queued work is lost, no finished image is rendered again.

use std::sync::atomic::Ordering;

use adire_protocol::GenerationState::{Done, Failed, Queued};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_running_and_queued_jobs_go_on_in_order() {
    let (folder, studio, _, latch) = latched().await;
    let three = GenerationRequest { count: Some(3), ..request("running") };
    let running = studio.submit(three, &who("me")).await.unwrap();
    let waiting = [
        studio.submit(request("first"), &who("me")).await.unwrap(),
        studio.submit(request("second"), &who("me")).await.unwrap(),
    ];
    latch.allow(4 + 2);
    let seen = until_step(&studio, &running.id, 1, 2).await;
    let before = studio.generation(&running.id).await.unwrap();
    assert_eq!(before.images.len(), 1);
    drop(studio);

    let backend = FakeBackend::new(Duration::from_millis(5));
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    let active = studio.active("me").await.unwrap();
    let ids: Vec<&str> = active.iter().map(|generation| generation.id.as_str()).collect();
    assert_eq!(ids, [&running.id, &waiting[0].id, &waiting[1].id]);
    // A page that was watching resumes after the last number it saw and misses nothing.
    let rest = all_events(&studio, &running.id, seen.id).await;
    assert_numbers_grow(&rest);
    assert_eq!(milestones(&rest), ["queued", "started", "image", "image", "done"]);
    let record = studio.generation(&running.id).await.unwrap();
    assert_eq!((record.state, record.images.len()), (Done, 3));
    assert_eq!(record.images[0], before.images[0]);
    let (first, second) = (finished(&studio, &waiting[0].id).await, finished(&studio, &waiting[1].id).await);
    assert_eq!((first.state, second.state), (Done, Done));
    assert!(
        record.finished_at <= first.started_at && first.finished_at <= second.started_at,
        "in their old order"
    );
    assert_eq!(
        backend.steps_done.load(Ordering::Relaxed),
        (2 + 1 + 1) * 4,
        "what was finished was not made again"
    );
}

#[tokio::test]
async fn a_shutdown_ends_streams_frees_the_folder_and_keeps_the_jobs() {
    let (folder, studio, backend, latch) = latched().await;
    let long = GenerationRequest { steps: Some(100), ..request("long") };
    let running = studio.submit(long, &nobody()).await.unwrap();
    let waiting = submit(&studio, "waiting").await;
    latch.allow(2);
    until_step(&studio, &running.id, 0, 2).await;
    let streams =
        [studio.events(&running.id, 0).await.unwrap(), studio.events(&waiting.id, 0).await.unwrap()];
    // The step that runs may end only after the shutdown has begun.
    let both = async { tokio::join!(studio.shutdown(), async { drop(latch) }) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    let steps = backend.steps_done.load(Ordering::Relaxed);
    assert!(steps <= 3, "{steps} steps: the running one ended, no more");
    for stream in streams {
        let events: Vec<Event> = tokio::time::timeout(PATIENCE, stream.collect()).await.unwrap();
        assert!(events.iter().all(|event| !event.event.is_last()), "it has not ended");
    }
    let refused = studio.submit(request("late"), &nobody()).await;
    assert!(matches!(refused, Err(StudioError::ShuttingDown)), "{refused:?}");
    studio.shutdown().await;

    // The old handle is still there; the folder is free all the same.
    let again = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(finished(&again, &running.id).await.state, Done);
    assert_eq!(finished(&again, &waiting.id).await.state, Done);
}

#[tokio::test]
async fn expectations_survive_a_restart() {
    let (folder, studio, _) = fresh().await;
    finished(&studio, &submit(&studio, "measure").await.id).await;
    let known = studio.queue();
    assert!(known.step_ms.is_some() && known.fixed_ms.is_some());
    studio.shutdown().await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(studio.queue(), known);
}

#[tokio::test]
async fn a_job_that_brings_the_server_down_every_time_is_given_up() {
    let (folder, studio, _, _latch) = latched().await;
    let id = submit(&studio, "deadly").await.id;
    until(&studio, &id, "started").await;
    drop(studio);
    for _ in 0..2 {
        let (backend, _latch) = FakeBackend::latched();
        let studio = open(folder.path(), backend).await.unwrap();
        until(&studio, &id, "started").await;
    }
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let record = finished(&studio, &id).await;
    assert_eq!(record.state, Failed);
    assert!(record.error.unwrap().contains("3 times"));
    assert_eq!(finished(&studio, &submit(&studio, "harmless").await.id).await.state, Done);
}

#[tokio::test]
async fn orderly_restarts_do_not_count_against_a_job() {
    let (folder, studio, _, latch) = latched().await;
    let running = submit(&studio, "running").await;
    let waiting = submit(&studio, "patient").await;
    until(&studio, &running.id, "started").await;
    let _ = tokio::join!(studio.shutdown(), async { drop(latch) });
    for _ in 0..4 {
        let (backend, latch) = FakeBackend::latched();
        let studio = open(folder.path(), backend).await.unwrap();
        until(&studio, &running.id, "started").await;
        let record = studio.generation(&waiting.id).await.unwrap();
        assert_eq!((record.state, record.ahead), (Queued, Some(1)));
        let _ = tokio::join!(studio.shutdown(), async { drop(latch) });
    }
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(finished(&studio, &running.id).await.state, Done);
    assert_eq!(finished(&studio, &waiting.id).await.state, Done);
}

#[tokio::test]
async fn an_error_of_the_database_gives_no_generation_up_and_an_unreadable_row_does() {
    if postgres::chosen() {
        return;
    }
    let (folder, studio, _, latch) = latched().await;
    let ids = [submit(&studio, "sound").await.id, submit(&studio, "damaged").await.id];
    let _ = tokio::join!(studio.shutdown(), async { drop(latch) });
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("adire.db"));
    let change = async |statement: &'static str| {
        let pool = sqlx::SqlitePool::connect_with(options.clone()).await.unwrap();
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    };
    change("UPDATE generations SET spec = '{' WHERE spec LIKE '%damaged%'").await;
    // The rows of the queue can be read, those of its images cannot.
    change("ALTER TABLE images RENAME COLUMN infotext TO away").await;
    let refused = open(folder.path(), FakeBackend::default()).await.err();
    assert!(matches!(refused, Some(StudioError::Storage(_))), "{refused:?}");
    change("ALTER TABLE images RENAME COLUMN away TO infotext").await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(finished(&studio, &ids[0]).await.state, Done);
    let event = all_events(&studio, &ids[1], 0).await.pop().unwrap().event;
    assert!(matches!(&event, GenerationEvent::Failed { .. }), "{event:?}");
}
