//! Takes runs and registered versions of an MLflow server over. Again, it takes over what is new.

mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread,
    time::Duration,
};

use adire_protocol::{ImportedRun, MetricPoint};
use adire_studio::{Studio, StudioError};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::client::{Client, Failure, nonsense};

/// Entries of a page.
const PAGE: u32 = 500;
/// Waits between tries, in seconds.
const WAITS: [u64; 4] = [1, 3, 10, 30];
/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Runs that were new, or of which something was.
    pub(crate) runs: u32,
    /// Runs of which nothing was new.
    pub(crate) same_runs: u32,
    /// Runs that this studio sent there itself.
    pub(crate) own_runs: u32,
    /// Registered versions that became versions here, `model N` and `name@vN`.
    pub(crate) versions: Vec<(String, String)>,
    /// Registered versions that had been taken over before, or came from here.
    pub(crate) same_versions: u32,
    /// Why others were left out, a sentence each.
    pub(crate) left_out: Vec<String>,
}

pub(crate) struct Importer<'a> {
    studio: &'a Studio,
    client: &'a Client,
    handle: Handle,
    /// Data folder, for files on their way.
    data: &'a Path,
    /// Divides the waits between tries; 1 but in tests.
    hurry: u32,
}

impl<'a> Importer<'a> {
    /// `handle`: of the runtime that the studio runs on. `data`: its data folder.
    pub(crate) fn new(
        studio: &'a Studio,
        client: &'a Client,
        handle: Handle,
        data: &'a Path,
        hurry: u32,
    ) -> Self {
        Self { studio, client, handle, data, hurry }
    }

    /// Takes everything over. `experiments`: only the runs of these; all without any.
    ///
    /// # Errors
    /// The server cannot be reached or is none; the store cannot be written. What was taken over until then stays.
    pub(crate) fn import(
        &self,
        experiments: &[String],
        report: &mut dyn FnMut(&str),
    ) -> Result<Imported, String> {
        let mut imported = Imported::default();
        let list = json!({ "max_results": PAGE, "view_type": "ACTIVE_ONLY" });
        let known = self.pages("experiments/search", "experiments", &list, false)?;
        let names: BTreeMap<String, String> = known
            .iter()
            .filter_map(|found| Some((text(found, "experiment_id")?, text(found, "name")?)))
            .collect();
        if let Some(missing) = experiments.iter().find(|name| !names.values().any(|known| known == *name)) {
            let names: Vec<&str> = names.values().map(String::as_str).take(20).collect();
            return Err(format!(
                "MLflow at {} has no experiment {missing}; it has {}.",
                self.client.shown(),
                names.join(", ")
            ));
        }
        for (id, name) in &names {
            if experiments.is_empty() || experiments.contains(name) {
                self.runs(id, name, &mut imported, report)?;
            }
        }
        self.models(&mut imported, report)?;
        Ok(imported)
    }

    fn runs(
        &self,
        experiment: &str,
        name: &str,
        imported: &mut Imported,
        report: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let body = json!({ "experiment_ids": [experiment], "max_results": PAGE, "order_by": ["attributes.start_time"] });
        for found in self.pages("runs/search", "runs", &body, false)? {
            let run = self.run(&found, name).ok_or_else(|| sentence(nonsense()))?;
            if self.is_own(&run)? {
                imported.own_runs += 1;
                continue;
            }
            let mut metrics = BTreeMap::new();
            let names: BTreeSet<String> =
                array(&found["data"]["metrics"]).filter_map(|metric| text(metric, "key")).collect();
            for metric in names {
                let query = json!({ "run_id": run.id, "metric_key": metric, "max_results": 25_000 });
                let points = self.pages("metrics/get-history", "metrics", &query, true)?;
                metrics.insert(metric, points.iter().filter_map(point).collect());
            }
            if self.handle.block_on(self.studio.keep_imported_run(&run, &metrics)).map_err(own)? {
                imported.runs += 1;
                let points: usize = metrics.values().map(Vec::len).sum();
                let shown = if run.name.is_empty() { &run.id } else { &run.name };
                report(&format!(
                    "Run {shown} of {name}: {} params, {points} metric values",
                    run.params.len()
                ));
            } else {
                imported.same_runs += 1;
            }
        }
        Ok(())
    }

    fn run(&self, found: &Value, experiment: &str) -> Option<ImportedRun> {
        let (info, data) = (&found["info"], &found["data"]);
        let pairs = |list: &Value| -> BTreeMap<String, String> {
            array(list).filter_map(|pair| Some((text(pair, "key")?, text(pair, "value")?))).collect()
        };
        Some(ImportedRun {
            id: text(info, "run_id")?,
            source: self.client.shown(),
            experiment: experiment.to_owned(),
            name: text(info, "run_name").unwrap_or_default(),
            status: text(info, "status").unwrap_or_default(),
            started_at: info["start_time"].as_i64().unwrap_or_default(),
            finished_at: info["end_time"].as_i64().filter(|end| *end > 0),
            params: pairs(&data["params"]),
            tags: pairs(&data["tags"]),
        })
    }

    /// Whether a run is one of this studio's, which has it already.
    fn is_own(&self, run: &ImportedRun) -> Result<bool, String> {
        let Some(id) = run.tags.get("adire.id") else { return Ok(false) };
        let found = match run.tags.get("adire.kind").map(String::as_str) {
            Some("training") => self.handle.block_on(self.studio.training(id)).map(drop),
            Some("evaluation") => self.handle.block_on(self.studio.evaluation(id)).map(drop),
            Some("version") => self.handle.block_on(self.studio.publication(id)).map(drop),
            _ => return Ok(false),
        };
        match found {
            Ok(()) => Ok(true),
            Err(StudioError::Storage(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn pages(&self, path: &str, name: &str, body: &Value, is_get: bool) -> Result<Vec<Value>, String> {
        self.again(|| self.client.pages(path, name, body, is_get))
    }

    /// Tries again while the server may come back.
    fn again<T>(&self, ask: impl Fn() -> Result<T, Failure>) -> Result<T, String> {
        let mut waits = WAITS.iter();
        loop {
            match ask() {
                Ok(found) => return Ok(found),
                Err(Failure::Away(sentence)) => match waits.next() {
                    Some(wait) => thread::sleep(Duration::from_secs(*wait) / self.hurry),
                    None => return Err(sentence),
                },
                Err(Failure::Refused(_, sentence)) => return Err(sentence),
            }
        }
    }
}

fn own(error: StudioError) -> String {
    error.to_string()
}

fn sentence(failure: Failure) -> String {
    match failure {
        Failure::Away(sentence) | Failure::Refused(_, sentence) => sentence,
    }
}

fn array(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(object: &Value, name: &str) -> Option<String> {
    object[name].as_str().map(str::to_owned)
}

/// Values that are not finite come as text, and are left out.
fn point(metric: &Value) -> Option<MetricPoint> {
    let value = metric["value"].as_f64().filter(|value| value.is_finite())?;
    Some(MetricPoint {
        step: metric["step"].as_i64().unwrap_or_default(),
        at: metric["timestamp"].as_i64()?,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let value = |value: Value| point(&json!({ "value": value, "timestamp": 5, "step": 2 }));
        assert_eq!(value(json!(0.5)), Some(MetricPoint { step: 2, at: 5, value: 0.5 }));
        assert_eq!((value(json!("NaN")), value(json!("Infinity"))), (None, None));
    }
}
