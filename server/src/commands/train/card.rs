//! What a trained adapter says of itself: the file's metadata and a model card.

use std::collections::BTreeMap;

use adire_protocol::{ModelInfo, TrainingConfig};
use adire_studio::Dataset;
use serde_json::json;

/// A finished run.
pub(crate) struct Outcome<'a> {
    pub(crate) name: &'a str,
    pub(crate) trigger: &'a str,
    pub(crate) model: &'a ModelInfo,
    pub(crate) dataset: &'a Dataset,
    pub(crate) config: &'a TrainingConfig,
    /// Held-out loss before and after.
    pub(crate) held_out: Option<(f64, f64)>,
    pub(crate) parameters: usize,
    pub(crate) seconds: f64,
}

impl Outcome<'_> {
    /// Keys that other programs look for, and `adire` with everything the file depends on. Nothing that differs from
    /// run to run of the same settings, so that the same run writes the same bytes.
    pub(crate) fn metadata(&self) -> Vec<(String, String)> {
        let config = self.config;
        let mut tags = BTreeMap::<&str, u32>::new();
        for picture in &self.dataset.pictures {
            for tag in picture.caption.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                *tags.entry(tag).or_default() += picture.repeats;
            }
        }
        let lineage = json!({
            "base": self.model.hash,
            "dataset": self.dataset.hash,
            "config": config,
            "version": env!("CARGO_PKG_VERSION"),
        });
        [
            ("ss_output_name", self.name.to_owned()),
            ("ss_base_model_version", "sd_v1".to_owned()),
            ("ss_sd_model_name", self.model.name.clone()),
            ("ss_learning_rate", config.learning_rate.to_string()),
            ("ss_lr_scheduler", config.schedule.to_string()),
            ("ss_lr_warmup_steps", config.warmup.to_string()),
            ("ss_max_train_steps", config.steps.to_string()),
            ("ss_gradient_accumulation_steps", config.accumulation.to_string()),
            ("ss_gradient_checkpointing", config.gradient_checkpointing.to_string()),
            ("ss_num_train_images", self.dataset.pictures.len().to_string()),
            ("ss_resolution", format!("({0}, {0})", config.resolution)),
            ("ss_seed", config.seed.to_string()),
            ("ss_tag_frequency", json!({ self.name: tags }).to_string()),
            ("modelspec.sai_model_spec", "1.0.0".to_owned()),
            ("modelspec.architecture", "stable-diffusion-v1/lora".to_owned()),
            ("modelspec.title", self.name.to_owned()),
            ("modelspec.trigger_phrase", self.trigger.to_owned()),
            ("adire", lineage.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }

    /// The model card.
    pub(crate) fn card(&self) -> String {
        let Self { name, model, dataset, config, parameters, .. } = self;
        let held_out = match self.held_out {
            Some((before, after)) => format!(
                "The loss on held-out pictures went from {before:.4} to {after:.4} ({:+.1} %).",
                100.0 * (after / before - 1.0)
            ),
            None => "No pictures were held out, so nothing was measured.".to_owned(),
        };
        let trigger = match self.trigger {
            "" => String::new(),
            word => format!("\nIt is called up by `{word}`.\n"),
        };
        format!(
            "# {name}\n\nA LoRA adapter for {} (weights {}), rank {}, alpha {}, {parameters} trained numbers.\n{trigger}\n\
             ## Training\n\n{} pictures (content {}), {} updates of {} × {} pictures at {} pixels, learning rate {}, \
             {} schedule, seed {}; {:.0} s. {held_out}\n\n\
             `{name}.safetensors` is in kohya's format, `{name}-diffusers.safetensors` in diffusers'; both hold the \
             same numbers. Every setting is in the files' metadata under `adire`.\n\n\
             Licence and terms of use follow those of the base model and of the pictures; say here what they are.\n",
            model.name,
            model.hash.get(..12).unwrap_or(&model.hash),
            config.rank,
            config.alpha,
            dataset.pictures.len(),
            dataset.hash.get(..12).unwrap_or(&dataset.hash),
            config.steps,
            config.accumulation,
            config.batch,
            config.resolution,
            config.learning_rate,
            config.schedule,
            config.seed,
            self.seconds,
        )
    }
}
