//! `adire.json`: the manifest of a model folder. Every key is optional.

use std::path::{Component, Path, PathBuf};

use adire_protocol::{Defaults, ExamplePrompt, GenerationRequest, Limits, SamplerName, Sampling, Schedule};
use serde::Deserialize;

use crate::{EngineError, Result, json};

/// Name of the file.
const FILE: &str = "adire.json";

/// The file's content; unknown keys are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Display name.
    pub name: Option<String>,
    /// Words that call a shipped style up.
    pub trigger: Option<String>,
    example_prompts: Vec<Example>,
    defaults: ManifestDefaults,
    adapters: Vec<ManifestAdapter>,
}

/// An adapter that ships with the model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ManifestAdapter {
    /// Adapter name without version.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// The weights, below the model folder.
    pub file: PathBuf,
    /// What it teaches.
    #[serde(default)]
    pub description: String,
    /// Trigger words; the manifest's own where absent.
    #[serde(default)]
    pub trigger: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Example {
    Plain(String),
    Full(ExamplePrompt),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ManifestDefaults {
    steps: Option<u32>,
    guidance: Option<f64>,
    width: Option<u32>,
    height: Option<u32>,
    sampler: Option<SamplerName>,
    schedule: Option<Schedule>,
}

impl Manifest {
    /// Reads `folder`'s manifest; empty if the file is missing.
    ///
    /// # Errors
    /// The file is no JSON of this kind, or an adapter's file lies outside the folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(Self::default());
        }
        let mut manifest: Self = json::read(&path)?;
        for adapter in &mut manifest.adapters {
            let inside = adapter.file.components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || adapter.file.as_os_str().is_empty() {
                let message =
                    format!("names {} as an adapter's file; it must be a path below the model folder.", {
                        adapter.file.display()
                    });
                return Err(EngineError::model(&path, message));
            }
            adapter.file = folder.join(&adapter.file);
            if adapter.trigger.is_none() {
                adapter.trigger.clone_from(&manifest.trigger);
            }
        }
        Ok(manifest)
    }

    /// The adapters that ship with the model, with full paths.
    pub fn adapters(&self) -> &[ManifestAdapter] {
        &self.adapters
    }

    /// Prompts that work well with the model.
    pub fn example_prompts(&self) -> Vec<ExamplePrompt> {
        let prompt = |example: &Example| match example {
            Example::Plain(prompt) => ExamplePrompt { prompt: prompt.clone() },
            Example::Full(example) => example.clone(),
        };
        self.example_prompts.iter().map(prompt).collect()
    }

    /// What requests leave out: the manifest's word, else what Stable Diffusion 1.x is usually run with at
    /// `native_size` pixels.
    ///
    /// # Errors
    /// A value is outside `limits`.
    pub(crate) fn defaults(&self, folder: &Path, native_size: u32, limits: &Limits) -> Result<Defaults> {
        let given = &self.defaults;
        let defaults = Defaults {
            steps: given.steps.unwrap_or(20.min(limits.steps)),
            guidance: given.guidance.unwrap_or(7.5),
            width: given.width.unwrap_or(native_size),
            height: given.height.unwrap_or(native_size),
            sampling: Sampling::requested(given.sampler, given.schedule, Sampling::default()),
        };
        let request = GenerationRequest { prompt: FILE.to_owned(), ..Default::default() };
        match request.validate(limits, &defaults, 0) {
            Ok(_) => Ok(defaults),
            Err(error) => Err(EngineError::model(
                &folder.join(FILE),
                format!("has defaults that cannot be used. {error}"),
            )),
        }
    }
}
