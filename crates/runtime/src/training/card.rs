//! What a trained adapter says of itself: the file's metadata and a model card.

use std::collections::BTreeMap;

use adire_protocol::ModelInfo;
use adire_studio::TrainingTask;
use serde_json::json;

/// A finished run.
pub(super) struct Outcome<'a> {
    pub(super) task: &'a TrainingTask,
    pub(super) model: &'a ModelInfo,
    /// Held-out loss before and after.
    pub(super) held_out: Option<(f64, f64)>,
    pub(super) parameters: usize,
    pub(super) seconds: f64,
}

impl Outcome<'_> {
    /// Keys that other programs look for, and `adire` with everything the file depends on. Captions and sample prompts are
    /// among them only where the settings publish them. Nothing that differs from
    /// run to run of the same settings, so that the same run writes the same bytes.
    pub(super) fn metadata(&self) -> Vec<(String, String)> {
        let (task, config) = (self.task, &self.task.config);
        let mut tags = BTreeMap::<&str, u32>::new();
        let published = config.publish_captions;
        for image in task.images.iter().filter(|_| published) {
            for tag in image.caption.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                *tags.entry(tag).or_default() += image.repeats;
            }
        }
        // The file is offered to every visitor; what people wrote about their images is not theirs to read.
        let mut shown = config.clone();
        if !published {
            shown.sample_prompts.clear();
        }
        let tags = if published { json!({ &task.name: tags }).to_string() } else { String::new() };
        let mut lineage = json!({
            "base": self.model.hash,
            "dataset": task.dataset_hash,
            "config": shown,
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let Some(parent) = &task.continue_from {
            lineage["parent"] = json!({ "name": parent.id, "hash": parent.hash });
        }
        [
            ("ss_output_name", task.name.clone()),
            ("ss_base_model_version", "sd_v1".to_owned()),
            ("ss_sd_model_name", self.model.name.clone()),
            ("ss_learning_rate", config.learning_rate.to_string()),
            ("ss_lr_scheduler", config.schedule.to_string()),
            ("ss_lr_warmup_steps", config.warmup.to_string()),
            ("ss_max_train_steps", config.steps.to_string()),
            ("ss_gradient_accumulation_steps", config.accumulation.to_string()),
            ("ss_gradient_checkpointing", config.gradient_checkpointing.to_string()),
            ("ss_num_train_images", task.images.len().to_string()),
            ("ss_resolution", format!("({0}, {0})", config.resolution)),
            ("ss_seed", config.seed.to_string()),
            ("ss_tag_frequency", tags),
            ("modelspec.sai_model_spec", "1.0.0".to_owned()),
            ("modelspec.architecture", "stable-diffusion-v1/lora".to_owned()),
            ("modelspec.title", task.name.clone()),
            ("modelspec.trigger_phrase", task.trigger.clone()),
            ("adire", lineage.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }

    /// The model card.
    pub(super) fn card(&self) -> String {
        let Self { task, model, parameters, .. } = self;
        let (name, config) = (&task.name, &task.config);
        let held_out = match self.held_out {
            Some((before, after)) => format!(
                "Held-out loss went from {before:.4} to {after:.4} ({:+.1}%).",
                100.0 * (after / before - 1.0)
            ),
            None => "No images were held out, so held-out loss is not known.".to_owned(),
        };
        let trigger = match task.trigger.as_str() {
            "" => String::new(),
            word => format!("\nTrigger word: `{word}`.\n"),
        };
        let parent = match &task.continue_from {
            Some(parent) => format!(" It started from {}.", parent.id),
            None => String::new(),
        };
        format!(
            "# {name}\n\nA LoRA adapter for {} (weights {}), rank {}, alpha {}, {parameters} trainable parameters.\n{trigger}\n\
             ## Training\n\n{} images (hash {}), optimizer steps: {} of {} × {} images at {} pixels, learning rate {}, \
             {} schedule, seed {}; {:.0} s.{parent} {held_out}\n\n\
             `{name}.safetensors` is in kohya's format, `{name}-diffusers.safetensors` in diffusers'; both hold the \
             same numbers. Every setting is in the files' metadata under `adire`.\n\n\
             Licence and terms of use follow those of the base model and of the images; say here what they are.\n",
            model.name,
            model.hash.get(..12).unwrap_or(&model.hash),
            config.rank,
            config.alpha,
            task.images.len(),
            task.dataset_hash.get(..12).unwrap_or(&task.dataset_hash),
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
