//! One training run: state, metrics, samples and actions. The live part is rendered separately too, for the script that
//! updates the page.

use adire_protocol::{
    AdapterRef, TrainingPoint, TrainingRun, TrainingRunDetail, TrainingState, Which, capitalised, size,
};
use leptos::prelude::*;

use super::{
    chart::{Chart, Line, Look},
    frame::{crumbs, flash_line},
    samples::strips,
    scale::quantile,
    settings::{self, Kind},
    state::{badge, improvement, phase, progress, summary},
    times::ago,
};
use crate::{
    form::{self, AdapterRow, FormValues},
    words::duration,
};

/// Shown instead of the name of a deleted dataset.
pub(super) const GONE: &str = "deleted dataset";

/// Data of a training run's page.
#[derive(Clone, Debug)]
pub(crate) struct TrainingPage {
    pub(crate) detail: TrainingRunDetail,
    /// Name of its dataset, unless that was deleted.
    pub(crate) dataset: Option<String>,
    /// Steps whose adapter can become a version.
    pub(crate) steps: Vec<u32>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn training(data: TrainingPage) -> AnyView {
    let run = &data.detail.run;
    let name = run.name.clone();
    let dataset = match data.dataset.clone() {
        Some(dataset) => {
            let address = format!("/admin/datasets/{}", run.dataset);
            view! { <a href=address>{dataset}</a> }.into_any()
        }
        None => GONE.into_any(),
    };
    let note = (!run.note.is_empty()).then(|| run.note.clone());
    let asked = settings_table(run);
    let flash = data.flash.clone();
    let id = run.id.clone();
    view! {
        {crumbs([("/admin/training", "Training")])}
        <div class="head">
            <div>
                <h1>{name}</h1>
                <p class="lead">
                    "On " {dataset} ", started " {ago(run.created_at)}
                    {note.map(|note| format!(". {note}"))}
                </p>
            </div>
            <div class="head-actions">
                <a class="button" href=format!("/admin/training/new?from={id}")>
                    "Duplicate run"
                </a>
            </div>
        </div>
        {flash_line(flash)}
        {live(data)}
        {asked}
    }
    .into_any()
}

/// The live part.
pub(super) fn live(data: TrainingPage) -> AnyView {
    let TrainingRunDetail { run, points, samples } = data.detail;
    let checkpoints = checkpoints(&run, &data.steps);
    let resting = run.state.is_resting();
    let kept: Vec<_> = points.into_iter().filter(|point| point.step <= run.step).collect();
    let samples: Vec<_> = samples.into_iter().filter(|sample| sample.step <= run.step).collect();
    let prompt = samples.first().map(|sample| sample.prompt.clone()).unwrap_or_default();
    let none_yet = samples.is_empty();
    let why_none = match (run.config.sampled_every(), resting) {
        (0, _) => "Samples are disabled for this run.",
        (_, true) => "No samples.",
        (_, false) => "The first samples are generated before step 1.",
    };
    view! {
        <div
            id="live"
            data-live=format!("/admin/training/{}/live", run.id)
            data-events=format!("/admin/api/training/{}/events", run.id)
            data-state=run.state.name()
            data-step=run.step.to_string()
        >
            {standing(&run, prompt)}
            <section aria-labelledby="samples" class="panel">
                <h2 id="samples">"Samples"</h2>
                <p class="hint">"Same prompts and seed at every step."</p>
                {none_yet.then(|| view! { <p class="chart-empty">{why_none}</p> })}
                {strips(samples)}
                {checkpoints}
            </section>
            <section class="charts" aria-label="Metrics">
                {charts(&kept, run.steps)}
            </section>
        </div>
    }
    .into_any()
}

/// Buttons that make the adapters of a run's steps versions.
pub(super) fn keep_form(run: &str, steps: &[u32], label: &str) -> AnyView {
    let buttons = steps.iter().map(|step| {
        view! {
            <button
                type="submit"
                class="button"
                name="step"
                value=step.to_string()
                aria-label=format!("Make step {step} a version")
            >
                {step.to_string()}
            </button>
        }
    });
    view! {
        <form method="post" action=format!("/admin/training/{run}") class="choices" aria-label=label.to_owned()>
            <input type="hidden" name="action" value="keep" />
            <span class="soft">"Make a version of step"</span>
            {buttons.collect::<Vec<_>>()}
        </form>
    }
    .into_any()
}

/// What can be done with the adapters of checkpoints.
fn checkpoints(run: &TrainingRun, steps: &[u32]) -> Option<AnyView> {
    let has_ended = run.state.is_resting() && run.state != TrainingState::Paused;
    if steps.is_empty() && has_ended {
        return None;
    }
    let action = format!("/admin/training/{}", run.id);
    let keep = (!steps.is_empty()).then(|| keep_form(&run.id, steps, "Checkpoints"));
    let view = view! {
        <h3>"Checkpoints"</h3>
        {keep}
        <form method="post" action=action class="choices">
            <button type="submit" class="button" name="action" value="sheet">
                "Compare in a sheet"
            </button>
        </form>
        <p class="hint">"A sheet shows checkpoints beside strengths and prompts, each as soon as it is saved. None becomes a version."</p>
    };
    Some(view.into_any())
}

fn standing(run: &TrainingRun, prompt: String) -> AnyView {
    let sentence = match run.state {
        TrainingState::Running => phase(run),
        TrainingState::Queued => Some("Queued; one run at a time.".to_owned()),
        TrainingState::Paused => Some("Paused. Progress is saved.".to_owned()),
        TrainingState::Failed => run.error.clone(),
        TrainingState::Cancelled => Some("Cancelled.".to_owned()),
        TrainingState::Done => None,
    };
    let mut facts: Vec<(&'static str, String)> = Vec::new();
    if let Some(seconds) = run.seconds_per_step {
        facts.push(("Time per step", seconds_text(seconds)));
    }
    if let Some((first, last)) = run.first_held_out.zip(run.last_held_out) {
        let change = improvement(run).map(|change| change.replace("held-out loss ", "")).unwrap_or_default();
        facts.push((
            "Held-out loss",
            format!("{} → {} ({change})", super::chart::value(first), super::chart::value(last)),
        ));
    }
    if let Some(forecast) = run.forecast {
        let memory =
            forecast.bytes.map(|bytes| format!(", {} of additional memory", size(bytes))).unwrap_or_default();
        facts.push((
            "Forecast",
            format!("{} without generations{memory}", duration(forecast.seconds * 1000.0)),
        ));
    }
    if run.waited_seconds >= 1.0 {
        facts.push(("Yielded to generations", duration(run.waited_seconds * 1000.0)));
    }
    if let (false, Some(seconds)) = (run.state.is_resting(), run.unit_seconds) {
        facts.push(("Added wait", format!("up to {} per image", seconds_text(seconds))));
    }
    if run.learning_rate_halved {
        facts.push(("Learning rate", "halved once: the loss became NaN and the run rolled back".to_owned()));
    }
    let facts = facts.into_iter().map(|(name, text)| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{text}</dd>
            </div>
        }
    });
    let failed = run.state == TrainingState::Failed;
    view! {
        <section class="panel standing" aria-label="Status">
            <div class="line-up">
                {badge(run.state)}
                <p class="strong grow" role="status">
                    {capitalised(&summary(run))}
                </p>
                {actions(run)}
            </div>
            {progress(run)}
            {sentence.map(|sentence| view! { <p class=if failed { "field-problem" } else { "soft" }>{sentence}</p> })}
            {run.version.as_deref().map(|id| version(id, prompt))}
            {run.version.is_some().then(|| files(&run.id))}
            <dl class="facts">{facts.collect::<Vec<_>>()}</dl>
        </section>
    }
    .into_any()
}

/// Link to the resulting version.
fn version(id: &str, prompt: String) -> AnyView {
    let row = AdapterRow { name: id.to_owned(), strength: "1".to_owned() };
    let form = FormValues { prompt, adapters: vec![row], ..FormValues::default() };
    let try_it = format!("/?{}", form::encode(&form));
    let shown = id.parse::<AdapterRef>().map_or_else(
        |_| id.to_owned(),
        |name| match name.which {
            Which::Version(version) => format!("{} v{version}", name.name),
            _ => name.to_string(),
        },
    );
    view! {
        <p class="made">
            <span>{format!("{shown} is ready.")}</span>
            <a class="primary" href=try_it>
                "Try in studio"
            </a>
            <a class="button" href=format!("/adapters/{id}")>
                {format!("View {shown}")}
            </a>
        </p>
    }
    .into_any()
}

/// Downloads of the result.
fn files(id: &str) -> AnyView {
    let link = |file: &'static str, words: &'static str| {
        view! {
            <a href=format!("/admin/api/training/{id}/files/{file}") download>
                {words}
            </a>
        }
    };
    view! {
        <p class="soft files">
            "Download: " {link("kohya", "for A1111 and ComfyUI (kohya)")} " · " {link("diffusers", "for diffusers")} " · "
            {link("card", "model card")}
        </p>
    }
    .into_any()
}

/// Buttons for the possible actions, named by their consequence.
fn actions(run: &TrainingRun) -> AnyView {
    let button = |action: &'static str, words: String, class: &'static str| {
        view! {
            <button type="submit" name="action" value=action class=class>
                {words}
            </button>
        }
    };
    let state = run.state;
    let pause = state.can_pause().then(|| button("pause", "Pause".to_owned(), "button"));
    let resume =
        state.can_resume().then(|| button("resume", format!("Resume at step {}", run.step), "button"));
    let cancel = state.can_cancel().then(|| {
        let words = if run.step == 0 {
            "Cancel run".to_owned()
        } else {
            format!("Cancel and discard {} steps", run.step)
        };
        button("cancel", words, "stop")
    });
    view! {
        <form method="post" action=format!("/admin/training/{}", run.id) class="choices">
            {resume}
            {pause}
            {cancel}
        </form>
    }
    .into_any()
}

/// The charts of one run.
fn charts(points: &[TrainingPoint], steps: u32) -> Vec<AnyView> {
    let loss = line("Loss per step", Look::Faint, points, |point| point.loss);
    let calm = loss.calm("Loss, smoothed", Look::Main);
    let held_out = line("Held-out loss", Look::Second, points, |point| point.held_out_loss);
    let chart = |id: &'static str, title: &'static str, meaning: &'static str, lines, ceiling, from_zero| {
        let (id, title, meaning) = (id.into(), title.into(), meaning.into());
        Chart { id, title, meaning, lines, steps, ceiling, from_zero }.draw()
    };
    let above = |line: &Line| peak(&line.points);
    let rate = line("Learning rate", Look::Main, points, |point| point.learning_rate);
    let norm = line("Norm per step", Look::Faint, points, |point| point.gradient_norm);
    let seconds = line("Seconds", Look::Main, points, |point| point.seconds);
    let calm_norm = norm.calm("Norm, smoothed", Look::Main);
    let (loss_peak, norm_peak, seconds_peak) = (above(&loss), above(&norm), above(&seconds));
    vec![
        chart(
            "loss",
            "Loss",
            "Training loss is noisy by nature; held-out loss uses fixed noise, so compare that one.",
            vec![loss, calm, held_out],
            loss_peak,
            false,
        ),
        chart("rate", "Learning rate", "Optimizer step size.", vec![rate], None, true),
        chart(
            "norm",
            "Gradient norm",
            "Gradient norm before clipping. It should stay steady.",
            vec![norm, calm_norm],
            norm_peak,
            true,
        ),
        chart(
            "seconds",
            "Seconds per step",
            "Peaks are steps that yielded to generations.",
            vec![seconds],
            seconds_peak,
            true,
        ),
    ]
}

/// One metric over the steps.
pub(super) fn line(
    name: impl Into<String>,
    look: Look,
    points: &[TrainingPoint],
    value: impl Fn(&TrainingPoint) -> Option<f64>,
) -> Line {
    let points = points.iter().filter_map(|point| Some((f64::from(point.step), value(point)?)));
    Line::new(name, look, points.filter(|point| point.1.is_finite()).collect())
}

/// Upper end of an axis, so that rare peaks do not flatten the rest.
pub(super) fn peak(points: &[(f64, f64)]) -> Option<f64> {
    let values: Vec<_> = points.iter().map(|point| point.1).collect();
    (values.len() >= 20).then(|| quantile(&values, 0.98).map(|high| high * 1.1)).flatten()
}

fn settings_table(run: &TrainingRun) -> AnyView {
    let rows = settings::all()
        .filter(|setting| setting.kind != Kind::Lines || !run.config.sample_prompts.is_empty())
        .map(|setting| {
            view! {
                <div>
                    <dt>{setting.label}</dt>
                    <dd>{settings::shown(&run.config, setting)}</dd>
                </div>
            }
        });
    let short: String = run.dataset_hash.chars().take(12).collect();
    view! {
        <details class="panel" id="asked">
            <summary>"Settings"</summary>
            <dl class="facts columns-facts">
                {rows.collect::<Vec<_>>()}
                <div>
                    <dt>"Dataset hash"</dt>
                    <dd>
                        <code title=run.dataset_hash.clone()>{short}</code>
                    </dd>
                </div>
                {run
                    .continue_from
                    .clone()
                    .map(|version| {
                        view! {
                            <div>
                                <dt>"Started from"</dt>
                                <dd>{version}</dd>
                            </div>
                        }
                    })}
            </dl>
        </details>
    }
    .into_any()
}

fn seconds_text(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { duration(seconds * 1000.0) }
}
