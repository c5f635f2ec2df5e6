//! A1111's requests, and what they mean here. Clients send dozens of fields; those without a meaning here are ignored, as
//! A1111 ignores unknown ones, and what would have changed the image is noted in the answer's `info`.

mod files;
mod hires;
mod infotext;
mod notes;

use adire_protocol::{Defaults, GenerationRequest, Rng, SamplerName, Schedule, a1111_request_sampling};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::files::Unread;
use crate::{
    compat::{callers::Options, lenient, run::Ask},
    error::{Problem, ProblemKind},
};

/// The body of `txt2img` and `img2img`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    prompt: String,
    negative_prompt: String,
    styles: Vec<String>,
    #[serde(deserialize_with = "lenient::seed")]
    seed: Option<u64>,
    #[serde(deserialize_with = "lenient::seed")]
    subseed: Option<u64>,
    #[serde(deserialize_with = "lenient::number")]
    subseed_strength: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    seed_resize_from_w: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    seed_resize_from_h: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    steps: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    cfg_scale: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    width: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    height: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    batch_size: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    n_iter: Option<u32>,
    sampler_name: Option<String>,
    sampler_index: Option<String>,
    scheduler: Option<String>,
    #[serde(deserialize_with = "lenient::whole")]
    clip_skip: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    denoising_strength: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    enable_hr: Option<bool>,
    #[serde(deserialize_with = "lenient::number")]
    hr_scale: Option<f64>,
    hr_upscaler: Option<String>,
    #[serde(deserialize_with = "lenient::whole")]
    hr_resize_x: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    hr_resize_y: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    hr_second_pass_steps: Option<u32>,
    hr_prompt: Option<String>,
    hr_negative_prompt: Option<String>,
    hr_sampler_name: Option<String>,
    hr_scheduler: Option<String>,
    hr_checkpoint_name: Option<String>,
    refiner_checkpoint: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    eta: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    s_churn: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    s_noise: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    s_min_uncond: Option<f64>,
    infotext: Option<String>,
    init_images: Vec<String>,
    mask: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    mask_blur: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    mask_blur_x: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    mask_blur_y: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    inpaint_full_res_padding: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    inpainting_fill: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    inpaint_full_res: Option<bool>,
    #[serde(deserialize_with = "lenient::flag")]
    inpainting_mask_invert: Option<bool>,
    #[serde(deserialize_with = "lenient::number")]
    resize_mode: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    restore_faces: Option<bool>,
    #[serde(deserialize_with = "lenient::flag")]
    tiling: Option<bool>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(crate) send_images: Option<bool>,
    script_name: Option<String>,
    alwayson_scripts: Map<String, Value>,
    override_settings: Map<String, Value>,
}

/// What a request means here.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) ask: Ask,
    /// The files of its images, for `ask`, once they have been decoded.
    pub(crate) unread: Option<Unread>,
    /// What was left out, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Options in the words of A1111's settings; what is not there stays as it is.
pub(crate) fn set_options(settings: &Map<String, Value>, options: &mut Options) {
    if let Some(title) = settings.get("sd_model_checkpoint").and_then(Value::as_str) {
        options.model = Some(title.to_owned());
    }
    let skip = settings.get("CLIP_stop_at_last_layers").and_then(Value::as_f64);
    if let Some(skip) = skip.filter(|skip| (1.0..=12.0).contains(skip)) {
        options.clip_skip = Some(skip as u32);
    }
    if let Some(noise) = settings.get("randn_source").and_then(Value::as_str) {
        options.noise = Some(noise.to_owned());
    }
}

impl Request {
    /// Whether it names an image to start from.
    pub(crate) fn has_init_image(&self) -> bool {
        !self.init_images.is_empty()
    }

    /// What it means for a caller with these options and a model with these defaults, whose sizes are multiples of `step`.
    pub(crate) fn translate(
        mut self,
        mut options: Options,
        defaults: &Defaults,
        step: u32,
    ) -> Result<Translated, Problem> {
        if let Some(name) = named(self.script_name.as_ref()) {
            let sentence = format!("Script “{}” not found; scripts are not supported.", shown(name));
            return Err(Problem::field("script_name", sentence));
        }
        set_options(&self.override_settings, &mut options);
        let mut notes = self.notes();
        let (sampler, schedule) = self.sampling(defaults, &mut notes)?;
        let unread = self.take_files(&mut notes)?;
        let mut request = GenerationRequest {
            prompt: std::mem::take(&mut self.prompt),
            negative_prompt: std::mem::take(&mut self.negative_prompt),
            seed: self.seed,
            subseed: self.subseed,
            subseed_strength: self.subseed_strength,
            steps: self.steps,
            guidance: self.cfg_scale,
            sampler,
            schedule,
            rng: options.noise.as_deref().map(noise),
            width: self.width.filter(|width| *width > 0),
            height: self.height.filter(|height| *height > 0),
            count: Some(self.batch_size.unwrap_or(1).max(1).saturating_mul(self.n_iter.unwrap_or(1).max(1))),
            clip_skip: self.clip_skip.filter(|skip| *skip > 0).or(options.clip_skip),
            // Without an init image it is the hires pass's, and sent with 0.7 where there is none.
            denoising_strength: self.denoising_strength.filter(|_| unread.is_some()),
            ..GenerationRequest::default()
        };
        if let Some(text) = self.infotext.as_ref().filter(|text| !text.trim().is_empty()) {
            let hires = self.enable_hr.is_none() && unread.is_none();
            infotext::fill(&mut request, text, unread.is_some(), hires, &mut notes);
        }
        if self.enable_hr == Some(true) {
            let first = (request.width.unwrap_or(defaults.width), request.height.unwrap_or(defaults.height));
            request.hires = Some(self.hires(first, step, &mut notes));
        }
        let steps = request.steps.unwrap_or(defaults.steps);
        if let Some(strength) = request.denoising_strength
            && let Some(least) = least_strength(steps).filter(|least| (0.0..*least).contains(&strength))
        {
            request.denoising_strength = Some(least);
            notes.push(format!("denoising_strength was raised to {least}, at which one step runs."));
        }
        Ok(Translated { ask: Ask { request, model: options.model, ..Ask::default() }, unread, notes })
    }

    fn sampling(
        &self,
        defaults: &Defaults,
        notes: &mut Vec<String>,
    ) -> Result<(Option<SamplerName>, Option<Schedule>), Problem> {
        let scheduler = named(self.scheduler.as_ref());
        let name = named(self.sampler_name.as_ref()).or_else(|| named(self.sampler_index.as_ref()));
        let Some(name) = name else {
            let own = defaults.sampling.sampler;
            let scheduler = scheduler.filter(|scheduler| !scheduler.eq_ignore_ascii_case("automatic"));
            return Ok(match scheduler.and_then(|it| a1111_request_sampling(own.label(), Some(it))) {
                Some((sampling, true)) => (Some(sampling.into()), Some(sampling.schedule)),
                Some((_, false)) => {
                    notes.push(format!("scheduler was ignored: {} does not run on it here.", own.label()));
                    (None, None)
                }
                None => (None, None),
            });
        };
        let Some((sampling, exact)) = a1111_request_sampling(name, scheduler) else {
            let sentence =
                format!("Sampler not found: “{}”. GET /sdapi/v1/samplers lists them.", shown(name));
            return Err(Problem::new(ProblemKind::NotFound, sentence));
        };
        if !exact {
            let (sampler, schedule) = (sampling.sampler.label(), sampling.schedule.label());
            notes.push(format!(
                "The scheduler is not A1111's: {sampler} ran on {schedule}, the nearest here."
            ));
        }
        notes.extend(self.note_of_eta(sampling.sampler));
        Ok((Some(sampling.into()), Some(sampling.schedule)))
    }
}

/// A name that was chosen; A1111's menus have “None”.
fn named(name: Option<&String>) -> Option<&str> {
    name.map(|name| name.trim()).filter(|name| !name.is_empty() && *name != "None")
}

/// As much of a client's text as a sentence repeats.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A1111's source of noise.
fn noise(source: &str) -> Rng {
    if source.eq_ignore_ascii_case("CPU") { Rng::Cpu } else { Rng::Cuda }
}

/// The least denoising strength, rounded up to four decimals, at which one of so many steps runs. A1111 runs one at any
/// strength, 0 included.
fn least_strength(steps: u32) -> Option<f64> {
    (steps > 0).then(|| f64::from(10_000_u32.div_ceil(steps)) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use adire_protocol::{HiresRequest, HiresUpscaler, Sampler};
    use serde_json::json;

    use super::*;

    fn read(body: Value, options: Options) -> Result<Translated, Problem> {
        let sampling = Sampler::Dpmpp2m.automatic();
        let defaults = Defaults { steps: 20, guidance: 7.5, width: 512, height: 512, sampling };
        serde_json::from_value::<Request>(body).unwrap().translate(options, &defaults, 8)
    }

    fn translated(body: Value, options: Options) -> Translated {
        read(body, options).unwrap()
    }

    #[test]
    fn what_webuiapi_sends_by_default_is_a_plain_request() {
        let body = json!({
            "enable_hr": false, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7, "prompt": "moons",
            "styles": [], "seed": 5, "subseed": -1, "subseed_strength": 0.0, "batch_size": 2, "n_iter": 2, "steps": 20,
            "cfg_scale": 7.0, "width": 512, "height": 512, "eta": 1.0, "s_tmax": 0, "sampler_name": "DPM++ 2M",
            "sampler_index": "Euler a", "scheduler": "automatic", "script_args": [], "alwayson_scripts": {},
        });
        let Translated { ask, notes, .. } = translated(body, Options::default());
        let request = ask.request;
        assert_eq!((request.seed, request.steps, request.count), (Some(5), Some(20), Some(4)));
        assert_eq!(request.sampling().unwrap(), Sampler::Dpmpp2m.automatic());
        assert_eq!((request.hires, request.denoising_strength, ask.model), (None, None, None));
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn overrides_go_before_options_and_what_is_ignored_is_noted() {
        let body = json!({
            "prompt": "moons", "sampler_name": "DPM++ 2M", "scheduler": "exponential", "tiling": true, "clip_skip": 0,
            "override_settings": {"sd_model_checkpoint": "sd15+adire@v2", "randn_source": "GPU"},
            "alwayson_scripts": {"ControlNet": {"args": []}, "ADetailer": {"args": [false]}, "Sag": {"args": [true]}},
        });
        let options = Options { model: Some("sd15".to_owned()), clip_skip: Some(2), noise: None };
        let Translated { ask, notes, .. } = translated(body, options);
        assert_eq!(ask.model.as_deref(), Some("sd15+adire@v2"));
        assert_eq!((ask.request.clip_skip, ask.request.rng), (Some(2), Some(Rng::Cuda)));
        assert_eq!(ask.request.schedule, Some(Schedule::Karras), "it is nearer to exponential");
        assert_eq!(notes.len(), 3, "{notes:?}");
    }

    #[test]
    fn hires_fix_is_read_as_a1111_reads_it() {
        let body = json!({
            "prompt": "moons", "enable_hr": true, "hr_scale": 1.5, "hr_resize_x": 0, "hr_resize_y": 0,
            "hr_second_pass_steps": 0, "hr_upscaler": "Latent (bicubic)", "denoising_strength": 0.5,
        });
        let hires = translated(body, Options::default()).ask.request.hires.unwrap();
        let expected = HiresRequest {
            scale: Some(1.5),
            denoising_strength: Some(0.5),
            upscaler: Some(HiresUpscaler::Latent),
            ..HiresRequest::default()
        };
        assert_eq!(hires, expected);
    }

    #[test]
    fn unknown_samplers_and_scripts_are_refused() {
        for (body, status) in [
            (json!({"prompt": "x", "sampler_name": "DPM++ 9S"}), 404),
            (json!({"prompt": "x", "script_name": "X/Y/Z plot"}), 422),
            (json!({"prompt": "x", "init_images": ["???"]}), 422),
        ] {
            assert_eq!(read(body, Options::default()).unwrap_err().status, status);
        }
    }

    #[test]
    fn a_scheduler_without_a_sampler_is_for_the_models_own() {
        let of = |scheduler: &str| {
            let Translated { ask, notes, .. } =
                translated(json!({ "scheduler": scheduler }), Options::default());
            (ask.request.sampling(), notes.len())
        };
        assert_eq!(of("uniform"), (Some(Sampler::Dpmpp2m.bare()), 0));
        assert_eq!(of("exponential"), (None, 1));
        assert_eq!(of("automatic"), (None, 0));
    }

    #[test]
    fn one_step_runs_at_any_strength() {
        for steps in 1..=150 {
            let body = json!({"init_images": ["AAEC"], "steps": steps, "denoising_strength": 0});
            let strength = translated(body, Options::default()).ask.request.denoising_strength.unwrap();
            assert!(f64::from(steps) * strength >= 1.0 && strength <= 1.0, "{steps}: {strength}");
        }
        let body = json!({"init_images": ["AAEC"], "steps": 20, "denoising_strength": 0.3});
        assert_eq!(translated(body, Options::default()).ask.request.denoising_strength, Some(0.3));
    }

    #[test]
    fn what_changes_the_image_elsewhere_is_noted() {
        let notes = |more: Value| {
            let mut body = json!({
                "prompt": "moons", "sampler_name": "Euler a", "enable_hr": true, "hr_upscaler": "Latent",
                "hr_prompt": "", "hr_sampler_name": "Use same sampler", "hr_scheduler": "automatic", "hr_checkpoint_name": null,
                "eta": 1.0, "s_churn": 0, "s_noise": 1, "refiner_checkpoint": "None",
                "override_settings": {"sd_vae": "Automatic", "eta_noise_seed_delta": 0, "samples_format": "png"},
            });
            let Value::Object(body) = &mut body else { unreachable!() };
            body.extend(more.as_object().cloned().unwrap());
            translated(Value::Object(body.clone()), Options::default()).notes
        };
        assert_eq!(notes(json!({})), Vec::<String>::new());
        for (more, start) in [
            (json!({"hr_upscaler": "R-ESRGAN 4x+"}), "hr_upscaler “R-ESRGAN 4x+”"),
            (json!({"hr_prompt": "stars"}), "hr_prompt"),
            (json!({"hr_sampler_name": "DDIM"}), "hr_sampler_name"),
            (json!({"hr_checkpoint_name": "other"}), "hr_checkpoint_name"),
            (json!({"refiner_checkpoint": "sdxl"}), "refiner_checkpoint"),
            (json!({"eta": 0.5}), "eta"),
            (json!({"s_churn": 1}), "s_churn"),
            (json!({"override_settings": {"sd_vae": "kl-f8"}}), "sd_vae of override_settings"),
            (json!({"override_settings": {"eta_noise_seed_delta": 31337}}), "eta_noise_seed_delta"),
        ] {
            let notes = notes(more);
            assert!(notes.len() == 1 && notes[0].starts_with(start), "{start}: {notes:?}");
        }
    }

    #[test]
    fn an_infotext_is_for_what_the_request_leaves_out() {
        let body = json!({
            "prompt": "", "seed": 5, "sampler_name": "DDIM",
            "infotext": "moons\nSteps: 30, Sampler: Euler a, CFG scale: 9, Seed: 7, Size: 64x128, RNG: CPU",
        });
        let Translated { ask, notes, .. } = translated(body, Options::default());
        let request = ask.request;
        assert_eq!((request.prompt.as_str(), request.seed, request.steps), ("moons", Some(5), Some(30)));
        assert_eq!((request.width, request.height), (Some(64), Some(128)));
        assert_eq!(request.sampling(), Some(Sampler::Ddim.bare()));
        assert_eq!(notes, Vec::<String>::new());
    }
}
