//! Runs that were taken over from an MLflow server: the list, and one with its metrics.

use std::collections::BTreeMap;

use adire_protocol::{ImportedRun, ImportedRunDetail, MetricPoint};
use leptos::prelude::*;

use super::{
    chart::{Chart, Line, Look},
    frame::{crumbs, head},
    times::ago,
};

/// Charts of a page.
const MAX_CHARTS: usize = 24;

pub(super) fn imported_runs(runs: Vec<ImportedRun>) -> AnyView {
    let empty = runs.is_empty();
    let rows = runs.into_iter().map(|run| {
        let address = format!("/admin/training/imported/{}", run.id);
        view! {
            <tr>
                <th scope="row">
                    <a class="strong" href=address>
                        {shown(&run)}
                    </a>
                </th>
                <td>{run.experiment.clone()}</td>
                <td>
                    <span class=badge(&run.status)>{state(&run.status)}</span>
                </td>
                <td>{ago(run.started_at)}</td>
            </tr>
        }
    });
    let rows = rows.collect::<Vec<_>>();
    view! {
        {crumbs([("/admin/training", "Training")])}
        {head("Imported runs", "Taken over from MLflow with “adire mlflow import”; the newest 500.", ())}
        {if empty {
            view! { <p class="nothing">"No imported runs yet. Run “adire mlflow import URI”."</p> }.into_any()
        } else {
            view! {
                <div class="wide" tabindex="0" role="region" aria-label="Imported runs">
                    <table class="list">
                        <thead>
                            <tr>
                                <th scope="col">"Run"</th>
                                <th scope="col">"Experiment"</th>
                                <th scope="col">"State"</th>
                                <th scope="col">"Started"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            }
                .into_any()
        }}
    }
    .into_any()
}

pub(super) fn imported_run(data: ImportedRunDetail) -> AnyView {
    let ImportedRunDetail { run, metrics, versions } = data;
    let lead = format!("{} on {}.", run.experiment, run.source);
    let versions = versions.into_iter().map(|id| {
        view! {
            <li>
                <a href=format!("/admin/versions/{id}")>{id.clone()}</a>
            </li>
        }
    });
    let versions = versions.collect::<Vec<_>>();
    let several = metrics.len() > MAX_CHARTS;
    let (single, series): (BTreeMap<_, _>, BTreeMap<_, _>) =
        metrics.into_iter().partition(|(_, points)| points.len() == 1);
    let charts =
        series.into_iter().take(MAX_CHARTS).enumerate().map(|(at, (name, points))| chart(at, name, &points));
    let charts = charts.collect::<Vec<_>>();
    let single: BTreeMap<String, String> =
        single.into_iter().map(|(name, points)| (name, points[0].value.to_string())).collect();
    view! {
        {crumbs([("/admin/training", "Training"), ("/admin/training/imported", "Imported runs")])}
        {head(shown(&run), lead, ())}
        <p class="below">
            <span class=badge(&run.status)>{state(&run.status)}</span>
            " started "
            {ago(run.started_at)}
        </p>
        {(!versions.is_empty())
            .then(|| {
                view! {
                    <section class="panel" aria-labelledby="registered">
                        <h2 id="registered">"Versions"</h2>
                        <ul class="lines">{versions}</ul>
                    </section>
                }
            })}
        {(!charts.is_empty()).then(|| view! { <div class="columns two">{charts}</div> })}
        {several.then(|| view! { <p class="hint">{format!("The first {MAX_CHARTS} metrics are drawn.")}</p> })}
        {pairs("metrics", "Metrics with one value", single)}
        {pairs("params", "Params", run.params)}
        {pairs("tags", "Tags", run.tags)}
    }
    .into_any()
}

fn shown(run: &ImportedRun) -> String {
    if run.name.is_empty() { run.id.chars().take(12).collect() } else { run.name.clone() }
}

/// The state in this program's words.
fn state(status: &str) -> String {
    match status {
        "FINISHED" => "Done",
        "FAILED" => "Failed",
        "KILLED" => "Cancelled",
        "RUNNING" => "Running",
        "SCHEDULED" => "Queued",
        _ => "Unknown",
    }
    .to_owned()
}

fn badge(status: &str) -> &'static str {
    match status {
        "FINISHED" => "badge done",
        "FAILED" => "badge failed",
        "RUNNING" => "badge running",
        _ => "badge",
    }
}

fn chart(at: usize, name: String, points: &[MetricPoint]) -> AnyView {
    let steps = points.iter().map(|point| point.step).max().unwrap_or(1);
    let points: Vec<(f64, f64)> = points.iter().map(|point| (point.step as f64, point.value)).collect();
    let chart = Chart {
        id: format!("metric-{at}").into(),
        title: name.clone().into(),
        meaning: format!("{} values.", points.len()).into(),
        lines: vec![Line::new(name, Look::Main, points)],
        steps: u32::try_from(steps.max(1)).unwrap_or(u32::MAX),
        ceiling: None,
        from_zero: false,
    };
    view! { <section class="panel">{chart.draw()}</section> }.into_any()
}

/// Names and values, if there are any.
fn pairs(id: &'static str, title: &'static str, pairs: BTreeMap<String, String>) -> Option<AnyView> {
    if pairs.is_empty() {
        return None;
    }
    let rows = pairs.into_iter().map(|(name, value)| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td>{value}</td>
            </tr>
        }
    });
    let view = view! {
        <section class="panel" aria-labelledby=id>
            <h2 id=id>{title}</h2>
            <div class="wide" tabindex="0" role="region" aria-label=format!("Table of {}", title.to_lowercase())>
                <table class="list">
                    <tbody>{rows.collect::<Vec<_>>()}</tbody>
                </table>
            </div>
        </section>
    };
    Some(view.into_any())
}
