//! From submitting to done, cancelling, the bounds of the queue, and what a bad backend does.

use std::{sync::atomic::Ordering, time::Duration};

use adire_protocol::{
    GenerationState::{Cancelled, Done, Failed, Queued, Running},
    WaitReason,
};

use super::*;

#[tokio::test]
async fn a_prompt_becomes_a_stored_image() {
    let (_folder, studio, _) = fresh().await;
    let asked = submit(&studio, "  red moons  ").await;
    assert_eq!((asked.state, asked.ahead), (Queued, Some(0)));
    assert_eq!((asked.spec.prompt.as_str(), asked.spec.steps), ("red moons", 4));

    let events = all_events(&studio, &asked.id, 0).await;
    assert_eq!(milestones(&events), ["queued", "started", "image", "done"]);
    assert_numbers_grow(&events);

    let done = studio.generation(&asked.id).await.unwrap();
    assert_eq!((done.state, done.images.len(), done.error.as_deref()), (Done, 1, None));
    assert!(done.started_at.is_some() && done.finished_at >= done.started_at);
    let image = &done.images[0];
    assert_eq!(image_hashes(&events), std::slice::from_ref(&image.hash));
    assert_eq!((image.recipe.spec.seed, image.recipe.model_hash.as_str()), (7, studio.model().hash.as_str()));
    let png = studio.image(&image.hash).await.unwrap();
    assert_eq!(crate::read_request(&png).unwrap().seed, Some(7));
}

#[tokio::test]
async fn several_images_count_their_seeds_up_and_the_same_request_gives_the_same_bytes() {
    let (_folder, studio, _) = fresh().await;
    let three = GenerationRequest { count: Some(3), ..request("moons") };
    let three = finished(&studio, &studio.submit(three, &nobody()).await.unwrap().id).await;
    let seeds: Vec<u64> = three.images.iter().map(|image| image.recipe.spec.seed).collect();
    assert_eq!(seeds, [7, 8, 9]);

    let alone = GenerationRequest { seed: Some(8), ..request("moons") };
    let alone = finished(&studio, &studio.submit(alone, &nobody()).await.unwrap().id).await;
    assert_eq!(
        alone.images[0].hash, three.images[1].hash,
        "one picture of several is the picture of its seed"
    );
    assert_ne!(three.images[0].hash, three.images[1].hash);
}

#[tokio::test]
async fn cancelling_takes_effect_within_one_step() {
    let (_folder, studio, backend, latch) = latched().await;
    let long = GenerationRequest { steps: Some(100), ..request("moons") };
    let id = studio.submit(long, &who("visitor")).await.unwrap().id;
    latch.allow(2);
    until_step(&studio, &id, 0, 2).await;
    // The second step may still be on its way out: then the cancelling is over before it is answered.
    let answered = studio.cancel(&id, By::Admin).await.unwrap().state;
    assert!(matches!(answered, Running | Cancelled), "{answered:?}");
    drop(latch);
    let events = all_events(&studio, &id, 0).await;
    assert_eq!(milestones(&events), ["queued", "started", "cancelled"]);
    let record = studio.generation(&id).await.unwrap();
    assert_eq!((record.state, record.images.len()), (Cancelled, 0));
    let steps = backend.steps_done.load(Ordering::Relaxed);
    assert!(steps <= 3, "{steps} steps: at most the one that was running, and no other");
    // Again: nothing changes.
    assert_eq!(studio.cancel(&id, By::Admin).await.unwrap().state, Cancelled);
}

#[tokio::test]
async fn cancelling_keeps_the_images_that_are_there() {
    let (_folder, studio, _, latch) = latched().await;
    let five = GenerationRequest { count: Some(5), steps: Some(2), ..request("moons") };
    let id = studio.submit(five, &nobody()).await.unwrap().id;
    latch.allow(5);
    until_step(&studio, &id, 2, 1).await;
    studio.cancel(&id, By::Admin).await.unwrap();
    drop(latch);
    let record = finished(&studio, &id).await;
    assert_eq!((record.state, record.images.len()), (Cancelled, 2));
    studio.image(&record.images[0].hash).await.unwrap();
}

#[tokio::test]
async fn cancelling_while_queued_is_immediate_and_moves_the_others_up() {
    let (_folder, studio, backend, latch) = latched().await;
    let first =
        studio.submit(GenerationRequest { steps: Some(20), ..request("a") }, &nobody()).await.unwrap();
    until(&studio, &first.id, "started").await;
    let second = submit(&studio, "b").await;
    let third = submit(&studio, "c").await;
    assert_eq!((second.ahead, third.ahead), (Some(1), Some(2)));
    assert_eq!(studio.cancel(&second.id, By::Admin).await.unwrap().state, Cancelled);
    assert_eq!(milestones(&all_events(&studio, &second.id, 0).await), ["queued", "cancelled"]);
    let moved = studio.generation(&third.id).await.unwrap();
    assert_eq!((moved.state, moved.ahead), (Queued, Some(1)));
    let queued_event = until(&studio, &third.id, "queued").await;
    assert!(matches!(queued_event.event, GenerationEvent::Queued { ahead: 1, .. }), "{queued_event:?}");
    assert_eq!(queued_event.id, 2, "the new position has a new number");
    studio.cancel(&first.id, By::Admin).await.unwrap();
    drop(latch);
    assert_eq!(finished(&studio, &third.id).await.state, Done);
    assert_eq!(backend.steps_done.load(Ordering::Relaxed), 1 + 4);
}

#[tokio::test]
async fn a_queued_generation_says_what_it_waits_for() {
    use WaitReason::{OtherGenerations, OwnGenerations};
    let (_folder, studio, _, latch) = latched().await;
    let mut asked = Vec::new();
    for (prompt, owner) in [("a", "mine"), ("b", "mine"), ("c", "yours")] {
        asked.push(studio.submit(request(prompt), &who(owner)).await.unwrap());
        until(&studio, &asked[0].id, "started").await;
    }
    assert_eq!(asked[1].wait_reason, Some(OwnGenerations));
    assert_eq!(asked[2].wait_reason, Some(OtherGenerations));
    // Visitors take turns, so the other one has gone before it.
    let queued = until(&studio, &asked[1].id, "queued").await.event;
    assert!(
        matches!(queued, GenerationEvent::Queued { ahead: 2, wait_reason: Some(OtherGenerations), .. }),
        "{queued:?}"
    );
    drop(latch);
    for generation in asked {
        assert_eq!(finished(&studio, &generation.id).await.wait_reason, None);
    }
}

#[tokio::test]
async fn a_full_queue_is_a_typed_error_that_tells_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let config = StudioConfig { queue_capacity: 2, ..StudioConfig::new(folder.path()) };
    let (backend, latch) = FakeBackend::latched();
    let backend = FakeBackend { step_delay: Duration::from_millis(20), ..backend };
    let studio = Studio::open(config, || Ok(backend)).await.unwrap();
    assert_eq!((studio.queue().ahead, studio.queue().wait_ms, studio.queue().step_ms), (0, Some(0), None));
    // After one image the wait is known.
    latch.allow(4);
    finished(&studio, &submit(&studio, "measure").await.id).await;
    let (step, fixed) = (studio.queue().step_ms.unwrap(), studio.queue().fixed_ms.unwrap());
    assert!(step >= 20.0, "a step of 20 ms was measured as {step}");

    let running =
        studio.submit(GenerationRequest { steps: Some(150), ..request("a") }, &nobody()).await.unwrap();
    until(&studio, &running.id, "started").await;
    let waiting = studio.submit(request("b"), &nobody()).await.unwrap();
    studio.submit(request("c"), &nobody()).await.unwrap();
    assert_eq!((studio.queue().ahead, studio.queue().capacity), (3, 2));
    let expected = (150.0 + 4.0 + 4.0) * step + 3.0 * fixed;
    match studio.submit(request("d"), &nobody()).await {
        Err(StudioError::QueueFull { ahead: 3, wait_ms: Some(wait) }) => {
            assert!(
                (wait as f64 - expected).abs() <= 1.0,
                "{expected} ms were expected, {wait} ms were reported"
            );
        }
        other => panic!("{other:?}"),
    }
    studio.cancel(&running.id, By::Admin).await.unwrap();
    drop(latch);
    finished(&studio, &waiting.id).await;
    studio.submit(request("d"), &nobody()).await.unwrap();
}

#[tokio::test]
async fn one_visitor_cannot_fill_the_queue() {
    let (_folder, studio, _, _latch) = latched().await;
    let running = studio.submit(request("a"), &nobody()).await.unwrap();
    until(&studio, &running.id, "started").await;
    for _ in 0..8 {
        submit(&studio, "mine").await;
    }
    let ninth = studio.submit(request("mine"), &who("visitor")).await;
    assert!(
        matches!(ninth, Err(StudioError::TooManyWaiting { waiting: 8, most: 8, network: false })),
        "{ninth:?}"
    );
    studio.submit(request("theirs"), &who("another")).await.unwrap();
    assert_eq!(studio.active("visitor").await.unwrap().len(), 8);
}

#[tokio::test]
async fn wrong_fields_never_reach_the_queue() {
    let (_folder, studio, _) = fresh().await;
    let wrong = GenerationRequest { width: Some(513), steps: Some(0), ..request("moons") };
    match studio.submit(wrong, &nobody()).await {
        Err(StudioError::Invalid(errors)) => assert_eq!(errors.0.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(studio.queue().ahead, 0);
}

#[tokio::test]
async fn a_failing_and_a_panicking_backend_fail_their_job_only() {
    let (_folder, studio, _) = fresh().await;
    let [fails, panics, works] = ["fail!", "panic!", "moons"].map(|prompt| submit(&studio, prompt));
    let (fails, panics, works) = (fails.await, panics.await, works.await);
    let failed = finished(&studio, &fails.id).await;
    assert_eq!(failed.state, Failed);
    assert_eq!(failed.error.as_deref(), Some("The fake engine was asked to fail."));
    let panicked = finished(&studio, &panics.id).await;
    assert_eq!(panicked.state, Failed);
    assert!(panicked.error.unwrap().contains("asked to panic"));
    assert_eq!(finished(&studio, &works.id).await.state, Done);
    let last = all_events(&studio, &fails.id, 0).await.pop().unwrap().event;
    assert_eq!(last, GenerationEvent::Failed { message: "The fake engine was asked to fail.".to_owned() });
}

#[tokio::test]
async fn a_backend_that_cannot_be_built_is_an_error_of_opening() {
    let folder = tempfile::tempdir().unwrap();
    let make =
        || Err::<FakeBackend, _>(crate::BackendError::Failed("unet/config.json is missing.".to_owned()));
    let error = Studio::open(StudioConfig::new(folder.path()), make).await.err().unwrap();
    assert_eq!(error.to_string(), "unet/config.json is missing.");
    let panics = || -> Result<FakeBackend, _> { panic!("out of luck") };
    let error = Studio::open(StudioConfig::new(folder.path()), panics).await.err().unwrap();
    assert!(error.to_string().contains("out of luck"));
    // Neither holds the folder.
    open(folder.path(), FakeBackend::default()).await.unwrap();
}

#[tokio::test]
async fn history_pages_from_the_newest_and_belongs_to_a_visitor() {
    let (_folder, studio, _) = fresh().await;
    let mine = GenerationRequest { count: Some(5), ..request("mine") };
    let mine = studio.submit(mine, &who("me")).await.unwrap();
    let theirs = studio.submit(request("theirs"), &who("them")).await.unwrap();
    finished(&studio, &mine.id).await;
    finished(&studio, &theirs.id).await;

    let (mut seeds, mut before) = (Vec::new(), None);
    loop {
        let page = studio.history("me", 2, before).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        before = Some(last.created_at);
        seeds.extend(page.iter().map(|image| image.recipe.spec.seed));
    }
    assert_eq!(seeds, [11, 10, 9, 8, 7]);
    assert_eq!(studio.history("them", 10, None).await.unwrap().len(), 1);
    assert!(studio.history("nobody", 10, None).await.unwrap().is_empty());
    assert!(studio.active("me").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_caller_that_leaves_half_way_does_no_harm() {
    let (_folder, studio, _) = fresh().await;
    for _ in 0..20 {
        let me = who("me");
        let submitting = studio.submit(request("moons"), &me);
        // Polled once, then dropped.
        let _ = tokio::time::timeout(Duration::ZERO, submitting).await;
    }
    let settled = async {
        while studio.queue().ahead > 0 || !studio.active("me").await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("no job and no place is left behind");
    let state = studio.generation(&submit(&studio, "moons").await.id).await.unwrap().state;
    assert!(matches!(state, Queued | Running | Done));
}
