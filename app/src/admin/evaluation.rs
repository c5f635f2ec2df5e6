//! One evaluation: its images, the verdict with its criteria, its steps. The live part is rendered separately too, for the
//! script that updates the page.

use adire_protocol::{
    ComparisonRecord, EvaluationCriterion, EvaluationDetail, EvaluationRecord, EvaluationState,
    EvaluationStep, EvaluationStepName, EvaluationVerdict, StepState, VerdictOutcome, capitalised,
};
use leptos::prelude::*;

use super::{
    comparisons,
    evaluation_images::{other_images, prompts, suspects},
    evaluations::{address, champion, reason},
    frame::{crumbs, flash_line},
    outcome::{outcome, state_badge, step_badge},
    times::ago,
    versions,
};
use crate::words::{duration, number};

/// Data of an evaluation's page.
#[derive(Clone, Debug)]
pub(crate) struct EvaluationPage {
    pub(crate) detail: EvaluationDetail,
    /// Blind votes on its images.
    pub(crate) people: Option<ComparisonRecord>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn evaluation(data: EvaluationPage) -> AnyView {
    let record = &data.detail.evaluation;
    let judge = record.judge.as_ref().map(|judge| format!(", judged by {judge}"));
    let other = record.champion.clone().unwrap_or_default();
    let compare = format!("/admin/evaluations/compare?left={other}&right={}", record.version);
    let version = versions::address(&record.version);
    let about =
        format!("Against {}, {} images of the suite {}", champion(record), record.prompts, record.suite);
    let promote = record.promote.then_some(", promoted on pass");
    let done = record.state == EvaluationState::Done;
    let people = comparisons::section(&record.id, done, data.people);
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
        <div class="head">
            <div>
                <h1>{record.version.clone()}</h1>
                <p class="lead">{about} {judge} {promote} ", started " {ago(record.created_at)}</p>
            </div>
            <div class="head-actions">
                <a class="button" href=version>
                    "View version"
                </a>
                <a class="button" href=compare>
                    "Compare images"
                </a>
            </div>
        </div>
        {flash_line(data.flash.clone())}
        {evaluation_live(data.detail)}
        <div id="people">{people}</div>
    }
    .into_any()
}

/// The live part.
pub(super) fn evaluation_live(detail: EvaluationDetail) -> AnyView {
    let EvaluationDetail { evaluation: record, images } = detail;
    let verdict = record.verdict.clone();
    let near = verdict.as_ref().map(|verdict| suspects(&verdict.suspects));
    let numbers = verdict.as_ref().map(metrics);
    view! {
        <div
            id="live"
            data-live=format!("{}/live", address(&record.id))
            data-events=format!("/admin/api/evaluations/{}/events", record.id)
            data-state=record.state.name()
        >
            {standing(&record)}
            {prompts(&record, &images)}
            {verdict.as_ref().map(criteria)}
            {near}
            {numbers}
            {steps(&record)}
            {other_images(&record, &images)}
        </div>
    }
    .into_any()
}

/// The verdict in a sentence, or how far it is.
fn standing(record: &EvaluationRecord) -> AnyView {
    let badge = match &record.verdict {
        Some(verdict) if record.state == EvaluationState::Done => outcome(verdict.outcome),
        _ => state_badge(record.state),
    };
    let failed = record.state == EvaluationState::Failed;
    let sentence = match record.state {
        EvaluationState::Running if record.images == 0 => "Preparing.".to_owned(),
        EvaluationState::Running => format!("{} of {} images.", record.images_done, record.images),
        EvaluationState::Cancelled => "Its images are kept for other evaluations.".to_owned(),
        EvaluationState::Queued | EvaluationState::Done | EvaluationState::Failed => reason(record),
    };
    let cancel = (!record.state.is_final()).then(|| {
        view! {
            <form method="post" action=address(&record.id) class="choices">
                <button type="submit" name="action" value="cancel" class="stop">
                    "Cancel evaluation"
                </button>
            </form>
        }
    });
    let stopped = record.verdict.as_ref().and_then(|verdict| verdict.stopped_early.clone());
    let notes = stopped.into_iter().chain(record.warnings.iter().cloned());
    let notes = notes.map(|note| view! { <li class="note">{note}</li> }).collect::<Vec<_>>();
    view! {
        <section class="panel standing" aria-label="Verdict">
            <div class="line-up">
                {badge}
                <p class=if failed { "field-problem grow" } else { "strong grow" } role="status">
                    {sentence}
                </p>
                {cancel}
            </div>
            {(!record.state.is_final() && record.images > 0).then(|| progress(record))}
            {(!notes.is_empty()).then(|| view! { <ul class="stack notes">{notes}</ul> })}
        </section>
    }
    .into_any()
}

fn progress(record: &EvaluationRecord) -> AnyView {
    let share = f64::from(record.images_done) / f64::from(record.images.max(1)) * 100.0;
    view! {
        <div
            class=format!("progress {}", record.state.name())
            role="progressbar"
            aria-label=format!("Images of {}", record.version)
            aria-valuemin="0"
            aria-valuemax=record.images.to_string()
            aria-valuenow=record.images_done.to_string()
        >
            <i style=format!("width:{share:.1}%")></i>
        </div>
    }
    .into_any()
}

fn criteria(verdict: &EvaluationVerdict) -> AnyView {
    let rows = verdict.criteria.iter().map(criterion).collect::<Vec<_>>();
    let lead = match verdict.outcome {
        VerdictOutcome::Pass => "Every criterion that counts passed.",
        VerdictOutcome::Fail => "A version fails if one criterion fails.",
        VerdictOutcome::Inconclusive => {
            "Too little data to decide. More prompts, seeds or held-out images make it decidable."
        }
    };
    view! {
        <section class="panel" aria-labelledby="criteria">
            <h2 id="criteria">"Criteria"</h2>
            <p class="hint">{lead}</p>
            <ul class="criteria">{rows}</ul>
        </section>
    }
    .into_any()
}

fn criterion(criterion: &EvaluationCriterion) -> AnyView {
    let (name, meaning, images) = explained(&criterion.kind);
    let between =
        criterion.bounds.map(|bounds| format!("{} to {}", number(bounds.lower), number(bounds.upper)));
    let facts = [
        ("Value", criterion.value.map(number)),
        ("Bounds", between),
        ("Threshold", criterion.threshold.map(number)),
        ("p", criterion.p.map(number)),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| {
        Some(view! {
            <div>
                <dt>{name}</dt>
                <dd>{value?}</dd>
            </div>
        })
    });
    let link = format!("Images behind {}", name.to_lowercase());
    view! {
        <li>
            <div class="criterion-name">
                <h3>{name}</h3>
                {outcome(criterion.outcome)}
                {criterion.muted.then(|| view! { <span class="soft">"Muted"</span> })}
            </div>
            <div>
                <p>{criterion.reason.clone()}</p>
                <p class="soft">{meaning}</p>
                <dl class="facts">{facts.collect::<Vec<_>>()}</dl>
                <a href=images>{link}</a>
            </div>
        </li>
    }
    .into_any()
}

/// Name and meaning of a criterion, and where its images are.
fn explained(kind: &str) -> (String, &'static str, &'static str) {
    let (name, meaning, images) = match kind {
        "floors" => ("Floors", "The adapter has an effect, and its images can be used.", "#prompts"),
        "adherence" => ("Adherence", "Prompts are followed about as well as by the base model.", "#prompts"),
        "clip_score_floor" => ("CLIPScore floor", "The mean CLIPScore reaches a fixed value.", "#prompts"),
        "style" => ("Style", "Images are nearer to held-out images of the dataset.", "#prompts"),
        "people" => ("People", "Blind votes prefer it.", "#people"),
        "copying" => ("Copying", "Training images are not reproduced.", "#copying"),
        other => return (capitalised(&other.replace('_', " ")), "", "#prompts"),
    };
    (name.to_owned(), meaning, images)
}

fn metrics(verdict: &EvaluationVerdict) -> AnyView {
    if verdict.metrics.is_empty() {
        return ().into_any();
    }
    let facts = verdict.metrics.iter().map(|(name, value)| {
        let (name, better) = match name.as_str() {
            "cmmd" => ("CMMD".to_owned(), "lower is better"),
            "kid" => ("KID".to_owned(), "lower is better"),
            "diversity" => ("Diversity".to_owned(), "near 1 is as the base"),
            "leakage" => ("Leakage".to_owned(), "near 0 is none"),
            "style_auc" => ("Style AUC".to_owned(), "higher is better"),
            other => (capitalised(&other.replace('_', " ")), ""),
        };
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{number(*value)} " " <span class="soft">{better}</span></dd>
            </div>
        }
    });
    view! {
        <section class="panel" aria-labelledby="metrics">
            <h2 id="metrics">"Other metrics"</h2>
            <p class="hint">"They decide nothing."</p>
            <dl class="facts">{facts.collect::<Vec<_>>()}</dl>
        </section>
    }
    .into_any()
}

fn steps(record: &EvaluationRecord) -> AnyView {
    let wanted = |step: &&EvaluationStep| record.promote || step.name != EvaluationStepName::Promote;
    let rows = record.steps.iter().filter(wanted).map(|each| step(record, each)).collect::<Vec<_>>();
    view! {
        <section class="panel" aria-labelledby="steps">
            <h2 id="steps">"Steps"</h2>
            <ul class="criteria">{rows}</ul>
        </section>
    }
    .into_any()
}

fn step(record: &EvaluationRecord, step: &EvaluationStep) -> AnyView {
    let name = step.name.name();
    let reused = step.reused_from.as_ref().map(|id| {
        view! {
            " "
            <a href=address(id)>"View that evaluation"</a>
        }
    });
    let took = step.seconds.map(|seconds| view! { <span class="soft">{duration(seconds * 1000.0)}</span> });
    let has_run = !matches!(step.state, StepState::Pending | StepState::Skipped);
    let rerun = (has_run && record.state.is_final()).then(|| {
        let label = format!("Rerun step: {name}");
        view! {
            <form method="post" action=address(&record.id)>
                <input type="hidden" name="action" value="rerun" />
                <button type="submit" name="step" value=name class="button" aria-label=label>
                    "Rerun step"
                </button>
            </form>
        }
    });
    let inputs = step.inputs.iter().filter(|(_, value)| !value.is_empty()).map(|(input, value)| {
        let short: String = if value.len() > 40 { value.chars().take(12).collect() } else { value.clone() };
        view! {
            <div>
                <dt>{input.replace('_', " ")}</dt>
                <dd>
                    <code title=value.clone()>{short}</code>
                </dd>
            </div>
        }
    });
    let log = step.log.iter().map(|line| view! { <li>{line.clone()}</li> }).collect::<Vec<_>>();
    let details = (!step.inputs.is_empty()).then(|| {
        view! {
            <details id=format!("step-{name}")>
                <summary>{format!("Log and inputs of {name}")}</summary>
                <ul class="log">{log}</ul>
                <dl class="facts">{inputs.collect::<Vec<_>>()}</dl>
            </details>
        }
    });
    view! {
        <li>
            <div class="criterion-name">
                <h3>{capitalised(name)}</h3>
                {step_badge(step.state)}
                {took}
            </div>
            <div>
                <p>{step.why.clone()} {reused}</p>
                {details}
                {rerun}
            </div>
        </li>
    }
    .into_any()
}
