//! Figures of generations: what is counted, and that reports equal what other queries find.

use std::collections::BTreeMap;

use adire_protocol::{
    AdapterUse, Figures, GenerationRequest, ImageRef, Monitoring, Period, Rating, RatingCount, Thumb,
};

use super::{finished, fresh, latched, nobody, open, request, submit, who};
use crate::{
    By, NewAdapter, Studio,
    fake::{ADAPTER_MAGIC, FakeBackend},
};

async fn adapter(studio: &Studio, folder: &std::path::Path, version: u32) {
    let path = folder.join(format!("{version}.safetensors"));
    std::fs::write(&path, [ADAPTER_MAGIC, &version.to_le_bytes()].concat()).unwrap();
    let new = NewAdapter {
        name: "adire".to_owned(),
        version: Some(version),
        path,
        description: String::new(),
        trigger: String::new(),
        strict: false,
    };
    studio.add_adapter(new).await.unwrap();
}

fn with(prompt: &str, adapters: &[&str]) -> GenerationRequest {
    let used = |name: &&str| AdapterUse { name: (*name).to_owned(), ..AdapterUse::default() };
    GenerationRequest { adapters: adapters.iter().map(used).collect(), count: Some(2), ..request(prompt) }
}

/// Generations of each outcome, with and without adapters.
async fn filled(folder: &std::path::Path, studio: &Studio) {
    adapter(studio, folder, 1).await;
    adapter(studio, folder, 2).await;
    for (prompt, adapters) in [
        ("Blue  moons", &["adire@v1"][..]),
        ("blue moons", &["adire@v2"]),
        ("red stars", &["adire@v1"]),
        ("red stars", &[]),
        ("blue moons", &["adire@v2", "adire@v1"]),
        ("fail! now", &["adire@v1"]),
        ("panic! now", &[]),
    ] {
        let asked = studio.submit(with(prompt, adapters), &who("visitor")).await.unwrap();
        finished(studio, &asked.id).await;
    }
}

async fn report(studio: &Studio) -> Monitoring {
    studio.monitoring(Period::All, None).await.unwrap()
}

#[tokio::test]
async fn a_report_equals_what_other_queries_find() {
    let (folder, studio, _) = fresh().await;
    filled(folder.path(), &studio).await;
    let found = report(&studio).await;

    // The same from the rows of jobs and images, by other means.
    let jobs: Vec<(String, String, i64, i64, i64)> = studio
        .shared()
        .store
        .rows("SELECT id, state, created_at, started_at, finished_at FROM jobs WHERE kind = 'generation'")
        .await;
    let images: Vec<(String,)> = studio.shared().store.rows("SELECT generation FROM images").await;
    let count = |state: &str| jobs.iter().filter(|job| job.1 == state).count() as u64;
    let total = &found.total;
    assert_eq!((total.generations, total.done, total.failed), (7, count("done"), count("failed")));
    assert_eq!((total.cancelled, total.images), (count("cancelled"), images.len() as u64));
    let mut runs: Vec<i64> =
        jobs.iter().filter(|job| job.1 == "done").map(|(.., started, ended)| ended - started).collect();
    runs.sort_unstable();
    let seconds = total.seconds.unwrap();
    let at = |rank: usize| runs[rank - 1] as f64 / 1e3;
    assert_eq!((seconds.count, seconds.p50, seconds.p95, seconds.max), (5, at(3), at(5), at(5)));
    let mut waits: Vec<i64> = jobs.iter().map(|(_, _, made, started, _)| (started - made).max(0)).collect();
    waits.sort_unstable();
    let wait = total.wait.unwrap();
    assert_eq!((wait.count, wait.p50, wait.max), (7, waits[3] as f64 / 1e3, waits[6] as f64 / 1e3));

    let of = |version: &str| found.versions.iter().find(|figures| figures.version == version).unwrap();
    let numbers = |figures: &Figures| (figures.generations, figures.done, figures.failed, figures.images);
    assert_eq!(numbers(of("adire@v1")), (3, 2, 1, 4));
    assert_eq!(numbers(of("adire@v2")), (1, 1, 0, 2));
    assert_eq!(numbers(of("adire@v1 + adire@v2")), (1, 1, 0, 2));
    assert_eq!(numbers(of("")), (2, 1, 1, 2));
    // v1, v2, v1, none, both; each for the first of two images. What failed made none.
    assert_eq!(total.switches, 5);
    let causes: BTreeMap<&str, u64> =
        found.causes.iter().map(|cause| (cause.cause.as_str(), cause.count)).collect();
    assert_eq!(causes, BTreeMap::from([("crash", 1), ("other", 1)]));
    let prompts: Vec<(&str, u64)> =
        found.prompts.iter().map(|prompt| (prompt.prompt.as_str(), prompt.count)).collect();
    assert_eq!(prompts[..2], [("blue moons", 3), ("red stars", 2)]);
    assert_eq!(found.ratings, []);
    let series = found.series.iter().fold((0, 0, 0), |(done, failed, images), point| {
        (done + point.done, failed + point.failed, images + point.images)
    });
    assert_eq!(series, (total.done, total.failed, total.images));
    let one = studio.monitoring(Period::Day, Some("adire@v1".to_owned())).await.unwrap();
    assert_eq!(numbers(&one.total), (3, 2, 1, 4));
    assert_eq!(one.versions.len(), 4, "the list has every version");
    let of_version: Vec<(String, i64)> = studio
        .shared()
        .store
        .rows(
            "SELECT MAX(spec), COUNT(*) FROM generations WHERE versions = 'adire@v1' GROUP BY prompt_key \
             ORDER BY 2 DESC, MAX(id) DESC",
        )
        .await;
    assert_eq!(one.prompts.len(), of_version.len());
    for (prompt, (spec, count)) in one.prompts.iter().zip(&of_version) {
        assert!(spec.contains(&prompt.prompt) && prompt.count == count.cast_unsigned(), "{prompt:?} {spec}");
    }
    assert_ne!(one.prompts, found.prompts);

    // Sums since the beginning are the same figures.
    let totals = studio.totals().await.unwrap();
    let sum = |name: &str, label: Option<&str>| -> i64 {
        let wanted = totals.iter().filter(|total| total.name == name);
        wanted.filter(|total| label.is_none_or(|label| total.label == label)).map(|total| total.value).sum()
    };
    assert_eq!((sum("generations", Some("done")), sum("generations", None)), (5, 7));
    assert_eq!((sum("failures", None), sum("images", None), sum("switches", None)), (2, 10, 5));
    assert_eq!((sum("run_ms", None), sum("run_le", None)), (runs.iter().sum(), 5));
    assert_eq!((sum("wait_ms", None), sum("wait_le", None)), (waits.iter().sum(), 7));
    assert!(found.uptime.share > 0.99 && found.uptime.starts == 1, "{:?}", found.uptime);
    assert!(found.memory.process.is_some(), "{:?}", found.memory);
}

#[tokio::test]
async fn ratings_are_counted_by_version() {
    let (folder, studio, _) = fresh().await;
    filled(folder.path(), &studio).await;
    let visitor = who("visitor");
    let by = By::Client(&visitor);
    let of = |generation: &str, index: i64| ImageRef {
        generation: generation.to_owned(),
        index: u32::try_from(index).unwrap(),
    };
    let store = &studio.shared().store;
    let images: Vec<(String, i64, String)> = store
        .rows(
            "SELECT images.generation, images.position, generations.versions FROM images \
             JOIN generations ON generations.id = images.generation ORDER BY 1, 2",
        )
        .await;
    let mut expected: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for (n, (generation, position, versions)) in images.iter().enumerate() {
        let thumb = [Some(Thumb::Up), Some(Thumb::Up), Some(Thumb::Down), None][n % 4];
        let starred = n % 3 == 0;
        let rating = Rating { starred, thumb };
        studio.rate(&of(generation, *position), rating, by).await.unwrap();
        let thumb = thumb.map(|thumb| if thumb == Thumb::Up { "up" } else { "down" });
        for rating in thumb.into_iter().chain(starred.then_some("star")) {
            *expected.entry((versions.clone(), rating)).or_default() += 1;
        }
    }
    let counted = |ratings: &[RatingCount]| -> BTreeMap<(String, String), u64> {
        let one = |rating: &RatingCount| ((rating.version.clone(), rating.rating.clone()), rating.count);
        ratings.iter().map(one).collect()
    };
    let expected: BTreeMap<(String, String), u64> = expected
        .into_iter()
        .map(|((version, rating), count)| ((version, rating.to_owned()), count))
        .collect();
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(counted(&report(&studio).await.ratings), expected);
    let day = studio.monitoring(Period::Day, None).await.unwrap();
    assert_eq!(counted(&day.ratings), expected);
    let one = studio.monitoring(Period::Day, Some("adire@v1".to_owned())).await.unwrap();
    let of_version = expected.iter().filter(|((version, _), _)| version == "adire@v1");
    assert_eq!(counted(&one.ratings), of_version.map(|(key, count)| (key.clone(), *count)).collect());
    assert!(!one.ratings.is_empty());
    let totals = studio.totals().await.unwrap();
    let totals: BTreeMap<(String, String), u64> = totals
        .into_iter()
        .filter(|total| total.name == "ratings")
        .map(|total| ((total.version, total.label), total.value.cast_unsigned()))
        .collect();
    assert_eq!(totals, expected);
    // Taken back, and given long ago.
    store.execute_text("UPDATE history SET rated_at = 1 WHERE rated_at IS NOT NULL").await;
    let day = studio.monitoring(Period::Day, None).await.unwrap();
    assert_eq!(day.ratings, []);
    for (generation, position, _) in &images {
        studio.rate(&of(generation, *position), Rating::default(), by).await.unwrap();
    }
    assert_eq!(report(&studio).await.ratings, []);
}

#[tokio::test]
async fn a_cancelled_generation_counts_once_and_has_no_time() {
    let (_folder, studio, _, latch) = latched().await;
    let running = submit(&studio, "one").await;
    super::until(&studio, &running.id, "started").await;
    let waiting = submit(&studio, "two").await;
    studio.cancel(&waiting.id, By::Client(&who("visitor"))).await.unwrap();
    studio.cancel(&running.id, By::Client(&who("visitor"))).await.unwrap();
    drop(latch);
    finished(&studio, &running.id).await;
    studio.cancel(&running.id, By::Client(&who("visitor"))).await.unwrap();
    let total = report(&studio).await.total;
    assert_eq!((total.generations, total.cancelled, total.images), (2, 2, 0));
    assert_eq!(total.seconds, None, "only finished ones have a time");
    assert_eq!(total.wait.map(|wait| wait.count), Some(1), "one never started");
}

#[tokio::test]
async fn figures_outlive_generations_and_prompts_do_not() {
    let (folder, studio, _) = fresh().await;
    let asked = submit(&studio, "a secret of mine").await;
    finished(&studio, &asked.id).await;
    studio.delete_generation(&asked.id, By::Client(&who("visitor"))).await.unwrap();
    let found = report(&studio).await;
    assert_eq!((found.total.done, found.total.images), (1, 1));
    assert_eq!(found.prompts, []);
    studio.shutdown().await;

    // Another start counts nothing twice.
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let again = report(&studio).await;
    assert_eq!((again.total.done, again.uptime.starts), (1, 2));
    let generations: i64 = studio
        .totals()
        .await
        .unwrap()
        .iter()
        .filter(|total| total.name == "generations")
        .map(|total| total.value)
        .sum();
    assert_eq!(generations, 1);
}

#[tokio::test]
async fn generations_from_before_there_were_figures_are_filled_in() {
    let (folder, studio, _) = fresh().await;
    filled(folder.path(), &studio).await;
    let store = &studio.shared().store;
    let rated: Vec<(String,)> =
        store.rows("SELECT generation FROM images WHERE position = 0 ORDER BY generation").await;
    let visitor = who("visitor");
    for (generation,) in rated {
        let rating = Rating { starred: true, thumb: Some(Thumb::Up) };
        studio.rate(&ImageRef { generation, index: 0 }, rating, By::Client(&visitor)).await.unwrap();
    }
    let (before, sums) = (report(&studio).await, studio.totals().await.unwrap());
    for text in [
        "UPDATE generations SET versions = NULL, prompt_key = NULL, render_ms = 0",
        "UPDATE history SET versions = ''",
        "DELETE FROM generation_stats",
        "DELETE FROM stat_totals",
    ] {
        studio.shared().store.execute_text(text).await;
    }
    studio.shared().store.fill_stats().await.unwrap();
    studio.shared().store.fill_stats().await.unwrap();
    let (after, sums_after) = (report(&studio).await, studio.totals().await.unwrap());
    assert_eq!(after.total.render_seconds, before.total.render_seconds);
    assert_eq!(after.total, before.total);
    assert_eq!(after.prompts, before.prompts);
    assert_eq!(sums_after, sums);
}

#[tokio::test]
async fn a_request_of_a_program_is_counted_like_a_visitors() {
    let (_folder, studio, _) = fresh().await;
    let asked = studio.submit(request("moons"), &nobody()).await.unwrap();
    finished(&studio, &asked.id).await;
    assert_eq!(report(&studio).await.total.generations, 1);
}

/// Long periods come from memory for the most part; every figure is that of the rows.
#[tokio::test]
async fn long_periods_have_the_figures_of_the_rows() {
    let (_folder, studio, _) = fresh().await;
    let asked = submit(&studio, "template").await;
    finished(&studio, &asked.id).await;
    let store = &studio.shared().store;
    let row = store.generation(&asked.id).await.unwrap().unwrap();
    let spec = serde_json::to_string(&row.spec().unwrap()).unwrap();
    store.fill_with_stats(3_000, crate::time::now(), &spec).await;
    let check = async |period: Period| {
        for version in [None, Some("adire@v1".to_owned())] {
            // The collector begins with the studio, and may take generations without images away meanwhile.
            loop {
                let count = "SELECT COUNT(*) FROM generations";
                let before: Vec<(i64,)> = store.rows(count).await;
                let found = studio.monitoring(period, version.clone()).await.unwrap();
                figures_are_of_the_rows(&studio, &found).await;
                let shown: Vec<u64> = found.prompts.iter().map(|prompt| prompt.count).collect();
                let counts = prompts_of_the_rows(&studio, &found).await;
                if store.rows::<(i64,)>(count).await == before {
                    assert_eq!(shown, counts, "{period:?}");
                    break;
                }
            }
        }
    };
    // The second time from memory, and in another order.
    for period in [Period::Month, Period::All, Period::Day, Period::Week, Period::All, Period::Month] {
        check(period).await;
    }
    let asked = submit(&studio, "one more").await;
    finished(&studio, &asked.id).await;
    check(Period::All).await;
}

/// Percentiles of milliseconds by their definition.
fn ranked(mut values: Vec<i64>) -> (u64, [f64; 4]) {
    values.sort_unstable();
    let rank = |share: f64| values[(share * values.len() as f64).ceil() as usize - 1] as f64 / 1e3;
    (values.len() as u64, [rank(0.5), rank(0.95), rank(0.99), rank(1.0)])
}

async fn figures_are_of_the_rows(studio: &Studio, found: &Monitoring) {
    // Outcome, cause, versions, images, switches, time, wait, the device's time, end.
    type Row = (String, String, String, i64, i64, Option<i64>, Option<i64>, i64, i64);
    let text = format!(
        "SELECT outcome, cause, versions, images, switches, run_ms, wait_ms, render_ms, ended_at \
         FROM generation_stats WHERE ended_at >= {}",
        found.since
    );
    let rows: Vec<Row> = studio.shared().store.rows(&text).await;
    let chosen: Vec<&Row> =
        rows.iter().filter(|row| found.version.as_ref().is_none_or(|version| *version == row.2)).collect();
    let period = found.period;
    let equal = |figures: &Figures, rows: &[&Row]| {
        let of = |outcome: &str| rows.iter().filter(|row| row.0 == outcome).count() as u64;
        let sum = |number: fn(&Row) -> i64| rows.iter().map(|row| number(row)).sum::<i64>().cast_unsigned();
        assert_eq!(figures.generations, rows.len() as u64, "{period:?}");
        assert_eq!(
            (figures.done, figures.failed, figures.cancelled),
            (of("done"), of("failed"), of("cancelled")),
            "{period:?}"
        );
        assert_eq!((figures.images, figures.switches), (sum(|row| row.3), sum(|row| row.4)), "{period:?}");
        let seconds = sum(|row| row.7) as f64 / 1e3;
        assert!((figures.render_seconds - seconds).abs() < 1e-6 * seconds.max(1.0), "{period:?}");
        let runs = rows.iter().filter(|row| row.0 == "done").filter_map(|row| row.5).collect();
        let waits = rows.iter().filter_map(|row| row.6).collect();
        for (percentiles, values) in [(figures.seconds, runs), (figures.wait, waits)] {
            let found = percentiles.unwrap();
            let shares = [found.p50, found.p95, found.p99, found.max];
            assert_eq!((found.count, shares), ranked(values), "{period:?} {}", figures.version);
        }
    };
    equal(&found.total, &chosen);
    for figures in &found.versions {
        equal(figures, &rows.iter().filter(|row| row.2 == figures.version).collect::<Vec<_>>());
    }
    let all: u64 = found.versions.iter().map(|figures| figures.generations).sum();
    assert_eq!((all, found.versions.len()), (rows.len() as u64, 5), "{period:?}");
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for row in chosen.iter().filter(|row| row.0 == "failed") {
        *causes.entry(&row.1).or_default() += 1;
    }
    let named = found.causes.iter().map(|cause| (cause.cause.as_str(), cause.count)).collect();
    assert_eq!(causes, named, "{period:?}");
    let p95 = |values: Vec<i64>| (!values.is_empty()).then(|| ranked(values).1[1]);
    let mut in_points = 0;
    for point in &found.series {
        let within = || chosen.iter().filter(|row| (point.at..point.at + found.step_ms).contains(&row.8));
        let count = |outcome: &str| within().filter(|row| row.0 == outcome).count() as u64;
        let images = within().map(|row| row.3).sum::<i64>().cast_unsigned();
        assert_eq!(
            (point.done, point.failed, point.cancelled, point.images),
            (count("done"), count("failed"), count("cancelled"), images),
            "{period:?} {}",
            point.at
        );
        let runs = within().filter(|row| row.0 == "done").filter_map(|row| row.5).collect();
        let waits = within().filter_map(|row| row.6).collect();
        assert_eq!((point.p95, point.wait_p95), (p95(runs), p95(waits)), "{period:?} {}", point.at);
        in_points += within().count();
    }
    assert_eq!(in_points, chosen.len(), "{period:?}: every generation is in a point");
    // Servers of one store after each other, so their spans add up.
    let spans: Vec<(i64, i64)> =
        studio.shared().store.rows("SELECT started_at, last_at FROM uptimes ORDER BY started_at").await;
    let since = found.period.ms().map_or(0, |_| found.since);
    let own = found.uptime.started_at;
    let first = spans[0].0.max(since);
    let before: i64 = spans
        .iter()
        .filter(|(started, last)| *started != own && *last >= since)
        .map(|(started, last)| last - started.max(&first))
        .sum();
    let share = (before + found.until - own.max(first)) as f64 / (found.until - first).max(1) as f64;
    assert!((found.uptime.share - share.clamp(0.0, 1.0)).abs() < 1e-3, "{:?} {share}", found.uptime);
    let starts = spans.iter().filter(|(started, _)| *started >= since).count();
    assert_eq!(found.uptime.starts as usize, starts, "{period:?}");
}

/// How often each of the most common prompts was used, by the rows.
async fn prompts_of_the_rows(studio: &Studio, found: &Monitoring) -> Vec<u64> {
    let since = found.period.ms().map_or(0, |_| found.since);
    let of = found.version.as_ref().map(|version| format!("AND generations.versions = '{version}'"));
    let text = format!(
        "SELECT generations.prompt_key FROM generations JOIN jobs ON jobs.id = generations.id \
         WHERE jobs.created_at >= {since} {}",
        of.unwrap_or_default()
    );
    let rows: Vec<(String,)> = studio.shared().store.rows(&text).await;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (key,) in rows {
        *counts.entry(key).or_default() += 1;
    }
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    counts.truncate(found.prompts.len().max(20));
    counts
}

/// Time of the page's and of `/metrics`' figures with 100,000 generations; run by hand:
/// `cargo test --release -p adire-studio a_hundred_thousand -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures time"]
async fn a_hundred_thousand_generations_are_read_quickly() {
    let (_folder, studio, _) = fresh().await;
    let store = &studio.shared().store;
    let now = crate::time::now();
    let spec = {
        let asked = submit(&studio, "template").await;
        finished(&studio, &asked.id).await;
        let row = store.generation(&asked.id).await.unwrap().unwrap();
        serde_json::to_string(&row.spec().unwrap()).unwrap()
    };
    store.fill_with_stats(100_000, now, &spec).await;
    for period in Period::ALL {
        for _ in 0..3 {
            let start = std::time::Instant::now();
            let found = studio.monitoring(period, None).await.unwrap();
            println!("{} {} generations: {:?}", period.name(), found.total.generations, start.elapsed());
        }
    }
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let totals = studio.totals().await.unwrap();
        println!("totals, {} rows: {:?}", totals.len(), start.elapsed());
    }
}
