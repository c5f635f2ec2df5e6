//! Evaluations that cannot be what was requested, and what follows from a verdict.

use adire_protocol::{
    EvaluationRequest, EvaluationState, EvaluationStepName, GatePolicy, StepState, VerdictOutcome,
};

use super::{
    PATIENCE,
    datasets::dataset,
    evaluation::{adapter, asked, ended, step, suite},
    fresh, open, postgres,
    training::trained,
};
use crate::{StudioError, fake::FakeBackend};

const FLOORS_ALONE: &str = "[adherence]\nmuted = true\n[style]\nmuted = true\n[copying]\nmuted = true\n";

#[tokio::test]
async fn of_two_that_were_queued_to_promote_the_second_does_not_win_against_a_former_champion() {
    let (_folder, studio, _, latch) = super::latched().await;
    studio.set_gate_policy(GatePolicy { toml: FLOORS_ALONE.to_owned() }).await.unwrap();
    let promoted = async |version: &str| {
        let wanted = EvaluationRequest { promote: true, suite: Some(suite(6)), ..asked(version) };
        studio.evaluate(wanted).await.unwrap().id
    };
    let first = adapter(&studio, "cloth", "one").await;
    let second = adapter(&studio, "cloth", "two").await;
    // Both are queued before either has ended.
    let queued = (promoted(&first).await, promoted(&second).await);
    drop(latch);
    let first = ended(&studio, &queued.0).await.evaluation;
    assert_eq!(step(&first, EvaluationStepName::Promote).state, StepState::Done);
    let record = ended(&studio, &queued.1).await.evaluation;
    assert_eq!(record.champion, None);
    assert_eq!(
        (record.state, record.verdict.as_ref().unwrap().outcome),
        (EvaluationState::Done, VerdictOutcome::Pass)
    );
    let refused = step(&record, EvaluationStepName::Promote);
    assert_eq!(refused.state, StepState::Skipped);
    assert_eq!(
        refused.why,
        "Not promoted: the last verdict on cloth@v2 was given against the base model, and v1 is in production. \
         Evaluate it again, or force the promotion."
    );
    assert_eq!(studio.ledger("cloth").await.unwrap().production, Some(1));
    // Evaluated again it is compared with the champion of now.
    let again = ended(&studio, &promoted(&second).await).await.evaluation;
    assert_eq!(again.champion.as_deref(), Some("cloth@v1"));
    assert_eq!(studio.ledger("cloth").await.unwrap().production, Some(2));
    assert_eq!(studio.verify_ledger("cloth").await.unwrap().fault, None);
}

#[tokio::test]
async fn a_version_of_another_base_is_refused_by_name() {
    let (folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "one").await;
    studio.shutdown().await;
    drop(studio);
    let backend = FakeBackend { other_model: true, ..FakeBackend::default() };
    let studio = open(folder.path(), backend).await.unwrap();
    let wanted = EvaluationRequest { suite: Some(suite(6)), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    assert_eq!((record.state, record.verdict), (EvaluationState::Failed, None));
    assert_eq!(
        record.error.unwrap(),
        "cloth@v1 does not fit the base model fake, so it cannot be evaluated on it: It was made for another model."
    );
}

#[tokio::test]
async fn an_evaluation_that_was_queued_for_another_base_says_so() {
    let (_folder, studio, _, latch) = super::latched().await;
    let version = adapter(&studio, "cloth", "one").await;
    let wanted = || EvaluationRequest { suite: Some(suite(6)), ..asked(&version) };
    // The second one waits while the first one renders.
    let first = studio.evaluate(wanted()).await.unwrap().id;
    let second = studio.evaluate(wanted()).await.unwrap().id;
    let tampered = format!("UPDATE evaluations SET base = 'another' WHERE id = '{second}'");
    studio.shared().store.tamper(&tampered).await.unwrap();
    drop(latch);
    assert_eq!(ended(&studio, &first).await.evaluation.state, EvaluationState::Done);
    let record = ended(&studio, &second).await.evaluation;
    assert_eq!(record.state, EvaluationState::Failed);
    let error = record.error.unwrap();
    assert!(error.contains("requested for another base model than the loaded one"), "{error}");
}

#[tokio::test]
async fn a_version_that_fits_in_part_is_evaluated_with_a_warning() {
    let (folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "in part").await;
    studio.shared().store.tamper("DELETE FROM adapter_receipts").await.unwrap();
    let wanted = EvaluationRequest { suite: Some(suite(6)), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    assert!(record.warnings.iter().any(|warning| warning.starts_with("cloth@v1: ")), "{:?}", record.warnings);
    drop(folder);
}

#[tokio::test]
async fn a_dataset_without_held_out_images_or_captions_is_named_as_the_cause() {
    let (_folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "one").await;
    let reasons = async |request: EvaluationRequest| {
        let wanted = EvaluationRequest { suite: Some(suite(6)), ..request };
        let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
        let criteria = record.verdict.unwrap().criteria;
        ["style", "copying"]
            .map(|kind| criteria.iter().find(|each| each.kind == kind).unwrap().reason.clone())
    };
    // The fake trainer holds out every fifth image.
    let few = dataset(&studio, "few", 4).await.id;
    let [style, _] = reasons(EvaluationRequest { dataset: Some(few), ..asked(&version) }).await;
    assert_eq!(
        style,
        "No images of the dataset were held out, so style cannot be tested. Hold out at least 4."
    );
    let none = "The version was not trained by this studio and no dataset was named, so style and copying cannot be tested.";
    assert_eq!(reasons(asked(&version)).await, [none, none]);
}

#[tokio::test]
async fn a_full_disk_ends_an_evaluation_and_the_next_one_takes_its_images() {
    if postgres::chosen() {
        return;
    }
    let (_folder, studio, _, latch) = super::latched().await;
    adapter(&studio, "cloth", "one").await;
    let wanted = || EvaluationRequest { suite: Some(suite(12)), ..asked("cloth") };
    let id = studio.evaluate(wanted()).await.unwrap().id;
    while studio.evaluation(&id).await.unwrap().images.len() < 3 {
        latch.allow(1);
        tokio::task::yield_now().await;
    }
    studio.shared().store.fill_up().await;
    drop(latch);
    let failed = async {
        while !studio.evaluation(&id).await.unwrap().evaluation.state.is_final() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.expect("it ends");
    let record = studio.evaluation(&id).await.unwrap().evaluation;
    assert_eq!((record.state, record.verdict), (EvaluationState::Failed, None));
    assert_eq!(record.error.unwrap(), StudioError::DiskFull.to_string());
    studio.shared().store.make_room().await;
    let record = ended(&studio, &studio.evaluate(wanted()).await.unwrap().id).await.evaluation;
    assert_eq!(record.state, EvaluationState::Done, "{:?}", record.error);
    let log = &step(&record, EvaluationStepName::Render).log[0];
    let found = log.split(", ").nth(1).unwrap();
    assert!(found.ends_with("taken from earlier evaluations") && !found.starts_with('0'), "{log}");
}

#[tokio::test]
async fn a_suite_with_plain_words_still_shows_that_an_adapter_changes_nothing() {
    let (_folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "nothing").await;
    let plain = suite(6).replace("seeds", "plain = \"in dye\"\nseeds");
    let wanted = EvaluationRequest { suite: Some(plain), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    let floors = &record.verdict.unwrap().criteria[0];
    assert_eq!(floors.reason, "The adapter changes nothing: its images equal the base model's.");
}

#[tokio::test]
async fn a_version_against_itself_is_not_better() {
    let (_folder, studio, _) = fresh().await;
    let version = trained(&studio, "cloth", 10).await;
    let wanted =
        EvaluationRequest { against: Some(version.clone()), suite: Some(suite(12)), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    assert_eq!(record.champion, Some(version));
    let verdict = record.verdict.unwrap();
    let style = verdict.criteria.iter().find(|criterion| criterion.kind == "style").unwrap();
    assert_eq!(style.value, Some(0.0), "the same images");
    assert_ne!(style.outcome, VerdictOutcome::Pass, "{}", style.reason);
    assert_ne!(verdict.outcome, VerdictOutcome::Pass);
}

#[tokio::test]
async fn a_version_that_fails_is_not_published() {
    let (_folder, studio, _) = fresh().await;
    let version = adapter(&studio, "cloth", "nothing").await;
    let wanted =
        EvaluationRequest { publish: Some("ada/cloth".to_owned()), suite: Some(suite(6)), ..asked(&version) };
    let record = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    assert_eq!(record.verdict.as_ref().unwrap().outcome, VerdictOutcome::Fail);
    assert_eq!(step(&record, EvaluationStepName::Publish).state, StepState::Pending);
    assert_eq!(studio.pushes(None).await.unwrap(), []);
}
