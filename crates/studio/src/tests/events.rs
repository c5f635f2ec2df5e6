//! Reloading, reconnecting, following late.

use super::*;

#[tokio::test]
async fn progress_counts_the_steps_and_carries_a_small_preview() {
    let (_folder, studio, _, latch) = latched().await;
    let two = GenerationRequest { count: Some(2), ..request("moons") };
    let id = studio.submit(two, &nobody()).await.unwrap().id;
    let mut previous = 0;
    // Not the last step: the image that follows at once may supersede it.
    for (image, step) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)] {
        latch.allow(if (image, step) == (1, 1) { 2 } else { 1 });
        let event = until_step(&studio, &id, image, step).await;
        let GenerationEvent::Progress(progress) = event.event else { unreachable!() };
        assert_eq!((progress.images, progress.steps), (2, 4));
        let preview = progress.preview.unwrap();
        assert!(preview.starts_with("data:image/png;base64,") && preview.len() < 2_000, "{}", preview.len());
        // How long a step takes is known after the second.
        assert_eq!(progress.remaining_ms.is_some(), (image, step) > (0, 1));
        assert!(event.id > previous);
        previous = event.id;
    }
    drop(latch);
    assert_eq!(finished(&studio, &id).await.images.len(), 2);
}

#[tokio::test]
async fn a_late_reader_gets_what_still_matters() {
    let (_folder, studio, _, latch) = latched().await;
    let id =
        studio.submit(GenerationRequest { steps: Some(30), ..request("moons") }, &nobody()).await.unwrap().id;
    latch.allow(20);
    until_step(&studio, &id, 0, 20).await;
    let late: Vec<Event> = studio.events(&id, 0).await.unwrap().take(3).collect().await;
    assert_eq!(names(&late), ["queued", "started", "progress"]);
    assert_eq!(late[2].id, late[1].id + 20, "only the newest of twenty is replayed, under its own number");
    let progress = studio.generation(&id).await.unwrap().progress.unwrap();
    assert_eq!((progress.step, progress.preview), (20, None));
}

#[tokio::test]
async fn resuming_after_a_number_skips_nothing_and_repeats_nothing() {
    let (_folder, studio, _) = fresh().await;
    let two = GenerationRequest { count: Some(2), ..request("moons") };
    let id = studio.submit(two, &nobody()).await.unwrap().id;
    // The connection drops after every single event.
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        let mut stream = studio.events(&id, cursor).await.unwrap();
        let Some(event) = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap() else { break };
        cursor = event.id;
        seen.push(event);
    }
    assert_eq!(milestones(&seen), ["queued", "started", "image", "image", "done"]);
    assert_numbers_grow(&seen);
}

#[tokio::test]
async fn the_replay_of_an_ended_generation_has_the_numbers_of_the_live_one() {
    let (folder, studio, _) = fresh().await;
    let two = GenerationRequest { count: Some(2), ..request("moons") };
    let id = studio.submit(two, &nobody()).await.unwrap().id;
    let live: Vec<Event> = all_events(&studio, &id, 0).await;
    let lasting: Vec<Event> = live.into_iter().filter(|event| event.event.name() != "progress").collect();
    let replayed = all_events(&studio, &id, 0).await;
    assert_eq!(replayed[1..], lasting[1..], "all but the first, whose wait is over");
    drop(studio);
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(all_events(&studio, &id, 0).await, replayed, "a restart changes nothing");
    assert_eq!(all_events(&studio, &id, replayed[2].id).await, replayed[3..]);
    assert!(all_events(&studio, &id, u64::MAX).await.is_empty());
}

#[tokio::test]
async fn readers_that_never_read_delay_nobody() {
    let (_folder, studio, _) = fresh().await;
    let id =
        studio.submit(GenerationRequest { steps: Some(150), ..request("a") }, &nobody()).await.unwrap().id;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(studio.events(&id, 0).await.unwrap());
    }
    assert_eq!(milestones(&all_events(&studio, &id, 0).await).last(), Some(&"done"));
    let first = idle.pop().unwrap().next().await.unwrap();
    assert!(first.id >= 1, "a reader that wakes up late still reads");
    let rest: Vec<Event> = idle.pop().unwrap().collect().await;
    assert!(rest.len() <= 4, "and gets the outcome, not 150 steps: {}", rest.len());
    assert_eq!(rest.last().unwrap().event, GenerationEvent::Done);
}

#[tokio::test]
async fn unknown_ids_are_not_found() {
    let (_folder, studio, _) = fresh().await;
    let long = "x".repeat(10_000);
    for id in ["", "nonsense", "../../etc/passwd", "' OR 1=1 --", "\0", long.as_str()] {
        for error in [
            studio.generation(id).await.err(),
            studio.events(id, 0).await.err(),
            studio.cancel(id, By::Admin).await.err(),
            studio.image(id).await.err(),
        ] {
            assert!(matches!(error, Some(StudioError::NotFound { .. })), "{error:?}");
            assert!(error.unwrap().to_string().len() < 200);
        }
    }
}
