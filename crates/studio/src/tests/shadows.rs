//! Shadow rendering: what counts, what is scored, what ends it, and that no visitor notices.

use adire_protocol::{
    AdapterUse, EvaluationRequest, ImageRecord, PromotionRequest, RollbackRequest, ShadowOutcome,
    ShadowRecord, ShadowRequest, Stage,
};

use super::{
    adapters::{file, new},
    training::trained,
    *,
};
use crate::{Mover, decode_pixels};

const CHALLENGER: &str = "adire@v2";

fn wanted(every: u32, max_pairs: u32) -> ShadowRequest {
    ShadowRequest { every, max_pairs }
}

async fn on(studio: &Studio, every: u32, max_pairs: u32) -> ShadowRecord {
    studio.set_shadow(CHALLENGER, wanted(every, max_pairs), Mover::Admin).await.unwrap()
}

async fn promote(studio: &Studio, id: &str) {
    let request = PromotionRequest { reason: "test".to_owned(), force: true };
    studio.promote(id, request, Mover::Admin).await.unwrap();
}

/// `adire` with versions 1 to 3, of which the first is in production.
async fn versions(studio: &Studio, folder: &Path) {
    for version in 1..=3 {
        let path = file(folder, &format!("file {version}"), &format!("version {version}"));
        studio.add_adapter(new("adire", Some(version), path)).await.unwrap();
    }
    promote(studio, "adire@v1").await;
}

async fn ready() -> (TempDir, Studio, FakeBackend) {
    let (folder, studio, backend) = fresh().await;
    versions(&studio, folder.path()).await;
    (folder, studio, backend)
}

fn with(prompt: &str, adapter: &str) -> GenerationRequest {
    GenerationRequest { adapters: vec![AdapterUse::new(adapter, 0.8)], ..request(prompt) }
}

async fn generate(studio: &Studio, request: GenerationRequest) -> Generation {
    let id = studio.submit(request, &who("visitor")).await.unwrap().id;
    finished(studio, &id).await
}

/// A generation of the version in production.
async fn produce(studio: &Studio, prompt: &str) -> Generation {
    generate(studio, with(prompt, "adire@production")).await
}

async fn until(studio: &Studio, id: &str, f: impl Fn(&ShadowRecord) -> bool) -> ShadowRecord {
    let waiting = async {
        loop {
            let record = studio.shadow(id).await.unwrap();
            if f(&record) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(record) => record,
        Err(_) => panic!("it never came to that: {:?}", studio.shadow(id).await),
    }
}

async fn scored(studio: &Studio, pairs: u32) -> ShadowRecord {
    until(studio, CHALLENGER, |record| record.scored == pairs).await
}

fn hash_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap().trim_end_matches(".png")
}

async fn pixels(studio: &Studio, hash: &str) -> Vec<u8> {
    decode_pixels(&studio.image(hash).await.unwrap()).unwrap().rgb
}

fn sentence<T: std::fmt::Debug>(result: Result<T, StudioError>) -> String {
    result.unwrap_err().to_string()
}

async fn assert_owned(studio: &Studio) {
    let store = &studio.shared().store;
    assert_eq!(store.owners().await, store.expected_owners().await);
}

#[tokio::test]
async fn every_second_production_generation_becomes_a_pair() {
    let (folder, studio, backend) = ready().await;
    let record = on(&studio, 2, 3).await;
    assert_eq!((record.version.as_str(), record.champion.as_str()), (CHALLENGER, "adire@v1"));
    assert_eq!((record.on, record.started_by.as_str(), record.judge.as_str()), (true, "admin", "fake judge"));
    assert_eq!(record.measures.len(), 1, "style has nothing to be measured by");
    assert!(record.style_note.unwrap().contains("No training run of this studio made adire@v2"));
    for at in 0..3 {
        produce(&studio, &format!("{at} blue moons")).await;
    }
    // None of these counts: no adapter, another version, both, failed, blocked.
    generate(&studio, request("a moon")).await;
    generate(&studio, with("a moon", "adire@v3")).await;
    let both = GenerationRequest {
        adapters: vec![AdapterUse::new("adire@v1", 1.0), AdapterUse::new(CHALLENGER, 1.0)],
        ..request("a moon")
    };
    generate(&studio, both).await;
    produce(&studio, "fail! moon").await;
    produce(&studio, "withhold! moon").await;
    assert_eq!(scored(&studio, 1).await.generations, 3);
    studio.shutdown().await;

    // The count continues after a restart.
    drop(studio);
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    let fourth = produce(&studio, "red moons").await;
    let record = scored(&studio, 2).await;
    assert_eq!((record.generations, record.waiting, record.left_out), (4, 0, 0));
    let numbers: Vec<u64> = record.pairs.iter().map(|pair| pair.number).collect();
    assert_eq!(numbers, [4, 2]);
    let newest = &record.pairs[0];
    assert_eq!((newest.prompt.as_str(), newest.seed), ("red moons", 7));
    assert_eq!(hash_of(&newest.champion), fourth.images[0].hash);

    // The challenger's image is the one that a visitor would have got from it.
    let same = generate(&studio, with("red moons", CHALLENGER)).await;
    let challenger = pixels(&studio, hash_of(&newest.challenger)).await;
    assert_eq!(challenger, pixels(&studio, &same.images[0].hash).await);
    assert_ne!(challenger, pixels(&studio, &fourth.images[0].hash).await);
    let measure = &record.measures[0];
    assert_eq!(measure.better + measure.worse + measure.ties, 2);
    assert_eq!(measure.outcome, ShadowOutcome::Undecided);

    produce(&studio, "five").await;
    produce(&studio, "six").await;
    let record = until(&studio, CHALLENGER, |record| !record.on).await;
    assert_eq!((record.scored, record.reason.as_deref()), (3, Some("All 3 pairs are scored.")));
    assert_eq!(record.ended_by.as_deref(), Some("server"));
    produce(&studio, "seven").await;
    assert_eq!(studio.shadow(CHALLENGER).await.unwrap().generations, 6);
    assert_owned(&studio).await;
}

#[tokio::test]
async fn the_newest_twenty_pairs_can_be_looked_at() {
    let (_folder, studio, _) = ready().await;
    on(&studio, 1, 22).await;
    for at in 0..22 {
        produce(&studio, &format!("moon {at}")).await;
    }
    let record = until(&studio, CHALLENGER, |record| !record.on).await;
    assert_eq!((record.scored, record.pairs.len()), (22, 20));
    assert_eq!((record.pairs[0].number, record.pairs[19].number), (22, 3));
    let images = async || {
        let owners = studio.shared().store.owners().await;
        owners.into_iter().filter(|(kind, _)| kind == "shadow image").count()
    };
    assert_eq!(images().await, 20);
    let kept = hash_of(&record.pairs[0].challenger).to_owned();
    assert!(studio.image_file(&kept).await.is_ok());
    // The next shadow of the adapter takes their place.
    studio.set_shadow("adire@v3", wanted(1, 1), Mover::Admin).await.unwrap();
    assert_eq!(images().await, 0);
    assert!(matches!(studio.image_file(&kept).await, Err(StudioError::NotFound { .. })));
    assert!(studio.shared().blobs.get(&kept).await.unwrap().is_none(), "the file is gone");
    let record = studio.shadow(CHALLENGER).await.unwrap();
    assert_eq!((record.scored, record.pairs.len()), (22, 0));
    assert_owned(&studio).await;
}

/// What a visitor sees of a generation, but for ids and times.
async fn seen(studio: &Studio, id: &str) -> (Vec<&'static str>, String, Vec<u8>) {
    let names = milestones(&all_events(studio, id, 0).await);
    let mut record = studio.generation(id).await.unwrap();
    let image = &mut record.images[0];
    image.recipe.seconds = 0.0;
    let recipe = format!("{:?} {:?} {:?}", record.spec, image.recipe, record.warnings);
    let shown = pixels(studio, &record.images[0].hash).await;
    (names, recipe, shown)
}

#[tokio::test]
async fn a_visitor_notices_nothing() {
    let (_one, plain, _) = ready().await;
    let (_two, shadowed, backend) = ready().await;
    on(&shadowed, 1, 100).await;
    for (at, prompt) in ["blue moons", "red", "white stars", "green"].into_iter().enumerate() {
        let ours = plain.submit(with(prompt, "adire@production"), &who("visitor")).await.unwrap();
        let theirs = shadowed.submit(with(prompt, "adire@production"), &who("visitor")).await.unwrap();
        assert_eq!((ours.ahead, ours.wait_reason), (theirs.ahead, theirs.wait_reason));
        assert_eq!(seen(&plain, &ours.id).await, seen(&shadowed, &theirs.id).await, "{prompt}");
        scored(&shadowed, at as u32 + 1).await;
    }
    assert!(backend.call_log().iter().filter(|word| *word == "measure").count() == 4);
    let history = async |studio: &Studio| -> Vec<String> {
        let images = studio.history("visitor", 50, None).await.unwrap();
        images.iter().map(|image: &ImageRecord| image.recipe.spec.prompt.clone()).collect()
    };
    assert_eq!(history(&plain).await, history(&shadowed).await);
    assert_eq!(shadowed.gallery(50, None).await.unwrap().len(), 4);
    let (ours, theirs) = (plain.queue(), shadowed.queue());
    assert_eq!((ours.ahead, ours.wait_ms), (theirs.ahead, theirs.wait_ms));
    assert!(shadowed.jobs().await.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn a_generation_breaks_a_shadow_image_off() {
    const STEPS: u32 = 150;
    let (folder, studio, backend, latch) = latched().await;
    // The smoke image of the promotion has eight steps.
    latch.allow(8);
    versions(&studio, folder.path()).await;
    on(&studio, 1, 10).await;
    latch.allow(STEPS);
    let long = GenerationRequest { steps: Some(STEPS), ..with("blue moons", "adire@production") };
    generate(&studio, long).await;
    let pictures = || backend.call_log().iter().filter(|word| word.starts_with("picture ")).count();
    let begun = async |count: usize| {
        while pictures() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun(3)).await.expect("the challenger's image begins");
    let id = studio.submit(request("a visitor's"), &who("visitor")).await.unwrap().id;
    super::until(&studio, &id, "started").await;
    let mut steps = 0;
    while pictures() < 4 {
        steps += 1;
        assert!(steps < STEPS, "the image was not broken off");
        latch.allow(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(backend.call_log().last().unwrap(), "picture a visitor's");
    assert_eq!(studio.shadow(CHALLENGER).await.unwrap().scored, 0);
    drop(latch);
    assert_eq!(finished(&studio, &id).await.images.len(), 1);
    // Its turn comes again, and the interruption was no attempt that failed.
    let record = scored(&studio, 1).await;
    assert_eq!((record.waiting, record.left_out), (0, 0));
}

#[tokio::test]
async fn a_pair_is_scored_after_a_restart() {
    let (folder, studio, backend, latch) = latched().await;
    latch.allow(8);
    versions(&studio, folder.path()).await;
    on(&studio, 1, 10).await;
    latch.allow(4);
    produce(&studio, "blue moons").await;
    let begun = async {
        while backend.call_log().iter().filter(|word| word.starts_with("picture ")).count() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the challenger's image begins");
    let closing = tokio::spawn({
        let studio = studio.clone();
        async move { studio.shutdown().await }
    });
    drop(latch);
    closing.await.unwrap();
    drop(studio);
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let record = scored(&studio, 1).await;
    assert_eq!((record.generations, record.waiting, record.pairs.len()), (1, 0, 1));
    assert_owned(&studio).await;
}

#[tokio::test]
async fn what_prevents_a_shadow_is_named() {
    let (folder, studio, _) = fresh().await;
    for version in 1..=3 {
        let path = file(folder.path(), &format!("file {version}"), &format!("version {version}"));
        studio.add_adapter(new("adire", Some(version), path)).await.unwrap();
    }
    let switch = async |id: &str, request| studio.set_shadow(id, request, Mover::Admin).await;
    let refused = sentence(switch(CHALLENGER, wanted(1, 1)).await);
    assert!(refused.starts_with("No version of adire is in production"), "{refused}");
    promote(&studio, "adire@v1").await;
    let refused = sentence(switch("adire@v1", wanted(1, 1)).await);
    assert_eq!(refused, "adire@v1 is in production itself. Choose a candidate of adire.");
    for (request, message) in [
        (wanted(0, 500), "Every must be 1 to 1000; got 0."),
        (wanted(10, 1_001), "Pairs must be 1 to 1000; got 1001."),
    ] {
        assert!(sentence(switch(CHALLENGER, request).await).contains(message));
    }
    for (id, word) in [("adire", "Name the version"), ("adire@v9", "not found"), ("x@v1", "not found")] {
        let refused = sentence(switch(id, wanted(1, 1)).await);
        assert!(refused.contains(word), "{refused}");
    }
    let stage = async |to| studio.change_stage(CHALLENGER, to, "test", Mover::Admin).await.unwrap();
    for (to, word) in [(Stage::Archived, "archived"), (Stage::Rejected, "rejected")] {
        stage(to).await;
        let refused = sentence(switch(CHALLENGER, wanted(1, 1)).await);
        assert_eq!(refused, format!("{CHALLENGER} is {word}. Reopen it as a candidate first."));
    }
    stage(Stage::Candidate).await;
    assert!(matches!(studio.shadow(CHALLENGER).await, Err(StudioError::NotFound { .. })));
    let missing = studio.end_shadow(CHALLENGER, Mover::Admin).await;
    assert!(matches!(missing, Err(StudioError::NotFound { .. })));

    switch("adire@v3", wanted(1, 1)).await.unwrap();
    let refused = sentence(switch(CHALLENGER, wanted(1, 1)).await);
    assert!(refused.starts_with("adire@v3 is in shadow already"), "{refused}");
    // The one that is on takes other numbers.
    let changed = switch("adire@v3", wanted(7, 9)).await.unwrap();
    assert_eq!((changed.every, changed.max_pairs, changed.on), (7, 9, true));
    let ended = studio.end_shadow("adire@v3", Mover::Admin).await.unwrap();
    assert_eq!((ended.on, ended.ended_by.as_deref()), (false, Some("admin")));
    assert_eq!(ended.reason.as_deref(), Some("It was switched off."));
    let refused = sentence(studio.end_shadow("adire@v3", Mover::Admin).await);
    assert_eq!(refused, "The shadow of adire@v3 is not on.");

    let hash = studio.adapter(CHALLENGER).await.unwrap().version.hash;
    studio.shared().blobs.remove(&hash).await.unwrap();
    let refused = sentence(switch(CHALLENGER, wanted(1, 1)).await);
    assert!(refused.starts_with("The file of adire@v2 is missing or damaged."), "{refused}");
}

#[tokio::test]
async fn without_a_judge_the_command_is_named_and_another_model_is_refused() {
    let (folder, studio, backend) = ready().await;
    on(&studio, 1, 10).await;
    studio.shutdown().await;
    drop(studio);
    let other = FakeBackend { other_model: true, ..FakeBackend::default() };
    let studio = open(folder.path(), other).await.unwrap();
    let rests = studio.shadow(CHALLENGER).await.unwrap().rests;
    assert_eq!(rests.as_deref(), Some("The server has another base model loaded."));
    studio.end_shadow(CHALLENGER, Mover::Admin).await.unwrap();
    let refused = sentence(studio.set_shadow(CHALLENGER, wanted(1, 1), Mover::Admin).await);
    assert_eq!(refused, "adire@v2 does not fit the loaded model, fake: It was made for another model.");
    studio.shutdown().await;
    drop(studio);
    let studio = open(folder.path(), FakeBackend { without_judge: true, ..backend }).await.unwrap();
    let refused = studio.set_shadow(CHALLENGER, wanted(1, 1), Mover::Admin).await;
    assert!(
        matches!(&refused, Err(StudioError::Conflict(text)) if text.contains("adire models pull")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn it_ends_when_the_judge_is_gone_or_the_file() {
    let (folder, studio, _) = ready().await;
    on(&studio, 1, 10).await;
    let hash = studio.adapter(CHALLENGER).await.unwrap().version.hash;
    studio.shared().blobs.remove(&hash).await.unwrap();
    produce(&studio, "moon").await;
    let record = until(&studio, CHALLENGER, |record| !record.on).await;
    assert_eq!(record.reason.as_deref(), Some("The file of adire@v2 is missing or damaged."));
    assert_eq!((record.ended_by.as_deref(), record.left_out), (Some("server"), 1));
    studio.set_shadow("adire@v3", wanted(1, 10), Mover::Admin).await.unwrap();
    studio.shutdown().await;
    drop(studio);
    let backend = FakeBackend { without_judge: true, ..FakeBackend::default() };
    let studio = open(folder.path(), backend).await.unwrap();
    assert_eq!(produce(&studio, "moon").await.images.len(), 1);
    let record = until(&studio, "adire@v3", |record| !record.on).await;
    assert!(record.reason.unwrap().contains("There is no judge."));
}

#[tokio::test]
async fn it_ends_with_a_move_of_production_or_of_its_challenger() {
    let (_folder, studio, _) = ready().await;
    let reason = async || {
        let record = studio.shadow(CHALLENGER).await.unwrap();
        assert!(!record.on, "{record:?}");
        record.reason.unwrap()
    };
    let stage = async |to| studio.change_stage(CHALLENGER, to, "test", Mover::Admin).await.unwrap();
    on(&studio, 1, 10).await;
    produce(&studio, "blue moons").await;
    scored(&studio, 1).await;
    studio.set_alias(CHALLENGER, "stable", "", Mover::Admin).await.unwrap();
    assert!(studio.shadow(CHALLENGER).await.unwrap().on, "a free alias is nothing to it");
    studio.delete_alias("adire", "stable", "", Mover::Admin).await.unwrap();
    promote(&studio, "adire@v3").await;
    assert_eq!(reason().await, "Production moved from v1 to v3 (row 4 of the ledger).");
    assert_eq!(studio.shadow(CHALLENGER).await.unwrap().scored, 1, "results stay");

    on(&studio, 1, 10).await;
    let back = RollbackRequest { reason: "test".to_owned(), version: None };
    studio.roll_back("adire", back, Mover::Admin).await.unwrap();
    assert_eq!(reason().await, "Production moved from v3 to v1 (row 5 of the ledger).");
    on(&studio, 1, 10).await;
    stage(Stage::Rejected).await;
    assert_eq!(reason().await, "adire@v2 was rejected (row 6 of the ledger).");
    stage(Stage::Candidate).await;
    on(&studio, 1, 10).await;
    stage(Stage::Archived).await;
    assert_eq!(reason().await, "adire@v2 was archived (row 8 of the ledger).");
    stage(Stage::Candidate).await;
    on(&studio, 1, 10).await;
    studio.change_stage("adire@v1", Stage::Archived, "test", Mover::Admin).await.unwrap();
    assert_eq!(reason().await, "Production moved from v1 to nothing (row 10 of the ledger).");
    promote(&studio, "adire@v1").await;
    on(&studio, 1, 10).await;
    promote(&studio, CHALLENGER).await;
    assert_eq!(reason().await, "adire@v2 went to production (row 12 of the ledger).");

    let third = studio.change_stage("adire@v3", Stage::Candidate, "test", Mover::Admin).await.unwrap();
    assert_eq!(third.number, 13);
    studio.set_shadow("adire@v3", wanted(1, 10), Mover::Admin).await.unwrap();
    produce(&studio, "red moons").await;
    until(&studio, "adire@v3", |record| record.scored == 1).await;
    studio.delete_version("adire@v3").await.unwrap();
    let record = studio.shadow("adire@v3").await.unwrap();
    assert_eq!(record.reason.as_deref(), Some("adire@v3 was deleted."));
    assert_eq!((record.scored, record.pairs.len()), (1, 0));
    assert_owned(&studio).await;
}

#[tokio::test]
async fn what_a_visitor_deletes_leaves_numbers_only() {
    let (_folder, studio, _) = ready().await;
    on(&studio, 1, 10).await;
    let first = produce(&studio, "blue moons").await;
    produce(&studio, "red moons").await;
    let record = scored(&studio, 2).await;
    let image = hash_of(&record.pairs[1].challenger).to_owned();
    studio.delete_generation(&first.id, By::Client(&who("visitor"))).await.unwrap();
    let record = studio.shadow(CHALLENGER).await.unwrap();
    let left: Vec<&str> = record.pairs.iter().map(|pair| pair.prompt.as_str()).collect();
    assert_eq!((record.scored, left), (2, vec!["red moons"]));
    assert!(matches!(studio.image_file(&image).await, Err(StudioError::NotFound { .. })));
    assert!(studio.shared().blobs.get(&image).await.unwrap().is_none(), "the file is gone");
    assert_owned(&studio).await;
}

#[tokio::test]
async fn five_pairs_that_fail_alike_end_it() {
    let (folder, studio, _) = fresh().await;
    versions(&studio, folder.path()).await;
    let path = file(folder.path(), "bad", "bad");
    let bad = crate::NewAdapter { trigger: "fail!".to_owned(), ..new("adire", Some(4), path) };
    studio.add_adapter(bad).await.unwrap();
    studio.set_shadow("adire@v4", wanted(1, 100), Mover::Admin).await.unwrap();
    for _ in 0..5 {
        produce(&studio, "adire moons").await;
    }
    let record = until(&studio, "adire@v4", |record| !record.on).await;
    assert_eq!((record.scored, record.left_out), (0, 5));
    assert_eq!(record.reason.as_deref(), Some("5 pairs in a row failed: The fake engine was asked to fail."));
}

#[tokio::test]
async fn the_challenger_gets_its_own_trigger_word_and_tag() {
    let (folder, studio, backend) = fresh().await;
    versions(&studio, folder.path()).await;
    let path = file(folder.path(), "new words", "new words");
    let other = crate::NewAdapter { trigger: "indigo cloth".to_owned(), ..new("adire", Some(4), path) };
    studio.add_adapter(other).await.unwrap();
    studio.set_shadow("adire@v4", wanted(1, 100), Mover::Admin).await.unwrap();
    generate(&studio, request("a cat, Adire, <lora:adire@production:0.5>")).await;
    until(&studio, "adire@v4", |record| record.scored == 1).await;
    let log = backend.call_log();
    let last = log.iter().rfind(|word| word.starts_with("picture ")).unwrap();
    assert_eq!(last, "picture a cat, indigo cloth, <lora:adire@v4:0.5>");
}

#[tokio::test]
async fn style_is_measured_by_held_out_images_and_those_of_an_evaluation() {
    let (folder, studio, _) = fresh().await;
    let challenger = trained(&studio, "cloth", 10).await;
    let champion =
        studio.add_adapter(new("cloth", None, file(folder.path(), "other", "other"))).await.unwrap();
    promote(&studio, &champion.id()).await;
    let record = studio.set_shadow(&challenger, wanted(1, 10), Mover::Admin).await.unwrap();
    assert!(record.style_note.unwrap().contains("Evaluate a version of cloth"));
    studio.end_shadow(&challenger, Mover::Admin).await.unwrap();
    let suite = "name = 'x'\nseeds = [1]\nprompts = ['a red cloth, {trigger}', 'a blue cloth, {trigger}']";
    let evaluation = EvaluationRequest {
        version: challenger.clone(),
        suite: Some(suite.to_owned()),
        ..EvaluationRequest::default()
    };
    let id = studio.evaluate(evaluation).await.unwrap().id;
    super::evaluation::ended(&studio, &id).await;
    let record = studio.set_shadow(&challenger, wanted(1, 10), Mover::Admin).await.unwrap();
    assert_eq!(record.style_note, None);
    generate(&studio, with("blue moons", "cloth@production")).await;
    let record = until(&studio, &challenger, |record| record.scored == 1).await;
    let names: Vec<&str> = record.measures.iter().map(|measure| measure.name.as_str()).collect();
    assert_eq!(names, ["clip_score", "style_margin"]);
    assert!(record.pairs[0].style_margins.is_some());
}
