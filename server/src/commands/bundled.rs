//! Adapters bundled with a model: those in its `adire.json` are added at each startup (adding the same file again
//! changes nothing), and the command line finds them by name.

use std::path::Path;

use adire_engine::{Manifest, ManifestAdapter};
use adire_protocol::{AdapterRef, Which};
use adire_studio::{NewAdapter, Studio};
use anyhow::anyhow;

/// The bundled adapter `name` or `name@vN`, if there is one.
///
/// # Errors
/// The name is not valid.
pub(crate) fn find<'a>(manifest: &'a Manifest, name: &str) -> anyhow::Result<Option<&'a ManifestAdapter>> {
    let wanted: AdapterRef = name.parse()?;
    let bundled = manifest.adapters();
    let fitting = bundled.iter().filter(|a| {
        a.name == wanted.name
            && match wanted.which {
                Which::Newest => true,
                Which::Version(version) => version == a.version,
                // Aliases and training runs are those of a data folder.
                Which::Alias(_) | Which::Checkpoint { .. } => false,
            }
    });
    Ok(fitting.max_by_key(|adapter| adapter.version))
}

/// Why `name` is not found, and what to do.
pub(crate) fn missing(manifest: &Manifest, name: &str) -> anyhow::Error {
    let known: Vec<_> = manifest.adapters().iter().map(|a| format!("{}@v{}", a.name, a.version)).collect();
    let known = if known.is_empty() { "no adapters".to_owned() } else { known.join(", ") };
    anyhow!(
        "the prompt uses the adapter {name}, but this model bundles {known}; pass any other file with --lora FILE, or \
         the data folder that has it with --data DIR"
    )
}

/// Adds every adapter that the model folder lists. An unusable one is logged and skipped.
pub(crate) async fn add(studio: &Studio, model: &Path) {
    let manifest = match Manifest::read(model) {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::warn!(%error, "skipping the bundled adapters");
            return;
        }
    };
    for bundled in manifest.adapters() {
        let new = NewAdapter {
            name: bundled.name.clone(),
            version: Some(bundled.version),
            path: bundled.file.clone(),
            description: bundled.description.clone(),
            trigger: bundled.trigger.clone().unwrap_or_default(),
            strict: false,
        };
        match studio.add_adapter(new).await {
            Ok(version) => tracing::info!(adapter = version.id(), "bundled adapter ready"),
            Err(error) => {
                tracing::warn!(file = %bundled.file.display(), %error, "skipping a bundled adapter")
            }
        }
    }
}
