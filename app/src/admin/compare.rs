//! Training runs side by side: differing settings, curves in one chart, and their last samples.

use std::collections::BTreeMap;

use adire_protocol::{TrainingRunDetail, TrainingSample};
use leptos::prelude::*;

use super::{
    chart::{Chart, Line, Look},
    frame::{crumbs, head},
    samples::shot,
    settings,
    state::{improvement, word},
    training::{line, peak},
};

/// Runs that fit beside each other.
pub(crate) const MAX_COMPARED_RUNS: usize = 6;

/// What the comparison shows.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// Each with the name of its dataset.
    pub(crate) runs: Vec<(TrainingRunDetail, String)>,
}

pub(super) fn compare(data: Comparison) -> AnyView {
    let runs = data.runs;
    if runs.len() < 2 {
        return view! {
            {crumbs([("/admin/training", "Training")])}
            {head("Compare runs", "Select two or more runs in the list.", ())}
            <p>
                <a class="button" href="/admin/training">
                    "Back to list"
                </a>
            </p>
        }
        .into_any();
    }
    let names = names(&runs);
    view! {
        {crumbs([("/admin/training", "Training")])}
        {head("Compare runs", format!("{} runs. Only differing settings are shown.", runs.len()), ())}
        {differences(&runs, &names)}
        <section class="charts" aria-label="Metrics">
            {charts(&runs, &names)}
        </section>
        {samples(&runs, &names)}
    }
    .into_any()
}

/// A name for each run; numbered, because two may have one name.
fn names(runs: &[(TrainingRunDetail, String)]) -> Vec<String> {
    runs.iter().enumerate().map(|(index, (run, _))| format!("{}. {}", index + 1, run.run.name)).collect()
}

fn differences(runs: &[(TrainingRunDetail, String)], names: &[String]) -> AnyView {
    let heads = runs.iter().zip(names).enumerate().map(|(index, ((run, _), name))| {
        view! {
            <th scope="col">
                <a class=format!("run-name run-{}", index + 1) href=format!("/admin/training/{}", run.run.id)>
                    {name.clone()}
                </a>
            </th>
        }
    });
    let heads = heads.collect::<Vec<_>>();
    let row = |label: &'static str, values: Vec<String>| {
        let cells = values.into_iter().map(|value| view! { <td>{value}</td> }).collect::<Vec<_>>();
        view! {
            <tr>
                <th scope="row">{label}</th>
                {cells}
            </tr>
        }
        .into_any()
    };
    let of =
        |value: &dyn Fn(&(TrainingRunDetail, String)) -> String| runs.iter().map(value).collect::<Vec<_>>();
    let mut rows = vec![
        row("State", of(&|(run, _)| format!("{}, step {}", word(run.run.state), run.run.step))),
        row("Result", of(&|(run, _)| improvement(&run.run).unwrap_or_else(|| "–".to_owned()))),
    ];
    let mut differing = vec![
        ("Dataset", of(&|(_, dataset)| dataset.clone())),
        ("Started from", of(&|(run, _)| run.run.continue_from.clone().unwrap_or_else(|| "–".to_owned()))),
    ];
    differing.extend(
        settings::all()
            .map(|setting| (setting.label, of(&|(run, _)| settings::shown(&run.run.config, setting)))),
    );
    differing.retain(|(_, values)| values.iter().any(|value| *value != values[0]));
    let same = differing.is_empty();
    rows.extend(differing.into_iter().map(|(label, values)| row(label, values)));
    view! {
        <section class="panel" aria-labelledby="differences">
            <h2 id="differences">"Differences"</h2>
            <div class="wide" tabindex="0" role="region" aria-label="Table of differences">
                <table class="list">
                    <thead>
                        <tr>
                            <td></td>
                            {heads}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            {same.then(|| view! { <p class="soft">"All settings are identical."</p> })}
        </section>
    }
    .into_any()
}

fn charts(runs: &[(TrainingRunDetail, String)], names: &[String]) -> Vec<AnyView> {
    let steps = runs.iter().map(|(run, _)| run.run.steps).max().unwrap_or(1);
    let lines = |value: fn(&adire_protocol::TrainingPoint) -> Option<f64>| {
        let all = runs.iter().zip(names).enumerate().map(|(index, ((run, _), name))| {
            let kept: Vec<_> =
                run.points.iter().filter(|point| point.step <= run.run.step).copied().collect();
            line(name.clone(), Look::Run(index), &kept, value)
        });
        all.collect::<Vec<_>>()
    };
    let calm = |lines: Vec<Line>| {
        lines.iter().map(|line| line.calm(line.name.clone(), line.look)).collect::<Vec<_>>()
    };
    let (losses, norms) = (calm(lines(|point| point.loss)), calm(lines(|point| point.gradient_norm)));
    let ceiling = |lines: &[Line]| lines.iter().filter_map(|line| peak(&line.points)).reduce(f64::max);
    let chart =
        |id: &'static str, title: &'static str, meaning: &'static str, lines: Vec<Line>, from_zero| {
            let ceiling = ceiling(&lines);
            let (id, title, meaning) = (id.into(), title.into(), meaning.into());
            Chart { id, title, meaning, lines, steps, ceiling, from_zero }.draw()
        };
    vec![
        chart(
            "held-out",
            "Held-out loss",
            "Comparable between runs of the same dataset and seed.",
            lines(|point| point.held_out_loss),
            false,
        ),
        chart("loss", "Loss, smoothed", "Training loss is noisy by nature.", losses, false),
        chart("rate", "Learning rate", "Optimizer step size.", lines(|point| point.learning_rate), true),
        chart("norm", "Gradient norm, smoothed", "Gradient norm before clipping.", norms, true),
    ]
}

/// Prompt by prompt, the last sample of each run.
fn samples(runs: &[(TrainingRunDetail, String)], names: &[String]) -> AnyView {
    let mut prompts = BTreeMap::<String, Vec<Option<TrainingSample>>>::new();
    for (index, (run, _)) in runs.iter().enumerate() {
        for sample in run.samples.iter().filter(|sample| sample.with_adapter && sample.step <= run.run.step) {
            // In the order of their steps: the last one stays.
            prompts.entry(sample.prompt.clone()).or_insert_with(|| vec![None; runs.len()])[index] =
                Some(sample.clone());
        }
    }
    if prompts.is_empty() {
        return ().into_any();
    }
    let rows = prompts.into_iter().map(|(prompt, shots)| {
        let shots = shots.into_iter().zip(names).map(|(sample, name)| match sample {
            Some(sample) => {
                let words = format!("{name}, step {}", sample.step);
                view! { <li>{shot(sample, words)}</li> }.into_any()
            }
            None => view! { <li class="soft">{format!("{name}: no sample")}</li> }.into_any(),
        });
        view! {
            <h3>{format!("“{prompt}”")}</h3>
            <ul class="side-by-side">{shots.collect::<Vec<_>>()}</ul>
        }
    });
    view! {
        <section class="panel" aria-labelledby="samples">
            <h2 id="samples">"Latest samples"</h2>
            {rows.collect::<Vec<_>>()}
        </section>
    }
    .into_any()
}
