//! `kill -9` at random moments of evaluations that promote what passes.

use std::collections::BTreeMap;

use adire_protocol::{
    EvaluationRequest, EvaluationState, EvaluationStepName, EvaluationVerdict, GatePolicy, StepState,
    VerdictOutcome,
};

use super::{
    adapters,
    crashes::open_at,
    evaluation::{asked, ended},
    killed,
    random::Dice,
    *,
};

/// The floors alone count: the fake images are too different for the rest.
const POLICY: &str = "[adherence]\nmuted = true\n[style]\nmuted = true\n[copying]\nmuted = true\n";

/// The version and the seeds are different each time, so that there is something to render and production moves.
fn wanted(number: u64) -> EvaluationRequest {
    let prompts: Vec<String> = (0..6).map(|at| format!("\"red thing {at}, {{trigger}}\"")).collect();
    let suite = format!("name = \"test\"\nseeds = [{number}]\nprompts = [{}]\n", prompts.join(", "));
    EvaluationRequest { suite: Some(suite), promote: true, ..asked(&format!("line@v{}", 1 + number % 2)) }
}

async fn prepare(studio: &Studio, data: &Path) {
    for version in 1..=2 {
        let path = adapters::file(data, "line", &format!("line {version}"));
        studio.add_adapter(adapters::new("line", Some(version), path)).await.unwrap();
    }
    studio.set_gate_policy(GatePolicy { toml: POLICY.to_owned() }).await.unwrap();
}

/// Evaluates one version after the other until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that `evaluations_survive_being_killed` starts"]
async fn process() {
    let Some((data, database)) = killed::place() else { return };
    let studio = open_at(&data, database.as_deref()).await.unwrap();
    prepare(&studio, &data).await;
    // From here on: on a busy machine no life would come to its first evaluation otherwise.
    println!("ready");
    loop {
        let known = studio.evaluations(None).await.unwrap();
        let open = known.iter().find(|record| !record.state.is_final()).map(|record| record.id.clone());
        let id = match open {
            Some(id) => id,
            None => studio.evaluate(wanted(known.len() as u64)).await.unwrap().id,
        };
        println!("asked {id}");
        let record = ended(&studio, &id).await.evaluation;
        if let Some(verdict) = &record.verdict {
            println!("verdict {id} {}", verdict.outcome.word());
        }
    }
}

/// The verdict of an evaluation that nothing disturbs. Seconds differ from run to run and are not in it.
async fn undisturbed(number: u64) -> EvaluationVerdict {
    let (folder, studio, _) = fresh().await;
    prepare(&studio, folder.path()).await;
    let id = studio.evaluate(wanted(number)).await.unwrap().id;
    ended(&studio, &id).await.evaluation.verdict.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evaluations_survive_being_killed() {
    let (crashes, seed) = killed::plan(15);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let database = if postgres::chosen() { Some(postgres::url_of(&data).await) } else { None };
    let url = database.clone();
    let lines = tokio::task::spawn_blocking(move || {
        let mut dice = Dice(seed);
        let life = |_| killed::life("tests::evaluation_crashes::process", &data, url.as_deref(), &mut dice);
        (0..crashes).flat_map(life).collect::<Vec<String>>()
    })
    .await
    .unwrap();

    let studio = open_at(folder.path(), database.as_deref()).await.unwrap();
    let mut verdicts: BTreeMap<String, VerdictOutcome> = BTreeMap::new();
    let mut given_up = 0u64;
    let records = studio.evaluations(None).await.unwrap();
    for (number, record) in records.iter().rev().enumerate() {
        let detail = ended(&studio, &record.id).await;
        let record = &detail.evaluation;
        if record.state == EvaluationState::Failed {
            assert!(record.error.as_deref().is_some_and(|why| why.contains("3 times")), "{record:?}");
            given_up += 1;
            continue;
        }
        assert_eq!(record.state, EvaluationState::Done, "{record:?}");
        assert_eq!(record.images_done, record.images, "{}", record.id);
        for step in record.steps.iter().filter(|step| step.name != EvaluationStepName::Publish) {
            assert!(matches!(step.state, StepState::Done | StepState::Reused), "{} {step:?}", record.id);
        }
        let verdict = record.verdict.as_ref().unwrap();
        if number < 3 {
            assert_eq!(verdict.criteria, undisturbed(number as u64).await.criteria, "{}", record.id);
        }
        verdicts.insert(record.id.clone(), verdict.outcome);
        for image in &detail.images {
            assert!(
                studio.image_file(&image.hash).await.unwrap().bytes().await.unwrap().starts_with(b"\x89PNG")
            );
        }
    }
    let printed = lines.iter().filter_map(|line| line.strip_prefix("verdict ")?.split_once(' '));
    for (id, word) in printed {
        assert!(records.iter().any(|record| record.id == id), "{id} is lost");
        // A line that was cut off tells nothing. One given up later had its verdict and did not get to promote.
        if let (Some(outcome), Some(kept)) = (VerdictOutcome::from_word(word), verdicts.get(id)) {
            assert_eq!(*kept, outcome, "{id}");
        }
    }
    let mut moves: BTreeMap<&str, u32> = BTreeMap::new();
    let ledger = studio.ledger("line").await.ok();
    for entry in ledger.iter().flat_map(|ledger| &ledger.entries) {
        let made = &entry.made;
        let evaluation = made.verdict.as_deref().expect("only the gate moves production here");
        *moves.entry(evaluation).or_default() += 1;
    }
    assert!(moves.values().all(|count| *count == 1), "an evaluation moved production twice: {moves:?}");
    let mut production = None;
    for record in studio.evaluations(None).await.unwrap().iter().rev() {
        let promote = record.steps.iter().find(|step| step.name == EvaluationStepName::Promote);
        if record.state == EvaluationState::Done && promote.is_some_and(|step| step.state == StepState::Done)
        {
            production = Some(record.version.clone());
            // Twice the same version in a row: there was nothing to move.
            assert!(moves.contains_key(record.id.as_str()) || given_up > 0, "{} moved nothing", record.id);
        }
    }
    if !moves.is_empty() {
        assert_eq!(studio.verify_ledger("line").await.unwrap().fault, None);
    }
    if let Some(version) = &production {
        let listed = studio.adapters().await.unwrap();
        let found = listed.iter().find(|listed| listed.stage == adire_protocol::Stage::Production).unwrap();
        assert_eq!(format!("{}@v{}", found.name, found.version), *version);
        let (_, file) = studio.adapter_file("line@production").await.unwrap();
        assert!(file.bytes().await.unwrap().ends_with(format!("line {}", found.version).as_bytes()));
    }
    let ready = lines.iter().filter(|line| *line == "ready").count();
    println!(
        "{crashes} crashes, {ready} after the start: {} evaluations ({given_up} given up), {} moves",
        records.len(),
        moves.len()
    );
    assert!(ready > 0 && !records.is_empty(), "nothing was under way");
    // Three crashes in a row before one image or step was done: the more crashes, the more often that happens.
    assert!(given_up * 50 <= crashes + 50, "{given_up} given up");
    studio.shutdown().await;
}
