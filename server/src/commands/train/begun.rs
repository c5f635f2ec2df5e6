//! Inputs of a training run, stored beside its checkpoint, so that resuming can report what differs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use adire_engine::{file_hash, write_whole};
use adire_protocol::{ModelInfo, TrainingConfig};
use adire_studio::Dataset;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// File name in the run's folder.
const FILE: &str = "run.json";

/// Maximum number of differences listed.
const MAX_NAMED: usize = 8;

/// Inputs that the result depends on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Settings and other single values, by name.
    settings: Map<String, Value>,
    /// Images to train on, by name.
    images: BTreeMap<String, Image>,
    class_images: BTreeMap<String, Image>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Image {
    /// sha256 of the file.
    hash: String,
    caption: String,
    repeats: u32,
}

impl Begun {
    /// # Errors
    /// An image cannot be read.
    pub(super) fn new(
        config: &TrainingConfig,
        model: &ModelInfo,
        others: &[(&str, &str)],
        dataset: &Dataset,
        classes: &Dataset,
    ) -> anyhow::Result<Self> {
        let mut settings = match serde_json::to_value(config)? {
            Value::Object(settings) => settings,
            _ => Map::new(),
        };
        let vae = model.vae.as_ref().map_or("the model's own", |vae| vae.hash.as_str());
        for (name, value) in others.iter().copied().chain([
            ("model", model.hash.as_str()),
            ("vae", vae),
            ("dtype", model.dtype.as_str()),
        ]) {
            settings.insert(name.to_owned(), value.into());
        }
        Ok(Self { settings, images: images(dataset)?, class_images: images(classes)? })
    }

    /// Stores them in the folder of a new run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self)?;
        write_whole(&path, |part| fs::write(part, text))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Refuses to resume the run in `folder` with other inputs. Runs of earlier versions have no such file.
    ///
    /// # Errors
    /// One sentence listing the differences.
    pub(super) fn check(&self, folder: &Path) -> anyhow::Result<()> {
        let path: PathBuf = folder.join(FILE);
        let Some(before) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
        else {
            return Ok(());
        };
        let mut before = before;
        // The setting's name up to version 0.1.
        if let Some(count) = before.settings.remove("class_pictures") {
            before.settings.insert("class_images".to_owned(), count);
        }
        let mut found = self.differences(&before);
        if found.is_empty() {
            return Ok(());
        }
        let more = found.len().saturating_sub(MAX_NAMED);
        found.truncate(MAX_NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        bail!(
            "{} holds a run with other settings or images. {}{more}. Run the same command as before, or choose another \
             folder with --out",
            folder.display(),
            found.join("; ")
        )
    }

    fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let absent = Value::Null;
        let names: std::collections::BTreeSet<&String> =
            self.settings.keys().chain(before.settings.keys()).collect();
        for name in names {
            let value = |settings: &Map<String, Value>| settings.get(name).unwrap_or(&absent).clone();
            let (then, now) = (value(&before.settings), value(&self.settings));
            if then != now {
                found.push(format!("{name}: {then} then, {now} now"));
            }
        }
        for (what, then, now) in [
            ("image", &before.images, &self.images),
            ("class image", &before.class_images, &self.class_images),
        ] {
            for (name, image) in now {
                match then.get(name) {
                    None => found.push(format!("{what} {name} is new")),
                    Some(then) if then.hash != image.hash => {
                        found.push(format!("{what} {name} has changed"));
                    }
                    Some(then) if then.caption != image.caption => {
                        found.push(format!(
                            "caption of {name}: {:?} then, {:?} now",
                            then.caption, image.caption
                        ));
                    }
                    Some(then) if then.repeats != image.repeats => {
                        found.push(format!("repeats of {name}: {} then, {} now", then.repeats, image.repeats))
                    }
                    Some(_) => {}
                }
            }
            let gone = then.keys().filter(|name| !now.contains_key(*name));
            found.extend(gone.map(|name| format!("{what} {name} is missing")));
        }
        found
    }
}

fn images(dataset: &Dataset) -> anyhow::Result<BTreeMap<String, Image>> {
    let entry = |image: &adire_studio::DatasetImage| {
        let hash = file_hash(&image.path)?;
        let entry = Image { hash, caption: image.caption.clone(), repeats: image.repeats };
        anyhow::Ok((image.name.clone(), entry))
    };
    dataset.images.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(steps: u32, images: &[(&str, &str, &str)]) -> Begun {
        let image = |(name, hash, caption): &(&str, &str, &str)| {
            let image = Image { hash: (*hash).to_owned(), caption: (*caption).to_owned(), repeats: 1 };
            ((*name).to_owned(), image)
        };
        let settings = Map::from_iter([("steps".to_owned(), steps.into()), ("rank".to_owned(), 4.into())]);
        Begun { settings, images: images.iter().map(image).collect(), class_images: BTreeMap::new() }
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let folder = tempfile::tempdir().unwrap();
        let images = [("a.png", "1", "red"), ("b.png", "2", "blue"), ("c.png", "3", "")];
        begun(10, &images).check(folder.path()).unwrap();
        begun(10, &images).keep(folder.path()).unwrap();
        begun(10, &images).check(folder.path()).unwrap();
        let changed = [("a.png", "9", "red"), ("b.png", "2", "green"), ("d.png", "4", "")];
        let error = begun(20, &changed).check(folder.path()).unwrap_err().to_string();
        for expected in [
            "steps: 10 then, 20 now",
            "image a.png has changed",
            "caption of b.png: \"blue\" then, \"green\" now",
            "image d.png is new",
            "image c.png is missing",
            "--out",
        ] {
            assert!(error.contains(expected), "{expected:?} is not in {error}");
        }
        assert!(!error.contains("rank"), "{error}");
    }
}
