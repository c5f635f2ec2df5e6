//! Sentences about what is ignored although it would have changed the image elsewhere.

use adire_protocol::{HiresUpscaler, Sampler};
use serde_json::Value;

use super::{Request, named, shown};

/// Most sentences about fields of one kind that clients may send any number of.
const MAX_NOTES: usize = 20;

/// Settings of A1111 that have an effect here.
const SETTINGS: [&str; 3] = ["sd_model_checkpoint", "CLIP_stop_at_last_layers", "randn_source"];

/// What A1111's settings about files, previews and the page begin with; they do not change an image.
const OF_FILES: [&str; 16] = [
    "save",
    "samples_",
    "grid_",
    "outdir",
    "directories",
    "use_save_to",
    "return_",
    "do_not_",
    "enable_pnginfo",
    "add_",
    "jpeg_",
    "webp_",
    "png_",
    "live_preview",
    "show_",
    "api_",
];

impl Request {
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (ignored, sentence) in [
            (!self.styles.is_empty(), "styles were ignored: there are none here."),
            (self.restore_faces == Some(true), "restore_faces was ignored."),
            (self.tiling == Some(true), "tiling was ignored."),
            (
                [self.seed_resize_from_w, self.seed_resize_from_h]
                    .iter()
                    .all(|side| side.is_some_and(|side| side > 0.0)),
                "seed_resize_from_w and seed_resize_from_h were ignored.",
            ),
            (self.init_images.len() > 1, "Only the first of init_images was used."),
            (
                self.mask.as_ref().is_some_and(|mask| !mask.trim().is_empty())
                    && self.inpainting_fill.is_some_and(|fill| fill > 1.0)
                    && self.denoising_strength.is_none_or(|strength| strength < 1.0),
                "inpainting_fill was taken as 1: the masked area starts from the image itself.",
            ),
            (named(self.refiner_checkpoint.as_ref()).is_some(), "refiner_checkpoint was ignored."),
            (self.s_churn.is_some_and(|churn| churn > 0.0), "s_churn was ignored."),
            (self.s_noise.is_some_and(|noise| noise != 1.0), "s_noise was taken as 1."),
            (self.s_min_uncond.is_some_and(|sigma| sigma > 0.0), "s_min_uncond was ignored."),
        ] {
            if ignored {
                notes.push(sentence.to_owned());
            }
        }
        if self.enable_hr == Some(true) {
            self.notes_of_hires(&mut notes);
        }
        let settings = self.override_settings.iter().filter(|(name, value)| is_ignored(name, value));
        notes.extend(
            settings
                .take(MAX_NOTES)
                .map(|(name, _)| format!("{} of override_settings was ignored.", shown(name))),
        );
        // What is switched off is sent, too: “ControlNet workaround” of webuiapi.
        let used = self.alwayson_scripts.iter().filter(|(_, script)| is_used(script));
        notes.extend(
            used.take(MAX_NOTES)
                .map(|(name, _)| format!("The script {} was ignored: it is not here.", shown(name))),
        );
        notes
    }

    /// Fields of the second pass; each has a value by which it is that of the first.
    fn notes_of_hires(&self, notes: &mut Vec<String>) {
        if let Some(label) = named(self.hr_upscaler.as_ref()) {
            let used = HiresUpscaler::from_label(label);
            if !label.eq_ignore_ascii_case(used.label()) {
                let used = match used {
                    HiresUpscaler::Latent => "latents were enlarged bilinearly",
                    HiresUpscaler::Image => "the image was enlarged by Lanczos's filter",
                };
                notes.push(format!("hr_upscaler “{}” is not here; {used}.", shown(label)));
            }
        }
        let first_sampler = named(self.sampler_name.as_ref()).or_else(|| named(self.sampler_index.as_ref()));
        let first_scheduler = named(self.scheduler.as_ref()).unwrap_or("automatic");
        for (name, value, first) in [
            ("hr_prompt", &self.hr_prompt, self.prompt.trim()),
            ("hr_negative_prompt", &self.hr_negative_prompt, self.negative_prompt.trim()),
            ("hr_sampler_name", &self.hr_sampler_name, first_sampler.unwrap_or_default()),
            ("hr_scheduler", &self.hr_scheduler, first_scheduler),
            ("hr_checkpoint_name", &self.hr_checkpoint_name, ""),
        ] {
            let own = named(value.as_ref()).filter(|own| !own.to_lowercase().starts_with("use same "));
            if own.is_some_and(|own| !own.eq_ignore_ascii_case(first)) {
                notes.push(format!("{name} was ignored: both passes are alike here."));
            }
        }
    }

    /// `eta` scales the noise that these samplers add; clients send 1 with any sampler.
    pub(super) fn note_of_eta(&self, sampler: Sampler) -> Option<String> {
        let ours = match sampler {
            Sampler::Ddim => 0.0,
            Sampler::EulerA | Sampler::DpmppSde | Sampler::Dpmpp2mSde => 1.0,
            _ => return None,
        };
        let differs = self.eta.is_some_and(|eta| eta != ours);
        differs.then(|| format!("eta was taken as {ours}."))
    }
}

/// Whether a setting would have changed the image.
fn is_ignored(name: &str, value: &Value) -> bool {
    let is_off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "None", "Automatic"].contains(&text.as_str()),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
    };
    !is_off && !SETTINGS.contains(&name) && !OF_FILES.iter().any(|start| name.starts_with(start))
}

/// Whether the arguments of a script switch it on, as far as one can tell without knowing it.
fn is_used(script: &Value) -> bool {
    let Some(arguments) = script.get("args") else { return true };
    match arguments {
        Value::Array(all) => all.first().is_some_and(|first| *first != Value::Bool(false)),
        Value::Object(all) => !all.is_empty(),
        other => *other != Value::Null,
    }
}
