//! Images that are made together, of one generation or of several that wait.

use adire_protocol::{GenerationState, HiresRequest, Progress};

use super::*;
use crate::{
    Backend,
    client::Who,
    job::Queued,
    limits::Caps,
    queue::{QueuedGeneration, Work, WorkConfig},
    timing::Timing,
};

/// A studio that makes so many images at once; its steps wait to be allowed.
async fn batching(batch: usize) -> (TempDir, Studio, FakeBackend, StepLatch) {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::latched();
    let backend = FakeBackend { batch, ..backend };
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    (folder, studio, backend, latch)
}

/// One that keeps the device busy while others come.
async fn busy(studio: &Studio) -> Generation {
    let wide = GenerationRequest { width: Some(128), ..request("busy") };
    let generation = studio.submit(wide, &who("busy")).await.unwrap();
    until(studio, &generation.id, "started").await;
    generation
}

fn pixels(png: &[u8]) -> crate::Pixels {
    crate::decode_pixels(png).unwrap()
}

/// The pixels of a generation's images.
async fn images(studio: &Studio, id: &str) -> Vec<crate::Pixels> {
    let generation = finished(studio, id).await;
    assert_eq!(generation.state, GenerationState::Done, "{:?}", generation.error);
    let mut found = Vec::new();
    for (index, image) in generation.images.iter().enumerate() {
        assert_eq!(image.index as usize, index);
        found.push(pixels(&studio.image(&image.hash).await.unwrap()));
    }
    found
}

/// The sizes of the batches, in order.
fn batches(backend: &FakeBackend) -> Vec<String> {
    backend.call_log().into_iter().filter(|word| word.starts_with("batch")).collect()
}

#[tokio::test]
async fn generations_that_wait_and_are_alike_are_made_together() {
    let (_folder, studio, backend, latch) = batching(4).await;
    busy(&studio).await;
    let mut alike = Vec::new();
    for (prompt, seed) in [("red", 1), ("green", 2), ("blue", 3)] {
        let wanted =
            GenerationRequest { seed: Some(seed), guidance: Some(2.0 + seed as f64), ..request(prompt) };
        alike.push((studio.submit(wanted.clone(), &who(prompt)).await.unwrap().id, wanted));
        let other = GenerationRequest { steps: Some(4 + seed as u32), ..request("another number of steps") };
        studio.submit(other, &who(&format!("not {prompt}"))).await.unwrap();
    }
    drop(latch);
    let (_alone, lonely, _) = fresh().await;
    for (id, wanted) in alike {
        let expected = lonely.submit(wanted, &who("visitor")).await.unwrap().id;
        assert_eq!(images(&studio, &id).await, images(&lonely, &expected).await);
    }
    assert_eq!(batches(&backend), ["batch of 3"]);
}

#[tokio::test]
async fn images_of_one_generation_are_made_together_and_counted_so() {
    let (_folder, studio, backend, latch) = batching(2).await;
    let many = GenerationRequest { count: Some(3), ..request("moons") };
    let id = studio.submit(many.clone(), &who("visitor")).await.unwrap().id;
    latch.allow(2);
    let event = until_step(&studio, &id, 0, 2).await.event;
    let GenerationEvent::Progress(progress) = event else { panic!("{event:?}") };
    assert_eq!((progress.images, progress.batch, progress.steps), (3, 2, 4));
    assert!((progress.fraction() - 1.0 / 3.0).abs() < 1e-9, "{}", progress.fraction());
    drop(latch);
    let (_alone, lonely, _) = fresh().await;
    let expected = lonely.submit(many, &who("visitor")).await.unwrap().id;
    assert_eq!(images(&studio, &id).await, images(&lonely, &expected).await);
    assert_eq!(batches(&backend), ["batch of 2"]);
}

#[tokio::test]
async fn an_image_of_a_batch_is_cancelled_fails_or_panics_alone() {
    let (_folder, studio, backend, latch) = batching(8).await;
    busy(&studio).await;
    let mut ids = Vec::new();
    for prompt in ["stays", "goes", "fail!", "stays, too"] {
        ids.push(studio.submit(request(prompt), &who(prompt)).await.unwrap().id);
    }
    latch.allow(4 + 2);
    until_step(&studio, &ids[0], 0, 2).await;
    studio.cancel(&ids[1], By::Client(&who("goes"))).await.unwrap();
    drop(latch);
    let mut states = Vec::new();
    for id in &ids {
        states.push(finished(&studio, id).await.state);
    }
    use GenerationState::{Cancelled, Done, Failed};
    assert_eq!(states, [Done, Cancelled, Failed, Done]);
    assert_eq!(batches(&backend), ["batch of 4"]);

    let (_folder, studio, backend, latch) = batching(8).await;
    busy(&studio).await;
    let mut ids = Vec::new();
    for prompt in ["calm", "panic!", "calm, too"] {
        ids.push(studio.submit(request(prompt), &who(prompt)).await.unwrap().id);
    }
    drop(latch);
    for (id, state) in ids.iter().zip([Done, Failed, Done]) {
        assert_eq!(finished(&studio, id).await.state, state);
    }
    assert_eq!(batches(&backend), ["batch of 3"]);
}

#[tokio::test]
async fn a_cancelled_image_does_not_wait_for_its_batch() {
    let (_folder, studio, backend, latch) = batching(2).await;
    busy(&studio).await;
    let stays = studio.submit(request("stays"), &who("stays")).await.unwrap().id;
    let goes = studio.submit(request("goes"), &who("goes")).await.unwrap().id;
    latch.allow(4 + 1);
    until_step(&studio, &goes, 0, 1).await;
    studio.cancel(&goes, By::Client(&who("goes"))).await.unwrap();
    latch.allow(1);
    let cancelled = tokio::time::timeout(PATIENCE, finished(&studio, &goes)).await;
    assert_eq!(cancelled.expect("the batch is not over").state, GenerationState::Cancelled);
    assert_eq!(studio.generation(&stays).await.unwrap().state, GenerationState::Running);
    drop(latch);
    assert_eq!(finished(&studio, &stays).await.state, GenerationState::Done);
    assert_eq!(batches(&backend), ["batch of 2"]);
}

#[tokio::test]
async fn what_shares_no_batch_is_made_alone() {
    let (_folder, studio, backend, latch) = batching(4).await;
    busy(&studio).await;
    let init = uploads::upload(&studio, 9).await;
    let wanted = [
        GenerationRequest { count: Some(2), init_image: Some(init.clone()), ..request("from an image") },
        GenerationRequest { init_image: Some(init), ..request("from an image, too") },
        GenerationRequest { count: Some(2), hires: Some(HiresRequest::default()), ..request("hires") },
    ];
    let mut ids = Vec::new();
    for wanted in &wanted {
        ids.push(studio.submit(wanted.clone(), &who(&wanted.prompt)).await.unwrap().id);
    }
    drop(latch);
    for (id, wanted) in ids.iter().zip(&wanted) {
        let made = tokio::time::timeout(PATIENCE, images(&studio, id)).await;
        assert_eq!(made.expect("it is made").len() as u32, wanted.count.unwrap_or(1));
    }
    assert!(batches(&backend).is_empty());
}

#[tokio::test]
async fn what_the_server_may_have_crashed_of_is_tried_alone() {
    let (folder, studio, _, latch) = batching(4).await;
    busy(&studio).await;
    let mut ids = Vec::new();
    for prompt in ["suspect", "one", "two"] {
        ids.push(studio.submit(request(prompt), &who(prompt)).await.unwrap().id);
    }
    studio.shared().store.count_attempts(&ids[0], 1).await;
    drop((studio, latch));
    let backend = FakeBackend { batch: 4, ..FakeBackend::default() };
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    for id in &ids {
        assert_eq!(images(&studio, id).await.len(), 1);
    }
    let log = backend.call_log();
    assert!(!batches(&backend).contains(&"batch of 3".to_owned()), "{log:?}");
    let at = log.iter().position(|word| word == "picture suspect").unwrap();
    assert!(at == 0 || !log[at - 1].starts_with("batch"), "{log:?}");
}

#[tokio::test]
async fn images_in_the_batch_do_not_count_as_waiting() {
    let (_folder, studio, _, latch) = batching(8).await;
    busy(&studio).await;
    // As many as one visitor may have waiting.
    for image in 0..8 {
        studio.submit(request(&format!("image {image}")), &who("visitor")).await.unwrap();
    }
    let visitor = who("visitor");
    let one_more = || studio.submit(request("one more"), &visitor);
    assert!(matches!(one_more().await, Err(StudioError::TooManyWaiting { waiting: 8, .. })));
    latch.allow(4 + 1);
    let running = async {
        while studio.queue().ahead > 8 || one_more().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.expect("all eight are being made");
    drop(latch);
}

#[tokio::test]
async fn joining_a_batch_is_bounded_by_turns() {
    let spec = |steps| {
        let (info, wanted) = (FakeBackend::default().info(), request("red"));
        let wanted = GenerationRequest { steps: Some(steps), ..wanted };
        wanted.validate(&info.limits, &info.defaults, 7).unwrap()
    };
    let joining = |queue: &[(&str, &str, i64, u32)], most| {
        let work = Work::new(WorkConfig {
            node: "node".to_owned(),
            capacity: 32,
            timing: Timing::new(64, None),
            caps: Caps::default(),
            budget: Caps::default().budget(&FakeBackend::default().info()),
            newest_image: 0,
        });
        for (id, visitor, turn, steps) in queue {
            let who = Who::from(&who(visitor));
            let (id, spec) = ((*id).to_owned(), spec(*steps));
            let generation = QueuedGeneration { id, who, created_at: 0, spec, finished: Vec::new() };
            work.enqueue(generation, Queued { turn: *turn, event: 1 });
        }
        work.waiting_like(&spec(4), most).join(" ")
    };
    assert_eq!(joining(&[("a", "ada", 0, 4), ("b", "ben", 5, 4), ("c", "cem", 9, 4)], 8), "a b c");
    assert_eq!(joining(&[("a", "ada", 0, 4), ("b", "ben", 5, 4), ("c", "cem", 9, 4)], 2), "a b");
    assert_eq!(joining(&[("a", "ada", 0, 5), ("b", "ben", 5, 4), ("c", "cem", 9, 4)], 8), "b c");
    let own = [("a", "ada", 0, 5), ("b", "ada", 5, 4), ("c", "cem", 9, 4)];
    assert_eq!(joining(&own, 8), "c", "one visitor's are made in order");
    let late = [("a", "ada", 100, 5), ("b", "ben", 20_100, 4), ("c", "cem", 20_101, 4)];
    assert_eq!(joining(&late, 8), "b", "none passes over another for long");
}

#[tokio::test]
async fn a_batch_that_a_shutdown_breaks_off_is_made_after_the_next_start() {
    let (folder, studio, _, latch) = batching(4).await;
    busy(&studio).await;
    let mut ids = Vec::new();
    for prompt in ["one", "two"] {
        ids.push(studio.submit(request(prompt), &who(prompt)).await.unwrap().id);
    }
    latch.allow(4 + 1);
    until_step(&studio, &ids[1], 0, 1).await;
    tokio::join!(studio.shutdown(), async { drop(latch) });
    let studio = open(folder.path(), FakeBackend { batch: 4, ..FakeBackend::default() }).await.unwrap();
    for id in &ids {
        assert_eq!(images(&studio, id).await.len(), 1);
    }
}

#[test]
fn a_batch_counts_as_its_images() {
    let progress =
        Progress { image: 1, images: 4, batch: 3, step: 5, steps: 10, remaining_ms: None, preview: None };
    assert!((progress.fraction() - 0.625).abs() < 1e-9);
}
