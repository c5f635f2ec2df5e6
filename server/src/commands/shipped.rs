//! Adapters that come with a model: those that its `adire.json` lists are taken in at each start. The same file
//! again changes nothing.

use std::path::Path;

use adire_engine::Manifest;
use adire_studio::{NewAdapter, Studio};

/// Takes in every adapter that the model folder lists. One that cannot be used is logged and left out: the studio
/// works without it.
pub(crate) async fn add(studio: &Studio, model: &Path) {
    let manifest = match Manifest::read(model) {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::warn!(%error, "the adapters of the model are left out");
            return;
        }
    };
    for shipped in manifest.adapters() {
        let new = NewAdapter {
            name: shipped.name.clone(),
            version: Some(shipped.version),
            path: shipped.file.clone(),
            description: shipped.description.clone(),
            trigger: shipped.trigger.clone().unwrap_or_default(),
        };
        match studio.add_adapter(new).await {
            Ok(version) => tracing::info!(adapter = version.id(), "adapter is there"),
            Err(error) => {
                tracing::warn!(file = %shipped.file.display(), %error, "an adapter of the model is left out")
            }
        }
    }
}
