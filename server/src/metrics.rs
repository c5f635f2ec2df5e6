//! `/metrics` in Prometheus' text format. Counters are sums of the database, so they outlive restarts and deletions.

use std::{collections::BTreeMap, fmt};

use adire_protocol::{Memory, QueueStatus};
use adire_studio::{BUCKETS_MS, Studio, Total};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, prometheus_text},
    metrics::MetricType,
    registry::Registry,
};

use crate::{
    admin::{guard, session},
    error::{Problem, ProblemKind},
    state::AppState,
};

/// Most versions that are labels; generations of the others are counted under `other`.
const MAX_VERSIONS: usize = 100;

/// The metrics, for authorised readers.
pub(crate) async fn metrics(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    // Taken out first: a request cannot be looked at by two threads.
    let token = session::token(&state.auth, request.headers());
    let scraper = is_scraper(&state, &request);
    if !scraper && !state.auth.caller(token).await.map_err(Problem::internal)?.is_known {
        return Ok(refused());
    }
    answer(&state).await
}

/// The same under `/admin`, where browsers send the session's cookie. The guard lets nobody else in.
pub(crate) async fn for_admin(State(state): State<AppState>) -> Result<Response, Problem> {
    answer(&state).await
}

async fn answer(state: &AppState) -> Result<Response, Problem> {
    let text = text(&state.studio).await?;
    let kind = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
    let headers =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, text).into_response())
}

/// Whether a request may read them without a session: with the token, or from this machine where that is allowed.
fn is_scraper(state: &AppState, request: &Request) -> bool {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let has_token = bearer.is_some_and(|token| state.access.is_metrics_token(token));
    has_token || (state.access.open_metrics() && guard::is_this_machine(request))
}

fn refused() -> Response {
    let sentence = "Metrics need an admin's session, the token of ADIRE_METRICS_TOKEN (Authorization: Bearer …), or a \
                    server that was started with --metrics and is asked from its own machine.";
    let mut response = Problem::new(ProblemKind::SignedOut, sentence).into_response();
    debug_assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn text(studio: &Studio) -> Result<String, Problem> {
    let model = studio.model();
    let scrape = Scrape {
        totals: limited(studio.totals().await?),
        queue: studio.queue(),
        memory: studio.memory(),
        started_at: studio.started_at(),
        build: [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model", model.name.clone()),
            ("device", model.device.clone()),
            ("dtype", model.dtype.clone()),
        ],
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).map_err(Problem::internal)?;
    Ok(text)
}

/// The same sums with few enough versions for labels: those with most generations, and `other`.
fn limited(totals: Vec<Total>) -> Vec<Total> {
    let mut generations: BTreeMap<&str, i64> = BTreeMap::new();
    for total in totals.iter().filter(|total| total.name == "generations") {
        *generations.entry(&total.version).or_default() += total.value;
    }
    if generations.len() <= MAX_VERSIONS {
        return totals;
    }
    let mut versions: Vec<(&str, i64)> = generations.into_iter().collect();
    versions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kept: Vec<String> =
        versions.into_iter().take(MAX_VERSIONS).map(|(version, _)| version.to_owned()).collect();
    let mut sums: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    for Total { version, name, label, value } in totals {
        let version = if kept.contains(&version) { version } else { "other".to_owned() };
        *sums.entry((version, name, label)).or_default() += value;
    }
    sums.into_iter().map(|((version, name, label), value)| Total { version, name, label, value }).collect()
}

/// What one answer is made of.
#[derive(Debug)]
struct Scrape {
    totals: Vec<Total>,
    queue: QueueStatus,
    memory: Memory,
    started_at: i64,
    build: [(&'static str, String); 4],
}

/// Labels of a sum: the version, and one more where there is one.
type Labels = Vec<(&'static str, String)>;

impl Scrape {
    fn sums(&self, name: &str) -> impl Iterator<Item = &Total> {
        self.totals.iter().filter(move |total| total.name == name)
    }

    fn labels(total: &Total, label: Option<&'static str>) -> Labels {
        let version = if total.version.is_empty() { "none".to_owned() } else { total.version.clone() };
        let mut labels = vec![("version", version)];
        labels.extend(label.map(|label| (label, total.label.clone())));
        labels
    }

    /// Sums of a name as counters; `scale` divides them.
    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, sum): (&str, &str, &str),
        label: Option<&'static str>,
        scale: f64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for total in self.sums(sum) {
            let labels = Self::labels(total, label);
            let value = total.value as f64 / scale;
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }

    /// Milliseconds of a name (`run`, `wait`) as histograms in seconds.
    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, measure): (&str, &str, &str),
    ) -> fmt::Result {
        let (sum, le) = (format!("{measure}_ms"), format!("{measure}_le"));
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for total in self.sums(&sum) {
            let counts: BTreeMap<&str, i64> = self
                .sums(&le)
                .filter(|bucket| bucket.version == total.version)
                .map(|bucket| (bucket.label.as_str(), bucket.value))
                .collect();
            let count = |label: &str| counts.get(label).copied().unwrap_or_default().cast_unsigned();
            let bounds = BUCKETS_MS.iter().map(|ms| (*ms as f64 / 1e3, count(&ms.to_string())));
            let buckets: Vec<(f64, u64)> = bounds.chain([(f64::INFINITY, count("inf"))]).collect();
            let all = buckets.iter().map(|(_, count)| count).sum();
            family.encode_family(&Self::labels(total, None))?.encode_histogram::<NoLabelSet>(
                total.value as f64 / 1e3,
                all,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    /// Values with one label.
    fn gauges<const N: usize>(
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        label: &'static str,
        values: [(&'static str, Option<f64>); N],
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (state, value) in values {
            if let Some(value) = value {
                family.encode_family(&[(label, state)])?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn gauge(
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: Option<f64>,
    ) -> fmt::Result {
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| gauge.encode_gauge(&value))
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        let generations = ("adire_generations", "Generations that ended, by outcome", "generations");
        self.counter(to, generations, Some("outcome"), 1.0)?;
        let failures = ("adire_generation_failures", "Generations that failed, by cause", "failures");
        self.counter(to, failures, Some("cause"), 1.0)?;
        self.counter(to, ("adire_images", "Images made", "images"), None, 1.0)?;
        let switches = (
            "adire_adapter_switches",
            "Images that other adapters had to be put into effect for",
            "switches",
        );
        self.counter(to, switches, None, 1.0)?;
        let rendering = ("adire_render_seconds", "Seconds of the device for images", "render_ms");
        self.counter(to, rendering, None, 1e3)?;
        let run = ("adire_generation_seconds", "Seconds from start to end of finished generations", "run");
        self.histogram(to, run)?;
        let wait = ("adire_generation_wait_seconds", "Seconds from submission to start", "wait");
        self.histogram(to, wait)?;

        let help = "Images with a rating now";
        let mut ratings = to.encode_descriptor("adire_ratings", help, None, MetricType::Gauge)?;
        for total in self.sums("ratings") {
            let value = total.value as f64;
            ratings.encode_family(&Self::labels(total, Some("rating")))?.encode_gauge(&value)?;
        }

        let queue = &self.queue;
        let length = ("adire_queue_length", "Generations queued or running");
        Self::gauge(to, length, Some(f64::from(queue.ahead)))?;
        let capacity = ("adire_queue_capacity", "Generations that may be queued");
        Self::gauge(to, capacity, Some(f64::from(queue.capacity)))?;
        let expected = ("adire_queue_expected_wait_seconds", "Expected wait of a new generation");
        Self::gauge(to, expected, queue.wait_ms.map(|ms| ms as f64 / 1e3))?;

        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        let Memory { process, host_total, host_available, device_total, device_free } = self.memory;
        let resident = ("process_resident_memory_bytes", "Resident memory of this process");
        Self::gauge(to, resident, bytes(process))?;
        let host = ("adire_host_memory_bytes", "Memory of the machine");
        let states = [("total", bytes(host_total)), ("available", bytes(host_available))];
        Self::gauges(to, host, "state", states)?;
        let device = ("adire_device_memory_bytes", "Memory of the GPU");
        let states = [("total", bytes(device_total)), ("free", bytes(device_free))];
        Self::gauges(to, device, "state", states)?;
        let started = ("process_start_time_seconds", "Start of this process, in seconds since 1970");
        Self::gauge(to, started, Some(self.started_at as f64 / 1e3))?;
        let help = "Version, model and device of this server";
        let mut build = to.encode_descriptor("adire_build_info", help, None, MetricType::Gauge)?;
        build.encode_family(&self.build.to_vec())?.encode_gauge(&1.0_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_versions_are_taken_together() {
        let total = |version: usize, name: &str, value| Total {
            version: format!("a@v{version}"),
            name: name.to_owned(),
            label: "done".to_owned(),
            value,
        };
        let totals: Vec<Total> = (1..=150)
            .flat_map(|version| [total(version, "generations", version as i64), total(version, "images", 1)])
            .collect();
        let few = limited(totals.clone());
        let sum = |totals: &[Total], name: &str| -> i64 {
            totals.iter().filter(|total| total.name == name).map(|total| total.value).sum()
        };
        for name in ["generations", "images"] {
            assert_eq!(sum(&few, name), sum(&totals, name), "{name}");
            assert_eq!(few.iter().filter(|total| total.name == name).count(), MAX_VERSIONS + 1);
        }
        let other = few.iter().find(|total| total.version == "other" && total.name == "images").unwrap();
        assert_eq!(other.value, 50);
        assert_eq!(limited(totals[..10].to_vec()), totals[..10]);
    }
}
