//! Outcomes and states of evaluations and their steps as badges: always a word, with an icon or a dot beside it.

use adire_protocol::{EvaluationState, StepState, VerdictOutcome, capitalised};
use leptos::prelude::*;

use super::icons::Icon;

/// The outcome of a verdict or criterion.
pub(super) fn outcome(outcome: VerdictOutcome) -> AnyView {
    let icon = match outcome {
        VerdictOutcome::Pass => Icon::Pass,
        VerdictOutcome::Fail => Icon::Fail,
        VerdictOutcome::Inconclusive => Icon::Inconclusive,
    };
    let word = outcome.word();
    view! {
        <span class=format!("badge outcome {word}")>
            {icon.draw()} {capitalised(word)}
        </span>
    }
    .into_any()
}

/// Where an evaluation stands.
pub(super) fn state_badge(state: EvaluationState) -> AnyView {
    let name = state.name();
    view! { <span class=format!("badge {name}")>{capitalised(name)}</span> }.into_any()
}

/// What became of a step.
pub(super) fn step_badge(state: StepState) -> AnyView {
    let (class, word) = match state {
        StepState::Pending => ("queued", "Pending"),
        StepState::Running => ("running", "Running"),
        StepState::Done => ("done", "Ran"),
        StepState::Reused => ("done", "Reused"),
        StepState::Skipped => ("cancelled", "Skipped"),
    };
    view! { <span class=format!("badge {class}")>{word}</span> }.into_any()
}
