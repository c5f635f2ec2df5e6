//! Trainings: in order, beside images, over restarts.

use adire_protocol::{
    TrainingChange, TrainingConfig, TrainingEvent, TrainingPhase, TrainingRequest, TrainingRun,
    TrainingRunDetail, TrainingSettings,
    TrainingState::{self, Cancelled, Done, Failed, Paused, Running},
    WaitReason,
};

use super::{
    datasets::{bring, dataset, png},
    *,
};
use crate::{ErrorKind, JobEvent, JobUpdate};

/// The units of a run of [`request`] without samples: two images, ready, forecast, a measurement, then for each of 8
/// steps one, with a checkpoint and a measurement after each fourth, and the end.
const UNITS: u32 = 2 + 1 + 1 + 1 + 8 + 2 * 2 + 1;

fn config() -> TrainingConfig {
    TrainingConfig { steps: 8, checkpoint_every: 4, sample_every: Some(0), ..TrainingConfig::default() }
}

async fn ask(studio: &Studio, name: &str, config: TrainingConfig) -> TrainingRun {
    let dataset = dataset(studio, name, 2).await.id;
    let request = TrainingRequest {
        name: name.to_owned(),
        dataset,
        config,
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    studio.train(request).await.unwrap()
}

/// A version that a run on so many images has made.
pub(super) async fn trained(studio: &Studio, name: &str, images: u8) -> String {
    let dataset = dataset(studio, name, images).await.id;
    trained_from(studio, name, dataset, None).await.version.unwrap()
}

/// A run that has made a version, from another one's weights if that is named.
pub(super) async fn trained_from(
    studio: &Studio,
    name: &str,
    dataset: String,
    continue_from: Option<String>,
) -> TrainingRun {
    let prompts = vec!["a tok cloth".to_owned()];
    // The fake's file follows from the config alone.
    let seed = u64::from(continue_from.is_some());
    let run = TrainingRequest {
        name: name.to_owned(),
        dataset,
        config: TrainingConfig { sample_every: Some(8), sample_prompts: prompts, seed, ..config() },
        class_dataset: None,
        class_prompt: None,
        continue_from,
        note: String::new(),
    };
    let run = studio.train(run).await.unwrap();
    until_state(studio, &run.id, Done).await.run
}

/// Waits until `f` says so.
async fn until_job(studio: &Studio, id: &str, f: impl Fn(&TrainingRun) -> bool) -> TrainingRunDetail {
    let waiting = async {
        loop {
            let detail = studio.training(id).await.unwrap();
            if f(&detail.run) {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(detail) => detail,
        Err(_) => panic!("it never came to that: {:?}", studio.training(id).await),
    }
}

async fn until_state(studio: &Studio, id: &str, state: TrainingState) -> TrainingRunDetail {
    until_job(studio, id, |job| job.state == state).await
}

async fn adapter_bytes(studio: &Studio, job: &TrainingRun) -> Vec<u8> {
    let (_, file) = studio.adapter_file(job.version.as_ref().unwrap()).await.unwrap();
    file.bytes().await.unwrap()
}

async fn training_latched() -> (TempDir, Studio, FakeBackend, StepLatch) {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::training_latched();
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    (folder, studio, backend, latch)
}

/// What an undisturbed run of these settings makes.
async fn undisturbed(config: TrainingConfig) -> (Vec<u8>, TrainingRunDetail) {
    let (_folder, studio, _) = fresh().await;
    let job = ask(&studio, "cloth", config).await;
    let detail = until_state(&studio, &job.id, Done).await;
    (adapter_bytes(&studio, &detail.run).await, detail)
}

fn steps_and_losses(detail: &TrainingRunDetail) -> Vec<(u32, Option<f64>, Option<f64>)> {
    detail.points.iter().map(|p| (p.step, p.loss, p.held_out_loss)).collect()
}

#[tokio::test]
async fn a_training_becomes_a_version_that_images_can_use() {
    let (_folder, studio, backend) = fresh().await;
    let prompts = vec!["a tok cloth".to_owned()];
    let sampled = TrainingConfig { sample_every: Some(4), sample_prompts: prompts, ..config() };
    let job = ask(&studio, "cloth", sampled).await;
    // It may run already.
    assert!(!job.state.is_resting() && job.steps == 8);
    let detail = until_state(&studio, &job.id, Done).await;
    let done = &detail.run;
    assert_eq!((done.version.as_deref(), done.step, done.error.as_deref()), (Some("cloth@v1"), 8, None));
    assert_eq!((done.first_held_out, done.last_held_out), (Some(1.0), Some(1.0 / 9.0)));
    assert!(done.forecast.is_some() && done.finished_at >= done.started_at && !done.learning_rate_halved);
    let steps: Vec<_> = detail.points.iter().map(|point| point.step).collect();
    assert_eq!(steps, (0..=8).collect::<Vec<_>>());
    assert!(detail.points[1..].iter().all(|point| point.seconds.is_some() && point.loss.is_some()));
    let samples: Vec<_> = detail.samples.iter().map(|s| (s.step, s.with_adapter)).collect();
    assert_eq!(samples, [(0, false), (4, true), (8, true)]);
    assert!(studio.image(&detail.samples[0].hash).await.unwrap().starts_with(b"\x89PNG"));

    let with = GenerationRequest {
        adapters: vec![adire_protocol::AdapterUse::new("cloth@v1", 1.0)],
        ..request("a picture")
    };
    let made = studio.submit(with, &nobody()).await.unwrap();
    assert_eq!(finished(&studio, &made.id).await.state, adire_protocol::GenerationState::Done);
    let version = &studio.adapters().await.unwrap()[0];
    assert_eq!((version.trigger.as_str(), version.id().as_str()), ("tok", "cloth@v1"));
    assert!(version.description.contains("2 images in 8 steps"), "{}", version.description);
    assert!(backend.call_log().contains(&"finish".to_owned()));
    assert!(studio.training_file(&job.id, crate::TrainingFile::Kohya).await.unwrap().is_file());
}

#[tokio::test]
async fn samples_are_made_of_captions_where_nobody_says_otherwise() {
    let (_folder, studio, _) = fresh().await;
    let sampled = TrainingConfig { sample_every: None, ..config() };
    let job = ask(&studio, "cloth", TrainingConfig { steps: 20, ..sampled.clone() }).await;
    assert_eq!((job.config.sample_every, job.config.publish_captions), (Some(2), false));
    assert_eq!(job.config.sample_prompts, ["tok, cloth", "cloth"]);
    let samples = until_state(&studio, &job.id, Done).await.samples;
    assert_eq!(samples.len(), 2 * 11);
    let own = TrainingConfig { sample_prompts: vec!["mine".to_owned()], ..sampled.clone() };
    assert_eq!(ask(&studio, "own", own).await.config.sample_prompts, ["mine"]);
    let none = ask(&studio, "none", TrainingConfig { sample_every: Some(0), ..sampled }).await;
    assert_eq!(none.config.sample_prompts, Vec::<String>::new());
    assert_eq!(until_state(&studio, &none.id, Done).await.samples, []);
}

#[tokio::test]
async fn images_go_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::training_latched();
    let backend = FakeBackend { fixed_delay: Duration::from_millis(20), ..backend };
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    let job = ask(&studio, "cloth", config()).await;
    latch.allow(6);
    until_job(&studio, &job.id, |job| job.step == 1).await;
    // The next unit is under way, waiting at the latch; both images come before the one after it.
    let images = [submit(&studio, "first").await, submit(&studio, "second").await];
    let waits = studio.generation(&images[0].id).await.unwrap();
    assert_eq!(waits.wait_reason, Some(WaitReason::TrainingStep));
    latch.allow(1);
    for image in &images {
        finished(&studio, &image.id).await;
    }
    let call_log = backend.call_log();
    assert_eq!(
        call_log[call_log.len() - 3..],
        ["update 2", "picture first", "picture second"],
        "{call_log:?}"
    );
    let waited = studio.training(&job.id).await.unwrap().run;
    assert_eq!(waited.state, Running);
    drop(latch);
    let done = until_state(&studio, &job.id, Done).await.run;
    // Each of them takes longer than a clock's tick.
    assert!(done.waited_seconds > 0.0);
    assert_eq!(until_state(&studio, &job.id, Done).await.points.len(), 9);
}

#[tokio::test]
async fn a_setting_lets_training_take_turns_with_images() {
    let folder = tempfile::tempdir().unwrap();
    let (images, units) = (FakeBackend::latched(), FakeBackend::training_latched());
    let backend = FakeBackend { unit_latch: units.0.unit_latch.clone(), ..images.0 };
    let (steps, latch) = (images.1, units.1);
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    assert_eq!(studio.training_settings(), TrainingSettings { yield_to_generations: true });
    let turns = TrainingSettings { yield_to_generations: false };
    studio.set_training_settings(turns).await.unwrap();
    let job = ask(&studio, "cloth", config()).await;
    latch.allow(6);
    until_job(&studio, &job.id, |job| job.step == 1).await;
    let three = GenerationRequest { count: Some(3), ..request("picture") };
    let made = studio.submit(three, &nobody()).await.unwrap();
    // The first image is being made before training may run freely: it would be done otherwise.
    until(&studio, &made.id, "started").await;
    latch.allow(1);
    steps.allow(1);
    until_step(&studio, &made.id, 0, 1).await;
    latch.allow(100);
    steps.allow(11);
    finished(&studio, &made.id).await;
    until_state(&studio, &job.id, Done).await;
    let call_log = backend.call_log();
    let first = call_log.iter().position(|word| word.starts_with("picture")).unwrap();
    let last = call_log.iter().rposition(|word| word.starts_with("picture")).unwrap();
    assert!(last - first > 2, "units came between the pictures: {call_log:?}");
    studio.shutdown().await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(studio.training_settings(), turns, "it is kept");
}

#[tokio::test]
async fn a_job_that_waits_for_people_says_so_and_can_be_paused() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, steps) = FakeBackend::latched();
    let studio = open(folder.path(), backend).await.unwrap();
    let image = submit(&studio, "long").await;
    until(&studio, &image.id, "started").await;
    let job = ask(&studio, "cloth", config()).await;
    until_job(&studio, &job.id, |job| job.phase == Some(TrainingPhase::Yielding)).await;
    assert_eq!(studio.pause_training(&job.id).await.unwrap().state, Paused);
    studio.resume_training(&job.id).await.unwrap();
    drop(steps);
    until_state(&studio, &job.id, Done).await;
}

#[tokio::test]
async fn a_paused_run_resumes_where_it_stopped_and_ends_with_the_same_bytes() {
    let (expected, whole) = undisturbed(config()).await;
    let (_folder, studio, backend, latch) = training_latched().await;
    let job = ask(&studio, "cloth", config()).await;
    latch.allow(12);
    until_job(&studio, &job.id, |job| job.step == 5).await;
    assert_eq!(studio.pause_training(&job.id).await.unwrap().state, Paused);
    // The unit at the latch ends, no other one follows.
    latch.allow(1);
    tokio::time::timeout(PATIENCE, async {
        while !studio.shared().training.is_idle() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
    let at_rest = studio.training(&job.id).await.unwrap();
    assert_eq!((at_rest.run.state, at_rest.run.step, at_rest.run.phase), (Paused, 6, None));
    let units = backend.call_log().len();
    drop(latch);
    // Another one is run from its beginning to its end, and meanwhile nothing of this one.
    let other = ask(&studio, "other", config()).await;
    until_state(&studio, &other.id, Done).await;
    assert_eq!(backend.call_log().len(), units + UNITS as usize, "{:?}", backend.call_log());
    assert!(!studio.resume_training(&job.id).await.unwrap().state.is_resting());
    let detail = until_state(&studio, &job.id, Done).await;
    assert!(backend.call_log().contains(&"ready 6".to_owned()), "{:?}", backend.call_log());
    assert_eq!(adapter_bytes(&studio, &detail.run).await, expected);
    assert_eq!(steps_and_losses(&detail), steps_and_losses(&whole));
    for refused in [studio.pause_training(&job.id).await, studio.resume_training(&job.id).await] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_but_time() {
    let (expected, whole) = undisturbed(config()).await;
    // After each number of units: stop the server; the next one resumes by itself.
    for units in [1, 4, 6, 9, 10, 12, 13, 17, UNITS - 1] {
        let (folder, studio, backend, latch) = training_latched().await;
        let job = ask(&studio, "cloth", config()).await;
        latch.allow(units);
        let done = async {
            while backend.call_log().len() < units as usize {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
        drop(studio);
        drop(latch);
        let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
        let detail = until_state(&studio, &job.id, Done).await;
        assert_eq!(adapter_bytes(&studio, &detail.run).await, expected, "after {units} units");
        assert_eq!(steps_and_losses(&detail), steps_and_losses(&whole), "after {units} units");
        assert_eq!(studio.adapters().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_shutdown_keeps_every_update() {
    let (expected, _) = undisturbed(config()).await;
    let (folder, studio, _, latch) = training_latched().await;
    let job = ask(&studio, "cloth", config()).await;
    latch.allow(12);
    until_job(&studio, &job.id, |job| job.step == 5).await;
    let both = async { tokio::join!(studio.shutdown(), async { drop(latch) }) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    let backend = FakeBackend::default();
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    let detail = until_state(&studio, &job.id, Done).await;
    assert!(backend.call_log().contains(&"ready 6".to_owned()), "{:?}", backend.call_log());
    assert_eq!(adapter_bytes(&studio, &detail.run).await, expected);
}

#[tokio::test]
async fn what_was_paused_or_cancelled_stays_so_over_a_restart() {
    let (folder, studio, _, latch) = training_latched().await;
    let running = ask(&studio, "first", config()).await;
    let waiting = ask(&studio, "second", config()).await;
    latch.allow(5);
    until_job(&studio, &running.id, |job| job.first_held_out.is_some()).await;
    assert_eq!(studio.training(&waiting.id).await.unwrap().run.ahead, Some(1));
    studio.pause_training(&running.id).await.unwrap();
    studio.cancel_training(&waiting.id).await.unwrap();
    drop((studio, latch));
    let backend = FakeBackend::default();
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    // Queued runs start before new ones.
    let other = ask(&studio, "other", config()).await;
    until_state(&studio, &other.id, Done).await;
    assert_eq!(backend.call_log().len(), UNITS as usize, "{:?}", backend.call_log());
    assert_eq!(studio.training(&running.id).await.unwrap().run.state, Paused);
    let cancelled = studio.training(&waiting.id).await.unwrap().run;
    assert_eq!((cancelled.state, cancelled.version), (Cancelled, None));
    assert_eq!(studio.resume_training(&waiting.id).await.unwrap_err().kind(), ErrorKind::Conflict);
    studio.resume_training(&running.id).await.unwrap();
    until_state(&studio, &running.id, Done).await;
}

#[tokio::test]
async fn one_runs_and_the_others_wait_in_order() {
    let (_folder, studio, backend, latch) = training_latched().await;
    let first = ask(&studio, "first", config()).await;
    let second = ask(&studio, "second", config()).await;
    latch.allow(UNITS);
    until_state(&studio, &first.id, Done).await;
    until_state(&studio, &second.id, Running).await;
    assert_eq!(backend.call_log().iter().filter(|word| *word == "finish").count(), 1);
    // The one that runs is stopped for good; a unit that had begun may still end.
    assert_eq!(studio.cancel_training(&second.id).await.unwrap().state, Cancelled);
    let third = ask(&studio, "third", config()).await;
    drop(latch);
    until_state(&studio, &third.id, Done).await;
    let second = studio.training(&second.id).await.unwrap().run;
    assert_eq!((second.state, second.version), (Cancelled, None));
    let names: Vec<_> = studio.adapters().await.unwrap().iter().map(|version| version.id()).collect();
    assert_eq!(names, ["first@v1", "third@v1"]);
}

#[tokio::test]
async fn a_run_that_breaks_down_goes_back_once_and_then_says_why() {
    let (_folder, studio, backend) = fresh().await;
    let job = ask(&studio, "once", TrainingConfig { learning_rate: 2.0, ..config() }).await;
    let detail = until_state(&studio, &job.id, Done).await;
    assert!(detail.run.learning_rate_halved);
    assert!(backend.call_log().contains(&"rewind 0".to_owned()));
    assert_eq!(detail.points.iter().map(|p| p.step).collect::<Vec<_>>(), (0..=8).collect::<Vec<_>>());
    let job = ask(&studio, "twice", TrainingConfig { learning_rate: 1e3, ..config() }).await;
    let failed = until_state(&studio, &job.id, Failed).await.run;
    assert_eq!(failed.error.as_deref(), Some("Training diverged, even at half the learning rate."));
    assert!(failed.learning_rate_halved && failed.version.is_none());
}

#[tokio::test]
async fn bad_requests_name_their_fields() {
    let (_folder, studio, _) = fresh().await;
    let good = dataset(&studio, "cloth", 1).await.id;
    let new = adire_protocol::NewDataset { name: "empty".to_owned(), ..Default::default() };
    let empty = studio.create_dataset(new).await.unwrap().id;
    let request = |dataset: &str| TrainingRequest {
        name: "cloth".to_owned(),
        dataset: dataset.to_owned(),
        config: config(),
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    let prompt = TrainingConfig { sample_prompts: vec!["x".repeat(100_000)], ..config() };
    for (request, field) in [
        (request("nothing"), "dataset"),
        (request(&empty), "dataset"),
        (TrainingRequest { class_dataset: Some(empty.clone()), ..request(&good) }, "class_dataset"),
        (TrainingRequest { continue_from: Some("nobody@v1".to_owned()), ..request(&good) }, "continue_from"),
        (TrainingRequest { name: "../up".to_owned(), ..request(&good) }, "name"),
        (TrainingRequest { name: "checkpoint".to_owned(), ..request(&good) }, "name"),
        (TrainingRequest { config: TrainingConfig { rank: 0, ..config() }, ..request(&good) }, "config.rank"),
        (TrainingRequest { config: prompt, ..request(&good) }, "config.sample_prompts"),
    ] {
        match studio.train(request).await {
            Err(StudioError::Invalid(error)) => assert_eq!(error.0[0].field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert!(studio.trainings().await.unwrap().is_empty());
    // A refused request may have frozen nothing but what it was right about.
    let uploaded = bring(&studio, &[("x.png", png(99, 64))]).await;
    assert!(studio.add_to_dataset(&empty, uploaded).await.is_ok());
}

async fn of_training(event: JobEvent) -> Option<TrainingEvent> {
    let JobUpdate::Training(training_event) = event.update else { return None };
    assert_eq!(event.id, training_event.id);
    Some(training_event)
}

#[tokio::test]
async fn events_tell_everything_once_and_go_on_after_any_number() {
    let (_folder, studio, _, latch) = training_latched().await;
    let job = ask(&studio, "cloth", config()).await;
    let stream = studio.training_events(&job.id, 0).await.unwrap().unwrap();
    let reader = tokio::spawn(stream.filter_map(of_training).collect::<Vec<_>>());
    drop(latch);
    let events = tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert!(events.windows(2).all(|pair| pair[0].id <= pair[1].id));
    let points: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.change {
            TrainingChange::Point { point } => Some((event.id, point.step)),
            _ => None,
        })
        .collect();
    assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0), "{points:?}");
    assert_eq!(points.last().unwrap().1, 8);
    let last_job = events.iter().rev().find_map(|event| match &event.change {
        TrainingChange::Job { run: job } => Some(job.state),
        _ => None,
    });
    assert_eq!(last_job, Some(Done));
    let middle = points[3].0;
    let rest = studio.training_events(&job.id, middle).await.unwrap().unwrap();
    let rest: Vec<_> = rest.filter_map(of_training).collect().await;
    let newer = studio.training(&job.id).await.unwrap().points.len();
    assert_eq!(rest[0].change.name(), "job");
    assert!(rest.len() > 1 && rest.len() <= newer && rest[1..].iter().all(|event| event.id > middle));
    assert!(studio.training_events("nothing", 0).await.is_err());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_keeps_the_checkpoint_before_and_the_job_can_go_on() {
    let (expected, _) = undisturbed(config()).await;
    let (folder, studio, _, latch) = training_latched().await;
    let job = ask(&studio, "cloth", config()).await;
    latch.allow(11);
    until_job(&studio, &job.id, |job| job.last_held_out == Some(0.2)).await;
    let run = folder.path().join("training").join(&job.id);
    let before = std::fs::read(run.join("checkpoint.safetensors")).unwrap();
    // Whatever is written there finds no room.
    std::os::unix::fs::symlink("/dev/full", run.join("checkpoint.part")).unwrap();
    drop(latch);
    let failed = until_state(&studio, &job.id, Failed).await.run;
    let error = failed.error.unwrap();
    assert!(error.contains("No space left") && error.contains("the previous one is intact"), "{error}");
    assert_eq!(std::fs::read(run.join("checkpoint.safetensors")).unwrap(), before);
    assert!(!studio.resume_training(&job.id).await.unwrap().state.is_resting());
    let done = until_state(&studio, &job.id, Done).await.run;
    assert_eq!(adapter_bytes(&studio, &done).await, expected);
}

#[tokio::test]
async fn a_training_that_brings_the_server_down_every_time_is_given_up() {
    let (folder, studio, _, latch) = training_latched().await;
    let id = ask(&studio, "deadly", config()).await.id;
    until_state(&studio, &id, Running).await;
    drop((studio, latch));
    for _ in 0..2 {
        let (backend, latch) = FakeBackend::training_latched();
        let studio = open(folder.path(), backend).await.unwrap();
        until_state(&studio, &id, Running).await;
        drop((studio, latch));
    }
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let failed = until_state(&studio, &id, Failed).await.run;
    assert!(failed.error.unwrap().contains("3 times"));
    // A person may still insist.
    studio.resume_training(&id).await.unwrap();
    until_state(&studio, &id, Done).await;
}
