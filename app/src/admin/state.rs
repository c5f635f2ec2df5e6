//! State of a training run as badge, progress bar and sentence.

use adire_protocol::{TrainingPhase, TrainingRun, TrainingState};
use leptos::prelude::*;

use super::times::ago;
use crate::words::{duration, images};

/// The state as a badge.
pub(super) fn badge(state: TrainingState) -> AnyView {
    view! { <span class=format!("badge {}", state.name())>{word(state)}</span> }.into_any()
}

pub(super) fn word(state: TrainingState) -> &'static str {
    match state {
        TrainingState::Queued => "Queued",
        TrainingState::Running => "Running",
        TrainingState::Paused => "Paused",
        TrainingState::Done => "Done",
        TrainingState::Failed => "Failed",
        TrainingState::Cancelled => "Cancelled",
    }
}

/// Progress bar of a run.
pub(super) fn progress(run: &TrainingRun) -> AnyView {
    let share = f64::from(run.step) / f64::from(run.steps.max(1)) * 100.0;
    let state = run.state.name();
    view! {
        <div
            class=format!("progress {state}")
            role="progressbar"
            aria-label=format!("Steps of {}", run.name)
            aria-valuemin="0"
            aria-valuemax=run.steps.to_string()
            aria-valuenow=run.step.to_string()
        >
            <i style=format!("width:{share:.1}%")></i>
        </div>
    }
    .into_any()
}

/// The most relevant fact about a run.
pub(super) fn summary(run: &TrainingRun) -> String {
    let steps = format!("step {} of {}", run.step, run.steps);
    match run.state {
        TrainingState::Queued => match run.ahead {
            Some(0) | None => "next in queue".to_owned(),
            Some(1) => "1 run ahead".to_owned(),
            Some(ahead) => format!("{ahead} runs ahead"),
        },
        TrainingState::Running => match run.remaining_ms {
            Some(ms) => format!("{steps} · about {} left", duration(ms as f64)),
            None => steps,
        },
        TrainingState::Paused | TrainingState::Failed | TrainingState::Cancelled => {
            format!("stopped at {steps}")
        }
        TrainingState::Done => format!("{} steps", run.steps),
    }
}

/// The current phase, while running.
pub(super) fn phase(run: &TrainingRun) -> Option<String> {
    Some(match run.phase? {
        TrainingPhase::GeneratingClassImages { done, total } => {
            format!("Generating class images: {done} of {total}.")
        }
        TrainingPhase::Preparing { done, total } => format!("Preparing {done} of {}.", images(total)),
        TrainingPhase::Forecasting => "Forecasting time and memory with three trial steps.".to_owned(),
        TrainingPhase::Measuring { done, total } => {
            format!("Measuring held-out loss: {done} of {total}.")
        }
        TrainingPhase::Sampling => "Generating a sample.".to_owned(),
        TrainingPhase::Training => "Training.".to_owned(),
        TrainingPhase::Yielding => "Yielding to a generation.".to_owned(),
    })
}

/// Change of the held-out loss of a finished run, and when it finished.
pub(super) fn ends(run: &TrainingRun) -> AnyView {
    let held_out = improvement(run).map(|text| format!("{text} · "));
    view! {
        {held_out}
        {ago(run.finished_at.unwrap_or(run.created_at))}
    }
    .into_any()
}

/// Change of the held-out loss as text.
pub(super) fn improvement(run: &TrainingRun) -> Option<String> {
    let percent = run.improvement()? * 100.0;
    Some(if percent <= -0.05 {
        format!("held-out loss −{:.1}%", -percent)
    } else if percent < 0.05 {
        "held-out loss unchanged".to_owned()
    } else {
        format!("held-out loss +{percent:.1}%")
    })
}
