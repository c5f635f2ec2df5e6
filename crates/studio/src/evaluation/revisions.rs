//! What steps make of fixed inputs. Where an output changes on purpose, its revision grows and the digest here is replaced;
//! otherwise stored outputs of older programs would be taken for those of this one. Images are held by the engine's goldens,
//! metrics by the runtime's `measure`.

use adire_protocol::{EvaluationImage, EvaluationRole, EvaluationStepName, FailedImage};
use serde_json::Value;

use super::{
    eprocess::PairOutcome,
    evidence::{self, About, Facts, Found, Scored},
    gate::{self, Approach, CopyingEvidence, Evidence, FloorEvidence, Paired, Score},
    people::Votes,
    plan::{Plan, Subjects},
    policy::Policy,
    steps::{digest, revision},
    suite::Suite,
};
use crate::{CopyingMeasurements, Measurements};

fn hold(step: EvaluationStepName, output: &str, known: (u32, &str)) {
    let now = (revision(step), &output[..16]);
    assert_eq!(
        now, known,
        "{step:?} gives another output for the same inputs: raise its revision in steps.rs and note both here"
    );
}

#[test]
fn a_changed_plan_has_another_revision() {
    let captions = ["blue stars, adr".to_owned(), "white moons, adr".to_owned()];
    let suite = Suite::starter();
    let subjects = Subjects { suite: &suite, trigger: "adr", champion: Some("old"), captions: &captions };
    hold(EvaluationStepName::Prepare, &Plan::new(&subjects).digest(), (4, "631a1e7c32a7d968"));
}

#[test]
fn a_changed_verdict_has_another_revision() {
    let scores = |base: f64| -> Vec<Score> {
        let value = |prompt: usize, seed: u64| base + 0.01 * prompt as f64 + 0.02 * seed as f64;
        (0..12)
            .flat_map(|prompt| [1, 2].map(|seed| Score { prompt, seed, value: value(prompt, seed) }))
            .collect()
    };
    let mut worse = scores(0.9);
    worse[3].value -= 0.2;
    let evidence = Evidence {
        floors: FloorEvidence {
            applied_layers: Some(32),
            images: 60,
            failed: 1,
            compared: 6,
            seconds: vec![1.5; 59],
            ..FloorEvidence::default()
        },
        adherence: Some(Paired { challenger: worse, reference: scores(0.9) }),
        style: Some(Paired { challenger: scores(0.3), reference: scores(0.1) }),
        style_goal: Some(0.6),
        copying: Some(CopyingEvidence {
            z: Some(-0.7),
            generated: 24,
            held_out: 4,
            own_nearest: (0..24).map(|at| at % 3 == 0).collect(),
            base_own_nearest: (0..24).map(|at| at % 4 == 0).collect(),
            approach: Vec::new(),
        }),
        champion: None,
        judge: "a judge".to_owned(),
        people: None,
        lacks: gate::Lacks::default(),
    };
    hold_verdict(&evidence, &Policy::default(), "dce29458c1bb7f7f");
}

fn hold_verdict(evidence: &Evidence, policy: &Policy, known: &str) {
    let mut output = serde_json::to_value(gate::judge(evidence, policy)).unwrap();
    round(&mut output);
    hold(EvaluationStepName::Verdict, &digest(&output.to_string()), (3, known));
}

/// What the case above leaves out: eight prompts, which are tested by signs; an absolute floor and a limit of seconds; votes;
/// copying by how near images have come.
#[test]
fn a_changed_verdict_of_few_prompts_has_another_revision() {
    let scores = |base: f64| -> Vec<Score> {
        (0..8).map(|prompt| Score { prompt, seed: 1, value: base + 0.03 * (prompt % 3) as f64 }).collect()
    };
    let approach = |caption: u32| {
        let at = f64::from(caption);
        (0..4).map(move |seed| Approach { caption, gain: 0.02 * at + 0.01 * f64::from(seed), way: 0.2 })
    };
    let votes = [PairOutcome::Better; 6].into_iter().chain([PairOutcome::Worse, PairOutcome::Tie]);
    let evidence = Evidence {
        floors: FloorEvidence {
            applied_layers: Some(4),
            images: 32,
            flat: 0,
            seconds: (0..32).map(f64::from).collect(),
            ..FloorEvidence::default()
        },
        adherence: Some(Paired { challenger: scores(0.7), reference: scores(0.72) }),
        style: Some(Paired { challenger: scores(0.2), reference: scores(0.19) }),
        style_goal: Some(0.8),
        copying: Some(CopyingEvidence {
            z: None,
            generated: 24,
            held_out: 0,
            own_nearest: vec![true; 24],
            base_own_nearest: vec![true; 24],
            approach: (0..6).flat_map(approach).collect(),
        }),
        champion: Some("cloth@v1".to_owned()),
        judge: "a judge".to_owned(),
        people: Some(Votes::after(votes)),
        lacks: gate::Lacks::default(),
    };
    let policy =
        "[floors]\nseconds_p95 = 29.0\n[adherence]\nclip_score_floor = 0.75\n[people]\nmuted = false\n";
    hold_verdict(&evidence, &Policy::parse(policy).unwrap(), "d258ae4080edc36d");
}

/// Images of two prompts with scores, a caption and its copy, one image of one colour, and a text that the base has, too.
#[test]
fn changed_evidence_has_another_revision() {
    use EvaluationRole::{Base, BaseCaption, Caption, Challenger, Champion, Untriggered};
    let mut images = Vec::new();
    for prompt in 0..2 {
        for (role, text) in [(Base, "stars"), (Champion, "old stars"), (Challenger, "new stars")] {
            images.push((role, prompt, text));
        }
    }
    images.extend([(Untriggered, 0, "stars"), (BaseCaption, 0, "moons"), (Caption, 0, "moons")]);
    let image = |(role, prompt, text): (EvaluationRole, u32, &str)| EvaluationImage {
        role,
        prompt,
        text: text.to_owned(),
        seed: 7,
        hash: format!("{}{prompt}", role.name()),
        url: String::new(),
        seconds: 1.5,
        clip_score: None,
        style_margin: None,
    };
    let images: Vec<EvaluationImage> = images.into_iter().map(image).collect();
    let three = |base: f64| [0.0, 0.1, 0.2].map(|more| vec![base + more, base - more]);
    let measured = Measurements {
        clip_scores: three(0.75),
        style_margins: three(0.25),
        style_goal: Some(0.5),
        metrics: [("kid".to_owned(), 0.125)].into(),
        copying: Some(CopyingMeasurements {
            z: Some(-0.5),
            own_nearest: vec![true],
            base_own_nearest: vec![false],
            approach: vec![(0.25, 0.5)],
            nearest: vec![(0, 0.875)],
        }),
    };
    let flat = [("challenger1".to_owned(), true), ("base0".to_owned(), false)].into();
    let scored = Scored::new(images, measured, &Found { flat, ..Found::default() });
    hold(EvaluationStepName::Score, &digest(&scored.output), (1, "6ba8ca1dd656c55c"));
    let facts = Facts {
        applied_layers: Some(4),
        dataset: "set".to_owned(),
        training: vec!["one".to_owned()],
        held_out: vec!["two".to_owned(), "three".to_owned()],
        lacks: gate::Lacks::default(),
    };
    let failed = FailedImage {
        role: Challenger,
        prompt: 1,
        text: "new stars".to_owned(),
        seed: 8,
        reason: "It failed.".to_owned(),
    };
    let about =
        About { champion: Some("cloth@v1".to_owned()), judge: "a judge".to_owned(), failed: vec![failed] };
    let evidence = evidence::of(&scored, &facts, about);
    hold(EvaluationStepName::Verdict, &digest(&format!("{evidence:?}")), (3, "5280c06148e01015"));
}

/// Rounds numbers to eight digits: the last ones of a double differ between processors.
fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            *value = Value::String(format!("{:.8}", number.as_f64().unwrap_or_default()));
        }
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}
