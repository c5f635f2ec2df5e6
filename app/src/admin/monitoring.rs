//! Monitoring: generations, times, failures and prompts of a period, per version and over time.

use std::collections::BTreeMap;

use adire_protocol::{
    CauseCount, Figures, Memory, Monitoring, Percentiles, Period, RatingCount, SeriesPoint, size,
};
use leptos::prelude::*;

use super::{
    columns::{Columns, Stack},
    frame::{crumbs, head},
    shapes::bars,
    times::{ago, exact},
};
use crate::{form::percent_encoded, words::duration};

pub(super) fn monitoring(data: Monitoring) -> AnyView {
    let Monitoring {
        tracking,
        period,
        version,
        total,
        versions,
        causes,
        step_ms,
        series,
        prompts,
        ratings,
        uptime,
        memory,
        ..
    } = data;
    let lead = match &version {
        Some(version) => format!("Generations {}, {}.", with(version), words(period)),
        None => format!("All generations, {}.", words(period)),
    };
    let empty = total.generations == 0;
    view! {
        {head("Monitoring", lead, periods(period, version.as_deref()))}
        {crumbs([("/admin/monitoring/alerts", "Alerts")])}
        {version
            .is_some()
            .then(|| {
                let all = address(period, None);
                view! {
                    {crumbs([(&all, "Show all versions")])}
                }
            })}
        {tracking.and_then(|tracking| tracking.problem).map(|problem| {
            view! {
                <p class="note" role="status">
                    "Not everything has been sent to MLflow: " {problem} " Nothing is lost; it is sent later."
                </p>
            }
        })}
        {numbers(&total, uptime.share, uptime.started_at)}
        {if empty {
            view! { <p class="nothing">"Finished, failed and cancelled generations are counted here."</p> }
                .into_any()
        } else {
            over_time(series, step_ms)
        }}
        {(!versions.is_empty()).then(|| table(period, versions))}
        <div class="columns two">
            {(!causes.is_empty()).then(|| failures(causes))}
            {(!ratings.is_empty()).then(|| rated(ratings))}
            {(!prompts.is_empty())
                .then(|| {
                    let rows = prompts
                        .into_iter()
                        .map(|prompt| {
                            view! {
                                <li>
                                    <span class="grow" title=prompt.prompt.clone()>
                                        {prompt.prompt.clone()}
                                    </span>
                                    <span class="soft end">{prompt.count}</span>
                                </li>
                            }
                        })
                        .collect::<Vec<_>>();
                    view! {
                        <section class="panel" aria-labelledby="prompts">
                            <h2 id="prompts">"Common prompts"</h2>
                            <p class="hint">
                                "Letter case and spaces do not count. Deleted generations are left out."
                            </p>
                            <ol class="lines">{rows}</ol>
                        </section>
                    }
                })}
            {memory_panel(memory)}
        </div>
        <p class="hint">
            "Figures are kept for 400 days, without prompts or visitors, also when generations are deleted. Prometheus reads "
            <a href="/admin/metrics">"the same figures"</a> " at /metrics, with a token."
        </p>
    }
    .into_any()
}

/// The address of a period's figures.
fn address(period: Period, version: Option<&str>) -> String {
    let version =
        version.map(|version| format!("&version={}", percent_encoded(version, b"@"))).unwrap_or_default();
    format!("/admin/monitoring?period={}{version}", period.name())
}

fn words(period: Period) -> &'static str {
    match period {
        Period::Day => "last 24 hours",
        Period::Week => "last 7 days",
        Period::Month => "last 30 days",
        Period::All => "last 400 days",
    }
}

fn with(version: &str) -> String {
    if version.is_empty() { "without adapters".to_owned() } else { format!("with {version}") }
}

fn periods(current: Period, version: Option<&str>) -> AnyView {
    let links = Period::ALL.map(|period| {
        let name = match period {
            Period::Day => "24 hours",
            Period::Week => "7 days",
            Period::Month => "30 days",
            Period::All => "All",
        };
        view! {
            <a
                class="button"
                href=address(period, version)
                aria-current=(period == current).then_some("page")
            >
                {name}
            </a>
        }
    });
    view! { <nav class="head-actions" aria-label="Period">{links.into_iter().collect::<Vec<_>>()}</nav> }
        .into_any()
}

/// Seconds in words.
fn seconds(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..90.0 => format!("{seconds:.0} s"),
        _ => duration(seconds * 1e3),
    }
}

fn of(percentiles: Option<Percentiles>, which: impl Fn(Percentiles) -> f64) -> String {
    percentiles.map_or_else(|| "–".to_owned(), |percentiles| seconds(which(percentiles)))
}

/// A share as a percentage, with a decimal where it matters.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 || percent > 99.0 && percent < 100.0 {
        // 99.97% must not become 100%.
        format!("{:.1}%", (percent * 10.0).floor() / 10.0)
    } else {
        format!("{percent:.0}%")
    }
}

fn numbers(total: &Figures, share: f64, started_at: i64) -> AnyView {
    let ended = (total.done + total.failed).max(1) as f64;
    let failed = percent(total.failed as f64 / ended);
    let figure = |name: &'static str, value: String, note: AnyView| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>
                    <strong>{value}</strong>
                    <span class="soft">{note}</span>
                </dd>
            </div>
        }
    };
    let note = |text: String| text.into_any();
    view! {
        <dl class="figures">
            {figure("Generations", total.generations.to_string(), note(format!("{} images", total.images)))}
            {figure(
                "Failed",
                failed,
                note(format!("{} failed, {} cancelled", total.failed, total.cancelled)),
            )}
            {figure(
                "Time, median",
                of(total.seconds, |p| p.p50),
                note(format!("95%: {}, 99%: {}", of(total.seconds, |p| p.p95), of(total.seconds, |p| p.p99))),
            )}
            {figure(
                "p95 queue wait",
                of(total.wait, |p| p.p95),
                note(format!("median {}", of(total.wait, |p| p.p50))),
            )}
            {figure("Adapter switches", total.switches.to_string(), note("before an image".to_owned()))}
            {figure(
                "Uptime",
                percent(share),
                view! { "since " {ago(started_at)} }.into_any(),
            )}
        </dl>
    }
    .into_any()
}

fn over_time(series: Vec<SeriesPoint>, step_ms: i64) -> AnyView {
    let step = duration(step_ms as f64);
    let at: Vec<String> = series.iter().map(|point| exact(point.at)[..16].to_owned()).collect();
    let count = |which: fn(&SeriesPoint) -> u64| series.iter().map(|point| which(point) as f64).collect();
    let time = |which: fn(&SeriesPoint) -> Option<f64>| {
        series.iter().map(|point| which(point).unwrap_or_default()).collect()
    };
    let ended = Columns {
        id: "ended",
        title: "Generations",
        meaning: format!("Ended generations by outcome, per {step}."),
        at: at.clone(),
        stacks: vec![
            Stack::new("Done", "done", count(|point| point.done)),
            Stack::new("Failed", "failed", count(|point| point.failed)),
            Stack::new("Cancelled", "cancelled", count(|point| point.cancelled)),
        ],
    };
    let times = Columns {
        id: "times",
        title: "Time and wait",
        meaning: format!(
            "95th percentile in seconds, per {step}: wait in the queue, then the time from start to end."
        ),
        at,
        stacks: vec![
            Stack::new("Wait", "wait", time(|point| point.wait_p95)),
            Stack::new("Time", "done", time(|point| point.p95)),
        ],
    };
    view! {
        <div class="columns two">
            <section class="panel">{ended.draw()}</section>
            <section class="panel">{times.draw()}</section>
        </div>
    }
    .into_any()
}

fn table(period: Period, versions: Vec<Figures>) -> AnyView {
    let rows = versions.into_iter().map(|figures| {
        let name = if figures.version.is_empty() { "No adapter".to_owned() } else { figures.version.clone() };
        let ended = (figures.done + figures.failed).max(1) as f64;
        view! {
            <tr>
                <th scope="row">
                    <a class="strong" href=address(period, Some(&figures.version))>
                        {name}
                    </a>
                </th>
                <td class="count">{figures.generations}</td>
                <td class="count">{percent(figures.failed as f64 / ended)}</td>
                <td class="count">{of(figures.seconds, |p| p.p50)}</td>
                <td class="count">{of(figures.seconds, |p| p.p95)}</td>
                <td class="count">{of(figures.seconds, |p| p.p99)}</td>
                <td class="count">{of(figures.wait, |p| p.p95)}</td>
                <td class="count">{figures.images}</td>
                <td class="count">{figures.switches}</td>
            </tr>
        }
    });
    view! {
        <section class="panel" aria-labelledby="versions">
            <h2 id="versions">"Versions"</h2>
            <div class="wide" tabindex="0" role="region" aria-label="Figures of versions">
                <table class="list">
                    <thead>
                        <tr>
                            <th scope="col">"Adapters"</th>
                            <th scope="col">"Generations"</th>
                            <th scope="col">"Failed"</th>
                            <th scope="col">"Median"</th>
                            <th scope="col">"95%"</th>
                            <th scope="col">"99%"</th>
                            <th scope="col">"Wait, 95%"</th>
                            <th scope="col">"Images"</th>
                            <th scope="col">"Switches"</th>
                        </tr>
                    </thead>
                    <tbody>{rows.collect::<Vec<_>>()}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn failures(causes: Vec<CauseCount>) -> AnyView {
    let name = |cause: &str| {
        match cause {
            "out_of_memory" => "Out of memory",
            "crash" => "Engine crash",
            "adapter" => "Adapter file",
            "storage" => "Storage",
            "worker" => "Worker stopped",
            "numbers" => "NaN in the model",
            _ => "Other",
        }
        .to_owned()
    };
    let classes = causes
        .into_iter()
        .map(|cause| (name(&cause.cause), usize::try_from(cause.count).unwrap_or(usize::MAX)));
    bars("Failures", "Failed generations by cause.", classes.collect())
}

/// Ratings by version: how many thumbs up of all thumbs, and stars.
fn rated(ratings: Vec<RatingCount>) -> AnyView {
    let mut versions: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for RatingCount { version, rating, count } in ratings {
        let place = match rating.as_str() {
            "up" => 0,
            "down" => 1,
            _ => 2,
        };
        versions.entry(version).or_default()[place] += count;
    }
    let rows = versions.into_iter().map(|(version, [up, down, starred])| {
        let name = if version.is_empty() { "No adapter".to_owned() } else { version };
        let share = if up + down == 0 { "–".to_owned() } else { percent(up as f64 / (up + down) as f64) };
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="count">{up}</td>
                <td class="count">{down}</td>
                <td class="count">{share}</td>
                <td class="count">{starred}</td>
            </tr>
        }
    });
    view! {
        <section class="panel" aria-labelledby="ratings">
            <h2 id="ratings">"Ratings"</h2>
            <p class="hint">"Given in this period. Deleted images are left out."</p>
            <div class="wide" tabindex="0" role="region" aria-label="Ratings of versions">
                <table class="list">
                    <thead>
                        <tr>
                            <th scope="col">"Adapters"</th>
                            <th scope="col">"Up"</th>
                            <th scope="col">"Down"</th>
                            <th scope="col">"Up, share"</th>
                            <th scope="col">"Starred"</th>
                        </tr>
                    </thead>
                    <tbody>{rows.collect::<Vec<_>>()}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn memory_panel(memory: Memory) -> AnyView {
    let Memory { process, host_total, host_available, device_total, device_free } = memory;
    let row = |name: &'static str, value: String| {
        view! {
            <li>
                <span class="grow">{name}</span>
                <span class="soft end">{value}</span>
            </li>
        }
    };
    let part = |free: Option<u64>, total: Option<u64>| {
        free.zip(total)
            .map(|(free, total)| format!("{} of {}", size(total.saturating_sub(free)), size(total)))
    };
    view! {
        <section class="panel" aria-labelledby="memory">
            <h2 id="memory">"Memory"</h2>
            <ul class="lines">
                {process.map(|bytes| row("Server process", size(bytes)))}
                {part(host_available, host_total).map(|used| row("Machine, in use", used))}
                {part(device_free, device_total).map(|used| row("GPU, in use", used))}
            </ul>
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_not_rounded_to_all_or_nothing() {
        for (share, text) in
            [(0.0, "0%"), (0.004, "0.4%"), (0.25, "25%"), (0.9997, "99.9%"), (1.0, "100%"), (0.0999, "9.9%")]
        {
            assert_eq!(percent(share), text, "{share}");
        }
    }

    #[test]
    fn versions_are_escaped_in_addresses() {
        assert_eq!(
            address(Period::Week, Some("a@v1 + b@v2")),
            "/admin/monitoring?period=7d&version=a@v1%20%2B%20b@v2"
        );
        assert_eq!(address(Period::All, None), "/admin/monitoring?period=all");
    }
}
