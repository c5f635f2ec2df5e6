//! `kill -9` at random moments: a studio in a process of its own is killed again and again under a load of generations
//! trainings and moves of the registry. The same test runs on both databases.

use std::collections::BTreeMap;

use adire_protocol::{
    GenerationState, PromotionRequest, RollbackRequest, TrainingConfig, TrainingRequest, TrainingRunDetail,
    TrainingSettings, TrainingState,
};

use super::{adapters, datasets::dataset, killed, random::Dice, *};
use crate::Mover;

/// Generations that are kept waiting.
const LOAD: usize = 3;
const TRAINING_STEPS: u32 = 120;

fn config() -> TrainingConfig {
    TrainingConfig {
        steps: TRAINING_STEPS,
        checkpoint_every: 8,
        sample_every: Some(40),
        sample_prompts: vec!["a tok cloth".to_owned()],
        ..TrainingConfig::default()
    }
}

async fn train(studio: &Studio, dataset: String) {
    let request = TrainingRequest {
        name: "cloth".to_owned(),
        dataset,
        config: config(),
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    studio.train(request).await.unwrap();
}

pub(super) async fn open_at(data: &Path, database: Option<&str>) -> Result<Studio, StudioError> {
    let backend = FakeBackend {
        step_delay: Duration::from_millis(1),
        unit_delay: Duration::from_millis(1),
        ..FakeBackend::default()
    };
    let mut config = StudioConfig::new(data);
    config.database = database.map(|url| url.parse().unwrap());
    Studio::open(config, move || Ok(backend)).await
}

/// Submits generations and trainings until it is killed, and prints what it was promised and what it saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that `every_job_survives_being_killed` starts"]
async fn process() {
    // Ignored tests are run on PostgreSQL: on its own it has nothing to do.
    let Some((data, database)) = killed::place() else { return };
    let studio = open_at(&data, database.as_deref()).await.unwrap();
    println!("ready");
    // Otherwise trainings would rest all the time.
    studio.set_training_settings(TrainingSettings { yield_to_generations: false }).await.unwrap();
    let seed = u64::from(std::process::id()) + 1;
    tokio::join!(generations(&studio, Dice(seed)), trainings(&studio), moves(&studio, &data, Dice(seed + 1)));
}

async fn generations(studio: &Studio, mut dice: Dice) {
    let mut pending: Vec<String> = Vec::new();
    for visitor in 0..3 {
        let active = studio.active(&visitor.to_string()).await.unwrap();
        pending.extend(active.into_iter().map(|generation| generation.id));
    }
    for id in pending.clone() {
        tokio::spawn(print_events(studio.clone(), id));
    }
    loop {
        while pending.len() < LOAD {
            let count = 1 + dice.roll(3) as u32;
            let request = GenerationRequest {
                count: Some(count),
                steps: Some(1 + dice.roll(4) as u32),
                ..request(&format!("moon {}", dice.roll(1 << 30)))
            };
            let id = studio.submit(request, &who(&dice.roll(3).to_string())).await.unwrap().id;
            println!("promised {id} {count}");
            if dice.roll(10) == 0 {
                // First: it may be killed between the row and the line.
                println!("cancelled {id}");
                studio.cancel(&id, By::Admin).await.unwrap();
            }
            tokio::spawn(print_events(studio.clone(), id.clone()));
            pending.push(id);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut waiting = Vec::new();
        for id in pending {
            if !studio.generation(&id).await.unwrap().state.is_final() {
                waiting.push(id);
            }
        }
        pending = waiting;
    }
}

async fn print_events(studio: Studio, id: String) {
    let mut events = studio.events(&id, 0).await.unwrap();
    while let Some(Event { id: number, event }) = events.next().await {
        // Positions and progress are not stored.
        if !matches!(event, GenerationEvent::Queued { .. } | GenerationEvent::Progress(_)) {
            println!("event {id} {number} {}", serde_json::to_string(&event).unwrap());
        }
    }
}

async fn trainings(studio: &Studio) {
    loop {
        let runs = studio.trainings().await.unwrap();
        match runs.first() {
            None => {
                let dataset = match studio.datasets().await.unwrap().first() {
                    Some(half) if half.images == 2 => half.id.clone(),
                    _ => dataset(studio, "cloth", 2).await.id,
                };
                train(studio, dataset).await;
            }
            Some(run) if run.state == TrainingState::Done => train(studio, run.dataset.clone()).await,
            // Killed three times between two checkpoints: an admin would resume it.
            Some(run) if run.state == TrainingState::Failed => {
                println!("resumed {}", run.id);
                studio.resume_training(&run.id).await.unwrap();
            }
            Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Moves production and an alias among three versions.
async fn moves(studio: &Studio, data: &Path, mut dice: Dice) {
    for version in 1..=3 {
        let path = adapters::file(data, "moved", &format!("moved {version}"));
        studio.add_adapter(adapters::new("moved", Some(version), path)).await.unwrap();
    }
    loop {
        let id = format!("moved@v{}", 1 + dice.roll(3));
        let reason = "test".to_owned();
        let made = match dice.roll(3) {
            0 => studio
                .promote(&id, PromotionRequest { reason, force: true }, Mover::Admin)
                .await
                .map(|entry| entry.made),
            1 => studio
                .roll_back("moved", RollbackRequest { reason, version: None }, Mover::Admin)
                .await
                .map(|entry| entry.made),
            _ => studio.set_alias(&id, "stable", "", Mover::Admin).await,
        };
        // Others are refused, such as a promotion of what is in production.
        if let Ok(made) = made {
            println!("moved {} {}", made.number, made.digest);
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(10))).await;
    }
}

/// Everything that the killed processes printed.
#[derive(Default)]
struct Printed {
    /// How many images each generation was promised to make.
    promised: BTreeMap<String, u32>,
    cancelled: Vec<String>,
    /// By generation and number.
    events: BTreeMap<(String, u64), String>,
    /// Numbers and digests of moves.
    moved: Vec<(u64, String)>,
    resumed: u32,
    ready: u32,
}

impl Printed {
    fn read(&mut self, line: &str) {
        let mut words = line.splitn(4, ' ');
        let (Some(kind), id) = (words.next(), words.next().unwrap_or_default().to_owned()) else { return };
        match kind {
            "promised" => drop(self.promised.insert(id, words.next().unwrap().parse().unwrap())),
            "cancelled" => self.cancelled.push(id),
            // A line that was cut off promises nothing.
            "moved" => {
                let digest = words.next().unwrap_or_default();
                if digest.len() == 64 {
                    self.moved.push((id.parse().unwrap(), digest.to_owned()));
                }
            }
            "resumed" => self.resumed += 1,
            "ready" => self.ready += 1,
            "event" => {
                let number: u64 = words.next().unwrap().parse().unwrap();
                let event = words.next().unwrap().to_owned();
                let seen = self.events.entry((id, number)).or_insert_with(|| event.clone());
                assert_eq!(*seen, event, "one number for two events of {line}");
            }
            _ => {}
        }
    }
}

/// One life of the process; what it printed.
fn live_and_die(data: &Path, database: Option<&str>, dice: &mut Dice, printed: &mut Printed) {
    killed::life("tests::crashes::process", data, database, dice)
        .iter()
        .filter(|line| !line.starts_with("event") || line.ends_with('}'))
        .for_each(|line| printed.read(line));
}

/// The adapter and the points of a run that nothing disturbs.
async fn undisturbed() -> (Vec<u8>, TrainingRunDetail) {
    let (_folder, studio, _) = fresh().await;
    let dataset = dataset(&studio, "cloth", 2).await.id;
    train(&studio, dataset).await;
    trained(&studio).await
}

/// Waits for the newest run's end.
async fn trained(studio: &Studio) -> (Vec<u8>, TrainingRunDetail) {
    let id = studio.trainings().await.unwrap()[0].id.clone();
    let ended = async {
        loop {
            let detail = studio.training(&id).await.unwrap();
            match detail.run.state {
                TrainingState::Done => return detail,
                TrainingState::Failed => drop(studio.resume_training(&id).await.unwrap()),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let detail = tokio::time::timeout(PATIENCE, ended).await.expect("the training should end");
    (adapter(studio, &detail).await, detail)
}

async fn adapter(studio: &Studio, detail: &TrainingRunDetail) -> Vec<u8> {
    let (_, file) = studio.adapter_file(detail.run.version.as_ref().unwrap()).await.unwrap();
    file.bytes().await.unwrap()
}

/// Step and loss of each point, step and kind of each sample: each of them once.
#[derive(Debug, PartialEq)]
struct Course {
    points: Vec<(u32, Option<f64>)>,
    samples: Vec<(u32, bool)>,
}

fn course(detail: &TrainingRunDetail) -> Course {
    Course {
        points: detail.points.iter().map(|point| (point.step, point.loss)).collect(),
        samples: detail.samples.iter().map(|sample| (sample.step, sample.with_adapter)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_survives_being_killed() {
    let (crashes, seed) = killed::plan(25);
    let reference = undisturbed().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let database = if postgres::chosen() { Some(postgres::url_of(&data).await) } else { None };
    let url = database.clone();
    let printed = tokio::task::spawn_blocking(move || {
        let (mut dice, mut printed) = (Dice(seed), Printed::default());
        (0..crashes).for_each(|_| live_and_die(&data, url.as_deref(), &mut dice, &mut printed));
        printed
    })
    .await
    .unwrap();

    let studio = open_at(folder.path(), database.as_deref()).await.unwrap();
    let mut given_up = 0;
    let mut images = 0;
    for (id, count) in &printed.promised {
        let record = finished(&studio, id).await;
        let events = all_events(&studio, id, 0).await;
        assert_numbers_grow(&events);
        for event in &events {
            if let Some(seen) = printed.events.get(&(id.clone(), event.id)) {
                assert_eq!(*seen, serde_json::to_string(&event.event).unwrap(), "{id} {}", event.id);
            }
        }
        for ((_, number), seen) in printed.events.range((id.clone(), 0)..=(id.clone(), u64::MAX)) {
            let stored = events.iter().any(|event| event.id == *number);
            // Each start is an event of its own; the last one is the one that stays.
            assert!(stored || seen.contains("started"), "{id} {number} {seen} was seen and is not stored");
        }
        match record.state {
            GenerationState::Done => assert_eq!(record.images.len() as u32, *count, "{id}"),
            GenerationState::Cancelled => assert!(printed.cancelled.contains(id), "{id}"),
            GenerationState::Failed => {
                assert!(record.error.as_deref().is_some_and(|why| why.contains("3 times")), "{record:?}");
                given_up += 1;
            }
            other => panic!("{id} is {other:?}"),
        }
        let mut seeds: Vec<_> = record.images.iter().map(|image| image.recipe.spec.seed).collect();
        seeds.dedup();
        assert_eq!(seeds.len(), record.images.len(), "{id} has an image twice");
        for image in &record.images {
            assert!(studio.image(&image.hash).await.unwrap().starts_with(b"\x89PNG"));
            images += 1;
        }
    }
    // A move that is there is there as a whole, and none that was reported is gone.
    let check = studio.verify_ledger("moved").await.unwrap();
    assert_eq!(check.fault, None, "{check:?}");
    let ledger = studio.ledger("moved").await.unwrap().entries;
    for (number, digest) in &printed.moved {
        assert_eq!(ledger[usize::try_from(number - 1).unwrap()].made.digest, *digest, "row {number}");
    }
    // What the process was killed at the moment of accepting may be there; nothing but that.
    let mut runs = 0;
    if !studio.trainings().await.unwrap().is_empty() {
        trained(&studio).await;
    }
    for run in studio.trainings().await.unwrap() {
        let detail = studio.training(&run.id).await.unwrap();
        assert_eq!(detail.run.state, TrainingState::Done, "{detail:?}");
        assert!(adapter(&studio, &detail).await == reference.0, "other bytes than without crashes");
        assert_eq!(course(&detail), course(&reference.1));
        runs += 1;
    }
    println!(
        "{crashes} crashes, {} after the start: {} generations ({given_up} given up), {images} images, {runs} trainings ({} resumed), {} moves ({} reported)",
        printed.ready,
        printed.promised.len(),
        printed.resumed,
        check.moves,
        printed.moved.len(),
    );
    assert!(printed.ready > 0 && images > 0, "nothing was under way");
    // One generation is under way at a time, so a kill costs one attempt, and giving up takes three.
    assert!(given_up * 3 <= crashes, "{given_up} given up");
    studio.shutdown().await;
}
