//! Steps of an evaluation: what they depend on, their keys, and in words why one ran.

use std::collections::BTreeMap;

use adire_protocol::{EvaluationStep, EvaluationStepName, StepState};
use sha2::{Digest, Sha256};

/// Grows when a step's outputs change for the same inputs; the tests of `evaluation::revisions` tell when.
pub(crate) const fn revision(step: EvaluationStepName) -> u32 {
    match step {
        EvaluationStepName::Prepare => 4,
        EvaluationStepName::Verdict => 3,
        EvaluationStepName::Render
        | EvaluationStepName::Score
        | EvaluationStepName::Promote
        | EvaluationStepName::Publish => 1,
    }
}

/// What a step depends on, by name.
pub(crate) type Inputs = BTreeMap<String, String>;

/// A step that has not begun.
pub(crate) fn pending(name: EvaluationStepName) -> EvaluationStep {
    EvaluationStep {
        name,
        state: StepState::Pending,
        revision: revision(name),
        inputs: Inputs::new(),
        key: None,
        why: String::new(),
        reused_from: None,
        outputs: None,
        seeds: Vec::new(),
        device: None,
        push: None,
        seconds: None,
        log: Vec::new(),
    }
}

/// A step that begins with these inputs. `before`: the same step of the evaluation before.
pub(crate) fn begun(
    name: EvaluationStepName,
    inputs: Inputs,
    before: Option<&EvaluationStep>,
) -> EvaluationStep {
    let why = why(&inputs, revision(name), before);
    let key = key(name, revision(name), &inputs);
    EvaluationStep { state: StepState::Running, key: Some(key), inputs, why, ..pending(name) }
}

/// sha256 of all that the output of a step follows from.
pub(crate) fn key_of(name: EvaluationStepName, inputs: &Inputs) -> String {
    key(name, revision(name), inputs)
}

fn key(name: EvaluationStepName, revision: u32, inputs: &Inputs) -> String {
    hex::encode(Sha256::digest(serde_json::json!([name.name(), revision, inputs]).to_string()))
}

/// sha256 of outputs.
pub(crate) fn digest(output: &str) -> String {
    hex::encode(Sha256::digest(output))
}

/// Why a step did not run: the evaluation before, or one before that.
pub(crate) const EQUAL: &str = "Its inputs equal those of the evaluation before.";
pub(crate) const REUSED: &str = "Its inputs equal those of an earlier evaluation.";
/// Why there was nothing to do although no evaluation had the same inputs.
pub(crate) const FOUND: &str = " All of it was in earlier evaluations.";

/// Why a step runs: what differs from the last time.
fn why(inputs: &Inputs, revision: u32, before: Option<&EvaluationStep>) -> String {
    let Some(before) = before else { return "This adapter has not been evaluated before.".to_owned() };
    let names: Vec<&String> = inputs.keys().chain(before.inputs.keys()).collect();
    let mut changed: Vec<String> = names
        .into_iter()
        .filter(|name| inputs.get(*name) != before.inputs.get(*name))
        .map(|name| name.replace('_', " "))
        .collect();
    changed.sort();
    changed.dedup();
    if before.revision != revision {
        changed.push("the program's code for this step".to_owned());
    }
    match changed.as_slice() {
        [] => EQUAL.to_owned(),
        [one] => format!("Differs from the evaluation before: {one}."),
        some => format!("Differ from the evaluation before: {}.", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> Inputs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_follow_from_inputs_and_nothing_else() {
        let step = |pairs| begun(EvaluationStepName::Score, inputs(pairs), None);
        let one = step(&[("judge", "a"), ("images", "b")]);
        assert_eq!(one.key, step(&[("images", "b"), ("judge", "a")]).key);
        assert_ne!(one.key, step(&[("judge", "b"), ("images", "a")]).key);
        assert_ne!(one.key, begun(EvaluationStepName::Verdict, one.inputs.clone(), None).key);
        assert_eq!(
            one.key.as_deref(),
            Some(key(EvaluationStepName::Score, 1, &one.inputs).as_str()),
            "a stored key stays valid"
        );
    }

    #[test]
    fn the_input_that_differs_is_named() {
        let before =
            begun(EvaluationStepName::Render, inputs(&[("version", "a"), ("base_model", "b")]), None);
        assert_eq!(before.why, "This adapter has not been evaluated before.");
        let changed = |pairs| begun(EvaluationStepName::Render, inputs(pairs), Some(&before)).why;
        assert_eq!(
            changed(&[("version", "a"), ("base_model", "b")]),
            "Its inputs equal those of the evaluation before."
        );
        assert_eq!(
            changed(&[("version", "a"), ("base_model", "c")]),
            "Differs from the evaluation before: base model."
        );
        assert_eq!(
            changed(&[("version", "x"), ("base_model", "b"), ("champion", "d")]),
            "Differ from the evaluation before: champion, version."
        );
    }
}
