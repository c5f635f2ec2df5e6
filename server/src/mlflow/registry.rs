//! What MLflow receives about versions and their aliases.

use adire_protocol::TrainingRun;
use adire_studio::StudioError;
use serde_json::{Value, json};

use super::{
    client::{Failure, nonsense},
    mirror::{Mirror, own},
};

impl Mirror {
    /// Sends a version's file.
    pub(super) fn adapter(&self, root: &str, version: &str) -> Result<(), Failure> {
        let publication = match self.handle.block_on(self.studio.publication(version)) {
            Ok(publication) => publication,
            // One that was deleted meanwhile is left out.
            Err(StudioError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(own(error)),
        };
        let bytes = std::fs::read(&publication.file).map_err(|error| Failure::Away(error.to_string()))?;
        let name = format!("adapter/{}.safetensors", version.replace('@', "-"));
        self.client.artifact(root, &name, &bytes)
    }

    /// Registers a version, with the run that made it or with one of its own.
    pub(super) fn version(&self, experiment: &str, id: &str, runs: &[TrainingRun]) -> Result<(), Failure> {
        let mut sent = self.sent("version", id)?;
        if !sent.version.is_empty() {
            return Ok(());
        }
        let publication = self.handle.block_on(self.studio.publication(id)).map_err(own)?;
        let version = &publication.version;
        match runs.iter().find(|run| run.version.as_deref() == Some(id)) {
            Some(run) => {
                let made = self.sent("training", &run.id)?;
                if made.status != "FINISHED" {
                    // The version comes after its run.
                    return Ok(());
                }
                (sent.run, sent.root) = (made.run, made.root);
            }
            None => {
                self.run(experiment, ("version", id), (id, version.created_at), &mut sent)?;
                self.adapter(&sent.root, id)?;
                self.status(&sent.run, "FINISHED", Some(version.created_at))?;
            }
        }
        let name = &version.name;
        self.client.ensure("registered-models/create", &json!({ "name": name }))?;
        let filter = format!("run_id = '{}'", sent.run);
        let known = self.client.get("mlflow/model-versions/search", &[("filter", &filter)])?;
        let known = known["model_versions"].as_array().cloned().unwrap_or_default();
        let number = |version: &Value| version["version"].as_str().map(str::to_owned);
        let known = known.iter().find(|known| known["name"] == **name).and_then(number);
        sent.version = match known {
            Some(known) => known,
            None => {
                let made = self.client.post(
                    "model-versions/create",
                    &json!({
                        "name": name, "source": format!("{}/adapter", sent.root), "run_id": sent.run,
                        "description": version.description,
                        "tags": [{ "key": "adire.version", "value": id }, { "key": "adire.sha256", "value": version.hash }],
                    }),
                )?;
                number(&made["model_version"]).ok_or_else(nonsense)?
            }
        };
        self.save_sent("version", id, &sent)
    }

    /// Moves of aliases, in the ledger's order. `known`: versions that are not deleted.
    pub(super) fn moves(&self, name: &str, known: &[String]) -> Result<(), Failure> {
        let mut sent = self.sent("ledger", name)?;
        let ledger = self.handle.block_on(self.studio.ledger(name)).map_err(own)?;
        let last = sent.number;
        for entry in ledger.entries.iter().filter(|entry| entry.made.number > last) {
            let made = &entry.made;
            if let Some(alias) = &made.alias {
                match made.to_version {
                    Some(version) => {
                        let id = format!("{name}@v{version}");
                        let number = self.sent("version", &id)?.version;
                        if number.is_empty() && known.contains(&id) {
                            // It is refused for now; moves wait for it, as their order counts.
                            return Ok(());
                        }
                        if !number.is_empty() {
                            let body = json!({ "name": name, "alias": alias, "version": number });
                            self.client.post("registered-models/alias", &body)?;
                        }
                    }
                    None => {
                        let body = json!({ "name": name, "alias": alias });
                        match self.client.delete("registered-models/alias", &body) {
                            Err(Failure::Refused(..)) | Ok(_) => {}
                            Err(away) => return Err(away),
                        }
                    }
                }
            }
            sent.number = made.number;
            self.save_sent("ledger", name, &sent)?;
        }
        Ok(())
    }
}
