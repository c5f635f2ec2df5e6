//! One evaluation: its images, the verdict with its criteria, its steps. The live part is rendered separately too, for the
//! script that updates the page.

use adire_protocol::{
    ComparisonRecord, EvaluationCriterion, EvaluationDetail, EvaluationRecord, EvaluationState,
    EvaluationStep, EvaluationStepName, EvaluationVerdict, MetricDirection, MetricInfo, StepState,
    VerdictOutcome, capitalised,
};
use leptos::prelude::*;

use super::{
    comparisons,
    evaluation_images::{other_images, prompts, suspects, unusable},
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
    /// What its numbers mean.
    pub(crate) metrics: Vec<MetricInfo>,
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
    let publish = record.publish.as_ref().map(|repository| format!(", pushed to {repository} on pass"));
    let done = record.state == EvaluationState::Done;
    let people = comparisons::section(&record.id, done, data.people);
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
        <div class="head">
            <div>
                <h1>{record.version.clone()}</h1>
                <p class="lead">{about} {judge} {promote} {publish} ", started " {ago(record.created_at)}</p>
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
        {evaluation_live(data.detail, &data.metrics)}
        <div id="people">{people}</div>
    }
    .into_any()
}

/// The live part.
pub(super) fn evaluation_live(detail: EvaluationDetail, known: &[MetricInfo]) -> AnyView {
    let EvaluationDetail { evaluation: record, images } = detail;
    let verdict = record.verdict.clone();
    let near = verdict.as_ref().map(|verdict| suspects(&verdict.suspects));
    let numbers = verdict.as_ref().map(|verdict| metrics(verdict, known));
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
            {verdict.as_ref().map(|verdict| unusable(&record, verdict, &images))}
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
    let rows = verdict.criteria.iter().map(|each| criterion(verdict, each)).collect::<Vec<_>>();
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

fn criterion(verdict: &EvaluationVerdict, criterion: &EvaluationCriterion) -> AnyView {
    let (name, meaning, images) = explained(verdict, &criterion.kind);
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
                {per_prompt(criterion)}
                <a href=images>{link}</a>
            </div>
        </li>
    }
    .into_any()
}

/// The means of each prompt, with links to its images.
fn per_prompt(criterion: &EvaluationCriterion) -> AnyView {
    if criterion.prompts.is_empty() {
        return ().into_any();
    }
    let rows = criterion.prompts.iter().map(|pair| {
        let place = u64::from(pair.prompt) + 1;
        let difference = pair.challenger - pair.reference;
        view! {
            <tr>
                <th scope="row">
                    <a href=format!("#prompt-{}", pair.prompt)>{format!("Prompt {place}")}</a>
                </th>
                <td>{number(pair.challenger)}</td>
                <td>{number(pair.reference)}</td>
                <td>{number(difference)}</td>
            </tr>
        }
    });
    let label = format!("Per prompt ({})", criterion.prompts.len());
    view! {
        <details id=format!("per-prompt-{}", criterion.kind)>
            <summary>{label}</summary>
            <div class="wide" tabindex="0" role="region" aria-label=format!("Prompts of {}", criterion.kind)>
                <table class="list">
                    <thead>
                        <tr>
                            <th scope="col">"Prompt"</th>
                            <th scope="col">"Version"</th>
                            <th scope="col">"Reference"</th>
                            <th scope="col">"Difference"</th>
                        </tr>
                    </thead>
                    <tbody>{rows.collect::<Vec<_>>()}</tbody>
                </table>
            </div>
        </details>
    }
    .into_any()
}

/// Name and meaning of a criterion, and where its images are.
fn explained(verdict: &EvaluationVerdict, kind: &str) -> (String, &'static str, &'static str) {
    let unusable = !verdict.flat.is_empty() || !verdict.failed.is_empty();
    let floors = if unusable { "#unusable" } else { "#prompts" };
    let style = if verdict.held_out.is_empty() { "#prompts" } else { "#held-out" };
    let (name, meaning, images) = match kind {
        "floors" => ("Floors", "The adapter has an effect, and its images can be used.", floors),
        "adherence" => ("Adherence", "Prompts are followed about as well as by the base model.", "#prompts"),
        "clip_score_floor" => ("CLIPScore floor", "The mean CLIPScore reaches a fixed value.", "#prompts"),
        "style" => ("Style", "Images are nearer to held-out images of the dataset.", style),
        "people" => ("People", "Blind votes prefer it.", "#people"),
        "copying" => ("Copying", "Training images are not reproduced.", "#copying"),
        other => return (capitalised(&other.replace('_', " ")), "", "#prompts"),
    };
    (name.to_owned(), meaning, images)
}

/// Other numbers with what they mean, and where the images behind them are.
fn metrics(verdict: &EvaluationVerdict, known: &[MetricInfo]) -> AnyView {
    if verdict.metrics.is_empty() {
        return ().into_any();
    }
    let facts = verdict.metrics.iter().map(|(metric, value)| {
        let name = match metric.as_str() {
            "cmmd" | "kid" => metric.to_uppercase(),
            "style_auc" => "Style AUC".to_owned(),
            other => capitalised(&other.replace('_', " ")),
        };
        let info = known.iter().find(|info| info.name == *metric);
        let better = info.map(|info| match info.direction {
            MetricDirection::Higher => "higher is better",
            MetricDirection::Lower => "lower is better",
            MetricDirection::Reference => "near the base model's is better",
        });
        let unit = info.map(|info| info.unit.clone()).filter(|unit| !unit.is_empty());
        let about = info.map(|info| info.about.clone()).unwrap_or_default();
        let images = match metric.as_str() {
            "leakage" => "#untriggered",
            "cmmd" | "kid" | "style_auc" if !verdict.held_out.is_empty() => "#held-out",
            _ => "#prompts",
        };
        view! {
            <div>
                <dt>{name.clone()}</dt>
                <dd>
                    {number(*value)} " " {unit} " " <span class="soft">{better}</span>
                    <p class="hint">
                        {about} " " <a href=images>{format!("Images behind {name}")}</a>
                    </p>
                </dd>
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
    let wanted = |step: &&EvaluationStep| match step.name {
        EvaluationStepName::Promote => record.promote,
        EvaluationStepName::Publish => record.publish.is_some(),
        _ => true,
    };
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
    let push = step.push.as_ref().map(|_| {
        view! {
            " "
            <a href=format!("{}#push", versions::address(&record.version))>"View push"</a>
        }
    });
    let device = step.device.clone().map(|device| view! { <li>{format!("Device: {device}")}</li> });
    let seeds = step.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let seeds = (!seeds.is_empty()).then(|| view! { <li>{format!("Seeds: {seeds}")}</li> });
    let log = step.log.iter().map(|line| view! { <li>{line.clone()}</li> }).collect::<Vec<_>>();
    let details = (!step.inputs.is_empty()).then(|| {
        view! {
            <details id=format!("step-{name}")>
                <summary>{format!("Log and inputs of {name}")}</summary>
                <ul class="log">{log} {device} {seeds}</ul>
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
                <p>{step.why.clone()} {reused} {push}</p>
                {details}
                {rerun}
            </div>
        </li>
    }
    .into_any()
}
