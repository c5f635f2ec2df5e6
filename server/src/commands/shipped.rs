//! Adapters that come with a model: those that its `adire.json` lists are taken in at each start. The same file
//! again changes nothing.

use std::path::{Component, Path};

use adire_studio::{NewAdapter, Studio};
use serde::Deserialize;

/// The part of `adire.json` that concerns adapters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listing {
    trigger: String,
    adapters: Vec<Shipped>,
}

#[derive(Debug, Deserialize)]
struct Shipped {
    name: String,
    version: Option<u32>,
    file: String,
    #[serde(default)]
    description: String,
    /// The model's own when left out.
    trigger: Option<String>,
}

/// Takes in every adapter that the model folder lists. One that cannot be used is logged and left out: the studio
/// works without it.
pub(crate) async fn add(studio: &Studio, model: &Path) {
    let listing = match read(model) {
        Ok(listing) => listing,
        Err(error) => {
            tracing::warn!(%error, "the adapters in adire.json are left out");
            return;
        }
    };
    for shipped in listing.adapters {
        if !stays_inside(&shipped.file) {
            tracing::warn!(file = shipped.file, "adire.json names a file outside the model folder; left out");
            continue;
        }
        let new = NewAdapter {
            name: shipped.name,
            version: shipped.version,
            path: model.join(&shipped.file),
            description: shipped.description,
            trigger: shipped.trigger.unwrap_or_else(|| listing.trigger.clone()),
        };
        match studio.add_adapter(new).await {
            Ok(version) => tracing::info!(adapter = version.id(), "adapter is there"),
            Err(error) => tracing::warn!(file = shipped.file, %error, "an adapter of the model is left out"),
        }
    }
}

fn read(model: &Path) -> anyhow::Result<Listing> {
    match std::fs::read(model.join("adire.json")) {
        Ok(json) => Ok(serde_json::from_slice(&json)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Listing::default()),
        Err(error) => Err(error.into()),
    }
}

/// A plain path below the folder.
fn stays_inside(file: &str) -> bool {
    !file.is_empty() && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_model_folder_are_taken() {
        assert!(stays_inside("adapters/v1.safetensors"));
        for file in ["", "/etc/passwd", "../x.safetensors", "a/../../x"] {
            assert!(!stays_inside(file), "{file} was taken");
        }
    }
}
