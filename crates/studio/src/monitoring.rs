//! The figures of the monitoring page and of `/metrics`, from rows.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use adire_protocol::{
    CauseCount, Figures, Memory, Monitoring, Percentiles, Period, RatingCount, SeriesPoint, Uptime,
};
use uuid::Uuid;

use crate::{StudioError, memory, shared::Shared, stats::percentiles, store::StatGroup, time::now};

/// Prompts that are listed.
const PROMPTS: i64 = 20;
/// Most points of a series.
const POINTS: i64 = 60;
/// Longest list of versions; the rest are taken together.
const VERSIONS: usize = 50;
/// How often a server notes that it is up.
const BEAT: Duration = Duration::from_secs(30);

/// A sum since the beginning, for a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// As in [`Figures::version`].
    pub version: String,
    /// `generations` (by outcome), `failures` (by cause), `images`, `switches`, `render_ms`, `run_ms`, `wait_ms`,
    /// `run_le` and `wait_le` (by bucket of [`crate::BUCKETS_MS`], not cumulative). Not a sum: `ratings`, those that images
    /// have now.
    pub name: String,
    /// Outcome, cause, bucket or rating; empty where there is none.
    pub label: String,
    /// The sum.
    pub value: i64,
}

/// Values of several generations that percentiles are made of.
#[derive(Default)]
struct Sample {
    figures: Figures,
    runs: Vec<i64>,
    waits: Vec<i64>,
}

impl Sample {
    fn add(&mut self, group: &StatGroup) {
        let count = |value: i64| value.cast_unsigned();
        let Figures { generations, done, failed, cancelled, images, switches, render_seconds, .. } =
            &mut self.figures;
        *generations += count(group.generations);
        *match group.outcome.as_str() {
            "done" => done,
            "failed" => failed,
            _ => cancelled,
        } += count(group.generations);
        *images += count(group.images);
        *switches += count(group.switches);
        *render_seconds += group.render_ms as f64 / 1e3;
        self.runs.extend(&group.runs);
        self.waits.extend(&group.waits);
    }

    fn percentiles(&mut self) -> (Option<Percentiles>, Option<Percentiles>) {
        (percentiles(&mut self.runs), percentiles(&mut self.waits))
    }

    fn finish(mut self, version: String) -> Figures {
        let (seconds, wait) = self.percentiles();
        Figures { version, seconds, wait, ..self.figures }
    }
}

/// The figures of a period; `version`: only of generations with these adapter versions, where figures are not of each.
pub(crate) async fn report(
    shared: &Shared,
    period: Period,
    version: Option<String>,
) -> Result<Monitoring, StudioError> {
    let until = now();
    let since = match period.ms() {
        Some(length) => until - length,
        None => shared.store.first_stat_at().await?.unwrap_or(until).min(until),
    };
    // What ended since then was submitted before.
    let from = period.ms().map_or(0, |_| since);
    let step_ms = step(until - since);
    let groups = shared.closed_stats.groups(&shared.store, since, step_ms, until).await?;
    let (mut total, mut each) = (Sample::default(), BTreeMap::<String, Sample>::new());
    let (mut causes, mut places) = (BTreeMap::<String, u64>::new(), BTreeMap::<i64, Sample>::new());
    for (place, group) in &groups {
        each.entry(group.versions.clone()).or_default().add(group);
        if version.as_ref().is_some_and(|version| *version != group.versions) {
            continue;
        }
        total.add(group);
        places.entry(*place).or_default().add(group);
        if !group.cause.is_empty() {
            *causes.entry(group.cause.clone()).or_default() += group.generations.cast_unsigned();
        }
    }
    let mut causes: Vec<CauseCount> =
        causes.into_iter().map(|(cause, count)| CauseCount { cause, count }).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    let mut versions: Vec<Figures> =
        each.into_iter().map(|(version, sample)| sample.finish(version)).collect();
    versions.sort_by_key(|figures| std::cmp::Reverse(figures.generations));
    versions.truncate(VERSIONS);
    let series = (since.div_euclid(step_ms)..=until.div_euclid(step_ms))
        .map(|place| point(place * step_ms, places.remove(&place)))
        .collect();
    let mut ratings = shared.store.rating_counts(from).await?;
    ratings.retain(|rating| version.as_ref().is_none_or(|version| *version == rating.version));
    let prompts = shared.store.common_prompts(from, version.as_deref(), PROMPTS).await?;
    Ok(Monitoring {
        period,
        since,
        until,
        version,
        total: total.finish(String::new()),
        versions,
        causes,
        step_ms,
        series,
        prompts,
        ratings,
        uptime: uptime(shared, from, until).await?,
        memory: memory(shared),
        queue: shared.work.status(),
        tracking: shared.tracking.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    })
}

/// Length of a point for a span: an hour, or as many hours or days as leave at most [`POINTS`] points.
fn step(span: i64) -> i64 {
    const HOUR: i64 = 3_600_000;
    const STEPS: [i64; 6] = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 7 * 24 * HOUR];
    let fits = |step: &i64| span / step < POINTS;
    STEPS.into_iter().find(fits).unwrap_or_else(|| (span / POINTS / STEPS[5] + 1) * STEPS[5])
}

fn point(at: i64, sample: Option<Sample>) -> SeriesPoint {
    let Some(mut sample) = sample else { return SeriesPoint { at, ..SeriesPoint::default() } };
    let (run, wait) = sample.percentiles();
    let Figures { done, failed, cancelled, images, .. } = sample.figures;
    let p95 = |percentiles: Option<Percentiles>| percentiles.map(|percentiles| percentiles.p95);
    SeriesPoint { at, done, failed, cancelled, images, p95: p95(run), wait_p95: p95(wait) }
}

async fn uptime(shared: &Shared, since: i64, until: i64) -> Result<Uptime, StudioError> {
    let spans = shared.store.uptimes(since).await?;
    let first = shared.store.first_uptime().await?.unwrap_or(shared.started_at).max(since).min(until);
    // This server has been up until now, not until its last note.
    let mut spans: Vec<(i64, i64)> = spans
        .into_iter()
        .filter(|(started, _)| *started != shared.started_at)
        .chain([(shared.started_at, until)])
        .collect();
    spans.sort_unstable();
    let starts = spans.iter().filter(|(started, _)| *started >= since).count();
    // Servers that share a database are up at the same time.
    let (mut up, mut reached) = (0, first);
    for (from, to) in spans {
        up += (to.min(until) - from.max(reached)).max(0);
        reached = reached.max(to);
    }
    let share = if until > first { up as f64 / (until - first) as f64 } else { 1.0 };
    Ok(Uptime {
        started_at: shared.started_at,
        share: share.clamp(0.0, 1.0),
        starts: u32::try_from(starts).unwrap_or(u32::MAX),
    })
}

/// Memory now. Reads `/proc`, which does not wait for a disk.
pub(crate) fn memory(shared: &Shared) -> Memory {
    let (device_free, device_total) = (shared.device_memory)().unzip();
    Memory { device_free, device_total, ..memory::host() }
}

/// Sums since the beginning, and the ratings that there are.
pub(crate) async fn totals(shared: &Shared) -> Result<Vec<Total>, StudioError> {
    let rows = shared.store.stat_totals().await?;
    let total = |row: crate::store::StatTotal| Total {
        version: row.versions,
        name: row.name,
        label: row.label,
        value: row.value,
    };
    let rated = |rating: RatingCount| Total {
        version: rating.version,
        name: "ratings".to_owned(),
        label: rating.rating,
        value: rating.count.cast_signed(),
    };
    let ratings = shared.store.rating_counts(0).await?;
    Ok(rows.into_iter().map(total).chain(ratings.into_iter().map(rated)).collect())
}

/// Notes the start, before anything can end the studio again; gives the name of this span of uptime.
pub(crate) async fn note_start(shared: &Shared) -> String {
    let id = Uuid::now_v7().to_string();
    if let Err(error) = shared.store.note_uptime(&id, shared.started_at, now()).await {
        tracing::warn!(%error, "uptime was not noted");
    }
    id
}

/// Notes at intervals that this server is up, until the studio closes.
pub(crate) async fn note_uptime(shared: Arc<Shared>, id: String) {
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    loop {
        if let Err(error) = shared.closed_stats.warm(&shared.store, now()).await {
            tracing::warn!(%error, "figures were not read ahead");
        }
        clock.tick().await;
        if let Err(error) = shared.store.note_uptime(&id, shared.started_at, now()).await {
            tracing::warn!(%error, "uptime was not noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_at_most_so_many_points() {
        const DAY: i64 = 24 * 3_600_000;
        assert_eq!(step(DAY), 3_600_000);
        for span in [0, 1, DAY, 7 * DAY, 30 * DAY, 400 * DAY, 4_000 * DAY] {
            assert!(span / step(span) < POINTS, "{span}");
        }
    }
}
