//! Registered versions with a LoRA file become versions here, under the aliases that they have there.

use std::collections::BTreeMap;

use adire_protocol::{ListedVersion, PRODUCTION};
use adire_studio::{Mover, NewAdapter, StudioError};
use serde_json::{Value, json};

use super::{Imported, Importer, array, own, text};
use crate::{mlflow::client::Failure, scratch};

impl Importer<'_> {
    /// Takes over every registered model.
    pub(super) fn models(&self, imported: &mut Imported, report: &mut dyn FnMut(&str)) -> Result<(), String> {
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
        let no_file = |error| format!("No file can be written in {}: {error}.", self.data.display());
        let file = scratch::adapter(self.data).map_err(no_file)?;
        self.again(|| {
            let mut to = std::fs::File::create(file.path())
                .map_err(|error| Failure::Refused("FILE".to_owned(), no_file(error)))?;
            self.client.download(&run, &path, &mut to).map(drop)
        })?;
        let name = plain_name(model);
        let is_free =
            !known.iter().any(|listed| listed.version.name == name && listed.version.version == number);
        let new = NewAdapter {
            name,
            version: is_free.then_some(number),
            path: file.path().to_owned(),
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
            Err(error) => Ok(Err(error.to_string().replace(&file.path().display().to_string(), &path))),
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

#[cfg(test)]
mod tests {
    use super::plain_name;

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
}
