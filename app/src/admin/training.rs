//! One training: how it stands, what it has measured, what its samples look like, and what can be done about it. The
//! part that moves is rendered here alone, for the page and for the script that keeps the page up to date.

use adire_protocol::{AdapterRef, TrainingPoint, TrainingRun, TrainingRunDetail, TrainingState};
use leptos::prelude::*;

use super::{
    chart::{Chart, Line, Look},
    samples::strips,
    scale::quantile,
    settings::{self, Kind},
    state::{badge, improvement, progress, remark, stage},
    times::ago,
};
use crate::{
    form::{self, AdapterRow, FormValues},
    words::duration,
};

/// Stands where the name of a deleted dataset would.
pub(super) const GONE: &str = "a dataset that is gone";

/// What the page of a training shows.
#[derive(Clone, Debug)]
pub(crate) struct TrainingPage {
    pub(crate) detail: TrainingRunDetail,
    /// Name of its dataset, unless that was deleted.
    pub(crate) dataset: Option<String>,
    /// What was just done, or why it was not, in a sentence.
    pub(crate) flash: Option<String>,
}

pub(super) fn training(data: TrainingPage) -> AnyView {
    let job = &data.detail.job;
    let name = job.name.clone();
    let dataset = match data.dataset.clone() {
        Some(dataset) => {
            let address = format!("/admin/datasets/{}", job.dataset);
            view! { <a href=address>{dataset}</a> }.into_any()
        }
        None => GONE.into_any(),
    };
    let note = (!job.note.is_empty()).then(|| job.note.clone());
    let asked = settings_table(job);
    let flash = data.flash.clone();
    let id = job.id.clone();
    view! {
        <p class="crumb">
            <a href="/admin/training">"Training"</a>
        </p>
        <div class="head">
            <div>
                <h1>{name}</h1>
                <p class="lead">
                    "On " {dataset} ", begun " {ago(job.created_at)}
                    {note.map(|note| format!(". {note}"))}
                </p>
            </div>
            <div class="head-actions">
                <a class="button" href=format!("/admin/training/new?from={id}")>
                    "Same again, with changes"
                </a>
            </div>
        </div>
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {live(data)}
        {asked}
    }
    .into_any()
}

/// The part that moves.
pub(super) fn live(data: TrainingPage) -> AnyView {
    let TrainingRunDetail { job, points, samples } = data.detail;
    let resting = job.state.is_resting();
    let kept: Vec<_> = points.into_iter().filter(|point| point.step <= job.step).collect();
    let samples: Vec<_> = samples.into_iter().filter(|sample| sample.step <= job.step).collect();
    let prompt = samples.first().map(|sample| sample.prompt.clone()).unwrap_or_default();
    let none_yet = samples.is_empty();
    let why_none = match (job.config.sampled_every(), resting) {
        (0, _) => "This run was asked to make none.",
        (_, true) => "None was made.",
        (_, false) => "The first ones come before the first step.",
    };
    view! {
        <div
            id="live"
            data-live=format!("/admin/training/{}/live", job.id)
            data-events=format!("/admin/api/training/{}/events", job.id)
            data-state=job.state.name()
            data-step=job.step.to_string()
        >
            {standing(&job, prompt)}
            <section aria-labelledby="samples" class="panel">
                <h2 id="samples">"Samples"</h2>
                <p class="hint">"The same prompts and the same seed at every step."</p>
                {none_yet.then(|| view! { <p class="chart-empty">{why_none}</p> })}
                {strips(samples)}
            </section>
            <section class="charts" aria-label="Measurements">
                {charts(&kept, job.steps)}
            </section>
        </div>
    }
    .into_any()
}

fn standing(job: &TrainingRun, prompt: String) -> AnyView {
    let said = match job.state {
        TrainingState::Running => stage(job),
        TrainingState::Queued => Some("Waits for its turn; one training runs at a time.".to_owned()),
        TrainingState::Paused => Some("Rests until someone resumes it. Everything is kept.".to_owned()),
        TrainingState::Failed => job.error.clone(),
        TrainingState::Cancelled => Some("Stopped for good.".to_owned()),
        TrainingState::Done => None,
    };
    let mut facts: Vec<(&'static str, String)> = Vec::new();
    if let Some(seconds) = job.seconds_per_step {
        facts.push(("A step", seconds_said(seconds)));
    }
    if let Some((first, last)) = job.first_held_out.zip(job.last_held_out) {
        let change = improvement(job).map(|change| change.replace("held-out loss ", "")).unwrap_or_default();
        facts.push((
            "Held-out loss",
            format!("{} → {} ({change})", super::chart::value(first), super::chart::value(last)),
        ));
    }
    if let Some(forecast) = job.forecast {
        let memory = forecast
            .bytes
            .map(|bytes| format!(", {} of memory beside what is in use", size(bytes)))
            .unwrap_or_default();
        facts.push(("Forecast", format!("{} without visitors{memory}", duration(forecast.seconds * 1000.0))));
    }
    if job.waited_seconds >= 1.0 {
        facts.push(("Waited for people", duration(job.waited_seconds * 1000.0)));
    }
    if let (false, Some(seconds)) = (job.state.is_resting(), job.unit_seconds) {
        facts.push(("Costs a visitor", format!("at most {} a picture", seconds_said(seconds))));
    }
    if job.halved {
        facts.push((
            "Learning rate",
            "halved once: the loss was no longer a number, and the run went back".to_owned(),
        ));
    }
    let facts = facts.into_iter().map(|(name, text)| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{text}</dd>
            </div>
        }
    });
    let failed = job.state == TrainingState::Failed;
    view! {
        <section class="panel standing" aria-label="How it stands">
            <div class="line-up">
                {badge(job.state)}
                <p class="strong grow" role="status">
                    {capital(remark(job))}
                </p>
                {actions(job)}
            </div>
            {progress(job)}
            {said.map(|said| view! { <p class=if failed { "field-problem" } else { "soft" }>{said}</p> })}
            {job.version.as_deref().map(|id| version(id, prompt))}
            {job.version.is_some().then(|| files(&job.id))}
            <dl class="facts">{facts.collect::<Vec<_>>()}</dl>
        </section>
    }
    .into_any()
}

/// The way to what came out.
fn version(id: &str, prompt: String) -> AnyView {
    let row = AdapterRow { name: id.to_owned(), strength: "1".to_owned() };
    let form = FormValues { prompt, adapters: vec![row], ..FormValues::default() };
    let try_it = format!("/?{}", form::encode(&form));
    let shown = id.parse::<AdapterRef>().map_or_else(
        |_| id.to_owned(),
        |name| match name.version {
            Some(version) => format!("{} v{version}", name.name),
            None => name.name,
        },
    );
    view! {
        <p class="made">
            <span>{format!("{shown} is there.")}</span>
            <a class="primary" href=try_it>
                "Make a picture with it"
            </a>
            <a class="button" href=format!("/adapters/{id}")>
                {format!("See {shown}")}
            </a>
        </p>
    }
    .into_any()
}

/// What came out, to take along.
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

/// What can be done, each named by what follows from it.
fn actions(job: &TrainingRun) -> AnyView {
    let button = |action: &'static str, words: String, class: &'static str| {
        view! {
            <button type="submit" name="action" value=action class=class>
                {words}
            </button>
        }
    };
    let state = job.state;
    let pause = state.can_pause().then(|| button("pause", "Pause, keep everything".to_owned(), "button"));
    let resume =
        state.can_resume().then(|| button("resume", format!("Resume at step {}", job.step), "button"));
    let cancel = state.can_cancel().then(|| {
        let words = if job.step == 0 {
            "Cancel for good".to_owned()
        } else {
            format!("Cancel and lose {} steps", job.step)
        };
        button("cancel", words, "stop")
    });
    view! {
        <form method="post" action=format!("/admin/training/{}", job.id) class="choices">
            {resume}
            {pause}
            {cancel}
        </form>
    }
    .into_any()
}

/// The charts of one run.
fn charts(points: &[TrainingPoint], steps: u32) -> Vec<AnyView> {
    let loss = line("Loss of each step", Look::Faint, points, |point| point.loss);
    let calm = loss.calm("Loss, smoothed", Look::Main);
    let held_out = line("Held-out loss", Look::Second, points, |point| point.held_out_loss);
    let chart = |id, title, meaning, lines, ceiling, from_zero| {
        Chart { id, title, meaning, lines, steps, ceiling, from_zero }.draw()
    };
    let above = |line: &Line| peak(&line.points);
    let rate = line("Learning rate", Look::Main, points, |point| point.learning_rate);
    let norm = line("Norm of each step", Look::Faint, points, |point| point.gradient_norm);
    let seconds = line("Seconds", Look::Main, points, |point| point.seconds);
    let calm_norm = norm.calm("Norm, smoothed", Look::Main);
    let (loss_peak, norm_peak, seconds_peak) = (above(&loss), above(&norm), above(&seconds));
    vec![
        chart(
            "loss",
            "Loss",
            "Training is a lottery of noise, so its loss jumps; the held-out loss uses the same noise each time and is the one to trust.",
            vec![loss, calm, held_out],
            loss_peak,
            false,
        ),
        chart("rate", "Learning rate", "The size of each change.", vec![rate], None, true),
        chart(
            "norm",
            "Gradient norm",
            "How strongly the pictures pull. It should neither explode nor vanish.",
            vec![norm, calm_norm],
            norm_peak,
            true,
        ),
        chart(
            "seconds",
            "Seconds a step",
            "Peaks are steps that waited for people's pictures.",
            vec![seconds],
            seconds_peak,
            true,
        ),
    ]
}

/// One measurement over the steps.
pub(super) fn line(
    name: impl Into<String>,
    look: Look,
    points: &[TrainingPoint],
    value: impl Fn(&TrainingPoint) -> Option<f64>,
) -> Line {
    let points = points.iter().filter_map(|point| Some((f64::from(point.step), value(point)?)));
    Line::new(name, look, points.filter(|point| point.1.is_finite()).collect())
}

/// Where an axis may end, so that a rare peak does not press everything else flat.
pub(super) fn peak(points: &[(f64, f64)]) -> Option<f64> {
    let values: Vec<_> = points.iter().map(|point| point.1).collect();
    (values.len() >= 20).then(|| quantile(&values, 0.98).map(|high| high * 1.1)).flatten()
}

fn settings_table(job: &TrainingRun) -> AnyView {
    let rows = settings::all()
        .filter(|setting| setting.kind != Kind::Lines || !job.config.sample_prompts.is_empty())
        .map(|setting| {
            view! {
                <div>
                    <dt>{setting.label}</dt>
                    <dd>{settings::shown(&job.config, setting)}</dd>
                </div>
            }
        });
    let short: String = job.dataset_hash.chars().take(12).collect();
    view! {
        <details class="panel" id="asked">
            <summary>"What was asked for"</summary>
            <dl class="facts columns-facts">
                {rows.collect::<Vec<_>>()}
                <div>
                    <dt>"Dataset's content"</dt>
                    <dd>
                        <code title=job.dataset_hash.clone()>{short}</code>
                    </dd>
                </div>
                {job
                    .continue_from
                    .clone()
                    .map(|version| {
                        view! {
                            <div>
                                <dt>"Went on from"</dt>
                                <dd>{version}</dd>
                            </div>
                        }
                    })}
            </dl>
        </details>
    }
    .into_any()
}

fn seconds_said(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { duration(seconds * 1000.0) }
}

fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1000.0 { format!("{megabytes:.0} MB") } else { format!("{:.1} GB", megabytes / 1000.0) }
}

fn capital(text: String) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
