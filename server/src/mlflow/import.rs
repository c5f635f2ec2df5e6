//! Takes runs and registered versions of an MLflow server over. Again, it takes over what is new.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use adire_protocol::{ImportedRun, ListedVersion, MetricPoint};
use adire_studio::{Mover, NewAdapter, Studio, StudioError};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::client::{Client, Failure, nonsense};

/// Entries of a page.
const PAGE: u32 = 500;
/// Waits between tries, in seconds.
const WAITS: [u64; 4] = [1, 3, 10, 30];
/// The alias that the gate guards: it is never set from outside.
const PRODUCTION: &str = "production";

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
    /// Divides the waits between tries; 1 but in tests.
    hurry: u32,
}

impl<'a> Importer<'a> {
    /// `handle`: of the runtime that the studio runs on.
    pub(crate) fn new(studio: &'a Studio, client: &'a Client, handle: Handle, hurry: u32) -> Self {
        Self { studio, client, handle, hurry }
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

    fn models(&self, imported: &mut Imported, report: &mut dyn FnMut(&str)) -> Result<(), String> {
        let list = json!({ "max_results": 200 });
        let models = self.pages("registered-models/search", "registered_models", &list, true)?;
        for model in models.iter().filter_map(|model| text(model, "name")) {
            let filter =
                json!({ "filter": format!("name = '{}'", model.replace('\'', "")), "max_results": 200 });
            let mut versions = self.pages("model-versions/search", "model_versions", &filter, true)?;
            let number =
                |version: &Value| text(version, "version").and_then(|number| number.parse::<u32>().ok());
            versions.sort_by_key(number);
            for version in &versions {
                let Some(number) = number(version) else { continue };
                let shown = format!("{model} {number}");
                match self.version(&model, number, version)? {
                    Ok((_, false)) => imported.same_versions += 1,
                    Ok((id, true)) => {
                        report(&format!("{shown} is {id}"));
                        imported.versions.push((shown, id));
                    }
                    Err(why) => {
                        let sentence = format!("{shown} is left out: {why}");
                        report(&sentence);
                        imported.left_out.push(sentence);
                    }
                }
            }
            self.aliases(&model, imported, report)?;
        }
        Ok(())
    }

    /// A registered version: what it is here and whether that is new, or why it is left out.
    fn version(
        &self,
        model: &str,
        number: u32,
        found: &Value,
    ) -> Result<Result<(String, bool), String>, String> {
        let (source, shown_number) = (self.client.shown(), number.to_string());
        let of = (source.as_str(), model, shown_number.as_str());
        let known = self.handle.block_on(self.studio.versions()).map_err(own)?;
        let exists = |id: &str| known.iter().any(|listed| listed.version.id() == id);
        if let Some(id) = self.handle.block_on(self.studio.imported_version(of)).map_err(own)?
            && exists(&id)
        {
            return Ok(Ok((id, false)));
        }
        let tags: BTreeMap<String, String> =
            array(&found["tags"]).filter_map(|tag| Some((text(tag, "key")?, text(tag, "value")?))).collect();
        let is_ours = |listed: &&ListedVersion| {
            tags.get("adire.version") == Some(&listed.version.id())
                && tags.get("adire.sha256") == Some(&listed.version.hash)
        };
        if let Some(listed) = known.iter().find(is_ours) {
            return Ok(Ok((listed.version.id(), false)));
        }
        let run = text(found, "run_id").unwrap_or_default();
        let path = match self.adapter_file(&run, &text(found, "source").unwrap_or_default())? {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        let file = TemporaryFile::new();
        self.again(|| {
            let mut to = std::fs::File::create(&file.0).map_err(|error| {
                Failure::Refused("FILE".to_owned(), format!("No temporary file: {error}."))
            })?;
            self.client.download(&run, &path, &mut to).map(drop)
        })?;
        let name = plain_name(model);
        let is_free =
            !known.iter().any(|listed| listed.version.name == name && listed.version.version == number);
        let new = NewAdapter {
            name,
            version: is_free.then_some(number),
            path: file.0.clone(),
            description: text(found, "description").unwrap_or_default(),
            trigger: tags.get("trigger").or_else(|| tags.get("trigger_word")).cloned().unwrap_or_default(),
            strict: false,
        };
        match self.handle.block_on(self.studio.add_adapter(new)) {
            Ok(version) => {
                let id = version.id();
                let is_new = !exists(&id);
                self.handle.block_on(self.studio.keep_imported_version(of, &run, &id)).map_err(own)?;
                Ok(Ok((id, is_new)))
            }
            Err(StudioError::Storage(error)) => Err(error),
            // Its sentence names the temporary file.
            Err(error) => Ok(Err(error.to_string().replace(&file.0.display().to_string(), &path))),
        }
    }

    /// The path of a version's LoRA file below its run's artifacts, or why there is none.
    fn adapter_file(&self, run: &str, source: &str) -> Result<Result<String, String>, String> {
        if run.is_empty() {
            return Ok(Err("It was registered without a run, so its files cannot be found.".to_owned()));
        }
        // `runs:/RUN/path`, or an artifact URI that ends with the path below the run's own.
        let below = source.split_once("/artifacts/").map(|(_, path)| path);
        let below = below.or_else(|| source.strip_prefix(&format!("runs:/{run}/"))).unwrap_or_default();
        let mut files = Vec::new();
        let mut folders = vec![below.trim_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            if folder.ends_with(".safetensors") {
                files.push(folder);
                continue;
            }
            let query = json!({ "run_id": run, "path": folder });
            for entry in self.pages("artifacts/list", "files", &query, true)? {
                let Some(path) = text(&entry, "path") else { continue };
                if entry["is_dir"] == true {
                    // Samples are images.
                    if files.len() < 100
                        && path.matches('/').count() < 8
                        && !path.ends_with("/images")
                        && path != "images"
                    {
                        folders.push(path);
                    }
                } else if path.ends_with(".safetensors") {
                    files.push(path);
                }
            }
        }
        // As diffusers chooses: the file of that name, else the only one.
        let named = files.iter().find(|path| path.ends_with("pytorch_lora_weights.safetensors"));
        Ok(match (named, files.as_slice()) {
            (Some(named), _) => Ok(named.clone()),
            (None, [only]) => Ok(only.clone()),
            (None, []) => {
                Err("It has no .safetensors file; other formats can run code and are not read.".to_owned())
            }
            (None, several) => Err(format!(
                "It has {} .safetensors files and none is named pytorch_lora_weights.safetensors.",
                several.len()
            )),
        })
    }

    /// Aliases that do not exist here; those that do are this studio's decision.
    fn aliases(
        &self,
        model: &str,
        imported: &mut Imported,
        report: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let found = self.again(|| self.client.get("mlflow/registered-models/get", &[("name", model)]))?;
        let source = self.client.shown();
        for alias in array(&found["registered_model"]["aliases"]) {
            let (Some(alias), Some(number)) = (text(alias, "alias"), text(alias, "version")) else {
                continue;
            };
            let of = (source.as_str(), model, number.as_str());
            let Some(id) = self.handle.block_on(self.studio.imported_version(of)).map_err(own)? else {
                continue;
            };
            let known = self.handle.block_on(self.studio.versions()).map_err(own)?;
            let name = id.split('@').next().unwrap_or_default();
            let is_taken = |listed: &ListedVersion| {
                listed.version.name == name && listed.version.aliases.contains(&alias)
            };
            if known.iter().any(is_taken) {
                continue;
            }
            if alias == PRODUCTION {
                report(&format!("{id} is in production there. Promote it here once it is evaluated."));
                continue;
            }
            let reason = format!("as at {source}");
            match self.handle.block_on(self.studio.set_alias(&id, &alias, &reason, Mover::CommandLine)) {
                Ok(_) => report(&format!("{name}@{alias} is {id}")),
                Err(StudioError::Storage(error)) => return Err(error),
                Err(error) => {
                    imported.left_out.push(format!("The alias {alias} of {model} is left out: {error}"))
                }
            }
        }
        Ok(())
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

/// A model's name as adapters are named: lower-case letters, digits, “-”, “_” and “.”.
fn plain_name(model: &str) -> String {
    let plain: String = model
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .take(64)
        .collect();
    let plain = plain.trim_matches(['-', '.', '_']);
    if plain.is_empty() { "imported".to_owned() } else { plain.to_owned() }
}

/// A file that goes with its value.
struct TemporaryFile(std::path::PathBuf);

impl TemporaryFile {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("adire-{}.safetensors", uuid::Uuid::new_v4())))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A leftover file in the temporary folder does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_become_names_of_adapters() {
        for (model, name) in [
            ("cloth", "cloth"),
            ("Adire LoRA", "adire-lora"),
            ("a/b", "a-b"),
            ("!!", "imported"),
            ("é", "imported"),
        ] {
            assert_eq!(plain_name(model), name);
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let value = |value: Value| point(&json!({ "value": value, "timestamp": 5, "step": 2 }));
        assert_eq!(value(json!(0.5)), Some(MetricPoint { step: 2, at: 5, value: 0.5 }));
        assert_eq!((value(json!("NaN")), value(json!("Infinity"))), (None, None));
    }
}
