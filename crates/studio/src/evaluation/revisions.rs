//! What steps make of fixed inputs. Where an output changes on purpose, its revision grows and the digest here is replaced;
//! otherwise stored outputs of older programs would be taken for those of this one. Images are held by the engine's goldens,
//! metrics by the runtime's `measure`.

use adire_protocol::EvaluationStepName;
use serde_json::Value;

use super::{
    gate::{self, CopyingEvidence, Evidence, FloorEvidence, Paired, Score},
    plan::{Plan, Subjects},
    policy::Policy,
    steps::{digest, revision},
    suite::Suite,
};

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
    hold(EvaluationStepName::Prepare, &Plan::new(&subjects).digest(), (3, "631a1e7c32a7d968"));
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
    };
    let verdict = gate::judge(&evidence, &Policy::default());
    let mut output = serde_json::to_value(&verdict).unwrap();
    round(&mut output);
    hold(EvaluationStepName::Verdict, &digest(&output.to_string()), (2, "bfb10972c993bb1a"));
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
