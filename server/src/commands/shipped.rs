//! Adapters that come with a model: those that its `adire.json` lists are taken in at each start. The same file
//! again changes nothing. The command line finds them there by name.

use std::path::Path;

use adire_engine::{Manifest, ManifestAdapter};
use adire_protocol::AdapterRef;
use adire_studio::{NewAdapter, Studio};
use anyhow::bail;

/// The adapter that `name` or `name@vN` stands for.
///
/// # Errors
/// The model has none of that name.
pub(crate) fn find<'a>(manifest: &'a Manifest, name: &str) -> anyhow::Result<&'a ManifestAdapter> {
    let wanted: AdapterRef = name.parse()?;
    let shipped = manifest.adapters();
    let fitting = shipped
        .iter()
        .filter(|a| a.name == wanted.name && wanted.version.is_none_or(|version| version == a.version));
    if let Some(found) = fitting.max_by_key(|adapter| adapter.version) {
        return Ok(found);
    }
    let known: Vec<_> = shipped.iter().map(|a| format!("{}@v{}", a.name, a.version)).collect();
    let known = if known.is_empty() { "no adapters".to_owned() } else { known.join(", ") };
    bail!(
        "the prompt names the adapter {name}, but this model comes with {known}; give any other file with --lora FILE"
    )
}

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
            strict: false,
        };
        match studio.add_adapter(new).await {
            Ok(version) => tracing::info!(adapter = version.id(), "adapter is there"),
            Err(error) => {
                tracing::warn!(file = %shipped.file.display(), %error, "an adapter of the model is left out")
            }
        }
    }
}
