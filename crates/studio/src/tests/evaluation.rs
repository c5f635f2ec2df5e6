//! Evaluations from the request to the verdict, on the fake backend.

use adire_protocol::{
    EvaluationDetail, EvaluationRecord, EvaluationRequest, EvaluationRole, EvaluationState, EvaluationStep,
    EvaluationStepName, GatePolicy, StepState, VerdictOutcome,
};

use futures::StreamExt;

use super::{
    PATIENCE,
    datasets::dataset,
    fresh, open,
    training::{trained, trained_from},
};
use crate::{NewAdapter, Studio, StudioError, fake::ADAPTER_MAGIC};

pub(super) fn asked(version: &str) -> EvaluationRequest {
    EvaluationRequest { version: version.to_owned(), ..EvaluationRequest::default() }
}

/// A suite of so many prompts, each with a colour that the fake judge knows.
pub(super) fn suite(prompts: usize) -> String {
    let colours = ["black", "blue", "green", "turquoise", "red", "purple", "yellow", "white"];
    let prompts: Vec<String> =
        (0..prompts).map(|at| format!("\"{} thing {at}, {{trigger}}\"", colours[at % 8])).collect();
    format!("name = \"test\"\nseeds = [1, 2]\nprompts = [{}]\n", prompts.join(", "))
}

pub(super) async fn adapter(studio: &Studio, name: &str, content: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    std::fs::write(&path, [ADAPTER_MAGIC, content.as_bytes()].concat()).unwrap();
    let new = NewAdapter {
        name: name.to_owned(),
        version: None,
        path,
        description: String::new(),
        trigger: "in some style".to_owned(),
        strict: false,
    };
    studio.add_adapter(new).await.unwrap().id()
}

pub(super) async fn ended(studio: &Studio, id: &str) -> EvaluationDetail {
    let waiting = async {
        if let Some(events) = studio.evaluation_events(id, 0).await.unwrap() {
            events.collect::<Vec<_>>().await;
        }
        studio.evaluation(id).await.unwrap()
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it ends")
}

pub(super) fn step(record: &EvaluationRecord, name: EvaluationStepName) -> EvaluationStep {
    record.steps.iter().find(|step| step.name == name).unwrap().clone()
}

#[tokio::test]
async fn an_evaluation_ends_with_a_verdict_its_images_and_its_steps() {
    let (_folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "one").await;
    let record =
        studio.evaluate(EvaluationRequest { suite: Some(suite(8)), ..asked("cloth") }).await.unwrap();
    assert_eq!(record.version, version);
    let EvaluationDetail { evaluation, images } = ended(&studio, &record.id).await;
    assert_eq!(evaluation.state, EvaluationState::Done, "{:?}", evaluation.error);
    let count = |role| images.iter().filter(|image| image.role == role).count();
    assert_eq!([EvaluationRole::Base, EvaluationRole::Challenger].map(count), [16, 16]);
    assert_eq!(evaluation.images_done, evaluation.images);
    assert!(images.iter().any(|image| image.clip_score.is_some()));
    assert_eq!(studio.image_file(&images[0].hash).await.unwrap().bytes().await.unwrap()[..4], *b"\x89PNG");
    let verdict = evaluation.verdict.unwrap();
    // Nothing is known of its style: it was trained elsewhere.
    assert_ne!(verdict.outcome, VerdictOutcome::Pass);
    assert!(
        evaluation.warnings[0].starts_with("The version was not trained by this studio"),
        "{:?}",
        evaluation.warnings
    );
    let criteria: Vec<&str> = verdict.criteria.iter().map(|criterion| criterion.kind.as_str()).collect();
    assert_eq!(criteria, ["floors", "adherence", "style", "copying"]);
    let state = |name| evaluation.steps.iter().find(|step| step.name == name).unwrap().state;
    assert_eq!(state(EvaluationStepName::Verdict), StepState::Done);
    assert_eq!(state(EvaluationStepName::Promote), StepState::Pending);
}

#[tokio::test]
async fn images_are_reused_and_the_reason_for_each_step_is_named() {
    let (_folder, studio, backend) = fresh().await;
    adapter(&studio, "cloth", "one").await;
    let again = || EvaluationRequest { suite: Some(suite(6)), ..asked("cloth@v1") };
    let first = ended(&studio, &studio.evaluate(again()).await.unwrap().id).await.evaluation;
    let images = |log: &[String]| log.iter().filter(|word| word.starts_with("picture ")).count();
    let before = images(&backend.call_log());
    let second = ended(&studio, &studio.evaluate(again()).await.unwrap().id).await.evaluation;
    assert_eq!(images(&backend.call_log()), before, "nothing is rendered twice");
    assert_eq!(step(&first, EvaluationStepName::Prepare).why, "This adapter has not been evaluated before.");
    let render = step(&second, EvaluationStepName::Render);
    assert_eq!(render.state, StepState::Reused);
    assert_eq!(render.reused_from.as_deref(), Some(first.id.as_str()));
    assert_eq!(render.why, "Its inputs equal those of the evaluation before.");
    assert_eq!(first.verdict, second.verdict);
    let score = step(&second, EvaluationStepName::Score);
    assert_eq!((score.state, score.reused_from.as_deref()), (StepState::Reused, Some(first.id.as_str())));
    assert_eq!(score.outputs, step(&first, EvaluationStepName::Score).outputs);
    let again = EvaluationRequest { rerun: Some(EvaluationStepName::Score), ..again() };
    let again = ended(&studio, &studio.evaluate(again).await.unwrap().id).await.evaluation;
    assert_eq!(step(&again, EvaluationStepName::Score).state, StepState::Done);
    assert_eq!(again.verdict, first.verdict);
    // Another suite: the step says so.
    let other = EvaluationRequest { suite: Some(suite(7)), ..asked("cloth@v1") };
    let third = ended(&studio, &studio.evaluate(other).await.unwrap().id).await.evaluation;
    assert_eq!(step(&third, EvaluationStepName::Prepare).why, "Differs from the evaluation before: suite.");
    // The same as the one before the last: the step says that its outputs are not from the last.
    let earlier = EvaluationRequest { suite: Some(suite(6)), ..asked("cloth@v1") };
    let earlier = ended(&studio, &studio.evaluate(earlier).await.unwrap().id).await.evaluation;
    let render = step(&earlier, EvaluationStepName::Render);
    assert_eq!(
        (render.state, render.why.as_str()),
        (StepState::Reused, "Its inputs equal those of an earlier evaluation.")
    );
    assert_eq!(render.reused_from, Some(again.id));
    let rerun = EvaluationRequest {
        rerun: Some(EvaluationStepName::Render),
        suite: Some(suite(6)),
        ..asked("cloth@v1")
    };
    let before = images(&backend.call_log());
    let fourth = ended(&studio, &studio.evaluate(rerun).await.unwrap().id).await.evaluation;
    assert!(images(&backend.call_log()) > before);
    assert_eq!(step(&fourth, EvaluationStepName::Render).state, StepState::Done);
}

#[tokio::test]
async fn a_version_with_a_run_has_held_out_images_and_is_promoted_when_it_passes() {
    let (_folder, studio, _) = fresh().await;
    let version = trained(&studio, "cloth", 10).await;
    let muted = "[adherence]\nmuted = true\n[style]\nmuted = true\n[copying]\nmuted = true\n";
    studio.set_gate_policy(GatePolicy { toml: muted.to_owned() }).await.unwrap();
    let wanted = EvaluationRequest { promote: true, suite: Some(suite(12)), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    let verdict = record.verdict.as_ref().unwrap();
    assert_eq!(verdict.outcome, VerdictOutcome::Pass, "{:?}", verdict.criteria);
    let style = verdict.criteria.iter().find(|criterion| criterion.kind == "style").unwrap();
    assert!(style.muted && style.value.is_some(), "held-out images were seen: {style:?}");
    let copying = verdict.criteria.iter().find(|criterion| criterion.kind == "copying").unwrap();
    assert!(copying.reason.contains("held-out images"), "{}", copying.reason);
    assert!(!verdict.suspects.is_empty());
    let ledger = studio.ledger("cloth").await.unwrap();
    let made = &ledger.entries.last().unwrap().made;
    assert_eq!((made.who.as_str(), made.verdict.as_deref()), ("gate", Some(record.id.as_str())));
    assert_eq!(made.to_version, Some(1));
}

#[tokio::test]
async fn a_hopeless_version_stops_after_the_first_block() {
    let (_folder, studio, _) = fresh().await;
    adapter(&studio, "cloth", "one").await;
    // Every image of the version fails: its trigger word makes the fake engine fail.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    std::fs::write(&path, [ADAPTER_MAGIC, b"two"].concat()).unwrap();
    let new = NewAdapter {
        name: "bad".to_owned(),
        version: None,
        path,
        description: String::new(),
        trigger: "fail!".to_owned(),
        strict: false,
    };
    studio.add_adapter(new).await.unwrap();
    let wanted = EvaluationRequest { suite: Some(suite(12)), ..asked("bad") };
    let EvaluationDetail { evaluation, images } =
        ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await;
    let verdict = evaluation.verdict.clone().unwrap();
    assert_eq!(verdict.outcome, VerdictOutcome::Fail);
    assert!(verdict.stopped_early.unwrap().starts_with("Stopped after 6 of 12 prompts"));
    assert_eq!(
        step(&evaluation, EvaluationStepName::Render).log[1],
        "12 images: The fake engine was asked to fail."
    );
    let failed = &evaluation.verdict.as_ref().unwrap().failed;
    assert_eq!(failed.len(), 12);
    assert_eq!((failed[0].role, failed[0].prompt, failed[0].seed), (EvaluationRole::Challenger, 0, 1));
    assert_eq!(images.len(), 12 + 6, "the base's of one block, and those without the trigger word");
}

#[tokio::test]
async fn a_version_that_changes_nothing_is_refused_as_such_after_the_first_block() {
    let (_folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "nothing").await;
    let wanted = EvaluationRequest { suite: Some(suite(12)), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    let verdict = record.verdict.unwrap();
    assert_eq!(verdict.outcome, VerdictOutcome::Fail);
    let reason = verdict.stopped_early.unwrap();
    assert_eq!(
        reason,
        "Stopped after 6 of 12 prompts: The adapter changes nothing: its images equal the base model's."
    );
}

#[tokio::test]
async fn an_evaluation_goes_on_after_a_restart() {
    let (folder, studio, backend) = fresh().await;
    adapter(&studio, "cloth", "one").await;
    let wanted = EvaluationRequest { suite: Some(suite(12)), ..asked("cloth") };
    let id = studio.evaluate(wanted).await.unwrap().id;
    while studio.evaluation(&id).await.unwrap().images.len() < 5 {
        tokio::task::yield_now().await;
    }
    studio.shutdown().await;
    let kept = {
        let studio = open(folder.path(), backend.clone()).await.unwrap();
        let detail = ended(&studio, &id).await;
        assert_eq!(detail.evaluation.state, EvaluationState::Done, "{:?}", detail.evaluation.error);
        detail
    };
    assert_eq!(kept.images.len() as u32, kept.evaluation.images);
}

#[tokio::test]
async fn generations_go_between_and_a_cancel_takes_effect() {
    let (_folder, studio, backend, latch) = super::latched().await;
    adapter(&studio, "cloth", "one").await;
    let id =
        studio.evaluate(EvaluationRequest { suite: Some(suite(12)), ..asked("cloth") }).await.unwrap().id;
    latch.allow(1);
    while backend.call_log().is_empty() {
        tokio::task::yield_now().await;
    }
    let cancelled = studio.cancel_evaluation(&id).await.unwrap();
    assert_eq!(cancelled.state, EvaluationState::Cancelled);
    drop(latch);
    let generation = super::submit(&studio, "one image").await;
    super::finished(&studio, &generation.id).await;
    let record = ended(&studio, &id).await.evaluation;
    assert_eq!((record.state, record.verdict), (EvaluationState::Cancelled, None));
    let again = studio.cancel_evaluation(&id).await;
    assert_eq!(again.unwrap().state, EvaluationState::Cancelled, "cancelling twice is allowed");
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let (_folder, studio, _) = fresh().await;
    adapter(&studio, "cloth", "one").await;
    adapter(&studio, "other", "two").await;
    let refused = |request: EvaluationRequest| {
        let studio = studio.clone();
        async move { studio.evaluate(request).await.unwrap_err().to_string() }
    };
    assert!(refused(asked("cloth@v7")).await.contains("cloth@v7 not found"));
    let against = EvaluationRequest { against: Some("other".to_owned()), ..asked("cloth") };
    assert!(refused(against).await.contains("another adapter"));
    let twice = "name = \"x\"\nseeds = [1]\nprompts = [\"a\", \"a\"]".to_owned();
    let twice = EvaluationRequest { suite: Some(twice), ..asked("cloth") };
    assert!(refused(twice).await.contains("repeats an earlier one"));
    let one = EvaluationRequest { suite: Some(suite(1)), ..asked("cloth") };
    let record = ended(&studio, &studio.evaluate(one).await.unwrap().id).await.evaluation;
    assert_eq!(record.verdict.unwrap().outcome, VerdictOutcome::Inconclusive);
    assert!(record.warnings[0].contains("1 of the 6 prompts"));
    let policy = studio.set_gate_policy(GatePolicy { toml: "[style]\nsteps = 3".to_owned() }).await;
    assert!(policy.unwrap_err().to_string().contains("unknown field `steps`"));
    assert!(matches!(studio.evaluation("no-id").await, Err(StudioError::NotFound { .. })));
}

#[tokio::test]
async fn the_style_of_an_uploaded_version_is_that_of_a_named_dataset_or_of_the_champions() {
    let (_folder, studio, _) = fresh().await;
    let criterion = |detail: &EvaluationDetail, kind: &str| {
        let verdict = detail.evaluation.verdict.clone();
        let verdict = verdict.unwrap_or_else(|| panic!("{:?}", detail.evaluation));
        verdict.criteria.into_iter().find(|criterion| criterion.kind == kind).unwrap()
    };
    let scored = async |request: EvaluationRequest| {
        let request = EvaluationRequest { suite: Some(suite(6)), ..request };
        ended(&studio, &studio.evaluate(request).await.unwrap().id).await
    };
    let uploaded = adapter(&studio, "cloth", "one").await;
    let alone = scored(asked(&uploaded)).await;
    assert_eq!(criterion(&alone, "style").value, None);
    assert!(alone.evaluation.warnings[0].contains("no dataset was named"), "{:?}", alone.evaluation.warnings);

    let named = dataset(&studio, "bands", 10).await.id;
    let with = scored(EvaluationRequest { dataset: Some(named.clone()), ..asked(&uploaded) }).await;
    assert!(criterion(&with, "style").value.is_some());
    assert!(criterion(&with, "copying").reason.contains("held"), "{}", criterion(&with, "copying").reason);
    assert!(with.evaluation.warnings[0].contains("not trained by this studio"));
    assert_eq!(studio.dataset(&named).await.unwrap().frozen, None, "it can still be changed");

    let trained = trained_from(&studio, "cloth", named.clone(), None).await.version.unwrap();
    let against = scored(EvaluationRequest { against: Some(trained.clone()), ..asked(&uploaded) }).await;
    assert!(criterion(&against, "style").value.is_some(), "the champion's dataset");

    let refused = async |request: EvaluationRequest| studio.evaluate(request).await.unwrap_err().to_string();
    let other = dataset(&studio, "other", 4).await.id;
    let wrong = refused(EvaluationRequest { dataset: Some(other), ..asked(&trained) }).await;
    assert!(wrong.contains(&format!("{trained} was trained by this studio")), "{wrong}");
    let unknown = refused(EvaluationRequest { dataset: Some("none".to_owned()), ..asked(&uploaded) }).await;
    assert!(unknown.contains("none not found"), "{unknown}");
}
